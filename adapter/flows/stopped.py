"""
The region has stopped using what a peer's notice of withdrawal names: the local system says so, and the peer is told.

Only the local system can know it. The receipt passes the gate like everything else, has no time to live, and what stops it
is a dead letter that a person sees to.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime

from adapter.consent import notice as notices
from adapter.consent.gate import Withheld
from adapter.errors import Conflict, Fault
from adapter.flows import notify
from adapter.flows.adapter import READER, Adapter
from adapter.store import Transaction, audit, outbox, records, stopped
from adapter.store.outbox import Claim, Dead, Delivered, Outcome
from adapter.store.records import Version
from adapter.wire import json

log = logging.getLogger("adapter.stopped")


async def say(adapter: Adapter, notice_id: str, *, by: str, who: str) -> tuple[str, ...]:
    """
    Tell whoever sent the notice that what it names is not used any more; the ids of the messages, the same if it has been said
    before. ``by``: who said so; ``who``: the local system.

    Raises:
        Conflict: ``exchange.unknown-notice``: no peer has sent it; ``exchange.no-way-back``: its peer has no destination here.
    """
    said = await adapter.store.write(_say, adapter, notice_id, by=by, who=who, now=adapter.clock())
    adapter.wake()
    return said


async def deliver(adapter: Adapter, claim: Claim) -> Outcome | None:
    """One attempt to deliver a receipt. None: the lane was no longer ours, and nothing was sent."""
    recipient = adapter.recipients.get(claim.destination)
    if recipient is None:
        return await _finish(adapter, claim, Dead("config.no-such-destination", exposed=False))
    notice = await adapter.store.read(records.kept, claim.records[0])
    result = adapter.gate.receipt(
        notices.id_of(json.read(notice.body)),
        destination=recipient,
        now=adapter.clock(),
        request_id=claim.request_id,
        correlation_id=claim.correlation_id,
    )
    if isinstance(result, Withheld):
        return await _finish(adapter, claim, Dead(result.reason, exposed=False), explanation=result.explanation)
    begun, cleared = await adapter.begin(claim, result, now=adapter.clock())
    if begun.status != "started":
        return None
    outcome = notify.outcome_of(adapter, claim, await adapter.transport.send(cleared))
    return await _finish(adapter, claim, outcome, attempt=begun.attempt, explanation=cleared.explanation)


def _say(  # noqa: PLR0913  named by the caller
    tx: Transaction, adapter: Adapter, notice_id: str, *, by: str, who: str, now: datetime
) -> tuple[str, ...]:
    found = list(_sent(tx, adapter, notice_id))
    if not found:
        raise Conflict(Fault("exchange.unknown-notice"))
    ways = [adapter.told_at(f"{READER}{notice.source}") for notice in found]
    if not set(ways) <= adapter.recipients.keys():
        raise Conflict(Fault("exchange.no-way-back"))
    return tuple(stopped.say(tx, notice, way, by=by, who=who, now=now) for notice, way in zip(found, ways, strict=True))


def _sent(tx: Transaction, adapter: Adapter, notice_id: str) -> Iterator[Version]:
    """The notice with this id, of each peer that has sent one."""
    for peer in adapter.settings.peers:
        notice = records.get(tx, adapter.record_id(peer.id, notices.business_id(notice_id)))
        if notice is not None:
            yield notice


async def _finish(
    adapter: Adapter,
    claim: Claim,
    outcome: Outcome,
    *,
    attempt: int | None = None,
    explanation: bytes | None = None,
) -> Outcome:
    reason = "" if isinstance(outcome, Delivered) else outcome.reason
    entry = audit.Entry(
        f"receipt.{type(outcome).__name__.lower()}",
        "adapter",
        claim.message_id,
        outcome="refused" if isinstance(outcome, Dead) else "ok",
        reason=reason,
        patient_key=claim.patient_key or None,
    )
    await adapter.store.write(
        outbox.complete,
        claim,
        outcome,
        attempt=attempt,
        entries=[entry],
        now=adapter.clock(),
        explanation=explanation,
    )
    about = {"message_id": claim.message_id, "destination": claim.destination, "reason": reason}
    log.info(type(outcome).__name__.lower(), extra=about)
    return outcome
