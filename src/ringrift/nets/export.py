"""From a checkpoint to the ONNX file that search runs, each export checked against torch on real positions.

`int8` runs the convolutions in 8-bit arithmetic (static quantisation, calibrated on the positions given) about three
times as fast; where it does not reproduce the network within `BOUNDS`, the float32 file is given instead and the report
says so. On x86 processors without VNNI, pairs of 8-bit products overflow: there the weights get 7 bits
(`observe.machine.saturates_int8`), which is right everywhere and less exact.
"""

import base64
import hashlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper

from ringrift.encoding import GLOBALS, PLANES
from ringrift.errors import DataError
from ringrift.evaluators.metadata import KEY, ModelMetadata
from ringrift.evaluators.onnx import FORECASTS, OUTPUTS, SEARCHED, OnnxEvaluator
from ringrift.fabric.scratch import scratch
from ringrift.nets.checkpoint import load_checkpoint
from ringrift.nets.network import Inference, Network
from ringrift.nets.positions import Positions, random_positions
from ringrift.observe.machine import saturates_int8
from ringrift.rules import config_info

OPSET = 17
#: Largest mean KL divergence of the policies over the playable moves (nats), and mean error of a winning probability.
BOUNDS = {"float32": (1e-4, 1e-4), "int8": (0.02, 0.02)}


@dataclass(frozen=True)
class ExportReport:
    """How far the exported network is from the checkpoint, over the positions it was checked on."""

    precision: str
    """What the file computes in: `float32` or `int8`."""
    positions: int
    policy_kl: float
    """Mean KL divergence from torch's policy over the playable moves, in nats."""
    value_error: float
    """Mean absolute error of a winning probability."""
    refused: str = ""
    """Why the int8 file was not taken; empty where it was taken or not asked for."""

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def export_onnx(
    checkpoint: Path | bytes,
    positions: Positions | None = None,
    *,
    precision: str = "int8",
    config: str | None = None,
    reduced_range: bool | None = None,
) -> tuple[bytes, ExportReport]:
    """The ONNX file of a checkpoint for its own config or `config`, and how it compares on `positions`.

    The positions should be such as the network will meet, a hundred or more; without any, random play is taken.
    `reduced_range`: int8 weights of 7 bits, for processors without VNNI; by default, where this one is such.

    Raises: as `load_checkpoint`; DataError where even float32 does not reproduce the checkpoint.
    """
    data = checkpoint.read_bytes() if isinstance(checkpoint, Path) else checkpoint
    network, metadata = load_checkpoint(data, config)
    metadata = replace(metadata, config=network.config, checkpoint=hashlib.sha256(data).hexdigest())
    model = _traced(network)
    positions = random_positions(network.config) if positions is None else positions
    refused = ""
    if precision == "int8":
        reduced_range = saturates_int8() if reduced_range is None else reduced_range
        file = _stamped(_quantised(model, positions, reduced_range), metadata, "int8")
        report = compare(network, file, positions, "int8")
        refused = _excess(report)
        if not refused:
            return file, report
    file = _stamped(model, metadata, "float32")
    report = replace(compare(network, file, positions, "float32"), refused=refused)
    if excess := _excess(report):
        raise DataError(f"the exported network does not reproduce its checkpoint: {excess}")
    return file, report


def compare(network: Network, file: bytes, positions: Positions, precision: str) -> ExportReport:
    """The exported network beside torch."""
    policy, value = OnnxEvaluator(file).evaluate(positions.planes, positions.globals)
    with torch.no_grad():
        truth = Inference(network.eval())(torch.from_numpy(positions.planes), torch.from_numpy(positions.globals))
    kl = np.zeros(len(value))
    for b in range(len(value)):
        rows = positions.addresses[positions.offsets[b] : positions.offsets[b + 1]]
        p, q = _log_policy(truth[0][b].numpy(), rows), _log_policy(policy[b], rows)
        kl[b] = np.exp(p) @ (p - q)
    error = float(np.abs(value - truth[1].numpy()).mean())
    return ExportReport(precision, len(value), float(kl.mean()), error)


