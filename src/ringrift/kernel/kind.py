"""A kind of job: what it is told, what it computes, how that is applied to the store.

`prepare` reads from the store whatever the computing needs, `compute` needs the order and blobs and nothing else (no
database, no run directory), and what comes of it travels in parcels, which `apply` stores under ids that follow from
the job alone: one that was applied twice has been applied once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ringrift.errors import SettingsError
from ringrift.fabric import Blobs, Job, Parcel
from ringrift.fabric.parcel import LENT
from ringrift.kernel.events import Event
from ringrift.kernel.service import Place

MEGABYTE = 1 << 20
PARCEL_SECONDS = 1.0

#: Tells that so many are done by now, with a remark.
Advance = Callable[[int, str], None]
#: Where progress is shown: makes a bar with a title that goes from 0 to a total.
Show = Callable[[str, int], AbstractContextManager[Advance]]


def quiet(_title: str, _total: int) -> AbstractContextManager[Advance]:
    """Shows nothing."""
    return nullcontext(lambda done, remark: None)


class Payload(BaseModel):
    """What a job is told: JSON can hold it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Order(Payload):
    """What is to be computed for a job."""

    lent: tuple[str, ...] = ()
    """Blobs that are for it alone."""


R = TypeVar("R", bound=Place)
W = TypeVar("W", bound="Work")
P = TypeVar("P", bound=Payload)
O_ = TypeVar("O_", bound=Order)


@dataclass(frozen=True)
class Work:
    """A job being done, and all that computing it may use; a project adds what its own need."""

    job: Job
    blobs: Blobs
    place: Path
    """A directory whose files help the next attempt on this machine: half a training, half a match."""
    show: Show = quiet
    parcel_seconds: float = PARCEL_SECONDS
    """About, between two parcels: a kill may lose so much."""
    counted: Counter[str] = field(default_factory=Counter)
    """What its parcels have come to so far, for its event."""
    lines: list[str] = field(default_factory=list)
    """What they say, for the same."""

    @property
    def config(self) -> str:
        return self.job.config


@dataclass(frozen=True)
class Kind(Generic[R, W, P, O_]):
    """A kind of job; its stage has it on its row."""

    name: str
    payload: type[P]
    order: type[O_]
    prepare: Callable[[R, W, P], O_]
    """What is to be computed, by what the store has now."""
    compute: Callable[[W, O_], Iterator[Parcel]]
    """What comes of it, a parcel at a time; a computing that is killed loses no more than the one it was making."""
    apply: Callable[[R, W, Parcel], Event | None]
    """Stores a parcel; of the last one, what is published and is the job's result."""
    emits: type[Event]
    priority: int
    fills: bool = False
    """Whether it fills a machine: workers do as much of it as is left to do."""
    needs: Mapping[str, float] = field(default_factory=lambda: {"cores": 1, "memory": 600 * MEGABYTE})
    time_limit: float = 4 * 3600.0
    stuck_after: float = 1800.0
    max_attempts: int = 3

    def job(self, name: str, payload: P, config: str = "", parent: int | None = None) -> Job:
        """A job that is ready to be put; `name` makes its id: `<kind>/<config>/<name>`."""
        if not isinstance(payload, self.payload):
            raise SettingsError(f"a {self.name} job takes a {self.payload.__name__}, not a {type(payload).__name__}")
        return Job(
            "/".join(filter(None, (self.name, config, name))), self.name, config, payload.model_dump(mode="json"),
            priority=self.priority, needs=self.needs, max_attempts=self.max_attempts, time_limit=self.time_limit,
            stuck_after=self.stuck_after, parent=parent,
        )  # fmt: skip

    def told(self, job: Job) -> P:
        """The payload of a job. Raises `SettingsError` where it is none of this kind."""
        try:
            return self.payload.model_validate(dict(job.payload))
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise SettingsError(f"job {job.id} is no {job.kind} job: {said}") from error

    def do(self, run: R, at: W, payload: P) -> Event:
        """The whole job, here. Raises what its parts raise."""
        order, event, registry = self.prepare(run, at, payload), None, run.fabric.registry
        if order.lent:
            registry.set(key := LENT + at.job.id, {"blobs": list(order.lent)}, ttl=self.time_limit)
        try:
            for parcel in self.compute(at, order):
                event = self.apply(run, at, parcel)
        finally:
            for blob in order.lent:
                at.blobs.delete(blob)
            if order.lent:
                registry.delete(key)
        assert event is not None
        return event
