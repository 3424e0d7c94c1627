from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.store.schedule import TIME_TO_LIVE, Breaker, next_try, wait_before

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Always(Random):
    """A generator that always draws the same."""

    def __init__(self, drawn: float) -> None:
        super().__init__()
        self.drawn = drawn

    def random(self) -> float:
        return self.drawn


@pytest.mark.parametrize(
    ("tries", "urgent", "seconds"),
    [
        (1, False, 2),
        (2, False, 4),
        (3, False, 8),
        (9, False, 512),
        (10, False, 900),
        (1000, False, 900),
        (8, True, 256),
        (9, True, 300),
    ],
)
def test_the_longest_wait_doubles_up_to_its_cap(tries, urgent, seconds):
    assert wait_before(tries, Always(1.0), urgent=urgent) == seconds * SECOND
    assert wait_before(tries, Always(0.5), urgent=urgent) == seconds * SECOND / 2
    assert wait_before(tries, Always(0.0), urgent=urgent) == timedelta()


@given(tries=st.integers(1, 10_000), seed=st.integers(), urgent=st.booleans())
def test_the_wait_is_never_negative_nor_longer_than_the_cap(tries, seed, urgent):
    assert timedelta() <= wait_before(tries, Random(seed), urgent=urgent) <= timedelta(minutes=5 if urgent else 15)


def test_a_message_waits_as_an_ordinary_one_unless_it_is_said_to_be_urgent():
    assert wait_before(100, Always(1.0)) == timedelta(minutes=15)


def test_there_is_no_wait_before_the_first_attempt():
    with pytest.raises(ValueError, match="no attempt"):
        wait_before(0, Random())


@given(
    tries=st.integers(1, 50),
    age=st.timedeltas(timedelta(), timedelta(hours=100)),
    seed=st.integers(),
    retry_after=st.none() | st.timedeltas(timedelta(), timedelta(days=400)),
)
def test_an_ordinary_message_is_tried_until_its_time_to_live_ends_and_not_after(tries, age, seed, retry_after):
    due = next_try(tries, queued_at=NOW - age, now=NOW, rng=Random(seed), retry_after=retry_after)
    if age >= TIME_TO_LIVE:
        assert due is None
    else:
        assert NOW <= due <= NOW - age + TIME_TO_LIVE


@given(
    tries=st.integers(1, 5000),
    age=st.timedeltas(timedelta(), timedelta(days=90)),
    retry_after=st.none() | st.timedeltas(timedelta(), timedelta(days=2)),
)
def test_a_withdrawal_never_gives_up_and_never_waits_longer_than_five_minutes(tries, age, retry_after):
    due = next_try(tries, queued_at=NOW - age, now=NOW, rng=Random(1), urgent=True, retry_after=retry_after)
    assert NOW <= due <= NOW + timedelta(minutes=5)


def test_what_the_peer_asks_for_is_waited_but_never_less_than_our_own_wait():
    asked = next_try(1, queued_at=NOW, now=NOW, rng=Always(1.0), retry_after=timedelta(hours=1))
    assert asked == NOW + timedelta(hours=1)
    assert next_try(3, queued_at=NOW, now=NOW, rng=Always(1.0), retry_after=SECOND) == NOW + 8 * SECOND


def after(outcomes: str, breaker: Breaker | None = None, now: datetime = NOW) -> Breaker:
    breaker = breaker or Breaker()
    for outcome in outcomes:
        breaker = breaker.after(ok=outcome == "+", now=now)
    return breaker


@pytest.mark.parametrize(
    ("outcomes", "opens"),
    [
        ("----", False),
        ("-----", True),
        ("----+----", False),
        ("--+" * 6 + "--", True),  # 14 of 20
        ("-+" * 10, False),  # 10 of 20: half is not more than half
        ("-+" * 9 + "--", True),  # 11 of 20
        ("--+" * 6, False),  # 12 of 18: not yet 20
        ("--+" * 4 + "+" * 20 + "----", False),  # what is older than 20 is forgotten
    ],
)
def test_it_opens_after_five_failures_in_a_row_or_more_than_half_of_twenty(outcomes, opens):
    assert (after(outcomes).open_until is not None) == opens


def test_while_it_is_open_nothing_counts():
    opened = after("-----")
    assert opened.open_until == NOW + 15 * SECOND
    assert after("-+-+++----", opened, NOW + 14 * SECOND) == opened


def test_one_success_half_open_closes_it_and_forgets():
    opened = after("-----")
    assert after("+", opened, opened.open_until) == Breaker()


def test_a_failed_probe_opens_it_again_for_twice_as_long_up_to_five_minutes():
    breaker, breaks = after("-----"), []
    for _ in range(8):
        now = breaker.open_until
        breaker = after("-", breaker, now)
        breaks.append((breaker.open_until - now).total_seconds())
    assert breaks == [30, 60, 120, 240, 300, 300, 300, 300]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=60))
def test_it_never_stays_open_longer_than_five_minutes(steps):
    breaker, now = Breaker(), NOW
    for ok, seconds in steps:
        now += seconds * SECOND
        breaker = breaker.after(ok=ok, now=now)
        assert breaker.open_until is None or breaker.open_until <= now + timedelta(minutes=5)
        assert len(breaker.recent) <= 20
