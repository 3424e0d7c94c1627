"""
The outbox: messages wait in lanes, one lane for each patient and destination, and are delivered in order.

The dispatcher's way with one message, every step a commit:

    claim ─► (gate decides on records.consents) ─► begin ─► send ─► complete
                                                     │
                                                     └─ "stale": the consents changed; decide again
    refused by the gate, or cannot be built: complete, without begin

``claim`` leases the lane: for that long nobody else gets it, and its ``fence`` tells a late owner from the present one.
``begin`` is the withdrawal fence: it commits only if the patient's consents are those that the gate decided on. After a
crash the lease runs out, the message is claimed again and goes out with the same request id.

Withdrawals (``urgent``) have lanes of their own, claimed before all others.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from adapter.errors import Conflict, Fault
from adapter.store import audit, destinations, disclosures, journal, lanes, records
from adapter.store.database import Row, Transaction
from adapter.store.disclosures import Disclosure, refs_from
from adapter.store.instants import instant, micros, new_id
from adapter.store.records import RecordRef


@dataclass(frozen=True, slots=True)
class Send:
    """
    What to deliver, to whom. A record named by its id alone goes in its newest version at the time of the accept.

    ``correlation_id``: the case, the same for all messages of it. ``urgent``: a withdrawal; it overtakes.
    """

    destination: str
    patient_key: str = field(repr=False)
    records: tuple[str | RecordRef, ...]
    purpose: str
    correlation_id: str
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """
    A lane leased to us, and the message at its head.

    ``tries``: attempts since it was queued or released; ``queued_at`` starts its time to live. ``body_digest``: of the
    last attempt that began (``Keys.fingerprint`` of the bytes), None before the first.
    """

    lane: int
    fence: int
    message: int
    message_id: str
    request_id: str
    correlation_id: str
    destination: str
    patient_key: str = field(repr=False)
    purpose: str
    records: tuple[RecordRef, ...]
    urgent: bool
    tries: int
    queued_at: datetime
    body_digest: bytes | None = field(repr=False)

    def request_id_for(self, body_digest: bytes, *, now: datetime) -> str:
        """The request id to send these bytes with: the same as before, or a new one if the body has changed."""
        return self.request_id if self.body_digest in {None, body_digest} else new_id(now)


@dataclass(frozen=True, slots=True)
class Begun:
    """
    ``status``: "started" (send now), "stale" (the patient's consents changed: decide again), "lost" (the lease ended or
    the message is no longer queued: drop it). ``attempt``: its number from 1, if started.
    """

    status: Literal["started", "stale", "lost"]
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """The peer has it. ``disclosure`` is None only for what discloses nothing: a notice of withdrawal, or a receipt for one."""

    disclosure: Disclosure | None


@dataclass(frozen=True, slots=True)
class Retry:
    """
    Try again at ``due_at``. ``exposed``: bytes may have arrived (False only if it is certain that none did).

    ``peer_failed``: counts against the destination's breaker.
    """

    due_at: datetime
    reason: str
    exposed: bool = True
    peer_failed: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """The gate said no: "withheld", or "blocked" when a withdrawal took back what was queued. Final."""

    state: Literal["withheld", "blocked"]
    reason: str


@dataclass(frozen=True, slots=True)
class Dead:
    """Into quarantine: nothing we can do makes it go. ``exposed`` and ``peer_failed`` as for ``Retry``."""

    reason: str
    exposed: bool = True
    peer_failed: bool = False


Outcome = Delivered | Retry | Refused | Dead


@dataclass(frozen=True, slots=True)
class UnderWay:
    """An attempt that has begun and not ended, whose lease still holds."""

    message_id: str
    destination: str
    request_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that has not been delivered; ``in_flight``: somebody holds its lease."""

    message_id: str
    destination: str
    purpose: str
    records: tuple[RecordRef, ...]
    urgent: bool
    in_flight: bool


