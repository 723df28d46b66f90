"""Models: one truth about promotion, a history that survives a crash, and pruning that keeps what matters."""

from __future__ import annotations

import pytest

from ringrift.errors import CorruptBlob, DataError, LeaseLost
from ringrift.store import ModelStore, RunDirectory

CONFIG = "square8_2p"


@pytest.fixture
def models(run: RunDirectory) -> ModelStore:
    return ModelStore(run)


def make(models: ModelStore, number: int, role: str = "candidate", parents: tuple[str, ...] = ()) -> str:
    blobs = models.run.fabric.blobs
    checkpoint = blobs.put(f"weights {number}".encode(), ".safetensors")
    onnx = blobs.put(f"network {number}".encode(), ".onnx")
    return models.register(CONFIG, checkpoint, onnx, {"lr": 0.1}, parents, {"loss": number}, role)


def test_register_is_idempotent_and_refuses_what_is_missing(models: ModelStore) -> None:
    first = make(models, 0, "initial")
    assert make(models, 0) == first
    second = make(models, 1, parents=(first,))
    models.annotate(second, elo=12.5)
    found = models.show(second)
    assert (found.parents, found.metrics, found.settings) == ((first,), {"loss": 1, "elo": 12.5}, {"lr": 0.1})
    assert found.checkpoint.startswith(second[2:])
    assert [model.id for model in models.ls(CONFIG)] == [first, second]
    with pytest.raises(DataError, match="missing"):
        models.register(CONFIG, "0" * 64, None, {})
    with pytest.raises(DataError, match="unknown model"):
        make(models, 2, parents=("m-ffffffffffff",))
    assert len(models.ls()) == 2


def test_resolve(models: ModelStore) -> None:
    with pytest.raises(DataError, match="no model of square8_2p is promoted"):
        models.resolve(CONFIG, "best")
    first, second = make(models, 0, "initial"), make(models, 1)
    assert models.promote(second, over=None)
    assert models.resolve(CONFIG, "best").id == second
    assert models.resolve(CONFIG, "initial").id == first
    assert models.resolve(CONFIG, first[:7]).id == models.resolve(CONFIG, first[2:9]).id == first
    for name in ("", "m-", "nobody"):
        with pytest.raises(DataError, match=r"means \d models"):
            models.resolve(CONFIG, name)


def test_promotion_is_compare_and_set_and_rolls_back(models: ModelStore) -> None:
    a, b, c = (make(models, number) for number in range(3))
    assert models.promote(a, over=None, evidence={"score": 0.6})
    assert not models.promote(c, over=b)
    assert models.promote(b, over=a)
    assert models.promote(b, over=a)
    assert models.promote(c, over=b)
    assert models.rollback(CONFIG) == b
    assert models.rollback(CONFIG) == a
    with pytest.raises(DataError, match=f"nothing to roll back to: {a} replaced none: name one with --to"):
        models.rollback(CONFIG)
    assert models.rollback(CONFIG, to=c) == c
    history = models.history(CONFIG)
    assert [(entry.action, entry.model) for entry in history] == [
        ("promote", a), ("promote", b), ("promote", c), ("rollback", b), ("rollback", a), ("rollback", c)
    ]  # fmt: skip
    assert history[0].evidence == {"score": 0.6}
    with pytest.raises(DataError, match="nothing to roll back to: hex8_2p has no promoted model"):
        models.rollback("hex8_2p")


def test_history_survives_a_crash_right_after_the_promotion(models: ModelStore) -> None:
    a, b = make(models, 0), make(models, 1)
    models.promote(a, over=None)
    with models.run.database.transaction() as connection:
        connection.execute("DELETE FROM promotions")
    models.promote(b, over=a)
    assert [entry.model for entry in models.history(CONFIG)] == [a, b]


def test_promotion_is_fenced_and_looks_at_the_file(models: ModelStore) -> None:
    a = make(models, 0)
    lease = models.run.fabric.leases.acquire("loop")
    lease.release()
    models.run.fabric.leases.acquire("loop")
    with pytest.raises(LeaseLost):
        models.promote(a, over=None, lease=lease)
    for blob in (str(models.show(a).onnx), models.show(a).checkpoint):
        path = models.run.fabric.blobs.path(blob)
        good = path.read_bytes()
        path.write_bytes(b"damaged")
        with pytest.raises(CorruptBlob):
            models.promote(a, over=None)
        path.write_bytes(good)
    assert models.promoted(CONFIG) is None


def test_prune_keeps_initial_promoted_their_parents_and_the_newest(models: ModelStore) -> None:
    initial = make(models, 0, "initial")
    parent = make(models, 1)
    first = make(models, 2, parents=(parent,))
    second = make(models, 3)
    useless = [make(models, number) for number in range(4, 8)]
    newest = make(models, 8)
    models.promote(first, over=None)
    models.promote(second, over=first)
    for keep in range(5, 20):
        assert not models.prune(CONFIG, keep=keep, dry_run=True)
    assert [model.id for model in models.prune(CONFIG, keep=1, dry_run=True)] == useless
    assert [model.id for model in models.prune(CONFIG, keep=1)] == useless
    assert not models.prune(CONFIG, keep=1)
    kept = {initial, parent, first, second, newest}
    assert {model.id for model in models.ls() if not model.pruned} == kept
    assert {info.blob for info in models.run.fabric.blobs.ls()} == models.blobs()
    with pytest.raises(DataError, match="pruned"):
        models.promote(useless[0], over=second)
    assert make(models, 4) == useless[0]
    assert models.show(useless[0]).pruned is None
    assert [model.id for model in models.prune(CONFIG, keep=0)] == [useless[0], newest]


def test_the_newest_model_is_the_last_one_though_the_clock_was_set_back(models: ModelStore) -> None:
    first = make(models, 0)
    with models.run.database.transaction() as connection:  # an hour later …
        connection.execute("UPDATE models SET added = added + 3600")
    second, third = make(models, 1), make(models, 2)  # … which has not come yet
    assert [model.id for model in models.ls()] == [first, second, third]
    newest = models.newest(CONFIG, "candidate")[1]
    assert newest and newest.id == third
