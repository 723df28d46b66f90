"""Export: valid games become sample shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from ringrift.fabric import Parcel
from ringrift.fabric.parcel import SUFFIX
from ringrift.kernel.kind import Kind, Order, Payload, Show, quiet
from ringrift.kernel.service import Service, Step
from ringrift.pipeline.events import GamesValidated, SamplesExported
from ringrift.pipeline.kind import Work
from ringrift.pipeline.service import Context
from ringrift.pipeline.standing import MANY, blocked, cause, putting, standing, unattended
from ringrift.store import GameStore, RunDirectory, StoredGame
from ringrift.store.samples import Exported, ExportSettings, MadeShard, drop_earlier, export, make_shards, register
from ringrift.store.validate import CARRIED, games_in, in_batches, parcel_of


def plan(ctx: Context) -> Iterator[Step]:
    """A job for each config that has many games in no shard, or enough for its next training."""
    for now in (standing(ctx, config) for config in ctx.configs if not blocked(ctx, KIND.name, config)):
        valid = now.flow.valid
        if valid < MANY and not (valid and now.fresh < now.wanted <= now.fresh + valid):
            continue
        name = f"{now.flow.newest}/{valid}"  # without a new game too: the shards of games taken back are made again
        job = KIND.job(name, ValidGames(), now.config, cause(ctx, GamesValidated))
        yield Step(
            f"make samples of {valid} games of {now.config}",
            f"they are valid and in no shard; {now.fresh} games are new in shards, a training takes {now.wanted}",
            putting(ctx, job, again=True),
        )


class ValidGames(Payload):
    """Make samples of the games that are in no shard yet."""


class GamesToExport(Order):
    """Make samples of these games."""

    count: int


def prepare(run: RunDirectory, at: Work, _: ValidGames) -> GamesToExport:
    """The games that are in no shard now, as blobs."""
    drop_earlier(run, at.config)
    blobs, count = [], 0
    for games in in_batches(GameStore(run).iter_valid(at.config, unexported=True), CARRIED):
        blobs.append(at.blobs.put(parcel_of(run, games).to_bytes(), SUFFIX))
        count += len(games)
    return GamesToExport(count=count, lent=tuple(blobs))


def compute(at: Work, order: GamesToExport) -> Iterator[Parcel]:
    """The shards, stored as blobs; at last an empty parcel."""

    def games() -> Iterator[StoredGame]:
        for blob in order.lent:
            yield from (game for game, _ in games_in(Parcel.from_bytes(at.blobs.get(blob))))

    done = 0
    with at.show("making samples", order.count) as advance:
        for shard in make_shards(at.blobs, at.config, games(), at.recipe.export):
            yield Parcel(asdict(shard))
            done += len(shard.games)
            advance(done, "")
    yield Parcel()


def apply(run: RunDirectory, at: Work, parcel: Parcel) -> SamplesExported | None:
    """Makes a shard known; one with games that others have, or that were taken back, comes to nothing."""
    if not parcel.about:
        counted = {name: at.counted[name] for name in ("games", "samples", "shards")}
        return SamplesExported(config=at.config, job=at.job.id, **counted)
    if made := register(run, MadeShard(**parcel.about)):
        at.counted.update(games=made.games, samples=made.samples, shards=1)
    return None


def export_games(run: RunDirectory, config: str, settings: ExportSettings, *, show: Show = quiet) -> Exported:
    """Turns valid games into sample shards."""
    with show("making samples", GameStore(run).flow(config).valid) as advance:
        return export(run, config, settings, lambda done: advance(done, ""))


KIND = Kind("export", ValidGames, GamesToExport, prepare, compute, apply, SamplesExported, priority=70)
STAGE = Service(
    "export", plan, every=10.0, on=(GamesValidated,), job=KIND,
    backlog=unattended(KIND.name, lambda now: now.flow.valid if now.flow.valid >= MANY else 0),
)  # fmt: skip
