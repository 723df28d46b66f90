"""What stands before every endpoint: who may ask, how often, how much at a time and for how long."""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
import math
import re
import time
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ringrift.web.metrics import Metrics
from ringrift.web.settings import LimitSettings

#: Paths that need no key: those who look after the process ask them.
PROBES = ("/live", "/ready", "/health")
READING = ("GET", "HEAD", "OPTIONS")
#: The path whose body may be larger than that of others: many states at once.
BATCH = "/ai/moves_batch"
CLIENTS = 4096  #: addresses that are told apart; the one not heard of longest is forgotten
PIPELINED = 16  #: requests that a connection may send ahead
CROWD = 40  #: bytes for each object and list of the largest body: recorded states have about 70
TINY = 10  #: bytes for each value of the largest body: the largest recorded states have as many
#: What a number beyond all floats has, digits being alike: a large exponent or very many of them. A text may have it.
HUGE = (b"e000", b"e+000", b"0" * 300)
ALIKE = bytes.maketrans(b"123456789E", b"000000000e")


@dataclass(frozen=True)
class Access:
    """Who may ask."""

    key: str = ""
    """That every request but probes needs; empty: none does."""
    admin_key: str = ""
    """It opens everything too."""
    origins: Sequence[str] = ()
    """Origins whose pages may change something; `*` for all."""
    local: bool = True
    """Only this machine is answered, under a name of this machine: a page of another one cannot pass itself off as
    such by a DNS answer of its own."""


class Refusal(Exception):
    """A request that gets no further; `reason` is counted."""

    def __init__(self, status: int, reason: str, detail: object, **headers: str) -> None:
        super().__init__(reason)
        self.status, self.reason, self.detail = status, reason, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Guard:
    """Answers what may not be asked, and hands on the rest with its whole body, which is sound JSON if it is any."""

    def __init__(
        self, app: ASGIApp, *, limits: LimitSettings, access: Access, metrics: Metrics, seconds: float
    ) -> None:
        self._app, self._limits, self._access, self._metrics = app, limits, access, metrics
        self._seconds = seconds
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._buffered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held, began = [0], False

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            with anyio.fail_after(self._seconds):
                self._admit(scope)
                body = b"" if scope["method"] in READING else await self._body(scope, receive, held)
                if body is not None:
                    whole = {"type": "http.request", "body": body, "more_body": False}
                    await self._app(scope, _replayed(whole, receive), sending)
        except Refusal as refusal:
            self._metrics.refused.labels(refusal.reason).inc()
            await JSONResponse({"detail": refusal.detail}, refusal.status, refusal.headers)(scope, receive, send)
        except TimeoutError:
            self._metrics.refused.labels("time").inc()
            if not began:
                detail = f"not answered within {self._seconds:g} s"
                await JSONResponse({"detail": detail}, 504)(scope, receive, send)
        finally:
            self._buffered -= held[0]

    def _admit(self, scope: Scope) -> None:
        headers, access = Headers(scope=scope), self._access
        self._count(scope)
        if access.local and not _is_local(headers.get("host", "localhost")):
            raise Refusal(403, "host", "this service answers only under a name of this machine, such as localhost")
        origin, foreign = headers.get("origin"), scope["method"] not in READING and "*" not in access.origins
        if origin and foreign and origin not in access.origins and not origin.endswith(f"//{headers.get('host')}"):
            raise Refusal(403, "origin", "pages of this origin may not call: serve.cors_origins names those that may")
        if access.key and scope["path"] not in PROBES and scope["method"] != "OPTIONS":
            if not (given := keys_of(headers)):
                raise Refusal(401, "key", "a key is required: X-API-Key, or Authorization with Bearer or Basic",
                              www_authenticate='Basic realm="ringrift"')  # fmt: skip
            if not any(is_key(one, key) for one in given for key in (access.key, access.admin_key)):
                raise Refusal(403, "key", "invalid key")

    def _count(self, scope: Scope) -> None:
        """A token bucket for each address."""
        rate, burst = self._limits.rate, self._limits.burst
        if not rate:
            return
        who, now = _network((scope.get("client") or ("",))[0]), time.monotonic()
        left, at = self._buckets.pop(who, (float(burst), now))
        left = min(burst, left + (now - at) * rate)
        self._buckets[who] = max(left - 1, 0.0), now
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        if left < 1:
            wait = math.ceil((1 - left) / rate)
            raise Refusal(429, "rate", f"more than {rate:g} requests per second", retry_after=str(wait))

    async def _body(self, scope: Scope, receive: Receive, held: list[int]) -> bytes | None:
        """The whole body, unpacked; None where the client has gone."""
        headers = Headers(scope=scope)
        most = self._limits.batch_bytes if scope["path"] == BATCH else self._limits.body_bytes
        packing = headers.get("content-encoding", "identity").lower()
        if packing not in ("identity", "gzip"):
            raise Refusal(415, "encoding", f"Content-Encoding {packing[:20]!r} is not known: gzip is, or none")
        length = headers.get("content-length", "0")
        self._hold(int(length) if length.isdecimal() and len(length) < 16 else 0, 0, most, [0])
        parts, size, unpacker = bytearray(), 0, zlib.decompressobj(31) if packing == "gzip" else None
        try:
            with anyio.fail_after(self._limits.body_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    part, more = message.get("body", b""), message.get("more_body", False)
                    size += len(part)
                    if unpacker:
                        part = unpacker.decompress(part, most - len(parts) + 1)
                    parts += part
                    self._hold(max(size, len(parts)), len(part), most, held)
        except TimeoutError as error:
            raise Refusal(408, "slow", f"the body did not come within {self._limits.body_seconds:g} s",
                          connection="close") from error  # fmt: skip
        except zlib.error as error:
            raise Refusal(400, "encoding", "the body is not gzip, although Content-Encoding says so") from error
        if unpacker and size and not unpacker.eof:
            raise Refusal(400, "encoding", "the gzip body is truncated")
        if unpacker:
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in (b"content-encoding",
                                                                                     b"content-length")]  # fmt: skip
        body = bytes(parts)
        if "json" in headers.get("content-type", "").lower() and body:
            if body.count(b"{") + body.count(b"[") > most // CROWD:
                raise Refusal(413, "size", f"the body has more than {most // CROWD} objects and lists")
            if body.count(b",") > most // TINY:
                raise Refusal(413, "size", f"the body has more than {most // TINY} values")
            _check_json(body)
        return body

    def _hold(self, size: int, more: int, most: int, held: list[int]) -> None:
        if size > most:
            raise Refusal(413, "size", f"the body is larger than {most} bytes", connection="close")
        if self._buffered + more > self._limits.buffered_bytes:
            raise Refusal(503, "memory", "too many large requests at a time", retry_after="1", connection="close")
        self._buffered += more
        held[0] += more


