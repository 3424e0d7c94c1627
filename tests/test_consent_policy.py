"""What single records say by themselves: what a consent opens and closes, when that changes, and whose word it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from consent_worlds import (
    NUMBERS,
    OTHER,
    PATIENT,
    PROVIDER,
    UNIT,
    actor,
    block,
    business,
    consent,
    intervention,
    person,
    recipient,
)
from foreign_consents import r4

from adapter import domain as d
from adapter.consent import policy
from adapter.consent.handed_over import ForeignConsent
from adapter.consent.rules import Party, Span
from adapter.dates import Moment

INSTANT = timedelta(microseconds=1)
JUNE, JULY = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
HSA, ORGNR = "urn:oid:1.2.752.29.4.19", "urn:oid:2.5.4.97"
CUSTODIAN = {"identifier": {"system": HSA, "value": str(PROVIDER.hsa_id)}}
NAMED = {"role": {"text": "x"}, "reference": {"identifier": {"system": ORGNR, "value": str(NUMBERS[0])}}}
PERMIT, DENY = {"type": "permit", "actor": [NAMED]}, {"type": "deny"}


def period(start=None, end=None):
    return d.Period(start=start and Moment(start), end=end and Moment(end))


def foreign(provision, kind="collaborate", **more):
    number = {"system": "http://electronichealth.se/identifier/personnummer", "value": PATIENT.number}
    category = [{"coding": [{"system": "https://koord.example/fhir/CodeSystem/consent-kind", "code": kind}]}]
    made = r4(
        provision, **{"patient": {"identifier": number}, "organization": [CUSTODIAN], "category": category} | more
    )
    return ForeignConsent(business("x-1"), 3, person(), frozenset(), b"", made)


def snapshot(*said, version=1):
    documents = tuple(each.document for each in said if isinstance(each, ForeignConsent))
    consents = tuple(each for each in said if isinstance(each, d.Consent))
    blocks = tuple(each for each in said if isinstance(each, d.Block))
    return policy.Snapshot(PATIENT, version, consents, blocks, documents)


def directive(said):
    return next(each for each in snapshot(said).directives.directives if each.source in {"Consent", "Block"})


# what it opens and what it is about


@pytest.mark.parametrize("kind", d.ConsentKind)
def test_a_consent_that_is_given_opens_its_kind_and_one_that_is_not_opens_nothing(kind):
    more = {"recipient": actor()} if kind is d.ConsentKind.COLLABORATE else {}
    assert policy.opens(consent(kind, **more)) == kind.value
    for state in ("refused", "withdrawn", "entered-in-error"):
        said = consent(kind, state=state, **more)
        assert policy.opens(said) == ""
        assert policy.closes(said) == kind.value


@pytest.mark.parametrize("kind", d.BlockKind)
def test_a_block_opens_nothing(kind):
    assert policy.opens(block(kind, unit=None)) == ""


@pytest.mark.parametrize(
    ("said", "opened", "closed"),
    [
        (foreign(PERMIT), "collaborate", "collaborate"),
        (foreign({"type": "permit"}, "interventions"), "interventions", "interventions"),
        (foreign(PERMIT | {"provision": [DENY | {"code": [{"coding": [{"code": "x"}]}]}]}), "collaborate", None),
        (foreign(DENY | {"provision": [PERMIT]}), "collaborate", None),
        (foreign(DENY), "", None),
        (foreign(DENY, status="inactive"), "", ""),
        (foreign(PERMIT, status="draft"), "", ""),
        (foreign(PERMIT, status="unheard of"), "", None),
        (foreign(PERMIT, "everything"), "", ""),
        (foreign(PERMIT, organization=[NAMED["reference"]]), "", ""),
        (foreign(PERMIT | {"odd": 1}), "", None),
    ],
    ids=["one", "all", "but", "only", "no", "was no", "draft", "what", "of no kind", "of no provider", "odd"],
)
def test_one_of_another_system_may_close_what_any_opens_if_it_denies_or_cannot_be_read(said, opened, closed):
    assert (policy.opens(said), policy.closes(said)) == (opened, closed)


@pytest.mark.parametrize(
    "made", [lambda end: consent(period=period(end=end)), lambda end: foreign(PERMIT | {"period": {"end": end}})]
)
def test_what_is_over_opens_nothing_after_its_last_instant(made):
    end, last = "2026-06-30T12:00:00.5Z", datetime(2026, 6, 30, 12, 0, 0, 500_000, UTC)
    said = made(end)
    assert policy.opens(said) == policy.opens(said, last) == policy.opens(said, JUNE) != ""
    assert policy.opens(said, last + INSTANT) == ""
    assert policy.opens(consent(), datetime.max.replace(tzinfo=UTC)) == "interventions"


def test_what_is_said_of_a_consent_names_it_and_nothing_more():
    for said, version in ((consent(version=4), 4), (foreign(PERMIT), 3)):
        subject = policy.named(said)
        assert (subject.kind, subject.patient) == ("Consent", "")
        assert subject.name == f"Consent {said.id.name} version {version}"


# when that changes by the clock


def test_a_consent_stays_as_it_is_until_it_begins_or_ends():
    said = consent(given_on=Moment("2026-01-01"), period=period("2026-06-10T00:00:00.0Z", "2026-06-20T00:00:00.0Z"))
    begins, ends = datetime(2026, 6, 10, tzinfo=UTC), datetime(2026, 6, 20, tzinfo=UTC)
    assert policy.stays_until(said, JUNE) == begins - INSTANT
    assert policy.stays_until(said, begins - INSTANT) == begins - INSTANT
    assert policy.stays_until(said, begins) == ends
    assert policy.stays_until(said, ends) == ends
    assert policy.stays_until(said, ends + INSTANT) is None


def test_a_consent_that_is_dated_later_stays_as_it_is_until_then():
    said = consent(given_on=Moment("2026-06-10T00:00:00Z"))
    assert policy.stays_until(said, JUNE) == datetime(2026, 6, 10, tzinfo=UTC) - INSTANT
    assert policy.stays_until(said, JULY) is None
    assert policy.stays_until(consent(), JUNE) is None


def test_what_speaks_no_more_does_not_change():
    for state in ("withdrawn", "entered-in-error"):
        assert policy.stays_until(consent(state=state, period=period(end="2026-12-31")), JUNE) is None


def test_a_block_changes_when_a_lift_of_it_begins_or_ends():
    lift = d.Lift(unit=UNIT, period=period("2026-06-10T00:00:00Z", "2026-06-20T00:00:00.0Z"))
    said = block(lifts=(lift,))
    assert policy.stays_until(said, JUNE) == datetime(2026, 6, 10, tzinfo=UTC) - INSTANT
    assert policy.stays_until(said, datetime(2026, 6, 11, tzinfo=UTC)) == datetime(2026, 6, 20, tzinfo=UTC)
    assert policy.stays_until(said, JULY) is None


def test_a_decision_stands_while_nothing_begins_or_ends():
    told = snapshot(consent(period=period("2026-06-10T00:00:00.0Z", "2026-06-20T00:00:00.0Z")))
    begins, ends = datetime(2026, 6, 10, tzinfo=UTC), datetime(2026, 6, 20, tzinfo=UTC)
    for at, now, stands in [
        (JUNE, JUNE, True),
        (JUNE, begins - INSTANT, True),
        (JUNE, begins, False),
        (begins, ends, True),
        (begins, ends + INSTANT, False),
        (ends + INSTANT, JULY, True),
        (begins - INSTANT, ends + INSTANT, False),
    ]:
        assert told.is_as_it_was(at, now) is stands, (at, now)


# how it is read


@pytest.mark.parametrize(
    ("given", "withdrawn", "spoken"),
    [
        ("2026-01-01T00:00:00.0Z", "2026-03-01T00:00:00.0Z", ("2026-03-01", "2026-03-01")),
        ("2026-03-01T00:00:00.0Z", "2026-01-01T00:00:00.0Z", ("2026-03-01", "2026-03-01")),
    ],
)
def test_a_withdrawal_is_as_late_as_the_later_of_its_two_dates(given, withdrawn, spoken):
    said = consent(
        state="withdrawn", given_on=Moment(given), withdrawn=d.Withdrawal(on=Moment(withdrawn), by="patient")
    )
    start, end = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in spoken)
    assert directive(said).dated == Span(start, end)


def test_the_earlier_and_the_later_end_of_what_was_said_are_each_the_later_of_two():
    said = consent(
        state="withdrawn", given_on=Moment("2026"), withdrawn=d.Withdrawal(on=Moment("2026-03"), by="patient")
    )
    assert directive(said).dated == Span(Moment("2026-03").earliest, Moment("2026").latest)


def test_the_same_version_twice_is_one_and_two_contents_of_it_are_two_that_cannot_be_trusted():
    def said(*consents):
        found = snapshot(*consents).directives.directives
        return sorted((each.version, each.refusal) for each in found if each.source == "Consent")

    one, other = consent(version=2), consent(version=2, purposes=("coordination",))
    assert said(one, one.model_copy(), consent()) == [(2, "")]
    assert said(one, other, consent()) == [(2, "TWO_CONTENTS_OF_ONE_VERSION")] * 2


@pytest.mark.parametrize(
    ("organization", "known"),
    [
        ([CUSTODIAN], True),
        ([CUSTODIAN, NAMED["reference"]], True),
        ([CUSTODIAN, CUSTODIAN], True),
        ([NAMED["reference"]], False),
        ([CUSTODIAN, {"identifier": {"system": HSA, "value": str(UNIT.hsa_id)}}], False),
        ([{"display": "Regionen"}], False),
    ],
)
def test_a_custodian_is_known_by_one_hsa_id(organization, known):
    said = directive(foreign(PERMIT, organization=organization))
    ours = directive(consent()).custodian
    assert said.custodian == (ours if known else "")
    assert said.kind == ("collaborate" if known else "no-known-custodian")


def test_what_another_system_denies_it_does_not_deny_the_patient():
    rule = directive(foreign(DENY | {"provision": [PERMIT | {"provision": [DENY]}]})).rule
    own = rule.children[-1]
    assert (own.effect, [each.kind for each in own.actors]) == ("permit", ["patient"])
    permits, denies = rule.children[0], rule.children[0].children[0]
    assert (permits.effect, denies.effect) == ("permit", "deny")
    assert permits.children == (denies,)
    assert denies.children == (own,)


def test_a_request_names_the_recipient_what_is_done_and_who_sends():
    to = recipient("vard", hsa_id=UNIT.hsa_id, provider_hsa_id=PROVIDER.hsa_id)
    asked = policy.request(to, d.Purpose.COORDINATION, [PROVIDER.hsa_id])
    provider = directive(consent()).custodian
    assert asked.recipient == Party(
        "vard",
        identifiers=frozenset({("orgnr", NUMBERS[0]), ("hsaid", UNIT.hsa_id.upper())}),
        groups=frozenset({provider}),
    )
    assert asked.purposes == (("", "coordination"),)
    assert asked.action == ("http://terminology.hl7.org/CodeSystem/consentaction", "disclose")
    assert asked.senders == {provider}
    assert asked.allows_protected is False
    me = policy.request(recipient("patient"), d.Purpose.PATIENT_REQUEST, [])
    assert me.recipient.identifiers == {("patient", directive(consent()).patient)}
    assert policy.request(policy.Recipient("x", "patient"), d.Purpose.PATIENT_REQUEST, []).recipient == Party("patient")


def test_the_patients_own_access_is_a_rule_of_law_with_its_paragraph():
    law = next(each for each in snapshot().directives.directives if each.source == "law")
    assert law.name == "law OSL 12 kap. 1 § version 1"
    assert (law.kind, law.dated, law.patient) == ("law", Span(), directive(consent()).patient)


def test_a_snapshot_shows_nothing_of_what_it_holds():
    told = snapshot(consent(), block(), foreign(PERMIT), version=7)
    assert repr(told) == "Snapshot(consent_version=7)"
    assert PATIENT.number not in repr(recipient("patient"))


def test_a_record_of_another_patient_than_the_snapshots_is_nobodys():
    told = snapshot()
    assert policy.subject(intervention(), told).patient == directive(consent()).patient
    assert policy.subject(intervention(patient=person(OTHER)), told).patient == ""
