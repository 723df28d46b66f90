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
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringrift.clock import VirtualClock
from ringrift.errors import CorruptBlob, DataError, JobError, LeaseLost
from ringrift.fabric import Database, Entry, Job, LocalFabric, LogEntry, kept_alive, write_atomically
from ringrift.fabric.files import TEMPORARY, sweep
from ringrift.fabric.local import SCHEMA

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


def test_purged_leases_leave_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock(1e6)
    fabric = LocalFabric(tmp_path, clock)
    for number in range(3):
        fabric.leases.acquire(f"replay/{number}", ttl=5).release()
    hung = fabric.leases.acquire("loop", ttl=5)
    assert len(list((tmp_path / "locks").iterdir())) == 4
    clock.advance(6)
    assert fabric.leases.purge() == 3
    assert len(list((tmp_path / "locks").iterdir())) == 1
    assert len(fabric.database.rows("SELECT * FROM leases")) == 1
    hung.check()
    fabric.close()


def test_times_of_an_earlier_boot_are_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock(1e6)
    before = LocalFabric(tmp_path, clock)
    before.leases.acquire("loop", ttl=600)
    before.registry.set("node/a", {}, ttl=600)
    before.jobs.put([Job("leased", "play"), Job("held back", "play")])
    leased, failed = before.jobs.claim("me", {}, limit=2)
    before.jobs.fail(failed, "fault")
    monkeypatch.setattr("ringrift.fabric.local.boot_id", lambda: "another boot")
    after = LocalFabric(tmp_path, VirtualClock(5))
    assert after.leases.holder("loop") is None
    assert after.registry.get("node/a") is None
    assert after.registry.purge() == 1
    assert [job.id for job in after.jobs.claim("new", {})] == ["held back"]
    assert [job.id for job in after.jobs.reap()] == [leased.id]
    with pytest.raises(LeaseLost):
        after.jobs.finish(leased, {})
    after.close()
    before.close()


def test_kept_alive_extends(fabric: LocalFabric) -> None:
    with kept_alive(fabric.leases.acquire("short", ttl=0.3)) as lease:
        time.sleep(0.7)
        lease.check()
        assert fabric.leases.holder("short") == lease.holder


# -- between processes


def test_other_processes_are_heard_of_while_waiting(fabric: LocalFabric, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from ringrift.fabric import Job, LocalFabric, LogEntry
fabric = LocalFabric(Path(sys.argv[1]))
for _ in sys.stdin:
    fabric.log.append([LogEntry("A", {}, "a")])
    fabric.jobs.put([Job("a", "play")])
    fabric.registry.set("node/a", {"n": 1})
"""
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, text=True)
    heard: dict[str, object] = {}
    fabric.jobs.claim("me", {})
    waits: dict[str, Callable[[], object]] = {
        "log": lambda: fabric.log.wait(0, 60),
        "jobs": lambda: fabric.jobs.wait(60),
        "registry": lambda: fabric.registry.watch("node/", 0, 60)[0].value,
    }
    threads = [threading.Thread(target=lambda n=n, w=w: heard.update({n: w()})) for n, w in waits.items()]
    for thread in threads:
        thread.start()
    other.communicate("go\n")
    for thread in threads:
        thread.join()
    assert heard == {"log": True, "jobs": True, "registry": {"n": 1}}


def test_older_fabric_is_upgraded_in_place(tmp_path: Path) -> None:
    first = Database(tmp_path / "fabric.db", {1: SCHEMA[1]})
    first.close()
    old = sqlite3.connect(tmp_path / "fabric.db")
    with old:
        old.execute("INSERT INTO registry VALUES ('promoted/x', '{\"model\": \"m\"}', 1, NULL, '')")
        old.execute("UPDATE revision SET last = 1")
    old.close()
    fabric = LocalFabric(tmp_path)
    assert fabric.registry.get("promoted/x") == Entry("promoted/x", {"model": "m"}, 1)
    assert fabric.registry.set("promoted/x", {}).revision == 2
    assert fabric.log.append([LogEntry("A", {}, "a")]) == [1]
    assert fabric.jobs.put([Job("a", "play")]) == 1
    fabric.close()


def test_claim_is_quick_among_many_jobs(fabric: LocalFabric) -> None:
    sets = [{"cores": 1 + n % 4, "memory": 1e9} | ({"gpus": 1.0} if n % 8 == 7 else {}) for n in range(8)]
    fabric.jobs.put([Job(str(n), f"kind {n % 5}", priority=n % 7, needs=sets[n % 8]) for n in range(10_000)])
    rows = fabric.database.rows
    steps: list[str] = []
    fabric.database.rows = lambda query, *more: steps.append(query) or rows(query, *more)  # type: ignore[method-assign,func-returns-value]
    assert fabric.jobs.claim("me", {"cores": 4, "memory": 2e9})[0].id == "6"
    for query in {step for step in steps if "ready" in step}:
        plan = [row["detail"] for row in rows(f"EXPLAIN QUERY PLAN {query}", ["1", ""][: query.count("?")])]
        scans = [
            step for step in plan if step.startswith("SCAN") and not step.endswith(("leap", "INDEX 1:", "jobs_not_due"))
        ]
        assert not scans, (query, plan)
    assert len(steps) < 10
