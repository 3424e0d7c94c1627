"""The audit log as FHIR AuditEvents: each of them valid, and as the patterns of IHE BALP 1.1.3 say."""

from __future__ import annotations

import asyncio
import json

import pytest
from audit_world import OPERATOR, OTHER, PATIENT, WORDS, entries, eventful, patient_key
from hypothesis import given, settings
from hypothesis import strategies as st
from region import UNIT
from region import settings as region_settings
from store_world import START, World

from adapter.flows import audit_events
from adapter.flows.audit_events import EVENTS, audit_event
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.tables import load
from adapter.validation import validate
from adapter.wire import json as wire
from adapter.wire import xml

BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
DCM = "http://dicom.nema.org/resources/ontology/DCM"


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """Every entry of an eventful region, and the AuditEvent that it became."""

    async def go():
        async with eventful(tmp_path_factory.mktemp("region")) as adapter:
            log = await entries(adapter)
            made = [await adapter.store.read(audit_event, each, adapter.settings) for each in log]
            return list(zip(log, made, strict=True)), patient_key(adapter)

    return asyncio.run(go())


def of(events, profile):
    return [made for _, made in events[0] if BALP + profile in made["meta"]["profile"]]


def codes(concepts):
    return [concept["coding"][0]["code"] if "coding" in concept else concept["code"] for concept in concepts]


def agents(event):
    return {agent["type"]["coding"][0]["code"]: agent for agent in event["agent"]}


def entities(event, code):
    return [entity for entity in event["entity"] if entity["type"]["code"] == code]


def own_code(event):
    return next(each["code"] for each in event["subtype"] if each["system"] == EVENTS)


# All of them


def test_every_audit_event_is_valid_in_json_and_in_xml(events):
    for entry, made in events[0]:
        assert [fault for fault in validate(made) if fault.severity == "error"] == [], entry.entry.event
        assert wire.read(wire.write(made)) == made
        assert xml.read(xml.write(made)) == made


def test_every_audit_event_says_what_where_when_who_and_about_whom(events):
    for written, made in events[0]:
        entry = written.entry
        assert own_code(made) == entry.event
        assert made["source"]["site"] == entry.unit
        assert made["recorded"].startswith(written.at.strftime("%Y-%m-%dT"))
        assert made["outcome"] == {"ok": "0", "refused": "4"}[entry.outcome]
        assert made["agent"]
        patients = entities(made, "1") if entry.patient_key else []
        assert [each["what"]["identifier"]["value"] for each in patients] == [entry.patient_key] * bool(patients)


def test_ids_are_stable_and_say_nothing(events):
    ids = [made["id"] for _, made in events[0]]
    assert len(set(ids)) == len(ids)
    assert all(len(each) == 36 for each in ids)


def test_no_audit_event_holds_content_a_number_of_a_person_or_words(events):
    text = json.dumps([made for _, made in events[0]])
    for secret in (PATIENT, OTHER, WORDS, "Tolvan", "HEMLIG", "Kim Karlsson", "Verkstaden"):
        assert secret not in text


EVENT_CODES = sorted(load().codes["audit-event"].keys)
"""All that is written: tests/test_make_profiles.py."""


@given(
    event=st.sampled_from(EVENT_CODES),
    who=st.sampled_from(["adapter", "region-b", OPERATOR]),
    what=st.sampled_from(["", "0191", "employer"]),
    outcome=st.sampled_from(["ok", "refused"]),
    patient=st.none() | st.just("ab" * 32),
    unit=st.sampled_from([None, UNIT, "region-b"]),
)
@settings(max_examples=60)
def test_every_entry_that_can_be_written_becomes_a_valid_audit_event(
    tmp_path_factory, event, who, what, outcome, patient, unit
):
    configured = region_settings(tmp_path_factory.getbasetemp())
    world = World()
    entry = Entry(event, who, what, outcome, "CONSENT_BLOCKED", patient, b"words", unit)
    world.do(audit.append, [entry], now=START)
    (written,) = world.do(audit.entries)
    made = world.do(audit_event, written, configured)
    assert [fault for fault in validate(made) if fault.severity == "error"] == []
    assert "CONSENT_BLOCKED" not in json.dumps(made)
    world.close()


# What left: Privacy Disclosure at the source


def test_what_was_sent_is_a_disclosure_from_us_to_the_recipient(events):
    sent = [made for made in of(events, "PrivacyDisclosure.Source") if own_code(made) == "message.delivered"]
    assert len(sent) == 2
    for made in sent:
        assert (made["type"], made["action"], made["outcome"]) == ({"system": DCM, "code": "110106"}, "R", "0")
        assert "disclose" in codes(made["subtype"])
        source, recipient = agents(made)["110153"], agents(made)["110152"]
        assert source["who"] == made["source"]["observer"]
        assert source["network"]["address"]
        assert recipient["network"] == {"address": recipient["network"]["address"], "type": "5"}
        assert len(entities(made, "1")) == 1
        assert entities(made, "2")
        assert entities(made, "Consent")
        assert codes(made["purposeOfEvent"]) == ["COC"]
    who = {agents(made)["110152"]["who"]["identifier"]["value"] for made in sent}
    assert who == {"employer", "TSTNMT2321000131-B000"}


