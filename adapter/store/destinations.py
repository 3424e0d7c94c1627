"""
Destinations: how many sends at once, what an error does to a lane, paused or not, and the breaker.

Addresses and bindings belong to the configuration; the store knows a destination by its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from adapter.store import audit, lanes
from adapter.store.database import Transaction
from adapter.store.instants import instant, maybe_instant, micros
from adapter.store.schedule import Breaker


@dataclass(frozen=True, slots=True)
class Destination:
    """
    ``max_inflight``: the most messages under way at a time. ``on_error``: whether a dead letter blocks its lane or is
    skipped.
    """

    id: str
    max_inflight: int = 8
    on_error: Literal["block", "skip"] = "block"


@dataclass(frozen=True, slots=True)
class Overview:
    """One destination's queue. ``oldest``: when the oldest queued message was accepted. ``breaker``: closed, open, half-open."""

    destination: Destination
    paused: bool
    breaker: str
    open_until: datetime | None
    queued: int
    oldest: datetime | None
    dead: int
    in_flight: int


def declare(tx: Transaction, destinations: Sequence[Destination], *, now: datetime) -> None:
    """Make the configured destinations known. What is paused or broken stays so; others are left as they are."""
    for destination in destinations:
        tx.run(
            """
            INSERT INTO destination (id, max_inflight, on_error, paused, fails, recent)
            VALUES (:id, :max_inflight, :on_error, 0, 0, '')
            ON CONFLICT (id) DO UPDATE SET max_inflight = :max_inflight, on_error = :on_error
            """,
            id=destination.id,
            max_inflight=destination.max_inflight,
            on_error=destination.on_error,
        )
        if destination.on_error == "skip":
            _unblock(tx, destination.id, micros(now))


def pause(tx: Transaction, destination: str, *, who: str, why: str, now: datetime) -> None:
    """
    Claim nothing more for it; what is under way finishes.

    Raises:
        Misconfigured: ``store.unknown-destination``.
    """
    _set_paused(tx, destination, paused=True)
    audit.append(tx, [audit.Entry("destination.paused", who, destination, details=why.encode())], now=now)


def resume(tx: Transaction, destination: str, *, who: str, why: str, now: datetime) -> None:
    """
    Claim again.

    Raises:
        Misconfigured: ``store.unknown-destination``.
    """
    _set_paused(tx, destination, paused=False)
    audit.append(tx, [audit.Entry("destination.resumed", who, destination, details=why.encode())], now=now)


def record_outcome(tx: Transaction, destination: str, *, ok: bool, now: datetime) -> None:
    """Count one attempt in the destination's breaker. ``outbox.complete`` does this; probes of other kinds may."""
    row = tx.one("SELECT fails, recent, open_until FROM destination WHERE id = :id", id=destination)
    if row is None:
        raise lanes.unknown(destination)
    before = Breaker(row[0], row[1], maybe_instant(row[2]))
    after = before.after(ok=ok, now=now)
    if after != before:
        tx.run(
            "UPDATE destination SET fails = :fails, recent = :recent, open_until = :open_until WHERE id = :id",
            id=destination,
            fails=after.fails,
            recent=after.recent,
            open_until=None if after.open_until is None else micros(after.open_until),
        )


def open_until(tx: Transaction, destination: str) -> datetime | None:
    """Until when its breaker is open, if it is, or was when it was last tried."""
    row = tx.one("SELECT open_until FROM destination WHERE id = :id", id=destination)
    return None if row is None else maybe_instant(row[0])


def overview(tx: Transaction, *, now: datetime) -> list[Overview]:
    """Every destination with the depth and age of its queue, by id."""
    at = micros(now)
    counts = {
        (destination, state): (count, first)
        for destination, state, count, first in tx.all(
            "SELECT destination, state, count(*), min(id) FROM outbox WHERE state IN ('queued', 'dead') GROUP BY destination, state"
        )
    }
    found: list[Overview] = []
    for row in tx.all(
        """
        SELECT id, max_inflight, on_error, paused, open_until,
               (SELECT count(*) FROM lane WHERE lane.destination = destination.id AND lease_until > :at)
        FROM destination ORDER BY id
        """,
        at=at,
    ):
        queued, first = counts.get((row[0], "queued"), (0, None))
        oldest = tx.one("SELECT created_at FROM outbox WHERE id = :id", id=first)
        found.append(
            Overview(
                Destination(row[0], row[1], row[2]),
                paused=bool(row[3]),
                breaker="closed" if row[4] is None else "open" if row[4] > at else "half-open",
                open_until=maybe_instant(row[4]),
                queued=queued,
                oldest=None if oldest is None else instant(oldest[0]),
                dead=counts.get((row[0], "dead"), (0, None))[0],
                in_flight=row[5],
            )
        )
    return found


def _set_paused(tx: Transaction, destination: str, *, paused: bool) -> None:
    if not tx.run("UPDATE destination SET paused = :paused WHERE id = :id", id=destination, paused=int(paused)):
        raise lanes.unknown(destination)


def _unblock(tx: Transaction, destination: str, at: int) -> None:
    for (lane,) in tx.all(
        "SELECT id FROM lane WHERE destination = :id AND head_seq IS NOT NULL AND due_at IS NULL", id=destination
    ):
        lanes.advance(tx, lane, at)
