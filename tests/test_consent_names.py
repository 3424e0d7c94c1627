"""How things are named, by itself: one spelling, and nothing read that is not there."""

from __future__ import annotations

from itertools import product

import pytest

from adapter.consent import names
from adapter.consent.names import Names, Resolver
from adapter.consent.rules import Answer
from adapter.sweden import identifier_systems

HSA = "urn:oid:1.2.752.29.4.19"
ODD = [None, 5, True, "", [], {}, ["x"]]
NUMBER = {"system": HSA, "value": "TSTNMT2321000016-A000"}


# what is understood


@pytest.mark.parametrize(
    "reference",
    [
        {"reference": "Patient/1"},
        {"reference": "#p"},
        {"identifier": NUMBER},
        {"reference": "Patient/1", "identifier": NUMBER, "display": "x"},
        {},
    ],
)
def test_a_reference_is_understood_if_every_way_to_say_it_is(reference):
    assert names.is_understood(reference) is True


@pytest.mark.parametrize(
    "reference",
    [
        *(odd for odd in ODD if odd != {}),
        *({"reference": odd} for odd in ODD if odd is not None),
        *({"identifier": odd} for odd in ODD if odd is not None),
        *({"reference": "Patient/1", "identifier": odd} for odd in ODD if odd is not None),
        *({"reference": odd, "identifier": NUMBER} for odd in ODD if odd is not None),
        {"reference": "no reference"},
        {"identifier": {"system": HSA}},
        {"identifier": {"system": 5, "value": "1"}},
    ],
)
def test_a_reference_with_a_way_that_cannot_be_read_is_not_understood(reference):
    assert names.is_understood(reference) is False


@pytest.mark.parametrize("reference", [*ODD, {"reference": "Patient/1"}, {"reference": None}, {"display": "#p"}])
def test_only_a_reference_that_begins_with_a_hash_leads_inside(reference):
    assert names.is_contained(reference) is False
    assert names.is_contained({"reference": "#p"}) is True


# what is read


def test_codes_are_read_wherever_they_can_be():
    found = [("s", "a"), ("", "b"), ("s", "c")]
    concepts = [
        {"coding": [{"system": "s", "code": "a"}, {"code": "b"}]},
        {"system": "s", "code": "c"},
        *({"system": "s", "code": odd} for odd in ODD if odd != ""),
        *({"system": odd, "code": "x"} for odd in ODD if odd != ""),
        {"system": "s"},
        {"text": "x"},
        *(odd for odd in ODD if odd != ["x"]),
    ]
    assert list(names.codings(concepts)) == found
    assert list(names.codings(concepts[0])) == found[:2]


@pytest.mark.parametrize("odd", ODD)
def test_a_resource_without_both_type_and_id_has_no_name(odd):
    assert names.own_name({"resourceType": "Patient", "id": "1"}) == "Patient/1"
    assert names.own_name({}) == ""
    if odd != "":
        assert names.own_name({"resourceType": odd, "id": "1"}) == ""
        assert names.own_name({"resourceType": "Patient", "id": odd}) == ""


def test_references_are_found_at_any_depth_by_address_or_number():
    by_address, by_number = {"reference": "Patient/1"}, {"identifier": NUMBER}
    resource = {"a": [{"b": by_address}], "c": {"d": by_number}, "identifier": [NUMBER], "reference": 5}
    assert sorted(names.references(resource), key=repr) == sorted([by_address, by_number], key=repr)


def test_numbers_of_a_resource_are_read_wherever_they_can_be():
    assert names.identifiers({"identifier": NUMBER}) == {("hsaid", NUMBER["value"])}
    assert names.identifiers({"identifier": [NUMBER, {}, "x", None]}) == {("hsaid", NUMBER["value"])}
    assert names.identifiers({}) == frozenset()


# one spelling


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("urn:UUID:0A", "urn:uuid:0a"),
        ("URN:oid:1.2", "urn:oid:1.2"),
        ("mailto:Kim@Example.org", "mailto:Kim@Example.org"),
        ("https://Example.org/Path", "https://Example.org/Path"),
    ],
)
def test_only_the_case_of_a_urn_does_not_matter_in_what_is_no_address_of_a_server(written, spoken):
    assert names.spoken(written) == names.asked(written) == {spoken}


def test_names_of_any_way_are_compared_with_their_own_alone():
    address, urn, orgnr, hsaid = (
        (Names(frozenset({one}), frozenset()), Names(frozenset({other}), frozenset()))
        if isinstance(one, str)
        else (Names(frozenset(), frozenset({one})), Names(frozenset(), frozenset({other})))
        for one, other in (
            ("Organization/1", "Organization/2"),
            ("urn:uuid:1", "urn:uuid:2"),
            (("orgnr", "1"), ("orgnr", "2")),
            (("hsaid", "1"), ("hsaid", "2")),
        )
    )
    for this, that in product((address, urn, orgnr, hsaid), repeat=2):
        for one, other in product(this, that):
            expected = Answer.YES if one is other else Answer.NO if this is that else Answer.UNKNOWN
            assert one.answer(other) is expected
    assert (address[0] | hsaid[0]).answer(address[1] | hsaid[0]) is Answer.YES


def test_two_things_together_have_the_names_of_both():
    one, other = Names(frozenset({"a/1"}), frozenset({("s", "1")})), Names(frozenset({"b/2"}), frozenset({("t", "2")}))
    assert (one | other).all == {"a/1", "b/2", "s|1", "t|2"}


@pytest.mark.parametrize(
    ("system", "value", "personal"),
    [
        ("http://electronichealth.se/identifier/personnummer", "191212121212", True),
        ("http://electronichealth.se/identifier/personnummer", "7", True),
        ("urn:oid:2.5.4.97", "191212121212", False),
        ("urn:ssn", "191212121212", True),
        ("urn:ssn", "a 121212-1212 b", True),
        ("urn:ssn", "191212121213", False),
        ("", "7", False),
    ],
)
def test_a_number_is_a_persons_by_its_system_or_if_nobody_knows_that_by_its_shape(system, value, personal):
    known = {each.uri: each.key for each in identifier_systems().values()}
    assert names.is_personal(known.get(system, system), value) is personal


def test_nothing_that_a_log_may_print_holds_a_name():
    assert repr(Names(frozenset({"Patient/191212121212"}), frozenset({("p", "191212121212")}))) == "Names()"


def test_what_is_no_reference_names_nothing():
    resolver = Resolver({"Patient/1": {"resourceType": "Patient", "id": "1", "identifier": [NUMBER]}})
    for odd in (*ODD, {"reference": 5}, {"reference": ["Patient/1"]}, {"identifier": "x"}):
        assert resolver.named(odd) == Names()
    named = resolver.named({"reference": "Patient/1"})
    assert named.identifiers == {("hsaid", NUMBER["value"])}
