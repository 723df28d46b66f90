"""The replay window: what is in it, what is left out and why, and how often each game is drawn."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_oracle import finished

from ringrift.errors import DataError
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.check import check
from ringrift.store.games import GameRow
from ringrift.store.provenance import Provenance, retract, undo_retraction
from ringrift.store.samples import drop_shard, export, shards
from ringrift.store.validate import validate
from ringrift.store.window import Played, ReplayWindow, WindowSettings, replay_window, weigh

CONFIG = "square8_2p"
HOUR = 3600.0


def game(id_: int, **more: object) -> Played:
    return replace(Played(id_, 0.0, "a", 0, None, ("m-1", "a:1:x", "square8_2p/1/0")), **more)  # type: ignore[arg-type]


def weights(games: list[Played], settings: WindowSettings, counts: list[int] | None = None) -> list[float]:
    found, _ = weigh(games, np.array(counts or [10] * len(games)), settings)
    return found.tolist()


def test_the_window_grows_by_a_power_law() -> None:
    settings = WindowSettings(least=1000, expand=0.5, exponent=0.5, scale=100)
    assert [settings.size(n) for n in (0, 10, 1000)] == [0, 10, 1000]
    assert settings.size(1001) == 1000  # half a sample more
    assert settings.size(1300) == 1100  # 0.5 × 100 × (√4 - 1) / 0.5
    assert settings.size(10_900) == 1900  # 0.5 × 100 × (√100 - 1) / 0.5
    assert replace(settings, exponent=1.0).size(3000) == 2000
    assert replace(settings, expand=0.0).size(10**6) == 1000
    assert WindowSettings().size(2_000_000) == 250_000 + round(0.4 * 50_000 * (36**0.65 - 1) / 0.65)


def test_quality_freshness_and_source_are_factors() -> None:
    quality = [game(1, quality=0.4), game(2, quality=0.8), game(3)]
    assert weights(quality, WindowSettings()) == pytest.approx(np.array([0.4, 0.8, 1.0]) * 3 / 2.2)
    assert weights(quality, WindowSettings(quality_power=0)) == [1, 1, 1]
    assert weights(quality, WindowSettings(), [30, 20, 10]) == pytest.approx(np.array([0.4, 0.8, 1]) * 60 / 38)
    old = [game(1), game(2, created=2 * HOUR), game(3, created=3 * HOUR)]
    found = weights(old, WindowSettings(half_life_hours=1.0, freshness_least=0.2))
    assert found == pytest.approx(np.array([0.2, 0.5, 1]) * 3 / 1.7)
    assert weights(old, WindowSettings(half_life_games=1)) == pytest.approx(np.array([0.25, 0.5, 1]) * 3 / 1.75)
    names = [game(1), game(2, names=("", "b:2:y", "import/1")), game(3, names=("m-2", "b", "regret/7/1"))]
    settings = WindowSettings(sources=("regret=2", "b:*=0.5", "m-?=3"))
    assert weights(names, settings) == pytest.approx(np.array([3, 0.5, 2]) * 3 / 5.5)


def test_what_is_left_out_is_told() -> None:
    games = [game(1), game(2, quality=0.2), game(3, retracted=True), game(4, early=True), game(5, names=("w/5",))]
    found, notes = weigh(games, np.arange(1, 6), WindowSettings(sources=("w=0",)))
    assert found.tolist() == [1, 0, 0, 0, 0]
    assert notes == (
        "1 games with 3 samples left out: retracted",
        "1 games with 4 samples left out: they end before our rules end them; window.unvalidated=true lets them in",
        "1 games with 2 samples left out: quality below 0.3",
        "1 games with 5 samples left out: their source has the weight 0",
    )
    let_in = WindowSettings(unvalidated=True, quality_least=0)
    assert weights(games, let_in, [1] * 5) == pytest.approx(np.array([1, 0.2, 0, 1, 1]) * 4 / 3.2)
    assert ReplayWindow((), 0, unvalidated=True).metrics()["unvalidated"] is True
    assert not weigh(games[2:3], np.ones(1, np.int64), WindowSettings())[0].any()


def test_caps_on_machines_and_generations() -> None:
    crowd = [game(n, worker="ab"[n > 6], generation=n % 3) for n in range(10)]  # 7 and 3
    found = weights(crowd, WindowSettings(worker_share=0.6))
    assert found == pytest.approx([6 / 7] * 7 + [4 / 3] * 3)
    assert weights(crowd, WindowSettings(worker_share=0.4)) == pytest.approx([5 / 7] * 7 + [5 / 3] * 3)
    three = [game(n, worker="aaaaaabbbc"[n]) for n in range(10)]
    found = weights(three, WindowSettings(worker_share=0.4))
    assert [sum(found[:6]), sum(found[6:9]), found[9]] == pytest.approx([4, 4, 2])
    by_generation = weights(crowd, WindowSettings(generation_share=1 / 3))
    assert [sum(by_generation[n::3]) for n in range(3)] == pytest.approx([10 / 3] * 3)
    assert weights(crowd, WindowSettings(worker_share=1, generation_share=1)) == [1] * 10
    mixed = [game(n, worker="aaab"[n % 4], generation=min(n // 3, 2)) for n in range(16)]
    both = np.array(weights(mixed, WindowSettings(worker_share=0.6, generation_share=0.4)))
    assert [both[[one.worker == "a" for one in mixed]].sum(), both[6:].sum()] == pytest.approx([9.6, 6.4], rel=1e-3)
    alone = [game(n) for n in range(4)]
    assert weights(alone, WindowSettings(worker_share=0.1)) == [1] * 4


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    with RunDirectory.create(tmp_path / "run") as made:
        GameStore(made).add_many([(finished(seed, CONFIG).to_bytes(), f"w/{seed}") for seed in range(3)])
        validate(made)
        export(made, CONFIG)
        yield made


def test_the_gate_of_staleness_says_what_it_found(run: RunDirectory) -> None:
    settings = WindowSettings(stale_hours=2, new_samples=50)
    found = replay_window(run, CONFIG, settings)
    assert found.games.tolist() == [1, 2, 3]
    assert found.metrics() == {"window": found.samples}
    later = time.time() + 3 * HOUR
    with pytest.raises(
        DataError, match=r"is 3\.0 hours old, and window\.stale_hours = 2 .*--set window\.stale_hours=0"
    ):
        replay_window(run, CONFIG, settings, now=later)
    assert replay_window(run, CONFIG, replace(settings, stale_hours=0), now=later).digest == found.digest
    with run.database.transaction() as connection:
        metrics = json.dumps({"samples_total": found.total_samples - 20})
        connection.execute(
            "INSERT INTO models (id, config, role, checkpoint, settings, parents, metrics, added)"
            " VALUES ('m-1', ?, 'candidate', '', '{}', '[]', ?, 1)", [CONFIG, metrics],
        )  # fmt: skip
    with pytest.raises(
        DataError, match=r"has 20 samples that the last .*new_samples = 50 .*--set window\.new_samples=0"
    ):
        replay_window(run, CONFIG, settings)
    assert replay_window(run, CONFIG, replace(settings, new_samples=20)).samples == found.samples


def test_a_game_is_as_old_as_when_it_was_played(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as made:
        now = time.time()
        rows = []
        for seed, created in enumerate((now - 9 * HOUR, now + 9 * HOUR, 0.0)):
            record = finished(seed, CONFIG)
            row = GameRow.of(record, record.to_bytes(), f"import/{seed}", Provenance("elsewhere"), created=created)
            rows.append(row.judged(None, 1.0))
        GameStore(made).add_judged(rows)
        export(made, CONFIG)
        (part,) = replay_window(made, CONFIG, WindowSettings(half_life_hours=3)).parts
        old, future, new = part.game_weight.tolist()
        assert (old, future) == pytest.approx((new / 8, new), rel=0.01)  # nothing is newer than when it came


def test_samples_of_newer_games_are_new_though_older_ones_were_taken_back(run: RunDirectory) -> None:
    found = replay_window(run, CONFIG, WindowSettings())
    blob = run.fabric.blobs.put(b"weights", ".safetensors")
    metrics = {"samples_total": found.total_samples}
    ModelStore(run).register(CONFIG, blob, None, {}, metrics=metrics, window=found.games.tolist())
    retract(run, games=[1, 2], reason="bad")
    GameStore(run).add(finished(9, CONFIG, 4).to_bytes(), "w/9")
    validate(run)
    export(run, CONFIG)
    new = int(replay_window(run, CONFIG, WindowSettings()).parts[-1].counts[-1])
    assert GameStore(run).exported_after(CONFIG, 3) == 1
    with pytest.raises(DataError, match=f"has {new} samples that the last"):
        replay_window(run, CONFIG, WindowSettings(new_samples=new + 1))
    assert replay_window(run, CONFIG, WindowSettings(new_samples=new)).games.tolist() == [3, 4]


def test_a_retracted_game_is_in_no_window_and_comes_back_in_the_same_shard(run: RunDirectory) -> None:
    (first,) = shards(run)
    taken = retract(run, games=[2], reason="bad")
    export(run, CONFIG)
    assert replay_window(run, CONFIG, WindowSettings()).games.tolist() == [1, 3]
    undo_retraction(run, taken.id)
    drop_shard(run, shards(run)[0].id)
    os.utime(run.fabric.blobs.path(first.blob), (0, 0))
    export(run, CONFIG)
    assert replay_window(run, CONFIG, WindowSettings()).games.tolist() == [1, 2, 3]
    assert shards(run)[0].blob == first.blob
    assert run.fabric.blobs.gc(set()) == [], "the janitor leaves alone what may be about to be named"


def test_a_game_quarantined_after_its_export_leaves_the_window_and_stops_no_training(run: RunDirectory) -> None:
    GameStore(run).judge([(2, "the audit found it")])
    assert not replay_window(run, CONFIG, WindowSettings()).games.size
    assert not check(run)
    export(run, CONFIG)
    assert replay_window(run, CONFIG, WindowSettings()).games.tolist() == [1, 3]


def test_a_damaged_shard_of_the_cache_is_made_again(run: RunDirectory) -> None:
    (first,) = shards(run)
    path = run.fabric.blobs.path(first.blob)
    good = path.read_bytes()
    for bad in (good[:-9], None):
        drop_shard(run, shards(run)[0].id)
        path.unlink()
        if bad:
            path.write_bytes(bad)
        export(run, CONFIG)
        assert shards(run)[0].blob == first.blob
        assert path.read_bytes() == good


@pytest.mark.parametrize(
    ("field", "value"),
    [("least", 0), ("scale", 0), ("exponent", 0.0), ("exponent", 1.5), ("expand", -1.0), ("expand", math.inf),
     ("quality_least", 1.5), ("surprise", -0.1), ("worker_share", 0.0), ("generation_share", 1.1),
     ("stale_hours", -1.0), ("correction", 2.0)],
)  # fmt: skip
def test_settings_out_of_range(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        WindowSettings(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["random", "=1", "random=", "random=-1", "random=x"])
def test_sources_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match="PATTERN=FACTOR is right"):
        WindowSettings(sources=(text,))
