"""Temporary directories of which nothing is left, also after a kill."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX, LOCK = "ringrift-scratch-", ".lock"


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty directory for as long as it is used. Those of processes that were killed are removed first: each has a
    lock beside it, which ends with its process."""
    place = Path(tempfile.gettempdir())
    for left in place.glob(f"{PREFIX}*{LOCK}"):
        _sweep(left)
    lock = place / f"{PREFIX}{secrets.token_hex(8)}{LOCK}"
    descriptor = _locked(lock, os.O_CREAT | os.O_EXCL)
    while descriptor is None:  # another process took it for one that was left
        descriptor = _locked(lock, os.O_CREAT)
    directory = lock.with_name(lock.name.removesuffix(LOCK))
    try:
        directory.mkdir(mode=0o700)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _sweep(lock: Path) -> None:
    """Removes what a process has left that is no more."""
    with suppress(OSError):
        if lock.lstat().st_uid == os.getuid() and (descriptor := _locked(lock)) is not None:
            shutil.rmtree(lock.with_name(lock.name.removesuffix(LOCK)), ignore_errors=True)
            lock.unlink(missing_ok=True)
            os.close(descriptor)


def _locked(lock: Path, flags: int = 0) -> int | None:
    """The descriptor of a lock that nobody holds, and that is still there."""
    descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None
