"""
A notice that a consent no longer holds: sent to who got something, and taken from a peer that has given us something.

A notice passes the gate as a message does, at every attempt. It has no time to live, and what stops it is a dead letter
that a person sees to. Its recipient answers that it has stopped: in the answer to the notice, or by the Task sent back.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from adapter.consent import notice as notices
from adapter.consent.gate import Cleared, Withheld
from adapter.consent.handed_over import ForeignConsent
from adapter.consent.notice import Notice
from adapter.consent.policy import Recipient
from adapter.definitions import Release
from adapter.domain import BusinessId, Consent
from adapter.errors import Conflict, Fault, Invalid
from adapter.flows.adapter import Adapter
from adapter.mapping import Resource
from adapter.store import Transaction, audit, inbox, outbox, records, withdrawals
from adapter.store.outbox import Claim, Dead, Delivered, Outcome, Retry
from adapter.store.records import NewRecord, Snapshot, Version
from adapter.store.withdrawals import Withdrawal
from adapter.sweden import HsaId
from adapter.transport import Receipt
from adapter.transport.login import Caller
from adapter.validation import errors, validate
from adapter.wire import json

log = logging.getLogger("adapter.notify")

KIND: Final = "WithdrawalNotice"
"""The kind under which the store keeps a peer's notice for the local system."""
_DECIDE_AGAIN: Final = 20


@dataclass(frozen=True, slots=True)
class _Known:
    """An order, the consent and the records that it names, and the patient's consents now, in one view."""

    order: Withdrawal
    consent: Version
    records: tuple[Version, ...]
    consents: Snapshot


async def deliver(adapter: Adapter, claim: Claim) -> Outcome | None:
    """One attempt to deliver a notice. None: the lane was no longer ours, and nothing was sent."""
    for _ in range(_DECIDE_AGAIN):
        known = await adapter.store.read(_known, claim)
        recipient = adapter.recipients.get(claim.destination)
        if recipient is None:
            return await _finish(adapter, claim, known, Dead("config.no-such-destination", exposed=False))
        result = _cleared(adapter, claim, known, recipient)
        if isinstance(result, Withheld):
            return await _finish(adapter, claim, known, Dead(result.reason, exposed=False), decided=result)
        begun, cleared = await adapter.begin(claim, result, now=adapter.clock())
        if begun.status == "lost":
            return None
        if begun.status == "started":
            receipt = await adapter.transport.send(cleared)
            outcome = outcome_of(adapter, claim, receipt)
            stopped = known.order.id in receipt.stopped
            return await _finish(
                adapter, claim, known, outcome, attempt=begun.attempt, decided=cleared, stopped=stopped
            )
    await adapter.store.write(outbox.give_back, claim)
    return None


async def receive(  # noqa: PLR0913  named by the caller
    adapter: Adapter,
    task: Resource,
    body: Resource,
    *,
    release: Release,
    original: bytes,
    caller: Caller,
    request_id: str | None,
) -> tuple[str, tuple[Fault, ...], bool]:
    """
    The Task of a notice, from a peer: its own notice, kept for the local system, or its word on one of ours. Gives the id of
    the notice, what it says beyond a notice, and whether this request has been taken before.

    A notice that breaks only the profile that it names is acted on: what must stop does not wait for a better text.

    Raises:
        Invalid: it is not FHIR, or does not say what a notice must. Conflict: ``store.unknown-withdrawal``: a word on a
            notice that this peer was never sent, or another body under the same request id.
    """
    faults = [fault for fault in errors(validate(body, release)) if not fault.profile]
    if faults:
        raise Invalid(faults)
    notice_id = notices.id_in(task)
    ours = await adapter.store.read(withdrawals.get, notice_id)
    if ours is None and task["status"] == "requested":
        notice, beyond = notices.read(task)
    elif ours is not None and _is_told(adapter, ours, caller):
        notice, beyond = None, []
    else:
        raise Conflict(Fault("store.unknown-withdrawal", "Task.identifier"))
    arrival = adapter.arrival(caller.peer, body, request_id, original=original, beyond=beyond)
    now = adapter.clock()
    if notice is not None:
        accepted = await adapter.store.write(_keep, adapter, arrival, notice, now=now)
    else:
        accepted = await adapter.store.write(_answered, arrival, notice_id, stopped=notices.answers(task), now=now)
    return notice_id, tuple(beyond), accepted.replayed


def _known(tx: Transaction, claim: Claim) -> _Known:
    order = withdrawals.of_message(tx, claim.message_id)
    if order is None:
        raise LookupError("every urgent message carries an order")
    got = tuple(records.kept(tx, ref) for ref in order.records)
    return _Known(order, records.kept(tx, order.consent), got, records.consents(tx, order.patient_key))


