"""The services, one file each: what is wanted of the store, and the missing part of it."""

from ringrift.pipeline.service import Service
from ringrift.pipeline.services import evaluate, export, gate, ingest, selfplay, train, worker

SERVICES: tuple[Service, ...] = (
    selfplay.SERVICE,
    ingest.SERVICE,
    export.SERVICE,
    train.SERVICE,
    evaluate.SERVICE,
    gate.SERVICE,
    worker.SERVICE,
    worker.REPORT,
)
