"""The local fabric's promises: whole blobs, compare-and-set, leases that die with their holder."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringrift.clock import VirtualClock
from ringrift.errors import CorruptBlob, DataError, FormatTooNew, JobError, LeaseLost
from ringrift.fabric import Database, LocalFabric, kept_alive, write_atomically
from ringrift.fabric.files import TEMPORARY, sweep

HOLD = """
import sys, time
from pathlib import Path
from ringrift.fabric import LocalFabric
fabric = LocalFabric(Path(sys.argv[1]))
lease = fabric.leases.acquire("loop", ttl=600)
print(lease.fence, flush=True)
time.sleep(600)
"""


@pytest.fixture
def fabric(tmp_path: Path) -> Iterator[LocalFabric]:
    made = LocalFabric(tmp_path)
    yield made
    made.close()


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


# -- blobs


def test_blob_is_named_by_content_and_put_once(fabric: LocalFabric, tmp_path: Path) -> None:
    blob = fabric.blobs.put(b"weights", ".safetensors")
    (tmp_path / "source").write_bytes(b"weights")
    assert fabric.blobs.put(tmp_path / "source", ".safetensors") == blob
    assert fabric.blobs.get(blob) == b"weights" == fabric.blobs.path(blob).read_bytes()
    assert [info.blob for info in fabric.blobs.ls()] == [blob]


@pytest.mark.parametrize("damage", [b"", b"weight", b"weightz"])
def test_damaged_blob_is_named_and_healed_by_put(fabric: LocalFabric, damage: bytes) -> None:
    blob = fabric.blobs.put(b"weights")
    fabric.blobs.path(blob).write_bytes(damage)
    for read in (fabric.blobs.get, fabric.blobs.check):
        with pytest.raises(CorruptBlob, match=blob):
            read(blob)
    assert fabric.blobs.put(b"weights") == blob
    assert fabric.blobs.get(blob) == b"weights"


def test_missing_or_unreadable_blob_names(fabric: LocalFabric) -> None:
    with pytest.raises(DataError, match="missing"):
        fabric.blobs.get("0" * 64)
    for name in ("../../etc/passwd", "", "0" * 64 + "/../x", "G" * 64):
        with pytest.raises(DataError, match="names no blob"):
            fabric.blobs.path(name)


def test_gc_keeps_the_named_and_the_young(fabric: LocalFabric) -> None:
    kept, old, young = (fabric.blobs.put(name) for name in (b"kept", b"old", b"young"))
    for blob in (kept, old):
        os.utime(fabric.blobs.path(blob), (0, 0))
    assert fabric.blobs.gc({kept}) == [old]
    assert {info.blob for info in fabric.blobs.ls()} == {kept, young}


def test_killed_writer_leaves_nothing_visible(fabric: LocalFabric, tmp_path: Path) -> None:
    code = """
import sys, itertools, os
from pathlib import Path
from ringrift.fabric import LocalFabric
fabric = LocalFabric(Path(sys.argv[1]))
print("writing", flush=True)
for n in itertools.count(): fabric.blobs.put(n.to_bytes(4, "big") * 200_000)
"""
    for delay in (0.0, 0.05, 0.11):
        writer = start(code, tmp_path)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.kill()
        writer.communicate()
        for info in fabric.blobs.ls():
            fabric.blobs.check(info.blob)
    sweep(tmp_path, older_than=-1)
    assert not list(tmp_path.rglob(f"{TEMPORARY}*"))


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_atomically(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(DataError, match="no space left") as caught:
            write_atomically(path, b"n" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert [left.name for left in tmp_path.iterdir()] == ["run.json"]


# -- database


def test_database_formats_and_damage(tmp_path: Path) -> None:
    schema = "CREATE TABLE t (x);\nCREATE TRIGGER r BEFORE DELETE ON t BEGIN\n SELECT RAISE(ABORT, 'no');\nEND;"
    Database(tmp_path / "a.db", {1: schema}).close()
    Database(tmp_path / "a.db", {1: schema}).close()
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(FormatTooNew, match=r"a\.db has format 2"):
        Database(tmp_path / "a.db", {1: schema})
    (tmp_path / "b.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(CorruptBlob, match=r"b\.db"):
        Database(tmp_path / "b.db", {1: schema})


def test_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db", {1: "CREATE TABLE t (x);"})

    def half() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            with database.transaction() as inner:
                inner.execute("INSERT INTO t VALUES (2)")
            raise JobError("stop")

    with pytest.raises(JobError):
        half()
    assert not database.rows("SELECT * FROM t")
    assert database.rows("PRAGMA synchronous")[0][0] == 2
    assert database.rows("PRAGMA journal_mode")[0][0] == "wal"
    database.close()


def test_many_processes_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from ringrift.fabric import LocalFabric
fabric = LocalFabric(Path(sys.argv[1]))
for _ in range(20): fabric.registry.set("x", {})
"""
    workers = [start(code, tmp_path) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    for worker in workers:
        worker.communicate()
    fabric = LocalFabric(tmp_path)
    assert fabric.registry.get("x").revision == 80  # type: ignore[union-attr]
    fabric.close()


# -- registry


def test_compare_and_set_has_one_winner(fabric: LocalFabric) -> None:
    first = fabric.registry.compare_and_set("promoted/hex8_2p", {"model": "a"}, 0)
    assert first is not None
    assert fabric.registry.compare_and_set("promoted/hex8_2p", {"model": "b"}, 0) is None
    assert fabric.registry.compare_and_set("promoted/hex8_2p", {"model": "b"}, first.revision + 1) is None
    second = fabric.registry.compare_and_set("promoted/hex8_2p", {"model": "b"}, first.revision)
    assert second == fabric.registry.get("promoted/hex8_2p")
    assert second is not None
    assert second.revision > first.revision
    results = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(fabric.registry.compare_and_set("one", {"n": n}, 0)))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result is not None for result in results) == 1


