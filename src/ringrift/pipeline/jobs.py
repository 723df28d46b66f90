"""The kinds of job: what each is told, what it runs, what it takes of a machine, which event it ends with.

A job runs in a process of its own (`child`). Whatever it stores, it stores under ids that follow from the job alone, so
that one that was done twice has been done once. Settings are not in its payload: they are in the registry, as
`settings/<config>`, and its result says by their hash which ones it had.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ringrift.errors import DataError, SettingsError, unknown
from ringrift.evaluation import MatchSettings, Plan
from ringrift.fabric import Job, Lease, Registry
from ringrift.pipeline import stages
from ringrift.pipeline.bus import Bus
from ringrift.pipeline.events import (
    BackupFinished,
    Event,
    GamesAudited,
    GamesValidated,
    MatchFinished,
    SamplesExported,
    SelfplayFinished,
    TrainingFinished,
)
from ringrift.pipeline.settings import Recipe
from ringrift.pipeline.stages import Show
from ringrift.selfplay import PlaySettings
from ringrift.store import ModelStore, RunDirectory
from ringrift.store.backup import BackupStore
from ringrift.store.provenance import Provenance
from ringrift.store.samples import shards

MEGABYTE = 1 << 20
SELFPLAY, INGEST, EXPORT, TRAIN, MATCH, BACKUP = "selfplay", "ingest", "export", "train", "match", "backup"
AUDIT = "audit"


class Payload(BaseModel):
    """What a job is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")


P = TypeVar("P", bound=Payload, contravariant=True)


class SelfplayBatch(Payload):
    """Play these games."""

    number: int
    """Of the batch; its games are `<config>/batch-<number>/…`."""
    games: int
    engine: str
    """As `selfplay.engine`."""
    model: str = ""
    """Of an engine with a network; empty for the untrained weights."""
    elo: float = 0.0
    """Of that model, for temperatures by strength; 0 where it has none yet."""


class WaitingGames(Payload):
    """Replay every game that waits for it."""


class GamesToAudit(Payload):
    """Look at a share of the games again."""


class ValidGames(Payload):
    """Make samples of the games that are in no shard yet."""


class Training(Payload):
    """Train a candidate."""

    parent: str
    """Whose weights to start from; empty for the untrained ones."""
    up_to: int
    """Newest shard of the window: a training that was interrupted goes on with the samples that it had."""
    games: int = 0
    """In shards up to that one; where some were taken back since, it starts again with all that are there."""


class MatchPair(Payload):
    """Let a model play somebody, as it was stated beforehand."""

    a: str
    b: str
    """A player as `players` names it, `initial`, or the id of a model."""
    name: str
    """What keeps the result among the figures of A: `match/heuristic`."""
    games: int
    """At most."""
    sprt: tuple[float, float] | None = None
    """Hypotheses of the sequential test; none: all games are played."""
    alpha: float = 0.05
    beta: float = 0.05
    seed: int
    openings_sha256: str
    """Of the openings; a match with others is not played."""
    match: MatchSettings | None = None
    """Settings under which it was stated; none: those in force."""
    claim: float | None = None
    """Share of the games that A should win at least, in a check of the promoted model."""


class BackupTo(Payload):
    """Copy the run."""

    place: str
    keep: int
    """How many copies are kept there."""


@dataclass(frozen=True)
class Work:
    """A job being done."""

    run: RunDirectory
    job: Job
    recipe: Recipe
    show: Show
    settings: str = ""
    """Hash of the recipe."""

    @property
    def config(self) -> str:
        return self.job.config


def _selfplay(at: Work, batch: SelfplayBatch) -> Event:
    run, config, recipe, began = at.run, at.config, at.recipe, time.monotonic()
    # A batch may have waited while its model was rolled back.
    model = batch.model and stages.sound_model(run, ModelStore(run).show(batch.model)).id
    if not model and stages.engine_name(batch.engine, "m-") != batch.engine:
        model = stages.initial_model(run, config, recipe.training, recipe.loop.seed).id
    name = stages.engine_name(batch.engine, model)
    if name != batch.engine:
        stages.check_model(run, model)
    player = stages.choose_player(run, config, name, recipe.selfplay.search)
    settings = replace(recipe.selfplay, play=_alone(recipe.selfplay.play))
    played = stages.selfplay_stage(
        run, config, f"batch-{batch.number:06d}", batch.games, settings, player, seed=recipe.loop.seed,
        elo=batch.elo, made=Provenance.here(at.job.holder or "", at.settings), show=at.show,
    )  # fmt: skip
    return SelfplayFinished(
        config=config, job=at.job.id, batch=played.name, player=played.player, games=played.games, plies=played.plies,
        seconds=round(time.monotonic() - began, 2),
    )  # fmt: skip


