"""When to try again: pure functions, no clock, no database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

FIRST_WAIT = timedelta(seconds=2)
LONGEST_WAIT = timedelta(minutes=15)
LONGEST_URGENT_WAIT = timedelta(minutes=5)
TIME_TO_LIVE = timedelta(hours=72)

FAILS_IN_A_ROW = 5
WINDOW = 20
FIRST_BREAK = timedelta(seconds=15)
LONGEST_BREAK = timedelta(minutes=5)

_OK, _FAILED = "+", "-"


def wait_before(tries: int, rng: Random, *, urgent: bool = False) -> timedelta:
    """
    How long to wait after ``tries`` failed attempts (from 1): full jitter, anything from nothing to 2 s · 2^(tries-1).

    At most 15 minutes; 5 for withdrawals (``urgent``).

    Raises:
        ValueError: ``tries`` is below 1.
    """
    if tries < 1:
        raise ValueError("no attempt has failed yet")
    cap = LONGEST_URGENT_WAIT if urgent else LONGEST_WAIT
    return rng.random() * min(cap, FIRST_WAIT * (1 << min(tries - 1, 16)))


def next_try(  # noqa: PLR0913  named by the caller
    tries: int,
    *,
    queued_at: datetime,
    now: datetime,
    rng: Random,
    urgent: bool = False,
    retry_after: timedelta | None = None,
) -> datetime | None:
    """
    When to try again, or None to give up: 72 hours after it was queued (or released). Withdrawals never give up.

    The peer's ``retry_after`` is honoured; but the last attempt comes when the time to live ends, and a withdrawal waits no
    longer than 5 minutes whatever the peer says.
    """
    wait = max(wait_before(tries, rng, urgent=urgent), retry_after or timedelta())
    if urgent:
        return now + min(wait, LONGEST_URGENT_WAIT)
    ends = queued_at + TIME_TO_LIVE
    return None if now >= ends else min(now + wait, ends)


@dataclass(frozen=True, slots=True)
class Breaker:
    """
    The breaker of one destination. Closed (``open_until`` None), open, or half-open (``open_until`` has passed).

    It opens after 5 failures in a row, or more than half of the last 20. While it is open nothing counts: those are
    attempts that began before. Half-open, one probe decides. It stays open 15 s, twice as long after each failed probe, at
    most 5 minutes.
    """

    fails: int = 0
    recent: str = ""
    open_until: datetime | None = None

    def after(self, *, ok: bool, now: datetime) -> Breaker:
        """The breaker after one attempt."""
        if self.open_until is not None and now < self.open_until:
            return self
        probing = self.open_until is not None
        if ok:
            return Breaker() if probing else Breaker(0, (self.recent + _OK)[-WINDOW:])
        fails = self.fails + 1
        recent = (self.recent + _FAILED)[-WINDOW:]
        sick = len(recent) == WINDOW and recent.count(_FAILED) * 2 > WINDOW
        opens = probing or fails >= FAILS_IN_A_ROW or sick
        return Breaker(fails, recent, now + _break(fails) if opens else None)


def _break(fails: int) -> timedelta:
    return min(LONGEST_BREAK, FIRST_BREAK * (1 << min(max(0, fails - FAILS_IN_A_ROW), 16)))
