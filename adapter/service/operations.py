"""
The queue for those who run the adapter: see it, ask why a message left or did not, pause a destination, release or discard
what could not be delivered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, Protocol

from fastapi import FastAPI, Response
from pydantic import TypeAdapter

from adapter.domain import Line, Part, read_part
from adapter.errors import Denied, Fault
from adapter.flows import stopped as receipts
from adapter.flows.why import why
from adapter.service import answers
from adapter.service.door import Call, Door
from adapter.service.records import MOST, number
from adapter.store import Transaction, destinations, quarantine, withdrawals
from adapter.store.quarantine import Attempt, Message
from adapter.store.withdrawals import Withdrawal
from adapter.transport.login import Caller
from adapter.wire import json

_USUAL: Final = 100
_EVER: Final = 10**15


class Reason(Part):
    """Why a person does it; kept, sealed, in the audit log."""

    why: Line


class Operation(Protocol):
    """What the store does on a person's word."""

    def __call__(self, tx: Transaction, name: str, /, *, who: str, why: str, now: datetime) -> None: ...


class Told(Part):
    """Who said, for the recipient, that it has stopped; kept, sealed."""

    by: Line


Handler = Callable[[Call, Caller], Awaitable[Response]]
_REASON: Final = TypeAdapter(Reason)
_TOLD: Final = TypeAdapter(Told)


def add_routes(app: FastAPI, door: Door) -> None:
    def act(path: str, operation: Operation, check: Callable[[Call], str]) -> None:
        app.add_api_route(path, door.guarded("local-system", _action(operation, check)), methods=["POST"])

    app.add_api_route("/queue", door.guarded("local-system", queue), methods=["GET"])
    app.add_api_route("/queue/{id}/why", door.guarded("local-system", explained), methods=["GET"])
    app.add_api_route("/dead", door.guarded("local-system", dead), methods=["GET"])
    act("/destinations/{id}/pause", destinations.pause, _destination)
    act("/destinations/{id}/resume", destinations.resume, _destination)
    act("/dead/{id}/release", quarantine.release, _message)
    act("/dead/{id}/discard", quarantine.discard, _message)
    app.add_api_route("/withdrawals", door.guarded("local-system", withdrawn), methods=["GET"])
    app.add_api_route("/withdrawals/{id}/receipt", door.guarded("local-system", receipt), methods=["POST"])
    app.add_api_route("/notices/{id}/receipt", door.guarded("local-system", stopped), methods=["POST"])


async def queue(call: Call, _: Caller) -> Response:
    """Every destination with the depth and age of its queue, and the newest messages."""
    given = call.allow_parameters("state", "destination", "before", "limit")
    now, store = call.adapter.clock(), call.adapter.store
    overview = await store.read(destinations.overview, now=now)
    messages = await store.read(
        quarantine.messages,
        now=now,
        state=given.get("state"),
        destination=given.get("destination"),
        before=_before(given),
        limit=_limit(given),
    )
    return answers.document(
        {
            "destinations": [_shown(each) for each in overview],
            "withdrawals": await store.read(withdrawals.overview, now=now),
            "messages": [_listed(each) for each in messages],
        }
    )


async def explained(call: Call, caller: Caller) -> Response:
    """One message with every attempt, the latest first, and what the gate said at it."""
    call.allow_parameters()
    message, attempts = await why(call.adapter.store, _message(call), who=caller.peer, now=call.adapter.clock())
    shown = [
        _tried(each.attempt) | ({"explanation": json.read(each.explanation)} if each.explanation else {})
        for each in attempts
    ]
    return answers.document(_listed(message) | {"attempts": shown})


async def dead(call: Call, _: Caller) -> Response:
    """What could not be delivered, the newest first, with every attempt."""
    given = call.allow_parameters("before", "limit")
    now = call.adapter.clock()
    found = await call.adapter.store.read(
        lambda tx: [
            (message, quarantine.attempts(tx, message.message_id))
            for message in quarantine.messages(tx, now=now, state="dead", before=_before(given), limit=_limit(given))
        ]
    )
    listed = [_listed(message) | {"attempts": [_tried(each) for each in attempts]} for message, attempts in found]
    return answers.document({"messages": listed})


