"""The order of one patient's messages to one destination: which is the head, and when it is due."""

from __future__ import annotations

from typing import cast

from adapter.errors import Fault, Misconfigured
from adapter.store.database import Row, Transaction


def join(tx: Transaction, destination: str, patient_key: str, *, urgent: bool, at: int) -> tuple[int, int]:
    """
    Take the next place at the end of the lane, which is made if it is new: (lane id, seq).

    Raises:
        Misconfigured: ``store.unknown-destination``.
    """
    lane, tail, head = _lane(tx, destination, patient_key, urgent=urgent) or _new_lane(
        tx, destination, patient_key, urgent=urgent
    )
    seq: int = tail + 1
    if head is None:
        tx.run(
            "UPDATE lane SET tail_seq = :seq, head_seq = :seq, due_at = :at WHERE id = :lane", lane=lane, seq=seq, at=at
        )
    else:
        tx.run("UPDATE lane SET tail_seq = :seq WHERE id = :lane", lane=lane, seq=seq)
    return lane, seq


def advance(tx: Transaction, lane: int, at: int) -> None:
    """
    Find the head again: the first message that is queued, or the dead one that blocks.

    A head that stays keeps its due time; a new one is due now; behind a dead one nothing is due. A withdrawal never waits
    for another that is dead.
    """
    head = tx.one(
        """
        SELECT o.seq, o.state FROM lane l JOIN destination d ON d.id = l.destination
        JOIN outbox o ON o.lane_id = l.id AND o.seq >= l.head_seq
        WHERE l.id = :lane AND (o.state = 'queued' OR o.state = 'dead' AND d.on_error = 'block' AND l.urgent = 0)
        ORDER BY o.seq LIMIT 1
        """,
        lane=lane,
    )
    seq, state = head or (None, None)
    tx.run(
        """
        UPDATE lane SET head_seq = :seq, due_at = CASE
            WHEN :state IS NULL OR :state = 'dead' THEN NULL
            WHEN head_seq = :seq AND due_at IS NOT NULL THEN due_at
            ELSE :at END
        WHERE id = :lane
        """,
        lane=lane,
        seq=seq,
        state=state,
        at=at,
    )


def let_go(tx: Transaction, lane: int) -> None:
    """End the lease."""
    tx.run("UPDATE lane SET lease_owner = NULL, lease_until = NULL, leased_seq = NULL WHERE id = :lane", lane=lane)


def requeue(tx: Transaction, lane: int, seq: int, at: int) -> None:
    """Let the lane start over at a message that is queued again."""
    tx.run(
        "UPDATE lane SET head_seq = :seq WHERE id = :lane AND (head_seq IS NULL OR head_seq > :seq)", lane=lane, seq=seq
    )
    advance(tx, lane, at)


def in_flight(tx: Transaction, lane: int, seq: int, at: int) -> bool:
    """Whether somebody holds a lease on this message now."""
    return (
        tx.one(
            "SELECT 1 FROM lane WHERE id = :lane AND leased_seq = :seq AND lease_until > :at", lane=lane, seq=seq, at=at
        )
        is not None
    )


def _lane(tx: Transaction, destination: str, patient_key: str, *, urgent: bool) -> Row | None:
    return tx.one(
        "SELECT id, tail_seq, head_seq FROM lane WHERE patient_key = :patient_key AND destination = :destination AND urgent = :urgent",
        patient_key=patient_key,
        destination=destination,
        urgent=int(urgent),
    )


def _new_lane(tx: Transaction, destination: str, patient_key: str, *, urgent: bool) -> Row:
    if tx.one("SELECT 1 FROM destination WHERE id = :id", id=destination) is None:
        raise unknown(destination)
    tx.run(
        "INSERT INTO lane (destination, patient_key, urgent, tail_seq, fence) VALUES (:destination, :patient_key, :urgent, 0, 0)",
        destination=destination,
        patient_key=patient_key,
        urgent=int(urgent),
    )
    return cast("Row", _lane(tx, destination, patient_key, urgent=urgent))


def unknown(destination: str) -> Misconfigured:
    return Misconfigured(Fault("store.unknown-destination", named=(("destination", destination),)))
