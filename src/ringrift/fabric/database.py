"""A SQLite database that keeps its promises: WAL, `synchronous=FULL`, immediate transactions, a format number."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from ringrift.errors import CorruptBlob, DataError, FormatTooNew
from ringrift.fabric.files import make_directory, no_space, space_checked

BUSY_SECONDS = 15.0  #: how long a transaction waits for another process's


class Database:
    """One file, usable from several threads; every change is one short transaction.

    Raises `FormatTooNew` for a file of a later release, `CorruptBlob` for a damaged one, `DataError` on a full disk.
    """

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self.path = path
        self._lock = threading.RLock()
        with space_checked(path):
            make_directory(path.parent)
        with self._errors_named():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with self._errors_named():
                self._prepare(schema, version)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, schema: str, version: int) -> None:
        self._connection.row_factory = sqlite3.Row
        found = self._version()
        if found > version:
            raise FormatTooNew(
                f"{self.path} has format {found}; this release reads up to {version}: use the release that wrote it"
            )
        self._enter_wal()
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        if found == 0:
            with self.transaction() as connection:
                for statement in _statements(schema) if self._version() == 0 else ():
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version}")

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _enter_wal(self) -> None:
        # Two processes entering WAL at once can get SQLITE_BUSY without the busy handler being asked.
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the changes inside, durably, or none. A transaction inside another one joins it."""
        with self._lock, self._errors_named():
            joined = self._connection.in_transaction
            if joined:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]:
        """What a query gives, read as one snapshot."""
        with self._lock, self._errors_named():
            return self._connection.execute(query, parameters).fetchall()

    def check(self) -> None:
        """Raises `CorruptBlob` where SQLite's own integrity check finds damage."""
        found = [str(row[0]) for row in self.rows("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise CorruptBlob(f"{self.path}: {'; '.join(found)}: restore it from a backup")

    def backup(self, to: Path) -> None:
        """Writes one consistent snapshot to a new file, while others go on writing."""
        with space_checked(to), self._errors_named(), closing(sqlite3.connect(to)) as copy:
            self._connection.backup(copy, pages=256)

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise self._named(error) from error
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            if _code(error) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise CorruptBlob(f"{self.path}: {error}: restore it from a backup") from error
            raise

    def _named(self, error: sqlite3.OperationalError) -> Exception:
        code = _code(error)
        if code == sqlite3.SQLITE_FULL or code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE):
            return no_space(self.path)
        if code & 0xFF == sqlite3.SQLITE_BUSY:
            return DataError(f"{self.path} stayed locked for {BUSY_SECONDS:.0f} s: another process is using it")
        if code & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            return DataError(f"{self.path}: {error}: check the disk's space and the file's permissions")
        return error


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; unlike `executescript` they can stand inside a transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
