"""Why something happened and what came of it: the causal tree of an event, a job, a model or a game."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from ringrift.errors import DataError
from ringrift.fabric import OPEN, Fabric, Job, JobState, Log, LogEntry
from ringrift.pipeline.events import SelfplayFinished

PAGE = 1000
DEPTH = 40  #: levels that are followed downwards


@dataclass(frozen=True)
class Cause:
    """An event, or a job that has led to none yet, and what came of it."""

    what: LogEntry | Job
    asked: bool
    """Whether it is itself about what was asked for."""
    led_to: tuple[Cause, ...]
    more: int = 0
    """What came of it directly and is not shown."""


@dataclass(frozen=True)
class Trace:
    """One place where what was asked for stands."""

    path: tuple[LogEntry, ...]
    """What led to it, the root first."""
    tree: Cause


def entries(log: Log, after: int = 0) -> Iterator[LogEntry]:
    """Everything after a sequence number, in order."""
    while found := log.read(after, PAGE):
        yield from found
        after = found[-1].sequence


def trace(fabric: Fabric, name: str) -> list[Trace]:
    """Everything in the log that is about `name`: an event's number, or the id of a job, a model or a game.

    Raises `DataError` where there is nothing, neither an event nor an open or dead job.
    """
    parents: dict[int | str, int | None] = {}
    about: dict[int | str, str] = {}
    batches: defaultdict[str, list[int]] = defaultdict(list)
    children: defaultdict[int | None, list[int | str]] = defaultdict(list)
    asked: set[int | str] = set()
    jobs = {job.id: job for job in fabric.jobs.ls(states=[*OPEN, JobState.DEAD])}
    for entry in entries(fabric.log):
        parents[entry.sequence] = entry.parent
        children[entry.parent].append(entry.sequence)
        about[entry.sequence] = entry.key
        if entry.type == SelfplayFinished.__name__:
            batches[entry.key].append(entry.sequence)
        if _is_about(entry, name):
            asked.add(entry.sequence)
        if isinstance(job := entry.payload.get("job"), str):
            jobs.pop(job, None)  # its event stands for it
    for job in jobs.values():
        parents[job.id] = job.parent
        children[job.parent].append(job.id)
        about[job.id] = job.config
        if job.id == name:
            asked.add(job.id)
    if not asked:
        raise DataError(f"nothing is known of {name!r}: give an event's number, or the id of a job, a model or a game")

    def above(node: int | str) -> list[int]:
        """The numbers of what led to it, the nearest first; up to where the log was purged.

        What is done for all configs at once has one cause, which may be about another config: then the last batch of
        its own before that stands in its place.
        """
        path: list[int] = []
        config = about[node]
        while (parent := parents[node]) is not None and parent in parents:
            if config and about[parent] not in ("", config):
                own = batches[config][: bisect_left(batches[config], parent if isinstance(node, str) else node)]
                if not own:
                    node = parent
                    continue
                parent = own[-1]
            path.append(node := parent)
        return path

    def down(node: int | str, config: str, depth: int) -> Cause:
        led = children[node] if isinstance(node, int) else []
        led = [one for one in led if not config or about[one] in ("", config)]
        shown = led if depth else []
        below = tuple(down(one, config, depth - 1) for one in shown)
        return Cause(read(node), node in asked, below, len(led) - len(shown))

    def read(node: int | str) -> LogEntry | Job:
        return fabric.log.read(node - 1, 1)[0] if isinstance(node, int) else jobs[node]

    traces = []
    for node in sorted(asked, key=str):
        path = above(node)
        if asked.isdisjoint(path):
            led = tuple(fabric.log.read(sequence - 1, 1)[0] for sequence in reversed(path))
            traces.append(Trace(led, down(node, about[node], DEPTH)))
    return traces


def _is_about(entry: LogEntry, name: str) -> bool:
    if name == str(entry.sequence):
        return True
    batch = entry.payload.get("batch")
    return name in (entry.payload.get(field) for field in ("job", "model", "a")) or (
        isinstance(batch, str) and bool(batch) and (name == batch or name.startswith(f"{batch.rstrip('/')}/"))
    )
