"""
Points in time as FHIR writes them (R4 datatypes: date, dateTime, instant), at the precision that was known.

A partial date is an interval: ``2026-05`` begins with the first instant of May and ends with its last, in Swedish
local time (Europe/Stockholm; days of 23 and 25 hours included). The first and the last instants of the calendar, which UTC cannot
hold, are as near as it can: ``9999-12-31`` is a way to say "without end".
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from adapter.values import Value

STOCKHOLM = ZoneInfo("Europe/Stockholm")

_DATE = r"[0-9]{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12][0-9]|3[01]))?)?"
_TIME = r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])"
_DAY = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_LAST = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1) - _LAST
_BEGINNING, _END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Moment(Value):
    """A year, a month, a day, or a time with its offset. ``earliest`` and ``latest`` are aware, in UTC, both inclusive."""

    pattern = re.compile(f"{_DATE}|{_DAY}{_TIME}", re.ASCII)
    says = "a year, month or day, or a time with seconds and offset"

    @classmethod
    def check(cls, text: str) -> None:
        if text.startswith("0000"):
            raise ValueError("there is no year 0000")
        try:
            datetime.fromisoformat(text) if len(text) > 10 else date.fromisoformat((text + "-01-01")[:10])
        except ValueError:
            raise ValueError("no such day in the calendar") from None

    @cached_property
    def earliest(self) -> datetime:
        if len(self) > 10:
            return _in_utc(datetime.fromisoformat(self))
        return _midnight(date.fromisoformat((self + "-01-01")[:10]))

    @cached_property
    def latest(self) -> datetime:
        if len(self) > 10:
            return self.earliest if "." in self else min(self.earliest, _END - _SECOND) + _SECOND
        year, month, day = (int(part) for part in (self + "-12-31" if len(self) == 4 else self + "-99")[:10].split("-"))
        last = date(year, month, min(day, monthrange(year, month)[1]))
        return _END if last == date.max else _midnight(last + timedelta(days=1)) - _LAST

    @property
    def is_time(self) -> bool:
        return len(self) > 10

    def is_part_of(self, other: Moment) -> bool:
        """It names a finer part of the other: ``2026-05-01`` of ``2026-05``. FHIRPath cannot put the two in order."""
        return len(self) > len(other) and self.startswith(other)


def written(at: datetime) -> Moment:
    """An aware time as FHIR ``instant`` text in Swedish local time with its offset, to the second or finer."""
    return Moment(at.astimezone(STOCKHOLM).isoformat())


def day(moment: Moment) -> Moment:
    """The Swedish day of a time; what is no finer than a day is itself."""
    return Moment(moment.earliest.astimezone(STOCKHOLM).date().isoformat()) if moment.is_time else moment


def _midnight(day: date) -> datetime:
    return _in_utc(datetime.combine(day, time(), tzinfo=STOCKHOLM))


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return _BEGINNING if at.year == 1 else _END
