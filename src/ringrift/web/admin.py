"""`/admin` and `/metrics`: what those who look after the service ask."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Header, Query, Response
from prometheus_client import CONTENT_TYPE_LATEST

from ringrift.observe.machine import memory_bytes
from ringrift.web.errors import Refused
from ringrift.web.limits import is_key
from ringrift.web.reading import BodyRoute
from ringrift.web.service import Service

TARGET = 2000.0  #: Elo that every config is to reach
NOTHING = "games and models are shared through the run's own store: there is nothing to copy between machines"


def admin_only(service: Service, missing: int = 401) -> Any:
    """A dependency that lets nobody pass without the admin key; `missing` is the status where none is given."""

    async def check(x_admin_key: Annotated[str | None, Header()] = None) -> None:
        if not x_admin_key:
            raise Refused(missing, "X-Admin-Key header required" if missing == 401 else "Invalid admin key")
        if not is_key(x_admin_key, service.admin_key):
            raise Refused(403, "Invalid admin key")

    return Depends(check)


def router(service: Service) -> APIRouter:
    """Their endpoints."""
    routes = APIRouter(tags=["admin"])
    admin = APIRouter(prefix="/admin", tags=["admin"], route_class=BodyRoute, dependencies=[admin_only(service)])

    @routes.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Prometheus text."""
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @admin.get("/health/coordinators")
    def coordinators() -> dict[str, Any]:
        """The services of the loop that runs on the same run, if any does."""
        found = _services(service)
        return {"healthy": all(one["healthy"] for one in found.values()), "coordinator_count": len(found),
                "coordinators": found, "timestamp": _now()}  # fmt: skip

    @admin.get("/health/full")
    def full() -> dict[str, Any]:
        """Everything that can be well or ill."""
        from ringrift.web.info import health_of

        own, parts = health_of(service), _parts(service)
        ill = [f"{name}: {one['message']}" for name, one in parts.items() if not one["healthy"]]
        issues = own["issues"] + ill
        return {"healthy": not issues, "timestamp": _now(), "components": parts, "issues": issues,
                "warnings": own["warnings"]}  # fmt: skip

    @admin.get("/sync/status")
    async def sync() -> dict[str, Any]:
        """Nothing is copied between machines by this service."""
        return {"status": "unavailable", "timestamp": _now(), "sync": {"provider": "store", "message": NOTHING}}

    @admin.post("/sync/trigger")
    async def trigger(
        kinds: Annotated[list[Literal["games", "training", "models"]] | None, Body(max_length=3)] = None,
    ) -> dict[str, Any]:
        """Copies nothing, and says so."""
        results = {kind: {"status": "unavailable", "message": NOTHING} for kind in kinds or ()}
        return {"status": "unavailable", "timestamp": _now(), "results": results, "total_files": 0, "total_bytes": 0}

    @admin.post("/sync/data-server/start")
    async def start(port: Annotated[int, Query(ge=1, le=65535)] = 8766) -> dict[str, Any]:
        """Starts nothing, and says so."""
        return {"status": "unavailable", "timestamp": _now(), "port": port}

    @admin.post("/sync/data-server/stop")
    async def stop() -> dict[str, Any]:
        """There is nothing to stop."""
        return {"status": "unavailable", "timestamp": _now()}

    @admin.get("/velocity")
    def velocity() -> dict[str, Any]:
        """Elo of the promoted model of each config that has one, from the matches of the run."""
        rows = _strengths(service)
        met = sum(row["target_met"] for row in rows)
        return {"target_elo": TARGET, "total_configs": len(rows), "configs_met": met, "configs_unmet": len(rows) - met,
                "configs": rows}  # fmt: skip

    routes.include_router(admin)
    return routes


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _services(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in service.run.fabric.registry.ls("service/") if service.run else ():
        about = dict(entry.value)
        state = str(about.get("state"))
        found[entry.key.removeprefix("service/")] = {
            "status": state, "healthy": state not in ("failing", "stalled"),
            "uptime_seconds": None, "details": about,
        }  # fmt: skip
    return found


def _parts(service: Service) -> dict[str, Any]:
    def part(message: str, healthy: bool = True, **details: Any) -> dict[str, Any]:
        return {"status": "ok" if healthy else "error", "healthy": healthy, "message": message, "details": details}

    room, networks, run = service.room, service.networks, service.run
    loaded = {config: one.id for config, one in networks.current.items()}
    parts = {
        "networks": part(f"{len(loaded)} networks play", True, playing=loaded, problems=dict(networks.problems)),
        "search": part(f"{room.busy} of at most {room.limit} moves are being decided", room.busy < room.limit),
    }
    if run is None:
        parts["store"] = part("started without a run: no games, and no promotions")
    else:
        from ringrift.store.games import GameStore

        counts = GameStore(run).counts()
        parts["store"] = part(f"{sum(one.games for one in counts)} games", True,
                              waiting=sum(one.waiting for one in counts),
                              quarantined=sum(one.quarantined for one in counts))  # fmt: skip
        disk = shutil.disk_usage(run.path)
        parts["disk"] = part(f"{disk.free / disk.total:.0%} free", disk.free > disk.total / 20, free_bytes=disk.free)
        loop = _services(service)
        ill = sorted(name for name, one in loop.items() if not one["healthy"])
        text = f"{len(loop)} services run" if loop else "no loop runs on this run"
        parts["loop"] = part(f"ill: {', '.join(ill)}" if ill else text, not ill)
    if memory := memory_bytes():
        total, available = memory
        parts["memory"] = part(f"{available / total:.0%} available", available > total / 50, available_bytes=available)
    parts["process"] = part(f"up for {time.time() - service.started:.0f} s")
    return parts


def _strengths(service: Service) -> list[dict[str, Any]]:
    if service.run is None:
        return []
    from ringrift.pipeline.loop import elos
    from ringrift.rules import CONFIGS
    from ringrift.store.games import GameStore
    from ringrift.store.models import ModelStore

    games, rows = {one.config: one.games for one in GameStore(service.run).counts()}, []
    for config in CONFIGS:
        if (model := ModelStore(service.run).promoted(config)) is None:
            continue
        rated = elos(service.run, config).get(model)
        elo = round(rated.elo, 1) if rated else None
        rows.append({
            "config": config, "current_elo": elo, "target_elo": TARGET, "gap": None if elo is None else TARGET - elo,
            "games_played": games.get(config, 0), "best_model": model, "target_met": elo is not None and elo >= TARGET,
        })  # fmt: skip
    return rows
