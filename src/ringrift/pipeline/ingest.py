"""Ingest: stored games are replayed by another process than the one that played them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from ringrift.fabric import Parcel
from ringrift.fabric.parcel import SUFFIX
from ringrift.kernel.kind import Kind, Order, Payload, Show, quiet
from ringrift.kernel.service import Service, Step
from ringrift.pipeline.events import GamesValidated, SelfplayFinished
from ringrift.pipeline.kind import Work
from ringrift.pipeline.service import Context
from ringrift.pipeline.standing import MANY, blocked, cause, putting, standing, unattended
from ringrift.store import GameStore, RunDirectory
from ringrift.store.validate import Judged, Validated, judge, keep, score_all, validate, waiting


def plan(ctx: Context) -> Iterator[Step]:
    """One job for the games of all configs, when there are many, or when the next training lacks only them."""
    if blocked(ctx, KIND.name, ""):
        return
    for now in (standing(ctx, config) for config in ctx.configs):
        ready, waiting = now.fresh + now.flow.valid, now.flow.waiting
        if waiting >= MANY or (waiting and ready < now.wanted <= ready + waiting):
            job = KIND.job(str(now.flow.newest), WaitingGames(), parent=cause(ctx, SelfplayFinished, now.config))
            yield Step(
                f"replay the games that nobody has replayed yet, up to game {now.flow.newest}",
                f"{waiting} games of {now.config} wait; {ready} are replayed, its next training takes {now.wanted}",
                putting(ctx, job, again=True),
            )
            return


class WaitingGames(Payload):
    """Replay every game that waits for it."""


class GamesToJudge(Order):
    """Replay these games."""

    count: int


def prepare(run: RunDirectory, at: Work, _: WaitingGames) -> GamesToJudge:
    """The games that wait now, as blobs."""
    blobs, count = [], 0
    for parcel in waiting(GameStore(run)):
        blobs.append(at.blobs.put(parcel.to_bytes(), SUFFIX))
        count += len(parcel.parts)
    return GamesToJudge(count=count, lent=tuple(blobs))


def compute(at: Work, order: GamesToJudge) -> Iterator[Parcel]:
    """The judgements, some games at a time; at last an empty parcel."""
    done = 0
    with at.show("replaying the games", order.count) as advance:
        for blob in order.lent:
            for judged in judge(at.blobs.path(blob)):
                yield Parcel(asdict(judged))
                done += len(judged.games)
                advance(done, "")
    yield Parcel()


def apply(run: RunDirectory, at: Work, parcel: Parcel) -> GamesValidated | None:
    """Makes the games valid or quarantines them."""
    store = GameStore(run)
    if parcel.about:
        judged = Judged(**parcel.about)
        bad = keep(store, judged)
        at.counted.update(valid=len(judged.games) - bad, quarantined=bad)
        return None
    score_all(store)
    return GamesValidated(job=at.job.id, valid=at.counted["valid"], quarantined=at.counted["quarantined"])


def ingest_games(run: RunDirectory, *, show: Show = quiet) -> Validated:
    """Replays every stored game that nobody has replayed yet, in another process than the one that played it."""
    count = sum(row.waiting for row in GameStore(run).counts())
    with show("replaying the games", count) as advance:
        return validate(run, lambda done: advance(done, ""))


KIND = Kind("ingest", WaitingGames, GamesToJudge, prepare, compute, apply, GamesValidated, priority=80)
STAGE = Service(
    "ingest", plan, every=10.0, on=(SelfplayFinished,), job=KIND,
    backlog=unattended(KIND.name, lambda now: now.flow.waiting if now.flow.waiting >= MANY else 0),
)  # fmt: skip
