"""Where a config stands on its way to the next candidate: what the plans of the loop's services look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ringrift.fabric import OPEN, Job, JobState
from ringrift.kernel.events import Event
from ringrift.pipeline.events import LoopStarted, TrainingFinished
from ringrift.pipeline.models import games_seen, sound_model
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import LoopSettings
from ringrift.store import GameStore, ModelInfo, ModelStore, RunDirectory
from ringrift.store.games import Flow

MANY = 256  #: games that are worth a job, though no training waits for them
PAUSE_SECONDS = 300.0  #: after a job died or was cancelled, until another like it is put


@dataclass(frozen=True)
class Standing:
    """How far one config is on its way to the next candidate."""

    config: str
    loop: LoopSettings
    flow: Flow
    trained: int
    """Candidates so far."""
    newest: ModelInfo | None
    """The last of them."""
    base: ModelInfo | None
    """What self-play and training go on from: the newest, promoted or not; the promoted one while the newest learned
    from a model that was rolled back."""
    newer: int
    """Games in shards that are newer than all that the newest candidate learned from."""

    @property
    def judged(self) -> bool:
        """Whether the newest candidate, if any, has passed the gate or failed."""
        return self.newest is None or "gate" in self.newest.metrics

    @property
    def first(self) -> bool:
        """Whether another engine plays the games before the first candidate."""
        return not self.trained and bool(self.loop.first_engine)

    @property
    def finished(self) -> bool:
        """Whether the run has all the candidates that it is to have."""
        return 0 < self.loop.rounds <= self.trained

    @property
    def wanted(self) -> int:
        """New games for which a candidate is trained."""
        return 0 if self.loop.skip_selfplay else self.loop.first_games if self.first else self.loop.games

    @property
    def fresh(self) -> int:
        """Games in shards that the newest candidate has not seen; where some that it has seen were taken back since,
        those that are newer."""
        return max(self.newer, self.flow.exported - games_seen(self.newest))

    @property
    def worth(self) -> float:
        """Games that wait for training, in candidates' worth."""
        return (self.fresh + self.flow.valid + self.flow.waiting) / (self.wanted or self.loop.games)


def standing(ctx: Context, config: str) -> Standing:
    """Read from the store."""
    return standing_of(ctx.run, ctx.recipes[config].loop, config)


def standing_of(run: RunDirectory, loop: LoopSettings, config: str) -> Standing:
    """Read from the store of a run."""
    trained, newest = ModelStore(run).newest(config, "candidate")
    base = newest and sound_model(run, newest)
    games = GameStore(run)
    newer = games.exported_after(config, newest.window[-1][1]) if newest and newest.window else 0
    return Standing(config, loop, games.flow(config), trained, newest, base, newer)


def open_jobs(ctx: Context, kind: str, config: str | None = None) -> list[Job]:
    """Jobs of a kind that are still to be done."""
    return ctx.run.fabric.jobs.ls(states=OPEN, kind=kind, config=config)


def died_lately(ctx: Context, kind: str, config: str) -> bool:
    """Whether a job of that kind died, or was cancelled, so recently that another would fare no better."""
    given_up = (JobState.DEAD, JobState.CANCELLED)
    last = [
        job for state in given_up for job in ctx.run.fabric.jobs.ls(states=[state], kind=kind, config=config, limit=1)
    ]
    return any(0 <= ctx.clock.now() - job.finished_at < PAUSE_SECONDS for job in last)


def blocked(ctx: Context, kind: str, config: str) -> bool:
    """Whether a job of that kind is open, or died lately."""
    return bool(open_jobs(ctx, kind, config)) or died_lately(ctx, kind, config)


def putting(
    ctx: Context, job: Job, then: Callable[[], object] = lambda: None, *, again: bool = False
) -> Callable[[], None]:
    """What puts a job, if this is still the loop, and has a worker look for it at once; `again`, if one of its name
    died or was cancelled: as long as the store lacks what it makes, it is wanted."""

    def put() -> None:
        if ctx.lease:
            ctx.lease.check()
        if not ctx.run.fabric.jobs.put([job]) and again:
            ctx.run.fabric.jobs.retry(job.id)
        then()
        ctx.wake("worker")

    return put


def cause(ctx: Context, kind: type[Event], config: str | None = None) -> int | None:
    """Sequence number of the newest event of a type."""
    last = ctx.bus.last(kind, config)
    return last.sequence if last else None


def model_cause(ctx: Context, config: str) -> int | None:
    """The event that brought forth what is to play now."""
    return cause(ctx, TrainingFinished, config) or cause(ctx, LoopStarted)


def unattended(kind: str, waiting: Callable[[Standing], float]) -> Callable[[Context], float]:
    """A backlog: how much waits, of all configs, while no job of that kind is open."""

    def backlog(ctx: Context) -> float:
        return 0.0 if open_jobs(ctx, kind) else sum(waiting(standing(ctx, config)) for config in ctx.configs)

    return backlog
