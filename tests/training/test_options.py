"""Each option of TrainSettings does what it says."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributed.run import get_args_parser
from windows import window_of

from ringrift.encoding import GLOBALS
from ringrift.errors import DataError
from ringrift.nets import fill_seats, initial_checkpoint, initial_network, known_seats, load_checkpoint
from ringrift.training import TrainSettings, fit, train
from ringrift.training.data import SampleStream
from ringrift.training.fit import Learner
from ringrift.training.loss import hardness, losses, policy_divergence, softened, weights
from ringrift.training.memory import bytes_per_sample, fitting_parts, pieces
from ringrift.training.mixture import Mixture, drawn, hold_out
from ringrift.training.optim import Average, make_optimiser
from ringrift.training.schedule import Watch, learning_rate
from ringrift.training.settings import SIZES
from ringrift.training.tracking import tracked

CONFIG = "square8_2p"
FAST = TrainSettings(architecture="nano", batch_size=32, warmup_steps=1, save_every_s=0, precision="float32")
EVERYTHING = replace(
    FAST, parts=2, optimiser="sgd", learning_rate=0.02, schedule="plateau", plateau=1, swa_from=0.5, hard_examples=0.5,
    held_out=0.3, check_every=2, patience=9, soft_policy_weight=8.0, short_term_weight=0.3, precision="bfloat16",
)  # fmt: skip


@pytest.fixture(scope="module")
def window(tmp_path_factory, make_shard):
    folder = tmp_path_factory.mktemp("shards")
    return window_of([make_shard(folder / f"{seed}.npz", samples=120, seed=seed, games=10) for seed in range(2)])


@pytest.fixture(scope="module")
def batch(window):
    return SampleStream(window, CONFIG, 0).fixed(40)


def trained(window, settings, steps=6, **options):
    return train({CONFIG: window}, settings, steps=steps, seed=1, **options)


def lively(batch):
    """A network whose heads say something."""
    network = initial_network("nano", CONFIG, seed=1).eval()
    torch.manual_seed(0)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    network.training_heads = True
    return network


# -- losses ------------------------------------------------------------------------------------------------------------


def test_training_heads_learn_softened_and_short_term_targets(window, batch):
    network = lively(batch)
    out = network(batch.planes, batch.globals)
    assert out.soft_policy is not None and out.short_term is not None
    soft = softened(batch, 4.0)
    first = batch.row == 0
    expected = batch.policy[first] ** 0.25 / (batch.policy[first] ** 0.25).sum()
    torch.testing.assert_close(soft[first], expected)
    settings = TrainSettings(soft_policy_weight=8.0, short_term_weight=0.5)
    found, plain = losses(out, batch, settings), losses(out, batch, TrainSettings())
    torch.testing.assert_close(found.soft_policy, policy_divergence(out.soft_policy, batch, soft).mean())
    entropy = -(batch.short_term * out.short_term[:, :, :2].log_softmax(2)).sum(2).mean()
    torch.testing.assert_close(found.short_term, entropy)
    torch.testing.assert_close(found.total, plain.total + 8 * found.soft_policy + 0.5 * found.short_term)
    network.training_heads = False
    without = network(batch.planes, batch.globals)
    assert without.soft_policy is None
    torch.testing.assert_close(without.policy, out.policy)

    heads = ("soft_policy.weight", "short_term.weight", "ownership.weight")
    learnt = load_checkpoint(trained(window, replace(settings, architecture="nano", batch_size=32)).checkpoint)[0]
    left = load_checkpoint(trained(window, replace(FAST, ownership_weight=0.0)).checkpoint)[0]
    assert all(learnt.get_parameter(name).any() for name in heads)
    assert not any(left.get_parameter(name).any() for name in heads)


def test_hard_examples_weigh_more_within_the_same_sum(batch):
    loss, weight = torch.tensor([1.0, 1.0, 2.0, 100.0]), torch.tensor([1.0, 2.0, 1.0, 1.0])
    factor = hardness(loss, weight, 1.0)
    torch.testing.assert_close((factor * weight).sum(), weight.sum())
    assert factor[0] == factor[1] < factor[2] < factor[3]
    assert (hardness(loss, weight, 0.0) == 1).all()
    out = lively(batch)(batch.planes, batch.globals)
    mild, hard = (losses(out, batch, replace(FAST, hard_examples=power)) for power in (0.0, 1.0))
    assert hard.total > mild.total
    torch.testing.assert_close(hard.sample, mild.sample)


def test_the_hardest_samples_are_named(window):
    hardest = trained(window, FAST).hardest
    assert len(hardest) == fit.HARDEST
    assert hardest == sorted(hardest, reverse=True)
    assert {config for _, config, _ in hardest} == {CONFIG}
    assert len({index for *_, index in hardest}) == fit.HARDEST


# -- steps -------------------------------------------------------------------------------------------------------------


def test_parts_add_up_to_the_gradient_of_the_batch(batch):
    network, gradients = lively(batch), []
    for parts in (1, 3):
        network.zero_grad()
        for part in pieces(batch, parts):
            losses(network(part.planes, part.globals), part, FAST, weights(batch)).total.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)
    assert [len(part.weight) for part in pieces(batch, 3)] == [13, 13, 14]


def test_parts_by_memory(batch, monkeypatch):
    each = bytes_per_sample(lively(batch), batch, FAST)
    assert 50_000 < each < 2_000_000  # nano keeps about 60 planes of 64 float32 numbers, and the policy twice
    assert fitting_parts(each, 256, 2 * 256 * each) == 1
    assert fitting_parts(each, 256, 256 * each) == 2
    assert fitting_parts(each, 256, 0) == 256
    learner = Learner(fit.initial_checkpoint("nano", CONFIG), CONFIG, replace(FAST, parts=0))
    monkeypatch.setattr(fit, "free_memory", lambda device: 2 * 10 * each)
    before = {name: tensor.clone() for name, tensor in learner.network.named_buffers()}
    learner.learn(CONFIG, batch, 1e-9, 10)
    assert learner.state()["parts"] == 4  # of 40 samples
    probed = {name for name, tensor in learner.network.named_buffers() if tensor.dtype == torch.int64}
    assert all(learner.network.get_buffer(name) == before[name] + 4 for name in probed)


def test_out_of_memory_is_answered_with_smaller_parts(batch, monkeypatch):
    learner = Learner(fit.initial_checkpoint("nano", CONFIG), CONFIG, FAST)
    whole = learner.network.forward

    def small(planes, globals_):
        if len(planes) > 12:
            raise torch.OutOfMemoryError("too much")
        return whole(planes, globals_)

    monkeypatch.setattr(learner.network, "forward", small)
    learner.learn(CONFIG, batch, 1e-3, 10)
    assert learner.state()["parts"] == 4
    assert learner.step == 1


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [1, 1, 1, 1]),
        ("cosine", [0.98, 0.55, 0.1, 0.1]),
        ("one-cycle", [0.325, 0.83, 0.1, 0.1]),
        ("plateau", [0.25, 0.25, 0.25, 0.25]),
        ("feedback", [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_schedules(schedule, rates):
    settings = TrainSettings(schedule=schedule, learning_rate=1.0, held_out=0.1)
    found = [learning_rate(settings, step, 100, 1000, drops=2) for step in (10, 50, 100, 100)]
    assert found == pytest.approx(rates, abs=0.015)
    assert learning_rate(settings, 50, 100, 25, 2) == pytest.approx(found[1] / 2)  # warming up
    assert learning_rate(settings, 100, 100, 1000, drops=99) == pytest.approx(rates[2] if "c" in schedule[:4] else 0.1,
                                                                               abs=0.01)  # fmt: skip


def test_the_rate_reaches_the_optimiser(window, tmp_path):
    for settings, rejected, wanted in (
        (replace(FAST, schedule="cosine", last_rate=0.0), 0, 0.0),
        (replace(FAST, schedule="feedback"), 1, FAST.learning_rate / 2),
    ):
        state = tmp_path / settings.schedule
        trained(window, settings, rejected=rejected, state_path=state)
        groups = torch.load(state, weights_only=True)["optimiser"]["param_groups"]
        assert groups[0]["lr"] == pytest.approx(wanted)


def test_plateau_and_patience_watch_the_held_out_loss():
    settings = TrainSettings(schedule="plateau", plateau=2, patience=3, held_out=0.1)
    watch = Watch()
    seen = [(watch.see(loss, settings), watch.drops, watch.has_enough(settings)) for loss in (3, 2, 2.5, 2.4, 2.3)]
    assert seen == [(True, 0, False), (True, 0, False), (False, 0, False), (False, 1, False), (False, 1, True)]


def test_early_stopping_keeps_the_best_weights(window):
    settings = replace(FAST, held_out=0.3, check_every=1, patience=2, learning_rate=0.3, average=0.0, clip=0)
    result = trained(window, settings, steps=200)
    assert 2 < len(result.curve) < 200  # two looks after the best one
    assert result.metadata.steps == len(result.curve)
    assert result.held_out is not None
    kept = trained(window, settings, steps=len(result.curve) - 2)
    assert kept.held_out == result.held_out  # the two last steps made it worse, and are not in the checkpoint
    assert result.metrics()["held_out"] == result.held_out


def test_sgd_is_sgd(window):
    network = initial_network("nano", CONFIG)
    optimiser = make_optimiser(network, replace(FAST, optimiser="sgd", momentum=0.5))
    assert isinstance(optimiser, torch.optim.SGD)
    assert optimiser.param_groups[0]["momentum"] == 0.5
    result = trained(window, replace(FAST, optimiser="sgd", learning_rate=0.05), steps=15)
    assert result.after < result.before


def test_averages():
    network = torch.nn.Linear(1, 1, bias=False)
    start = network.weight.item()
    moving, plain = (Average(network, replace(FAST, average=0.9, swa_from=s)) for s in (0.0, 0.5))
    for step in range(1, 11):
        network.weight.data.fill_(float(step))
        for average in (moving, plain):
            average.take(network, step, 10, 1000)
    assert plain.counted == 5
    assert plain.weights["weight"].item() == pytest.approx(np.mean([6, 7, 8, 9, 10]))
    decayed = start * 0.9**10 + sum(0.1 * 0.9 ** (10 - step) * step for step in range(1, 11))
    assert moving.weights["weight"].item() == pytest.approx(decayed)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])  # float16 takes 0.1 s a sample and step on a CPU
def test_mixed_precision_learns(window, precision, tmp_path):
    settings = replace(FAST, precision=precision, batch_size=4, optimiser="sgd", learning_rate=0.02)
    result = trained(window, settings, steps=5, state_path=tmp_path / "state")
    assert result.after < result.before
    scale = torch.load(tmp_path / "state", weights_only=True)["scaler"]
    assert (
        (scale["scale"] < 65536) if precision == "float16" else not scale
    )  # the first steps overflow, and are left out
    assert all(t.dtype != torch.float16 for t in load_checkpoint(result.checkpoint)[0].state_dict().values())


# -- data --------------------------------------------------------------------------------------------------------------


def test_held_out_games_are_whole_the_same_everywhere_and_not_trained_on(window):
    share = drawn(np.arange(100_000), 0.2).mean()
    assert share == pytest.approx(0.2, abs=0.005)
    trained_on, held = hold_out(window, 0.3)
    first, second = (SampleStream(part, CONFIG, 0) for part in (trained_on, held))
    assert len(first) + len(second) == 240
    games = [set(stream.game_id[b.index.numpy()]) for stream in (first, second) for b in [stream.fixed(999)]]
    assert games[0] & games[1] == set()
    assert games[1] == set(np.arange(1, 11)[drawn(np.arange(1, 11), 0.3)])
    seen = np.concatenate([b.index.numpy() for b in first.batches(20, 0, 30)])
    assert set(seen) == set(first.fixed(999).index.numpy())
    with pytest.raises(DataError, match="no sample"):
        SampleStream(hold_out(window, 0.001)[1], CONFIG, 0)


def test_sizes_follow_from_the_samples():
    free = TrainSettings(batch_size=0, passes=0.0)
    assert [(free.sized(n).batch_size, free.sized(n).passes) for n, *_ in SIZES] == [tuple(row[1:]) for row in SIZES]
    assert free.sized(30_000).steps(12_800) == 150
    assert TrainSettings().sized(5) == TrainSettings()


def test_two_processes_share_the_samples(window):
    whole = next(SampleStream(window, CONFIG, 3).batches(20, 0, 1)).index.tolist()
    halves = [next(SampleStream(window, CONFIG, 3, rank=r, world=2).batches(10, 0, 1)).index.tolist() for r in (0, 1)]
    assert sorted(whole) == sorted(halves[0] + halves[1])


def test_one_network_for_several_configs(window, tmp_path, make_shard):
    other = window_of([make_shard(tmp_path / "other.npz", "hex8_3p", 80)])
    windows = {CONFIG: window, "hex8_3p": other}
    stream = Mixture({c: SampleStream(w, c, 0) for c, w in windows.items()}, {CONFIG: 240, "hex8_3p": 80})
    drawn_from = [config for config, _ in stream.batches(10, 0, 12)]
    assert drawn_from.count("hex8_3p") == 3
    later = [(config, b.index.tolist()) for config, b in stream.batches(10, 5, 12)]
    assert later == [(config, b.index.tolist()) for config, b in stream.batches(10, 0, 12)][5:]
    result = train(windows, FAST, steps=24, seed=1)
    assert result.after < result.before
    (first, one), (second, two) = (load_checkpoint(result.checkpoints[c]) for c in windows)
    assert (one.config, two.config) == (CONFIG, "hex8_3p")
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, second.get_parameter(name))
    running = "blocks.0.norm1.running_mean"
    assert not torch.equal(first.get_buffer(running), second.get_buffer(running))


# -- transfer ----------------------------------------------------------------------------------------------------------


def test_new_seats_begin_as_the_known_opponents(window):
    two = load_checkpoint(trained(window, FAST, steps=10).checkpoint)[0]
    assert known_seats(two) == 2
    rows = two.value.weight.detach().clone()
    fill_seats(two)
    assert known_seats(two) == 4
    torch.testing.assert_close(two.value.weight[:2], rows[:2])
    torch.testing.assert_close(two.value.weight[2], rows[1])
    torch.testing.assert_close(two.value.weight[3], rows[1])
    torch.testing.assert_close(two.stem.weight[:, 4], two.stem.weight[:, 3])  # `top` of the opponents
    torch.testing.assert_close(two.stem_globals.weight[:, 12], two.stem_globals.weight[:, 11])  # rings in hand
    torch.testing.assert_close(two.hidden.weight[:, -GLOBALS + 12], two.hidden.weight[:, -GLOBALS + 11])
    untrained = initial_network("nano", "square8_4p")
    fill_seats(untrained)
    torch.testing.assert_close(untrained.stem.weight, initial_network("nano", "square8_2p").stem.weight)


def test_transfer_to_another_board_and_more_seats_warms_up_again(window, tmp_path, make_shard):
    parent = trained(window, FAST, steps=20)
    other = window_of([make_shard(tmp_path / "other.npz", "hex8_3p", 80)])
    settings = replace(FAST, warmup_steps=40)
    result = train(
        {"hex8_3p": other}, settings, steps=5, seed=1, parent=parent.checkpoint, state_path=tmp_path / "state"
    )
    assert result.metadata.config == "hex8_3p"
    assert result.metadata.steps == 25
    assert result.after < result.before
    rate = torch.load(tmp_path / "state", weights_only=True)["optimiser"]["param_groups"][0]["lr"]
    assert rate == pytest.approx(settings.learning_rate * 5 / 40)


# -- going on ----------------------------------------------------------------------------------------------------------


def test_settings_hold_in_the_next_round_too(window, tmp_path):
    first = trained(window, FAST, state_path=tmp_path / "state")
    trained(window, replace(FAST, weight_decay=0.05), parent=first.checkpoint, state_path=tmp_path / "state")
    (group,) = torch.load(tmp_path / "state", weights_only=True)["optimiser"]["param_groups"]
    assert group["weight_decay"] == 0.05


def test_all_processes_decide_by_the_same_held_out_loss(window, monkeypatch):
    monkeypatch.setattr(fit.distributed, "once", lambda _: 7.25)
    learner = Learner(initial_checkpoint("nano", CONFIG), CONFIG, replace(FAST, held_out=0.3, patience=2))
    for _ in range(3):
        learner.look({CONFIG: SampleStream(window, CONFIG, 1).fixed(9)})
    assert learner.held_out == 7.25 and learner.watch.has_enough(learner.settings)


def test_every_option_goes_on_bit_for_bit(window, tmp_path):
    whole = trained(window, EVERYTHING, steps=8)

    class Killed(Exception):
        pass

    def kill(progress):
        raise Killed

    for attempt in range(3):
        with pytest.raises(Killed):
            trained(window, EVERYTHING, steps=8, state_path=tmp_path / "state", progress=kill)
        if attempt == 0:
            assert 0 < torch.load(tmp_path / "state", weights_only=True)["step"] < 8
    resumed = trained(window, EVERYTHING, steps=8, state_path=tmp_path / "state")
    assert resumed.checkpoint == whole.checkpoint
    assert (resumed.held_out, resumed.hardest) == (whole.held_out, whole.hardest)
    np.testing.assert_array_equal(resumed.curve, whole.curve)


CHILD = """
import json, sys
from pathlib import Path
from windows import window_of
from ringrift.training import TrainSettings, distributed, train
shards, settings, steps, folder = json.loads(sys.argv[1])
window = window_of([Path(path) for path in shards])
result = train({"square8_2p": window}, TrainSettings(**settings), steps=steps, seed=1,
               state_path=Path(folder, "state"), track=Path(folder))