def test_registry_lists_deletes_and_expires(tmp_path: Path) -> None:
    clock = VirtualClock(100.0)
    fabric = LocalFabric(tmp_path, clock)
    fabric.registry.set("node/a", {}, ttl=5)
    old = fabric.registry.set("node/b", {})
    assert [entry.key for entry in fabric.registry.ls("node/")] == ["node/a", "node/b"]
    clock.advance(6)
    assert [entry.key for entry in fabric.registry.ls("node/")] == ["node/b"]
    assert fabric.registry.compare_and_set("node/a", {}, 0) is not None
    assert fabric.registry.delete("node/b")
    assert not fabric.registry.delete("node/b")
    assert fabric.registry.set("node/b", {}).revision > old.revision + 1
    fabric.close()


# -- leases


def test_second_holder_is_told_who_has_it(fabric: LocalFabric) -> None:
    with kept_alive(fabric.leases.acquire("loop", ttl=600)) as lease:
        with pytest.raises(JobError, match=rf"loop is held by process {os.getpid()} on .* since 20"):
            fabric.leases.acquire("loop")
        lease.check()
        assert fabric.leases.holder("loop") == lease.holder
    assert fabric.leases.holder("loop") is None
    assert fabric.leases.acquire("loop").fence == lease.fence + 1


def test_kill_9_frees_the_lease_at_once(fabric: LocalFabric, tmp_path: Path) -> None:
    worker = start(HOLD, tmp_path)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "1\n"
    with pytest.raises(JobError, match=f"process {worker.pid} on"):
        fabric.leases.acquire("loop")
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert fabric.leases.acquire("loop").fence == 2


def test_expired_holder_is_fenced_out(tmp_path: Path) -> None:
    clock = VirtualClock(100.0)
    fabric = LocalFabric(tmp_path, clock)
    hung = fabric.leases.acquire("loop", ttl=30)
    clock.advance(29)
    hung.extend()
    clock.advance(29)
    with pytest.raises(JobError):
        fabric.leases.acquire("loop")
    clock.advance(2)
    new = fabric.leases.acquire("loop", ttl=30)
    assert new.fence > hung.fence
    hung.release()
    assert fabric.leases.holder("loop") == new.holder
    new.release()
    for write in (hung.extend, hung.check, lambda: fabric.registry.set("promoted/x", {}, lease=hung)):
        with pytest.raises(LeaseLost):
            write()
    assert fabric.registry.get("promoted/x") is None
    fabric.close()


def test_lease_of_an_earlier_boot_is_free(fabric: LocalFabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fabric.leases.acquire("loop", ttl=600)
    monkeypatch.setattr("ringrift.fabric.local.boot_id", lambda: "another boot")
    rebooted = LocalFabric(tmp_path)
    assert rebooted.leases.holder("loop") is None
    rebooted.close()


def test_kept_alive_extends(fabric: LocalFabric) -> None:
    with kept_alive(fabric.leases.acquire("short", ttl=0.3)) as lease:
        time.sleep(0.7)
        lease.check()
        assert fabric.leases.holder("short") == lease.holder
