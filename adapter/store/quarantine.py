"""
What people see of the outbox, and what they may do: release or discard a dead letter, send something again.

A view holds ids, states, reasons and times: never a body, never a patient. Every action names who did it and why, and is
audited in its own commit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from adapter.errors import Conflict, Fault
from adapter.store import audit, journal, lanes, outbox
from adapter.store.database import Row, Transaction
from adapter.store.disclosures import refs_from
from adapter.store.instants import instant, maybe_instant, micros
from adapter.store.records import RecordRef

_VIEW = """
    SELECT o.id, o.message_id, o.destination, o.lane_id, o.seq, l.urgent, o.state, o.reason, o.purpose, o.correlation_id, o.request_id,
           o.records, o.attempts, o.created_at, o.done_at, CASE WHEN o.state = 'queued' AND l.head_seq = o.seq THEN l.due_at END,
           coalesce(l.leased_seq = o.seq AND l.lease_until > :at, 0)
    FROM outbox o JOIN lane l ON l.id = o.lane_id
"""

# The newest of each state of each destination, from the index alone: a rare kind among many others is found at once.
_LISTED = """
    WITH kinds AS (
        SELECT destination.id AS destination, states.state
        FROM destination, (SELECT 'queued' AS state UNION ALL SELECT 'delivered' UNION ALL SELECT 'withheld'
                           UNION ALL SELECT 'blocked' UNION ALL SELECT 'dead' UNION ALL SELECT 'discarded') AS states
        WHERE destination.id = coalesce(:destination, destination.id) AND states.state = coalesce(:state, states.state)
    ), listed AS (
        SELECT o.id FROM kinds JOIN outbox o ON o.id IN (
            SELECT i.id FROM outbox i WHERE i.state = kinds.state AND i.destination = kinds.destination
            AND i.id < coalesce(:before, 9223372036854775807) ORDER BY i.id DESC LIMIT :limit)
        ORDER BY o.id DESC LIMIT :limit
    )
"""


@dataclass(frozen=True, slots=True)
class Message:
    """
    One row of the outbox. ``reason``: why it is where it is, or why its last attempt failed. ``due_at``: when it is tried
    next, if it is the head of its lane. ``number`` orders messages and pages through them.
    """

    number: int
    message_id: str
    destination: str
    lane: int
    seq: int
    urgent: bool
    state: str
    reason: str | None
    purpose: str
    correlation_id: str
    request_id: str
    records: tuple[RecordRef, ...]
    attempts: int
    created_at: datetime
    done_at: datetime | None
    due_at: datetime | None
    in_flight: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to deliver a message. ``exposed``: whether bytes reached the recipient: "no", "perhaps", "yes"."""

    n: int
    at: datetime
    ended_at: datetime | None
    status: str
    reason: str | None
    exposed: str
    consent_version: int | None
    request_id: str
    body_digest: bytes | None = field(repr=False)


def messages(  # noqa: PLR0913  filters, named by the caller
    tx: Transaction,
    *,
    now: datetime,
    state: str | None = None,
    destination: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Message]:
    """Messages, the newest first, filtered as asked; ``before`` is the number of the last one seen. Dead letters: "dead"."""
    rows = tx.all(
        _LISTED + _VIEW + " WHERE o.id IN (SELECT id FROM listed) ORDER BY o.id DESC",  # noqa: S608  constants
        at=micros(now),
        state=state,
        destination=destination,
        before=before,
        limit=limit,
    )
    return [_message(row) for row in rows]


def message(tx: Transaction, message_id: str, *, now: datetime) -> Message | None:
    """One message, or None."""
    row = tx.one(_VIEW + " WHERE o.message_id = :id", id=message_id, at=micros(now))
    return None if row is None else _message(row)


def attempts(tx: Transaction, message_id: str) -> list[Attempt]:
    """All attempts to deliver a message, in order."""
    rows = tx.all(
        """
        SELECT a.n, a.at, a.ended_at, a.status, a.reason, a.exposed, a.consent_version, a.request_id, a.body_digest
        FROM outbox o JOIN attempt a ON a.outbox_id = o.id WHERE o.message_id = :id ORDER BY a.n
        """,
        id=message_id,
    )
    return [Attempt(n, instant(at), maybe_instant(ended_at), *rest) for n, at, ended_at, *rest in rows]


def explanation(tx: Transaction, message_id: str, n: int) -> bytes | None:
    """What the gate said about an attempt, opened; None if it said nothing. Reading it is for the caller to audit."""
    row = tx.one(
        "SELECT o.id, a.explanation FROM outbox o JOIN attempt a ON a.outbox_id = o.id WHERE o.message_id = :id AND a.n = :n",
        id=message_id,
        n=n,
    )
    return None if row is None or row[1] is None else tx.keys.open(row[1], "attempt", row[0], n)


