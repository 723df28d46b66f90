"""What stands before every endpoint of a server: who may ask, how often, how much at a time and for how long."""

from __future__ import annotations

import base64
import hmac
import ipaddress
import math
import os
import re
import time
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ringrift._core import JsonFilter
from ringrift.web.settings import LimitSettings

API_KEY = "RINGRIFT_API_KEY"  #: the variable with the key
#: Paths that need no key: those who look after the process ask them.
PROBES = ("/live", "/ready", "/health")
READING = ("GET", "HEAD", "OPTIONS")
#: The path whose body may be larger than that of others: many states at once.
BATCH = "/ai/moves_batch"
CLIENTS = 4096  #: addresses that are told apart; the one not heard of longest is forgotten
#: Fields of a body that are states, or lists of them, and what of a state is skipped: it is by far the most of it.
STATES, UNREAD = ["game_state", "gameState", "game_states", "initialState", "finalState"], ["history"]
CROWD = 40  #: bytes for each object and list of all that may be read: recorded states have about 70
TINY = 10  #: bytes for each value of it: the largest recorded states have as many
LARGE = 16_384  #: bytes of a piece of a body that others need not wait for
PIECE = 262_144  #: bytes that are unpacked at a time
LINGER = 1_000_000_000  #: bytes that are taken and dropped from a client that sends on after its answer


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

    @classmethod
    def to(cls, host: str) -> Self:
        """To a server at that address which has no settings of its own: with the key that is set, if one is."""
        return cls(os.environ.get(API_KEY, ""), local=is_loopback(host))


