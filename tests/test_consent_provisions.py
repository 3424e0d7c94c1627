"""Provisions by themselves: every element into its place in a rule, and whatever is odd refused where it stands."""

from __future__ import annotations

import copy
from datetime import UTC, datetime

import pytest
from foreign_consents import ACT, CLINIC, DOES, NUMBER, OBSERVATION, PSY, SPI, TREAT, WHY

from adapter.consent.names import Names, Resolver, spoken
from adapter.consent.provisions import (
    DEEPEST,
    MOST_PROVISIONS,
    Provisions,
    Refusal,
    RefusedError,
    check_elements,
    effect,
    listed,
    moment,
    span,
)
from adapter.consent.rules import ActorPattern, DataPattern, Effect, Meaning, Rule, Span

RESOLVER = Resolver({"Observation/o1": OBSERVATION})
CODED = {"coding": [PSY, SPI], "text": "words"}
READ = {"coding": [{"system": DOES, "code": "access", "version": "1", "display": "x", "userSelected": True}]}
ROOT = {
    "id": "1",
    "extension": [{"url": "urn:x"}],
    "period": {"start": "2026-01-01", "end": "2026-12-31T10:00:00Z"},
    "actor": [{"role": {"text": "x"}, "reference": {**CLINIC, "identifier": NUMBER, "display": "Clinic"}}],
    "action": [READ],
    "securityLabel": [PSY],
    "purpose": [TREAT, {"code": "own"}],
    "code": [CODED, {"coding": [{"system": "urn:s", "code": "c"}]}],
    "dataPeriod": {"start": "2025"},
    "data": [{"meaning": "instance", "reference": {"reference": "Observation/o2"}}],
}
FULL = {
    "R4": {**ROOT, "type": "permit", "class": [PSY], "provision": [{"type": "deny", "provision": [{"type": "deny"}]}]},
    "R5": {**ROOT, "resourceType": [PSY], "documentType": [SPI], "provision": [{"provision": [{}]}]},
}
PERIOD = Span(datetime(2025, 12, 31, 23, tzinfo=UTC), datetime(2026, 12, 31, 10, 0, 0, 999999, tzinfo=UTC))


def read(form, provision):
    return Provisions(form, RESOLVER).read(provision, Effect.PERMIT)


def refused(ask, *given):
    with pytest.raises(RefusedError) as caught:
        ask(*given)
    return caught.value.refusal


# every element into its place


@pytest.mark.parametrize("form", FULL)
def test_every_element_has_its_place_in_the_rule(form):
    own = {(ACT, "PSY")} | ({(ACT, "SPI")} if form == "R5" else set())
    inner = Effect.DENY if form == "R4" else Effect.PERMIT
    assert read(form, FULL[form]) == Rule(
        Effect.PERMIT,
        period=PERIOD,
        actors=(ActorPattern("", spoken("Organization/1"), frozenset({("orgnr", "2321000016")})),),
        purposes=frozenset({(WHY, "TREAT"), ("", "own")}),
        actions=frozenset({(DOES, "access")}),
        types=frozenset(own),
        codes=frozenset({(ACT, "PSY"), (ACT, "SPI"), ("urn:s", "c")}),
        labels=frozenset({(ACT, "PSY")}),
        data=(
            DataPattern(Meaning.INSTANCE, spoken("Observation/o2")),
            DataPattern(Meaning.INSTANCE, spoken("Observation/o2")),
        ),
        data_period=Span(datetime(2024, 12, 31, 23, tzinfo=UTC), None),
        children=(Rule(Effect.DENY, children=(Rule(inner),)),),
    )


def test_what_is_not_said_is_missing_in_the_rule():
    assert read("R4", {}) == read("R5", {}) == Rule(Effect.PERMIT)


@pytest.mark.parametrize("base", Effect)
def test_the_consent_itself_is_the_root_in_r5(base):
    other = Effect.DENY if base is Effect.PERMIT else Effect.PERMIT
    rule = Provisions("R5", RESOLVER).read_all([{}, {"purpose": [TREAT]}], base, PERIOD, [CLINIC])
    assert rule == Rule(
        base,
        period=PERIOD,
        actors=(ActorPattern("", spoken("Organization/1")),),
        children=(Rule(other), Rule(other, purposes=frozenset({(WHY, "TREAT")}))),
    )
    assert Provisions("R5", RESOLVER).read_all([], base, None, []) == Rule(base)