def enqueue(tx: Transaction, send: Send, *, now: datetime, newest: Mapping[str, RecordRef] | None = None) -> str:
    """
    Put a message at the end of its lane; its message id. ``newest`` spares the search for versions that are known.

    Raises:
        Misconfigured: ``store.unknown-destination``. Conflict: ``store.unknown-record``.
    """
    at = micros(now)
    known = newest or {}
    refs = [(known.get(ref) or records.newest_ref(tx, ref)) if isinstance(ref, str) else ref for ref in send.records]
    lane, seq = lanes.join(tx, send.destination, send.patient_key, urgent=send.urgent, at=at)
    message_id = new_id(now)
    tx.run(
        """
        INSERT INTO outbox (lane_id, seq, destination, message_id, request_id, correlation_id, purpose, records, state,
                            attempts, tries, created_at, queued_at)
        VALUES (:lane, :seq, :destination, :message_id, :request_id, :correlation_id, :purpose, :records, 'queued',
                0, 0, :at, :at)
        """,
        lane=lane,
        seq=seq,
        destination=send.destination,
        message_id=message_id,
        request_id=new_id(now),
        correlation_id=send.correlation_id,
        purpose=send.purpose,
        records=json.dumps(refs),
        at=at,
    )
    return message_id


def claim(  # noqa: PLR0913  named by the caller
    tx: Transaction, *, owner: str, now: datetime, lease: timedelta, limit: int, only: Collection[str] | None = None
) -> list[Claim]:
    """
    Lease lanes whose heads are due, at most ``limit``, from all destinations or ``only`` those named.

    Never more than a destination's ``max_inflight`` in all; none of a destination that is paused or whose breaker is open;
    one, if it is half-open. The destination with the least under way comes first. A lease that ran out is claimed like any
    other lane.
    """
    at, until = micros(now), micros(now + lease)
    claims: list[Claim] = []
    for destination, free in _room(tx, at):
        if only is not None and destination not in only:
            continue
        taken = 0
        for urgent in (True, False):
            wanted = min(free - taken, limit - len(claims))
            if wanted <= 0:
                break
            leased = _lease(tx, destination, urgent=urgent, wanted=wanted, owner=owner, at=at, until=until)
            taken += len(leased)
            claims += [_claimed(tx, lane, urgent=urgent) for lane in leased]
    return claims


def renew(tx: Transaction, claim: Claim, *, now: datetime, lease: timedelta) -> bool:
    """Hold the lane longer. False: the lease has ended, and with it the right to go on."""
    changed = tx.run(
        "UPDATE lane SET lease_until = :until WHERE id = :lane AND fence = :fence AND lease_until > :at",
        lane=claim.lane,
        fence=claim.fence,
        at=micros(now),
        until=micros(now + lease),
    )
    return changed == 1


def give_back(tx: Transaction, claim: Claim) -> bool:
    """Let the lane go without an attempt, for others to claim at once. False: it was not ours any more."""
    changed = tx.run(
        "UPDATE lane SET lease_owner = NULL, lease_until = NULL, leased_seq = NULL WHERE id = :lane AND fence = :fence",
        lane=claim.lane,
        fence=claim.fence,
    )
    return changed == 1


def postpone(tx: Transaction, claim: Claim, *, due_at: datetime, reason: str) -> bool:
    """
    Let the lane go without an attempt, to be claimed again at ``due_at``: what must come before it is not done yet.

    It counts neither as a try of this message nor against its destination. False: the lane was not ours any more.
    """
    changed = tx.run(
        """
        UPDATE lane SET lease_owner = NULL, lease_until = NULL, leased_seq = NULL, due_at = :due
        WHERE id = :lane AND fence = :fence AND lease_until IS NOT NULL
        """,
        lane=claim.lane,
        fence=claim.fence,
        due=micros(due_at),
    )
    if changed:
        tx.run("UPDATE outbox SET reason = :reason WHERE id = :message", message=claim.message, reason=reason)
    return changed == 1


