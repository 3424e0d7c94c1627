"""The index of rules remembers what it has worked out; what it remembers never changes an answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from consent_worlds import NOWS, PATIENT, PROVIDER, PURPOSES, RECIPIENTS, Pools
from hypothesis import given
from hypothesis import strategies as st
from rule_trees import as_rule, random_question, random_rule, said

from adapter import domain as d
from adapter.consent import disclosure, policy, rulebook
from adapter.consent.decide import decide
from adapter.consent.directives import Directive, Source
from adapter.consent.explanation import explain
from adapter.consent.rulebook import Rulebook, Times, micros
from adapter.consent.rules import Dialect, Effect, Rule, Span

POOLS = Pools(3)
MOMENT = timedelta(microseconds=1)


def questions(chance, count):
    """Many questions about the same consents and blocks: who, what, when, why."""
    for _ in range(count):
        to, record = chance.choice(RECIPIENTS), chance.choice(POOLS.records)
        usual = PURPOSES.get(to.type, d.Purpose.COORDINATION)
        purpose = usual if chance.random() < 0.8 else chance.choice(list(d.Purpose))
        yield to, record, purpose, chance.choice(NOWS)


def explained(directives, snapshot, to, record, purpose, now):
    asked = policy.request(to, purpose, [PROVIDER.hsa_id])
    return explain(decide(directives, asked, policy.subject(record, snapshot), now, disclosure.load()))


@given(st.integers(0, 10**9))
def test_what_was_asked_before_never_changes_an_answer_nor_its_explanation(seed):
    """Caches leak elsewhere: the answer to another recipient, for another purpose, from before an end."""
    chance = Random(seed)
    snapshot = policy.Snapshot(
        PATIENT, 1, tuple(chance.sample(POOLS.consents, 4)), tuple(chance.sample(POOLS.blocks, chance.randint(0, 2)))
    )
    used = snapshot.directives
    for question in questions(chance, 12):
        assert explained(used, snapshot, *question) == explained(list(used), snapshot, *question)


def test_it_remembers_at_most_so_much(monkeypatch):
    monkeypatch.setattr(rulebook, "REMEMBERED", 3)
    chance = Random(1)
    snapshot = policy.Snapshot(PATIENT, 1, tuple(chance.sample(POOLS.consents, 5)), ())
    used = snapshot.directives
    for question in questions(chance, 200):
        assert explained(used, snapshot, *question) == explained(list(used), snapshot, *question)
        assert len(used.verdicts) <= 3
        assert len(used.outs) <= 3


@given(st.integers(0, 10**9), st.sampled_from(Dialect))
def test_many_directives_together_say_what_each_says_alone(seed, dialect):
    chance = Random(seed)
    trees = [random_rule(chance, 2) for _ in range(5)]
    asked = random_question(chance)
    together = said(trees, asked, dialect)
    assert together == [said([tree], asked, dialect)[0] for tree in trees]


def test_the_order_of_directives_is_the_rulebooks_own():
    chance = Random(2)
    directives = [
        Directive(Source.CONSENT, f"c{n}", 1, "", "p", as_rule(random_rule(chance, 1)), Span()) for n in range(6)
    ]
    assert list(Rulebook(directives)) == list(Rulebook(reversed(directives)))


@given(
    st.lists(st.tuples(st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)), max_size=6), st.integers(-1, 10)
)
def test_between_two_times_nothing_begins_or_ends(ends, now):
    times = Times(ends)
    for start, end in ends:
        holds = (start is None or start <= now) and (end is None or now < end)
        assert (times.between(now) in times.within(start, end)) == holds


@pytest.mark.parametrize("microsecond", range(4))
def test_a_period_ends_to_the_microsecond(microsecond):
    end = datetime(2026, 6, 1, 12, 0, 0, microsecond, tzinfo=UTC)
    times = Rulebook(
        [Directive(Source.CONSENT, "c", 1, "", "p", Rule(Effect.DENY, period=Span(None, end)), Span())]
    ).times
    assert times.between(micros(end)) == times.between(micros(end - MOMENT)) == 0
    assert times.between(micros(end + MOMENT)) == 1