O1 = Names(spoken("Observation/o1"))


@pytest.mark.parametrize(
    ("meaning", "reference", "patterns"),
    [
        ("instance", "Observation/o2", [("instance", "Observation/o2"), ("instance", "Observation/o2")]),
        ("dependents", "Observation/o2", [("instance", "Observation/o2"), ("dependents", "Observation/o2")]),
        ("authoredby", "Practitioner/1", [("authoredby", "Practitioner/1")]),
        ("related", "Observation/o2", [("instance", "Observation/o2"), ("related", "Observation/o2")]),
        (
            "related",
            "Observation/o1",
            [
                ("instance", "Observation/o1"),
                *(("instance", each) for each in ("Observation/o2", "Organization/9", "Patient/x")),
            ],
        ),
    ],
)
def test_data_are_selected_by_what_their_meaning_says(meaning, reference, patterns):
    rule = read("R4", {"type": "permit", "data": [{"meaning": meaning, "reference": {"reference": reference}}]})
    expected = [DataPattern(Meaning(name), spoken(text)) for name, text in patterns]
    assert sorted(rule.data, key=repr) == sorted(expected, key=repr)


def test_what_a_related_resource_refers_to_by_name_alone_is_no_data():
    related = {"resourceType": "Observation", "id": "o3", "performer": [{"identifier": {}, "display": "Kim"}]}
    reader = Provisions("R4", Resolver({"Observation/o3": related}))
    data = [{"meaning": "related", "reference": {"reference": "Observation/o3"}}]
    rule = reader.read({"type": "permit", "data": data}, Effect.PERMIT)
    assert rule.data == (DataPattern(Meaning.INSTANCE, spoken("Observation/o3")),)


# whatever is odd is refused where it stands


def places(node, path=()):
    """Every place in a provision that is looked at, outermost first: not within roles, references and extensions."""
    yield path
    if path[-1:] and path[-1] in {"role", "reference", "extension"}:
        return
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, value in inner:
        yield from places(value, (*path, step))


def at(node, path):
    for step in path:
        node = node[step]
    return node


def changed(form, path, value):
    made = copy.deepcopy(FULL[form])
    at(made, path[:-1])[path[-1]] = value
    return made


def code_at(path):
    return Refusal.UNPARSABLE_PERIOD if {"period", "dataPeriod"} & set(path) else Refusal.MALFORMED


DICTS = [
    (form, path)
    for form, made in FULL.items()
    for path in places(made)
    if isinstance(at(made, path), dict) and path[-1:] not in {("role",), ("reference",)}
    if "extension" not in path
]
LISTS = [(form, path) for form, made in FULL.items() for path in places(made) if isinstance(at(made, path), list)]


@pytest.mark.parametrize(("form", "path"), DICTS, ids=str)
def test_an_element_that_is_not_known_or_has_no_value_is_refused_wherever_it_stands(form, path):
    for more in ({"odd": 1}, {"_odd": {}}, {"id": None}, {"_language": {}}, {"modifier": []}):
        made = copy.deepcopy(FULL[form])
        at(made, path).update(more)
        assert refused(read, form, made) is code_at(path), more


@pytest.mark.parametrize(("form", "path"), [each for each in LISTS if each[1] != ("extension",)], ids=str)
def test_a_list_is_a_list_with_something_in_it_and_each_of_it_an_object(form, path):
    for odd in ([], None, {}, "x", 1, True):
        assert refused(read, form, changed(form, path, odd)) is Refusal.MALFORMED, odd
    for odd in (None, "x", 1, [], True):
        assert refused(read, form, changed(form, (*path, 0), odd)) is Refusal.MALFORMED, odd


@pytest.mark.parametrize(
    "place", [("securityLabel", 0), ("purpose", 0), ("class", 0), ("code", 0, "coding", 1)], ids=str
)
def test_a_coding_has_a_code_and_no_empty_system(place):
    for name, value in [("code", ""), ("code", 1), ("code", ["x"]), ("system", ""), ("system", 1), ("system", ["x"])]:
        assert refused(read, "R4", changed("R4", (*place, name), value)) is Refusal.MALFORMED
    for odd in ({}, {"system": "urn:s"}, {"display": "x"}, {"coding": [PSY]}, {"coding": [PSY, SPI], "code": "x"}):
        assert refused(read, "R4", changed("R4", place, odd)) is Refusal.MALFORMED


