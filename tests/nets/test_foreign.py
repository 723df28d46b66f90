"""Networks from files of elsewhere."""

import contextlib
import os
import pickle
import random
from pathlib import Path

import pytest
import torch

from ringrift.errors import CorruptBlob, DataError, EncodingMismatch
from ringrift.nets import initial_checkpoint, initial_network, load_checkpoint
from ringrift.nets.foreign import foreign_checkpoint, read_pth


class Evil:
    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self._mark}",)


@pytest.mark.parametrize("how", ["zip", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path, how):
    path, mark = tmp_path / "model.pth", tmp_path / "mark"
    evil = {"model_state_dict": initial_network("nano", "square8_2p").state_dict(), "config": Evil(mark)}
    if how == "zip":
        torch.save(evil, path)
    else:
        path.write_bytes(pickle.dumps(evil))
    with pytest.raises(CorruptBlob, match="nothing of it was run") as refused:
        foreign_checkpoint(path, "square8_2p")
    assert "weights_only" not in str(refused.value), "no advice to run it all the same"
    assert not mark.exists()
    if how == "zip":  # the file is one that an open loader would have run
        torch.load(path, weights_only=False)
        assert mark.exists()


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "model.pth"
    tensors = initial_network("nano", "square8_2p").state_dict()
    torch.save(tensors, path)
    whole, rng = path.read_bytes(), random.Random(0)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(CorruptBlob):  # a bit that nothing depends on: padding, a date
            assert all(torch.equal(tensor, tensors[name]) for name, tensor in read_pth(path).items())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptBlob):
        read_pth(path)


def test_a_network_of_the_earlier_service_is_named_and_refused(tmp_path):
    path = tmp_path / "ringrift_best_sq8_2p.pth"
    tensors = {"conv1.weight": torch.zeros(96, 56, 3, 3), "policy_fc1.weight": torch.zeros(384, 212)}
    torch.save({"model_state_dict": tensors, "epoch": 3, "_versioning_metadata": {"architecture": "v2"}}, path)
    with pytest.raises(EncodingMismatch, match=r"2 tensors with 129,792 numbers .conv1.weight \[96, 56, 3, 3\]"):
        foreign_checkpoint(path, "square8_2p")


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"state_dict": {f"module.{k}": v for k, v in t.items()}}])
def test_our_own_tensors_are_taken(tmp_path, wrap):
    network, path = initial_network("tiny", "square8_2p", seed=3), tmp_path / "model.pth"
    torch.save(wrap(network.state_dict()), path)
    taken, metadata = load_checkpoint(foreign_checkpoint(path, "hex8_3p"))
    assert (metadata.config, metadata.architecture) == ("hex8_3p", "tiny")
    torch.testing.assert_close(taken.stem.weight, network.stem.weight)


def test_a_checkpoint_is_taken_for_another_config(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(initial_checkpoint("nano", "square8_2p", 7))
    assert load_checkpoint(foreign_checkpoint(path, "square8_4p"))[1].config == "square8_4p"


def test_files_that_hold_nothing(tmp_path):
    path = tmp_path / "a.pth"
    with pytest.raises(DataError, match="no file"):
        foreign_checkpoint(path, "square8_2p")
    for content in (b"", b"text\n", b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        with pytest.raises(CorruptBlob):
            foreign_checkpoint(path, "square8_2p")
    torch.save({"epoch": 3}, path)
    with pytest.raises(CorruptBlob, match="no tensors"):
        foreign_checkpoint(path, "square8_2p")
