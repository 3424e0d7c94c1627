"""The application: its routes, its one way to tell an error, and the dispatcher that runs beside it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, cast

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from adapter.errors import AdapterError, Fault
from adapter.flows import Adapter, Dispatcher
from adapter.service import fhir, health, operations, records
from adapter.service.answers import outcome, refusal
from adapter.service.door import Door
from adapter.service.visit import Visits, visit_of
from adapter.settings import Settings
from adapter.transport.server import App, run

log = logging.getLogger("adapter.service")

_REST_S: Final = 1.0
"""Before a dispatcher that failed is started again."""


def serve(settings: Settings) -> None:
    """
    Open the adapter and serve until told to stop; the address is printed when calls are accepted.

    Raises:
        Misconfigured, StoreFault: the adapter cannot be opened, or cannot listen.
    """
    run(cast("App", create_app(Adapter.open(settings))), settings.server)


def create_app(adapter: Adapter, *, dispatcher: bool = True) -> FastAPI:
    """
    The HTTP face of an open adapter, which it closes in the end. ``dispatcher``: whether it also delivers what is queued.

    Raises:
        Misconfigured: a peer's key set cannot be used.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        delivering = asyncio.create_task(_deliver(adapter)) if dispatcher else None
        try:
            yield
        finally:
            if delivering:
                delivering.cancel()
                with suppress(asyncio.CancelledError):
                    await delivering
            await adapter.close()

    app = FastAPI(
        title="koord",
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        # Traces and metrics of the framework hold addresses.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.add_middleware(Visits)
    app.add_exception_handler(AdapterError, _refused)
    app.add_exception_handler(HTTPException, _not_routed)
    door = Door(adapter)
    for routes in (fhir, records, operations, health):
        routes.add_routes(app, door)
    return app


async def _deliver(adapter: Adapter) -> None:
    """The dispatcher, for as long as the application runs. What it had claimed when it failed comes back with its lease."""
    owner = f"{socket.gethostname()}-{os.getpid()}"
    while True:
        try:
            await Dispatcher(adapter, owner=owner).run()
        except Exception as error:  # noqa: BLE001  a store that was full or locked may be well again
            code = error.first.code if isinstance(error, AdapterError) else type(error).__name__
            log.error("dispatcher failed: %s", code)  # noqa: TRY400  a trace can quote data
            await asyncio.sleep(_REST_S)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AdapterError)  # noqa: S101  what it is registered for
    visit_of(request).code = error.first.code
    return refusal(request, error)


async def _not_routed(request: Request, error: Exception) -> Response:
    """No such path, or not with this method: the router's own refusals, in the shape of all others."""
    assert isinstance(error, HTTPException)  # noqa: S101  what it is registered for
    allowed = sorted(
        {
            method
            for route in request.app.routes
            if route.matches(request.scope)[0] is not Match.NONE
            for method in route.methods
        }
    )
    fault = Fault("exchange.method" if allowed else "exchange.no-such-route")
    visit_of(request).code = fault.code
    headers = {"Allow": ", ".join(allowed)} if allowed else {}
    return outcome(request, fault.entry.status, [fault], headers=headers)
