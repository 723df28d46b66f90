"""Stores on other machines, over SSH: `ssh://user@host:port/path`.

The far machine needs `python3` and nothing of ours: it is given the program `far_ls` and answers with what it found, so
that no database is copied. Hosts have to be known, keys and users come from the usual files of `ssh` and its agent.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ringrift.errors import DataError, NodeUnreachable
from ringrift.store import far_ls

SCHEME = "ssh://"
CONNECT_SECONDS, ANSWER_SECONDS = 15.0, 120.0


def ask(place: str) -> dict[str, Any]:
    """What `far_ls` finds at a place. Raises `NodeUnreachable`, and `DataError` where the place cannot be read."""
    try:
        return asyncio.run(_asked(place))
    except ImportError as error:
        raise DataError(f"{place}: places on other machines need asyncssh: pip install 'ringrift[data]'") from error


async def _asked(place: str) -> dict[str, Any]:
    import asyncssh

    at = urlsplit(place)
    if not at.hostname or not at.path:
        raise DataError(f"{place} is no place: ssh://user@host/path is right")
    user = {"username": at.username} if at.username else {}
    program = Path(far_ls.__file__).read_text(encoding="utf-8")
    try:
        async with asyncssh.connect(at.hostname, at.port or (), connect_timeout=CONNECT_SECONDS, **user) as far:
            command = f"python3 - {shlex.quote(unquote(at.path))}"
            done = await far.run(command, input=program, timeout=ANSWER_SECONDS)
    except (TimeoutError, asyncssh.Error, OSError) as error:
        raise NodeUnreachable(f"{place} cannot be looked into: {error or type(error).__name__}") from error
    if done.exit_status:
        last = (str(done.stderr).strip().splitlines() or ["it said nothing"])[-1]
        raise DataError(f"{place}: python3 there ended with status {done.exit_status}: {last}")
    try:
        found: dict[str, Any] = json.loads(str(done.stdout).strip().rpartition("\n")[2])  # a shell may greet before
    except ValueError as error:
        raise DataError(f"{place}: python3 there did not answer: {str(done.stdout)[:200]!r}") from error
    if not found["there"]:
        raise DataError(f"{place} does not exist: give run directories, databases, or directories of them")
    return found
