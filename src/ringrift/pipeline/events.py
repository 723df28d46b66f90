"""Every event of the loop, in one file, and `EVENTS` with those of the kernel; see `ringrift.kernel.events`."""

from __future__ import annotations

from ringrift.kernel import events
from ringrift.kernel.events import Event


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
    """Games of all its checks together."""
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


class BackupFinished(Event):
    """A copy of the run is complete elsewhere."""

    job: str
    to: str
    name: str
    files: int
    size_bytes: int
    """Size of the whole run."""
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


EVENTS: dict[str, type[Event]] = {
    event.__name__: event
    for module in (__name__, events.__name__)
    for event in Event.__subclasses__()
    if event.__module__ == module
}
