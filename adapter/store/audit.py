"""
The audit log: entries that are only ever added, each in the transaction of what it tells about.

Every row carries a keyed hash over the row before it and itself. A row that was changed, removed, put in or moved breaks
the chain there, and without the key nobody can mend it. Rows cut off at the end leave a shorter chain that is whole: that
is what ``checkpoints`` kept elsewhere are for.

Event, who, what and reason are codes, client ids and places, never content and never a person's number. Words that a
person wrote go into ``details``, which is sealed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final, Literal

from adapter.store.database import Row, Transaction
from adapter.store.instants import instant, micros

START: Final = bytes(32)
"""What stands for the hash before the first row."""
_COLUMNS: Final = (
    "sequence", "at", "event", "who", "what", "patient_key", "outcome", "reason", "details", "unit", "previous", "hash",
)  # fmt: skip
_ROWS: Final = f"SELECT {', '.join(_COLUMNS)} FROM audit"  # noqa: S608  our own column names
_TEXTS: Final = frozenset({"event", "who", "what", "patient_key", "outcome", "reason", "unit"})
_BYTES: Final = ", ".join(f"CAST({name} AS BLOB)" if name in _TEXTS else name for name in _COLUMNS)
_INSERT: Final = f"INSERT INTO audit ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"  # noqa: S608  as above


@dataclass(frozen=True, slots=True)
class Entry:
    """
    What happened: ``event`` (code), ``who`` (client, operator or "adapter"), ``what`` (message, record or destination id).

    ``outcome`` is "ok" or "refused"; ``reason`` a stable code; ``details`` bytes that are sealed; ``unit`` the HSA-id of
    the care unit where it was done, None for the one that uses the store.
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
class Query:
    """
    Which entries: of a patient (or of any patient: ``about_patients``), of one event or family of events ("message"), by
    somebody, from ``since`` up to ``until``.
    """

    patient_key: str | None = field(default=None, repr=False)
    event: str | None = None
    who: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    about_patients: bool = False


@dataclass(frozen=True, slots=True)
class Break:
    """
    Where a log does not hold: its place (the number of a row or of a checkpoint) and how.

    Rows are "altered", "unlinked", "missing" (rows before this one are gone), "truncated" (rows after it are) or
    "unreadable" (a line of an export). For checkpoints see ``checkpoints``.
    """

    sequence: int
    kind: str
    of: Literal["audit", "checkpoint"] = "audit"


@dataclass(frozen=True, slots=True)
class Verified:
    """How many rows were read, and every break found. ``head`` is the hash of the last row, for checkpoints."""

    rows: int
    head: bytes
    breaks: tuple[Break, ...]


class Links:
    """Follows the rows of a log: each must be the next, and name the hash of the one before it."""

    def __init__(self, sequence: int = 0, head: bytes = START) -> None:
        self.sequence, self.head = sequence, head

    def follow(self, sequence: int, previous: bytes, hashed: bytes) -> Break | None:
        """Take the next row; what is wrong with its place."""
        wrong = "missing" if sequence != self.sequence + 1 else "unlinked" if previous != self.head else ""
        self.sequence, self.head = sequence, hashed
        return Break(sequence, wrong) if wrong else None


def append(tx: Transaction, entries: Sequence[Entry], *, now: datetime) -> None:
    """Add entries to the end of the chain."""
    if not entries:
        return
    last = tx.one("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")
    sequence, previous = last or (0, START)
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
            entry.unit or tx.unit,
        )
        hashed = tx.keys.chain(previous, _canonical(row))
        tx.run(_INSERT, **dict(zip(_COLUMNS, (*row, previous, hashed), strict=True)))
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
    return [written(tx, row) for row in rows]


def length(tx: Transaction) -> int:
    """The number of the last row; 0 in an empty log."""
    row = tx.one("SELECT max(sequence) FROM audit")
    return (row and row[0]) or 0


