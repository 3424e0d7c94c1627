"""
Withdrawal orders: who must be told that a consent no longer holds, and who has answered.

One order for each consent, cause and destination, written in the commit of what took the consent away. It is delivered
as an urgent message of its own; one that nobody can deliver has no message and waits for a person.

``ends`` are the instants after which consents say something else by the clock: ``note_ends`` reads on where it stopped, so that a store in which
consents were kept before there were ends needs nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from adapter.errors import Conflict, Fault
from adapter.store import audit, outbox, records
from adapter.store.database import Row, Transaction
from adapter.store.disclosures import refs_from
from adapter.store.instants import instant, maybe_instant, micros, new_id
from adapter.store.outbox import Send
from adapter.store.records import RecordRef, Version

Cause = Literal["withdrawn", "narrowed", "expired"]
State = Literal["queued", "delivered", "acknowledged", "overdue", "undeliverable"]

LATE_AFTER: Final = timedelta(minutes=15)
"""An order that no recipient has acknowledged technically is an alarm."""
OVERDUE_AFTER: Final = timedelta(hours=24)
"""An order that no recipient has answered is for a person."""
PURPOSE: Final = "withdrawal"

_GONE = ("dead", "discarded", "withheld", "blocked")
_ROWS = """
    SELECT w.id, w.cause, w.patient_key, w.consent_id, w.consent_version, w.destination, w.records, w.message_id, w.created_at,
           w.delivered_at, w.receipt_at, w.receipt_by, w.escalated_at, o.state, o.reason
    FROM withdrawal w LEFT JOIN outbox o ON o.message_id = w.message_id