def begin(  # noqa: PLR0913  named by the caller
    tx: Transaction,
    claim: Claim,
    *,
    consent_version: int | None,
    body_digest: bytes,
    request_id: str,
    now: datetime,
    basis: bytes | None = None,
) -> Begun:
    """
    Commit that an attempt starts, before its first byte.

    ``consent_version`` is the snapshot's that the gate decided on, None where no consent was asked; ``request_id`` comes from ``Claim.request_id_for``.
    ``basis``: what else the decision was made on; it is sealed with the attempt.

    Raises:
        Conflict: ``store.request-id-reused``: this request id has carried another body.
    """
    at = micros(now)
    row = tx.one(
        """
        SELECT o.attempts, o.request_id, o.body_digest FROM lane l JOIN outbox o ON o.id = :message
        WHERE l.id = :lane AND l.fence = :fence AND l.lease_until > :at AND o.state = 'queued'
        """,
        lane=claim.lane,
        message=claim.message,
        fence=claim.fence,
        at=at,
    )
    if row is None:
        return Begun("lost")
    if consent_version is not None and records.consent_version(tx, claim.patient_key) != consent_version:
        return Begun("stale")
    attempts, last_request, last_digest = row
    if request_id == last_request and last_digest not in (None, body_digest):
        raise Conflict(Fault("store.request-id-reused", where="X-Request-Id"))
    _close_unfinished(tx, claim.message, at)
    tx.run(
        """
        INSERT INTO attempt (outbox_id, n, at, status, exposed, consent_version, request_id, body_digest, basis)
        VALUES (:message, :n, :at, 'started', 'perhaps', :consent_version, :request_id, :body_digest, :basis)
        """,
        message=claim.message,
        n=attempts + 1,
        at=at,
        consent_version=consent_version,
        request_id=request_id,
        body_digest=body_digest,
        basis=_sealed(tx, basis, "basis", claim.message, attempts + 1),
    )
    tx.run(
        """
        UPDATE outbox SET attempts = attempts + 1, tries = tries + 1, request_id = :request_id, body_digest = :body_digest
        WHERE id = :message
        """,
        message=claim.message,
        request_id=request_id,
        body_digest=body_digest,
    )
    return Begun("started", attempts + 1)


def complete(  # noqa: PLR0913  named by the caller
    tx: Transaction,
    claim: Claim,
    outcome: Outcome,
    *,
    attempt: int | None,
    entries: Sequence[audit.Entry],
    now: datetime,
    explanation: bytes | None = None,
    basis: bytes | None = None,
) -> bool:
    """
    Commit how it went, with its disclosure and audit entries, and let the lane go.

    ``attempt`` is ``Begun.attempt``, or None if nothing was begun. ``explanation`` (the gate's) is sealed with the attempt;
    so is ``basis``, as in ``begin``, if nothing was begun.
    False: the fence is not ours any more and nothing was written; the attempt stays "perhaps exposed".

    Raises:
        ValueError: delivered without having begun.
    """
    if attempt is None and isinstance(outcome, Delivered):
        raise ValueError("delivered, but never begun")
    row = tx.one(
        """
        SELECT o.request_id, l.head_seq = o.seq FROM lane l JOIN outbox o ON o.id = :message
        WHERE l.id = :lane AND l.fence = :fence AND l.lease_until IS NOT NULL AND o.state = 'queued'
        """,
        lane=claim.lane,
        message=claim.message,
        fence=claim.fence,
    )
    if row is None:
        return False
    request_id, is_head = row
    at = micros(now)
    state, reason, exposed = _told(outcome)
    if attempt is None:
        attempt = _unbegun(tx, claim.message, request_id, at, basis)
        exposed = "no"
    tx.run(
        """
        UPDATE attempt SET ended_at = :at, status = :status, reason = :reason, exposed = :exposed, explanation = :explanation
        WHERE outbox_id = :message AND n = :n
        """,
        message=claim.message,
        n=attempt,
        at=at,
        status=state,
        reason=reason,
        exposed=exposed,
        explanation=_sealed(tx, explanation, "attempt", claim.message, attempt),
    )
    if isinstance(outcome, Retry):
        tx.run("UPDATE outbox SET reason = :reason WHERE id = :message", message=claim.message, reason=reason)
        tx.run(
            "UPDATE lane SET due_at = :due WHERE id = :lane",
            lane=claim.lane,
            due=micros(outcome.due_at) if is_head else at,
        )
    else:
        tx.run(
            "UPDATE outbox SET state = :state, reason = :reason, done_at = :at WHERE id = :message",
            message=claim.message,
            state=state,
            reason=reason,
            at=at,
        )
        lanes.advance(tx, claim.lane, at)
        journal.conclude(tx, claim.message_id, now=now)
    lanes.let_go(tx, claim.lane)
    if isinstance(outcome, Delivered) and outcome.disclosure is not None:
        disclosures.enter(
            tx,
            outcome.disclosure,
            patient_key=claim.patient_key,
            destination=claim.destination,
            message_id=claim.message_id,
            request_id=request_id,
            purpose=claim.purpose,
            now=now,
        )
    if not isinstance(outcome, Refused):
        failed = not isinstance(outcome, Delivered) and outcome.peer_failed
        if failed or exposed != "no":  # an attempt that never reached for the peer says nothing about it
            destinations.record_outcome(tx, claim.destination, ok=not failed, now=now)
    audit.append(tx, entries, now=now)
    return True


