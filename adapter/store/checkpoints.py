"""
Signed statements about the audit log: how far it had come at a time, and what stood in it.

The chain of ``audit`` needs a secret key to be checked, and whoever has that key can write another chain. A checkpoint
is signed with a key that is used for nothing else (Ed25519, RFC 8032) and names the hash of the log's last row, the
SHA-256 of the lines (``audit.line``) since the checkpoint before, and the digest of that checkpoint. Kept elsewhere, it
shows what was cut off, and with the public key alone anybody can check an exported log against it.

A checkpoint that does not hold is "forged" (its signature), of an "unknown-key", "unlinked" (not the one after the one
before), "lost" (kept elsewhere, and no longer in the log), "replaced" (another one elsewhere), "unreadable" (a line of
a file), or the log is another one than it says: another "head", other "content".
"""

from __future__ import annotations

import fcntl
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from adapter.errors import Fault, StoreFault
from adapter.store import audit
from adapter.store.audit import START, Break, Links
from adapter.store.database import Row, Transaction
from adapter.store.instants import instant, micros

MOST: Final = 10_000
"""Rows that one checkpoint speaks of."""
_FORM: Final = "koord audit checkpoint 1"
_ROWS: Final = "SELECT number, at, first, rows, head, content, previous, key_id, signature FROM audit_checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """
    At ``at`` the log had ``rows`` rows, the last with the hash ``head``; ``content`` is the SHA-256 of the lines of the
    rows from ``first`` on; ``previous`` the digest of the checkpoint before (zeros for the first).
    """

    number: int
    at: datetime
    first: int
    rows: int
    head: bytes
    content: bytes
    previous: bytes
    key_id: str
    signature: bytes = b""

    def statement(self) -> bytes:
        """What is signed: JSON of one form only."""
        return json.dumps(self._said(), separators=(",", ":")).encode()

    def line(self) -> bytes:
        """The checkpoint as it is kept elsewhere: what is signed and the signature, one line of JSON with its line end."""
        signed = self._said() | {"signature": b64encode(self.signature).decode()}
        return json.dumps(signed, separators=(",", ":")).encode() + b"\n"

    def digest(self) -> bytes:
        return sha256(self.statement()).digest()

    def _said(self) -> dict[str, object]:
        return {
            "checkpoint": _FORM,
            "number": self.number,
            "at": self.at.isoformat(timespec="microseconds"),
            "first": self.first,
            "rows": self.rows,
            "head": self.head.hex(),
            "content": self.content.hex(),
            "previous": self.previous.hex(),
            "key": self.key_id,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """
    What a log was found to be: how many rows were read and how many of them checkpoints vouch for, how many checkpoints
    there were, the hash of the last row, and every break.
    """

    rows: int
    proved: int
    checkpoints: int
    head: bytes
    breaks: tuple[Break, ...]


def key_id(key: Ed25519PublicKey) -> str:
    """The name of a key: the first 16 hexadecimal digits of the SHA-256 of its 32 bytes."""
    return sha256(key.public_bytes_raw()).hexdigest()[:16]


def make(tx: Transaction, key: Ed25519PrivateKey, *, now: datetime) -> Checkpoint | None:
    """The next checkpoint, over at most ``MOST`` rows, stored; None if no row is new."""
    last = newest(tx)
    after = last.rows if last else 0
    content, links = sha256(), Links(after)
    for row in audit.rows(tx, after=after, limit=MOST):
        content.update(audit.line(row))
        links.follow(row[0], row[10], row[11])
    if links.sequence == after:
        return None
    unsigned = Checkpoint(
        number=last.number + 1 if last else 1,
        at=instant(micros(now)),
        first=after + 1,
        rows=links.sequence,
        head=links.head,
        content=content.digest(),
        previous=last.digest() if last else START,
        key_id=key_id(key.public_key()),
    )
    return _stored(tx, unsigned, key.sign(unsigned.statement()))


def waiting(tx: Transaction) -> tuple[int, datetime | None]:
    """How many rows no checkpoint speaks of, and since when the oldest of them waits."""
    last = newest(tx)
    after = last.rows if last else 0
    oldest = tx.one("SELECT at FROM audit WHERE sequence > :after ORDER BY sequence LIMIT 1", after=after)
    return max(0, audit.length(tx) - after), instant(oldest[0]) if oldest else None


def newest(tx: Transaction) -> Checkpoint | None:
    row = tx.one(_ROWS + " ORDER BY number DESC LIMIT 1")
    return _from_row(row) if row else None


def after(tx: Transaction, number: int) -> list[Checkpoint]:
    """The checkpoints that came after one."""
    return [_from_row(row) for row in tx.all(_ROWS + " WHERE number > :number ORDER BY number", number=number)]


def keep(path: Path, later_than: Callable[[int], Sequence[Checkpoint]]) -> None:
    """
    Append to a file, line by line, the checkpoints that it does not have yet. Several processes may share the file.

    ``later_than`` gives the checkpoints after a number.

    Raises:
        StoreFault: ``store.unreadable``: the file cannot be read or written.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            lines = file.read().splitlines(keepends=True)
            whole = not lines or lines[-1].endswith(b"\n")
            known = max((found.number for found in map(from_line, lines) if found), default=0)
            file.write((b"" if whole else b"\n") + b"".join(each.line() for each in later_than(known)))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreFault(Fault("store.unreadable", why=type(error).__name__)) from error


