"""Services on a fabric in memory, for tests of what runs them."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from ringrift.clock import SYSTEM_CLOCK, Clock
from ringrift.fabric import MemoryFabric
from ringrift.pipeline.bus import Bus
from ringrift.pipeline.service import Context, Service, Step

OPENED: list[MemoryFabric] = []
"""To be closed after the test."""


def context(clock: Clock = SYSTEM_CLOCK, fabric: Any = None) -> Context:
    """A context without a store: its `run` has a fabric alone."""
    if fabric is None:
        fabric = MemoryFabric(clock)
        OPENED.append(fabric)
    run: Any = SimpleNamespace(fabric=fabric)
    return Context(run=run, configs=(), recipes={}, bus=Bus(fabric.log, "test"), clock=clock)


def doing(name: str, do: Callable[[Context], object], every: float = 0.05, **rest: Any) -> Service:
    """A service whose only step is `do`."""

    def plan(ctx: Context) -> Iterator[Step]:
        yield Step(f"do {name}", "the test wants it", lambda: do(ctx))

    return Service(name, plan, every, **rest)
