"""Time as a dependency: the system's clock, and a virtual one that only moves when told to."""

import threading
import time
from typing import Protocol

LONGEST_WAIT = 300.0  #: seconds


class Clock(Protocol):
    """What anything that waits, expires or is dated asks for the time."""

    def now(self) -> float:
        """Seconds since the Unix epoch; may jump when the system's date is set."""

    def monotonic(self) -> float:
        """Seconds from an unstated origin; never goes back. For durations and deadlines."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


def back_off(failures: int, first: float = 1.0) -> float:
    """Seconds before the next try after so many failures in a row: `first`, and twice as long each time, at most
    `LONGEST_WAIT`."""
    return min(LONGEST_WAIT, first * 2.0 ** min(failures - 1, 60))


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class VirtualClock:
    """Time for tests and simulation: `advance` moves it and `sleep` returns at once, having moved it."""

    def __init__(self, start: float = 0.0) -> None:
        self._time = start
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._time

    def monotonic(self) -> float:
        return self._time

    def advance(self, seconds: float) -> None:
        """Move time forward by `seconds`, which is not negative."""
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds} s")
        with self._lock:
            self._time += seconds

    sleep = advance


SYSTEM_CLOCK = SystemClock()
