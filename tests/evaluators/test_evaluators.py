import subprocess
import sys

import numpy as np
import pytest

from ringrift.encoding import GLOBALS, PLANES, policy_length
from ringrift.errors import CorruptBlob, RulesError
from ringrift.evaluators import Evaluator, OnnxEvaluator, UniformEvaluator
from ringrift.rules import CONFIGS, config_info


@pytest.mark.parametrize("config", CONFIGS)
def test_uniform(config):
    info, evaluator = config_info(config), UniformEvaluator(config)
    typed: Evaluator = evaluator
    planes = np.zeros((5, PLANES, info.height, info.width), np.uint8)
    policy, value = typed.evaluate(planes, np.zeros((5, GLOBALS), np.float32))
    assert policy.shape == (5, policy_length(config))
    assert not policy.any()
    np.testing.assert_allclose(value, 1 / info.players)


def test_unknown_config():
    with pytest.raises(RulesError, match="square8_2p"):
        UniformEvaluator("square8_9p")


def test_not_a_network(tmp_path):
    path = tmp_path / "broken.onnx"
    for bad in (b"", b"\x08\x07 nonsense", b"\0" * 100):
        path.write_bytes(bad)
        with pytest.raises(CorruptBlob, match="broken"):
            OnnxEvaluator(path)
    import onnx
    from onnx import TensorProto, helper

    one = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    two = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [one], [two])
    foreign = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert isinstance(foreign, onnx.ModelProto)
    with pytest.raises(CorruptBlob, match="no ringrift metadata"):
        OnnxEvaluator(foreign.SerializeToString())


def test_torch_is_not_imported():
    code = (
        "import sys, ringrift.evaluators as e; e.UniformEvaluator('hex8_2p'); assert 'onnxruntime' not in sys.modules;"
    )
    code += "e.OnnxEvaluator; assert not {'torch', 'onnx', 'safetensors'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