@pytest.mark.parametrize("element", ["action", "code"])
def test_words_alone_are_no_concept(element):
    for odd in ({"text": "x"}, {}, {"coding": []}, {"id": "1"}):
        assert refused(read, "R4", {"type": "permit", element: [odd]}) is Refusal.MALFORMED


@pytest.mark.parametrize("element", ["period", "dataPeriod"])
@pytest.mark.parametrize(
    "odd",
    [
        {}, [], "2026", 1, {"id": "1"}, {"start": 2026}, {"end": "soon"}, {"start": ""}, {"start": ["2026"]},
        {"start": "2026-13"}, {"_start": {"id": "1"}}, {"start": "2026-02", "end": "2026-01"}, {"start": "2026", "end": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_period_has_a_side_and_goes_forward(element, odd):
    assert refused(read, "R4", {"type": "permit", element: odd}) is Refusal.UNPARSABLE_PERIOD
    assert refused(read, "R4", {"type": "permit", element: None}) is Refusal.MALFORMED


def test_a_period_may_be_one_instant_and_have_one_side():
    at, day = "2026-01-01T10:00:00.000000Z", datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert (
        span({"start": at, "end": at, "_end": {"id": "1"}}) == read("R4", {"period": {"start": at, "end": at}}).period
    )
    assert span({"start": at, "end": at}) == Span(day, day)
    assert (span({"start": at}), span({"end": at})) == (Span(day, None), Span(None, day))
    assert span({"start": "2026-02", "end": "2026-01"}).end < span({"start": "2026-02"}).start


def test_a_consents_own_period_goes_forward_too():
    backwards = Span(PERIOD.end, PERIOD.start)
    assert refused(Provisions("R5", RESOLVER).read_all, [], Effect.PERMIT, backwards, []) is Refusal.UNPARSABLE_PERIOD


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        (None, Refusal.MALFORMED),
        ("Organization/1", Refusal.MALFORMED),
        ([CLINIC], Refusal.MALFORMED),
        ({}, Refusal.ACTOR_UNRESOLVED),
        ({"type": "Organization"}, Refusal.ACTOR_UNRESOLVED),
        ({"display": "x"}, Refusal.ACTOR_DISPLAY_ONLY),
        ({"reference": "#x"}, Refusal.ACTOR_CONTAINED),
        ({"reference": "#x", "identifier": NUMBER}, Refusal.ACTOR_CONTAINED),
        ({"reference": "no reference"}, Refusal.ACTOR_UNRESOLVED),
        ({"reference": "Organization/1", "identifier": {}}, Refusal.ACTOR_UNRESOLVED),
        ({"reference": None}, Refusal.ACTOR_UNRESOLVED),
    ],
)
def test_an_actor_is_named_so_that_it_can_be_compared(reference, code):
    assert refused(Provisions("R5", RESOLVER).read_all, [], Effect.DENY, None, [reference]) is code
    if reference is not None:
        assert refused(read, "R4", {"type": "permit", "actor": [{"reference": reference}]}) is code
    assert refused(read, "R4", {"type": "permit", "actor": [{"role": {}}]}) is Refusal.ACTOR_UNRESOLVED


@pytest.mark.parametrize(
    "reference",
    [None, "Observation/1", {}, {"display": "x"}, {"reference": "#x"}, {"reference": "x"}, {"identifier": {}}],
)
def test_data_are_named_so_that_they_can_be_compared(reference):
    data = [{"meaning": "instance", "reference": reference}] if reference is not None else [{"meaning": "instance"}]
    assert refused(read, "R4", {"type": "permit", "data": data}) is Refusal.DATA_UNRESOLVED


@pytest.mark.parametrize("meaning", ["", "all", 1, ["instance"], {}, "missing"])
def test_data_stand_in_a_known_meaning(meaning):
    data = {"meaning": meaning, "reference": {"reference": "Observation/1"}}
    if meaning == "missing":
        del data["meaning"]
    assert refused(read, "R4", {"type": "permit", "data": [data]}) is Refusal.MALFORMED


@pytest.mark.parametrize(
    ("form", "provision", "code"),
    [
        ("R4", {"expression": {}, "resourceType": []}, Refusal.EXPRESSION),
        ("R4", {"resourceType": [PSY]}, Refusal.UNKNOWN_RELEASE),
        ("R4", {"documentType": [PSY], "odd": 1}, Refusal.UNKNOWN_RELEASE),
        ("R5", {"class": [PSY]}, Refusal.UNKNOWN_RELEASE),
        ("R5", {"type": "deny"}, Refusal.UNKNOWN_RELEASE),
        ("R4", {"provision": [{"type": "deny", "provision": [{}]}]}, Refusal.AMBIGUOUS_CHILD),
        ("R4", {"provision": [{"type": "permit", "expression": {}}]}, Refusal.EXPRESSION),
        ("R4", [], Refusal.MALFORMED),
    ],
)
def test_what_is_of_the_other_release_or_needs_a_language_is_refused_at_any_depth(form, provision, code):
    assert refused(read, form, provision) is code
    assert refused(Provisions(form, RESOLVER).read_all, [provision], Effect.DENY, None, []) is code


# how much, and how deep


def nested(levels):
    made = {}
    for _ in range(levels - 1):
        made = {"provision": [made]}
    return made


def test_depth_and_number_are_counted_with_the_root_in_r4_and_with_the_consent_in_r5():
    r5 = Provisions("R5", RESOLVER)
    assert (DEEPEST, MOST_PROVISIONS) == (8, 500)
    read("R5", nested(8))
    assert refused(read, "R5", nested(9)) is Refusal.TOO_DEEP
    r5.read_all([nested(7)], Effect.DENY, None, [])
    assert refused(r5.read_all, [nested(8)], Effect.DENY, None, []) is Refusal.TOO_DEEP
    read("R5", {"provision": [{}] * 499})
    assert refused(read, "R5", {"provision": [{}] * 500}) is Refusal.TOO_MANY_PROVISIONS
    r5.read_all([{}] * 500, Effect.DENY, None, [])
    assert refused(r5.read_all, [{}] * 501, Effect.DENY, None, []) is Refusal.TOO_MANY_PROVISIONS


def test_what_holds_itself_is_measured_and_refused():
    endless = {}
    endless["provision"] = [endless]
    assert refused(read, "R5", endless) is Refusal.TOO_DEEP


# the parts that a consent is read with, too


def test_an_effect_is_permit_or_deny_and_nothing_else():
    assert (effect("permit", Refusal.AMBIGUOUS_BASE), effect("deny", Refusal.AMBIGUOUS_BASE)) == tuple(Effect)
    for odd in (None, "", "Permit", 1, ["permit"], {}):
        for code in (Refusal.AMBIGUOUS_BASE, Refusal.AMBIGUOUS_CHILD):
            assert refused(effect, odd, code) is code


def test_a_moment_is_an_interval_or_refused_with_the_code_of_what_it_is_in():
    assert moment("2026-12-31T10:00:00Z", Refusal.UNPARSABLE_DATE) == Span(
        datetime(2026, 12, 31, 10, tzinfo=UTC), datetime(2026, 12, 31, 10, 0, 0, 999999, tzinfo=UTC)
    )
    for odd in (None, "", 2026, "soon", ["2026"], "2026-02-30"):
        for code in (Refusal.UNPARSABLE_DATE, Refusal.UNPARSABLE_PERIOD):
            assert refused(moment, odd, code) is code


def test_elements_may_have_ids_extensions_and_parts_of_their_own():
    check_elements({"id": "1", "extension": [], "a": 1, "_a": {}, "_id": {}}, {"a", "b"})
    check_elements({}, {"a"})
    for odd in ({"b": 1}, {"_a": {}}, {"a": None}, {"a": 1, "__a": 1}, None, [], "a"):
        assert refused(check_elements, odd, {"a"}) is Refusal.MALFORMED, odd


def test_a_list_that_is_not_there_is_empty():
    assert listed({}, "a") == []
    assert listed({"a": [1]}, "a") == [1]
    for odd in (None, [], {}, "x", (1,)):
        assert refused(listed, {"a": odd}, "a") is Refusal.MALFORMED