class Local:
    """Stands before an app of this machine alone: it answers only under names of this machine, so that a page elsewhere
    cannot come here by a DNS answer of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or _is_local(Headers(scope=scope).get("host", "localhost")):
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse("It is served under names of this machine only.", 400)(scope, receive, send)


class Arrived:
    """Stands before an app whose middleware fails where a client goes before its answer has begun: requests of
    clients that have gone are dropped, and once a request is whole the app is told nothing more."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            first = await receive()
            if first["type"] == "http.disconnect":
                return
            receive = _replayed(first, receive if first.get("more_body") else _nothing)
        await self._app(scope, receive, send)


async def _nothing() -> Message:
    await anyio.sleep_forever()
    raise AssertionError


def _replayed(first: Message, receive: Receive) -> Receive:
    """That message, then what else comes, such as that the client has gone."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return first

    return replay


def _check_json(body: bytes) -> None:
    """Raises a `Refusal` for what is not JSON by the letter (RFC 8259), nested deeper than 200 or not in UTF-8, and for
    numbers and halves of characters that no answer could repeat."""
    try:
        value = from_json(body, allow_inf_nan=False)
        alike = body.translate(ALIKE)
        if any(part in alike for part in HUGE):
            _check_finite(value)
    except ValueError as error:
        problem = {"type": "json_invalid", "loc": ["body"], "msg": "JSON decode error", "ctx": {"error": str(error)}}
        raise Refusal(422, "json", [problem]) from error


def _check_finite(value: Any) -> None:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            _check_finite(one)
    elif isinstance(value, float) and math.isinf(value):
        raise ValueError("number out of range")


def keys_of(headers: Headers) -> list[str]:
    """The keys that a request brings: in X-API-Key, X-Admin-Key, and Authorization, as a bearer's token or as the
    password of any user."""
    given = [headers.get("x-api-key", ""), headers.get("x-admin-key", "")]
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        given.append(value.strip())
    elif kind.lower() == "basic":
        with suppress(ValueError):  # no key is given then
            given.append(base64.b64decode(value, validate=True).decode().partition(":")[2])
    return [one for one in given if one]


def is_key(given: str, key: str) -> bool:
    """Whether they are the same, told in a time that says nothing of the key."""
    return bool(key) and hmac.compare_digest(given.encode(), key.encode())


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local(host: str) -> bool:
    """`localhost:8001`, `127.0.0.1`, `[::1]:8001`."""
    return is_loopback(re.sub(r"(:\d+)?$", "", host.lower()).strip("[]"))


def _network(address: str) -> str:
    """An address, or the /64 network of one of IPv6: a machine has all of it."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address


def patient(limits: LimitSettings) -> type[asyncio.Protocol]:
    """uvicorn's protocol that closes connections whose request's head does not come in time, or grows too large."""

    class Patient(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        head = 0
        upgraded = False
        clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.look(0)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.look(len(data))

        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            self.stop()

        def handle_websocket_upgrade(self) -> None:
            super().handle_websocket_upgrade()
            self.upgraded = True
            self.stop()

        def look(self, received: int) -> None:
            """From the first byte of a head, and from the beginning of a connection, time runs and bytes count."""
            if self.transport.is_closing() or self.upgraded:
                return
            if self.cycle is not None and not self.cycle.response_complete:
                self.stop()
                if len(getattr(self, "pipeline", ())) > PIPELINED:
                    self.transport.close()
                return
            self.head += received
            if self.head > limits.head_bytes:
                self.send_400_response("The head of the request is too large.")
            elif self.clock is None:
                self.clock = self.loop.call_later(limits.head_seconds, self.transport.close)

        def stop(self) -> None:
            self.head = 0
            if self.clock is not None:
                self.clock.cancel()
                self.clock = None

    return Patient
