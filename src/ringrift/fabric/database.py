"""A SQLite database that keeps its promises: WAL, immediate transactions, a format number, patience with a limit."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import TypeVar

from ringrift.errors import CorruptBlob, DataError, FormatTooNew
from ringrift.fabric.faults import fault_point
from ringrift.fabric.files import TEMPORARY, make_directory, no_space, space_checked, sync_directory
from ringrift.fabric.mounts import refuse_network
from ringrift.fabric.scratch import scratch

READERS = 4  #: connections for reading beside the one that writes
POLL_SECONDS = 0.02  #: between two looks for what other connections have changed
RETRY_SECONDS = 0.0005, 0.004  #: between tries to begin a transaction while another process has one: doubles up to
BACKUP_PAGES = 1024
COPY_IT = "copy the run to where you may write"
#: How errors begin that SQLite gives for a file whose tables are not those that its format says, or no texts.
UNSOUND = re.compile(
    "no such (table|column|index)|(table|index|trigger) .* already exists|duplicate column|unsupported file format"
    "|malformed database schema|Could not decode to UTF-8|error in (table|index|trigger|view)"
)
SUPER = bytes.fromhex("d9d505f920a163d7")  #: what a rollback journal ends with that names a super-journal
T = TypeVar("T")
Function = Callable[..., str | int | float | bytes | None]


class Patience(float, Enum):
    """How many seconds something may wait for others that use the same database."""

    SHORT = 5.0
    """Reads, health."""
    NORMAL = 15.0
    """Changes."""
    LONG = 30.0
    """Bulk changes, backups, whole checks."""


def numbered(parameters: Sequence[object]) -> dict[str, object]:
    """Parameters of a statement that names them ?1, ?2, …: from Python 3.12 on, a sequence is for a plain ? alone."""
    return {str(number): value for number, value in enumerate(parameters, 1)}


def names_another(journal: Path) -> bool:
    """Whether a rollback journal names a super-journal: SQLite deletes that file when it has undone the changes,
    whatever it is."""
    with suppress(FileNotFoundError), journal.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - len(SUPER)))
        return file.read() == SUPER
    return False


def sides(database: Path) -> list[Path]:
    """What a writer has left beside a database: the log and the journal of changes, where they hold any."""
    beside = (database.with_name(database.name + suffix) for suffix in ("-wal", "-journal"))
    return [side for side in beside if side.is_file() and side.stat().st_size]


def copied(database: Path, copy: Path) -> Path:
    """A copy of a database, with what its writer has left: opened, it has all that was changed. No file but the copy
    is touched by that."""
    shutil.copyfile(database, copy)
    for side in sides(database):
        shutil.copyfile(side, copy.with_name(copy.name + side.name.removeprefix(database.name)))
    if names_another(journal := copy.with_name(f"{copy.name}-journal")):  # which may be any file
        os.truncate(journal, journal.stat().st_size - 1)
    return copy


class Database:
    """One file, usable from any number of threads and processes; every change is one short transaction.

    One connection writes, a few others read at the same time. Without a path everything is kept in memory, by one
    connection. A file that this process may not write is opened for reading alone.

    Raises `FormatTooNew` for a file of a later release, `CorruptBlob` for a damaged one, `DataError` on a full disk, on
    a network file system, in a forked process, for a change of what may only be read, or when the patience of a call is
    over.
    """

    def __init__(
        self,
        path: Path | None,
        schema: Mapping[int, str],
        functions: Mapping[str, Function] | None = None,
        *,
        read_only: bool = False,
    ) -> None:
        """`schema` holds the statements that lead to each format from the one before it, the first one from nothing.

        A file of an older format is copied to `<name>.format-<number>` before it is brought up. One with other tables,
        views or triggers than its format's is damaged: what they would run is not what this release wrote. `functions`
        are those that statements and triggers may call by name; whoever opens the file without them cannot fire those
        triggers. `read_only` leaves a file as it is that may be written.
        """
        self.path = path
        self._schema, self._functions = schema, functions or {}
        self.read_only = path is not None and (
            read_only or (path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)))
        )
        self._at_close = ExitStack()
        self._uri = "" if path is None else path.resolve().as_uri() + ("?mode=ro" if self.read_only else "")
        self.longest = 0.0
        """Seconds that the longest transaction of this process took."""
        self._pid, self._closed = os.getpid(), False
        self._durable: bool | None = None  # what the writing connection is set to
        self._own = threading.local()  # .connection: the one in whose transaction the thread is
        self._writing = threading.Lock()
        self._reading = threading.BoundedSemaphore(READERS)
        self._readers: deque[sqlite3.Connection] = deque()
        self._watching = threading.Lock()
        self._watcher: sqlite3.Connection | None = None
        if path is not None:
            refuse_network(path.parent)
            if not self.read_only and names_another(path.with_name(f"{path.name}-journal")):
                raise CorruptBlob(
                    f"{path}-journal names another file as a part of what it undoes, which no journal of a run does:"
                    " delete it, and run `ringrift data check`"
                )
            with space_checked(path):
                make_directory(path.parent)
        with self._errors_named(Patience.NORMAL):
            self._writer = self._connect_for_reading() if self.read_only else self._connect()
        try:
            with self._errors_named(Patience.NORMAL):
                self._prepare(schema)
        except BaseException:
            self.close()
            raise

    def __str__(self) -> str:
        return str(self.path or "a database in memory")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._uri or ":memory:",
            timeout=Patience.SHORT,
            isolation_level=None,
            check_same_thread=False,
            uri=bool(self._uri),
        )
        connection.row_factory = sqlite3.Row
        for name, function in self._functions.items():
            connection.create_function(name, -1, function, deterministic=True)
        return connection

    def _connect_for_reading(self) -> sqlite3.Connection:
        """A connection that sees what others write, where SQLite can share memory with them. Where it cannot, as nobody
        writes: one to the file as it is, or to a copy with what the last writer left, which was killed."""
        assert self.path is not None
        connection = self._connect()
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            return connection
        except sqlite3.DatabaseError as error:
            connection.close()
            if _code(error) & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
        if sides(self.path):
            self._uri = copied(self.path, self._at_close.enter_context(scratch()) / self.path.name).as_uri()
        else:
            self._uri += "&immutable=1"
        return self._connect()

    def _prepare(self, schema: Mapping[int, str]) -> None:
        version, found = max(schema), self._version()
        if found > version:
            raise FormatTooNew(
                f"{self} has format {found}; this release reads up to {version}: use the release that wrote it"
            )
        if found > 0 and self.path is not None and (wrong := self._foreign(found)):
            raise CorruptBlob(f"{self}: its {wrong} is not that of format {found}: restore it from a backup")
        if self.read_only and found < version:
            raise DataError(
                f"{self} has format {found}, which `ringrift data check DIR` brings up to {version} where it may be"
                f" written; elsewhere, {COPY_IT}"
            )
        if self.read_only:
            return
        self._enter_wal()
        self._writer.execute("PRAGMA foreign_keys = ON")
        self._writer.execute("PRAGMA busy_timeout = 0")  # `_begin` waits, in steps shorter than SQLite's
        if found < version:
            with self.transaction(Patience.LONG) as connection:
                found = self._version()  # another process may have been first
                if found < 0 or (not found and connection.execute("SELECT 1 FROM sqlite_master").fetchone()):
                    raise CorruptBlob(f"{self} has tables, and {found} for their format: restore it from a backup")
                if self.path is not None and 0 < found < version:
                    self.backup(self.path.with_name(f"{self.path.name}.format-{found}"))
                for step in range(found + 1, version + 1):
                    for statement in _statements(schema[step]):
                        connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version}")

    def _foreign(self, version: int) -> str | None:
        """What its tables, views, indexes and triggers have that is not that format's, by name. Of older formats, which
        had variants, only what could run for ever counts: a view, or a virtual table."""
        steps = {step: self._schema[step] for step in range(1, version + 1)}
        with closing(Database(None, steps, self._functions)) as sound:
            known, found = _made(sound._writer), _made(self._writer)
        for what in sorted(known | found):
            endless = what.startswith("view") or found.get(what, "").startswith("CREATEVIRTUAL")
            if known.get(what) != found.get(what) and (endless or version == max(self._schema)):
                return what
        return None

    def _version(self) -> int:
        return int(self._writer.execute("PRAGMA user_version").fetchone()[0])

    def _enter_wal(self) -> None:
        # Two processes entering WAL at once can get SQLITE_BUSY without the busy handler being asked.
        deadline = time.monotonic() + Patience.NORMAL
        while True:
            try:
                self._writer.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if not _busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @contextmanager
    def transaction(
        self, patience: Patience = Patience.NORMAL, *, durable: bool = True
    ) -> Iterator[sqlite3.Connection]:
        """All of the changes inside, or none. A transaction inside another one of the same thread joins it.

        Once it ends, `kill -9` undoes nothing of it, and a power cut neither unless `durable` is false.
        """
        if (joined := self._joined()) is not None:
            with self._errors_named(patience):
                yield joined
            return
        if self.read_only:
            raise DataError(f"{self} may not be written by this process: {COPY_IT}")
        deadline = time.monotonic() + patience
        if not self._writing.acquire(timeout=patience):
            raise self._locked(patience)
        try:
            with self._errors_named(patience):
                if durable is not self._durable:
                    self._writer.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                    self._durable = durable
                self._begin(deadline)
                began = time.perf_counter()
                self._own.connection = self._writer
                try:
                    yield self._writer
                    fault_point(self.path, written=False)
                    self._writer.execute("COMMIT")
                    fault_point(self.path, written=True)
                except BaseException:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
                finally:
                    self._own.connection = None
                    self.longest = max(self.longest, time.perf_counter() - began)
        finally:
            self._writing.release()

    def _begin(self, deadline: float) -> None:
        pause, longest = RETRY_SECONDS
        while True:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not _busy(error) or time.monotonic() > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, longest)

    def rows(
        self, query: str, parameters: Sequence[object] = (), patience: Patience = Patience.SHORT
    ) -> list[sqlite3.Row]:
        """What a query gives, read as one snapshot; inside a transaction of the thread, as that one has left it."""
        with self._errors_named(patience):
            given = numbered(parameters) if "?1" in query else parameters
            if (joined := self._joined()) is not None:
                return joined.execute(query, given).fetchall()
            with self._reader(patience) as connection:
                return connection.execute(query, given).fetchall()

    @contextmanager
    def _reader(self, patience: Patience) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else uses meanwhile, outside of transactions."""
        free = self._writing if self.path is None else self._reading
        if not free.acquire(timeout=patience):
            raise self._locked(patience)
        try:
            try:
                connection = self._writer if self.path is None else self._readers.pop()
            except IndexError:
                connection = self._connect()
            try:
                yield connection
            finally:
                if self._closed:
                    connection.close()
                elif connection is not self._writer:
                    self._readers.append(connection)
        finally:
            free.release()

    def _joined(self) -> sqlite3.Connection | None:
        """The connection in whose transaction this thread is; refuses use after a fork or after closing."""
        if os.getpid() != self._pid:
            raise DataError(
                f"{self} was opened before this process was forked, which would damage it: start processes by spawning,"
                " and open it in the new one"
            )
        if self._closed:
            raise DataError(f"{self} is closed: open it again")
        return getattr(self._own, "connection", None)

    def wait(self, changed: Callable[[], bool], timeout: float) -> bool:
        """Waits until `changed()`, asked again after every change by any thread or process; its last answer."""
        deadline = time.monotonic() + timeout
        while True:
            seen = self._changes()
            if changed():
                return True
            while self._changes() == seen:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                time.sleep(min(POLL_SECONDS, left))

    def _changes(self) -> int:
        """A number that differs once any other connection, this process's included, has changed something."""
        with self._watching, self._errors_named(Patience.SHORT):
            self._joined()
            if self._watcher is None:
                self._watcher = self._connect()
            return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])

    def check(self) -> None:
        """Raises `CorruptBlob` where SQLite's own integrity check finds damage."""
        found = [str(row[0]) for row in self.rows("PRAGMA integrity_check(3)", patience=Patience.LONG)]
        if found != ["ok"]:
            raise CorruptBlob(f"{self}: {'; '.join(found)}: restore it from a backup")

    def backup(self, to: Path) -> None:
        """Copies the database, as its last transaction left it, into the file `to`, durably and whole or not at all.

        Writers go on meanwhile.
        """
        self._joined()
        temporary = to.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
        with space_checked(to), self._errors_named(Patience.LONG), self._reader(Patience.LONG) as source:
            make_directory(to.parent)
            try:
                copy = sqlite3.connect(temporary, isolation_level=None)
                source.execute("BEGIN")  # one snapshot, or each change would make the copy start again;
                try:
                    source.execute("SELECT 1 FROM sqlite_master").fetchone()  # it is taken by the first read
                    source.backup(copy, pages=BACKUP_PAGES)
                    copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
                finally:
                    source.execute("ROLLBACK")
                    copy.close()
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
                temporary.replace(to)
                sync_directory(to.parent)
            finally:
                temporary.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the file."""
        with self._writing, self._watching:
            self._closed = True
            for connection in (*self._readers, self._watcher, self._writer):
                if connection is not None:
                    connection.close()
            self._readers.clear()
        self._at_close.close()

    @contextmanager
    def _errors_named(self, patience: Patience) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise self._named(error, patience) from error
        except sqlite3.IntegrityError:
            raise
        except UnicodeDecodeError as error:  # of SQLite's own message on a damaged name
            raise CorruptBlob(f"{self}: a name in it is no text ({error.reason}): restore it from a backup") from error
        except sqlite3.DatabaseError as error:
            if _code(error) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise CorruptBlob(f"{self}: {error}: restore it from a backup") from error
            raise

    def _named(self, error: sqlite3.OperationalError, patience: Patience) -> Exception:
        code = _code(error)
        if code == sqlite3.SQLITE_FULL or code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE):
            return no_space(self.path or Path(":memory:"))
        if _busy(error):
            return self._locked(patience)
        if UNSOUND.match(str(error)):
            return CorruptBlob(f"{self}: {error}: restore it from a backup")
        if code & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            return DataError(f"{self}: {error}: check the disk's space and the file's permissions")
        return error

    def _locked(self, patience: Patience) -> DataError:
        return DataError(f"{self} stayed locked for {patience.value:.0f} s: other threads or processes are using it")


def read_json(text: str, kind: type[T], database: Database, row: str) -> T:
    """What a column holds. Raises `CorruptBlob` naming file and row where it is not JSON of that kind."""
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptBlob(f"{database}, {row}: {text!r:.60} is no JSON ({error}): restore it from a backup") from error
    if not isinstance(found, kind):
        raise CorruptBlob(f"{database}, {row}: {text!r:.60} is not what stands there: restore it from a backup")
    return found


def _made(connection: sqlite3.Connection) -> dict[str, str]:
    """What each table, view, index and trigger is made by, however it is spaced and quoted."""
    made = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {f"{row[0]} {row[1]!r:.60}": re.sub(r'[\s"]+', "", row[2]) for row in made}


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))


def _busy(error: sqlite3.Error) -> bool:
    return _code(error) & 0xFF == sqlite3.SQLITE_BUSY


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; unlike `executescript` they can stand inside a transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
