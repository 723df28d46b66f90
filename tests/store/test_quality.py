"""The score of a game, and how varied games are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stored import CONFIG, finished
from typer.testing import CliRunner

from ringrift.cli import app
from ringrift.errors import DataError, SettingsError
from ringrift.kernel.health import Pressure, Snapshot
from ringrift.pipeline.health import RULES, Measured
from ringrift.rules import Record, SearchStats
from ringrift.store import GameStore, RunDirectory
from ringrift.store import quality as q
from ringrift.store.validate import validate


def searched(seed: int, full: bool, sharp: bool, player: str) -> Record:
    """A game whose policies are all on one move, or equal."""
    record = finished(seed)
    assert record.search is not None
    s = record.search
    lengths = np.diff(s.offsets)
    policy = np.concatenate([np.eye(n)[0] if sharp else np.full(n, 1 / n) for n in lengths])
    stats = SearchStats(s.ply, s.offsets, policy, s.root_value, np.full(len(s.ply), full))
    return replace(record, search=stats, players=(player, player))


def test_each_part_counts_alone() -> None:
    best = searched(0, True, True, "m-0123456789ab")
    assert q.parts(best) == pytest.approx({"engine": 1, "full": 1, "focus": 1, "end": 1, "length": 1}, abs=0.01)
    assert q.score(best) == pytest.approx(1, abs=0.01)
    for worse, weight in [
        (searched(0, False, True, "m-0123456789ab"), 0.2 + 0.15),
        (searched(0, True, False, "m-0123456789ab"), 0.15),
        (searched(0, True, True, "heuristic"), 0.3 * 2 / 3),
        (searched(0, True, True, "policy:m-0123456789ab"), 0.3 / 2),
        (replace(best, reason="lps_rounds"), 0.35 * 0.2),
        (replace(best, reason=f"early_{best.reason}"), 0.35 * 0.1),
    ]:
        assert q.score(worse) == pytest.approx(q.score(best) - weight, abs=0.01)
    short = replace(best, search=replace(best.search, **_first(best.search, 4)))  # type: ignore[type-var]
    assert q.score(short) == pytest.approx(q.score(best) * 4 / 16, abs=0.01)


def _first(search: SearchStats | None, n: int) -> dict[str, object]:
    assert search is not None
    end = search.offsets[n]
    return {"ply": search.ply[:n], "offsets": search.offsets[: n + 1], "policy": search.policy[:end],
            "root_value": search.root_value[:n], "full": search.full[:n]}  # fmt: skip


def test_games_get_their_score_when_they_are_judged(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        store = GameStore(run)
        store.add_many([(finished(seed).to_bytes(), f"w{seed}") for seed in range(6)])
        validate(run)
        kept = {row["id"]: row["quality"] for row in run.database.rows("SELECT id, quality FROM games")}
        assert kept == {seed + 1: q.score(finished(seed)) for seed in range(6)}
        with run.database.transaction() as connection:
            connection.execute("UPDATE games SET quality = NULL WHERE id > 2")
        (found,) = [q.report(run, CONFIG)]
        assert (found.games, found.unscored, sum(found.histogram)) == (2, 4, 2)
        validate(run)
        assert store.unscored() == []
        assert kept == {row["id"]: row["quality"] for row in run.database.rows("SELECT id, quality FROM games")}
    picture = tmp_path / "quality.png"
    command = ["data", "quality", str(tmp_path / "run"), "--plot", str(picture), "--json"]
    (row,) = json.loads(CliRunner().invoke(app, command).stdout)["rows"]
    assert (row["games"], row["generations"][0]["games"]) == (6, 6)
    assert row["mean"] == pytest.approx(np.mean(list(kept.values())))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "mean quality" in CliRunner().invoke(app, command[:3]).stdout
    for more, said in (
        (["--plot", "q.txt"], ".png or .svg or .pdf is right"),
        (["--plot", str(tmp_path / "none" / "q.png")], "make it first"),
        (["--plot", str(picture), "--config", "hex8_4p"], "has no games of hex8_4p"),
    ):
        with pytest.raises((DataError, SettingsError), match=said):
            CliRunner().invoke(app, [*command[:3], *more], catch_exceptions=False)


def test_doubles_and_narrow_openings_are_told(tmp_path: Path) -> None:
    def told(found: q.Variety) -> list[str]:
        measured = Measured(variety={CONFIG: found})
        snapshot = Snapshot("p", "laptop", 0.0, (), measured, Pressure(), ())
        return [rule.name for rule in RULES if rule.when(snapshot)]

    with RunDirectory.create(tmp_path / "run") as run:
        store = GameStore(run)
        assert q.variety(run, CONFIG) == q.Variety()
        store.add_many([(finished(i % 8).to_bytes(), f"w{i}") for i in range(12)])
        assert validate(run).quarantined == 4
        found = q.variety(run, CONFIG)
    assert (found.games, found.twins) == (12, pytest.approx(4 / 12))
    assert told(found) == [], "too few games to say anything"
    assert told(replace(found, games=400)) == ["games-doubled"]
    assert told(q.Variety(400, 0.0, (2.0, 3.0))) == ["openings-narrow"]
    assert told(q.Variety(400, 0.04, (2.2, 3.0))) == []
    assert q.opening_entropy([[1] * 8, [2] * 8]) == pytest.approx(np.log(2))
    assert q.opening_entropy([[1] * 8] * 5) == 0
