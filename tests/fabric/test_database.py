"""The database under the local fabric and the store: formats, threads, patience, forks, copies."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from ringrift.errors import CorruptBlob, DataError, FormatTooNew, JobError
from ringrift.fabric import Database, LocalFabric
from ringrift.fabric.database import READERS, Patience
from ringrift.fabric.mounts import network_file_system

SHORT = Patience.SHORT
T = {1: "CREATE TABLE t (x);"}
MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 0:30 / /home rw,relatime shared:7 master:1 - nfs4 server:/home rw,vers=4.2
31 30 0:31 / /home/me/local\040disk rw,relatime - xfs /dev/vdb rw
32 27 0:32 / /mnt/share rw - cifs //server/share rw
33 27 0:33 / /mnt/bucket rw shared:1 - fuse.s3fs s3fs rw
34 27 0:34 / /mnt/disk rw - fuse.ntfs-3g /dev/vdc rw
35 27 0:35 / /mnt/covered rw - nfs server:/x rw
36 27 0:36 / /mnt/covered rw - tmpfs tmpfs rw
37 27 0:37 / /mnt/9 rw - 9p host rw
"""


@pytest.mark.parametrize("file", [True, False])
def test_transaction_is_all_or_nothing(tmp_path: Path, file: bool) -> None:
    database = Database(tmp_path / "a.db" if file else None, T)

    def half() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            with database.transaction(durable=False) as inner:
                inner.execute("INSERT INTO t VALUES (2)")
            assert len(database.rows("SELECT * FROM t")) == 2
            raise JobError("stop")

    with pytest.raises(JobError):
        half()
    assert not database.rows("SELECT * FROM t")
    assert database.rows("PRAGMA journal_mode")[0][0] == ("wal" if file else "memory")
    database.close()
    with pytest.raises(DataError, match="is closed"):
        database.rows("SELECT * FROM t")


@pytest.mark.parametrize(("durable", "level"), [(True, 2), (False, 1)])
def test_durable_transactions_are_synced(tmp_path: Path, durable: bool, level: int) -> None:
    database = Database(tmp_path / "a.db", T)
    for _ in range(2):
        with database.transaction(durable=not durable):
            pass
        with database.transaction(durable=durable) as connection:
            assert connection.execute("PRAGMA synchronous").fetchone()[0] == level
    database.close()


def test_formats_are_reached_step_by_step(tmp_path: Path) -> None:
    steps = {
        1: "CREATE TABLE t (x);\nINSERT INTO t VALUES (1);",
        2: "UPDATE t SET x = x + 1;",
        3: "UPDATE t SET x = 2 * x;",
    }
    for formats in ([1], [1, 2, 3], [1, 2, 3]):
        database = Database(tmp_path / "a.db", {format_: steps[format_] for format_ in formats})
        assert database.rows("PRAGMA user_version")[0][0] == formats[-1]
        database.close()
    database = Database(tmp_path / "a.db", steps)
    assert database.rows("SELECT x FROM t")[0][0] == 4
    database.close()
    with pytest.raises(FormatTooNew, match=r"a\.db has format 3; this release reads up to 1"):
        Database(tmp_path / "a.db", T)


def test_failed_upgrade_changes_nothing(tmp_path: Path) -> None:
    Database(tmp_path / "a.db", T).close()
    with pytest.raises(sqlite3.OperationalError):
        Database(tmp_path / "a.db", {**T, 2: "CREATE TABLE u (x);\nnonsense;"})
    database = Database(tmp_path / "a.db", {**T, 2: "CREATE TABLE u (x);"})
    assert database.rows("SELECT * FROM u") == []
    database.close()


