"""Services on a fabric in memory, for tests of what runs them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ringrift.clock import SYSTEM_CLOCK, Clock
from ringrift.kernel.bus import Bus
from ringrift.kernel.service import Service, Step
from ringrift.pipeline.service import Context
from ringrift.store import RunDirectory

OPENED: list[RunDirectory] = []
"""To be closed after the test."""


def context(clock: Clock = SYSTEM_CLOCK, fabric: Any = None) -> Context:
    """A context over an empty run in memory, or over another fabric alone."""
    run: Any = SimpleNamespace(fabric=fabric, path=Path()) if fabric else RunDirectory.in_memory(clock)
    if fabric is None:
        OPENED.append(run)
    return Context(run, Bus(run.fabric.log, "test"), clock=clock)


def doing(name: str, do: Callable[[Context], object], every: float = 0.05, **rest: Any) -> Service[Context]:
    """A service whose only step is `do`."""

    def plan(ctx: Context) -> Iterator[Step]:
        yield Step(f"do {name}", "the test wants it", lambda: do(ctx))

    return Service(name, plan, every, **rest)
