"""Every event, in one file: what has happened, in the past tense.

An event is published by the services and job kinds that name it in their `emits`, and heard by the services and
effects that name it in their `on`; the topology is checked when a loop starts. Fields that a type does not have are
refused when it is written, and left unread when it is read, so that old and new releases can share a log. A changed
meaning of a field is a new `version`.
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


class LoopStarted(Event):
    """A loop began to run its services."""

    profile: str
    configs: list[str]
    release: str


class LoopStopped(Event):
    """A loop ended in an orderly way."""

    profile: str
    reason: str


class SelfplayFinished(Event):
    """All games of a batch are stored."""

    job: str
    batch: str
    """Beginning of the games' work ids."""
    player: str
    games: int
    plies: int
    seconds: float


class GamesValidated(Event):
    """Waiting games were replayed by another process than the one that had played them."""

    job: str
    valid: int
    quarantined: int


class GamesAudited(Event):
    """A share of the games was looked at again by another process."""

    job: str
    searched: int
    """Games of networks, from their seeds."""
    replayed: int
    """Games that had been sound."""
    skipped: int
    """Games that could not be searched again: their model's files are gone."""
    quarantined: list[str]
    """Game, worker and reason of each that came out differently."""


class SamplesExported(Event):
    """Valid games became sample shards."""

    job: str
    games: int
    samples: int
    shards: int


class TrainingFinished(Event):
    """A candidate was trained."""

    job: str
    model: str
    trained_from: str
    """The model whose weights it started from."""
    steps: int
    samples: int
    """How many the run had of the config."""
    loss_before: float
    loss_after: float


class MatchFinished(Event):
    """Two players have met."""

    job: str
    a: str
    """A candidate, or the promoted model."""
    b: str
    opponent: str
    """What the match was: `match/best`, `match/random`, … of a candidate, `check/3/previous` of the promoted model."""
    games: int
    score: float
    """Share of the games that A won."""
    low: float
    high: float


class ModelPromoted(Event):
    """The candidate passed the gate and plays from now on."""

    model: str
    over: str
    """What played until now; empty where nothing did."""
    reason: str


class ModelRejected(Event):
    """The candidate did not pass the gate."""

    model: str
    reason: str


class RegressionDetected(Event):
    """Later matches have shown that the promoted model is worse than it was taken for, in another grade than before."""

    model: str
    grade: str
    """`minor`, `moderate`, `severe` or `critical`."""
    opponent: str
    """Against whom it shows most; empty where void games are the reason."""
    drop: float
    """Elo per seat below what was claimed."""
    games: int
    """Of all its checks."""
    reason: str


class ModelRolledBack(Event):
    """The promoted model was taken back; what it had replaced plays again."""

    model: str
    to: str
    reason: str
    automatic: bool
    """Because of a regression, not by hand."""
    retracted: int
    """Its games, which nothing learns from any more; those of a model rolled back by hand stay."""


class PlateauReached(Event):
    """The last candidates have surely gained less Elo than is worth the games."""

    gain: float
    """Elo per 1,000 games …"""
    low: float
    """… and the ends of its interval."""
    high: float
    models: int
    """Candidates over which it was measured."""
    games: int
    """From the first to the last of them."""


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
    """In a row."""
    refuted: int
    """Jobs of these that others have finished."""
    error: str
    """Of its last failure."""


class WorkerReleased(Event):
    """A worker that was set aside has finished a job, or it has ended."""

    worker: str


class ServiceFailed(Event):
    """A service's tick failed or took too long; it will be tried again."""

    service: str
    failures: int
    """In a row."""
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
    """Of the fullest of its parts, 0 to 1."""
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


class BackupFinished(Event):
    """A copy of the run is complete elsewhere."""

    job: str
    to: str
    name: str
    files: int
    size_bytes: int
    """Of the whole run."""
    sent_bytes: int
    """That were not there yet."""
    lost: list[str]
    """Files of pruned models that neither the run nor any backup has any more."""
    seconds: float


class CleanedUp(Event):
    """What nobody needs was deleted."""

    blobs: int
    models: int
    jobs: int
    events: int
    freed_bytes: int


EVENTS: dict[str, type[Event]] = {event.__name__: event for event in Event.__subclasses__()}
