"""`data validate`: sound shards pass, each kind of damage is named, and games of the run are compared."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_oracle import finished
from typer.testing import CliRunner

from ringrift import _core
from ringrift.cli import app, sentence
from ringrift.errors import CorruptBlob
from ringrift.pipeline import Recipe
from ringrift.pipeline.settings import keep_recipe
from ringrift.store import GameStore, RunDirectory
from ringrift.store.games import StoredGame
from ringrift.store.samples import ExportSettings, Samples, export, make_samples, read_game
from ringrift.store.shard_report import validate_shard
from ringrift.store.validate import validate

CONFIG = "square8_3p"


@pytest.fixture(scope="module")
def sound() -> Samples:
    stored = [StoredGame(n, f"w/{n}", finished(n, CONFIG, 4).to_bytes()) for n in range(1, 4)]
    return make_samples(CONFIG, [read_game(game) for game in stored], ExportSettings())[0]


def write(samples: Samples, path: Path) -> Path:
    path.write_bytes(samples.to_bytes())
    return path


def test_a_sound_shard_is_described(sound: Samples, tmp_path: Path) -> None:
    report = validate_shard(write(sound, tmp_path / "a.npz"), detailed=True)
    assert report.problems == ()
    assert (report.samples, report.games, report.config) == (len(sound), 3, CONFIG)
    assert {array["name"] for array in report.arrays} >= {"planes_packed", "globals", "short_term_value", "symmetry"}
    ply = next(array for array in report.arrays if array["name"] == "ply")
    assert (ply["type"], ply["shape"], ply["largest"]) == ("uint16", [len(sound)], float(sound.ply.max()))
    assert report.distributions is not None
    for name in ("winner, mover first", "phase", "symmetry", "full search", "rank of the mover"):
        assert sum(report.distributions[name].values()) == pytest.approx(1, abs=1e-3)
    assert report.distributions["full search"]["yes"] == pytest.approx(sound.policy_weight.mean(), abs=1e-4)
    assert report.distributions["ply"]["100%"] == sound.ply.max()
    assert validate_shard(tmp_path / "a.npz").arrays == ()


def with_one(name: str, place: Any, value: float) -> Callable[[Samples], Samples]:
    def change(samples: Samples) -> Samples:
        values = np.array(getattr(samples, name))
        values[place] = value
        return replace(samples, **{name: values})  # type: ignore[arg-type]

    return change


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (with_one("globals", (5, 30), np.nan), r"globals are not finite \(1, the first in row 5\)"),
        (with_one("policy_target", 3, np.nan), "policy_target has values outside 0 to 1"),
        (with_one("policy_target", 3, 1), "policy targets that do not sum to 1"),
        (with_one("policy_address", (0, 0), 1 << 20), "policy addresses outside the encoding"),
        (with_one("policy_address", (0, 0), -1), "policy addresses outside the encoding"),
        (lambda s: with_one("policy_address", 0, s.policy_address[1])(s), "with the same address"),
        (with_one("value_target", (2, slice(None)), 0), "value targets that do not sum to 1"),
        (with_one("root_value", (2, 0), 3), "root_value has values outside 0 to 1"),
        (with_one("short_term_value", (2, 1), 0), "short_term_values that do not sum to 1"),
        (with_one("rank_target", (1, 1), 9), "ranks outside"),
        (with_one("rank_target", slice(None), 2), "winners who are not ranked first"),
        (with_one("ownership", (4, 0, 0), 7), "owners who do not play"),
        (with_one("symmetry", 0, 8), "symmetries that the board does not have"),
        (with_one("plies_left", 0, 0), "samples after the end of a game"),
        (with_one("game_id", 0, 99), "games that the shard does not name"),
        (with_one("games", slice(None), 1), "ids of games that do not rise"),
        (lambda s: with_one("ply", 1, s.ply[0])(s), "1 samples of the same ply of the same game"),
        (with_one("globals", (7, slice(0, 7)), 1), "in no phase or in several"),
        (with_one("planes_packed", (9, 0, 2), 0), "planes of another board from row 0 on"),
        (with_one("policy_offsets", 0, 1), "policy offsets do not rise from 0"),
        (lambda s: replace(s, globals=s.globals[:, 1:]), "globals has the shape"),
        (lambda s: replace(s, box=s.box + 1), "box is"),
    ],
)  # fmt: skip
def test_each_kind_of_damage_is_named(
    sound: Samples, tmp_path: Path, damage: Callable[[Samples], Samples], says: str
) -> None:
    report = validate_shard(write(damage(sound), tmp_path / "a.npz"))
    assert re.search(says, "; ".join(report.problems))


def test_games_of_the_run_are_made_again_and_compared(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        GameStore(run).add_many([(finished(n, CONFIG, 4).to_bytes(), f"w/{n}") for n in range(3)])
        validate(run)
        (shard,) = export(run, CONFIG).shards
        path = run.fabric.blobs.path(shard.blob)
    cli = CliRunner()
    done = cli.invoke(app, ["data", "validate", str(path), "--detailed", "--json"])
    report = json.loads(done.stdout)
    assert (done.exit_code, report["ok"], report["remade"], report["problems"]) == (0, True, 3, [])
    assert "0 problems; 3 games made again" in cli.invoke(app, ["data", "validate", str(path)]).stdout
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["plies_left"][0] += 1  # sound in itself
    np.savez(path, **arrays)
    done = cli.invoke(app, ["data", "validate", str(path), "--json"])
    report = json.loads(done.stdout)
    assert done.exit_code == 1
    assert report["problems"] == ["game 1: plies_left is not what the game gives"]


def test_games_are_made_again_under_the_settings_of_the_run(tmp_path: Path) -> None:
    settings = ExportSettings(seed=5)
    with RunDirectory.create(tmp_path / "run") as run:
        GameStore(run).add(finished(0, CONFIG, 4).to_bytes(), "w")
        validate(run)
        keep_recipe(run.fabric.registry, CONFIG, Recipe(export=settings))
        (shard,) = export(run, CONFIG, settings).shards
        path = run.fabric.blobs.path(shard.blob)
    done = CliRunner().invoke(app, ["data", "validate", str(path), "--json"])
    assert json.loads(done.stdout)["problems"] == []


def test_a_flipped_bit_and_a_truncated_file_are_errors(sound: Samples, tmp_path: Path) -> None:
    good = sound.to_bytes()
    for at in range(100, len(good), len(good) // 9):
        flipped = bytearray(good)
        flipped[at] ^= 4
        for content in (bytes(flipped), good[:at]):
            (tmp_path / "bad.npz").write_bytes(content)
            with pytest.raises(CorruptBlob, match=r"bad\.npz is corrupt"):
                validate_shard(tmp_path / "bad.npz")
    newer = bytearray(good)
    newer[good.rindex(b"PK\1\2") + 6] = 99  # the version that the ZIP file asks for
    (tmp_path / "bad.npz").write_bytes(newer)
    with pytest.raises(CorruptBlob, match=r"bad\.npz is corrupt"):
        validate_shard(tmp_path / "bad.npz")
    lacking = CliRunner().invoke(app, ["data", "validate", str(tmp_path / "none.npz")])
    assert lacking.exception and sentence(lacking.exception) == f"{tmp_path / 'none.npz'} does not exist"


def test_the_core_knows_the_decisions() -> None:
    record = finished(1, CONFIG, 4, "played")
    plies, lengths = _core.decisions(record._first(), record.moves)
    game, found = record._first(), []
    for move in record.moves.tolist():
        if len(game.playable_packed()) > 1:
            found.append((game.ply, len(game.playable_packed())))
        game.push_packed(move)
    assert found == list(zip(plies.tolist(), lengths.tolist(), strict=True))
