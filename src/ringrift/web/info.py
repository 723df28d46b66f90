"""What the service is and how it does: answered without any search."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from ringrift.web.service import Service


def router(service: Service) -> APIRouter:
    """`/`, `/health`, `/ready`, `/live`."""
    routes = APIRouter(tags=["service"])

    @routes.get("/")
    async def about() -> dict[str, str]:
        """That it runs."""
        return {"service": "RingRift AI Service", "status": "running", "version": "1.0.0"}

    @routes.get("/health", responses={503: {"description": "unhealthy"}})
    async def health() -> JSONResponse:
        """Whether it can answer, and what is not as it should be; 503 where it cannot."""
        found = health_of(service)
        return JSONResponse(found, 200 if found["status"] == "healthy" else 503)

    @routes.get("/ready", responses={503: {"description": "not ready"}})
    async def ready() -> JSONResponse:
        """Whether requests may come: 503 before the networks are loaded and once it is stopping."""
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    @routes.get("/live")
    async def live() -> dict[str, bool]:
        """That the process answers."""
        return {"live": True}

    return routes


def health_of(service: Service) -> dict[str, Any]:
    """`status`, `components`, `issues` and `warnings`."""
    full = service.room.busy >= service.room.limit
    warnings = [f"{config}: {why}" for config, why in dict(service.networks.problems).items()]
    warnings += [f"{service.room.busy} moves are being decided, as many as may be"] if full else []
    issues = [] if service.ready else ["the networks are not loaded, or the service is stopping"]
    return {
        "status": "unhealthy" if issues else "healthy",
        "timestamp": datetime.now(UTC).isoformat(),
        "components": {
            "service": "error" if issues else "ok",
            "networks": "warning" if service.networks.problems else "ok",
            "search": "warning" if full else "ok",
        },
        "issues": issues,
        "warnings": warnings,
    }
