"""The port for those who run the loop: `/health`, `/ready`, `/metrics`. Handlers read a snapshot in memory alone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import anyio
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from ringrift.kernel.health import BORDERS, ServiceStatus, Snapshot
from ringrift.pipeline.health import Measured
from ringrift.web.limits import Access, Guard
from ringrift.web.server import Server, configured, listen
from ringrift.web.settings import LimitSettings

if TYPE_CHECKING:
    from ringrift.kernel.supervisor import Supervisor

CLOSING_SECONDS = 1.0  #: for requests that are being answered when the server is told to stop
#: A few ask every few seconds; the process needs its descriptors and its time for the loop.
LIMITS = LimitSettings(rate=100.0, burst=200, body_bytes=10_000, read_bytes=10_000, connections=64)


def operations(supervisor: Supervisor[Any]) -> FastAPI:
    """The app over one supervisor."""
    app = FastAPI(title="ringrift operations", docs_url=None, redoc_url=None)

    @app.get("/health")
    async def health() -> JSONResponse:
        """200 while every required service works, else 503; each service's state either way."""
        found = health_of(supervisor.snapshot())
        return JSONResponse(found, 503 if found["status"] == "failing" else 200)

    @app.get("/ready")
    async def ready() -> JSONResponse:
        """200 once every service has worked, until then 503."""
        snapshot = supervisor.snapshot()
        missing = {service.name: service.note or service.state for service in snapshot.services if not service.worked}
        return JSONResponse({"ready": snapshot.ready, "missing": missing}, 200 if snapshot.ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """OpenMetrics text."""
        return Response(metrics_text(supervisor.snapshot()), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return app


def health_of(snapshot: Snapshot) -> dict[str, object]:
    """`status` (`ok`, `degraded`, `failing`), `message`, `details`: what `/health` answers."""
    ill = [service for service in snapshot.services if not service.healthy]
    failing = [service for service in ill if service.state == "failing" and service.required]
    status = "failing" if failing else "degraded" if ill or snapshot.alerts else "ok"
    said = [*(f"{service.name}: {service.note}" for service in ill), *(alert.text for alert in snapshot.alerts)]
    details = {
        "process": snapshot.process,
        "profile": snapshot.profile,
        "at": snapshot.at,
        "pressure": asdict(snapshot.pressure),
        "alerts": {alert.name: alert.severity for alert in snapshot.alerts},
        "breakers": dict(snapshot.measured.breakers),
        "services": {service.name: _told(service) for service in snapshot.services},
    }
    return {"status": status, "message": "; ".join(dict.fromkeys(said)) or "all services work", "details": details}


def _told(service: ServiceStatus) -> dict[str, object]:
    names = ("state", "note", "ticks", "steps", "failures", "last_tick", "seconds", "backlog", "required")
    return {name: getattr(service, name) for name in names}


def metrics_text(snapshot: Snapshot) -> bytes:
    """A snapshot as OpenMetrics."""
    registry = CollectorRegistry()
    registry.register(_Metrics(snapshot))
    written: Callable[[CollectorRegistry], bytes] = generate_latest
    return written(registry)


class _Metrics(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        snapshot = self._snapshot
        measured, pressure = snapshot.measured, snapshot.pressure
        about = {"process": snapshot.process, "profile": snapshot.profile}
        yield InfoMetricFamily("ringrift_process", "This process", about)
        for name, help_, value in SERVICE_COUNTERS:
            counter = CounterMetricFamily(name, help_, labels=["service"])
            for service in snapshot.services:
                counter.add_metric([service.name], value(service))
            yield counter
        yield CounterMetricFamily("ringrift_events", "Events in the log, purged ones too", value=measured.events)
        yield _gauge("ringrift_pressure", "Share of the fullest part", [((), pressure.share)])
        yield _gauge("ringrift_disk_used", "Share of the run's disk in use", [((), measured.disk)])
        yield _gauge("ringrift_memory_used", "Share of the machine's memory in use", [((), measured.memory)])
        yield _gauge("process_resident_memory_bytes", "Memory of this process", [((), measured.rss_bytes)])
        for name, help_, value in SERVICE_GAUGES:
            yield _gauge(name, help_, [((s.name,), value(s)) for s in snapshot.services], "service")
        jobs = [((kind, config, state.value), n) for (kind, config, state), n in measured.jobs.items()]
        yield _gauge("ringrift_jobs", "Jobs", jobs, "kind", "config", "state")
        levels = [((level.value,), level is pressure.level) for level in BORDERS]
        yield _gauge("ringrift_pressure_level", "1 for the level of backpressure", levels, "level")
        breakers = [((name,), state != "closed") for name, state in measured.breakers.items()]
        yield _gauge("ringrift_breaker_open", "1 while no calls are made", breakers, "name")
        alerts = [((alert.name, alert.severity), 1) for alert in snapshot.alerts]
        yield _gauge("ringrift_alert", "1 for each alert that is raised", alerts, "alert", "severity")
        depths = [((name,), n) for name, n in measured.depths.items()]
        yield _gauge("ringrift_effect_depth", "Events that wait for an effect", depths, "effect")
        dead = [((name,), n) for name, n in measured.dead.items()]
        yield _gauge("ringrift_dead_letters", "Events that an effect could not take", dead, "effect")
        waiting = measured.games if isinstance(measured, Measured) else {}
        games = [((name,), share) for name, share in waiting.items()]
        yield _gauge("ringrift_games_waiting", "Games that wait for training, in candidates' worth", games, "config")


def _gauge(name: str, help_: str, values: Iterable[tuple[tuple[str, ...], float]], *labels: str) -> Metric:
    gauge = GaugeMetricFamily(name, help_, labels=labels)
    for given, value in values:
        gauge.add_metric(given, float(value))
    return gauge


SERVICE_COUNTERS: tuple[tuple[str, str, Callable[[ServiceStatus], float]], ...] = (
    ("ringrift_service_ticks", "Ticks", lambda service: float(service.ticks)),
    ("ringrift_service_steps", "Steps carried out", lambda service: float(service.steps)),
    ("ringrift_service_failures", "Ticks that failed", lambda service: float(service.failed)),
    ("ringrift_service_busy_seconds", "Time spent in ticks", lambda service: service.busy),
)
SERVICE_GAUGES: tuple[tuple[str, str, Callable[[ServiceStatus], float]], ...] = (
    ("ringrift_service_healthy", "0 while it fails or has stalled", lambda service: float(service.healthy)),
    ("ringrift_service_backlog", "How much waits for it", lambda service: service.backlog),
    ("ringrift_service_last_tick_seconds", "What its last tick took", lambda service: service.seconds),
)


# -- serving -----------------------------------------------------------------------------------------------------------


class _Server(Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the caller's business."""
        yield


async def serve(app: FastAPI, host: str, port: int, listening: socket.socket | None = None) -> None:
    """Serves until it is cancelled; on `listening`, where that is open already. Raises as `listen`."""
    sockets = [listening or listen(host, port)]
    guarded = Guard(app, limits=LIMITS, access=Access.to(host))
    server = _Server(configured(guarded, LIMITS, CLOSING_SECONDS, lifespan=False))
    try:
        await server.serve(sockets=sockets)
    finally:
        if server.started:  # by a cancellation; uvicorn itself shuts down only when it is asked to
            with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSING_SECONDS):
                await server.shutdown(sockets=sockets)
        sockets[0].close()
