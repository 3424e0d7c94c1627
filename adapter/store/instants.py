"""Instants as the store keeps them: whole microseconds since 1970-01-01 UTC, so that they compare and index as integers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(at: datetime) -> int:
    """
    Microseconds since the epoch, exact.

    Raises:
        ValueError: ``at`` has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return (at - _EPOCH) // timedelta(microseconds=1)


def instant(stored: int) -> datetime:
    """The aware UTC datetime that ``micros`` was given."""
    return _EPOCH + timedelta(microseconds=stored)


def maybe_instant(stored: int | None) -> datetime | None:
    return None if stored is None else instant(stored)
