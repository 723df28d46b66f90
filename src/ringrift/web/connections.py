"""Connections of a server: how many, how long they may take for a head, and how they end."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ringrift.web.limits import PROBES, network_of
from ringrift.web.settings import LimitSettings

PIPELINED = 16  #: requests that a connection may send ahead
SPARE = 32  #: connections beyond the limit, on which probes alone are answered
LINGER_SECONDS, LINGER_BYTES = 5.0, 16_000_000  #: that a client may send on after its head was refused


class Connections:
    """Those that are open. A new one takes the place of one that is idle, where there are too many: of the address that
    has most, the one that never asked anything, and of these the one that has been idle longest."""

    def __init__(self, limits: LimitSettings) -> None:
        """Half of the descriptors that the process may have stay free for files, pipes and its own connections."""
        self.most = min(limits.connections, max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - SPARE))
        self._open: dict[_Connection, str] = {}  # the order is that of their last answers
        self._count = Counter[str]()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, one: _Connection, address: str) -> bool:
        """Whether it may ask what it likes; where it may not, probes alone."""
        self._open[one] = address
        self._count[address] += 1
        if len(self._open) > self.most:
            self._make_room()
        return len(self._open) <= self.most

    def remove(self, one: _Connection) -> None:
        """It has ended."""
        address = self._open.pop(one, None)
        if address is not None:
            self._count[address] -= 1
            if not self._count[address]:
                del self._count[address]

    def answered(self, one: _Connection) -> None:
        """It is the one that has been idle for the shortest time."""
        if one in self._open:
            self._open[one] = self._open.pop(one)

    def _make_room(self) -> None:
        newest = next(reversed(self._open))
        for address, _ in self._count.most_common():
            idle = [one for one, whose in self._open.items() if whose == address and one.idle and one is not newest]
            if idle:
                gone = next((one for one in idle if not one.asked), idle[0])
                self.remove(gone)
                gone.transport.close()
                return
        if len(self._open) > self.most + SPARE:
            self.remove(newest)
            newest.transport.abort()


class _Connection(HttpToolsProtocol):
    """uvicorn's protocol, of a server that ends connections whose head does not come in time or grows too large."""

    limits: LimitSettings
    room: Connections
    farewell: float
    head = 0  #: bytes of a head that is on its way
    asked = False  #: whether a request has come
    dropped = 0  #: bytes since the head was refused
    refused = upgraded = ending = False
    clock: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return not self.upgraded and (self.cycle is None or self.cycle.response_complete)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if not self.room.add(self, network_of((self.client or ("",))[0])):
            self.app = spare(self.app)
        self._await_head()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.room.remove(self)
        self._stop()

    def data_received(self, data: bytes) -> None:
        if self.refused:
            self.dropped += len(data)
            if self.dropped > LINGER_BYTES:
                self.transport.abort()
            return
        self.head += len(data)
        super().data_received(data)
        if self.transport.is_closing() or self.upgraded or self.refused:
            return
        if len(self.pipeline) > PIPELINED:
            self.transport.close()
        elif self.head > self.limits.head_bytes:
            self._refuse("431 Request Header Fields Too Large", "The head of the request is too large.")
        elif self.head:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._stop()
        self.asked = True
        super().on_headers_complete()
        if self.ending and self.cycle is not None:
            self._say_farewell()

    def on_body(self, body: bytes) -> None:
        self._stop()
        if self.idle:  # what is left of a body whose request is answered is dropped, for a while
            self._await_head()
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._stop()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.room.answered(self)
        if self.ending:
            self.loop.call_later(self.farewell, self._end)

    def handle_websocket_upgrade(self) -> None:
        self.upgraded = True
        self._stop()
        super().handle_websocket_upgrade()
        protocol: Any = self.transport.get_protocol()
        lost = protocol.connection_lost

        def ended(error: Exception | None) -> None:
            self.room.remove(self)
            lost(error)

        protocol.connection_lost = ended

    def send_400_response(self, msg: str) -> None:
        self._refuse("400 Bad Request", msg)

    def shutdown(self) -> None:
        """The server ends: what is being answered, or on its way already, is the last request."""
        self.ending = True
        if not self.idle:
            self._say_farewell()
        else:
            self.loop.call_later(self.farewell, self._end)

    def _await_head(self) -> None:
        if self.clock is None:
            self.clock = self.loop.call_later(self.limits.head_seconds, self.transport.close)

    def _stop(self) -> None:
        """A head has come."""
        self.head = 0
        if self.clock is not None:
            self.clock.cancel()
            self.clock = None

    def _refuse(self, status: str, said: str) -> None:
        """Answers, and takes what the client still sends for a while, so that it can read that."""
        head = f"HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {len(said)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n{said}".encode())
        if not self.idle:
            self.transport.close()
            return
        self.refused = True
        self._stop()
        self.transport.write_eof()
        self.clock = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _say_farewell(self) -> None:
        if not self.cycle.response_started:
            self.cycle.default_headers = [*self.cycle.default_headers, (b"connection", b"close")]
            self.cycle.keep_alive = False

    def _end(self) -> None:
        if self.idle and not self.head:
            self.transport.close()


def spare(app: ASGIApp) -> ASGIApp:
    """An app that answers probes alone."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        busy = JSONResponse({"detail": "too many connections at a time"}, 503, {"retry-after": "1"})
        await (app if scope["path"] in PROBES else busy)(scope, receive, send)

    return answer


def protocol(limits: LimitSettings, farewell: float) -> type[asyncio.Protocol]:
    """The protocol of one server. `farewell`: seconds that a kept connection has for a last request when it ends."""
    return type("Protocol", (_Connection,), {"limits": limits, "room": Connections(limits), "farewell": farewell})