def _ingest(at: Work, _: WaitingGames) -> Event:
    judged = stages.ingest_stage(at.run, show=at.show)
    return GamesValidated(job=at.job.id, valid=judged.valid, quarantined=judged.quarantined)


def _audit(at: Work, _: GamesToAudit) -> Event:
    done = stages.audit_stage(at.run, at.config, at.recipe.audit, time.time(), show=at.show)
    return GamesAudited(
        config=at.config, job=at.job.id, searched=done.searched, replayed=done.replayed, skipped=done.skipped,
        quarantined=done.quarantined,
    )  # fmt: skip


def _export(at: Work, _: ValidGames) -> Event:
    made = stages.export_stage(at.run, at.config, at.recipe.export, show=at.show)
    return SamplesExported(
        config=at.config, job=at.job.id, games=made.games, samples=made.samples, shards=len(made.shards)
    )


def _train(at: Work, wanted: Training) -> Event:
    loop = at.recipe.loop
    initial = stages.initial_model(at.run, at.config, at.recipe.training, loop.seed)
    if wanted.parent:
        stages.check_model(at.run, wanted.parent)
    up_to: int | None = wanted.up_to
    if sum(shard.games for shard in shards(at.run, at.config, up_to)) < wanted.games:
        # The shards that held them were dropped: the others in these may wait to be exported again.
        stages.export_stage(at.run, at.config, at.recipe.export, show=at.show)
        up_to = None
    trained = stages.train_stage(
        at.run, at.config, at.recipe.training, window=at.recipe.window, steps=loop.steps, epochs=loop.epochs,
        parent=ModelStore(at.run).show(wanted.parent) if wanted.parent else initial, up_to=up_to,
        precision=loop.precision, seed=loop.seed, show=at.show,
    )  # fmt: skip
    figures: Any = trained.metrics
    return TrainingFinished(
        config=at.config, job=at.job.id, model=trained.id, trained_from=trained.parents[0], steps=int(figures["steps"]),
        samples=figures["samples_total"], loss_before=figures["loss_before"], loss_after=figures["loss_after"],
    )  # fmt: skip


def _match(at: Work, pair: MatchPair) -> Event:
    run, config, settings = at.run, at.config, pair.match or at.recipe.match
    for name in (pair.a, pair.b):
        if name == "initial" or name.startswith("m-"):
            stages.check_model(run, ModelStore(run).resolve(config, name).id)
    settings = replace(
        settings, games=pair.games, sprt=pair.sprt, alpha=pair.alpha, beta=pair.beta, play=_alone(at.recipe.match.play)
    )

    def planned(plan: Plan) -> None:
        if plan.openings_sha256 != pair.openings_sha256:
            raise DataError(
                f"the openings of {at.job.id} have SHA-256 {plan.openings_sha256}, and {pair.openings_sha256} was"
                " stated: another release makes others; the next candidate states its own"
            )

    result = stages.match_stage(run, config, pair.a, pair.b, settings, seed=pair.seed, planned=planned, show=at.show)
    stages.note_match(run, pair.a, pair.name, result, time.time(), pair.claim)
    return MatchFinished(
        config=config, job=at.job.id, a=pair.a, b=pair.b, opponent=pair.name, games=result.games,
        score=result.score, low=result.interval[0], high=result.interval[1],
    )  # fmt: skip