def test_an_answer_to_a_search_is_a_disclosure_that_does_not_hold_the_search(events):
    (made,) = [each for each in of(events, "PrivacyDisclosure.Source") if own_code(each) == "record.searched"]
    assert codes(made["subtype"]) == ["disclose", "search-type", "record.searched"]
    assert not any("query" in entity for entity in made["entity"])
    assert agents(made)["110152"]["requestor"] is True


# What was read: Patient Read


def test_what_was_read_is_a_read_of_one_resource_about_one_patient(events):
    (made,) = of(events, "PatientRead")
    assert codes([made["type"]]) == ["rest"]
    assert codes(made["subtype"]) == ["read", "record.read"]
    assert (made["action"], made["outcome"]) == ("R", "0")
    client, server = agents(made)["110152"], agents(made)["110153"]
    assert (client["who"]["identifier"]["value"], client["altId"]) == ("TSTNMT2321000131-B000", "region-b")
    assert "network" in client
    assert server["network"]["address"]
    assert (len(entities(made, "1")), len(entities(made, "2"))) == (1, 1)
    assert codes([entities(made, "2")[0]["role"]]) == ["4"]


# What was withheld: Authorization Decision


def test_what_was_withheld_is_a_refusal_of_which_nothing_is_told(events):
    refused = of(events, "AuthZconsent")
    assert {own_code(made) for made in refused} == {"message.refused", "record.read", "record.searched"}
    for made in refused:
        assert (made["type"], made["action"], made["outcome"]) == ({"system": DCM, "code": "110113"}, "E", "4")
        assert made["subtype"][0]["code"] == "AuthZ-Consent"
        found = agents(made)
        assert set(found) == {"110150", "IRCP", "PROV", "authserver"}
        assert found["authserver"]["who"] == made["source"]["observer"]
        assert [found[each]["requestor"] for each in ("IRCP", "PROV", "authserver")] == [True, False, False]
        assert "network" in found["110150"]
        assert not any("network" in found[each] for each in ("IRCP", "PROV", "authserver"))
        assert codes([entity["type"] for entity in made["entity"]]) == ["1", "Consent"]
        assert found["IRCP"]["name"] in {"adapter", "region-b"}
        assert "purposeOfEvent" not in made


def test_refusals_for_different_reasons_look_the_same(events, tmp_path):
    """Whether a spärr, a missing consent or a refused one was the reason is for our own log alone."""
    configured, world = region_settings(tmp_path), World()
    reasons = ["NO_CONSENT", "BLOCKED_INNER", "CONSENT_WITHDRAWN", "PROTECTED_IDENTITY"]
    new = [Entry("record.read", "region-b", "r", "refused", reason, "ab" * 32) for reason in reasons]
    world.do(audit.append, new, now=START)
    made = [world.do(audit_event, each, configured) for each in world.do(audit.entries)]
    assert len({json.dumps({**each, "id": ""}) for each in made}) == 1
    world.close()


# Everything else


@pytest.mark.parametrize(
    ("event", "outcome"),
    [("message.retry", "4"), ("message.fault", "8"), ("message.dead", "8"), ("withdrawal.dead", "8")],
)
def test_an_attempt_that_failed_is_a_failure(tmp_path, event, outcome):
    configured, world = region_settings(tmp_path), World()
    world.do(audit.append, [Entry(event, "adapter", "m", patient_key="ab" * 32)], now=START)
    (written,) = world.do(audit.entries)
    assert world.do(audit_event, written, configured)["outcome"] == outcome
    world.close()


def test_what_follows_no_pattern_claims_none(events):
    for _, made in events[0]:
        if own_code(made) in {"record.accepted", "message.resent", "destination.paused"}:
            assert made["meta"]["profile"] == ["https://koord.example/fhir/StructureDefinition/koord-audit-event"]
    people = [made for _, made in events[0] if own_code(made) == "message.resent"]
    assert agents(people[0])["humanuser"]["who"]["identifier"]["value"] == OPERATOR


def test_every_event_that_the_adapter_writes_has_a_code_of_one_form():
    assert {"record.accepted", "record.received", "changes.read", "message.released"} <= set(EVENT_CODES)
    assert all(audit_events.EVENTS.startswith("https://") and code.count(".") == 1 for code in EVENT_CODES)
