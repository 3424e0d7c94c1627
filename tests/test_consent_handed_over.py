"""Consents of other systems as they are kept: which one, of which version and whose, and what of that cannot be told."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta

import other_systems as o
import pytest
from foreign_consents import junk, places, spoiled
from hypothesis import given
from hypothesis import strategies as st

from adapter.consent import handed_over, policy
from adapter.consent.foreign import consents_in
from adapter.domain import PersonIdentity
from adapter.errors import AdapterError, Invalid
from adapter.tables import EXTENSION
from adapter.wire import json

TOLVAN = PersonIdentity.model_validate({"kind": "personnummer", "number": "191212121212"}, context={"mode": "test"})
RELEASES = ["R4", "R5"]


def read(document):
    return handed_over.read(document, mode="test")[0]


def refusal(document):
    with pytest.raises(Invalid) as refused:
        read(document)
    return refused.value.first.code


def bundle(*resources):
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in resources]}


@pytest.mark.parametrize("release", RELEASES)
def test_a_consent_is_kept_as_it_came_under_its_own_names(release):
    document = o.consent(version=7, release=release)
    kept = read(document)
    assert (kept.id.name, kept.version) == (f"{o.SYSTEM}|x-1", 7)
    assert kept.patient.identity == TOLVAN
    assert json.read(kept.body) == document
    assert read(json.read(kept.body)) == kept


def test_the_name_and_the_version_are_those_that_explanations_have():
    document = o.consent(version=3, identifier=[{"system": "urn:z", "value": "1"}, {"system": "urn:a", "value": "2"}])
    kept = read(document)
    [directive] = policy.Snapshot(TOLVAN, 1, foreign=(document,)).directives.directives[:1]
    assert (directive.id, directive.version) == (kept.id.name, kept.version) == ("urn:a|2", 3)


def test_two_are_the_same_one_if_they_share_an_identifier():
    def named(*values):
        return read(o.consent(identifier=[{"system": o.SYSTEM, "value": value} for value in values]))

    assert named("a", "b").is_known_as(named("b", "c"))
    assert not named("a", "b").is_known_as(named("c"))
    assert named("a").record == "ForeignConsent"


def test_a_number_without_a_system_names_nothing():
    numbers = [{"value": "19121212-1212"}, {"system": o.SYSTEM, "value": "x"}]
    assert read(o.consent(identifier=numbers)).identifiers == {(o.SYSTEM, "x")}


def test_it_is_one_of_a_set_by_what_it_says():
    assert len({read(o.consent()), read(o.consent()), read(o.consent(version=2))}) == 2


PATIENTS = {
    "by number": o.PATIENT,
    "by another address of the same system": {
        "identifier": {"system": "urn:oid:1.2.752.129.2.1.3.1", "value": "19121212-1212"}
    },
    "by reference to one that it contains": {"reference": "#p"},
    "by reference to one that it came with": {"reference": "Patient/p"},
}


@pytest.mark.parametrize("name", PATIENTS)
@pytest.mark.parametrize("release", RELEASES)
def test_the_patient_is_found_by_identity_number(name, release):
    patient = {"resourceType": "Patient", "id": "p", "identifier": [o.PATIENT["identifier"]]}
    more = {"contained": [patient]} if "contains" in name else {}
    about = {"patient" if release == "R4" else "subject": PATIENTS[name]}
    document = o.consent(release=release, **about, **more)
    assert read(bundle(document, patient) if "came with" in name else document).patient.identity == TOLVAN


NOT_THE_PATIENT = {
    "nobody": {},
    "a name": {"display": "Tolvan Tolvansson"},
    "an address alone": {"reference": "Patient/p"},
    "what it does not contain": {"reference": "#p"},
    "a number of an unknown system": {"identifier": {"system": "urn:mrn", "value": "191212121212"}},
    "a number that is none": {"identifier": {"system": o.PERSONNUMMER, "value": "191213121212"}},
    "a word": "Patient/p",
    "nothing at all": None,
}


@pytest.mark.parametrize("name", NOT_THE_PATIENT)
@pytest.mark.parametrize("release", RELEASES)
def test_whose_it_is_must_be_told(name, release):
    about = {"patient" if release == "R4" else "subject": NOT_THE_PATIENT[name]}
    assert refusal(o.consent(release=release, **about)) == "exchange.consent-patient"


def test_a_number_that_only_test_mode_lets_pass_is_noted_and_refused_in_production():
    document = o.consent(patient={"identifier": {"system": o.PERSONNUMMER, "value": "198107092396"}})
    kept, warnings = handed_over.read(document, mode="test")
    assert kept.patient.identity.number == "198107092396"
    assert [each.code for each in warnings] == ["record.check-digit"]
    with pytest.raises(Invalid) as refused:
        handed_over.read(document)
    assert (refused.value.first.code, refused.value.first.where) == ("exchange.consent-patient", "Consent.patient")


def test_numbers_that_are_no_persons_do_not_hide_the_patients():
    numbers = [o.PATIENT["identifier"], {"system": "urn:mrn", "value": "7"}, {"system": o.HSA_ID, "value": "TSTNMT-7"}]
    patient = {"resourceType": "Patient", "id": "p", "identifier": numbers}
    assert read(o.consent(patient={"reference": "#p"}, contained=[patient])).patient.identity == TOLVAN


def test_two_people_are_nobody():
    other = {"resourceType": "Patient", "id": "p", "identifier": [{"system": o.PERSONNUMMER, "value": "195009072553"}]}
    assert (
        refusal(bundle(o.consent(patient=o.PATIENT | {"reference": "Patient/p"}), other)) == "exchange.consent-patient"
    )


NO_IDS = {
    "none": [],
    "no system": [{"value": "1"}],
    "a system that is no URI": [{"system": "mine", "value": "1"}],
    "no value": [{"system": o.SYSTEM}],
    "a person's number": [{"system": o.PERSONNUMMER, "value": "191212121212"}],
    "what tells a person": [{"system": o.SYSTEM, "value": "c-19121212-1212"}],
    "a value of another shape": [{"system": o.SYSTEM, "value": " x"}],
    "the first without a system": [{"system": o.SYSTEM, "value": "x"}, {"value": "x"}],
    "a bar in the system": [{"system": "urn:a|b", "value": "c"}],
}


@pytest.mark.parametrize("name", NO_IDS)
def test_which_one_it_is_must_be_told_by_an_identifier_with_a_system(name):
    assert refusal(o.consent(identifier=NO_IDS[name])) == "exchange.consent-id"


@pytest.mark.parametrize("version", ["0", "-1", "01", "1.0", "a", "", "9999999999", 1, None, ["1"], "\u0661"])
def test_a_version_that_cannot_be_put_in_order_is_refused(version):
    assert refusal(o.consent(meta={"versionId": version})) == "exchange.consent-version"


def test_a_consent_without_a_version_is_the_first():
    assert read({name: value for name, value in o.consent().items() if name != "meta"}).version == 1
    for meta in ({"meta": {}}, {"meta": []}, {"meta": {"lastUpdated": "2026-11-01T12:00:00Z"}}):
        assert read(o.consent() | meta).version == 1


NOT_ONE = {
    "nothing": None,
    "a word": "Consent",
    "a list": [],
    "another resource": {"resourceType": "Patient"},
    "an empty bundle": {"resourceType": "Bundle", "type": "collection"},
    "a bundle of two": bundle(o.consent(), o.consent("x-2")),
    "a bundle of none": bundle({"resourceType": "Patient"}),
    "an entry without resource": {"resourceType": "Bundle", "entry": [{}, {"resource": o.consent()}]},
    "entries that are none": {"resourceType": "Bundle", "entry": 5},
    "an address that is none": {"resourceType": "Bundle", "entry": [{"fullUrl": 5, "resource": {"resourceType": "X"}}]},
}


@pytest.mark.parametrize("name", NOT_ONE)
def test_what_is_not_one_consent_is_refused(name):
    assert refusal(NOT_ONE[name]) == "exchange.consent-form"


def test_one_of_ours_is_told_by_the_version_of_its_record():
    assert (
        refusal(o.consent(extension=[{"url": f"{EXTENSION}version", "valuePositiveInt": 1}])) == "exchange.own-consent"
    )


def test_one_that_cannot_be_read_as_a_permission_has_its_names_all_the_same():
    many = {"type": "permit", "provision": [{"type": "deny"}] * 10_000}
    for spoilt in (
        {"modifierExtension": [{"url": "urn:x"}]},
        {"status": "?"},
        {"provision": many},
        {"dateTime": "soon"},
    ):
        document = o.consent() | spoilt
        assert read(document).id.name == f"{o.SYSTEM}|x-1"
        assert policy.opens(read(document)) == ""


@pytest.mark.parametrize("extension", [["x"], [None, 5], "x", {}, [{"valueCode": "x"}]])
def test_one_that_is_odd_is_no_more_ours_for_that(extension):
    assert read(o.consent(extension=extension)).id.name == f"{o.SYSTEM}|x-1"


def test_what_it_shows_of_itself_tells_no_person():
    assert repr(read(o.consent())) == f"ForeignConsent(id={read(o.consent()).id!r}, version=1)"
    assert "1912" not in repr(read(o.consent()))
    assert o.TEXT not in repr(read(o.consent()))


@given(st.data())
def test_whatever_is_handed_over_is_refused_or_kept_and_can_then_be_decided_on(data):
    document = data.draw(
        st.sampled_from([o.consent(), o.consent(release="R5"), bundle(o.consent(), {"resourceType": "X"})])
    )
    document = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(document))[1:]))
        holder = document
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = data.draw(junk)
    try:
        kept = read(document)
    except AdapterError as error:
        assert error.first.code.startswith("exchange.")
        return
    assert json.read(kept.body) == document
    rules = policy.Snapshot(kept.patient.identity, 1, foreign=(kept.document,)).directives
    assert {each.id for each in rules.directives if each.source == "Consent"} == {kept.id.name}
    policy.opens(kept)
    policy.closes(kept)


@given(spoiled())
def test_junk_without_a_known_patient_is_never_kept(document):
    assert refusal(document).startswith("exchange.")


nested = st.recursive(
    st.none() | st.text(max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from(["resourceType", "entry", "resource"]),
        inner | st.sampled_from(["Bundle", "Consent"]) | st.lists(inner, max_size=2),
    ),
    max_leaves=5,
)


@given(nested)
def test_anything_but_a_consent_is_refused(document):
    assert refusal(document).startswith("exchange.consent-")


# what the clock does to one


def test_it_stays_as_it_is_until_the_next_of_its_periods_begins_or_ends():
    inner = {"type": "deny", "actor": [o.actor()], "period": {"start": "2027-03-01T00:00:00Z"}}
    root = {"type": "permit", "actor": [o.actor()], "period": {"end": "2027-06-01T00:00:00Z"}, "provision": [inner]}
    kept, instant = read(o.consent(provision=root)), timedelta(microseconds=1)
    first = datetime(2027, 3, 1, tzinfo=UTC) - instant
    then = datetime(2027, 6, 1, 0, 0, 0, 999999, tzinfo=UTC)
    assert policy.stays_until(kept, datetime(2026, 12, 1, tzinfo=UTC)) == first
    assert policy.stays_until(kept, first) == first
    assert policy.stays_until(kept, first + instant) == then
    assert policy.stays_until(kept, then + instant) is None
    assert policy.stays_until(read(o.consent(status="inactive", provision=root)), first) is None


def test_one_bundle_tells_the_same_as_the_consent_and_what_it_refers_to():
    consents, resolver = consents_in(bundle(o.consent(), {"resourceType": "Organization", "id": "1"}))
    assert len(consents) == 1
    assert resolver({"Organization/1"})
