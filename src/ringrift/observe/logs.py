"""Structured logs: a line of JSON for each step, failure and event, with the service, event and job it belongs to.

Lines go through a queue to a thread of their own, so that whoever logs never waits for a disk. Outside `writing` they
go nowhere.
"""

from __future__ import annotations

import logging
import queue
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from logging.handlers import QueueListener, RotatingFileHandler
from pathlib import Path
from typing import Any

import structlog

KEPT = 3  #: files set aside
QUEUED = 10_000  #: lines that may wait for the disk; more are dropped, and counted


class _Sink:
    """Where finished lines go."""

    lines: queue.Queue[logging.LogRecord] | None = None
    dropped = 0

    def msg(self, text: str) -> None:
        if self.lines is not None:
            try:
                self.lines.put_nowait(logging.makeLogRecord({"msg": text}))
            except queue.Full:
                self.dropped += 1

    debug = info = warning = error = msg


_SINK = _Sink()


def _wanted(_: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if _SINK.lines is None:
        raise structlog.DropEvent
    if _SINK.dropped and method in ("warning", "error"):
        line["lines_dropped"], _SINK.dropped = _SINK.dropped, 0
    return line


log: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
    _SINK,
    wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    processors=[
        _wanted,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
    ],
)
bound = structlog.contextvars.bound_contextvars
"""`with bound(service="train", job=…):` puts these into each line of the block, in this thread."""


class _File(RotatingFileHandler):
    """A file; lines that it has no room for are dropped, counted and told of once, until one is written again."""

    told = False

    def emit(self, record: logging.LogRecord) -> None:
        before = _SINK.dropped
        super().emit(record)
        self.told = self.told and _SINK.dropped > before

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 # logging's name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        _SINK.dropped += 1
        with suppress(OSError):  # what it holds has no room either
            self.close()  # it is opened again for the next line
        if not self.told:
            self.told = True
            print(f"{self.baseFilename} lacks lines: {error.strerror}", file=sys.stderr)


@contextmanager
def writing(path: Path | None, max_bytes: int) -> Iterator[None]:
    """Lines go to `path` meanwhile; at `max_bytes` it is set aside as `….1`, and the oldest of these is deleted.

    Without a path they go to standard error.
    """
    file: logging.Handler = logging.StreamHandler()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _File(path, maxBytes=max_bytes, backupCount=KEPT, encoding="utf-8", delay=True)
    lines: queue.Queue[logging.LogRecord] = queue.Queue(QUEUED)
    listener = QueueListener(lines, file)
    listener.start()
    _SINK.lines = lines
    try:
        yield
    finally:
        _SINK.lines = None
        listener.stop()
        file.close()
