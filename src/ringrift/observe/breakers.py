"""Circuit breakers: what is down is left alone for a while, instead of being asked again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from purgatory import SyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from ringrift.errors import RingRiftError

THRESHOLD = 5  #: failures in a row that open a breaker
REST_SECONDS = 60.0  #: after which one call is let through to see


class Unavailable(RingRiftError):
    """Nobody was asked, since the last calls failed."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"{name} failed {THRESHOLD} times in a row: the next call is made in {seconds:.0f} s")
        self.seconds = seconds


class Breakers:
    """One breaker for each external dependency of this process."""

    def __init__(self, threshold: int = THRESHOLD, rest: float = REST_SECONDS) -> None:
        self._factory = SyncCircuitBreakerFactory(default_threshold=threshold, default_ttl=rest)
        self._names: dict[str, None] = {}

    @contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Counts the failures of the block. Raises `Unavailable` instead of running it while the breaker is open."""
        breaker = self._factory.get_breaker(name)
        self._names[name] = None
        try:
            breaker.__enter__()
        except OpenedState as opened:
            raise Unavailable(name, max(1.0, opened.opened_at + breaker.context.ttl - time.time())) from None
        try:
            yield
        except BaseException as error:
            breaker.__exit__(type(error), error, None)
            raise
        breaker.__exit__(None, None, None)

    def states(self) -> dict[str, str]:
        """`closed`, `half-opened` or `opened` by the name of the dependency."""
        return {name: self._factory.get_breaker(name).context.state for name in list(self._names)}


BREAKERS = Breakers()
