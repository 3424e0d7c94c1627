"""
What is asked of us: each request takes effect once.

A request is known by who asked and its request id. The same request again gets the stored answer and changes nothing;
the same id with another body is refused. Records, what they are to be sent as, and the audit entries commit with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from adapter.errors import Conflict, Fault
from adapter.store import audit, outbox, records
from adapter.store.database import Transaction
from adapter.store.instants import micros
from adapter.store.outbox import Send
from adapter.store.records import NewRecord, Stored

Respond = Callable[[tuple[Stored, ...], tuple[str, ...]], bytes]


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    A request. ``source``: the caller's id; ``digest``: ``Keys.fingerprint`` of its canonical body.

    ``original`` and ``loss``: what a peer sent, as it came, and what the mapping could not read; both are sealed.
    """

    source: str
    request_id: str
    digest: bytes = field(repr=False)
    origin: Literal["local", "peer"]
    original: bytes | None = field(default=None, repr=False)
    loss: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """``response`` is what to answer, now or again. When ``replayed``, ``records`` and ``messages`` are empty."""

    response: bytes = field(repr=False)
    replayed: bool
    records: tuple[Stored, ...] = ()
    messages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """What a request brought, as it was kept."""

    original: bytes | None = field(repr=False)
    loss: bytes | None = field(repr=False)
    response: bytes = field(repr=False)


def accept(  # noqa: PLR0913  named by the caller
    tx: Transaction,
    arrival: Arrival,
    *,
    records: Sequence[NewRecord],
    sends: Sequence[Send],
    entries: Sequence[audit.Entry],
    respond: Respond,
    now: datetime,
) -> Accepted:
    """
    Store the records, queue the sends, write the audit entries and the answer, all or nothing.

    ``respond`` makes the answer to store from what became of the records and the new message ids. It runs inside the
    transaction, last: what follows from the records can be written there, and nothing else may be done.

    Raises:
        Conflict: ``store.duplicate-request`` (this id came with another body), and those of ``records.put`` and
            ``outbox.enqueue``. Misconfigured: ``store.unknown-destination``.
    """
    answered = replay(tx, arrival)
    if answered is not None:
        return answered
    stored = tuple(_put(tx, arrival, record, now) for record in records)
    newest = {new.record_id: new.ref for new in stored}
    messages = tuple(outbox.enqueue(tx, send, now=now, newest=newest) for send in sends)
    audit.append(tx, entries, now=now)
    response = respond(stored, messages)
    _remember(tx, arrival, response, now)
    return Accepted(response, replayed=False, records=stored, messages=messages)


def replay(tx: Transaction, arrival: Arrival) -> Accepted | None:
    """
    The stored answer if this request has been accepted before, else None.

    Raises:
        Conflict: ``store.duplicate-request``.
    """
    row = tx.one(
        "SELECT digest, response FROM inbox WHERE source = :source AND request_id = :request_id",
        source=arrival.source,
        request_id=arrival.request_id,
    )
    if row is None:
        return None
    if row[0] != arrival.digest:
        raise Conflict(Fault("store.duplicate-request", where="X-Request-Id"))
    return Accepted(tx.keys.open(row[1], *_place("response", arrival.source, arrival.request_id)), replayed=True)


def kept(tx: Transaction, source: str, request_id: str) -> Kept | None:
    """What a request brought (``Version.source`` and ``Version.request_id`` lead here), or None if it is unknown."""
    row = tx.one(
        "SELECT original, loss, response FROM inbox WHERE source = :source AND request_id = :request_id",
        source=source,
        request_id=request_id,
    )
    if row is None:
        return None
    original, loss = (
        None if sealed is None else tx.keys.open(sealed, *_place(part, source, request_id))
        for part, sealed in (("original", row[0]), ("loss", row[1]))
    )
    return Kept(original, loss, tx.keys.open(row[2], *_place("response", source, request_id)))


def seen_once(tx: Transaction, issuer: str, jti: str, *, expires: datetime, now: datetime) -> bool:
    """
    True the first time this token is seen, False after that: it is a replay (RFC 7523 section 3).

    A token is remembered until it expires; the caller has checked that it has not.
    """
    tx.run("DELETE FROM token_seen WHERE expires <= :now", now=micros(now))
    added = tx.run(
        "INSERT INTO token_seen (token, expires) VALUES (:token, :expires) ON CONFLICT (token) DO NOTHING",
        token=tx.keys.fingerprint(f"{len(issuer)} {issuer} {jti}".encode(errors="surrogatepass")),
        expires=micros(expires),
    )
    return added == 1


def _put(tx: Transaction, arrival: Arrival, record: NewRecord, now: datetime) -> Stored:
    return records.put(tx, record, source=arrival.source, request_id=arrival.request_id, origin=arrival.origin, now=now)


def _remember(tx: Transaction, arrival: Arrival, response: bytes, now: datetime) -> None:
    sealed = {
        part: None if body is None else tx.keys.seal(body, *_place(part, arrival.source, arrival.request_id))
        for part, body in (("response", response), ("original", arrival.original), ("loss", arrival.loss))
    }
    tx.run(
        """
        INSERT INTO inbox (source, request_id, digest, received_at, response, original, loss)
        VALUES (:source, :request_id, :digest, :at, :response, :original, :loss)
        """,
        source=arrival.source,
        request_id=arrival.request_id,
        digest=arrival.digest,
        at=micros(now),
        **sealed,
    )


def _place(part: str, source: str, request_id: str) -> tuple[str, ...]:
    return "inbox", part, source, request_id
