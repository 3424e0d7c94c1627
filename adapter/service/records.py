"""The local system hands over records, and is told what peers have sent. JSON both ways; the forms are in docs/api.md."""

from __future__ import annotations

import re
from typing import Any, Final

from fastapi import FastAPI, Response

from adapter import flows
from adapter.errors import Fault, Invalid
from adapter.service import answers
from adapter.service.door import Call, Door
from adapter.store import Transaction, audit, inbox, records
from adapter.store.records import Version
from adapter.transport.login import Caller
from adapter.wire import json

MOST: Final = 1000
"""Rows in one answer."""
_USUAL: Final = 100
_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


def add_routes(app: FastAPI, door: Door) -> None:
    app.add_api_route("/records", door.guarded("local-system", hand_over), methods=["POST"])
    app.add_api_route("/records/changes", door.guarded("local-system", changes), methods=["GET"])


async def hand_over(call: Call, caller: Caller) -> Response:
    """Records to keep and to send: stored and queued in one commit, then answered."""
    call.allow_parameters()
    accepted = await flows.accept(
        call.adapter,
        await call.document(),
        caller=caller.peer,
        request_id=call.visit.request_id,
        correlation_id=call.visit.correlation_id,
    )
    headers = {"X-Replayed": "true"} if accepted.replayed else {}
    return answers.document(accepted.answer | {"underWay": accepted.under_way}, status=202, headers=headers)


async def changes(call: Call, caller: Caller) -> Response:
    """What peers have sent, in the order it was stored; ``next`` is the ``after`` of the next call."""
    given = call.allow_parameters("after", "limit")
    after = number(given.get("after", "0"), "after", range(10**15))
    limit = number(given.get("limit", str(_USUAL)), "limit", range(1, MOST + 1))
    found, patients = await call.adapter.store.read(_changes, after, limit)
    if found:
        what = f"{found[0]['sequence']}-{found[-1]['sequence']}"
        entries = [audit.Entry("changes.read", caller.peer, what, patient_key=patient) for patient in patients]
        await call.adapter.store.write(audit.append, entries, now=call.adapter.clock())
    return answers.document({"changes": found, "next": found[-1]["sequence"] if found else after})


def number(text: str, name: str, within: range) -> int:
    """
    A parameter's whole number.

    Raises:
        Invalid: ``exchange.number``.
    """
    if _NUMBER.fullmatch(text) is None or int(text) not in within:
        raise Invalid(Fault("exchange.number", name, f"{within.start} to {within.stop - 1}"))
    return int(text)


def _changes(tx: Transaction, after: int, limit: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The changes, and the patients whom they are about."""
    found = records.changes(tx, after, limit, origin="peer")
    return [_change(tx, version) for version in found], list(dict.fromkeys(version.patient_key for version in found))


def _change(tx: Transaction, version: Version) -> dict[str, Any]:
    came = inbox.kept(tx, version.source, version.request_id)
    return {
        "sequence": version.sequence,
        "from": version.source,
        "receivedAt": version.received_at.isoformat(),
        "version": version.version,
        "record": json.read(version.body),
        "losses": json.read(came.loss) if came and came.loss else [],
    }