def waiting(tx: Transaction, patient_key: str, *, now: datetime) -> list[Waiting]:
    """A patient's queued messages, in the order they were accepted: what a withdrawal looks through."""
    rows = tx.all(
        """
        SELECT o.message_id, o.destination, o.purpose, o.records, l.urgent, coalesce(l.leased_seq = o.seq AND l.lease_until > :at, 0)
        FROM lane l JOIN outbox o ON o.lane_id = l.id AND o.seq >= l.head_seq
        WHERE l.patient_key = :patient_key AND o.state = 'queued' ORDER BY o.id
        """,
        patient_key=patient_key,
        at=micros(now),
    )
    return [
        Waiting(message, destination, purpose, refs_from(refs), bool(urgent), bool(flying))
        for message, destination, purpose, refs, urgent, flying in rows
    ]


def block(tx: Transaction, message_id: str, reason: str, *, now: datetime) -> bool:
    """
    Take back a queued message because its consent is gone. False if it is in flight (then ``begin`` finds the consents
    changed, or it had begun: see ``under_way``) or no longer queued.
    """
    at = micros(now)
    row = tx.one("SELECT id, lane_id, seq FROM outbox WHERE message_id = :id AND state = 'queued'", id=message_id)
    if row is None or lanes.in_flight(tx, row[1], row[2], at):
        return False
    _close_unfinished(tx, row[0], at)
    tx.run(
        "UPDATE outbox SET state = 'blocked', reason = :reason, done_at = :at WHERE id = :id",
        id=row[0],
        reason=reason,
        at=at,
    )
    lanes.advance(tx, row[1], at)
    journal.conclude(tx, message_id, now=now)
    return True


def under_way(tx: Transaction, patient_key: str, *, now: datetime) -> list[UnderWay]:
    """
    The patient's attempts that have begun and not ended, but for notices of withdrawal: a withdrawal waits for these before
    it answers.
    """
    rows = tx.all(
        """
        SELECT o.message_id, o.destination, a.request_id, a.at
        FROM lane l JOIN outbox o ON o.lane_id = l.id AND o.seq = l.leased_seq JOIN attempt a ON a.outbox_id = o.id
        WHERE l.patient_key = :patient_key AND l.urgent = 0 AND l.lease_until > :at AND a.status = 'started' ORDER BY a.at
        """,
        patient_key=patient_key,
        at=micros(now),
    )
    return [UnderWay(message, destination, request, instant(began)) for message, destination, request, began in rows]


