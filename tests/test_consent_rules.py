"""The parts of a rule by themselves, against what docs/consent.md says of them, over all small cases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import chain, combinations, product

import pytest

from adapter.consent.disclosure import TYPES
from adapter.consent.rules import NOBODY, ActorPattern, Answer, DataPattern, Dialect, Meaning, Party, Span, Subject

DAYS = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
NOWHERE = [day + timedelta(hours=12) for day in (DAYS[0] - timedelta(days=1), *DAYS)]
"""Between, before and after the days that spans begin and end on."""
SPANS = [Span(*ends) for ends in product([None, *DAYS], repeat=2) if None in ends or ends[0] <= ends[1]]

REFERENCES = ["Organization/1", "Organization/2", "urn:uuid:1", "urn:uuid:2"]
IDENTIFIERS = [("orgnr", "1"), ("orgnr", "2"), ("hsaid", "1")]
NAMES = [*REFERENCES, "orgnr|1", "orgnr|2", "hsaid|1"]


def instants(span):
    """Every instant of interest that a span holds."""
    start, end = span.start or datetime.min.replace(tzinfo=UTC), span.end or datetime.max.replace(tzinfo=UTC)
    return {at for at in (*DAYS, *NOWHERE) if start <= at <= end}


def few(things, most=2):
    return [frozenset(each) for each in chain(*(combinations(things, size) for size in range(most + 1)))]


def way(name):
    """How a name names: by the numbers of a system, by URN or by address. Names of different ways cannot be compared."""
    return "urn" if name.startswith("urn:") else name.split("|")[0] if "|" in name else "address"


def comparable(these, those):
    return any(way(one) == way(other) for one, other in product(these, those))


def test_a_span_covers_another_that_holds_no_instant_beyond_it_and_meets_one_that_shares_an_instant():
    for one, other in product(SPANS, repeat=2):
        assert one.covers(other) is (instants(other) <= instants(one)), (one, other)
        assert one.meets(other) is bool(instants(other) & instants(one)), (one, other)


def test_the_span_around_some_covers_each_of_them_and_is_the_shortest_that_does():
    for some in few(SPANS)[1:]:
        around = Span.around(some)
        assert all(around.covers(each) for each in some)
        shortest = min(
            (each for each in SPANS if all(each.covers(one) for one in some)), key=lambda each: len(instants(each))
        )
        assert instants(around) == instants(shortest), some


def test_data_are_what_is_named_if_a_name_is_shared_and_not_if_names_of_a_way_differ():
    for named, thing in product(few(NAMES), few(NAMES)):
        answer = DataPattern(Meaning.INSTANCE, named).answer(frozenset({thing}))
        if named & thing:
            assert answer is Answer.YES
        else:
            assert answer is (Answer.NO if comparable(named, thing) else Answer.UNKNOWN), (named, thing)


def test_of_several_things_each_is_compared_on_its_own_and_the_nearest_answer_counts():
    """A name that cannot be compared is not made up for by another thing that can."""
    for named, one, other in product(few(NAMES), few(NAMES), few(NAMES)):
        pattern = DataPattern(Meaning.DEPENDENTS, named)
        alone = [pattern.answer(frozenset({thing})) for thing in (one, other)]
        assert pattern.answer(frozenset({one, other})) is max(alone)
    for nothing in (None, frozenset()):
        assert DataPattern(Meaning.DEPENDENTS, frozenset({"Observation/1"})).answer(nothing) is Answer.UNKNOWN


@pytest.mark.parametrize("kind", ["", "vard", "kommun"])
def test_an_actor_is_known_by_reference_group_or_number_and_by_kind_besides(kind):
    parties = product(few(REFERENCES, 1), few(REFERENCES, 1), few(IDENTIFIERS))
    for references, identifiers, (own, groups, numbers) in product(few(REFERENCES), few(IDENTIFIERS), parties):
        answer = ActorPattern(kind, references, identifiers).answer(Party("vard", own, numbers, groups))
        says = {*references, *("|".join(each) for each in identifiers)}
        has = {*own, *groups, *("|".join(each) for each in numbers)}
        if kind == "kommun":
            expected = Answer.NO
        elif not says:
            expected = Answer.YES if kind else Answer.UNKNOWN
        elif says & has:
            expected = Answer.YES
        else:
            expected = Answer.NO if comparable(says, has) else Answer.UNKNOWN
        assert answer is expected, (references, identifiers, own, groups, numbers)


def test_nobody_is_no_recipient_at_all():
    for party in (Party(), *(Party(kind) for kind in TYPES)):
        assert NOBODY.answer(party) is Answer.NO


def test_no_beats_unknown_beats_yes_where_all_must_hold():
    assert sorted(Answer) == [Answer.NO, Answer.UNKNOWN, Answer.YES]


def test_the_words_of_dialects_and_meanings_are_those_of_the_page_and_of_fhir():
    assert [each.value for each in Dialect] == ["tree", "pcf-flat"]
    assert [each.value for each in Meaning] == ["instance", "related", "dependents", "authoredby"]


def test_of_a_subject_nothing_is_known_that_is_not_said():
    subject = Subject("Task", "p")
    assert (subject.protected, subject.deceased, subject.custodian) == (False, False, "")
    assert {subject.types, subject.codes, subject.labels, subject.instances, subject.related} == {None}
    assert {subject.dependents, subject.authors, subject.dates} == {None}
