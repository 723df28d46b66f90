"""The services and the kinds of job of the loop: a stage is a file, and a row here."""

from __future__ import annotations

from typing import Any

from ringrift.errors import SettingsError, unknown
from ringrift.fabric import Job
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
    worker,
)
from ringrift.pipeline.bus import Bus
from ringrift.pipeline.kind import Kind, Show, Work, quiet
from ringrift.pipeline.service import Service
from ringrift.pipeline.settings import Recipe, recipe_of
from ringrift.store import RunDirectory

SERVICES: tuple[Service, ...] = (
    selfplay.SERVICE,
    ingest.SERVICE,
    export.SERVICE,
    train.SERVICE,
    evaluate.SERVICE,
    gate.SERVICE,
    regression.SERVICE,
    audit.SERVICE,
    progress.SERVICE,
    janitor.SERVICE,
    backup.SERVICE,
    worker.SERVICE,
    worker.REPORT,
)

KINDS: dict[str, Kind[Any, Any]] = {
    row.name: row
    for row in (
        selfplay.KIND,
        ingest.KIND,
        audit.KIND,
        export.KIND,
        train.KIND,
        evaluate.KIND,
        backup.KIND,
    )
}


def kind_of(name: str) -> Kind[Any, Any]:
    """A row of KINDS. Raises `SettingsError` for an unknown name."""
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
    event = kind.do(run, Work(job, recipe, run.fabric.blobs, run.path, show, digest), payload)
    Bus(run.fabric.log, source).publish(event, parent=job.parent, id_=f"{type(event).__name__}/{job.id}")
    return event.model_dump(mode="json", exclude={"config", "job"}) | ({"settings": digest} if digest else {})
