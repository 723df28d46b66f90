"""The fabric of one machine: a directory of blobs, and a SQLite database shared by its processes.

What the methods promise is said once, in `protocol`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import sqlite3
import time
from collections.abc import Container, Iterator
from datetime import datetime
from pathlib import Path

from ringrift.clock import Clock
from ringrift.errors import CorruptBlob, DataError, JobError, LeaseLost
from ringrift.fabric import local_jobs, local_log
from ringrift.fabric.database import Database, read_json
from ringrift.fabric.files import TEMPORARY, make_directory, space_checked, sweep, sync_directory, written_atomically
from ringrift.fabric.local_jobs import LocalJobs
from ringrift.fabric.local_log import LocalLog
from ringrift.fabric.protocol import BlobInfo, Entry, Lease
from ringrift.fabric.shared import BOOT_CLOCK, Shared, boot_id
from ringrift.fabric.sums import SUM_FUNCTIONS, Summed, sums_schema
from ringrift.fabric.workers import Workers

CHUNK_BYTES = 1 << 20
HASH_LENGTH = 64
LAST = "\U0010ffff"  #: sorts behind all that a key may go on with
SCHEMA = {  # of fabric.db, by format
    1: """
CREATE TABLE registry (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL UNIQUE,
    expires REAL, boot TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE revision (last INTEGER NOT NULL);
INSERT INTO revision VALUES (0);
CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, fence INTEGER NOT NULL,
    expires REAL NOT NULL, boot TEXT NOT NULL) WITHOUT ROWID;
""",
    2: local_log.SCHEMA + local_jobs.SCHEMA,
}
SUMMED = (
    Summed("registry", "{key}", "key value revision boot", "expires", json="value"),
    Summed("revision", "1", "last"),
    Summed("leases", "{name}", "name holder fence boot", "expires"),
    local_log.SUMMED,
    *local_jobs.SUMMED,
)
SCHEMA[3] = sums_schema(SUMMED)


class LocalFabric:
    """Blobs in `directory/blobs`; registry, leases, log and jobs in `directory/fabric.db`."""

    def __init__(
        self,
        directory: Path,
        clock: Clock = BOOT_CLOCK,
        database: Path | None = Path("fabric.db"),
        *,
        read_only: bool = False,
    ) -> None:
        """Without `database`, a name in the directory, it is one in memory; `read_only` as that of `Database`."""
        self.database = Database(database and directory / database, SCHEMA, SUM_FUNCTIONS, read_only=read_only)
        shared = Shared(self.database, clock, boot_id())
        self.blobs = LocalBlobs(directory / "blobs")
        self.leases = LocalLeases(shared, directory / "locks")
        self.registry = LocalRegistry(shared, self.leases)
        self.log = LocalLog(shared)
        self.jobs = LocalJobs(shared, Workers(self.registry, clock))

    def check(self) -> None:
        self.database.check()

    def close(self) -> None:
        """Closes the database; leases still held are freed."""
        self.leases.close()
        self.database.close()


class LocalBlobs:
    """Files `<2 hex>/<sha256><suffix>`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, content: bytes | Path, suffix: str = "") -> str:
        blob = _hash(_chunks(content)) + suffix
        path = self._place(blob)
        if path.exists() and _hash(_chunks(path)) + suffix == blob:
            os.utime(path)  # a blob put again is young again, and `gc` leaves it alone
            return blob
        with written_atomically(path, _chunks(content)) as temporary:
            if _hash(_chunks(temporary)) + suffix != blob:
                raise DataError(f"{content!s} changed while it was read: put it again once it is complete")
            temporary.replace(path)
            sync_directory(path.parent)
        return blob

    def get(self, blob: str) -> bytes:
        content = self.path(blob).read_bytes()
        self._compare(blob, hashlib.sha256(content).hexdigest(), len(content))
        return content

    def path(self, blob: str) -> Path:
        path = self._place(blob)
        if not path.is_file():
            raise DataError(f"{path} is missing: restore it from a backup, or run `ringrift data check`")
        return path

    def check(self, blob: str) -> None:
        path = self.path(blob)
        self._compare(blob, _hash(_chunks(path)), path.stat().st_size)

    def ls(self) -> Iterator[BlobInfo]:
        for path in sorted(self.directory.glob("??/*")):
            if not path.name.startswith(TEMPORARY):
                stat = path.stat()
                yield BlobInfo(path.name, stat.st_size, stat.st_mtime)

    def delete(self, blob: str) -> bool:
        path = self._place(blob)
        if not path.exists():
            return False
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
        return True

    def gc(self, keep: Container[str], older_than: float = 3600.0) -> list[str]:
        # Half-written files of killed processes go too.
        sweep(self.directory, older_than)
        limit = time.time() - older_than
        return [
            info.blob
            for info in self.ls()
            if info.blob not in keep and info.modified < limit and self.delete(info.blob)
        ]

    def _place(self, blob: str) -> Path:
        hash_, suffix = blob[:HASH_LENGTH], blob[HASH_LENGTH:]
        if len(hash_) != HASH_LENGTH or not set(hash_) <= set("0123456789abcdef") or "/" in suffix:
            raise DataError(f"{blob!r} names no blob: right is a sha256 in hex and its suffix")
        return self.directory / blob[:2] / blob

    def _compare(self, blob: str, found: str, size_bytes: int) -> None:
        if found != blob[:HASH_LENGTH]:
            raise CorruptBlob(f"{self._place(blob)} is corrupt: its {size_bytes} bytes have the hash {found[:12]}…")


