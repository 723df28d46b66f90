"""Sockets and servers: how the apps are served."""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from ringrift.errors import SettingsError
from ringrift.observe.logs import log, writing
from ringrift.web.connections import protocol
from ringrift.web.settings import LimitSettings

BACKLOG = 128  #: connections that wait to be taken
#: Seconds that a kept connection has for a last request when the server ends: those on their way come by then.
FAREWELL = 1.0
MARGIN = 0.3  #: seconds of the time to end that all but the answers needs


def listen(host: str, port: int, setting: str = "services.port") -> socket.socket:
    """A socket that listens there. Raises `SettingsError` naming the setting to change where it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
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
    app: ASGIApp,
    limits: LimitSettings,
    drain: float,
    listening: socket.socket,
    started: Callable[[], None],
    websockets: bool = False,
) -> None:
    """Serves on `listening` until SIGTERM or SIGINT; then what is being answered has `drain` seconds.

    `started` is called once requests are taken. `websockets`: whether requests may become WebSockets.
    """
    # threads that come back from a search do not wait long for the one that reads requests
    sys.setswitchinterval(0.001)
    with listening, writing(None, 0):
        _Standing(configured(app, limits, drain, websockets=websockets), started).run(sockets=[listening])
    gc.unfreeze()  # else the compiled core finds its objects alive at the end, and says so


def configured(
    app: ASGIApp, limits: LimitSettings, drain: float, *, websockets: bool = False, lifespan: bool = True
) -> uvicorn.Config:
    """How all servers are served: `app` stands behind its guard, and its connections are limited."""
    return uvicorn.Config(
        app, log_config=None, access_log=False, backlog=BACKLOG, timeout_keep_alive=75,
        timeout_graceful_shutdown=max(drain - MARGIN, 0.0),  # type: ignore[arg-type] # a fraction is as good
        http=protocol(limits, min(FAREWELL, drain / 4)), ws="auto" if websockets else "none",
        lifespan="auto" if lifespan else "off", proxy_headers=False, server_header=False,
    )  # fmt: skip


class Server(uvicorn.Server):
    """A server whose end cuts no connection that was made before, and that says once that descriptors run out."""

    _told = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(self._failed)
        await super().startup(sockets)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE):
            loop.default_exception_handler(context)
        elif loop.time() >= self._told:
            self._told = loop.time() + 60
            log.error("connections are not taken", reason=error.strerror)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends. Connections that wait to be taken are taken, as their clients count on them."""
        waiting = [one.dup() for one in sockets or ()]
        for server in self.servers:
            server.close()
        for one in waiting:
            with one, suppress(BlockingIOError):
                one.setblocking(False)
                while True:
                    await asyncio.get_running_loop().connect_accepted_socket(self._connection, one.accept()[0])
        await super().shutdown(sockets)

    def _connection(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


class _Standing(Server):
    """The server of a process that does nothing else."""

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
