"""Consents of other systems: what is read, what is refused, and what none of them can do."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from consent_worlds import NUMBERS as ORGANISATIONS
from consent_worlds import PATIENT as PATIENT_NUMBER
from consent_worlds import PROVIDER, intervention
from consent_worlds import actor as organisation
from consent_worlds import consent as record
from foreign_consents import (
    ACT,
    CLINIC,
    NUMBER,
    OBSERVATION,
    OTHER,
    PSY,
    RESEARCH,
    SPI,
    TREAT,
    WHY,
    actor,
    effects,
    junk,
    permissions,
    question,
    questions,
    r4,
    r5,
    spoiled,
    trees,
    with_effects,
)
from hypothesis import given
from hypothesis import strategies as st

from adapter.consent import disclosure, policy
from adapter.consent.decide import Reason, decide, generic
from adapter.consent.directives import Status
from adapter.consent.foreign import DeniesOnly, Reader
from adapter.consent.names import Names, Resolver, asked
from adapter.consent.provisions import Refusal
from adapter.consent.questions import answer, decided, read
from adapter.consent.rules import Effect, Meaning, Party
from adapter.domain import Purpose

READER = Reader(Names(asked("Patient/x")), "token", Resolver({}), recipient=Party(references=asked("Organization/1")))
DENIED, PERMITTED, MISSING = Reason.CONSENT_REFUSED, Reason.PERMITTED, Reason.NO_CONSENT
UNREAD = Reason.CONSENT_UNINTERPRETABLE
ALL = {"type": "permit"}


def reason(*consents, **more):
    return decided(read(question(*consents, **more)))[0].reason


def without(resource, *names):
    return {name: value for name, value in resource.items() if name not in names}


def refusal(consent, reader=READER):
    return reader.read(consent).refusal


# the base and the children


@pytest.mark.parametrize(
    ("consent", "expected"),
    [
        (r4({"type": "permit"}), PERMITTED),
        (r4({"type": "deny"}), DENIED),
        (r5("permit"), PERMITTED),
        (r5("deny"), DENIED),
        (r4({"type": "deny", "provision": [{"type": "permit"}]}), PERMITTED),
        (r5("deny", {}), PERMITTED),
        (r5("permit", {}), DENIED),
        (r5("permit", {"provision": [{}]}), PERMITTED),
        (r4({"type": "permit", "provision": [{"type": "permit"}, {"type": "deny"}]}), DENIED),
    ],
)
def test_the_root_is_the_base_and_children_are_its_exceptions(consent, expected):
    assert reason(consent) is expected


@pytest.mark.parametrize(
    ("consent", "code"),
    [
        (r4({}), Refusal.AMBIGUOUS_BASE),
        (r4({"actor": [actor()]}), Refusal.AMBIGUOUS_BASE),
        (r4({"type": "allow"}), Refusal.AMBIGUOUS_BASE),
        (r4(ALL, policyRule={"coding": [{"system": ACT, "code": "OPTOUT"}]}), Refusal.AMBIGUOUS_BASE),
        (r4({"type": "deny"}, policyRule={"coding": [{"system": ACT, "code": "OPTIN"}]}), Refusal.AMBIGUOUS_BASE),
        (r4({}, policyRule={"coding": [{"system": ACT, "code": "OPTIN"}]}), Refusal.AMBIGUOUS_BASE),
        (r5(None), Refusal.MALFORMED),
        (without(r5("permit", {}), "decision"), Refusal.AMBIGUOUS_BASE),
        (without(r4(ALL), "status"), Refusal.UNKNOWN_STATUS),
        (r5(["permit"]), Refusal.AMBIGUOUS_BASE),
        (r4({"type": "permit", "provision": [{}]}), Refusal.AMBIGUOUS_CHILD),
        (r4({"type": "permit", "provision": [{"type": "other"}]}), Refusal.AMBIGUOUS_CHILD),
        (r4(ALL) | {"subject": {"reference": "Patient/x"}}, Refusal.UNKNOWN_RELEASE),
        (r5("permit") | {"dateTime": "2026"}, Refusal.UNKNOWN_RELEASE),
        (r4({"type": "permit", "resourceType": [PSY]}), Refusal.UNKNOWN_RELEASE),
        (r5("permit", {"class": [PSY]}), Refusal.UNKNOWN_RELEASE),
        (r5("permit", {"type": "deny"}), Refusal.UNKNOWN_RELEASE),
        (r5("permit", {"expression": {"language": "text/cql"}}), Refusal.EXPRESSION),
        (r4(ALL, status="unknown"), Refusal.UNKNOWN_STATUS),
        (r4(ALL, status="Active"), Refusal.UNKNOWN_STATUS),
        (r4(ALL, status=None), Refusal.UNKNOWN_STATUS),
        (r4(ALL, implicitRules="urn:rules"), Refusal.IMPLICIT_RULES),
        (r4(ALL, modifierExtension=[{"url": "urn:x"}]), Refusal.MODIFIER_EXTENSION),
        (r4({"type": "permit", "modifierExtension": [{"url": "urn:x"}]}), Refusal.MODIFIER_EXTENSION),
        (r4({"type": "permit", "actor": [actor(modifierExtension=[])]}), Refusal.MODIFIER_EXTENSION),
        (r4(ALL, policy=[{"uri": "urn:unknown"}]), Refusal.UNKNOWN_POLICY),
        (r5("permit", policyBasis={"url": "urn:unknown"}), Refusal.UNKNOWN_POLICY),
        (r5("permit", policyBasis={"reference": {"reference": "Permission/1"}}), Refusal.UNKNOWN_POLICY),
        (r4(ALL, dateTime="yesterday"), Refusal.UNPARSABLE_DATE),
        (r4({"type": "permit", "period": {"start": "soon"}}), Refusal.UNPARSABLE_PERIOD),
        (r4({"type": "permit", "period": {}}), Refusal.UNPARSABLE_PERIOD),
        (r4({"type": "permit", "dataPeriod": {"end": "2026-02-30"}}), Refusal.UNPARSABLE_PERIOD),
        (r4({"type": "permit", "dataPeriod": {"_end": {"id": "1"}}}), Refusal.UNPARSABLE_PERIOD),
        (r4({"type": "permit", "actor": [{"role": {"text": "x"}}]}), Refusal.ACTOR_UNRESOLVED),
        (r4({"type": "permit", "actor": [actor({"type": "Organization"})]}), Refusal.ACTOR_UNRESOLVED),
        (r4({"type": "permit", "actor": [actor({"identifier": {"system": "urn:s"}})]}), Refusal.ACTOR_UNRESOLVED),
        (r4({"type": "permit", "actor": [actor({"display": "Clinic"})]}), Refusal.ACTOR_DISPLAY_ONLY),
        (r4({"type": "permit", "actor": [actor({"reference": "#a"})]}), Refusal.ACTOR_CONTAINED),
        (r5("permit", grantee=[{"display": "Clinic"}]), Refusal.ACTOR_DISPLAY_ONLY),
        (r4({"type": "permit", "data": [{"meaning": "instance", "reference": {"display": "x"}}]}), Refusal.DATA_UNRESOLVED),
        (r4({"type": "permit", "data": [{"meaning": "all", "reference": CLINIC}]}), Refusal.MALFORMED),
        (r4({"type": "permit", "actor": []}), Refusal.MALFORMED),
        (r4({"type": "permit", "purpose": None}), Refusal.MALFORMED),
        (r4({"type": "permit", "code": [{"text": "only words"}]}), Refusal.MALFORMED),
        (r4({"type": "permit", "code": {"coding": [PSY]}}), Refusal.MALFORMED),
        (r4({"type": "permit", "until": "2026"}), Refusal.MALFORMED),
        (r4(ALL, onlyIf="full moon"), Refusal.MALFORMED),
        (r4(ALL) | {"resourceType": "Contract"}, Refusal.MALFORMED),
        (r4(ALL, patient="Patient/x"), Refusal.MALFORMED),
        (7, Refusal.MALFORMED),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_denial_with_a_code(consent, code):
    assert refusal(consent) == code
    directive = READER.read(consent)
    asked_for = read(question())
    request, now, subject = asked_for.request, asked_for.now, replace(asked_for.subject, patient="token")
    permission = replace(READER.read(r4(ALL)), id="c2")
    alone, both = generic([permission], request, subject, now), generic([permission, directive], request, subject, now)
    assert (alone.permitted, alone.consents) == (True, (("c2", permission.version),))
    assert (both.permitted, both.reason, both.consents) == (False, UNREAD, ())


def test_every_refusal_can_come_about():
    seen = {code for _, code in test_what_cannot_be_read_is_a_denial_with_a_code.pytestmark[0].args[1]}
    elsewhere = {Refusal.TOO_DEEP, Refusal.TOO_MANY_PROVISIONS, Refusal.PATIENT_AMBIGUOUS}
    assert seen | elsewhere == set(Refusal)


def nested(levels, kind):
    made = {"type": "permit"} if kind == "R4" else {}
    for _ in range(levels - 1):
        made = {"provision": [made]} | ({"type": "permit"} if kind == "R4" else {})
    return r4(made) if kind == "R4" else r5("permit", made)


@pytest.mark.parametrize("kind", ["R4", "R5"])
def test_eight_levels_are_read_and_nine_are_not(kind):
    """In R5 the Consent itself is the first."""
    levels = 8 if kind == "R4" else 7
    assert refusal(nested(levels, kind)) == ""
    assert refusal(nested(levels + 1, kind)) == Refusal.TOO_DEEP
    assert refusal(nested(10_000, kind)) == Refusal.TOO_DEEP


def test_five_hundred_provisions_are_read_and_one_more_is_not():
    child = {"type": "deny", "purpose": [RESEARCH]}
    assert refusal(r4({"type": "permit", "provision": [child] * 499})) == ""
    assert refusal(r4({"type": "permit", "provision": [child] * 500})) == Refusal.TOO_MANY_PROVISIONS
    assert refusal(r5("permit", *[{}] * 500)) == ""
    assert refusal(r5("permit", *[{}] * 10_000)) == Refusal.TOO_MANY_PROVISIONS


def test_a_consent_that_holds_itself_is_refused():
    provision = {"type": "permit"}
    provision["provision"] = [provision]
    endless = copy.copy(r4(provision))
    assert refusal(endless) != ""


# which consents speak


@pytest.mark.parametrize("status", ["inactive", "rejected", "draft", "proposed", "entered-in-error"])
def test_only_an_active_consent_is_a_source_of_anything(status):
    for unread in ({}, {"modifierExtension": [{"url": "urn:x"}]}, {"policy": [{"uri": "urn:unknown"}]}):
        assert reason(r4({"type": "deny"}, status=status, **unread), r4(ALL, id="c2")) is PERMITTED
        assert reason(r4(ALL, status=status, **unread)) is MISSING


def test_a_draft_replaces_nothing_and_an_inactive_version_does():
    number = [{"system": "urn:l", "value": "1"}]
    older = r4(ALL, identifier=number)
    for status, expected in {"draft": PERMITTED, "entered-in-error": PERMITTED, "inactive": MISSING}.items():
        assert reason(older, r4(ALL, id="c2", identifier=number, status=status, dateTime="2026-02")) is expected


@pytest.mark.parametrize(
    "out",
    [{"dateTime": "2026-06-02"}, {"dateTime": "2027"}, {"provision": {"type": "deny", "period": {"end": "2026-05"}}},
     {"provision": {"type": "deny", "period": {"start": "2026-06-02"}}}, {"patient": {"reference": "Patient/y"}}],
    ids=["tomorrow", "next year", "past", "not begun", "another's"],
)  # fmt: skip
def test_what_is_out_is_out_unless_something_may_change_its_meaning(out):
    base = r4({"type": "deny"}) | out
    assert reason(base, r4(ALL, id="c2")) is PERMITTED
    assert reason(base | {"policy": [{"uri": "urn:unknown"}]}, r4(ALL, id="c2")) is PERMITTED
    modified = reason(base | {"modifierExtension": [{"url": "urn:x"}]}, r4(ALL, id="c2"))
    assert modified is (PERMITTED if "patient" in out else UNREAD)


def test_a_childs_period_narrows_its_parents():
    inner = {"type": "deny", "period": {"start": "2020"}}
    assert (
        reason(r4({"type": "permit", "period": {"end": "2026-05"}, "provision": [inner]}), r4(ALL, id="c2"))
        is PERMITTED
    )
    assert reason(r4({"type": "permit", "provision": [inner | {"period": {"end": "2026-05"}}]})) is PERMITTED


def test_days_are_swedish_and_held_to_their_last_instant():
    last = r4({"type": "permit", "period": {"end": "2026-03-29"}})
    assert reason(last, now="2026-03-29T21:59:59.999999Z") is PERMITTED
    assert reason(last, now="2026-03-29T22:00:00Z") is MISSING


@pytest.mark.parametrize("end", ["9999-12-31", "9999", "9999-12-31T23:59:59-14:00"])
def test_a_period_may_end_with_the_calendar(end):
    assert reason(r4({"type": "permit", "period": {"start": "0001", "end": end}})) is PERMITTED


def test_of_the_same_identifier_the_newest_permits_and_every_denial_holds():
    number = [{"system": "urn:l", "value": "1"}]
    for_research = {"type": "permit", "purpose": [RESEARCH]}
    assert (
        reason(r4(ALL, identifier=number), r4(for_research, id="c2", identifier=number, dateTime="2026-02")) is MISSING
    )
    assert (
        reason(r4(ALL, identifier=number), r4(for_research, id="c2", identifier=number, dateTime="2025")) is PERMITTED
    )
    assert reason(r4(ALL, identifier=number), r4(for_research, id="c2", dateTime="2026-02")) is PERMITTED
    denial = r4({"type": "deny"}, identifier=number, dateTime="2020")
    assert reason(denial, r4(ALL, id="c2", identifier=number)) is DENIED


def test_a_consent_without_a_date_is_the_oldest():
    number = [{"system": "urn:l", "value": "1"}]
    undated = without(r4(ALL, identifier=number), "dateTime")
    assert reason(undated) is PERMITTED
    newer = r4({"type": "permit", "purpose": [RESEARCH]}, id="c2", identifier=number, dateTime="1990")
    assert reason(undated, newer) is MISSING


# who gave it


PATIENT, PROXY = {"reference": "Patient/x"}, {"reference": "RelatedPerson/p"}


@pytest.mark.parametrize(
    ("giver", "verified", "opens"),
    [(PATIENT, None, True), (PATIENT, False, True), (CLINIC, None, False), (CLINIC, True, False), (OTHER, True, False),
     (PROXY, True, True), (PROXY, False, False), (PROXY, None, False), ({"display": "The patient"}, True, False)],
)  # fmt: skip
def test_only_the_patients_word_or_a_verified_proxys_opens_anything(giver, verified, opens):
    more = {} if verified is None else {"verification": [{"verified": verified}]}
    for made in (r4, lambda provision, performer, **more: r5(provision["type"], grantor=performer, **more)):
        assert reason(made(ALL, performer=[giver], **more)) is (PERMITTED if opens else MISSING)
        denial = made({"type": "deny"}, performer=[giver], **more)
        assert reason(denial, r4(ALL, id="c2")) is DENIED, "a denial holds whoever wrote it"
    assert READER.read(r4(ALL, performer=[CLINIC])).kind == DeniesOnly.NOT_BY_THE_PATIENT


def test_a_proxy_who_asks_opens_nothing_by_the_own_word():
    consent = r4(ALL, performer=[PROXY], verification=[{"verified": True}])
    assert reason(consent, recipient={"references": ["RelatedPerson/p"]}) is MISSING


# names


@pytest.mark.parametrize(
    ("spoken", "asked_for", "expected"),
    [
        ("Organization/1", "Organization/1", PERMITTED),
        ("Organization/1/_history/7", "Organization/1", PERMITTED),
        ("https://a.example/fhir/Organization/1", "Organization/1", PERMITTED),
        ("Organization/1", "https://a.example/fhir/Organization/1/_history/2", PERMITTED),
        ("https://a.example/fhir/Organization/1", "https://a.example/fhir/Organization/1", PERMITTED),
        ("https://a.example/fhir/Organization/1", "https://b.example/fhir/Organization/1", MISSING),
        ("urn:uuid:0C3151BD-1CBF-4D64-B04D-CD9187A4C6E0", "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", PERMITTED),
        ("https://A.Example/fhir/Organization/1", "https://a.example/fhir/Organization/1", PERMITTED),
        ("https://a.example/FHIR/Organization/1", "https://a.example/fhir/Organization/1", MISSING),
        ("Organization/12", "Organization/1", MISSING),
        ("Practitioner/1", "Organization/1", MISSING),
    ],
)
def test_references_are_compared_in_one_spelling(spoken, asked_for, expected):
    consent = r4({"type": "permit", "actor": [actor({"reference": spoken})]})
    assert reason(consent, recipient={"references": [asked_for]}) is expected


BY_NUMBER = {"references": [], "identifiers": [NUMBER]}
AT_HAND = {"Organization/1": {"resourceType": "Organization", "id": "1", "identifier": [NUMBER]}}


def test_an_actor_is_known_by_number_its_own_or_of_the_resource_at_hand():
    own = r4({"type": "permit", "actor": [actor({"identifier": NUMBER})]})
    assert reason(own, recipient=BY_NUMBER) is PERMITTED
    assert reason(own, recipient={"references": [], "identifiers": [NUMBER | {"value": "232100-0016"}]}) is PERMITTED
    led_to = r4({"type": "permit", "actor": [actor()]})
    assert reason(led_to, recipient=BY_NUMBER, actors=AT_HAND) is PERMITTED
    assert reason(led_to, recipient=BY_NUMBER) is MISSING
    urn = {"urn:uuid:1": AT_HAND["Organization/1"]}
    assert reason(r4({"type": "permit", "actor": [actor({"reference": "urn:uuid:1"})]}), actors=urn) is PERMITTED


@pytest.mark.parametrize("spoiled", [{"patient": {}}, {"patient": {"display": "Tolvan"}}, {"onlyIf": "full moon"}, {}])
def test_a_later_word_that_cannot_be_read_may_have_taken_a_consent_back(spoiled):
    known = {"identifier": [{"system": "urn:c", "value": "1"}]}
    given = r4(ALL, dateTime="2026-01-01", **known)
    taken_back = r4(ALL, id="c2", dateTime="2026-02-01", status="inactive", **known) | spoiled
    assert reason(given) is PERMITTED
    assert reason(given, taken_back) is MISSING
    assert reason(given, taken_back | {"identifier": [{"system": "urn:c", "value": "2"}]}) is PERMITTED
    assert reason(given, taken_back | {"dateTime": "2029"}) is MISSING, "taken back, whenever it was to hold"


def test_data_that_refer_to_something_nobody_can_tell_may_depend_on_what_a_denial_names():
    """Another reference that can be compared does not make up for it."""
    dependent = {"data": [{"meaning": "dependents", "reference": {"reference": "Observation/9"}}]}
    data = {"resourceType": "Encounter", "id": "1", "subject": {"reference": "Patient/x"}}
    denied = r4({"type": "permit", "provision": [{"type": "deny"} | dependent]})
    assert reason(denied, resource=data) is PERMITTED
    untold = data | {"basedOn": [{"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c604"}]}
    assert reason(denied, resource=untold) is DENIED
    assert reason(r4({"type": "permit"} | dependent), resource=untold) is not PERMITTED


def test_an_actor_that_cannot_be_compared_is_denied_and_not_permitted():
    assert reason(r4({"type": "deny", "actor": [actor()]}), r4(ALL, id="c2"), recipient=BY_NUMBER) is DENIED
    assert reason(r4({"type": "deny", "actor": [actor(OTHER)]}), r4(ALL, id="c2")) is PERMITTED
    assert reason(r4({"type": "deny", "actor": [actor({"reference": "urn:uuid:1"})]}), r4(ALL, id="c2")) is DENIED
    assert reason(r4({"type": "permit", "actor": [actor()]}), recipient=BY_NUMBER) is MISSING


def test_two_resources_that_one_reference_may_mean_lead_nowhere():
    same = {f"https://{server}.example/Organization/1": {"resourceType": "Organization", "identifier": [number]}
            for server, number in (("a", NUMBER), ("b", NUMBER | {"value": "2321000024"}))}  # fmt: skip
    assert reason(r4({"type": "permit", "actor": [actor()]}), recipient=BY_NUMBER, actors=same) is MISSING


def test_a_recipient_is_known_by_its_groups():
    team = r4({"type": "permit", "actor": [actor({"reference": "CareTeam/t"})]})
    assert reason(team) is MISSING
    assert reason(team, recipient={"groups": ["CareTeam/t"]}) is PERMITTED


@pytest.mark.parametrize(
    ("patient", "actors", "expected"),
    [
        ({"display": "Tolvan Tolvansson"}, {}, UNREAD),
        ({"reference": "https://a.example/fhir/Patient/x"}, {}, PERMITTED),
        ({"identifier": {"system": "urn:oid:1.2.752.129.2.1.3.1", "value": "191212121212"}}, "known", PERMITTED),
        ({"reference": "#p"}, "known", PERMITTED),
        ({"reference": "Patient/y"}, "known", MISSING),
        ({"reference": "Patient/x", "identifier": {"system": "urn:oid:1.2.752.129.2.1.3.1", "value": "195009072553"}}, "known", UNREAD),
    ],
)  # fmt: skip
def test_the_patient_is_known_by_reference_or_number(patient, actors, expected):
    number = {"system": "http://electronichealth.se/identifier/personnummer", "value": "191212121212"}
    contained = [{"resourceType": "Patient", "id": "p", "identifier": [number]}]
    known = {"Patient/x": {"resourceType": "Patient", "id": "x", "identifier": [number]}} if actors else {}
    assert reason(r4(ALL, patient=patient, contained=contained), actors=known) is expected


@pytest.mark.parametrize("patient", [{"display": "Tolvan"}, {"reference": "#x"}, {}, {"reference": ["x"]}])
def test_a_patient_that_nothing_names_is_refused(patient):
    assert reason(r4(ALL, patient=patient)) is UNREAD


@pytest.mark.parametrize(
    "patient", [{"identifier": {"system": "urn:s", "value": "7"}}, {"reference": "urn:uuid:" + "0" * 36}]
)
def test_a_patient_that_cannot_be_compared_may_be_this_one(patient):
    """What is not known counts as matched for a denial and as unmatched for a permission."""
    assert reason(r4(ALL, patient=patient)) is MISSING
    assert reason(r4({"type": "deny"}, patient=patient), r4(ALL, id="c2")) is DENIED
    assert reason(r4({}, patient=patient), r4(ALL, id="c2")) is UNREAD
    assert reason(r4({"type": "deny"}, patient={"reference": "Patient/y"} | patient), r4(ALL, id="c2")) is (
        DENIED if "reference" in patient else PERMITTED
    )


@pytest.mark.parametrize(
    ("base", "spoken", "expected"),
    [
        ("deny", {"period": {"start": "2027", "end": "2026"}}, MISSING),
        ("permit", {"provision": [{"type": "deny", "period": {"start": "2027", "end": "2026"}}]}, UNREAD),
        ("permit", {"dataPeriod": {"start": "2027", "end": "2026"}}, UNREAD),
    ],
)
def test_a_period_that_ends_before_it_begins_is_past_at_the_root_and_refused_elsewhere(base, spoken, expected):
    assert reason(r4({"type": base, **spoken})) is expected


@pytest.mark.parametrize(
    "odd",
    [
        {"identifier": {}},
        {"identifier": []},
        {"identifier": [{"value": 1}]},
        {"verification": [{}]},
        {"verification": [{"verified": "true"}]},
        {"policyRule": {"coding": []}},
        {"performer": [{"reference": "Patient/x"}, []]},
        {"performer": [{}]},
        {"policyRule": {"coding": [{"code": "OPTOUT"}]}},
        {"status": "not-done"},
    ],
    ids=str,
)
def test_an_odd_shape_anywhere_that_is_looked_at_is_refused(odd):
    assert reason(r4(ALL, **odd)) is UNREAD


def test_hosts_and_schemes_are_compared_in_one_case_and_types_are_not():
    asked_for = {"references": ["https://fhir.region.example/R4/Organization/1"]}
    for spelling, expected in {
        "HTTPS://FHIR.REGION.EXAMPLE/R4/Organization/1": PERMITTED,
        "https://fhir.region.example/r4/Organization/1": MISSING,
        "organization/1": UNREAD,
    }.items():
        assert (
            reason(r4({"type": "permit", "actor": [actor({"reference": spelling})]}), recipient=asked_for) is expected
        )


def test_the_data_of_another_patient_are_not_covered():
    others = OBSERVATION | {"subject": {"reference": "Patient/y"}}
    assert reason(r4(ALL), resource=OBSERVATION) is PERMITTED
    assert reason(r4(ALL), resource=others) is MISSING
    assert reason(r4(ALL), resource={"resourceType": "Patient", "id": "y"}) is MISSING


# what is asked for


def test_a_code_is_found_in_what_is_asked_for_or_in_the_data():
    """A reader that took the list of codes for nothing would permit what the root denies."""
    weight = {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]}
    consent = r4({"type": "deny", "provision": [{"type": "permit", "code": [weight]}]})
    assert reason(consent, resource=OBSERVATION) is PERMITTED
    assert reason(consent, category=weight["coding"]) is PERMITTED
    assert reason(consent, category=[PSY]) is DENIED
    assert reason(consent) is DENIED


@pytest.mark.parametrize("element", ["class", "resourceType", "documentType"])
def test_types_are_compared_with_classes_and_with_the_resources_own(element):
    for system in ("http://hl7.org/fhir/resource-types", "http://hl7.org/fhir/fhir-types"):
        kind = [{"system": system, "code": "Observation"}]
        consent = r4({"type": "permit", "class": kind}) if element == "class" else r5("deny", {element: kind})
        assert reason(consent, resource=OBSERVATION) is PERMITTED
        assert reason(consent, classes=kind) is PERMITTED
        assert reason(consent, classes=[PSY]) is not PERMITTED
        assert reason(consent) is not PERMITTED


def test_a_label_that_nobody_knows_counts_for_a_denial_alone():
    guarded = r4({"type": "permit", "provision": [{"type": "deny", "securityLabel": [PSY]}]})
    assert reason(guarded) is DENIED
    assert reason(guarded, labels=[SPI]) is PERMITTED
    assert reason(guarded, labels=[SPI], resource=OBSERVATION | {"meta": {"security": [PSY]}}) is DENIED
    assert reason(r4({"type": "permit", "securityLabel": [PSY]})) is MISSING


def test_every_purpose_is_permitted_on_its_own():
    treat, research = r4({"type": "permit", "purpose": [TREAT]}), r4({"type": "permit", "purpose": [RESEARCH]}, id="c2")
    assert reason(treat, purpose=[TREAT, RESEARCH]) is MISSING
    assert reason(treat, research, purpose=[TREAT, RESEARCH]) is PERMITTED
    assert reason(treat, purpose=[]) is MISSING


@pytest.mark.parametrize(
    ("meaning", "named", "actors", "answer"),
    [
        ("instance", "Observation/o1", {}, "yes"),
        ("instance", "Observation/o2", {}, "no"),
        ("dependents", "Observation/o2", {}, "yes"),
        ("dependents", "Observation/o1", {}, "yes"),
        ("dependents", "Observation/o3", {}, "no"),
        ("authoredby", "Organization/9", {}, "yes"),
        ("authoredby", "Organization/8", {}, "no"),
        ("related", "Observation/o1", {}, "yes"),
        ("related", "Observation/o3", {}, "unknown"),
        ("related", "Observation/o3", {"hasMember": [{"reference": "Observation/o1"}]}, "yes"),
        ("related", "Observation/o3", {"hasMember": [{"reference": "Observation/o2"}]}, "no"),
    ],
)
def test_data_are_what_is_named_or_stand_in_its_meaning_to_it(meaning, named, actors, answer):
    assert {each["meaning"] for each in ({"meaning": each.value} for each in Meaning)} >= {meaning}
    data = {"data": [{"meaning": meaning, "reference": {"reference": named}}]}
    at_hand = {named: {"resourceType": "Observation", "id": "o3", **actors}} if actors else {}
    permitted = reason(r4({"type": "permit", **data}), resource=OBSERVATION, actors=at_hand)
    denied = reason(r4({"type": "deny", **data}), r4(ALL, id="c2"), resource=OBSERVATION, actors=at_hand)
    assert (permitted, denied) == {
        "yes": (PERMITTED, DENIED), "no": (MISSING, PERMITTED), "unknown": (MISSING, DENIED),
    }[answer]  # fmt: skip


@pytest.mark.parametrize(
    ("period", "answer"),
    [({"start": "2026-03-01"}, "yes"), ({"start": "2026-03-02"}, "unknown"), ({"end": "2026-02"}, "no"), ({"end": "2026-03"}, "yes")],
)  # fmt: skip
@pytest.mark.parametrize("dated", ["2026-03", "", "unreadable"])
def test_data_that_straddle_a_data_period_are_unknown(period, answer, dated):
    data = without(OBSERVATION, "effectiveDateTime") | {"issued": "2020"}
    resource = data | ({"effectiveDateTime": dated} if dated else {"issued": "?"})
    answer = answer if dated == "2026-03" else "unknown"
    denied = reason(r4({"type": "deny", "dataPeriod": period}), r4(ALL, id="c2"), resource=resource)
    assert reason(r4({"type": "permit", "dataPeriod": period}), resource=resource) is (
        PERMITTED if answer == "yes" else MISSING
    )
    assert denied is (PERMITTED if answer == "no" else DENIED)


def test_flat_consents_are_flat_only_where_it_is_said():
    """The root selects by label, which does not shield the child: nobody is told of what the child denies."""
    consent = r4({"type": "permit", "purpose": [RESEARCH], "provision": [{"type": "deny", "actor": [actor()]}]})
    assert reason(consent, r4(ALL, id="c2")) is PERMITTED
    assert reason(consent, r4(ALL, id="c2"), dialect="pcf-flat") is DENIED


# what it is called


def test_a_consent_is_named_by_its_number_or_id_and_never_by_a_persons():
    assert READER.read(r4(ALL, meta={"versionId": "3"})).name == "Consent c1 version 3"
    assert READER.read(r4(ALL, meta={"versionId": "W/x"})).version == 1
    numbered = r4(ALL, identifier=[{"system": "urn:l", "value": "7"}])
    assert READER.read(numbered).id == "urn:l|7"
    for personal in ("191212121212", "19121212-1212", "consent-of-1212121212"):
        for made in (r4(ALL, id=personal), r4(ALL, id=personal, identifier=[{"system": "urn:l", "value": personal}])):
            assert READER.read(made).id.startswith("sha256:")
            assert personal not in answer(json.dumps(question(made)).encode()).line.decode().replace('"id":"q"', "")


def test_a_person_who_asks_is_not_told_by_number():
    person = {"system": "http://electronichealth.se/identifier/personnummer", "value": "191212121212"}
    for number in (person, person | {"system": "urn:ssn"}, person | {"system": "urn:oid:1.2.752.129.2.1.3.1"}):
        asked_by = {"references": ["Patient/x"], "identifiers": [number]}
        assert b"1212" not in answer(json.dumps(question(r4(ALL), recipient=asked_by)).encode()).line


# laws


@given(trees, effects, st.data())
def test_the_same_rules_in_r4_and_in_r5_are_the_same(tree, effect, data):
    root = {name: value for name, value in tree.items() if name in {"period", "actor", "provision"}}
    more = {"grantee": [each["reference"] for each in root["actor"]]} if "actor" in root else {}
    more |= {"period": root["period"]} if "period" in root else {}
    old = READER.read(r4(with_effects(root, effect)))
    new = READER.read(r5(effect, *root.get("provision", ()), **more))
    assert (old.refusal, old.rule) == (new.refusal, new.rule)


@given(spoiled() | junk)
def test_nothing_that_is_read_raises_and_nothing_unread_permits(consent):
    directive = READER.read(consent)
    asked_for = read(question())
    subject = replace(asked_for.subject, patient="token")
    decision = generic([directive], asked_for.request, subject, asked_for.now)
    assert decision.reason is not Reason.GATE_ERROR
    if decision.permitted:
        assert (directive.refusal, directive.status, directive.patient) == ("", Status.ACTIVE, "token")
        assert consent["status"] == "active"


@given(questions(), permissions)
def test_another_denial_never_lets_more_through(asked_for, consent):
    def turned(provision):
        return provision | {"type": "deny"} | (
            {"provision": [turned(child) for child in provision["provision"]]} if "provision" in provision else {}
        )  # fmt: skip

    before = decided(read(asked_for))[0]
    more = [*asked_for["consents"], r4(turned(consent["provision"]), id="c9")]
    after = decided(read(asked_for | {"consents": more}))[0]
    assert before.permitted or not after.permitted


@given(questions(), st.randoms())
def test_the_order_of_consents_and_provisions_never_matters(asked_for, chance):
    def shuffled(value):
        if isinstance(value, dict):
            return {name: shuffled(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return chance.sample([shuffled(inner) for inner in value], len(value))
        return value

    other = asked_for | {"consents": shuffled(asked_for["consents"])}
    one, two = decided(read(asked_for))[0], decided(read(other))[0]
    assert (one.permitted, one.reason) == (two.permitted, two.reason)


@given(questions(), st.sampled_from(["actor", "purpose", "securityLabel", "data"]))
def test_a_provision_split_by_its_values_says_the_same(asked_for, element):
    def split(provision):
        for child in provision.get("provision", ()):
            yield child | {"provision": list(split(child))} if "provision" in child else child

    def halves(provision):
        children = [
            half
            for child in split(provision)
            for half in ([child | {element: [each]} for each in child[element]] if element in child else [child])
        ]
        return provision | {"provision": children}

    def whole(consent):
        if "provision" not in consent:
            return consent
        if isinstance(consent["provision"], list):
            return halves(consent)
        return consent | {"provision": halves(consent["provision"])} if "provision" in consent["provision"] else consent

    apart = asked_for | {"consents": [whole(each) for each in asked_for["consents"]]}
    one, two = decided(read(asked_for))[0], decided(read(apart))[0]
    assert one.reason is two.reason


@given(questions())
def test_a_denial_is_not_lifted_by_taking_the_refusal_of_a_consent_away(asked_for):
    """A consent that cannot be read denies whatever the others say."""
    unread = [*asked_for["consents"], r4({}, id="c9")]
    assert decided(read(asked_for | {"consents": unread}))[0].reason is UNREAD


def test_the_effect_of_a_refused_consent_is_a_denial():
    assert READER.read(r4({})).rule.effect is Effect.DENY


# beside our own records


NUMBERS_SYSTEM = "http://electronichealth.se/identifier/personnummer"
OURS = {"identifier": {"system": NUMBERS_SYSTEM, "value": PATIENT_NUMBER.number}}
CUSTODIAN = [{"identifier": {"system": "urn:oid:1.2.752.29.4.19", "value": str(PROVIDER.hsa_id)}}]
EMPLOYER = policy.Recipient("to", "arbetsgivare", organisation_number=ORGANISATIONS[0])


def told(kind, provision, **more):
    category = [{"coding": [{"system": "https://koord.example/fhir/CodeSystem/consent-kind", "code": kind}]}]
    return r4(provision, **{"patient": OURS, "organization": CUSTODIAN, "category": category, "id": kind} | more)


NAMED = {
    "type": "permit",
    "actor": [actor({"identifier": {"system": "urn:oid:2.5.4.97", "value": str(ORGANISATIONS[0])}})],
}
GIVEN = told("interventions", ALL), told("collaborate", NAMED)


def sent(*foreign, to=EMPLOYER, own=()):
    snapshot = policy.Snapshot(PATIENT_NUMBER, 1, tuple(own), (), foreign)
    asked_for = policy.request(
        to, Purpose.PATIENT_REQUEST if to.type == "patient" else Purpose.COORDINATION, [PROVIDER.hsa_id]
    )
    subject = policy.subject(intervention(), snapshot)
    return decide(snapshot.directives, asked_for, subject, datetime(2026, 6, 1, tzinfo=UTC), disclosure.load()).reason


def test_what_other_systems_tell_counts_beside_our_own_records():
    assert sent(*GIVEN) is PERMITTED
    assert sent(GIVEN[1], own=[record()]) is PERMITTED
    assert sent(GIVEN[1]) is MISSING
    bundle = {"resourceType": "Bundle", "entry": [{"resource": each} for each in GIVEN]}
    assert sent(bundle) is PERMITTED


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (told("collaborate", {"type": "deny"}, id="9"), DENIED),
        (told("collaborate", ALL | {"provision": [NAMED | {"type": "deny"}]}, id="9"), DENIED),
        (told("other", {"type": "deny", "purpose": [{"system": WHY, "code": "COC"}]}, id="9"), DENIED),
        (told("other", {"type": "deny", "purpose": [RESEARCH]}, id="9"), PERMITTED),
        (told("collaborate", {"type": "deny", "code": [{"coding": [PSY]}]}, id="9"), DENIED),
        (told("collaborate", {}, id="9"), UNREAD),
        (told("collaborate", {}, id="9", patient={"identifier": {"system": NUMBERS_SYSTEM, "value": "195009072553"}}), PERMITTED),
    ],
    ids=["everyone", "one of everyone", "without a kind", "for research", "of what nobody knows", "unreadable", "another's"],
)  # fmt: skip
def test_what_other_systems_deny_is_denied_whatever_it_opens(more, expected):
    assert sent(*GIVEN, more) is expected
    own = [record(), record("collaborate", "c2", recipient=organisation())]
    assert sent(more, own=own) is expected


def test_no_consent_of_another_system_closes_the_patients_own_access():
    me = policy.Recipient("me", "patient", patient=PATIENT_NUMBER)
    for closed in (
        {"type": "deny"},
        ALL | {"provision": [{"type": "deny", "provision": [ALL | {"actor": [actor(OTHER)]}]}]},
    ):
        assert sent(told("collaborate", closed), to=me) is Reason.PERMITTED_BY_LAW


def test_the_digest_covers_what_other_systems_tell_in_any_order():
    def digest(*foreign):
        return policy.Snapshot(PATIENT_NUMBER, 1, foreign=foreign).digest

    assert digest(*GIVEN) == digest(*reversed(GIVEN)) != digest(GIVEN[0]) != digest()
    assert digest(*GIVEN) != digest(GIVEN[0], GIVEN[1] | {"status": "inactive"})
