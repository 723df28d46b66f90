"""Sockets and servers: how the apps are served."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from ringrift.errors import SettingsError
from ringrift.pipeline.logs import writing
from ringrift.web.limits import patient
from ringrift.web.settings import ServeSettings


def listen(host: str, port: int, setting: str = "services.port") -> socket.socket:
    """A socket that listens there. Raises `SettingsError` naming the setting to change where it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(
            f"port {port} of {host} cannot be served ({reason}): set {setting} to a free one"
        ) from error


def address(listening: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve_until_stopped(
    app: FastAPI,
    settings: ServeSettings,
    listening: socket.socket,
    started: Callable[[], None],
    websockets: bool = False,
) -> None:
    """Serves on `listening` until SIGTERM or SIGINT; then what is being answered has `settings.drain` seconds.

    `started` is called once requests are taken. `websockets`: whether requests may become WebSockets.
    """
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=round(settings.drain), backlog=512,
        timeout_keep_alive=75, http=patient(settings.limits), limit_concurrency=settings.limits.connections,
        ws="auto" if websockets else "none", proxy_headers=False, server_header=False,
    )  # fmt: skip
    sys.setswitchinterval(
        0.001
    )  # threads that come back from a search do not wait long for the one that reads requests
    with listening, writing(None, 0):
        _Server(config, started).run(sockets=[listening])
    gc.unfreeze()  # else the compiled core finds its objects alive at the end, and says so


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal asks for the end and is answered with it; nothing is left to be killed by."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            gc.collect()
            gc.freeze()  # what is there by now stays: it need not be looked at again
            self._tell()
