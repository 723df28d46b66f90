"""Files that are either whole or not there, whatever happens to the process or the machine."""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ringrift.errors import DataError
from ringrift.fabric.faults import fault_point

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
TEMPORARY = ".tmp-"  #: what the name of a file being written starts with


def no_space(path: Path) -> DataError:
    """The error for a full disk."""
    return DataError(
        f"no space left to write {path}: what was stored before is intact; free some space, then run the same command"
        " again, and it goes on where it stopped"
    )


@contextmanager
def space_checked(path: Path) -> Iterator[None]:
    """Turns "no space left" and its kin into one clear `DataError`."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise no_space(path) from error
        raise


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Creates a directory and its parents, their names durable."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


@contextmanager
def written_atomically(path: Path, chunks: Iterable[bytes]) -> Iterator[Path]:
    """A durable temporary file holding `chunks`, beside `path`; removed at the end unless it was renamed."""
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    with space_checked(path):
        make_directory(path.parent)
        try:
            with temporary.open("xb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            fault_point(path, written=False)
            yield temporary
            fault_point(path, written=True)
        finally:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that any reader, and any restart, sees the old content or the new, never a part.

    Raises `DataError` on a full disk, with nothing left behind.
    """
    with written_atomically(path, (content,)) as temporary:
        temporary.replace(path)
        sync_directory(path.parent)


def sweep(directory: Path, older_than: float = 3600.0, pattern: str = f"{TEMPORARY}*") -> int:
    """Deletes what killed writers left half-written, or other files of such names; the number of files."""
    limit = time.time() - older_than
    stale = [path for path in directory.rglob(pattern) if path.stat().st_mtime < limit]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)
