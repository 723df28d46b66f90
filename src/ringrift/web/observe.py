"""What is seen of each request from outside: its id, a line of the log, metrics, a span; and every failure, counted."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from traceback import format_exc
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ringrift.errors import SettingsError
from ringrift.observe.logs import bound, log
from ringrift.web.limits import PROBES, Access, Guard, is_loopback
from ringrift.web.metrics import Metrics
from ringrift.web.service import Service

if TRACED := find_spec("opentelemetry") is not None:  # an extra
    from opentelemetry import propagate, trace

ID = re.compile(r"[\w.:+/=@-]{1,128}")
METHODS = ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH")
QUIET = (*PROBES, "/metrics")  #: asked every few seconds: only failures are worth a line
HEADERS = ("Content-Type", "X-Request-Id", "X-API-Key")  #: that pages of other origins may send
SHOWN = 200  #: characters of a path in the log


def stand_before(app: FastAPI, service: Service) -> None:
    """Puts the guard, CORS and, outermost, the observer before an app."""
    settings = service.settings
    origins = settings.origins
    local = is_loopback(settings.host)
    if not local and not service.api_key:
        raise SettingsError(
            f"serve.host is {settings.host}, which others can reach: set RINGRIFT_API_KEY, which every request then"
            " needs, or serve.host to 127.0.0.1"
        )
    access = Access(service.api_key, service.admin_key, origins, local)
    refusals = service.metrics.refused
    app.add_middleware(
        Guard, limits=settings.limits, access=access, seconds=2 * settings.time_limit + 1,
        refused=lambda reason: refusals.labels(reason).inc(),
    )  # fmt: skip
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=HEADERS)
    app.add_middleware(Observe, metrics=service.metrics, production=settings.environment == "production")


class Observe:
    """Stands before everything else. An unexpected failure becomes a counted 500 here."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, production: bool) -> None:
        self._app, self._metrics, self._production = app, metrics, production

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, method = Headers(scope=scope), scope["method"] if scope["method"] in METHODS else "other"
        given = headers.get("x-request-id", "")
        id_ = given if ID.fullmatch(given) else secrets.token_hex(8)
        status, began = 0, time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = id_
            await send(message)

        with bound(request_id=id_), self._metrics.in_flight.track_inprogress(), _span(method, headers) as told:
            try:
                await self._app(scope, receive, sending)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told and counted
                log.error("request failed", path=scope["path"][:SHOWN], traceback=format_exc())
                if status:  # too late for another answer: the server breaks the connection off
                    status = 500
                else:
                    text = "internal error" if self._production else f"{type(error).__name__}: {error}"
                    await JSONResponse({"detail": text}, 500)(scope, receive, sending)
            finally:
                route = getattr(scope.get("route"), "path", "unmatched")
                seconds = time.perf_counter() - began
                self._metrics.requests.labels(route, method, str(status)).inc()
                self._metrics.request_seconds.labels(route).observe(seconds)
                self._metrics.errors.inc(status == 500)
                told(route, status)
                if status >= 400 or status == 0 or route not in QUIET:
                    client = (scope.get("client") or ("",))[0]
                    log.info("request", method=method, path=scope["path"][:SHOWN], route=route, status=status,
                             ms=round(1000 * seconds, 1), client=client)  # fmt: skip


@contextmanager
def _span(method: str, headers: Mapping[str, str]) -> Iterator[Any]:
    """A span of the caller's trace (`traceparent`), to be told route and status; nothing without OpenTelemetry."""
    if not TRACED:
        yield lambda route, status: None
        return
    tracer, context = trace.get_tracer("ringrift.web"), propagate.extract(headers)
    with tracer.start_as_current_span(method, context, kind=trace.SpanKind.SERVER) as span:

        def told(route: str, status: int) -> None:
            span.update_name(f"{method} {route}")
            span.set_attributes(
                {"http.request.method": method, "http.route": route, "http.response.status_code": status}
            )
            if status >= 500:
                span.set_status(trace.StatusCode.ERROR)

        yield told
