"""The stream of samples: the same for the same seed, resumable anywhere, shared by processes, small in memory."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from windows import window_of

from ringrift.errors import CorruptBlob
from ringrift.store.samples import read_shard
from ringrift.training.data import SampleStream

CONFIG = "square8_2p"


@pytest.fixture(scope="module")
def window(tmp_path_factory, make_shard):
    folder = tmp_path_factory.mktemp("shards")
    return window_of([make_shard(folder / f"{n}.npz", samples=100 + n, seed=n, games=10) for n in range(3)])


def drawn(window, size, start, stop, seed=3, **place):
    return [batch.index.tolist() for batch in SampleStream(window, CONFIG, seed, **place).batches(size, start, stop)]


def test_every_turn_has_each_sample_once_and_begins_anywhere(window):
    whole = drawn(window, 20, 0, 40)
    flat = np.concatenate(whole)
    assert sorted(flat[:303]) == sorted(flat[303:606]) == list(range(303))
    assert flat[:303].tolist() != flat[303:606].tolist()
    assert np.abs(np.diff(flat[:303])).mean() > 60  # of neighbours in the order of the disk it would be 1
    for start, stop in ((0, 3), (17, 40), (39, 40)):
        assert drawn(window, 20, start, stop) == whole[start:stop]
    assert drawn(window, 20, 0, 5, seed=4) != whole[:5]


@pytest.mark.parametrize("block", [1, 50, 10_000])
def test_how_much_is_read_together_changes_nothing(window, monkeypatch, block):
    whole = drawn(window, 20, 0, 12)
    monkeypatch.setattr("ringrift.training.data.BLOCK", block)
    assert drawn(window, 20, 0, 12) == whole


def test_processes_share_the_sequence(window):
    whole = [index for batch in drawn(window, 30, 0, 11) for index in batch]
    shares = [drawn(window, 10, 0, 11, rank=rank, world=3) for rank in range(3)]
    for rank, share in enumerate(shares):
        assert [index for batch in share for index in batch] == whole[rank::3]


def test_batches_hold_what_the_shards_hold(window):
    parts = [read_shard(part.path) for part in window.parts]
    (batch,) = SampleStream(window, CONFIG, 0).batches(64, 2, 3)
    for place, index in enumerate(batch.index.tolist()):
        part, row = next((p, index - sum(map(len, parts[:n]))) for n, p in enumerate(parts)
                         if index < sum(map(len, parts[: n + 1])))  # fmt: skip
        assert np.array_equal(batch.planes[place], part.planes(np.array([row]))[0])
        assert np.array_equal(batch.globals[place], part.globals[row])
        _, address, target = part.policy(np.array([row]))
        assert np.array_equal(batch.address[batch.row == place], address)
        assert np.array_equal(batch.policy[batch.row == place], target.astype(np.float32))
        assert np.array_equal(batch.short_term[place], part.short_term_value[row].astype(np.float32))


def test_games_are_drawn_as_their_weights_say(window):
    weights = np.array([0, 0.5, 1, 2, 1, 1, 1, 1, 1, 1], np.float32)
    weighted = replace(window, parts=tuple(replace(part, game_weight=weights) for part in window.parts))
    stream = SampleStream(weighted, CONFIG, 1)
    game, count = stream.game_id, np.zeros(303)
    turns = 40
    for batch in stream.batches(len(stream), 0, turns):
        count += np.bincount(batch.index, minlength=303)
    assert len(stream) == np.count_nonzero(game != 1)
    assert not count[game == 1].any()
    share = weights[game - 1] / weights[game - 1].sum() * len(stream) * turns
    assert np.abs(count - share).max() <= 8  # a whole number each turn, by systematic draws: far closer than by lot
    assert np.bincount(game, count)[1:] == pytest.approx(np.bincount(game, share)[1:], abs=24)


def test_surprising_samples_come_more_often_and_may_weigh_less(window):
    surprise = np.concatenate([read_shard(part.path).surprise for part in window.parts]).astype(np.float64)
    half = replace(window, surprise=0.5)
    factor = 0.5 + 0.5 * surprise / surprise.mean()
    stream, count = SampleStream(half, CONFIG, 1), np.zeros(303)
    for batch in stream.batches(303, 0, 40):
        count += np.bincount(batch.index, minlength=303)
        assert (batch.weight == 1).all()
    assert np.corrcoef(count, factor)[0, 1] > 0.98
    assert count[surprise < np.median(surprise)].sum() < 0.42 * count.sum()
    for batch in SampleStream(replace(half, correction=1.0), CONFIG, 1).batches(303, 0, 2):
        assert batch.weight.numpy() == pytest.approx(1 / factor[batch.index.numpy()], rel=1e-3)
    evenly = SampleStream(replace(window, surprise=1.0, correction=1.0), CONFIG, 1).fixed(303)
    assert (evenly.weight == 1).all(), "losses are measured on samples that were not drawn"
    assert replace(half, correction=1.0).digest != half.digest != window.digest


def test_a_damaged_shard_is_named(window, tmp_path):
    good = window.parts[0].path.read_bytes()
    for at in range(0, len(good), len(good) // 7):
        bad = tmp_path / "bad.npz"
        bad.write_bytes(good[:at])
        with pytest.raises(CorruptBlob, match=r"bad\.npz"):
            SampleStream(replace(window, parts=(replace(window.parts[0], path=bad),)), CONFIG, 0)


MEASURE = """
import resource, sys
from pathlib import Path
from windows import window_of
from ringrift.training.data import SampleStream
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
window = window_of(map(Path, sys.argv[1:]))
before, highest = resident(), 0
for batch in SampleStream(window, "square8_2p", 0).batches(256, 0, 60):
    highest = max(highest, resident())
print(before, highest, sum(part.path.stat().st_size for part in window.parts))
"""


def test_memory_does_not_grow_with_the_window(tmp_path, make_shard):
    shard = make_shard(tmp_path / "0.npz", samples=2000, games=5)
    paths = [shard]
    for n in range(1, 120):
        (copy := tmp_path / f"{n}.npz").hardlink_to(shard)
        paths.append(copy)
    command, here = [sys.executable, "-c", MEASURE, *map(str, paths)], Path(__file__).parents[1]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=here)
    before, highest, size = map(int, out.stdout.split())
    assert size > 150e6
    assert highest - before < 60e6