def find(tx: Transaction, query: Query, *, last: int) -> Iterator[Written]:
    """The entries that a query asks for up to the row ``last``, in order, one by one."""
    return (written(tx, row) for row in rows(tx, query, last=last))


def rows(
    tx: Transaction, query: Query = Query(), *, after: int = 0, last: int | None = None, limit: int = -1
) -> Iterator[Row]:
    """Rows as they are stored, ``after`` one and up to the ``last``, in order, one by one, for ``line`` and ``written``."""
    asked: dict[str, object] = {"after": after, "last": length(tx) if last is None else last, "limit": limit}
    conditions = ["sequence > :after AND sequence <= :last"]
    for name in ("patient_key", "who", "outcome"):
        if (value := getattr(query, name)) is not None:
            conditions.append(f"{name} = :{name}")
            asked[name] = value
    if query.about_patients:
        conditions.append("patient_key IS NOT NULL")
    if query.event is not None:
        conditions.append("(event = :event OR substr(event, 1, length(:event) + 1) = :event || '.')")
        asked["event"] = query.event
    for name, at, sign in (("since", query.since, ">="), ("until", query.until, "<=")):
        if at is not None:
            conditions.append(f"at {sign} :{name}")
            asked[name] = micros(at)
    return tx.each(f"{_ROWS} WHERE {' AND '.join(conditions)} ORDER BY sequence LIMIT :limit", **asked)


def verify_chain(tx: Transaction, seen: Callable[[Row], object] = lambda _: None) -> Verified:
    """Read the whole chain and name every row where it does not hold. ``seen`` is given each row."""
    breaks: list[Break] = []
    count, links = 0, Links()
    for stored in tx.each(f"SELECT {_BYTES} FROM audit ORDER BY sequence"):  # noqa: S608  our own column names
        row = _decoded(stored)
        count += 1
        sequence, linked, hashed = row[0], row[10], row[11]
        if (broken := links.follow(sequence, linked, hashed)) is not None:
            breaks.append(broken)
        if hashed != tx.keys.chain(linked, _canonical(row[:10])):
            breaks.append(Break(sequence, "altered"))
        seen(row)
    return Verified(count, links.head, tuple(breaks))


def line(row: Row) -> bytes:
    """
    A row as it is exported, and as checkpoints sign it: one line of JSON with its line end.

    Sealed words are there as the SHA-256 of what is stored, hashes in hexadecimal, the time in UTC with microseconds.
    """
    shown = dict(zip(_COLUMNS, row, strict=True))
    details = shown["details"]
    shown |= {
        "at": _shown(shown["at"]),
        "details": None if details is None else sha256(details).hexdigest(),
        "previous": shown["previous"].hex(),
        "hash": shown["hash"].hex(),
    }
    return json.dumps(shown, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogateescape") + b"\n"


def written(tx: Transaction, row: Row) -> Written:
    """A stored row as an entry, its sealed words opened."""
    sequence, at, event, who, what, patient_key, outcome, reason, details, unit = row[:10]
    opened = None if details is None else tx.keys.open(details, "audit", sequence)
    return Written(sequence, instant(at), Entry(event, who, what, outcome, reason, patient_key, opened, unit))


def _decoded(row: Row) -> Row:
    """A row whose texts were read as bytes: damaged text, too, can be told from what was written."""
    return tuple(
        value.decode(errors="surrogateescape") if name in _TEXTS and value is not None else value
        for name, value in zip(_COLUMNS, row, strict=True)
    )


def _shown(at: int) -> str:
    """A stored time in UTC; a number that is none any more as it is."""
    try:
        return instant(at).isoformat(timespec="microseconds")
    except OverflowError:
        return str(at)


def _canonical(row: Row) -> bytes:
    """A row from its sequence to its unit. Without a unit it is written as it was before there were units."""
    *values, unit = row
    stored = values if unit is None else [*values, unit]
    return json.dumps(
        [value.hex() if isinstance(value, bytes) else value for value in stored], separators=(",", ":")
    ).encode()