def test_schema_may_hold_triggers_and_damage_is_named(tmp_path: Path) -> None:
    schema = "CREATE TABLE t (x);\nCREATE TRIGGER r BEFORE DELETE ON t BEGIN\n SELECT RAISE(ABORT, 'no');\nEND;"
    Database(tmp_path / "a.db", {1: schema}).close()
    (tmp_path / "b.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(CorruptBlob, match=r"b\.db"):
        Database(tmp_path / "b.db", {1: schema})


@pytest.mark.parametrize("file", [True, False])
def test_threads_share_it(tmp_path: Path, file: bool) -> None:
    database = Database(tmp_path / "a.db" if file else None, T)

    def work(number: int) -> None:
        for _ in range(50):
            with database.transaction(durable=False) as connection:
                (count,) = database.rows("SELECT count(*) FROM t")[0]
                connection.execute("INSERT INTO t VALUES (?)", (count,))
            assert database.rows("SELECT max(x) FROM t")[0][0] >= count

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert [row["x"] for row in database.rows("SELECT x FROM t ORDER BY x")] == list(range(400))
    assert 0 < database.longest < 60
    database.close()


def test_readers_go_on_while_a_transaction_is_open(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db", T)
    with database.transaction() as connection, ThreadPoolExecutor(2 * READERS) as pool:
        connection.execute("INSERT INTO t VALUES (1)")
        found = list(pool.map(lambda _: database.rows("SELECT * FROM t"), range(4 * READERS)))
    assert found == [[]] * (4 * READERS)
    database.close()


def test_patience_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [each.value for each in Patience] == [5, 15, 30]
    database, other = Database(tmp_path / "a.db", T), Database(tmp_path / "a.db", T)
    fast = SimpleNamespace(monotonic=lambda: 100 * time.monotonic(), sleep=time.sleep, perf_counter=time.perf_counter)
    monkeypatch.setattr("ringrift.fabric.database.time", fast)
    with database.transaction(), pytest.raises(DataError, match="stayed locked for 5 s"), other.transaction(SHORT):
        pass
    database.close()
    other.close()


def test_forked_process_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db", T)
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            database.rows("SELECT 1")
            message = "it worked"
        except DataError as error:
            message = str(error)
        os.write(write, message.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"before this process was forked" in os.read(read, 1000)
    os.close(read)
    os.close(write)
    assert database.rows("SELECT 1")[0][0] == 1
    database.close()


@pytest.mark.parametrize("file", [True, False])
def test_backup_is_one_state_while_writers_go_on(tmp_path: Path, file: bool) -> None:
    database = Database(tmp_path / "a.db" if file else None, {1: "CREATE TABLE t (x, y);"})
    with database.transaction() as connection:
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(0, bytes(1000))] * 5000)
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            with database.transaction(durable=False) as connection:
                connection.execute("UPDATE t SET x = x + 1 WHERE rowid % 500 = 0")

    thread = threading.Thread(target=write)
    thread.start()
    database.backup(tmp_path / "copies" / "a.db")
    database.backup(tmp_path / "copies" / "a.db")
    done.set()
    thread.join()
    database.close()
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["a.db"]
    copy = Database(tmp_path / "copies" / "a.db", {1: "CREATE TABLE t (x, y);"})
    copy.check()
    assert len(copy.rows("SELECT DISTINCT x FROM t WHERE rowid % 500 = 0")) == 1
    assert copy.rows("SELECT count(*) FROM t")[0][0] == 5000
    copy.close()


def test_backup_ends_as_of_its_beginning_whatever_others_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, other = (Database(tmp_path / "a.db", {1: "CREATE TABLE t (x, y);"}) for _ in range(2))
    with database.transaction() as connection:
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(0, bytes(1000))] * 400)
    commits = 0

    def commit(*progress: int) -> None:
        nonlocal commits
        commits += 1
        assert commits < 1000, "the copy began again and again"
        with other.transaction(durable=False) as connection:
            connection.execute("UPDATE t SET x = x + 1")

    class Watched(sqlite3.Connection):
        def backup(self, target: sqlite3.Connection, *, pages: int, **_: object) -> None:  # type: ignore[override]
            super().backup(target, pages=1, progress=commit)

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(tmp_path / "a.db", isolation_level=None, check_same_thread=False, factory=Watched)

    monkeypatch.setattr(database, "_connect", connect)
    database.backup(tmp_path / "copy.db")
    assert commits > 50
    copy = Database(tmp_path / "copy.db", {1: "CREATE TABLE t (x, y);"})
    assert [tuple(row) for row in copy.rows("SELECT x, count(*) FROM t GROUP BY x")] == [(0, 400)]
    for each in (copy, other, database):
        each.close()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/run", None),
        ("/home/me/run", "nfs4"),
        ("/home", "nfs4"),
        ("/homes/run", None),
        ("/home/me/local disk/run", None),
        ("/mnt/share/a", "cifs"),
        ("/mnt/bucket", "fuse.s3fs"),
        ("/mnt/disk/a", None),
        ("/mnt/covered/a", None),
        ("/mnt/9/a", "9p"),
    ],
)
def test_network_file_systems_are_told_from_disks(path: str, kind: str | None) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind


def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounts").write_text(f"35 27 0:35 / {tmp_path} rw - nfs4 server:/x rw\n")
    monkeypatch.setattr("ringrift.fabric.mounts.MOUNTS", tmp_path / "mounts")
    for opened in (lambda: LocalFabric(tmp_path / "run"), lambda: Database(tmp_path / "new" / "a.db", T)):
        with pytest.raises(DataError, match=r"is on a network file system \(nfs4\)"):
            opened()
    assert not (tmp_path / "run").exists()
    Database(None, T).close()