def basis(tx: Transaction, message_id: str, n: int) -> bytes | None:
    """What the gate decided on at an attempt, besides records and consents, opened; None if it is not known."""
    row = tx.one(
        "SELECT o.id, a.basis FROM outbox o JOIN attempt a ON a.outbox_id = o.id WHERE o.message_id = :id AND a.n = :n",
        id=message_id,
        n=n,
    )
    return None if row is None or row[1] is None else tx.keys.open(row[1], "basis", row[0], n)


def release(tx: Transaction, message_id: str, *, who: str, why: str, now: datetime) -> None:
    """
    Queue a dead letter again as it is: same request id, its old place in the lane, a new time to live.

    Raises:
        Conflict: ``store.unknown-message``, ``store.wrong-state``.
    """
    at = micros(now)
    number, lane, seq = _in_state(tx, message_id, "dead")
    tx.run(
        "UPDATE outbox SET state = 'queued', tries = 0, queued_at = :at, done_at = NULL WHERE id = :id",
        id=number,
        at=at,
    )
    lanes.requeue(tx, lane, seq, at)
    entry = audit.Entry("message.released", who, message_id, patient_key=_patient(tx, lane), details=why.encode())
    audit.append(tx, [entry], now=now)


def discard(tx: Transaction, message_id: str, *, who: str, why: str, now: datetime) -> None:
    """
    Give up a dead letter, or a queued message that is not in flight; the lane goes on behind it.

    Raises:
        Conflict: ``store.unknown-message``, ``store.wrong-state``, ``store.in-flight``.
    """
    at = micros(now)
    number, lane, seq = _in_state(tx, message_id, "dead", "queued")
    if lanes.in_flight(tx, lane, seq, at):
        raise Conflict(Fault("store.in-flight"))
    tx.run(
        "UPDATE outbox SET state = 'discarded', reason = 'operator.discarded', done_at = :at WHERE id = :id",
        id=number,
        at=at,
    )
    lanes.advance(tx, lane, at)
    journal.conclude(tx, message_id, now=now)
    entry = audit.Entry("message.discarded", who, message_id, patient_key=_patient(tx, lane), details=why.encode())
    audit.append(tx, [entry], now=now)


def resend(tx: Transaction, message_id: str, *, who: str, why: str, now: datetime) -> str:
    """
    Queue what a finished message carried as a new message, at the end of the lane; its message id. The gate decides anew.

    Raises:
        Conflict: ``store.unknown-message``, ``store.wrong-state`` (still queued, or dead: release it instead).
    """
    number, lane, _ = _in_state(tx, message_id, "delivered", "withheld", "blocked", "discarded")
    row = tx.one(
        """
        SELECT o.destination, l.patient_key, o.records, o.purpose, o.correlation_id, l.urgent
        FROM outbox o JOIN lane l ON l.id = :lane WHERE o.id = :id
        """,
        id=number,
        lane=lane,
    )
    assert row is not None, "the message was found above"  # noqa: S101  same transaction
    destination, patient_key, refs, purpose, correlation_id, urgent = row
    again = outbox.Send(destination, patient_key, refs_from(refs), purpose, correlation_id, urgent=bool(urgent))
    new = outbox.enqueue(tx, again, now=now)
    entry = audit.Entry("message.resent", who, message_id, patient_key=_patient(tx, lane), details=why.encode())
    audit.append(tx, [entry], now=now)
    return new


def _patient(tx: Transaction, lane: int) -> str | None:
    """Whom the messages of a lane are about."""
    row = tx.one("SELECT patient_key FROM lane WHERE id = :id", id=lane)
    return row[0] if row else None


def _in_state(tx: Transaction, message_id: str, *states: str) -> tuple[int, int, int]:
    row = tx.one("SELECT id, lane_id, seq, state FROM outbox WHERE message_id = :id", id=message_id)
    if row is None:
        raise Conflict(Fault("store.unknown-message"))
    if row[3] not in states:
        raise Conflict(Fault("store.wrong-state", named=(("state", row[3]),)))
    return row[0], row[1], row[2]


def _message(row: Row) -> Message:
    (number, message_id, destination, lane, seq, urgent, state, reason, purpose, correlation_id, request_id) = row[:11]
    refs, made, created_at, done_at, due_at, flying = row[11:]
    return Message(
        number,
        message_id,
        destination,
        lane,
        seq,
        bool(urgent),
        state,
        reason,
        purpose,
        correlation_id,
        request_id,
        refs_from(refs),
        made,
        instant(created_at),
        maybe_instant(done_at),
        maybe_instant(due_at),
        bool(flying),
    )