async def withdrawn(call: Call, _: Caller) -> Response:
    """Who was to be told that a consent no longer holds, the oldest first, and where each stands."""
    given = call.allow_parameters("state")
    now = call.adapter.clock()
    found = await call.adapter.store.read(withdrawals.listed)
    listed = [_ordered(each, now) for each in found if given.get("state") in {None, each.state(now)}]
    return answers.document({"withdrawals": listed})


async def receipt(call: Call, caller: Caller) -> Response:
    """A recipient has said otherwise than through its system that it has stopped using what it got."""
    call.allow_parameters()
    told, _ = read_part(_TOLD, await call.document())
    now = call.adapter.clock()
    await call.adapter.store.write(withdrawals.receipt, call.place("id"), by=told.by, who=caller.peer, now=now)
    return Response(status_code=204)


async def stopped(call: Call, caller: Caller) -> Response:
    """What a peer's notice names is not used any more: the peer is told."""
    call.allow_parameters()
    told, _ = read_part(_TOLD, await call.document())
    said = await receipts.say(call.adapter, call.place("id"), by=told.by, who=caller.peer)
    return answers.document({"messages": list(said)}, status=202)


def _action(operation: Operation, check: Callable[[Call], str]) -> Handler:
    """An operation of the store on what the path names, with who and why in the audit log."""

    async def handler(call: Call, caller: Caller) -> Response:
        call.allow_parameters()
        name = check(call)
        reason, _ = read_part(_REASON, await call.document())
        await call.adapter.store.write(operation, name, who=caller.peer, why=reason.why, now=call.adapter.clock())
        call.adapter.wake()
        return Response(status_code=204)

    return handler


def _destination(call: Call) -> str:
    name = call.place("id")
    if name not in call.adapter.recipients:
        raise Denied(Fault("exchange.unknown-destination"))
    return name


def _message(call: Call) -> str:
    return call.place("id")


def _before(given: dict[str, str]) -> int | None:
    return number(given["before"], "before", range(_EVER)) if "before" in given else None


def _limit(given: dict[str, str]) -> int:
    return number(given.get("limit", str(_USUAL)), "limit", range(1, MOST + 1))


def _shown(overview: destinations.Overview) -> dict[str, Any]:
    return _present(
        {
            "id": overview.destination.id,
            "paused": overview.paused,
            "breaker": overview.breaker,
            "openUntil": overview.open_until,
            "queued": overview.queued,
            "oldest": overview.oldest,
            "dead": overview.dead,
            "inFlight": overview.in_flight,
        }
    )


def _listed(message: Message) -> dict[str, Any]:
    return _present(
        {
            "number": message.number,
            "id": message.message_id,
            "destination": message.destination,
            "state": message.state,
            "reason": message.reason,
            "urgent": message.urgent,
            "purpose": message.purpose,
            "requestId": message.request_id,
            "correlationId": message.correlation_id,
            "tries": message.attempts,
            "createdAt": message.created_at,
            "doneAt": message.done_at,
            "dueAt": message.due_at,
            "inFlight": message.in_flight,
        }
    )


def _ordered(order: Withdrawal, now: datetime) -> dict[str, Any]:
    return _present(
        {
            "id": order.id,
            "to": order.destination,
            "cause": order.cause,
            "state": order.state(now),
            "reason": order.reason,
            "message": order.message_id,
            "late": order.is_late(now),
            "orderedAt": order.created_at,
            "deliveredAt": order.delivered_at,
            "receiptAt": order.receipt_at,
            "escalatedAt": order.escalated_at,
        }
    )


def _tried(attempt: Attempt) -> dict[str, Any]:
    return _present(
        {
            "n": attempt.n,
            "at": attempt.at,
            "endedAt": attempt.ended_at,
            "status": attempt.status,
            "reason": attempt.reason,
            "exposed": attempt.exposed,
            "requestId": attempt.request_id,
        }
    )


def _present(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}
