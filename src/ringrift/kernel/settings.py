"""What can be set about services and workers."""

from __future__ import annotations

from dataclasses import dataclass

from ringrift.errors import check_fields


@dataclass(frozen=True)
class Supervision:
    """The process that runs the services: its port, its patience, its limits."""

    host: str = "127.0.0.1"
    """Where `/health`, `/ready` and `/metrics` are served; only this machine, unless told otherwise."""
    port: int = 8790
    """Their port; 0 for none."""
    deadline: float = 20.0
    """Seconds that services have to end when the process is told to stop."""
    stall: float = 900.0
    """A service with a backlog has stalled when it achieves nothing for this many seconds and for five times as long as
    it usually takes."""
    disk_clean: float = 0.6
    """Share of the disk in use from which the janitor cleans up."""
    disk_stop: float = 0.9
    """Share of the disk in use from which no new work is begun."""
    full_events: int = 100_000
    """Events that wait for an effect, at which the gauge of backpressure is full."""
    full_jobs: int = 1000
    """Waiting jobs, at which the gauge is full."""
    log_bytes: int = 20_000_000
    """Size at which a log file is set aside for a new one; the last three are kept."""

    def __post_init__(self) -> None:
        sizes = ("deadline", "stall", "full_events", "full_jobs", "log_bytes")
        check_fields(self, lambda value: 0 <= value < 65536, "1 to 65535, or 0 for none,", "port")
        check_fields(self, lambda value: value > 0, "more than 0", *sizes)
        if not 0 < self.disk_clean <= self.disk_stop <= 1:
            raise ValueError(
                f"disk_clean is {self.disk_clean} and disk_stop {self.disk_stop}; 0 < clean ≤ stop ≤ 1 is right"
            )


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker takes of its machine."""

    cores: int = 0
    """Jobs at a time, a core each; 0 for as many as there are usable cores."""
    utilisation: float = 1.0
    """Share of the machine's processor time, whoever uses it, up to which self-play is added."""
    nice: int = 5
    """How much the jobs' processes stand back behind others of the machine, 0 to 19."""
    ttl: float = 60.0
    """Seconds after which the jobs of a worker that is not heard of are given to others."""

    def __post_init__(self) -> None:
        check_fields(self, lambda value: value >= 0, "0 or more", "cores")
        check_fields(self, lambda value: 0 < value <= 1, "more than 0 and at most 1", "utilisation")
        check_fields(self, lambda value: 0 <= value <= 19, "0 to 19", "nice")
        check_fields(self, lambda value: value >= 1, "1 or more", "ttl")
