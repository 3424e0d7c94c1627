"""Spärr: what is covered, whom it stops and what a lift opens, to the last instant; what is not known counts as blocked."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from consent_worlds import (
    NUMBERS,
    OTHER_PROVIDER,
    OTHER_UNIT,
    PROVIDER,
    UNIT,
    block,
    consent,
    decided,
    good_consents,
    intervention,
    plan,
    recipient,
    record_for,
)
from hypothesis import example, given
from hypothesis import strategies as st

from adapter import domain as d
from adapter.consent import disclosure
from adapter.consent.decide import Reason
from adapter.dates import STOCKHOLM, Moment
from adapter.sweden import HsaId

MOMENT = timedelta(microseconds=1)
THIRD_UNIT = d.Unit(hsa_id=HsaId("TSTNMT2321000016-105P"))
UNITS = [UNIT, OTHER_UNIT, THIRD_UNIT]
CARE = [
    recipient("vard", organisation_number=number, hsa_id=hsa_id, provider_hsa_id=provider)
    for number, hsa_id, provider in (
        (NUMBERS[0], None, None),
        (NUMBERS[0], UNIT.hsa_id, None),
        (None, UNIT.hsa_id, PROVIDER.hsa_id),
        (None, OTHER_UNIT.hsa_id, PROVIDER.hsa_id),
        (None, OTHER_UNIT.hsa_id, OTHER_PROVIDER.hsa_id),
    )
]
ALL = [*CARE, *(recipient(kind) for kind in disclosure.TYPES if kind not in {"vard", "patient"})]

days = st.dates(date(2024, 1, 1), date(2027, 12, 31))
swedish_days = days | st.sampled_from([date(2024, 2, 29), date(2026, 3, 29), date(2026, 10, 25), date(2026, 12, 31)])
blocks = st.builds(
    lambda kind, unit, provider, lifted: block(
        kind, unit=unit, provider=provider, lifts=tuple(d.Lift(unit=each, period=ALWAYS) for each in lifted)
    ),
    st.sampled_from(d.BlockKind),
    st.sampled_from([*UNITS, None]),
    st.sampled_from([PROVIDER, OTHER_PROVIDER]),
    st.lists(st.sampled_from(UNITS), max_size=1),
)
ALWAYS = d.Period(start=Moment("2026"))


def instant(day, *, after=0):
    """The first instant of a Swedish day, or of one so many days after it."""
    return datetime.combine(day + timedelta(days=after), datetime.min.time(), STOCKHOLM).astimezone(UTC)


def opens(to, block, record=None, now=datetime(2026, 6, 1, tzinfo=UTC)):
    found = decided(to, good_consents(to), [block], record, now)
    assert found.permitted or found.reason in {Reason.BLOCKED_INNER, Reason.BLOCKED_OUTER}
    return found.permitted


def between(first, last):
    return d.Period(start=Moment(first.isoformat()), end=Moment(last.isoformat()))


# what is not known


@given(to=st.sampled_from(ALL), blocked=blocks)
def test_a_record_that_names_no_unit_is_blocked_by_every_inner_block_that_could_be_about_it(to, blocked):
    lost = record_for(to).model_copy(update={"unit": None})
    if blocked.provider == PROVIDER and opens(to, blocked, lost):
        assert all(opens(to, blocked, record_for(to, unit=unit)) for unit in UNITS)


@pytest.mark.parametrize("to", ALL, ids=lambda to: f"{to.type} {to.hsa_id}")
def test_an_inner_block_of_any_unit_stops_a_record_without_one_and_not_that_of_another_provider(to):
    lost = record_for(to).model_copy(update={"unit": None})
    stopped = decided(to, good_consents(to), [block(unit=THIRD_UNIT)], lost)
    assert stopped.reason is Reason.BLOCKED_INNER
    assert opens(to, block(unit=THIRD_UNIT, provider=OTHER_PROVIDER), lost)
    assert opens(to, block(unit=THIRD_UNIT), record_for(to))


@given(to=st.sampled_from(ALL), blocked=blocks, unit=st.sampled_from(UNITS))
def test_a_block_that_names_no_unit_lets_no_more_through_than_one_that_does(to, blocked, unit):
    record = record_for(to, unit=unit)
    named = blocked.model_copy(update={"unit": unit})
    if opens(to, blocked.model_copy(update={"unit": None}), record):
        assert blocked.provider != PROVIDER or opens(to, named, record)


@given(blocked=blocks, unit=st.sampled_from(UNITS), provider=st.sampled_from([PROVIDER.hsa_id, OTHER_PROVIDER.hsa_id]))
def test_a_care_recipient_known_by_less_gets_no_more(blocked, unit, provider):
    known = recipient("vard", hsa_id=unit.hsa_id, provider_hsa_id=provider)
    for less in ({"hsa_id": None}, {"provider_hsa_id": None}, {"hsa_id": None, "provider_hsa_id": None}):
        if opens(recipient("vard", **({"hsa_id": unit.hsa_id, "provider_hsa_id": provider} | less)), blocked):
            assert opens(known, blocked)


# whom it stops


@given(to=st.sampled_from(ALL), kind=st.sampled_from(d.BlockKind), unit=st.sampled_from(UNITS))
def test_only_the_unit_or_its_provider_is_inside(to, kind, unit):
    place = unit.hsa_id if kind == "inner" else PROVIDER.hsa_id
    inside = to.type == "vard" and place == (to.hsa_id if kind == "inner" else to.provider_hsa_id)
    assert opens(to, block(kind, unit=unit), record_for(to, unit=unit)) == inside


@given(to=st.sampled_from(ALL), kind=st.sampled_from(d.BlockKind))
def test_what_another_unit_or_provider_wrote_is_not_covered(to, kind):
    other = {"unit": OTHER_UNIT} if kind == "inner" else {"provider": OTHER_PROVIDER}
    assert opens(to, block(kind, **other))


# lifts


@given(kind=st.sampled_from(d.BlockKind), first=swedish_days, length=st.integers(0, 3))
@example(kind=d.BlockKind.INNER, first=date(2026, 3, 28), length=1)
@example(kind=d.BlockKind.OUTER, first=date(2026, 10, 25), length=0)
def test_a_lift_opens_from_the_first_instant_of_its_first_day_through_the_last_of_its_last(kind, first, length):
    last = first + timedelta(days=length)
    lifted = block(kind, set_on="2020", lifts=(d.Lift(unit=OTHER_UNIT, period=between(first, last)),))
    begins, ends = instant(first), instant(last, after=1)
    times = [begins - MOMENT, begins, ends - MOMENT, ends]
    given_long_ago = [consent(given_on=Moment("2020"), informed_on=Moment("2020"))]
    found = [decided(CARE[-1], given_long_ago, [lifted], now=now) for now in times]
    assert [each.permitted for each in found] == [False, True, True, False]


@given(to=st.sampled_from(ALL), kind=st.sampled_from(d.BlockKind), lifted=st.sampled_from(UNITS))
def test_a_lift_is_for_its_unit_in_care_alone(to, kind, lifted):
    closed = block(kind)
    opened = block(kind, lifts=(d.Lift(unit=lifted, period=ALWAYS),))
    its_own = to.type == "vard" and to.hsa_id == lifted.hsa_id
    assert opens(to, opened) == (opens(to, closed) or its_own)


# the information that is covered


@given(
    written=swedish_days, planned=st.tuples(swedish_days, swedish_days), covered=st.tuples(swedish_days, swedish_days)
)
def test_a_block_with_a_period_covers_what_may_overlap_it_by_a_day_and_nothing_else(written, planned, covered):
    begins, ends = sorted(planned)
    first, last = sorted(covered)
    stretch = min(written, begins), max(written, ends)
    record = intervention(authored_on=Moment(written.isoformat()), planned=between(begins, ends))
    overlaps = stretch[0] <= last and first <= stretch[1]
    assert opens(CARE[0], block(information_period=between(first, last)), record) != overlaps


@given(written=swedish_days, covered=swedish_days, precision=st.sampled_from([4, 7]))
def test_a_date_known_to_the_month_or_year_is_covered_if_any_of_its_days_is(written, covered, precision):
    rough, day = written.isoformat()[:precision], covered.isoformat()
    record = plan(created_on=Moment(rough))
    blocked = block(information_period=between(covered, covered))
    assert opens(CARE[0], blocked, record) != (day[:precision] == rough)
    vague = block(information_period=d.Period(start=Moment(rough), end=Moment(rough)))
    assert opens(CARE[0], vague, plan(created_on=Moment(day))) != (day[:precision] == rough)


@given(blocked=blocks, first=swedish_days, last=swedish_days, more=st.integers(0, 40), written=swedish_days)
def test_a_longer_period_and_none_at_all_let_no_more_through(blocked, first, last, more, written):
    first, last = sorted((first, last))
    record = intervention(authored_on=Moment(written.isoformat()))
    longer = between(first - timedelta(days=more), last + timedelta(days=more))
    narrow, wide, endless = (
        opens(CARE[0], blocked.model_copy(update={"information_period": period}), record)
        for period in (between(first, last), longer, None)
    )
    assert endless <= wide <= narrow
