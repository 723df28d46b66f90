"""What the loop runs: stages with their kinds of job, effects, events, alerts. A stage is a file, and a row here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ringrift.errors import SettingsError, unknown
from ringrift.fabric import Job
from ringrift.kernel import events as k
from ringrift.kernel.bus import Bus
from ringrift.kernel.effects import Effect
from ringrift.kernel.kind import Kind, Show, quiet
from ringrift.kernel.project import Project
from ringrift.kernel.service import Profile, Service
from ringrift.kernel.settings import Supervision
from ringrift.kernel.supervisor import OWN, Supervisor
from ringrift.kernel.worker import REPORT, WORKER
from ringrift.pipeline import (
    audit,
    backup,
    evaluate,
    export,
    gate,
    ingest,
    janitor,
    progress,
    regression,
    selfplay,
    train,
)
from ringrift.pipeline import events as e
from ringrift.pipeline.effects import EFFECTS
from ringrift.pipeline.health import RULES, measure
from ringrift.pipeline.kind import Work
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import Recipe, recipe_of
from ringrift.store import RunDirectory

STAGES: tuple[Service[Context], ...] = (
    selfplay.STAGE,
    ingest.STAGE,
    export.STAGE,
    train.STAGE,
    evaluate.STAGE,
    gate.STAGE,
    regression.STAGE,
    audit.STAGE,
    progress.STAGE,
    janitor.STAGE,
    backup.STAGE,
    WORKER,
    REPORT,
)

LOOP = Project(
    STAGES,
    EFFECTS,
    e.EVENTS,
    RULES,
    measure,
    outside={
        "loop": (e.LoopStarted, e.LoopStopped),
        "by hand": (e.ModelPromoted, e.ModelRejected, e.ModelRolledBack, e.GamesAudited, e.CleanedUp),
    },
    required={
        e.SelfplayFinished: "ingest",
        e.GamesValidated: "export",
        e.SamplesExported: "train",
        e.TrainingFinished: "evaluate",
        e.MatchFinished: "gate",
        e.ModelPromoted: "selfplay",
    },
    recorded={
        e.LoopStarted: "the root of causes",
        e.LoopStopped: "for `ringrift events`",
        k.WorkerSetAside: "the alert `worker-set-aside` tells",
        k.WorkerReleased: "the alert is cleared",
        k.ServiceFailed: "the alert `service-failing` tells",
        k.ServiceRecovered: "the alert is cleared",
        k.ServiceStalled: "the alert `service-stalled` tells",
        e.BackupFinished: "for `ringrift events`",
        e.GamesAudited: "for `ringrift events`",
        e.CleanedUp: "for `ringrift events`",
    },
)
WHOLE = replace(LOOP, services=(*STAGES, *OWN))
"""The loop with what each supervisor runs besides."""
KINDS = LOOP.kinds


def supervisor_of(
    services: Sequence[Service[Context]],
    ctx: Context,
    profile: Profile,
    settings: Supervision | None = None,
    effects: Sequence[Effect[Context]] = EFFECTS,
) -> Supervisor[Context]:
    """A supervisor of these services of the loop."""
    return Supervisor(replace(LOOP, services=services, effects=effects), ctx, profile, settings)


def kind_of(name: str) -> Kind[Any, Any, Any, Any]:
    """A kind of job of the loop. Raises `SettingsError` for an unknown name."""
    if name not in KINDS:
        raise SettingsError(unknown("kind of job", name, KINDS))
    return KINDS[name]


def run_job(run: RunDirectory, job: Job, source: str, show: Show = quiet) -> dict[str, object]:
    """Does a job and publishes its event; the result to be kept.

    Raises `SettingsError` for a payload that its kind does not take, and what computing and applying raise.
    """
    kind = kind_of(job.kind)
    payload = kind.told(job)
    recipe, digest = recipe_of(run.fabric.registry, job.config) if job.config else (Recipe(), "")
    event = kind.do(run, Work(job, run.fabric.blobs, run.path, show, recipe=recipe, settings=digest), payload)
    Bus(run.fabric.log, source).publish(event, parent=job.parent, id_=f"{type(event).__name__}/{job.id}")
    return event.model_dump(mode="json", exclude={"config", "job"}) | ({"settings": digest} if digest else {})
