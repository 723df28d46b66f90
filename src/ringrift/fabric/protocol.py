"""The fabric's promises, without an implementation: every caller depends on this file only."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ringrift.errors import DataError, LeaseLost


@dataclass(frozen=True)
class BlobInfo:
    """One stored blob."""

    blob: str
    """Its id: sha256 of the content in hex, then the suffix it was put with (`….safetensors`)."""
    size_bytes: int
    modified: float
    """Unix time of the last `put`."""


class Blobs(Protocol):
    """Immutable bytes named by their content hash. Whatever is visible is whole."""

    def put(self, content: bytes | Path, suffix: str = "") -> str:
        """The id of `content` (bytes, or a file to copy), stored durably. Putting twice is a no-op."""

    def get(self, blob: str) -> bytes:
        """The content. Raises `CorruptBlob` where it does not match its name, `DataError` where there is none."""

    def path(self, blob: str) -> Path:
        """A file holding the blob, not verified. Raises `DataError` where there is none."""

    def check(self, blob: str) -> None:
        """Raises `CorruptBlob` or `DataError` unless the stored content matches its name."""

    def ls(self) -> Iterator[BlobInfo]:
        """Every blob, in the order of the ids."""

    def delete(self, blob: str) -> bool:
        """Removes a blob; false where there was none."""

    def gc(self, keep: Container[str], older_than: float = 3600.0) -> list[str]:
        """Deletes and returns the blobs not in `keep` and last put more than `older_than` seconds ago."""


@dataclass(frozen=True)
class Entry:
    """One key of the registry."""

    key: str
    value: dict[str, object]
    revision: int
    """Grows with every write anywhere in the registry; 0 stands for a key that does not exist."""


class Lease(Protocol):
    """The right to be the only one, until it expires."""

    name: str
    holder: str
    """Who holds it: process, host and since when."""
    fence: int
    """Grows with every new holder; guarded writes refuse a lower one."""
    ttl: float

    def extend(self) -> None:
        """Moves the expiry to `ttl` seconds from now. Raises `LeaseLost` once somebody else took over."""

    def check(self) -> None:
        """Raises `LeaseLost` once somebody else took over."""

    def release(self) -> None:
        """Frees the lease; nothing happens where it was lost."""


class Leases(Protocol):
    """Named leases."""

    def acquire(self, name: str, ttl: float = 30.0) -> Lease:
        """The lease, free again at the latest `ttl` seconds after its last extension, at once when its holder's
        process has died. Raises `JobError` naming the holder while somebody else holds it."""

    def holder(self, name: str) -> str | None:
        """Who holds the lease now."""


class Registry(Protocol):
    """Small keyed state with compare-and-set."""

    def get(self, key: str) -> Entry | None:
        """The current entry; none where the key does not exist or has expired."""

    def set(self, key: str, value: dict[str, object], *, ttl: float | None = None, lease: Lease | None = None) -> Entry:
        """Writes whatever was there before. With `lease`, raises `LeaseLost` where the lease has a new holder."""

    def compare_and_set(
        self, key: str, value: dict[str, object], revision: int, *, ttl: float | None = None, lease: Lease | None = None
    ) -> Entry | None:
        """Writes only where the key's revision is `revision` (0: it does not exist); none where it is another."""

    def delete(self, key: str, *, lease: Lease | None = None) -> bool:
        """Removes a key; false where there was none."""

    def ls(self, prefix: str = "") -> list[Entry]:
        """The entries whose keys start with `prefix`, by key."""


class Fabric(Protocol):
    """One place of storage and agreement."""

    blobs: Blobs
    registry: Registry
    leases: Leases

    def close(self) -> None:
        """Closes what is open; leases still held are freed."""


@contextmanager
def kept_alive(lease: Lease) -> Iterator[Lease]:
    """Extends `lease` from a thread every third of its `ttl`, and releases it at the end.

    The work inside calls `lease.check()` before each step that only the holder may take.
    """
    done = threading.Event()

    def beat() -> None:
        while not done.wait(lease.ttl / 3):
            try:
                lease.extend()
            except LeaseLost:
                return
            except DataError:
                continue  # a full disk, say: the work itself meets it too and says so; the next beat may succeed

    thread = threading.Thread(target=beat, name=f"lease {lease.name}", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        done.set()
        thread.join()
        lease.release()
