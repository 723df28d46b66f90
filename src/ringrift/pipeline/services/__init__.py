"""The services, one file each: what is wanted of the store, and the missing part of it."""

from ringrift.pipeline.service import Service
from ringrift.pipeline.services import (
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