"""
_NOT_ENDED = 2**62


@dataclass(frozen=True, slots=True)
class Order:
    """
    Whom to tell, about which consent, and which records to stop using.

    ``by``: the version of a consent that made it so: the consent's own, or one that replaced or refused it.
    """

    cause: Cause
    consent: RecordRef
    by: RecordRef
    destination: str
    patient_key: str = field(repr=False)
    records: tuple[RecordRef, ...]


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """
    An order as it stands. ``message_id``: None if there is no way to deliver it. ``delivered_at``: the recipient's system has
    it; ``receipt_at``: the recipient has said that it has stopped. ``message_state`` and ``reason`` are the message's.
    """

    id: str
    cause: str
    patient_key: str = field(repr=False)
    consent: RecordRef
    destination: str
    records: tuple[RecordRef, ...]
    message_id: str | None
    created_at: datetime
    delivered_at: datetime | None
    receipt_at: datetime | None
    receipt_by: str | None = field(repr=False)
    escalated_at: datetime | None
    message_state: str | None
    reason: str | None

    def state(self, now: datetime) -> State:
        """Where it stands: what a person must see to goes before what is merely on its way."""
        if self.receipt_at is not None:
            return "acknowledged"
        if self.delivered_at is None and (self.message_id is None or self.message_state in _GONE):
            return "undeliverable"
        if now >= self.created_at + OVERDUE_AFTER:
            return "overdue"
        return "queued" if self.delivered_at is None else "delivered"

    def is_late(self, now: datetime) -> bool:
        """Not delivered in a quarter of an hour: an alarm."""
        return self.receipt_at is None and self.delivered_at is None and now >= self.created_at + LATE_AFTER


@dataclass(frozen=True, slots=True)
class End:
    """A consent that says something else since this instant has passed, most often nothing: its version then, and when that was."""

    consent: RecordRef
    patient_key: str = field(repr=False)
    ended_at: datetime


def order(tx: Transaction, wanted: Order, *, deliverable: bool, who: str, now: datetime) -> Withdrawal | None:
    """
    Write an order and queue its message; None if it was written before: nobody is told twice of the same.

    ``deliverable``: False if there is no such destination (any more). ``who``: for the audit log.
    """
    created = new_id(now)
    added = tx.run(
        """
        INSERT INTO withdrawal (id, cause, patient_key, consent_id, consent_version, by_id, by_version, destination, records, created_at)
        VALUES (:id, :cause, :patient_key, :consent_id, :consent_version, :by_id, :by_version, :destination, :records, :at)
        ON CONFLICT (consent_id, by_id, by_version, cause, destination) DO NOTHING
        """,
        id=created,
        cause=wanted.cause,
        patient_key=wanted.patient_key,
        consent_id=wanted.consent.record_id,
        consent_version=wanted.consent.version,
        by_id=wanted.by.record_id,
        by_version=wanted.by.version,
        destination=wanted.destination,
        records=json.dumps(wanted.records),
        at=micros(now),
    )
    if not added:
        return None
    if deliverable:
        send = Send(wanted.destination, wanted.patient_key, (wanted.consent,), PURPOSE, new_id(now), urgent=True)
        message_id = outbox.enqueue(tx, send, now=now)
        tx.run("UPDATE withdrawal SET message_id = :message_id WHERE id = :id", id=created, message_id=message_id)
    entry = audit.Entry(
        "withdrawal.ordered", who, created, "ok" if deliverable else "refused", wanted.cause, wanted.patient_key
    )
    audit.append(tx, [entry], now=now)
    return get(tx, created)


def get(tx: Transaction, withdrawal_id: str) -> Withdrawal | None:
    """One order, or None."""
    row = tx.one(_ROWS + " WHERE w.id = :id", id=withdrawal_id)
    return None if row is None else _withdrawal(tx, row)


def of_message(tx: Transaction, message_id: str) -> Withdrawal | None:
    """The order that a message carries, or None."""
    row = tx.one(_ROWS + " WHERE w.message_id = :id", id=message_id)
    return None if row is None else _withdrawal(tx, row)


def listed(tx: Transaction, *, only_open: bool = False) -> list[Withdrawal]:
    """All orders, the oldest first; ``only_open``: those that no recipient has answered."""
    where = " WHERE w.receipt_at IS NULL" if only_open else ""
    return [_withdrawal(tx, row) for row in tx.all(_ROWS + where + " ORDER BY w.created_at, w.id")]


def of_patient(tx: Transaction, patient_key: str) -> list[Withdrawal]:
    """The orders about a patient, the oldest first."""
    rows = tx.all(_ROWS + " WHERE w.patient_key = :patient_key ORDER BY w.created_at, w.id", patient_key=patient_key)
    return [_withdrawal(tx, row) for row in rows]


def overview(tx: Transaction, *, now: datetime) -> dict[str, int]:
    """How many orders without an answer there are in each state, and how many of them are ``late``."""
    counted = dict.fromkeys(("queued", "delivered", "overdue", "undeliverable", "late"), 0)
    for each in listed(tx, only_open=True):
        counted[each.state(now)] += 1
        counted["late"] += each.is_late(now)
    return counted


def delivered(tx: Transaction, withdrawal_id: str, *, now: datetime) -> None:
    """The recipient's system has acknowledged the notice. The first time counts."""
    tx.run(
        "UPDATE withdrawal SET delivered_at = coalesce(delivered_at, :at) WHERE id = :id",
        id=withdrawal_id,
        at=micros(now),
    )


def receipt(tx: Transaction, withdrawal_id: str, *, by: str, who: str, now: datetime) -> Withdrawal:
    """
    The recipient has said that it has stopped using what it got. The first word counts; a later one changes nothing.

    ``by``: who said so, sealed; ``who``: who wrote it down, for the audit log.

    Raises:
        Conflict: ``store.unknown-withdrawal``.
    """
    found = get(tx, withdrawal_id)
    if found is None:
        raise Conflict(Fault("store.unknown-withdrawal"))
    if found.receipt_at is not None:
        return found
    tx.run(
        """
        UPDATE withdrawal SET receipt_at = :at, receipt_by = :by, delivered_at = coalesce(delivered_at, :at) WHERE id = :id
        """,
        id=withdrawal_id,
        at=micros(now),
        by=tx.keys.seal(by.encode(), "withdrawal", withdrawal_id),
    )
    entry = audit.Entry("withdrawal.receipt", who, withdrawal_id, patient_key=found.patient_key, details=by.encode())
    audit.append(tx, [entry], now=now)
    answered = get(tx, withdrawal_id)
    assert answered is not None, "orders are never deleted"  # noqa: S101  an invariant of the tables
    return answered


