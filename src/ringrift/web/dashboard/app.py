"""The page as an app, and its server."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from nicegui import ui

from ringrift.store import RunDirectory
from ringrift.web.dashboard import play, replays, watch
from ringrift.web.dashboard.page import HERE
from ringrift.web.limits import Access, Arrived, Guard
from ringrift.web.server import address, listen, serve_until_stopped
from ringrift.web.settings import LimitSettings

PATIENCE = 20.0  #: seconds for which a page that is not heard of, as behind a slow connection, keeps its state
LIMITS = LimitSettings()


def serve(run: RunDirectory | None, host: str, port: int, pace: float, ready: Callable[[str], None]) -> None:
    """Serves the page until it is told to stop; `ready` is told its address. `pace`: seconds between two plies
    of engines. Raises `SettingsError` where it cannot."""
    listening = listen(host, port, "--port")
    play.add(run, pace)
    replays.add(run)
    watch.add(run)
    served = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    served.add_middleware(Arrived)  # inside the guard, whose requests are whole: the other way round no file is served
    served.add_middleware(Guard, limits=LIMITS, access=Access.to(host))
    ui.run_with(
        served,
        title="RingRift",
        dark=None,
        language="en-US",
        favicon=HERE / "icon.svg",
        show_welcome_message=False,
        reconnect_timeout=PATIENCE,
    )
    serve_until_stopped(served, LIMITS, 1.0, listening, lambda: ready(f"{address(listening)}/"), websockets=True)
