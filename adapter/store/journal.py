"""
Entries in the region's own journal system (PDL 3 kap. 11 §): for each message, what the journal is to say of it, and what it has
acknowledged.

An entry has one row, whose ``version`` rises each time it is to say something else. ``announce`` writes the first, before the
message is sent; ``conclude`` the last, in the commit that ends the message. What the journal has not acknowledged is claimed,
like a lane, until it has: a crash costs time and never an entry, and a repeat changes nothing, since an entry has one id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from adapter.store import audit
from adapter.store.database import Row, Transaction
from adapter.store.instants import instant, maybe_instant, micros

Status = Literal["preparation", "completed", "not-done", "unknown"]
"""About to be sent; sent; not sent; nobody can say (bytes may have left)."""

_COLUMNS: Final = "message_id, patient_key, handout, status, version, acknowledged, at, tries, correlation_id"


@dataclass(frozen=True, slots=True)
class Entry:
    """
    What the journal is to say of a message. ``handout``: what is handed out, opened; ``at``: when it was, or may have been.

    ``tries``: how often this version has been tried in vain.
    """

    message_id: str
    patient_key: str = field(repr=False)
    handout: bytes = field(repr=False)
    status: Status
    version: int
    acknowledged: bool
    at: datetime | None
    tries: int
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many entries the journal has not acknowledged, and when the oldest of them was written."""

    entries: int
    oldest: datetime | None


def announce(  # noqa: PLR0913  named by the caller
    tx: Transaction,
    message_id: str,
    *,
    patient_key: str,
    correlation_id: str,
    handout: bytes,
    told: bool,
    now: datetime,
) -> Entry | None:
    """
    Write that a message is about to be sent. The entry as it stands now: already ``acknowledged`` if it says nothing new.

    ``told``: the journal is to know before the message leaves; the caller delivers the entry. None: something else about
    this message is still on its way to the journal and must come first.
    """
    row = tx.one("SELECT due_at FROM journal_entry WHERE message_id = :id", id=message_id)
    if row is None:
        tx.run(
            """
            INSERT INTO journal_entry (message_id, patient_key, correlation_id, handout, status, version, acknowledged,
                                       told, tries, written_at)
            VALUES (:id, :patient_key, :correlation_id, :handout, 'preparation', 1, 0, :told, 0, :now)
            """,
            id=message_id,
            patient_key=patient_key,
            correlation_id=correlation_id,
            handout=tx.keys.seal(handout, "journal", message_id),
            told=int(told),
            now=micros(now),
        )
        return _entry(tx, message_id)
    if told and row[0] is not None:
        return None
    known = _entry(tx, message_id)
    if (known.status, known.handout) == ("preparation", handout):
        return known
    tx.run(
        """
        UPDATE journal_entry SET handout = :handout, status = 'preparation', version = version + 1, at = NULL, tries = 0,
                                 told = max(told, :told), written_at = :now, due_at = NULL, lease_until = NULL
        WHERE message_id = :id
        """,
        id=message_id,
        handout=tx.keys.seal(handout, "journal", message_id),
        told=int(told),
        now=micros(now),
    )
    return _entry(tx, message_id)


def conclude(tx: Transaction, message_id: str, *, now: datetime) -> None:
    """
    Write how a message ended, by what the outbox says of it, for the journal to be told; nothing if it was never announced.

    What certainly never left is told only if the journal has been told that it was about to.
    """
    row = tx.one(
        """
        SELECT o.state, j.told, (SELECT max(a.at) FROM attempt a WHERE a.outbox_id = o.id AND a.exposed <> 'no')
        FROM journal_entry j JOIN outbox o ON o.message_id = j.message_id WHERE j.message_id = :id
        """,
        id=message_id,
    )
    if row is None:
        return
    state, told, exposed_at = row
    at = micros(now)
    status, left_at = ("completed", at) if state == "delivered" else ("unknown", exposed_at)
    if left_at is None:
        status = "not-done"
    tx.run(
        """
        UPDATE journal_entry SET status = :status, at = :left_at, version = version + 1, tries = 0, written_at = :at,
                                 due_at = :due, lease_until = NULL
        WHERE message_id = :id
        """,
        id=message_id,
        status=status,
        left_at=left_at,
        at=at,
        due=at if told or status != "not-done" else None,
    )


def claim(tx: Transaction, *, now: datetime, lease: timedelta, limit: int) -> list[Entry]:
    """Lease entries that are due, the oldest first. The lease is longer than any delivery, so nobody is late with one."""
    at = micros(now)
    rows = tx.all(
        """
        UPDATE journal_entry SET lease_until = :until WHERE message_id IN (
            SELECT message_id FROM journal_entry
            WHERE due_at <= :at AND (lease_until IS NULL OR lease_until <= :at) ORDER BY due_at LIMIT :limit)
        RETURNING message_id
        """,
        at=at,
        until=micros(now + lease),
        limit=limit,
    )
    return [_entry(tx, message_id) for (message_id,) in rows]


def acknowledge(tx: Transaction, entry: Entry, *, now: datetime) -> None:
    """The journal has this version. The last of a message is entered in the audit log too."""
    changed = tx.run(
        """
        UPDATE journal_entry SET acknowledged = version, due_at = NULL, lease_until = NULL
        WHERE message_id = :id AND version = :version AND acknowledged < version
        """,
        id=entry.message_id,
        version=entry.version,
    )
    if changed and entry.status != "preparation":
        entered = audit.Entry(
            "journal.entered", "adapter", entry.message_id, reason=entry.status, patient_key=entry.patient_key
        )
        audit.append(tx, [entered], now=now)


def postpone(tx: Transaction, entry: Entry, *, due_at: datetime) -> None:
    """The journal did not take it: try again then. What a message waits for is tried again with the message."""
    tx.run(
        """
        UPDATE journal_entry SET tries = tries + 1, lease_until = NULL,
                                 due_at = CASE WHEN due_at IS NULL THEN NULL ELSE :due END
        WHERE message_id = :id AND version = :version
        """,
        id=entry.message_id,
        version=entry.version,
        due=micros(due_at),
    )


def get(tx: Transaction, message_id: str) -> Entry | None:
    """The entry about a message, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM journal_entry WHERE message_id = :id", id=message_id)  # noqa: S608  constants
    return None if row is None else _opened(tx, row)


def waiting(tx: Transaction) -> Waiting:
    """What the journal has still to be told."""
    row = tx.one("SELECT count(*), min(written_at) FROM journal_entry WHERE due_at IS NOT NULL")
    count, oldest = row or (0, None)
    return Waiting(count, maybe_instant(oldest))


def _entry(tx: Transaction, message_id: str) -> Entry:
    entry = get(tx, message_id)
    assert entry is not None, "entries are never deleted"  # noqa: S101  an invariant of the tables
    return entry


def _opened(tx: Transaction, row: Row) -> Entry:
    message_id, patient_key, sealed, status, version, acknowledged, at, tries, correlation_id = row
    return Entry(
        message_id,
        patient_key,
        tx.keys.open(sealed, "journal", message_id),
        status,
        version,
        acknowledged == version,
        None if at is None else instant(at),
        tries,
        correlation_id,
    )