def alarms(tx: Transaction, *, now: datetime) -> tuple[list[Withdrawal], list[Withdrawal]]:
    """
    What has become late, and what has become a person's, since the last time this was asked: each order once of each.

    They are marked and entered in the audit log.
    """
    rows = tx.all(
        _ROWS + " WHERE w.receipt_at IS NULL AND (w.alarmed_at IS NULL OR w.escalated_at IS NULL) ORDER BY w.created_at"
    )
    late, escalated = [], []
    for row in rows:
        each = _withdrawal(tx, row)
        if each.is_late(now) and _mark(tx, each, "alarmed_at", "withdrawal.late", now):
            late.append(each)
        overdue = each.state(now) in {"overdue", "undeliverable"}
        if overdue and _mark(tx, each, "escalated_at", "withdrawal.escalated", now):
            escalated.append(each)
    return late, escalated


def note_ends(tx: Transaction, end_of: Callable[[Version], datetime | None], *, limit: int = 1000) -> int:
    """
    Read the consents that were stored since the last time, at most ``limit``; how many there were. ``end_of``: until when what a
    version of one says stays the same by the clock, None for ever.
    """
    row = tx.one("SELECT max(sequence) FROM consent_end")
    new = records.consents_after(tx, (row[0] or 0) if row else 0, limit)
    for version in new:
        end = end_of(version)
        tx.run(
            """
            INSERT INTO consent_end (record_id, version, sequence, patient_key, ends)
            VALUES (:id, :version, :sequence, :patient_key, :ends)
            ON CONFLICT (record_id) DO UPDATE SET version = :version, sequence = :sequence, ends = :ends
            """,
            id=version.record_id,
            version=version.version,
            sequence=version.sequence,
            patient_key=version.patient_key,
            ends=_NOT_ENDED if end is None else micros(end),
        )
    return len(new)


def ended(tx: Transaction, *, now: datetime, patient_key: str | None = None, limit: int = 100) -> list[End]:
    """The ends, of one patient's consents or of all, that have passed and that nobody has seen to, the first first."""
    rows = tx.all(
        """
        SELECT record_id, version, patient_key, ends FROM consent_end
        WHERE ends < :at AND patient_key = coalesce(:patient_key, patient_key) ORDER BY ends LIMIT :limit
        """,
        at=micros(now),
        patient_key=patient_key,
        limit=limit,
    )
    return [End(RecordRef(record_id, version), patient, instant(ends)) for record_id, version, patient, ends in rows]


def seen_to(tx: Transaction, end: End, then: datetime | None = None) -> bool:
    """
    Mark that an end has been seen to; ``then``: the next one, if what the consent says changes by the clock once more. False: it
    has been already, or the consent has a newer version.
    """
    changed = tx.run(
        "UPDATE consent_end SET ends = :then WHERE record_id = :id AND version = :version AND ends = :ends",
        id=end.consent.record_id,
        version=end.consent.version,
        ends=micros(end.ended_at),
        then=_NOT_ENDED if then is None else micros(then),
    )
    return changed == 1


def _mark(tx: Transaction, each: Withdrawal, column: str, event: str, now: datetime) -> bool:
    marked = tx.run(
        f"UPDATE withdrawal SET {column} = :at WHERE id = :id AND {column} IS NULL",  # noqa: S608  one of two constants
        id=each.id,
        at=micros(now),
    )
    if marked:
        entry = audit.Entry(event, "adapter", each.id, "refused", each.state(now), each.patient_key)
        audit.append(tx, [entry], now=now)
    return marked == 1


def _withdrawal(tx: Transaction, row: Row) -> Withdrawal:
    (made, cause, patient_key, consent_id, consent_version, destination, refs, message_id, created_at) = row[:9]
    delivered_at, receipt_at, receipt_by, escalated_at, state, reason = row[9:]
    return Withdrawal(
        made,
        cause,
        patient_key,
        RecordRef(consent_id, consent_version),
        destination,
        refs_from(refs),
        message_id,
        instant(created_at),
        maybe_instant(delivered_at),
        maybe_instant(receipt_at),
        None if receipt_by is None else tx.keys.open(receipt_by, "withdrawal", made).decode(),
        maybe_instant(escalated_at),
        state,
        reason,
    )