def _cleared(adapter: Adapter, claim: Claim, known: _Known, recipient: Recipient) -> Cleared | Withheld:
    consent = adapter.kept(known.consent)
    assert isinstance(consent, Consent | ForeignConsent)  # noqa: S101  orders are about consents
    tables = adapter.mapper.tables.records
    got = [adapter.record(version) for version in known.records]
    notice = Notice(
        id=known.order.id,
        consent=consent.id,
        stop_using=notices.named([(tables[record.record].focus, record.id) for record in got]),
        ordered_at=known.order.created_at,
    )
    return adapter.gate.notice(
        notice,
        consent,
        destination=recipient,
        snapshot=adapter.snapshot(consent, known.consents),
        now=adapter.clock(),
        request_id=claim.request_id,
        correlation_id=claim.correlation_id,
    )


def outcome_of(adapter: Adapter, claim: Claim, receipt: Receipt) -> Outcome:
    """What a person can do something about is a dead letter; all else is tried again for ever."""
    match receipt.outcome:
        case "delivered" | "duplicate":
            return Delivered(None)
        case "retry":
            due = adapter.next_try(claim, receipt) or adapter.clock()
            return Retry(due, receipt.reason, exposed=receipt.exposed, peer_failed=receipt.peer_failed)
        case _:
            return Dead(receipt.reason, exposed=receipt.exposed, peer_failed=receipt.peer_failed)


async def _finish(  # noqa: PLR0913  named by the caller
    adapter: Adapter,
    claim: Claim,
    known: _Known,
    outcome: Outcome,
    *,
    attempt: int | None = None,
    decided: Cleared | Withheld | None = None,
    stopped: bool = False,
) -> Outcome:
    await adapter.store.write(
        _complete,
        claim,
        known.order,
        outcome,
        attempt=attempt,
        explanation=decided.explanation if decided else None,
        stopped=stopped,
        now=adapter.clock(),
    )
    reason = "" if isinstance(outcome, Delivered) else outcome.reason
    about = {"withdrawal": known.order.id, "destination": claim.destination, "reason": reason}
    log.info(type(outcome).__name__.lower(), extra=about)
    return outcome


def _complete(  # noqa: PLR0913  named by the caller
    tx: Transaction,
    claim: Claim,
    order: Withdrawal,
    outcome: Outcome,
    *,
    attempt: int | None,
    explanation: bytes | None,
    stopped: bool,
    now: datetime,
) -> None:
    reason = "" if isinstance(outcome, Delivered) else outcome.reason
    entry = audit.Entry(
        f"withdrawal.{type(outcome).__name__.lower()}",
        "adapter",
        order.id,
        outcome="refused" if isinstance(outcome, Dead) else "ok",
        reason=reason,
        patient_key=claim.patient_key,
    )
    done = outbox.complete(tx, claim, outcome, attempt=attempt, entries=[entry], now=now, explanation=explanation)
    if done and isinstance(outcome, Delivered):
        withdrawals.delivered(tx, order.id, now=now)
    if done and stopped:
        withdrawals.receipt(tx, order.id, by=claim.destination, who=claim.destination, now=now)


def _is_told(adapter: Adapter, order: Withdrawal, caller: Caller) -> bool:
    """Whether the caller speaks for the one that an order was given to."""
    recipient = adapter.recipient(order.destination)
    if recipient is None:
        return False
    if isinstance(caller.organisation, HsaId):
        own = [each for each in (recipient.hsa_id, recipient.provider_hsa_id) if each is not None]
        return any(caller.organisation.same(each) for each in own)
    return caller.organisation == recipient.organisation_number


def _keep(
    tx: Transaction, adapter: Adapter, arrival: inbox.Arrival, notice: Notice, *, now: datetime
) -> inbox.Accepted:
    """A peer's notice, for the local system to read in the change feed."""
    document = notices.document(notice)
    record_id = adapter.record_id(arrival.source, BusinessId(**document["id"]))
    patient_key = _patient(tx, adapter, arrival.source, notice)
    entry = audit.Entry("withdrawal.received", arrival.source, record_id, patient_key=patient_key or None)
    return inbox.accept(
        tx,
        arrival,
        records=[NewRecord(record_id, KIND, patient_key, json.canonical(document))],
        sends=(),
        entries=[entry],
        respond=lambda _, __: b"{}",
        now=now,
    )


def _answered(
    tx: Transaction, arrival: inbox.Arrival, notice_id: str, *, stopped: bool, now: datetime
) -> inbox.Accepted:
    """A peer's word on a notice of ours: only that it has stopped is a receipt."""
    if stopped:
        withdrawals.receipt(tx, notice_id, by=arrival.source, who=arrival.source, now=now)
    entry = audit.Entry("withdrawal.answered", arrival.source, notice_id)
    return inbox.accept(tx, arrival, records=(), sends=(), entries=[entry], respond=lambda _, __: b"{}", now=now)


def _patient(tx: Transaction, adapter: Adapter, source: str, notice: Notice) -> str:
    """Whose records a peer's notice names, as far as we have them from that peer; else nobody's."""
    ids = [adapter.record_id(source, record) for _, record in (*notice.stop_using, ("Consent", notice.consent))]
    found = (records.get(tx, record_id) for record_id in ids)
    return next((version.patient_key for version in found if version is not None), "")
