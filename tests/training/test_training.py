from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from windows import window_of

from ringrift.errors import CorruptBlob, DataError
from ringrift.nets import initial_checkpoint, initial_network, load_checkpoint
from ringrift.nets.network import MAX_SEATS, TRAINING_HEADS, Outputs
from ringrift.rules import CONFIGS
from ringrift.training import TrainSettings
from ringrift.training import train as train_windows
from ringrift.training.data import SampleStream
from ringrift.training.loss import losses

FAST = TrainSettings(architecture="nano", batch_size=64, threads=1, warmup_steps=5, average=0.9, save_every_s=0)


def train(shards, config, settings, **options):
    return train_windows({config: window_of(shards)}, settings, **options)


@pytest.fixture(scope="module")
def shards(tmp_path_factory, make_shard):
    folder = tmp_path_factory.mktemp("shards")
    return [make_shard(folder / f"{seed}.npz", samples=200 + seed, seed=seed) for seed in range(2)]


def test_it_learns(shards):
    seen = []
    result = train(shards, "square8_2p", FAST, steps=40, seed=1, progress=seen.append)
    assert result.after < 0.6 * result.before
    assert result.curve.shape == (40, 3)
    assert result.samples == 401
    assert (seen[-1].step, seen[-1].steps) == (40, 40)
    assert seen[-1].samples_per_s > 0
    assert result.metadata.steps == 40
    assert result.metadata.samples == 40 * 64
    network, metadata = load_checkpoint(result.checkpoint)
    assert metadata == result.metadata
    assert not network.training


def test_three_seats_and_other_boards(tmp_path, make_shard):
    for config in ("hex8_3p", "square8_4p"):
        result = train([make_shard(tmp_path / config, config, 80)], config, FAST, steps=25, seed=1)
        assert result.after < result.before


def test_same_arguments_same_checkpoint(shards):
    first, again, other = (train(shards, "square8_2p", FAST, steps=6, seed=s).checkpoint for s in (1, 1, 2))
    assert first == again != other


def test_killed_run_ends_at_the_same_checkpoint(shards, tmp_path):
    whole = train(shards, "square8_2p", FAST, steps=12, seed=1)
    state = tmp_path / "state.pt"

    class Killed(Exception):
        pass

    def kill(progress):
        raise Killed

    with pytest.raises(Killed):  # the state of every step is saved before it is shown
        train(shards, "square8_2p", FAST, steps=12, seed=1, state_path=state, progress=kill)
    assert torch.load(state, weights_only=True)["step"] > 0
    seen = []
    resumed = train(shards, "square8_2p", FAST, steps=12, seed=1, state_path=state, progress=seen.append)
    assert resumed.checkpoint == whole.checkpoint
    np.testing.assert_array_equal(resumed.curve, whole.curve)
    done = train(shards, "square8_2p", FAST, steps=12, seed=1, state_path=state)  # killed after the last step
    assert done.checkpoint == whole.checkpoint and done.set_aside == ""


def test_an_optimiser_without_the_newer_heads_is_left_behind(shards, tmp_path):
    state = tmp_path / "state.pt"
    first = train(shards, "square8_2p", FAST, steps=5, seed=1, state_path=state)
    kept = torch.load(state, weights_only=True)
    kept["weights"] = {name: t for name, t in kept["weights"].items() if not name.startswith("ownership")}
    torch.save(kept, state)
    again = train(shards, "square8_2p", FAST, steps=5, seed=2, parent=first.checkpoint, state_path=state)
    assert again.checkpoint == train(shards, "square8_2p", FAST, steps=5, seed=2, parent=first.checkpoint).checkpoint


def test_next_round_goes_on_with_the_optimiser(shards, tmp_path):
    state = tmp_path / "state.pt"
    first = train(shards, "square8_2p", FAST, steps=5, seed=1, state_path=state)
    parent = tmp_path / "parent"
    parent.write_bytes(first.checkpoint)
    second = train(shards, "square8_2p", FAST, steps=5, seed=2, parent=parent, state_path=state)
    assert second.metadata.steps == 10
    assert second.metadata.parents != first.metadata.parents
    kept = torch.load(state, weights_only=True)["optimiser"]["state"]
    assert {int(entry["step"]) for entry in kept.values()} == {10}
    afresh = train(shards, "square8_2p", FAST, steps=5, seed=2, parent=parent)
    assert afresh.checkpoint != second.checkpoint
    whole = state.read_bytes()
    flipped = bytearray(whole)
    weights = torch.load(state, weights_only=True)["weights"]["stem_globals.weight"]
    flipped[whole.index(weights.numpy().tobytes()) + 2] ^= 1  # PyTorch's loader does not notice
    for bad in (b"written by another program", whole[:5000], bytes(flipped)):
        state.write_bytes(bad)
        again = train(shards, "square8_2p", FAST, steps=5, seed=2, parent=parent, state_path=state)
        assert again.checkpoint == afresh.checkpoint  # from the parent alone
        assert Path(again.set_aside).read_bytes() == bad and ".damaged-" in again.set_aside


