"""For those who watch the process: does it live, and can it work. Neither tells anything about what it holds."""

from __future__ import annotations

from fastapi import FastAPI, Response

from adapter.errors import Fault, StoreFault
from adapter.service import answers
from adapter.service.door import Call, Door


def add_routes(app: FastAPI, door: Door) -> None:
    app.add_api_route("/healthz", door.opened(alive), methods=["GET", "HEAD"])
    app.add_api_route("/readyz", door.opened(ready), methods=["GET", "HEAD"])


async def alive(_: Call) -> Response:
    return answers.document({"status": "alive"})


async def ready(call: Call) -> Response:
    """The store answers, so that calls can be taken and messages sent."""
    try:
        await call.adapter.store.read(lambda tx: tx.one("SELECT 1"))
    except StoreFault:
        raise StoreFault(Fault("exchange.not-ready")) from None
    return answers.document({"status": "ready"})
