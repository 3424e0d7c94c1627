from __future__ import annotations

from datetime import datetime, timedelta, timezone
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_world import START

from adapter.store.instants import instant, maybe_instant, micros, new_id

ZONES = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours)))
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1), timezones=ZONES)  # noqa: DTZ001  bounds, the strategy adds the zone


@given(at=MOMENTS)
def test_an_instant_comes_back_to_the_microsecond(at):
    assert instant(micros(at)) == at


@given(one=MOMENTS, other=MOMENTS)
def test_instants_compare_as_their_numbers_do(one, other):
    assert (one < other) == (micros(one) < micros(other))


def test_an_instant_without_a_time_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        micros(datetime(2026, 11, 21, 12))  # noqa: DTZ001  the point of the test


def test_no_instant_stays_none():
    assert maybe_instant(None) is None
    assert maybe_instant(0) == datetime(1970, 1, 1, tzinfo=START.tzinfo)


def test_a_new_id_is_a_version_7_uuid_that_begins_with_its_millisecond():
    made = UUID(new_id(START))
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == round(START.timestamp() * 1000)


def test_ids_made_later_sort_later_and_no_two_are_alike():
    ids = [new_id(START + timedelta(milliseconds=number // 100)) for number in range(2000)]
    assert len(set(ids)) == 2000
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)