def _log_policy(logits: NDArray[np.float32], addresses: NDArray[np.int32]) -> NDArray[np.float64]:
    chosen = logits[addresses[:, 0]].astype(np.float64)
    chosen += np.where(addresses[:, 1] >= 0, logits[addresses[:, 1]], 0.0)
    chosen -= chosen.max()
    return np.asarray(chosen - np.log(np.exp(chosen).sum()))


def _excess(report: ExportReport) -> str:
    kl, error = BOUNDS[report.precision]
    if report.policy_kl <= kl and report.value_error <= error:  # a NaN fails too
        return ""
    return (
        f"policy KL {report.policy_kl:.2g} (bound {kl:g}), value error {report.value_error:.2g} (bound {error:g})"
        f" in {report.precision} over {report.positions} positions"
    )


def _traced(network: Network) -> Any:
    """The network as an ONNX model: uint8 planes in, any batch size."""
    info = config_info(network.config)
    example = torch.ones(2, PLANES, info.height, info.width, dtype=torch.uint8), torch.zeros(2, GLOBALS)
    inputs = ("planes", "globals")
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The tracing exporter is marked as old; the new one takes 7 s for what this one does in 0.3 s (torch 2.13).
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Inference(network).eval(),
            example,
            file,  # type: ignore[arg-type]  # torch writes to any binary file
            input_names=list(inputs),
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "batch"} for name in (*inputs, *OUTPUTS)},
            opset_version=OPSET,
            dynamo=False,
        )
    return onnx.load_from_string(file.getvalue())


def _stamped(model: Any, metadata: ModelMetadata, precision: str) -> bytes:
    """The file: the graph that search runs, with the rest beside it (`evaluators.onnx`)."""
    searched, rest = onnx.ModelProto(), onnx.ModelProto()
    searched.CopyFrom(model)
    graph, beside, needed = searched.graph, rest.graph, set(SEARCHED)
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
    for part in ("value_info", "node", "initializer", "output"):
        del getattr(graph, part)[:]
        for item in () if part == "value_info" else getattr(model.graph, part):
            made = item.output if part == "node" else [item.name]
            getattr(beside if needed.isdisjoint(made) else graph, part).append(item)
    forecasts = base64.b64encode(rest.SerializeToString()).decode()
    helper.set_model_props(searched, {KEY: replace(metadata, precision=precision).to_json(), FORECASTS: forecasts})
    return bytes(searched.SerializeToString())


def _quantised(model: Any, positions: Positions, reduced_range: bool) -> Any:
    """The model with 8-bit convolutions: ranges as met in the positions, a weight scale per channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches: Iterator[dict[str, Any]] = iter(
                {"planes": positions.planes[i : i + 64], "globals": positions.globals[i : i + 64]}
                for i in range(0, len(positions.planes), 64)
            )

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    with scratch() as folder:
        traced, prepared, quantised = (folder / name for name in ("traced", "prepared", "quantised"))
        onnx.save(model, traced)
        quant_pre_process(traced, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantised,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=reduced_range,
            op_types_to_quantize=["Conv", "Relu", "Add", "Mul"],
            nodes_to_exclude=_heads(onnx.load(prepared)),
        )
        result = onnx.load(quantised)
    return _planes_as_they_are(result)


def _heads(model: Any) -> list[str]:
    """The additions outside the trunk, where each is followed by a ReLU: the logits stay in float32."""
    rectified = {node.input[0] for node in model.graph.node if node.op_type == "Relu"}
    return [n.name for n in model.graph.node if n.op_type == "Add" and n.output[0] not in rectified]


def _planes_as_they_are(model: Any) -> Any:
    """Feeds the uint8 planes to the first convolution as 8-bit numbers of scale 1, exactly, in place of a cast and a
    quantisation."""
    graph = model.graph
    cast = next(n for n in graph.node if n.op_type == "Cast" and n.input[0] == "planes")
    quantize = next(n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == cast.output[0])
    dequantize = next(n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] == quantize.output[0])
    one, zero = np.array(1, np.float32), np.array(0, np.uint8)
    graph.initializer.extend([onnx.numpy_helper.from_array(one, "one"), onnx.numpy_helper.from_array(zero, "zero")])
    dequantize.input[:] = ["planes", "one", "zero"]
    for node in (cast, quantize):
        graph.node.remove(node)
    return model
