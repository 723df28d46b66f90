"""Refusals as HTTP answers: a status, and `detail` saying what was wrong and what would be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from ringrift.errors import RulesError


class Refused(Exception):
    """A request is answered with `status` and `detail`."""

    def __init__(self, status: int, detail: object, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(detail))
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def misfit(loc: Sequence[str | int], message: str, kind: str = "value_error", given: object = None) -> Refused:
    """A 422 for what stands at `loc`, in the form of the framework's own; `given` is told where it is small."""
    return Refused(422, [_told({"type": kind, "loc": ["body", *loc], "msg": message, "input": given})])


def _told(error: Mapping[str, Any]) -> dict[str, Any]:
    """An error of validation as it is answered: never with more than a few characters of what was sent."""
    told = {name: error[name] for name in ("type", "loc", "msg")}
    given = error.get("input")
    if isinstance(given, str) and len(given) > 40:
        given = given[:40] + "…"
    if isinstance(given, bool | int | float | str) and abs(given if isinstance(given, int | float) else 0) < 1e15:
        told["input"] = given
    return told


def add_handlers(app: FastAPI) -> None:
    """Answers for what handlers raise; anything else is an unexpected failure."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return JSONResponse({"detail": error.detail}, error.status, error.headers)

    @app.exception_handler(RequestValidationError)
    async def unfit(request: Request, error: RequestValidationError) -> JSONResponse:
        told = [_told(one) for one in error.errors()]
        if "json" not in request.headers.get("content-type", "").lower():  # then a body is not looked at
            for one in told:
                if one["loc"] == ("body",) and one["type"] != "missing":
                    one |= {"loc": ["header", "content-type"], "msg": "application/json is right"}
        return JSONResponse({"detail": told}, 422)

    @app.exception_handler(RulesError)
    async def unruly(_: Request, error: RulesError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 400)
