"""What the parts of a local fabric share: the database, the clock, and which start of the machine this is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ringrift.clock import Clock, SystemClock, VirtualClock
from ringrift.fabric.database import Database


class BootClock(SystemClock):
    """The system's time whose `monotonic` counts from the start of the machine, its sleep included: the same in all
    its processes, and leases neither stretch nor jump with the date."""

    def monotonic(self) -> float:
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


BOOT_CLOCK = BootClock()


def boot_id() -> str:
    """Names this start of the machine; empty where the system does not tell."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


@dataclass(frozen=True)
class Shared:
    """Times of rows written under another `boot` say nothing now: what they limit is over."""

    database: Database
    clock: Clock
    boot: str

    def wait(self, changed: Callable[[], bool], timeout: float) -> bool:
        """Waits until `changed()`. A virtual clock is moved by `timeout` instead: nobody else can act meanwhile."""
        if not isinstance(self.clock, VirtualClock):
            return self.database.wait(changed, timeout)
        if not changed():
            self.clock.sleep(timeout)
        return changed()
