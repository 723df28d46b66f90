"""The app over the service: its endpoints, and what stands before them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import ringrift
from ringrift.web import admin, choices, info, learning, models, moves, replay, rules
from ringrift.web.errors import add_handlers
from ringrift.web.observe import stand_before
from ringrift.web.service import Service


def create_app(service: Service) -> FastAPI:
    """The app over a service that is not started yet: the server starts it and stops it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(
        title="RingRift AI Service", version=ringrift.__version__, lifespan=lifespan, redoc_url=None,
        description="Moves, choices and evaluations for games of RingRift.",
    )  # fmt: skip
    add_handlers(app)
    for resource in (info, moves, choices, rules, models, replay, learning, admin):
        app.include_router(resource.router(service))
    stand_before(app, service)
    return app