Path(folder, f"result-{distributed.rank()}").write_bytes(result.checkpoint)
Path(folder, f"curve-{distributed.rank()}").write_text(json.dumps(result.curve.tolist()))
"""


def child(window, settings, steps, folder, *launcher):
    given = json.dumps([[str(part.path) for part in window.parts], vars(settings), steps, str(folder)])
    Path(folder, "child.py").write_text(CHILD)
    beside = str(Path(__file__).parents[1])  # where `windows` is
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": beside}
    return subprocess.Popen([sys.executable, *launcher, str(Path(folder, "child.py")), given], env=environment)


@pytest.mark.slow
def test_sigkill_ends_at_the_same_checkpoint(window, tmp_path):
    process = child(window, EVERYTHING, 100, tmp_path)
    deadline = time.monotonic() + 120
    while not (tmp_path / "state").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < torch.load(tmp_path / "state", weights_only=True)["step"] < 100
    whole = trained(window, EVERYTHING, steps=100)
    resumed = trained(window, EVERYTHING, steps=100, state_path=tmp_path / "state", track=tmp_path)
    assert resumed.checkpoint == whole.checkpoint
    (kept,) = tracked(tmp_path)
    assert [row["step"] for row in kept.rows] == sorted({row["step"] for row in kept.rows})
    assert (kept.about["status"], kept.rows[-1]["step"]) == ("finished", len(whole.curve))


def test_the_command_for_two_processes_is_one_that_torchrun_takes():
    """Its own options that begin as ours do (`--run-path`) are not taken for them."""
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    (command,) = re.findall("`torchrun (.+?)`", page)
    given = get_args_parser().parse_args(command.split())
    assert (given.module, given.training_script) == (True, "ringrift")
    assert given.training_script_args == ["train", "--config", "C", "--run", "DIR"]


@pytest.mark.slow
def test_two_processes_learn_one_network(window, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    settings = replace(FAST, parts=2, soft_policy_weight=1.0, ownership_weight=0.0)
    assert child(window, settings, 12, tmp_path, *launcher).wait(120) == 0
    results = [(tmp_path / f"result-{rank}").read_bytes() for rank in (0, 1)]
    assert results[0] == results[1]
    curves = [json.loads((tmp_path / f"curve-{rank}").read_text()) for rank in (0, 1)]
    assert curves[0] == curves[1]
    assert curves[0][-1][0] < 0.8 * curves[0][0][0]
    # The first batch is the one that a single process draws, and so is its loss, but for batch normalisation's parts.
    alone = trained(window, replace(settings, parts=4), steps=1)
    assert curves[0][0][0] == pytest.approx(float(alone.curve[0, 0]), rel=1e-3)