class LocalRegistry:
    """Rows of one table; a revision counter that never goes back."""

    def __init__(self, shared: Shared, leases: LocalLeases) -> None:
        self._shared, self._database, self._leases = shared, shared.database, leases

    def get(self, key: str) -> Entry | None:
        return next((self._entry(row) for row in self._alive("key = ?", key)), None)

    def ls(self, prefix: str = "") -> list[Entry]:
        return [self._entry(row) for row in self._alive("key >= ? AND key < ?", prefix, prefix + LAST)]

    def purge(self) -> int:
        with self._database.transaction(durable=False) as connection:
            return connection.execute(
                "DELETE FROM registry WHERE expires IS NOT NULL AND (expires <= ? OR boot <> ?)",
                (self._shared.clock.monotonic(), self._shared.boot),
            ).rowcount

    def set(self, key: str, value: dict[str, object], *, ttl: float | None = None, lease: Lease | None = None) -> Entry:
        with self._database.transaction(durable=ttl is None) as connection:  # what expires does not outlive a power cut
            return self._write(connection, key, value, ttl, lease)

    def compare_and_set(
        self, key: str, value: dict[str, object], revision: int, *, ttl: float | None = None, lease: Lease | None = None
    ) -> Entry | None:
        """See `Registry.compare_and_set`."""
        with self._database.transaction(durable=ttl is None) as connection:
            current = self.get(key)
            if (current.revision if current else 0) != revision:
                return None
            return self._write(connection, key, value, ttl, lease)

    def delete(self, key: str, *, lease: Lease | None = None) -> bool:
        with self._database.transaction() as connection:
            self._leases.check(lease)
            there = self.get(key) is not None
            connection.execute("DELETE FROM registry WHERE key = ?", (key,))
            return there

    def watch(self, prefix: str, after: int, timeout: float) -> list[Entry]:
        news: list[Entry] = []

        def changed() -> bool:
            news[:] = map(
                self._entry, self._alive("key >= ? AND key < ? AND revision > ?", prefix, prefix + LAST, after)
            )
            return bool(news)

        self._shared.wait(changed, timeout)
        return sorted(news, key=lambda entry: entry.revision)

    def _write(
        self, connection: sqlite3.Connection, key: str, value: dict[str, object], ttl: float | None, lease: Lease | None
    ) -> Entry:
        self._leases.check(lease)
        connection.execute("UPDATE revision SET last = last + 1")
        revision = int(connection.execute("SELECT last FROM revision").fetchone()[0])
        expires = None if ttl is None else self._shared.clock.monotonic() + ttl
        connection.execute(
            "INSERT OR REPLACE INTO registry (key, value, revision, expires, boot) VALUES (?, ?, ?, ?, ?)",
            (key, json.dumps(value, sort_keys=True), revision, expires, self._shared.boot),
        )
        return Entry(key, value, revision)

    def _alive(self, where: str, *parameters: object) -> list[sqlite3.Row]:
        return self._database.rows(
            f"SELECT * FROM registry WHERE {where} AND (expires IS NULL OR (expires > ? AND boot = ?)) ORDER BY key",
            (*parameters, self._shared.clock.monotonic(), self._shared.boot),
        )

    def restore(self, entry: Entry) -> bool:
        """Puts back what was lost, under its revision, and lets later ones be higher; false where that is taken."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE revision SET last = max(last, ?)", (entry.revision,))
            return bool(connection.execute(
                "INSERT INTO registry (key, value, revision, boot) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (entry.key, json.dumps(entry.value, sort_keys=True), entry.revision, self._shared.boot),
            ).rowcount)  # fmt: skip

    def _entry(self, row: sqlite3.Row) -> Entry:
        value = read_json(row["value"], dict, self._database, f"{row['key']} in the registry")
        return Entry(row["key"], value, row["revision"])


class LocalLeases:
    """A row says who holds the lease until when; a locked file, one per fencing number, says that he is alive.

    The kernel unlocks the file when the holder's process ends, however it ends, so a lease is free at once after
    `kill -9`; the expiry frees it from a holder that hangs, and the fencing number keeps that one from writing later.
    """

    def __init__(self, shared: Shared, directory: Path) -> None:
        self._shared, self._database, self._directory = shared, shared.database, directory
        self._held: list[LocalLease] = []

    def acquire(self, name: str, ttl: float = 30.0) -> LocalLease:
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        holder = f"process {os.getpid()} on {socket.gethostname()} since {since}"
        with self._database.transaction() as connection:
            if (current := self.holder(name)) is not None:
                raise JobError(f"{name} is held by {current}: wait for it to end, or stop it")
            row = connection.execute("SELECT fence FROM leases WHERE name = ?", (name,)).fetchone()
            fence = 1 + (row["fence"] if row else 0)
            connection.execute(
                "INSERT OR REPLACE INTO leases (name, holder, fence, expires, boot) VALUES (?, ?, ?, ?, ?)",
                (name, holder, fence, self._shared.clock.monotonic() + ttl, self._shared.boot),
            )
            descriptor = self._lock(name, fence)
            if descriptor is None:
                raise JobError(f"{name} is being taken by another process: try again")
        self._file(name, fence - 1).unlink(missing_ok=True)
        lease = LocalLease(self, name, holder, fence, ttl, descriptor)
        self._held.append(lease)
        return lease

    def holder(self, name: str) -> str | None:
        for row in self._database.rows("SELECT * FROM leases WHERE name = ?", (name,)):
            alive = row["expires"] > self._shared.clock.monotonic() and row["boot"] == self._shared.boot
            if row["holder"] and alive:
                try:
                    descriptor = os.open(self._file(name, row["fence"]), os.O_RDONLY)
                except FileNotFoundError:
                    continue
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return str(row["holder"])
                finally:
                    os.close(descriptor)
        return None

    def purge(self) -> int:
        gone = 0
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT name, fence FROM leases WHERE expires <= ? OR boot <> ?",
                (self._shared.clock.monotonic(), self._shared.boot),
            )
            for name, fence in rows.fetchall():
                if (descriptor := self._lock(name, fence)) is not None:  # else its holder only hangs
                    connection.execute("DELETE FROM leases WHERE name = ?", (name,))
                    self._file(name, fence).unlink(missing_ok=True)
                    os.close(descriptor)
                    gone += 1
        return gone

    def extend(self, lease: LocalLease) -> None:
        """Moves a lease's expiry."""
        with self._database.transaction(durable=False) as connection:
            self.check(lease)
            expires = self._shared.clock.monotonic() + lease.ttl
            connection.execute("UPDATE leases SET expires = ? WHERE name = ?", (expires, lease.name))

    def check(self, lease: Lease | None) -> None:
        """Raises `LeaseLost` where a lease has a new holder."""
        if lease is None:
            return
        rows = self._database.rows("SELECT holder, fence FROM leases WHERE name = ?", (lease.name,))
        if not rows or rows[0]["fence"] != lease.fence or rows[0]["holder"] != lease.holder:
            taker = rows[0]["holder"] if rows and rows[0]["holder"] else "nobody"
            raise LeaseLost(
                f"{lease.name} was taken from {lease.holder}; it is now held by {taker}: nothing was written"
            )

    def release(self, lease: LocalLease) -> None:
        """Frees a lease."""
        if lease in self._held:
            self._held.remove(lease)
            with self._database.transaction() as connection:
                connection.execute(
                    "UPDATE leases SET holder = '' WHERE name = ? AND fence = ?", (lease.name, lease.fence)
                )
            os.close(lease.descriptor)

    def close(self) -> None:
        """Frees the leases still held."""
        for lease in list(self._held):
            self.release(lease)

    def _file(self, name: str, fence: int) -> Path:
        return self._directory / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.{fence}"

    def _lock(self, name: str, fence: int) -> int | None:
        """A descriptor that holds the lock of one fencing number; none while the holder of the lease has it."""
        path = self._file(name, fence)
        with space_checked(path):
            make_directory(self._directory)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor


class LocalLease:
    """A held lease; see `Lease`."""

    def __init__(self, leases: LocalLeases, name: str, holder: str, fence: int, ttl: float, descriptor: int) -> None:
        self._leases, self.name, self.holder, self.fence, self.ttl = leases, name, holder, fence, ttl
        self.descriptor = descriptor

    def extend(self) -> None:
        self._leases.extend(self)

    def check(self) -> None:
        self._leases.check(self)

    def release(self) -> None:
        self._leases.release(self)


def _chunks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _hash(chunks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
