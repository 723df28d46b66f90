import json
import struct
from dataclasses import asdict

import numpy as np
import pytest
import torch

from ringrift.bench import nets as bench
from ringrift.encoding import ENCODING_HASH, GLOBALS, PLANES, policy_length
from ringrift.errors import CorruptBlob, DataError, EncodingMismatch, FormatTooNew, RulesError
from ringrift.evaluators import DetailedEvaluator, OnnxEvaluator, make_evaluator, read_metadata
from ringrift.evaluators.metadata import ModelMetadata
from ringrift.nets import (
    ARCHITECTURES,
    Positions,
    TorchEvaluator,
    cost,
    export_onnx,
    initial_checkpoint,
    initial_network,
    load_checkpoint,
    random_positions,
    save_checkpoint,
)
from ringrift.nets.network import LATER_HEADS, Network
from ringrift.observe import machine
from ringrift.rules import CONFIGS, config_info


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def positions(config: str, count: int = 64, seed: int = 0) -> Positions:
    """Made-up positions: any planes, zero off the board."""
    info, rng = config_info(config), np.random.default_rng(seed)
    board = np.ones((info.height, info.width), np.uint8)
    if info.cells != info.height * info.width:
        axis = np.arange(info.width) - info.width // 2
        board = (np.abs(axis[:, None] + axis) <= info.width // 2).astype(np.uint8)
    assert board.sum() == info.cells
    planes = rng.integers(0, 3, (count, PLANES, info.height, info.width), np.uint8) * board
    planes[:, 0] = board
    addresses = rng.choice(policy_length(config), (count * 20, 2)).astype(np.int32)
    addresses[::2, 1] = -1
    return Positions(
        planes, rng.random((count, GLOBALS), np.float32), np.arange(count + 1, dtype=np.int32) * 20, addresses
    )


def random_network(architecture: str, config: str) -> Network:
    """A network whose outputs differ from position to position, as those of a trained one do."""
    network = initial_network(architecture, config, seed=1)
    torch.manual_seed(2)
    for name in ("policy", "policy_pooled", "value", "rank", *LATER_HEADS):
        torch.nn.init.normal_(getattr(network, name).weight, std=0.3)
    batch = positions(config)
    network.train()
    with torch.no_grad():
        for _ in range(20):  # the running statistics
            network(torch.from_numpy(batch.planes), torch.from_numpy(batch.globals))
    return network.eval()


@pytest.mark.parametrize("config", CONFIGS)
def test_export_reproduces_the_network(config):
    checkpoint, batch = save_checkpoint(random_network("nano", config)), positions(config)
    for precision in ("float32", "int8"):
        file, report = export_onnx(checkpoint, batch, precision=precision)
        assert report.precision == precision, report
        assert not report.refused
        evaluator = OnnxEvaluator(file)
        assert (evaluator.config, evaluator.num_seats) == (config, config_info(config).players)
        assert evaluator.metadata.precision == precision
        for size in (1, 3):
            policy, value = evaluator.evaluate(batch.planes[:size], batch.globals[:size])
            assert policy.shape == (size, policy_length(config))
            assert policy.dtype == value.dtype == np.float32
            assert value.shape == (size, evaluator.num_seats)
            np.testing.assert_allclose(value.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("config", CONFIGS)
def test_torch_and_onnx_say_the_same(config, tmp_path):
    checkpoint, batch = save_checkpoint(random_network("nano", config)), positions(config, 6)
    file, _ = export_onnx(checkpoint, batch, precision="float32")
    (tmp_path / "a.onnx").write_bytes(file)
    (tmp_path / "a.safetensors").write_bytes(checkpoint)
    onnx: DetailedEvaluator = OnnxEvaluator(tmp_path / "a.onnx")
    torch_: DetailedEvaluator = TorchEvaluator(tmp_path / "a.safetensors", device="cpu", batch=4)
    exported, truth = (asdict(e.evaluate_full(batch.planes, batch.globals)) for e in (onnx, torch_))
    for name, values in exported.items():
        assert values.dtype == truth[name].dtype == np.float32
        np.testing.assert_allclose(values, truth[name], rtol=1e-3, atol=1e-4, err_msg=name)
        assert values.std() > 0, name
    policy, value = onnx.evaluate(batch.planes, batch.globals)
    np.testing.assert_array_equal(policy, exported["logits"])
    np.testing.assert_array_equal(value, exported["value"])
    np.testing.assert_allclose(exported["rank"].sum(2), 1, rtol=1e-5)
    np.testing.assert_allclose(exported["ownership"].sum(1), batch.planes[:, 0], rtol=1e-5)
    for share in (exported["territory_share"], exported["eliminated_share"]):
        assert share.shape == (6, onnx.num_seats) and share.min() >= 0 and share.max() <= 1
    assert exported["plies_left"].shape == (6,) and exported["plies_left"].min() > -1


def test_search_does_not_compute_the_forecasts():
    import onnx

    file, _ = export_onnx(initial_checkpoint("nano", "hex8_2p"), positions("hex8_2p"))
    graph = onnx.load_from_string(file).graph
    assert [output.name for output in graph.output] == ["policy", "value"]
    assert not [node.name for node in graph.node if "ownership" in node.name]


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_at_a_fixed_batch_shape_an_answer_depends_on_its_own_position(precision):
    config, size = "hex8_3p", 8
    batch = positions(config, 21)
    file, _ = export_onnx(save_checkpoint(random_network("tiny", config)), batch, precision=precision)
    evaluator = OnnxEvaluator(file, batch=size)
    whole = asdict(evaluator.evaluate_full(batch.planes, batch.globals))
    order = np.random.default_rng(0).permutation(21)
    mixed = asdict(evaluator.evaluate_full(batch.planes[order], batch.globals[order]))
    alone = [asdict(evaluator.evaluate_full(batch.planes[i : i + 1], batch.globals[i : i + 1])) for i in range(21)]
    for name, values in whole.items():
        assert len(values) == 21
        np.testing.assert_array_equal(values[order], mixed[name], err_msg=name)
        np.testing.assert_array_equal(values, np.concatenate([one[name] for one in alone]), err_msg=name)


def test_evaluators_are_chosen_by_the_file(tmp_path):
    checkpoint, batch = initial_checkpoint("nano", "square8_2p"), positions("square8_2p")
    (tmp_path / "a.safetensors").write_bytes(checkpoint)
    (tmp_path / "a.onnx").write_bytes(export_onnx(checkpoint, batch)[0])
    for suffix, kind in ((".safetensors", TorchEvaluator), (".onnx", OnnxEvaluator)):
        made = make_evaluator("square8_2p", tmp_path / f"a{suffix}", batch=4)
        assert isinstance(made, kind)
        policy, value = made.evaluate(batch.planes[:5], batch.globals[:5])
        assert not policy.any() and (value == 0.5).all()
        with pytest.raises(RulesError, match="cannot play square8_3p"):
            make_evaluator("square8_3p", tmp_path / f"a{suffix}")
    with pytest.raises(RulesError, match=r"\.onnx"):
        make_evaluator("square8_2p", tmp_path / "a.pt")


def test_policy_is_flattened_as_plane_x_y():
    network, batch = random_network("tiny", "hex8_2p"), positions("hex8_2p", 2)
    last: list[torch.Tensor] = []
    network.policy.register_forward_hook(lambda _layer, _inputs, output: last.append(output))
    torch.nn.init.zeros_(network.policy_pooled.weight)
    with torch.no_grad():
        out = network(torch.from_numpy(batch.planes), torch.from_numpy(batch.globals))
    plane, x, y = 7, 2, 5
    assert out.policy[1, (plane * 9 + x) * 9 + y] == last[0][1, plane, x, y]


def test_float32_is_given_where_int8_is_too_far_off():
    network = random_network("nano", "square8_2p")
    with torch.no_grad():
        network.policy.weight[0] *= 3000  # one plane of logits beyond what 8 bits can share
    file, report = export_onnx(save_checkpoint(network), positions("square8_2p"))
    assert report.precision == "float32"
    assert "int8" in report.refused
    assert OnnxEvaluator(file).metadata.precision == "float32"


def test_seven_bit_weights_where_eight_would_overflow(monkeypatch):
    import onnx
    from onnx import numpy_helper

    def largest(file: bytes) -> int:
        arrays = [numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(file).graph.initializer]
        return max(
            int(np.abs(array.astype(int)).max()) for array in arrays if array.dtype == np.int8 and array.ndim > 1
        )

    checkpoint, batch = save_checkpoint(random_network("nano", "square8_2p")), positions("square8_2p")
    for flags, most in (({"avx2", "avx512_vnni"}, 127), ({"avx2", "avx_vnni"}, 127), ({"avx2"}, 64), (set(), 127)):
        monkeypatch.setattr(machine, "cpu_flags", lambda flags=flags: flags)
        monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
        file, report = export_onnx(checkpoint, batch)
        assert report.precision == "int8", report
        assert most - 1 <= largest(file) <= most
    assert largest(export_onnx(checkpoint, batch, reduced_range=True)[0]) <= 64


def test_cells_off_the_board_do_not_matter():
    network, batch = random_network("small", "hex8_3p"), positions("hex8_3p", 4)
    outside = batch.planes[0, 0] == 0
    with torch.no_grad():
        before = network(torch.from_numpy(batch.planes), torch.from_numpy(batch.globals))
        network.policy.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
        seen: list[torch.Tensor] = []
        after = network(torch.from_numpy(batch.planes), torch.from_numpy(batch.globals))
    assert not seen[0][:, :, torch.from_numpy(outside)].any()
    torch.testing.assert_close(before.value, after.value)


def test_initial_network_is_impartial_and_seeded():
    network, batch = initial_network("tiny", "square8_3p", seed=3), positions("square8_3p", 4)
    out = network.eval()(torch.from_numpy(batch.planes), torch.from_numpy(batch.globals))
    assert not out.policy.any()
    assert not out.value.any()
    assert initial_checkpoint("tiny", "square8_3p", 3) == initial_checkpoint("tiny", "square8_3p", 3)
    assert initial_checkpoint("tiny", "square8_3p", 3) != initial_checkpoint("tiny", "square8_3p", 4)


def test_untrained_weights_export_too():
    _, report = export_onnx(initial_checkpoint("tiny", "square8_2p"), positions("square8_2p"))
    assert (report.precision, report.policy_kl) == ("int8", 0)


def test_checkpoint_round_trip_and_transfer():
    network = random_network("small", "square8_2p")
    data = save_checkpoint(network, settings={"lr": 1}, parents=("ab",), steps=5, samples=7, seed=9)
    loaded, metadata = load_checkpoint(data)
    assert metadata == read_metadata(data)
    assert (metadata.parents, metadata.steps, metadata.seed) == (("ab",), 5, 9)
    assert metadata.encoding_hash == ENCODING_HASH
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)
    other, _ = load_checkpoint(data, "hexagonal_4p")
    assert (other.config, other.seats, other.masked) == ("hexagonal_4p", 4, True)


def test_older_checkpoints_have_no_forecasts():
    network, batch = random_network("nano", "square8_2p"), positions("square8_2p", 3)
    own = {name: t for name, t in network.state_dict().items() if name.partition(".")[0] not in LATER_HEADS}
    assert len(own) < len(network.state_dict())
    old = save_checkpoint(network, weights=own)
    loaded, _ = load_checkpoint(old)
    inputs = torch.from_numpy(batch.planes), torch.from_numpy(batch.globals)
    with torch.no_grad():
        found, before = loaded(*inputs), network(*inputs)
    for name in ("policy", "value", "rank"):
        torch.testing.assert_close(getattr(found, name), getattr(before, name))
    for name in ("ownership", "shares", "plies_left"):
        assert not getattr(found, name).any() and getattr(before, name).any()
    with pytest.raises(CorruptBlob, match=r"value\.weight"):
        load_checkpoint(save_checkpoint(network, weights={n: t for n, t in own.items() if n != "value.weight"}))


def test_files_without_forecasts_still_serve_search():
    import onnx

    batch = positions("square8_2p")
    file, _ = export_onnx(initial_checkpoint("nano", "square8_2p"), batch)
    model = onnx.load_from_string(file)
    onnx.helper.set_model_props(model, {p.key: p.value for p in model.metadata_props if p.key == "ringrift"})
    evaluator = OnnxEvaluator(model.SerializeToString())
    assert evaluator.evaluate(batch.planes[:2], batch.globals[:2])[1].shape == (2, 2)
    with pytest.raises(DataError, match="export its checkpoint again"):
        evaluator.evaluate_full(batch.planes[:2], batch.globals[:2])


def with_metadata(data: bytes, **changes: object) -> bytes:
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["ringrift"] = json.dumps(json.loads(header["__metadata__"]["ringrift"]) | changes)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def test_bad_checkpoints_are_refused(tmp_path):
    data = initial_checkpoint("nano", "square8_2p")
    for bad in (b"", b"x" * 5, data[:100], data[:-3], data[:-1] + bytes([data[-1] ^ 1]), b"\0" * 40):
        path = tmp_path / "bad.safetensors"
        path.write_bytes(bad)
        for source in (bad, path):
            with pytest.raises(CorruptBlob):
                load_checkpoint(source)
    with pytest.raises(FormatTooNew, match="format 99"):
        load_checkpoint(with_metadata(data, format=99, unheard_of=1))
    with pytest.raises(EncodingMismatch, match=ENCODING_HASH):
        load_checkpoint(with_metadata(data, encoding_hash="0" * 16))
    with pytest.raises(CorruptBlob, match="tiny"):
        load_checkpoint(with_metadata(data, architecture="tiny"))
    with pytest.raises(RulesError, match="did you mean 'tiny'"):
        load_checkpoint(with_metadata(data, architecture="tinny"))
    assert load_checkpoint(with_metadata(data, unheard_of=1))[1] == read_metadata(data)
    with pytest.raises(CorruptBlob):
        ModelMetadata.from_json("[]", "this")


def test_cost_of_the_table():
    for name, row in ARCHITECTURES.items():
        parameters, flops = cost(name, "square8_2p")
        shapes = ((name, p.numel()) for name, p in Network(row, "square8_2p").named_parameters())
        assert parameters == sum(size for name, size in shapes if not name.startswith(("soft_policy", "short_term")))
        convolutions = 2 * row.blocks * row.channels**2 * 9
        assert 1 < flops / (2 * 64 * convolutions) < (4 if row.blocks == 1 else 2.2)


def test_random_positions_are_decisions():
    batch = random_positions("hex8_2p", 40, seed=1)
    assert batch.planes.shape[:2] == (40, PLANES)
    assert batch.offsets[-1] == len(batch.addresses)
    assert np.diff(batch.offsets).min() > 1
    again = random_positions("hex8_2p", 40, seed=1)
    for one, other in zip(batch, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_bench_rows():
    (row,) = bench.rows("square8_2p", ["nano"], batch=8, seconds=0.01)
    assert (row["parameters"], row["flops"]) == cost("nano", "square8_2p")
    assert {"evals_per_s_float32", "evals_per_s_int8"} <= row.keys()