def test_policy_loss_against_a_plain_computation(shards):
    window = SampleStream(window_of(shards), "square8_2p", 5)
    batch = window.batch(np.array([3, 250, 7]))
    logits = torch.randn(3, 3141, generator=torch.Generator().manual_seed(0))
    seats = torch.zeros(3, MAX_SEATS)
    shares, ownership = torch.zeros(3, 2, MAX_SEATS), torch.zeros(3, 1 + MAX_SEATS, 8, 8)
    out = Outputs(logits, seats, torch.zeros(3, MAX_SEATS, MAX_SEATS), ownership, shares, torch.zeros(3))
    expected = []
    for sample in range(3):
        mine = batch.row == sample
        first, second = batch.address[mine].unbind(1)
        chosen = logits[sample, first] + torch.where(second >= 0, logits[sample, second], 0)
        target = batch.policy[mine]
        expected.append((target * (target.log() - chosen.log_softmax(0))).sum())
    found = losses(out, batch, FAST)
    torch.testing.assert_close(found.policy, torch.stack(expected).mean(), rtol=1e-4, atol=1e-5)
    assert found.value.item() == pytest.approx(np.log(2))
    assert found.rank.item() == pytest.approx(np.log(2))
    assert found.ownership.item() == pytest.approx(np.log(3))
    assert found.shares.item() == pytest.approx(np.log(2))
    assert found.plies_left.item() == pytest.approx((batch.plies_left.log1p() - 0.5).mean().item())
    weighted = found.policy + 2 * found.value + 3 * found.rank + 4 * found.ownership + 5 * found.shares
    settings = replace(FAST, value_weight=2, rank_weight=3, ownership_weight=4, shares_weight=5, plies_left_weight=6)
    torch.testing.assert_close(losses(out, batch, settings).total, weighted + 6 * found.plies_left)


@pytest.mark.parametrize("config", CONFIGS)
def test_losses_and_gradients_are_finite_on_every_config(tmp_path, make_shard, config):
    batch = SampleStream(window_of([make_shard(tmp_path / "shard", config, 6)]), config, 0).batch(np.arange(6))
    network = initial_network("nano", config).train()
    found = losses(network(batch.planes, batch.globals), batch, TrainSettings())
    found.total.backward()
    assert torch.isfinite(torch.stack(list(found[:-1]))).all()
    gradients = [p.grad for name, p in network.named_parameters() if name.partition(".")[0] not in TRAINING_HEADS]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


def test_stream_merges_shards_and_shows_each_sample_once_a_turn(shards):
    from ringrift.store.samples import read_shard

    window, parts = SampleStream(window_of(shards), "square8_2p", 5), [read_shard(path) for path in shards]
    rows = np.array([0, 199, 200, 400])
    batch = window.batch(rows)
    expected = np.concatenate([parts[0].planes(np.array([0, 199])), parts[1].planes(np.array([0, 200]))])
    np.testing.assert_array_equal(batch.planes.numpy(), expected)
    np.testing.assert_array_equal(batch.globals[3].numpy(), parts[1].globals[200])
    one = parts[1].policy(np.array([200]))
    np.testing.assert_array_equal(batch.address[batch.row == 3].numpy(), one[1])
    seen = torch.cat([b.globals[:, 0] for b in window.batches(100, 0, 9)])[:802].view(2, 401)
    assert (seen.sort(1).values[0] == seen.sort(1).values[1]).all()
    resumed = next(iter(window.batches(100, 6, 7)))
    torch.testing.assert_close(resumed.globals[:, 0], seen.flatten()[600:700])


def test_bad_input(shards, tmp_path):
    with pytest.raises(DataError, match="no sample of hex8_2p"):
        train([], "hex8_2p", FAST, steps=1, seed=0)
    with pytest.raises(DataError, match="square8_2p; hex8_2p is being trained"):
        train(shards, "hex8_2p", FAST, steps=1, seed=0)
    cut = tmp_path / "cut.npz"
    cut.write_bytes(shards[0].read_bytes()[:5000])
    with pytest.raises(CorruptBlob, match="cut"):
        train([cut], "square8_2p", FAST, steps=1, seed=0)
    with pytest.raises(CorruptBlob):
        train(shards, "square8_2p", FAST, steps=1, seed=0, parent=initial_checkpoint("nano", "square8_2p")[:-1])
    wild = TrainSettings(architecture="nano", learning_rate=1e30, warmup_steps=1, threads=1, clip=0)
    with pytest.raises(DataError, match="learning_rate"):
        train(shards, "square8_2p", wild, steps=20, seed=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", -1),
        ("passes", -1.0),
        ("schedule", "linear"),
        ("patience", 1),
        ("average", 1.0),
        ("precision", "int8"),
        ("device", "tpu"),
        ("clip", -1.0),
    ],
)
def test_settings_out_of_range(field, value):
    with pytest.raises(ValueError, match=field):
        TrainSettings(**{field: value})


def test_steps_per_new_sample():
    assert TrainSettings(batch_size=256, passes=4).steps(6400) == 100
    assert TrainSettings(batch_size=256, passes=1, first_passes=4).steps(6400, untrained=True) == 100
    assert TrainSettings(batch_size=256, passes=1, first_passes=0).steps(6400, untrained=True) == 25
    assert TrainSettings().steps(0) == 1
