"""The run directory: everything one training run has made, in one place with a format number.

run.json       what this directory is: format, identity, when and by which release it was made
games.db       games, and what is known of shards and models
fabric.db      registry (`promoted/<config>`), leases, log of events, jobs
blobs/         shards (.npz), checkpoints (.safetensors) and exported models (.onnx), named by content hash
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import ringrift
from ringrift.clock import SYSTEM_CLOCK, Clock
from ringrift.errors import CorruptBlob, DataError, FormatTooNew, JobError
from ringrift.fabric import Database, Fabric, Lease, LocalFabric, MemoryFabric, kept_alive, write_atomically
from ringrift.fabric.files import TEMPORARY, make_directory, space_checked
from ringrift.fabric.scratch import scratch
from ringrift.store.schema import FUNCTIONS, SCHEMA
from ringrift.texts import read_json

FORMAT = 1  #: of run.json and the layout
T = TypeVar("T")
DATABASES = ("fabric.db", "games.db")
ONLINE, TAKEN = "online-", "taken"  #: how files of people's games begin; the folder of those that were taken in
LOOP_LEASE = "loop"
LOOP_TTL = 60.0  #: seconds that a hanging loop keeps the directory


class RunDirectory:
    """An open run directory; a context manager that closes it.

    Made by `create`, `open` or `open_or_create`, which raise `DataError` for a directory that is something else,
    `CorruptBlob` for a damaged one and `FormatTooNew` for one of a later release, or by `in_memory`.
    """

    def __init__(self, path: Path, identity: str, database: Database, fabric: Fabric) -> None:
        self.path = path
        self.identity = identity
        """A random name that stays with the run wherever its directory is moved."""
        self.database, self.fabric = database, fabric
        self._at_close = ExitStack()
        self._at_close.callback(database.close)
        self._at_close.callback(fabric.close)

    @classmethod
    def create(cls, path: Path | str) -> RunDirectory:
        """A new run in a directory that is empty or does not exist yet."""
        path, identity = Path(path), secrets.token_hex(8)
        cls.check_vacant(path)
        about = {
            "format": FORMAT,
            "identity": identity,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "release": ringrift.__version__,
        }
        with space_checked(path):
            make_directory(path)
        run = cls._opened(path, identity)
        try:  # last: a directory is a run once it has this
            write_atomically(path / "run.json", json.dumps(about, indent=1).encode() + b"\n")
        except BaseException:
            run.close()
            raise
        return run

    @staticmethod
    def check_vacant(path: Path) -> None:
        """Raises `DataError` unless a run can be made there."""
        if path.exists() and not path.is_dir():
            raise DataError(f"{path} is a file: a run needs a directory, new or empty")
        # Databases are made before run.json: a creation that was killed left them.
        if path.is_dir() and any(not entry.name.startswith((TEMPORARY, *DATABASES)) for entry in path.iterdir()):
            raise DataError(f"{path} is neither empty nor a run directory: give a new or an empty directory")

    @classmethod
    def open(cls, path: Path | str, *, read_only: bool = False) -> RunDirectory:
        """An existing run; `read_only` leaves its databases as they are, also where they may be written."""
        path = Path(path)
        identity = cls.identity_of(path)
        for name in DATABASES:
            if missing := cls.missing(path / name):
                raise CorruptBlob(missing)
        return cls._opened(path, identity, read_only=read_only)

    @staticmethod
    def identity_of(path: Path) -> str:
        """Of the run in a directory; raises as `open` does where `run.json` is not sound."""
        about = path / "run.json"
        if not about.is_file():
            what = "is not a run directory (it has no run.json)" if path.is_dir() else "does not exist"
            raise DataError(f"{path} {what}: give a directory made by `ringrift loop --run DIR`")
        try:
            found = read_json(about.read_bytes())
            format_, identity = found["format"], found["identity"]
            if type(format_) is not int or format_ < 1 or not isinstance(identity, str):
                raise ValueError(f"format {format_!r:.40}, identity {identity!r:.40}")
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise CorruptBlob(f"{about} is corrupt ({error}): restore it from a backup") from error
        if format_ > FORMAT:
            raise FormatTooNew(
                f"{about} has format {format_}; this release reads up to {FORMAT}: use the release that made the run"
            )
        return identity

    @staticmethod
    def missing(database: Path) -> str | None:
        """What is said of a database of a run that is missing or empty; none where it has something."""
        if database.is_file() and database.stat().st_size:
            return None
        what = f"{database} is {'empty' if database.is_file() else 'missing'}, and what it held with it"
        if database.name == "fabric.db":
            return f"{what}: `ringrift data repair {database.parent}` promotes again what games.db knows of"
        return f"{what}: restore the run from a backup"

    @classmethod
    def open_parts(cls, path: Path) -> tuple[RunDirectory, dict[str, str]]:
        """A run with what of it can be opened, and by file why the rest cannot: that is as if nothing were in it.

        Raises `DataError` for a directory that is no run.
        """
        if not (path / "run.json").is_file():
            cls.identity_of(path)
        wrong: dict[str, str] = {}

        def tried(name: str, opened: Callable[[], T], otherwise: Callable[[], T]) -> T:
            try:
                if name in DATABASES and (missing := cls.missing(path / name)):
                    raise CorruptBlob(missing)
                return opened()
            except DataError as error:
                wrong[name] = str(error)
                return otherwise()

        identity = tried("run.json", lambda: cls.identity_of(path), str)
        database = tried(
            "games.db",
            lambda: Database(path / "games.db", SCHEMA, FUNCTIONS),
            lambda: Database(None, SCHEMA, FUNCTIONS),
        )
        fabric = tried("fabric.db", lambda: LocalFabric(path), lambda: LocalFabric(path, database=None))
        return cls(path, identity, database, fabric), wrong

    @classmethod
    def _opened(cls, path: Path, identity: str, *, read_only: bool = False) -> RunDirectory:
        with ExitStack() as opened:
            database = Database(path / "games.db", SCHEMA, FUNCTIONS, read_only=read_only)
            opened.callback(database.close)
            run = cls(path, identity, database, LocalFabric(path, read_only=read_only))
            opened.pop_all()
        return run

    @classmethod
    def in_memory(cls, clock: Clock = SYSTEM_CLOCK, fabric: Fabric | None = None) -> RunDirectory:
        """A run of this process alone, for simulation and tests: it keeps nothing, and its path is a temporary one."""
        with ExitStack() as opened:
            directory = opened.enter_context(scratch())
            run = cls(directory, secrets.token_hex(8), Database(None, SCHEMA, FUNCTIONS), fabric or MemoryFabric(clock))
            run._at_close.push(opened.pop_all())
        return run

    @classmethod
    def open_or_create(cls, path: Path | str) -> RunDirectory:
        """The run in `path`, made where there is none yet."""
        return cls.open(path) if (Path(path) / "run.json").is_file() else cls.create(path)

    def online(self, config: str) -> Path:
        """Where games that people won wait to be learned from; it may not be there yet."""
        return self.path / "online" / config

    @contextmanager
    def loop_lease(self, ttl: float = LOOP_TTL) -> Iterator[Lease]:
        """The right to be the one loop of this run, kept alive inside the block.

        Raises `JobError` naming the holder while another process has it.
        """
        holder = self.fabric.leases.holder(LOOP_LEASE)
        if holder is not None:
            raise JobError(
                f"{self.path} is in use by another loop, {holder}: wait for it or stop it, or give another directory"
            )
        with kept_alive(self.fabric.leases.acquire(LOOP_LEASE, ttl)) as lease:
            yield lease

    def close(self) -> None:
        """Closes the databases."""
        self._at_close.close()

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
