"""An entry for the own journal by itself: what it says, that the gate makes nothing else, and the list that it is held to."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from consent_worlds import PATIENT, PROVIDER, SYSTEM, UNIT, business
from gate_world import FORMS, JUNE, gate, in_form, mapper
from hypothesis import given
from hypothesis import strategies as st

from adapter.consent import journal_entry
from adapter.consent.gate import Cleared, Gate, Withheld
from adapter.consent.inspection import inspect, leaves
from adapter.consent.journal_entry import CATEGORIES, ENTRY, Handout
from adapter.consent.policy import Recipient
from adapter.domain import Category, PersonIdentity
from adapter.sweden import HsaId, OrganisationNumber

JOURNAL = "journal"
KOORD = "https://koord.example/fhir"
EMPLOYER = OrganisationNumber("2321000131")
HERE, OTHER = PROVIDER.hsa_id, HsaId("TSTNMT2321000131-B000")


def handout(**changes):
    facts = {
        "message_id": str(uuid4()),
        "patient": PATIENT,
        "to": EMPLOYER,
        "provider": HERE,
        "unit": UNIT.hsa_id,
        "records": (("Task", business("i1"), 1),),
        "consents": ((business("c1"), 2),),
        "categories": (Category.IDENTITY,),
    }
    return Handout(**facts | changes)


def entered(made, *, status="completed", form="json", at=JUNE, through=None):
    return (through or gate()).entry(
        made,
        status,
        at=at,
        journal=Recipient(JOURNAL, "journal", hsa_id=HERE, **in_form(form)),
        now=JUNE,
        request_id="r",
        correlation_id="c",
    )


def organisation(number):
    system = "urn:oid:1.2.752.29.4.19" if isinstance(number, HsaId) else "urn:oid:2.5.4.97"
    return {"type": "Organization", "identifier": {"system": system, "value": str(number)}}


def versioned(version):
    return {"extension": [{"url": f"{KOORD}/StructureDefinition/version", "valuePositiveInt": version}]}


def logical(kind, record):
    return {"type": kind, "identifier": {"system": SYSTEM, "value": record.value}}


named = st.tuples(st.text("abc.0123", min_size=1, max_size=9).map(business), st.integers(1, 99))
handouts = st.builds(
    handout,
    to=st.sampled_from([EMPLOYER, OTHER, None]),
    unit=st.sampled_from([UNIT.hsa_id, None]),
    patient=st.sampled_from([PATIENT, PersonIdentity(kind="samordningsnummer", number="197010632391")]),
    records=st.lists(st.tuples(st.sampled_from(["Task", "CarePlan", "Consent"]), named), min_size=1, max_size=3).map(
        lambda found: tuple((kind, *each) for kind, each in found)
    ),
    consents=st.lists(named, max_size=3).map(tuple),
    categories=st.lists(st.sampled_from(Category), max_size=3, unique=True).map(tuple),
)
statuses = st.sampled_from(["preparation", "completed", "not-done", "unknown"])


@given(handouts, statuses, st.none() | st.integers(-840, 840))
def test_an_entry_is_one_communication_with_who_got_what_and_when_and_nothing_else(made, status, minutes):
    at = None if minutes is None else JUNE.astimezone(timezone(timedelta(minutes=minutes)))
    uri = f"http://electronichealth.se/identifier/{made.patient.kind}"
    patient = {"type": "Patient", "identifier": {"system": uri, "value": made.patient.number}}
    unit = {"url": f"{KOORD}/StructureDefinition/care-unit", "valueReference": organisation(made.unit)}
    category = f"{KOORD}/CodeSystem/information-category"
    expected = {
        "resourceType": "Communication",
        "id": "42",
        "meta": {"profile": [f"{KOORD}/StructureDefinition/koord-journal-entry"]},
        "extension": [unit] if made.unit else [],
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{made.message_id}"}],
        "status": status,
        "category": [{"coding": [{"system": category, "code": each.value}]} for each in made.categories],
        "subject": patient,
        "about": [versioned(version) | logical("Consent", each) for each, version in made.consents],
        "sent": "2026-06-01T00:00:00.000+00:00" if at else None,
        "recipient": [organisation(made.to) if made.to else patient],
        "sender": organisation(HERE),
        "payload": [
            versioned(version) | {"contentReference": logical(kind, each)} for kind, each, version in made.records
        ],
    }
    bundle = journal_entry.bundle(made, status, at, "42")
    [entry] = bundle.pop("entry")
    assert bundle == {"resourceType": "Bundle", "type": "transaction"}
    assert entry == {
        "fullUrl": f"{KOORD}/Communication/42",
        "resource": {name: value for name, value in expected.items() if value},
        "request": {"method": "PUT", "url": "Communication/42"},
    }


@given(handouts, statuses)
def test_the_last_look_has_nothing_against_an_entry(made, status):
    bundle = journal_entry.bundle(made, status, JUNE, "42")
    assert inspect(bundle, ENTRY, CATEGORIES, made.patient.number) == []


def test_an_entry_holds_the_patients_number_and_what_every_resource_holds():
    assert {Category.ADMINISTRATIVE, Category.IDENTITY} == CATEGORIES
    assert entered(handout()).categories == ("administrative", "identity")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("to", [EMPLOYER, OTHER, None])
def test_an_entry_is_cleared_in_every_form_and_is_the_same_bytes_again(form, to):
    made = handout(to=to)
    first, again = entered(made, form=form), entered(made, form=form)
    assert isinstance(first, Cleared)
    assert (first.destination, first.body) == (JOURNAL, again.body)
    assert json.loads(first.explanation)["reason"] == "PERMITTED_JOURNAL_ENTRY"
    assert json.loads(first.explanation)["law"] == "PDL 3 kap. 11 §"


def test_an_entry_is_of_one_message_and_fails_closed(monkeypatch):
    cleared = entered(handout(message_id="m-1"))
    assert (cleared.decision.subject.kind, cleared.decision.subject.name) == ("Communication", "Communication m-1")
    monkeypatch.setattr(journal_entry, "bundle", lambda *_: 1 / 0)
    assert entered(handout()).reason == "GATE_ERROR"


def test_the_entry_of_a_message_keeps_its_id_so_that_the_last_word_replaces_the_first():
    for status in ("preparation", "completed"):
        [entry] = json.loads(entered(handout(message_id="m-1"), status=status).body)["entry"]
        assert entry["resource"]["id"] == "a041d6dc-e4dd-5e33-a4df-2b9c7281aef8"


def test_each_provider_that_one_sends_for_has_its_handouts_entered():
    both = Gate(senders=[OTHER, HERE], id_key=b"k" * 32, mapper=mapper())
    for provider in (HERE, OTHER):
        assert isinstance(entered(handout(provider=provider), through=both), Cleared)


def test_another_providers_handout_is_not_entered():
    assert isinstance(entered(handout(provider=OTHER)), Withheld)


@pytest.mark.parametrize(
    "seeded",
    [
        {"text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}},
        {"note": [{"text": "HEMLIG"}]},
        {"statusReason": {"text": "HEMLIG"}},
        {"reasonReference": [{"reference": "Condition/1"}]},
        {"subject": {"display": "Tolvan Tolvansson"}},
        {"sender": {"identifier": {"system": "x", "value": "y", "assigner": {"display": "z"}}}},
        {"payload": [{"contentString": "HEMLIG"}]},
        {"topic": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-se", "code": "F32"}]}},
        {"meta": {"security": [{"code": "R"}]}},
        {"status": "in-progress"},
        {"subject": {"type": "Patient", "identifier": {"system": "x", "value": "195009072553"}}},
        {"language": "sv"},
    ],
)
def test_whatever_else_stands_in_an_entry_is_refused_by_the_last_look(monkeypatch, seeded):
    make = journal_entry.bundle

    def leaking(*arguments):
        made = make(*arguments)
        made["entry"][0]["resource"] |= seeded
        return made

    monkeypatch.setattr(journal_entry, "bundle", leaking)
    result = entered(handout())
    assert isinstance(result, Withheld)
    assert result.reason in {"UNEXPECTED_CONTENT", "INVALID_CONTENT"}


FREE = {"id", "sent", "about.extension:version.valuePositiveInt", "payload.extension:version.valuePositiveInt"} | {
    f"{each}.identifier.{part}"
    for each in (
        *("subject", "about", "recipient", "sender"),
        *("extension:care-unit.valueReference", "payload.contentReference"),
    )
    for part in ("system", "value")
}


def put(node, path, value):
    """Write a value at a path as the last look names it."""
    step, _, rest = path.partition(".")
    name, _, url = step.partition(":")
    node = next(each for each in node[name] if each["url"].endswith(f"/{url}")) if url else node
    inner = node if url else node[step]
    if not rest:
        node[step] = value
    else:
        put(inner[0] if isinstance(inner, list) else inner, rest, value)


@pytest.mark.parametrize("path", sorted(ENTRY.elements["Communication"] - FREE - {"identifier.value"}))
def test_what_is_not_an_id_a_version_or_the_time_has_one_of_a_few_values(path):
    made = journal_entry.bundle(handout(), "completed", JUNE, "42")
    put(made["entry"][0]["resource"], path, "else")
    [fault] = inspect(made, ENTRY, CATEGORIES, PATIENT.number)
    assert (fault.where, fault.why) == (f"Communication.{path}", "not among the values for journal")


@pytest.mark.parametrize(("place", "value"), [("type", "batch"), ("method", "POST")])
def test_an_entry_is_a_transaction_that_puts(place, value):
    made = journal_entry.bundle(handout(), "completed", JUNE, "42")
    (made if place == "type" else made["entry"][0]["request"])[place] = value
    [fault] = inspect(made, ENTRY, CATEGORIES, PATIENT.number)
    assert fault.why == "not among the values for journal"


def test_everything_that_is_made_is_on_the_list_and_everything_on_the_list_is_made():
    made = set()
    for each in (handout(), handout(to=None)):
        bundle = json.loads(entered(each).body)
        made |= {path.removeprefix("Communication.") for path, _ in leaves(bundle["entry"][0]["resource"])}
        around = [{name: each[name] for name in ("fullUrl", "request")} for each in bundle["entry"]]
    assert made == ENTRY.elements["Communication"]
    assert {path.removeprefix("Bundle.") for path, _ in leaves(bundle | {"entry": around})} == ENTRY.elements["Bundle"]
    assert set(ENTRY.elements) == {"Bundle", "Communication"}


def test_the_time_of_an_entry_is_utc_and_the_entry_of_what_never_left_has_none():
    told = json.loads(entered(handout(), at=datetime(2026, 11, 21, 12, tzinfo=UTC)).body)
    assert told["entry"][0]["resource"]["sent"].endswith("+00:00")
    untold = json.loads(entered(handout(), status="not-done", at=None).body)
    assert "sent" not in untold["entry"][0]["resource"]


def test_the_time_is_told_to_the_millisecond():
    at = datetime(2026, 11, 21, 12, 0, 1, 234567, tzinfo=UTC)
    made = journal_entry.bundle(handout(), "completed", at, "42")
    assert made["entry"][0]["resource"]["sent"] == "2026-11-21T12:00:01.234+00:00"


def test_nothing_that_a_log_may_print_names_the_patient_or_who_got_it():
    for secret in (PATIENT.number, EMPLOYER):
        assert secret not in repr(handout())