def kept(path: Path) -> tuple[list[Checkpoint], list[Break]]:
    """
    The checkpoints in a file, and its lines that hold none: "unreadable". A line that was torn and written again is passed over.

    Raises:
        StoreFault: ``store.unreadable``.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise StoreFault(Fault("store.unreadable", why=type(error).__name__)) from error
    found = [from_line(line) for line in lines]
    bad = [
        Break(number, "unreadable", "checkpoint")
        for number, (line, after) in enumerate(zip(lines, [*lines[1:], b""], strict=False), 1)
        if found[number - 1] is None and not (line and after.startswith(line))
    ]
    return [each for each in found if each is not None], bad


def from_line(line: bytes) -> Checkpoint | None:
    """The checkpoint in a line; None if there is none, or not in the form that ``Checkpoint.line`` writes."""
    try:
        said = json.loads(line)
        found = Checkpoint(
            number=_whole(said["number"]),
            at=datetime.fromisoformat(said["at"]),
            first=_whole(said["first"]),
            rows=_whole(said["rows"]),
            head=bytes.fromhex(said["head"]),
            content=bytes.fromhex(said["content"]),
            previous=bytes.fromhex(said["previous"]),
            key_id=str(said["key"]),
            signature=b64decode(said["signature"], validate=True),
        )
        return found if found.line() == line.rstrip(b"\r\n") + b"\n" else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def verify(tx: Transaction, keys: Mapping[str, Ed25519PublicKey], *, elsewhere: Iterable[Checkpoint] = ()) -> Found:
    """The whole log of a store against its chain, its checkpoints, and those that were kept elsewhere."""
    reading, stored = _Reading(keys, elsewhere), after(tx, 0)
    waiting = iter(stored)
    due = next(waiting, None)

    def seen(row: Row) -> None:
        nonlocal due
        reading.row(row[0], row[11], audit.line(row))
        while due is not None and due.rows <= row[0]:
            reading.checkpoint(due)
            due = next(waiting, None)

    verified = audit.verify_chain(tx, seen)
    while due is not None:
        reading.checkpoint(due)
        due = next(waiting, None)
    breaks = (*verified.breaks, *reading.end())
    return Found(verified.rows, reading.proved, reading.count, verified.head, breaks)


def verify_export(
    lines: Iterable[bytes],
    keys: Mapping[str, Ed25519PublicKey],
    *,
    elsewhere: Iterable[Checkpoint] = (),
    part: bool = False,
) -> Found:
    """
    An exported log against the checkpoints in it, and those that were kept elsewhere. No secret is needed.

    Checkpoints vouch for what rows say; rows that none vouches for only have their place. ``part``: an export of a period,
    in which rows before and after are not missed.
    """
    reading = _Reading(keys, elsewhere, part=part)
    links: Links | None = None if part else Links()
    breaks: list[Break] = []
    count = 0
    for number, line in enumerate(lines, 1):
        if (found := from_line(line)) is not None:
            reading.checkpoint(found)
        elif (place := _place(line)) is None:
            breaks.append(Break(number, "unreadable"))
        else:
            count += 1
            links = links or Links(place[0] - 1, place[1])
            if (broken := links.follow(*place)) is not None:
                breaks.append(broken)
            reading.row(place[0], place[2], line)
    head = links.head if links else START
    return Found(count, reading.proved, reading.count, head, (*breaks, *reading.end()))


class _Reading:
    """One reading of a log, rows and checkpoints in their order."""

    def __init__(
        self, keys: Mapping[str, Ed25519PublicKey], elsewhere: Iterable[Checkpoint], *, part: bool = False
    ) -> None:
        self.proved = self.count = 0
        self._keys, self._part = keys, part
        self._breaks: list[Break] = []
        self._last: Checkpoint | None = None
        self._first = self._sequence = 0
        self._head, self._content = START, sha256()
        self._kept: dict[int, Checkpoint] = {}
        self._heads: dict[int, Checkpoint] = {}
        for each in elsewhere:
            if self._kept.setdefault(each.number, each) != each:
                self._break(each, "replaced")
            self._heads[each.rows] = each
            self._check_signature(each)

    def row(self, sequence: int, hashed: bytes, line: bytes) -> None:
        self._first = self._first or sequence
        self._sequence, self._head = sequence, hashed
        self._content.update(line)
        if sequence in self._heads and self._heads[sequence].head != hashed:
            self._break(self._heads[sequence], "head")

    def checkpoint(self, found: Checkpoint) -> None:
        """The checkpoint that stands after the rows so far. The first one of a part may speak of rows before it, too."""
        before = len(self._breaks)
        begins = self._part and self._last is None
        whole = found.first == self._first
        self._check_signature(found)
        if self._kept.pop(found.number, found) != found:
            self._break(found, "replaced")
        if not begins and not self._follows(found):
            self._break(found, "unlinked")
        if (found.rows, found.head) != (self._sequence, self._head):
            self._break(found, "head")
        if found.content != self._content.digest() and (whole or not begins):
            self._break(found, "content")
        if whole and len(self._breaks) == before:
            self.proved += found.rows - found.first + 1
        self.count += 1
        self._last, self._first, self._content = found, 0, sha256()

    def end(self) -> list[Break]:
        """Every break; of a whole log also what it lacks of what was kept elsewhere."""
        if not self._part:
            for each in self._kept.values():
                self._break(each, "lost")
            ends = [each.rows for each in self._heads.values()] + ([self._last.rows] if self._last else [])
            if max(ends, default=0) > self._sequence:
                self._breaks.append(Break(self._sequence, "truncated"))
        return list(dict.fromkeys(self._breaks))

    def _follows(self, found: Checkpoint) -> bool:
        last = self._last
        expected = (last.number + 1, last.digest(), last.rows + 1) if last else (1, START, 1)
        return (found.number, found.previous, found.first) == expected

    def _check_signature(self, found: Checkpoint) -> None:
        key = self._keys.get(found.key_id)
        if key is None:
            self._break(found, "unknown-key")
            return
        try:
            key.verify(found.signature, found.statement())
        except InvalidSignature:
            self._break(found, "forged")

    def _break(self, of: Checkpoint, kind: str) -> None:
        self._breaks.append(Break(of.number, kind, "checkpoint"))


def _place(line: bytes) -> tuple[int, bytes, bytes] | None:
    """Number, previous hash and hash of the row in a line; None if there is none."""
    try:
        said = json.loads(line)
        return _whole(said["sequence"]), bytes.fromhex(said["previous"]), bytes.fromhex(said["hash"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _whole(number: object) -> int:
    if type(number) is not int:
        raise TypeError("not a whole number")
    return number


def _stored(tx: Transaction, unsigned: Checkpoint, signature: bytes) -> Checkpoint:
    signed = replace(unsigned, signature=signature)
    tx.run(
        """
        INSERT INTO audit_checkpoint (number, at, first, rows, head, content, previous, key_id, signature)
        VALUES (:number, :at, :first, :rows, :head, :content, :previous, :key_id, :signature)
        """,
        **{each.name: getattr(signed, each.name) for each in fields(signed)} | {"at": micros(signed.at)},
    )
    return signed


def _from_row(row: Row) -> Checkpoint:
    number, at, *rest = row
    return Checkpoint(number, instant(at), *rest)