class Refusal(Exception):
    """A request that gets no further; `reason` is counted."""

    def __init__(self, status: int, reason: str, detail: object, **headers: str) -> None:
        super().__init__(reason)
        self.status, self.reason, self.detail = status, reason, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Guard:
    """Answers what may not be asked, and hands on the rest with its whole body, which is sound JSON if it is any. An
    answer that comes before the body has is followed by the end of the connection only when the client has sent it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: LimitSettings,
        access: Access,
        refused: Callable[[str], object] = lambda reason: None,
        seconds: float = math.inf,
    ) -> None:
        """`refused` is told the reason of each refusal; `seconds`: that any request may take."""
        self._app, self._limits, self._access, self._refused = app, limits, access, refused
        self._seconds = seconds
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._buffered = 0
        self._turn = anyio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request, held = _Request(scope, receive, send, self._limits), [0]
        try:
            with anyio.fail_after(self._seconds if scope["type"] == "http" else math.inf):
                self._admit(scope)
                if scope["type"] == "websocket":
                    await self._app(scope, receive, send)
                    return
                body = b"" if scope["method"] in READING else await self._body(scope, request.receive, held)
                if body is not None:
                    whole = {"type": "http.request", "body": body, "more_body": False}
                    await self._app(scope, _replayed(whole, request.receive), request.send)
        except Refusal as refusal:
            self._refused(refusal.reason)
            answer = JSONResponse({"detail": refusal.detail}, refusal.status, refusal.headers)
            await answer(scope, request.receive, request.send)
        except TimeoutError:
            self._refused("time")
            if not request.answered:
                detail = f"not answered within {self._seconds:g} s"
                await JSONResponse({"detail": detail}, 504)(scope, request.receive, request.send)
        finally:
            self._buffered -= held[0]

    def _admit(self, scope: Scope) -> None:
        headers, access, method = Headers(scope=scope), self._access, scope.get("method", "websocket")
        head = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
        if head > self._limits.head_bytes:
            raise Refusal(414, "size", f"the URL is longer than {self._limits.head_bytes} bytes")
        if head + sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > self._limits.head_bytes:
            raise Refusal(431, "size", f"the head of the request is larger than {self._limits.head_bytes} bytes")
        self._count(scope)
        if access.local and not _is_local(headers.get("host", "localhost")):
            raise Refusal(403, "host", "this service answers only under a name of this machine, such as localhost")
        origin, host = headers.get("origin"), headers.get("host")
        own = (
            origin in access.origins
            or "*" in access.origins
            or (host and origin in (f"http://{host}", f"https://{host}"))
        )
        if origin and method not in READING and not own:
            raise Refusal(403, "origin", "pages of this origin may not call: serve.cors_origins names those that may")
        if access.key and scope["path"] not in PROBES and method != "OPTIONS":
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
        who, now = network_of((scope.get("client") or ("",))[0]), time.monotonic()
        left, at = self._buckets.pop(who, (float(burst), now))
        left = min(burst, left + (now - at) * rate)
        self._buckets[who] = max(left - 1, 0.0), now
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        if left < 1:
            wait = math.ceil((1 - left) / rate)
            raise Refusal(429, "rate", f"more than {rate:g} requests per second", retry_after=str(wait))

    async def _body(self, scope: Scope, receive: Receive, held: list[int]) -> bytes | None:
        """What of the body is read, unpacked; None where the client has gone."""
        headers, limits, batch = Headers(scope=scope), self._limits, scope["path"] == BATCH
        most, kept = (limits.batch_bytes, limits.batch_read) if batch else (limits.body_bytes, limits.read_bytes)
        packing = headers.get("content-encoding", "identity").lower()
        if packing not in ("identity", "gzip"):
            raise Refusal(415, "encoding", f"Content-Encoding {packing[:20]!r} is not known: gzip is, or none")
        length = headers.get("content-length", "0")
        _check_size(int(length) if length.isdecimal() and len(length) < 16 else 0, most)
        text = JsonFilter(STATES, UNREAD) if "json" in headers.get("content-type", "").lower() else _Bytes()
        problem: ValueError | None = None
        sent = unpacked = 0
        unpacker = zlib.decompressobj(31) if packing == "gzip" else None
        try:
            with anyio.fail_after(limits.body_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    part, more = message.get("body", b""), message.get("more_body", False)
                    sent += len(part)
                    _check_size(sent, most)
                    async for piece in _unpacked(part, unpacker):
                        unpacked += len(piece)
                        _check_size(unpacked, most)
                        try:
                            await self._feed(text, piece)
                        except ValueError as error:  # what follows has to have an end all the same
                            text, problem = _Bytes(), error
                            text.feed(piece)
                        self._hold(text, kept, held)
        except TimeoutError as error:
            raise Refusal(408, "slow", f"the body did not come within {limits.body_seconds:g} s",
                          connection="close") from error  # fmt: skip
        except zlib.error as error:
            raise Refusal(400, "encoding", "the body is not gzip, although Content-Encoding says so") from error
        if unpacker and sent and not unpacker.eof:
            raise Refusal(400, "encoding", "the gzip body is truncated")
        try:
            if problem:
                raise problem
            if unpacked:
                text.finish()
        except ValueError as error:
            told = {"type": "json_invalid", "loc": ["body"], "msg": "JSON decode error", "ctx": {"error": str(error)}}
            raise Refusal(422, "json", [told]) from error
        body = text.kept()
        changed = {b"content-encoding": None, b"content-length": str(len(body)).encode()}
        named = [(name, changed.get(name, value)) for name, value in scope["headers"]]
        scope["headers"] = [(name, value) for name, value in named if value is not None]
        return body

    async def _feed(self, text: JsonFilter | _Bytes, piece: bytes) -> None:
        """Looks through a piece; of several large ones, one in each turn of the event loop."""
        if len(piece) < LARGE:
            text.feed(piece)
            return
        async with self._turn:
            text.feed(piece)
            await anyio.sleep(0)

    def _hold(self, text: JsonFilter | _Bytes, kept: int, held: list[int]) -> None:
        """Counts what is kept of a body."""
        said = "the body is too large to be read, a state's history apart: more than"
        if text.size > kept:
            raise Refusal(413, "size", f"{said} {kept} bytes")
        if text.containers > kept // CROWD:
            raise Refusal(413, "size", f"{said} {kept // CROWD} objects and lists")
        if text.commas > kept // TINY:
            raise Refusal(413, "size", f"{said} {kept // TINY} values")
        more = text.size - held[0]
        if self._buffered + more > self._limits.buffered_bytes:
            raise Refusal(503, "memory", "too many large requests at a time", retry_after="1")
        self._buffered += more
        held[0] += more


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise Refusal(413, "size", f"the body is larger than {most} bytes")


class _Bytes:
    """A body that is no JSON, in place of a `JsonFilter`."""

    containers = commas = 0

    def __init__(self) -> None:
        self._kept = bytearray()

    def feed(self, part: bytes) -> None:
        self._kept += part

    @property
    def size(self) -> int:
        return len(self._kept)

    def finish(self) -> None:
        """Whatever came is whole."""

    def kept(self) -> bytes:
        return bytes(self._kept)


async def _unpacked(part: bytes, unpacker: Any) -> AsyncIterator[bytes]:
    """What comes out of a part, in pieces; others have their turn between them. Raises `zlib.error`."""
    if unpacker is None:
        yield part
        return
    while True:
        piece = unpacker.decompress(part, PIECE)
        yield piece
        part = unpacker.unconsumed_tail
        if not part and len(piece) < PIECE:
            return
        await anyio.sleep(0)


class _Request:
    """A request and its answer. What is left of the body when it is answered is taken and dropped before the end, so
    that a client that sends all before it reads finds the answer and not a broken connection."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: LimitSettings) -> None:
        headers = Headers(scope=scope)
        self._receive, self._send, self._limits = receive, send, limits
        self._linger = LINGER
        self._left = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._waits = "expect" in headers
        self.answered = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._waits = False
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            self._left = False
        return message

    async def send(self, message: Message) -> None:
        self.answered = True
        if message["type"] == "http.response.start" and self._waits:  # its body does not come any more
            MutableHeaders(scope=message)["connection"] = "close"
        if message["type"] == "http.response.body" and not message.get("more_body") and self._left and not self._waits:
            await self._send({**message, "more_body": True})
            with anyio.move_on_after(self._limits.body_seconds):
                while self._left and self._linger > 0:
                    self._linger -= len((await self.receive()).get("body", b""))
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)


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


def network_of(address: str) -> str:
    """An address, or the /64 network of one of IPv6: a machine has all of it."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
