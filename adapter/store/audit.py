"""
The audit log: entries that are only ever added, each in the transaction of what it tells about.

Every row carries a keyed hash over the row before it and itself. A row that was changed, removed, put in or moved breaks
the chain there, and without the key nobody can mend it. Rows cut off at the end leave a shorter chain that is whole: that
is what checkpoints kept elsewhere are for.

Event, who, what and reason are codes, client ids and places, never content and never a person's number. Words that a
person wrote go into ``details``, which is sealed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from adapter.store.database import Row, Transaction
from adapter.store.instants import instant, micros

_START = bytes(32)
_ROWS = "SELECT sequence, at, event, who, what, patient_key, outcome, reason, details, unit, previous, hash FROM audit"


@dataclass(frozen=True, slots=True)
class Entry:
    """
    What happened: ``event`` (code), ``who`` (client, operator or "adapter"), ``what`` (message, record or destination id).

    ``outcome`` is "ok" or "refused"; ``reason`` a stable code; ``details`` bytes that are sealed; ``unit`` the HSA-id of
    the care unit where it was done, None where it concerns no care unit.
    """

    event: str
    who: str
    what: str = ""
    outcome: str = "ok"
    reason: str = ""
    patient_key: str | None = field(default=None, repr=False)
    details: bytes | None = field(default=None, repr=False)
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """An entry as it stands in the log."""

    sequence: int
    at: datetime
    entry: Entry


@dataclass(frozen=True, slots=True)
class Break:
    """Where the chain does not hold. ``kind``: "altered", "missing" (rows before this one are gone) or "unlinked"."""

    sequence: int
    kind: str


@dataclass(frozen=True, slots=True)
class Verified:
    """How many rows were read, and every break found. ``head`` is the hash of the last row, for checkpoints."""

    rows: int
    head: bytes
    breaks: tuple[Break, ...]


def append(tx: Transaction, entries: Sequence[Entry], *, now: datetime) -> None:
    """Add entries to the end of the chain."""
    if not entries:
        return
    last = tx.one("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")
    sequence, previous = last or (0, _START)
    at = micros(now)
    for entry in entries:
        sequence += 1
        details = None if entry.details is None else tx.keys.seal(entry.details, "audit", sequence)
        row = (
            sequence,
            at,
            entry.event,
            entry.who,
            entry.what,
            entry.patient_key,
            entry.outcome,
            entry.reason,
            details,
            entry.unit,
        )
        hashed = tx.keys.chain(previous, _canonical(row))
        tx.run(
            """
            INSERT INTO audit
                (sequence, at, event, who, what, patient_key, outcome, reason, details, unit, previous, hash)
            VALUES (
                :sequence, :at, :event, :who, :what, :patient_key, :outcome, :reason, :details, :unit, :previous, :hash
            )
            """,
            sequence=sequence,
            at=at,
            event=entry.event,
            who=entry.who,
            what=entry.what,
            patient_key=entry.patient_key,
            outcome=entry.outcome,
            reason=entry.reason,
            details=details,
            unit=entry.unit,
            previous=previous,
            hash=hashed,
        )
        previous = hashed


def entries(tx: Transaction, *, after: int = 0, limit: int = 100, patient_key: str | None = None) -> list[Written]:
    """Entries in order, those of one patient if asked. ``after`` is a sequence."""
    rows = tx.all(
        _ROWS
        + " WHERE sequence > :after AND (:patient_key IS NULL OR patient_key = :patient_key) ORDER BY sequence LIMIT :limit",
        after=after,
        limit=limit,
        patient_key=patient_key,
    )
    return [_written(tx, row) for row in rows]


def verify_chain(tx: Transaction) -> Verified:
    """Read the whole chain and name every row where it does not hold."""
    breaks: list[Break] = []
    count, expected, previous = 0, 1, _START
    for row in tx.each(_ROWS + " ORDER BY sequence"):
        count += 1
        sequence, linked, hashed = row[0], row[10], row[11]
        if sequence != expected:
            breaks.append(Break(sequence, "missing"))
        elif linked != previous:
            breaks.append(Break(sequence, "unlinked"))
        if hashed != tx.keys.chain(linked, _canonical(row[:10])):
            breaks.append(Break(sequence, "altered"))
        expected, previous = sequence + 1, hashed
    return Verified(count, previous, tuple(breaks))


def _canonical(row: Row) -> bytes:
    """A row from its sequence to its unit. Without a unit it is written as it was before there were units."""
    *values, unit = row
    written = values if unit is None else [*values, unit]
    return json.dumps(
        [value.hex() if isinstance(value, bytes) else value for value in written], separators=(",", ":")
    ).encode()


def _written(tx: Transaction, row: Row) -> Written:
    sequence, at, event, who, what, patient_key, outcome, reason, details, unit = row[:10]
    opened = None if details is None else tx.keys.open(details, "audit", sequence)
    return Written(sequence, instant(at), Entry(event, who, what, outcome, reason, patient_key, opened, unit))