def _backup(at: Work, wanted: BackupTo) -> Event:
    with at.show(f"backup to {wanted.place}", 100) as advance:
        place = BackupStore(wanted.place, made=True)
        made = place.backup(at.run, lambda done, total: advance(100 * done // max(total, 1), ""))
        place.prune(wanted.keep, made.manifest)
    return BackupFinished(
        job=at.job.id, to=wanted.place, name=made.manifest, files=made.files, size_bytes=made.size_bytes,
        sent_bytes=made.sent_bytes, lost=list(made.lost), seconds=round(made.seconds, 2),
    )  # fmt: skip


def _alone(play: PlaySettings) -> PlaySettings:
    """One process: how many jobs a machine does at a time is the worker's business."""
    return replace(play, processes=1)


@dataclass(frozen=True)
class JobKind(Generic[P]):
    """A row of JOB_KINDS."""

    name: str
    payload: type[P]
    run: Callable[[Work, P], Event]
    """Does it; what it returns is published, and is the job's result."""
    emits: type[Event]
    service: str
    """Who puts such jobs, and is woken when one has ended."""
    priority: int
    needs: Mapping[str, float] = field(default_factory=lambda: {"cores": 1, "memory": 600 * MEGABYTE})
    time_limit: float = 4 * 3600.0
    stuck_after: float = 1800.0
    max_attempts: int = 3


JOB_KINDS: dict[str, JobKind[Any]] = {
    row.name: row
    for row in (
        JobKind(SELFPLAY, SelfplayBatch, _selfplay, SelfplayFinished, "selfplay", priority=10),
        JobKind(INGEST, WaitingGames, _ingest, GamesValidated, "ingest", priority=80),
        JobKind(AUDIT, GamesToAudit, _audit, GamesAudited, "audit", priority=20),
        JobKind(EXPORT, ValidGames, _export, SamplesExported, "export", priority=70),
        JobKind(TRAIN, Training, _train, TrainingFinished, "train", priority=60,
                needs={"cores": 1, "memory": 2000 * MEGABYTE}, time_limit=24 * 3600.0),
        JobKind(MATCH, MatchPair, _match, MatchFinished, "evaluate", priority=50),
        JobKind(BACKUP, BackupTo, _backup, BackupFinished, "backup", priority=90, needs={}),
    )
}  # fmt: skip


def kind_of(name: str) -> JobKind[Any]:
    """A row of JOB_KINDS. Raises `SettingsError` for an unknown name."""
    if name not in JOB_KINDS:
        raise SettingsError(unknown("kind of job", name, JOB_KINDS))
    return JOB_KINDS[name]


def make_job(kind: str, name: str, payload: Payload, config: str = "", parent: int | None = None) -> Job:
    """A job that is ready to be put; `name` makes its id: `<kind>/<config>/<name>`."""
    row = kind_of(kind)
    if not isinstance(payload, row.payload):
        raise SettingsError(f"a {kind} job takes a {row.payload.__name__}, not a {type(payload).__name__}")
    return Job(
        "/".join(filter(None, (kind, config, name))), kind, config, payload.model_dump(mode="json"),
        priority=row.priority, needs=row.needs, max_attempts=row.max_attempts, time_limit=row.time_limit,
        stuck_after=row.stuck_after, parent=parent,
    )  # fmt: skip


def run_job(run: RunDirectory, job: Job, source: str, show: Show = stages.quiet) -> dict[str, object]:
    """Does a job and publishes its event; the result to be kept.

    Raises `SettingsError` for a payload that its kind does not take, and what the stages raise.
    """
    row = kind_of(job.kind)
    try:
        payload = row.payload.model_validate(dict(job.payload))
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise SettingsError(f"job {job.id} is no {job.kind} job: {said}") from error
    recipe, digest = recipe_of(run.fabric.registry, job.config) if job.config else (Recipe(), "")
    event = row.run(Work(run, job, recipe, show, digest), payload)
    Bus(run.fabric.log, source).publish(event, parent=job.parent, id_=f"{type(event).__name__}/{job.id}")
    return event.model_dump(mode="json", exclude={"config", "job"}) | ({"settings": digest} if digest else {})


# -- the settings of a loop, for whoever does its jobs -----------------------------------------------------------------


@cache
def _recipes() -> TypeAdapter[Recipe]:
    return TypeAdapter(Recipe)


def keep_recipe(registry: Registry, config: str, recipe: Recipe, lease: Lease | None = None) -> str:
    """Stores the settings of a config for its jobs; their hash."""
    value = _recipes().dump_python(recipe, mode="json")
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
    registry.set(f"settings/{config}", {"recipe": value, "hash": digest}, lease=lease)
    return digest


def recipe_of(registry: Registry, config: str) -> tuple[Recipe, str]:
    """The settings in force for a config, and their hash. Raises `DataError` where no loop has stored any."""
    if (entry := registry.get(f"settings/{config}")) is None:
        raise DataError(f"the run has no settings for {config}: `ringrift loop --config {config}` stores them")
    return _recipes().validate_python(entry.value["recipe"]), str(entry.value["hash"])