def _room(tx: Transaction, at: int) -> list[tuple[str, int]]:
    """The destinations that may be sent to, with how many more at once; the one with the least under way first."""
    rows = tx.all(
        """
        SELECT id, CASE WHEN open_until IS NULL THEN max_inflight ELSE 1 END AS most,
               (SELECT count(*) FROM lane WHERE lane.destination = destination.id AND lease_until > :at) AS flying
        FROM destination WHERE paused = 0 AND (open_until IS NULL OR open_until <= :at) ORDER BY flying, id
        """,
        at=at,
    )
    return [(destination, most - flying) for destination, most, flying in rows if most > flying]


def _lease(  # noqa: PLR0913  named by the caller
    tx: Transaction, destination: str, *, urgent: bool, wanted: int, owner: str, at: int, until: int
) -> list[Row]:
    return tx.all(
        """
        UPDATE lane SET lease_owner = :owner, lease_until = :until, leased_seq = head_seq, fence = fence + 1
        WHERE id IN (
            SELECT id FROM lane WHERE destination = :destination AND urgent = :urgent AND due_at <= :at
            AND (lease_until IS NULL OR lease_until <= :at) ORDER BY due_at LIMIT :wanted)
        RETURNING id, fence, head_seq, destination, patient_key
        """,
        destination=destination,
        urgent=int(urgent),
        wanted=wanted,
        owner=owner,
        at=at,
        until=until,
    )


def _claimed(tx: Transaction, leased: Row, *, urgent: bool) -> Claim:
    lane, fence, seq, destination, patient_key = leased
    row = tx.one(
        """
        SELECT id, message_id, request_id, correlation_id, purpose, records, tries, queued_at, body_digest
        FROM outbox WHERE lane_id = :lane AND seq = :seq
        """,
        lane=lane,
        seq=seq,
    )
    assert row is not None, "a lane's head is in the outbox"  # noqa: S101  an invariant of the tables
    number, message_id, request_id, correlation_id, purpose, refs, tries, queued_at, digest = row
    return Claim(
        lane,
        fence,
        number,
        message_id,
        request_id,
        correlation_id,
        destination,
        patient_key,
        purpose,
        refs_from(refs),
        urgent,
        tries,
        instant(queued_at),
        digest,
    )


def _told(outcome: Outcome) -> tuple[str, str | None, str]:
    """(status, reason, exposed) of an attempt with this outcome."""
    match outcome:
        case Delivered():
            return "delivered", None, "yes"
        case Retry(reason=reason, exposed=exposed):
            return "retry", reason, "perhaps" if exposed else "no"
        case Dead(reason=reason, exposed=exposed):
            return "dead", reason, "perhaps" if exposed else "no"
    return outcome.state, outcome.reason, "no"


def _unbegun(tx: Transaction, message: int, request_id: str, at: int, basis: bytes | None) -> int:
    """A row for an attempt that ended before it began; its number."""
    _close_unfinished(tx, message, at)
    row = tx.one(
        "UPDATE outbox SET attempts = attempts + 1, tries = tries + 1 WHERE id = :message RETURNING attempts",
        message=message,
    )
    n = int(row[0]) if row else 0
    tx.run(
        """
        INSERT INTO attempt (outbox_id, n, at, status, exposed, request_id, basis)
        VALUES (:message, :n, :at, 'started', 'no', :request_id, :basis)
        """,
        message=message,
        n=n,
        at=at,
        request_id=request_id,
        basis=_sealed(tx, basis, "basis", message, n),
    )
    return n


def _sealed(tx: Transaction, body: bytes | None, *place: str | int) -> bytes | None:
    return None if body is None else tx.keys.seal(body, *place)


def _close_unfinished(tx: Transaction, message: int, at: int) -> None:
    """What an earlier owner began and never ended: it died, or lost its lease. Bytes may have left."""
    tx.run(
        "UPDATE attempt SET status = 'unknown', ended_at = :at WHERE outbox_id = :message AND status = 'started'",
        message=message,
        at=at,
    )
