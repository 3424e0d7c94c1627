"""
Instants as the store keeps them: whole microseconds since 1970-01-01 UTC, so that they compare and index as integers;
and ids that begin with the instant they were made.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION_AND_VARIANT = 0xF000 << 64 | 0xC000 << 48
_VERSION_7 = 0x7000 << 64 | 0x8000 << 48


def micros(at: datetime) -> int:
    """
    Microseconds since the epoch, exact.

    Raises:
        ValueError: ``at`` has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def instant(stored: int) -> datetime:
    """The aware UTC datetime that ``micros`` was given."""
    return _EPOCH + timedelta(microseconds=stored)


def maybe_instant(stored: int | None) -> datetime | None:
    return None if stored is None else instant(stored)


def new_id(at: datetime) -> str:
    """
    A new UUID, version 7 (RFC 9562 section 5.7): milliseconds, then 74 random bits.

    Ids made one after another lie beside each other in an index, which is what makes them cheap to store.
    """
    number = (micros(at) // 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return str(UUID(int=number & ~_VERSION_AND_VARIANT | _VERSION_7))
