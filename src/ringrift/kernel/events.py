"""What an event is, and those that every project has: of jobs, workers, services, backpressure and alerts.

An event says what has happened, in the past tense. It is published by the services and kinds of job that name it in
their `emits`, and heard by the services and effects that name it in their `on`; the topology is checked when a loop
starts. Fields that a type does not have are refused when it is written, and left unread when it is read, so that old
and new releases can share a log. A changed meaning of a field is a new `version`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Event(BaseModel):
    """Something that has happened."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: ClassVar[int] = 1

    config: str = ""
    """What it is about; empty where it is about the whole run. Events of a config are heard in their order."""


class JobDied(Event):
    """A job failed at its last attempt, and is kept as a dead letter."""

    job: str
    kind: str
    attempts: int
    error: str


class WorkerSetAside(Event):
    """A worker failed jobs that others have finished; it is tried again from time to time, with one job."""

    worker: str
    failures: int
    """Jobs that it failed in a row."""
    refuted: int
    """Jobs of these that others have finished."""
    error: str
    """What its last failure was."""


class WorkerReleased(Event):
    """A worker that was set aside has finished a job, or it has ended."""

    worker: str


class ServiceFailed(Event):
    """A service's tick failed or took too long; it will be tried again."""

    service: str
    failures: int
    """Ticks that failed in a row."""
    error: str


class ServiceRecovered(Event):
    """A service that had failed or stalled works again."""

    service: str


class ServiceStalled(Event):
    """A service is alive and achieves nothing, though work waits for it."""

    service: str
    waiting: float
    seconds: float
    """Since it last achieved something."""


class PressureChanged(Event):
    """The gauge of backpressure entered another level."""

    level: str
    share: float
    """How full the fullest part is, 0 to 1."""
    part: str
    """Which one that is."""


class AlertRaised(Event):
    """A rule found what somebody should look at."""

    alert: str
    severity: str
    text: str


class AlertCleared(Event):
    """What an alert was about is over."""

    alert: str


def type_of(name: str) -> type[Event] | None:
    """The type of that name; none where this release has none."""
    return next((event for event in Event.__subclasses__() if event.__name__ == name), None)
