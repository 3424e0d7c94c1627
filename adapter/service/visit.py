"""
One call: the ids that go through it and come back on every answer, its one line in the log, and the net below the routes.

The line holds codes, ids that are UUIDs and the route's pattern: never an address, a query, a body or a name.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.errors import Fault, Invalid
from adapter.service.answers import outcome

log = logging.getLogger("adapter.service")

REQUEST_ID: Final = "X-Request-Id"
CORRELATION_ID: Final = "X-Correlation-Id"
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_ALWAYS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass
class Visit:
    """
    What is known of a call. ``request_id`` and ``correlation_id`` are the caller's, or made here. ``peer``, ``code`` and
    ``reason`` are filled in on the way, for the log: who it was, the stable code of what it was refused for, and, for a
    login, which part did not hold.
    """

    request_id: str = field(default_factory=lambda: str(uuid4()))
    correlation_id: str = field(default_factory=lambda: str(uuid4()))
    peer: str = ""
    code: str = ""
    reason: str = ""


def visit_of(request: Request) -> Visit:
    visit: Visit = request.scope["koord.visit"]
    return visit


class Visits:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit, started, status = Visit(), time.monotonic(), 0
        scope["koord.visit"] = visit

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = {REQUEST_ID: visit.request_id, CORRELATION_ID: visit.correlation_id}
                MutableHeaders(scope=message).update(named | _ALWAYS)
            await send(message)

        try:
            await self._answer(visit, scope, receive, sending)
        except ClientDisconnect:
            visit.code = "server.too-slow"
        except Exception as error:  # noqa: BLE001  the last net
            visit.code = "exchange.internal"
            log.error("failed: %s at %s", type(error).__name__, _line_of(error), extra={"request_id": visit.request_id})  # noqa: TRY400  a trace can quote data
            if not status:
                fault = Fault(visit.code, named=(("reference", visit.request_id),))
                await outcome(Request(scope), 500, [fault])(scope, receive, sending)
        finally:
            _enter(visit, scope, status, time.monotonic() - started)

    async def _answer(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            visit.request_id = _id(headers, REQUEST_ID) or visit.request_id
            visit.correlation_id = _id(headers, CORRELATION_ID) or visit.correlation_id
        except Invalid as error:
            visit.code = error.first.code
            await outcome(Request(scope), error.status, error.faults)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _id(headers: Headers, name: str) -> str:
    """
    The caller's id, or an empty string.

    Raises:
        Invalid: ``exchange.request-id``. Other texts could carry what must not stand in a log.
    """
    given = headers.getlist(name)
    if given and (len(given) > 1 or _UUID.fullmatch(given[0]) is None):
        raise Invalid(Fault("exchange.request-id", name))
    return given[0] if given else ""


def _enter(visit: Visit, scope: Scope, status: int, seconds: float) -> None:
    about = {
        "method": scope["method"],
        "route": getattr(scope.get("route"), "path", ""),
        "status": status,
        "ms": round(seconds * 1000),
        "peer": visit.peer,
        "request_id": visit.request_id,
        "correlation_id": visit.correlation_id,
        "code": visit.code,
        "reason": visit.reason,
    }
    log.info("answered", extra={name: value for name, value in about.items() if value != ""})


def _line_of(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{where.filename.rpartition('/')[2]}:{where.lineno}"
