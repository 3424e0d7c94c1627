"""Points in time at the precision that was known, in Swedish time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import strategies
from hypothesis import given

from adapter.dates import STOCKHOLM, Moment, written


@given(strategies.moments())
def test_a_moment_keeps_its_text_and_begins_before_it_ends(moment):
    assert Moment(str(moment)) == moment
    assert moment.earliest <= moment.latest


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_swedish_day_has_the_hours_that_the_clocks_give_it(day, hours):
    moment = Moment(day)
    assert moment.latest - moment.earliest + timedelta(microseconds=1) == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("2024-02", "2024-02-29T23:59:59.999999+01:00"),
        ("2025-02", "2025-02-28T23:59:59.999999+01:00"),
        ("2026", "2026-12-31T23:59:59.999999+01:00"),
    ],
)
def test_a_partial_date_ends_with_its_last_instant(text, last):
    assert Moment(text).latest == datetime.fromisoformat(last)


@pytest.mark.parametrize(
    "text", ["9999", "9999-12", "9999-12-31", "9999-12-31T23:59:59-14:00", "0001", "0001-01-01T00:00:00+14:00"]
)
def test_the_ends_of_the_calendar_are_as_near_as_utc_can_hold(text):
    moment = Moment(text)
    begins, ends = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert begins <= moment.earliest <= moment.latest <= ends
    assert (moment.latest == ends) if text.startswith("9999") else (moment.earliest == begins)


def test_a_time_to_the_second_lasts_a_second_and_a_finer_one_is_a_point():
    assert Moment("2026-01-01T12:00:00Z").latest == datetime(2026, 1, 1, 12, 0, 0, 999999, tzinfo=UTC)
    assert Moment("2026-01-01T12:00:00.5Z").latest == Moment("2026-01-01T12:00:00.5Z").earliest


@pytest.mark.parametrize(
    "text",
    ["", "26-01-01", "2026-13", "2026-02-30", "2025-02-29", "2026-1-1", "2026-01-01T12:00Z", "2026-01-01T12:00:00", "2026-01-01T24:00:00Z",
     "2026-01-01T12:00:60Z", "0000", "2026-01T12:00:00Z", "2026-01-01T12:00:00.1234567Z", "２026", "2026-01-01\n"],
)  # fmt: skip
def test_what_is_no_moment(text):
    with pytest.raises(ValueError, match="not a year|calendar|0000"):
        Moment(text)


@given(strategies.times())
def test_written_times_are_the_same_instant_in_swedish_time(moment):
    out = written(moment.earliest)
    assert out.earliest == moment.earliest
    assert datetime.fromisoformat(out).utcoffset() == moment.earliest.astimezone(STOCKHOLM).utcoffset()
