"""R5 beside R4: judged, read as ours, and let out by the same gate as R4."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest
import region as r
import strategies
from consent_worlds import PATIENT, consent, intervention, recipient
from gate_world import SENT, clear, gate, in_form, leaking, put, records_for, resources
from hypothesis import given
from hypothesis import strategies as st
from service_world import MAPPER, codes, fresh, of_region_b, serving

from adapter import domain as d
from adapter.consent.decide import Reason
from adapter.consent.gate import Cleared, Withheld
from adapter.consent.handed_over import is_ours
from adapter.consent.questions import answer
from adapter.dates import Moment
from adapter.definitions import definitions
from adapter.domain import read_record, written_record
from adapter.mapping import Mapper, transaction
from adapter.sweden import identifier_systems
from adapter.tables import load
from adapter.validation import diagnosis_content, errors, validate
from adapter.validation.fhirpath import runs
from adapter.validation.invariants import INVARIANTS
from adapter.wire import json, xml
from adapter.wire.media import Media, media_of
from tests.fhir_generated import Maker

R5 = {"content_type": "application/fhir+json; fhirVersion=5.0"}
IN_R5 = Mapper(load("R5"))
PERSON = {"identifier": {"system": "http://electronichealth.se/identifier/personnummer", "value": "191212121212"}}


def task(**more):
    return {"resourceType": "Task", "status": "requested", "intent": "order", "for": PERSON} | more


def bundle(kind, *entries, **more):
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)} | more


def found(resource):
    return {(fault.code, fault.why.partition(" ")[2]) for fault in errors(validate(resource, "R5"))}


# validation

RIGHT = {
    "reason as a concept": task(statusReason={"concept": {"text": "x"}}, requestedPeriod={"start": "2026"}),
    "a consent": {"resourceType": "Consent", "status": "not-done", "subject": PERSON, "date": "2026-02", "decision": "deny"},
    "a large file": {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": {"size": "9223372036854775807", "url": "urn:x"}}]},
    "a language of a pattern": {"resourceType": "Patient", "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "sv-SE"}]}}]},
    "a search": bundle("searchset", {"fullUrl": "https://a.example/Task/1", "resource": task(id="1")}, link=[{"relation": "self", "url": "https://a.example/Task"}]),
    "a Task that fulfils another": task(
        code={"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]}, focus={"reference": "ServiceRequest/1"}, restriction={"repetitions": 1}
    ),
}  # fmt: skip
WRONG = {
    "R4's element": (task(restriction={"period": {"start": "2026"}}), ("fhir.invariant", "tsk-1")),
    "R4's form": (task(statusReason={"text": "x"}), ("fhir.unknown-element", "CodeableReference")),
    "R4's code": ({"resourceType": "Consent", "status": "rejected"}, ("fhir.code", "Consent.status required http://hl7.org/fhir/ValueSet/consent-state-codes")),
    "R4's element of a type": ({"resourceType": "Organization", "name": "x", "telecom": []}, ("fhir.unknown-element", "Organization")),
    "a time where there is a day": ({"resourceType": "Consent", "status": "active", "date": "2026-01-01T00:00:00Z"}, ("fhir.format", "date")),
    "a number in place of its text": ({"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": {"size": 1, "url": "urn:x"}}]}, ("fhir.type", "Attachment.size")),
    "a size below zero": ({"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": {"size": "-5", "url": "urn:x"}}]}, ("fhir.invariant", "datatypes.html#Attachment.size")),
    "a size that is not that of the data": ({"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": {"size": "5", "data": "QUJD", "contentType": "text/plain"}}]}, ("fhir.invariant", "datatypes.html#Attachment.size")),
    "a number beyond 64 bits": ({"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": {"size": "9223372036854775808", "url": "urn:x"}}]}, ("fhir.format", "integer64")),
    "a language that is none": ({"resourceType": "Patient", "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "sv SE"}]}}]}, ("fhir.code", "Patient.communication.language required http://hl7.org/fhir/ValueSet/all-languages")),
    "a search without its link (bdl-18)": (bundle("searchset", {"fullUrl": "https://a.example/Task/1", "resource": task(id="1")}), ("fhir.invariant", "bdl-18")),
    "a request in a collection (bdl-3a)": (bundle("collection", {"fullUrl": "https://a.example/Task/1", "resource": task(id="1"), "request": {"method": "GET", "url": "x"}}), ("fhir.invariant", "bdl-3a")),
    "a transaction without requests (bdl-3c)": (bundle("transaction", {"fullUrl": "https://a.example/Task/1", "resource": task(id="1")}), ("fhir.invariant", "bdl-3c")),
    "an entry without a place (bdl-15)": (bundle("collection", {"resource": task()}), ("fhir.invariant", "bdl-15")),
    "an organisation at home (org-3)": ({"resourceType": "Organization", "name": "x", "contact": [{"telecom": [{"system": "phone", "value": "1", "use": "home"}]}]}, ("fhir.invariant", "org-3")),
    "a target of another type than the element says": (
        {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": PERSON, "addresses": [{"reference": {"reference": "Task/1"}}]}, ("fhir.reference-target", "targets"),
    ),
    "a reference that says nothing (ref-2)": (task(owner={"type": "Organization"}), ("fhir.invariant", "ref-2")),
    "on behalf of oneself (prov-1)": (
        {"resourceType": "Provenance", "target": [{"reference": "Task/1"}], "agent": [{"who": {"reference": "Organization/1"}, "onBehalfOf": {"reference": "Organization/1"}}]},
        ("fhir.invariant", "prov-1"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("resource", RIGHT.values(), ids=RIGHT)
def test_what_is_right_in_r5_is_not_complained_of(resource):
    assert found(resource) == set()


@pytest.mark.parametrize(("resource", "fault"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_in_r5_is_told_with_its_rule(resource, fault):
    assert fault in found(resource)


NOT_JUDGED = {
    ("Bundle", "bdl-14"): "as it is written, it looks at histories of one entry only",
    ("Bundle", "bdl-7"): "the engine cannot tell nodes apart",
    ("Bundle", "bdl-11"): "the engine does not know the types of resources",
    ("Bundle", "bdl-12"): "the same",
    ("Bundle", "bdl-16"): "the engine gives no answer for several issues, which are not the one that is asked for",
    ("Duration", "drt-1"): "no system is no answer, which others count as a fault",
    ("Task", "inv-1"): "the engine orders times of different precision",
    ("Bundle", "bdl-13"): "the type that it asks for has no structure here, so that none is made",
    ("Condition", "con-3"): "two codings are never at once what is asked for, and the engine takes them apart",
    ("Expression", "exp-2"): "the engine finds the pattern anywhere in the name",
    ("Period", "per-1"): "the engine has no lowBoundary",
    ("Range", "rng-2"): "the engine has no lowBoundary",
    ("Provenance.agent", "prov-1"): "the engine follows no reference",
    ("Timing.repeat", "tim-9"): "the engine wants one code on the right of in",
}


def stated():
    """Every invariant of R5 that a function keeps, with its expression."""
    known = definitions("R5")
    waiting, seen = [known.shape(name) for name in known._types if not known.is_primitive(name)], set()
    while waiting:
        shape = waiting.pop()
        if shape is not None and shape.path not in seen:
            seen.add(shape.path)
            for constraint in (*shape.constraints, *(c for element in shape.elements for c in element.constraints)):
                if (constraint.path, constraint.key) in INVARIANTS["R5"]:
                    yield (constraint.path, constraint.key), constraint.expression
            waiting += [known.shape_of(element) for element in shape.properties.values()]


STATED = dict(stated())


@pytest.mark.parametrize("at", sorted(set(INVARIANTS["R5"]) - set(NOT_JUDGED)), ids="|".join)
def test_an_invariant_of_r5_says_what_fhirpath_says(at):
    known = definitions("R5")
    shape = known.shape(at[0]) or known.shape_of(known.element(at[0]))
    holds, outcomes = runs(known, STATED[at]), set()
    for seed in range(150):
        maker = Maker(seed, richness=(0.2, 0.5, 0.9)[seed % 3], companions=False, release="R5")
        value = maker.resource(at[0]) if at[0] in known.resource_types else maker.object(shape, 1)
        told = holds(value, value)
        if told is not None:
            assert INVARIANTS["R5"][at](value) == told, (STATED[at], value)
            outcomes.add(told)
    assert outcomes


@pytest.mark.parametrize("name", sorted(definitions("R5").resource_types))
def test_generated_resources_of_r5_have_no_fault_of_structure_and_survive_xml(name):
    tolerated = {"fhir.invariant", "fhir.dangling", "fhir.code-unknown"}
    for seed in range(30):
        resource = Maker(seed, Random(seed).choice((0.1, 0.4)), release="R5").resource(name)
        assert {fault.code for fault in errors(validate(resource, "R5"))} <= tolerated
        assert xml.read(xml.write(resource, release="R5"), release="R5") == resource


@pytest.mark.parametrize("resource", [task(reason=[{"concept": {"text": "x"}}]), task(reason=[{"reference": {"display": "x"}}])], ids=["concept", "reference"])  # fmt: skip
def test_a_medical_reason_of_r5_is_a_diagnosis_and_r4s_reason_of_a_provenance_is_none(resource):
    assert diagnosis_content(resource, "R5")
    assert not diagnosis_content({"resourceType": "Provenance", "reason": [{"text": "x"}]}, "R4")


# mapping


@given(strategies.records())
def test_every_package_is_valid_in_r5(record):
    assert errors(validate(transaction(IN_R5.to_fhir(record)), "R5")) == []


def asks(consent, record, actor, purposes, categories):
    """A question to the engine as others would ask it, of one Consent alone."""
    systems, codes_of = identifier_systems(), load().codes
    numbers = {"orgnr": actor.organisation_number, "hsaid": actor.hsa_id}
    recipient = {
        "references": [],
        "identifiers": [{"system": systems[name].uri, "value": str(value)} for name, value in numbers.items() if value],
        "groups": [],
    }

    def coded(table, keys):
        return [{"system": codes_of[table].systems[0], "code": codes_of[table].code(key)} for key in keys]

    request = {"patient": (consent.get("patient") or consent["subject"])["reference"], "recipient": recipient}
    request["purpose"] = coded("purpose", purposes)
    request |= {"classes": coded("information-category", categories)} if categories else {}
    now = "2026-06-01T12:00:00+02:00"
    return {"id": 1, "now": now, "policy": "generic", "consents": [consent], "request": request}


@given(strategies.consents(), strategies.actors(), st.data())
def test_our_consents_permit_the_same_to_those_who_read_r5(drawn, other, data):
    period = data.draw(st.sampled_from([None, d.Period(start=Moment("2026")), d.Period(end=Moment("2026-05"))]))
    known = {"state": d.ConsentState.GIVEN, "given_on": Moment("2020-01-01"), "period": period}
    record = drawn.model_copy(update={**known, "withdrawn": None, "representative": None})
    actor = data.draw(st.sampled_from([record.recipient or other, other]))
    purposes = data.draw(st.lists(st.sampled_from(d.Purpose), min_size=1, max_size=2, unique=True))
    categories = data.draw(st.sampled_from([record.categories, (d.Category.NOTE,), ()]))
    decided = {
        mapper.tables.release: json.read(answer(json.write(asks(consent, record, actor, purposes, categories))).line)
        for mapper in (MAPPER, IN_R5)
        for consent in [mapper.to_fhir(record).resources[0]]
    }
    assert is_ours(IN_R5.to_fhir(record).resources[0])
    assert (decided["R4"]["decision"] == "permit") == (decided["R5"]["decision"] == "permit")


# the gate


@pytest.mark.parametrize("kind", SENT)
def test_a_recipient_gets_no_other_things_in_r5_than_in_r4(kind):
    """As many resources of the same types, and the same texts, numbers and dates in them."""

    def told(form):
        to = recipient(kind, **in_form(form))
        for record in records_for(to):
            cleared = clear(record, to)
            assert isinstance(cleared, Cleared), cleared.faults
            yield sorted(_texts(resources(cleared)))

    assert list(told("json")) == list(told("json R5")) == list(told("xml R5"))


def _texts(node):
    """Every text that is not a name of FHIR's own: extensions' addresses and logical ids differ or are compared elsewhere."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name not in {"url", "profile"}:
                yield from _texts(value)
    elif isinstance(node, list):
        for item in node:
            yield from _texts(item)
    else:
        yield str(node)


def test_what_does_not_validate_in_the_destinations_release_leaves_in_none():
    """A row that writes R4's element for a destination in R5."""
    through = gate(leaking(put("statusReason", {"text": "x"}, "Task")))
    to = recipient("vard", release="R5")
    stopped = clear(intervention(), to, consents=[consent()], through=through)
    assert isinstance(stopped, Withheld)
    assert stopped.reason is Reason.INVALID_CONTENT


def test_a_release_whose_tables_are_not_loaded_sends_nothing():
    stopped = clear(intervention(), recipient("vard", release="R5"), consents=[consent()], through=gate(Mapper(load())))
    assert isinstance(stopped, Withheld)
    assert stopped.reason is Reason.GATE_ERROR


def test_the_release_is_in_the_seal():
    cleared = clear(intervention(), recipient("vard", release="R5"), consents=[consent()])
    assert media_of(cleared.content_type) == Media("json", "R5")
    assert PATIENT.number in cleared.body.decode()


# the service


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service")) as world:
        document = r.submission(
            r.consent("c-open", "interventions"), r.intervention("i-open"), r.intervention("i-more")
        )
        assert world.hand_over(document).status_code == 202
        yield world


def search(world, accept, kind="Task", number="191212121212"):
    form = {"patient:identifier": f"http://electronichealth.se/identifier/personnummer|{number}"}
    return world.call("region-b", "POST", f"/fhir/{kind}/_search", data=form, headers={"accept": accept})


@pytest.mark.parametrize("form", ["json", "xml"])
@pytest.mark.parametrize("number", ["191212121212", "196101182803"], ids=["known", "unknown"])
def test_a_search_is_answered_in_the_release_that_is_asked_for(world, form, number):
    answer = search(world, f"application/fhir+{form}; fhirVersion=5.0", number=number)
    assert answer.headers["content-type"] == f"application/fhir+{form}; fhirVersion=5.0"
    read = json.read(answer.content) if form == "json" else xml.read(answer.content, release="R5")
    assert errors(validate(read, "R5")) == []
    assert read["link"] == [{"relation": "self", "url": "https://koord.example/fhir/Task"}]
    assert ("entry" in read) == (number == "191212121212")


def test_what_was_found_is_read_in_both_releases_with_the_same_version(world):
    (entry, *_) = search(world, "application/fhir+json; fhirVersion=5.0").json()["entry"]
    place = f"/fhir/Task/{entry['resource']['id']}"
    as_r4, as_r5 = (
        world.call("region-b", "GET", place, headers={"accept": f"application/fhir+json; fhirVersion={version}"})
        for version in ("4.0", "5.0")
    )
    assert as_r4.headers["etag"] == as_r5.headers["etag"]
    assert errors(validate(as_r4.json(), "R4")) == errors(validate(as_r5.json(), "R5")) == []


def test_a_transaction_in_r5_is_the_same_record_and_is_answered_in_r5(world):
    document = of_region_b(r.intervention(fresh("i")))
    record = read_record(document)[0]
    answer = world.send(transaction(IN_R5.to_fhir(record)), **R5)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == R5["content_type"]
    assert errors(validate(answer.json(), "R5")) == []
    again = world.send(transaction(MAPPER.to_fhir(record)))
    assert again.status_code == 200, "and the same record in R4 is no other"
    feed = world.call("journal", "GET", "/records/changes", params={"limit": 1000}).json()["changes"]
    assert [each["record"] for each in feed if each["record"]["id"] == document["id"]] == [written_record(record)]


def test_r5_that_says_to_be_r4_is_refused_and_the_reverse(world):
    record = read_record(of_region_b(r.intervention(fresh("i"))))[0]
    for mapper, headers in ((IN_R5, {}), (MAPPER, R5)):
        answer = world.send(transaction(mapper.to_fhir(record)), **headers)
        assert answer.status_code in {400, 422}
        assert codes(answer)


def test_an_intervention_in_r5_with_a_medical_reason_is_refused(world):
    sent = transaction(IN_R5.to_fhir(read_record(of_region_b(r.intervention(fresh("i"))))[0]))
    sent["entry"][0]["resource"]["reason"] = [{"concept": {"text": "x"}}]
    assert "fhir.diagnosis" in codes(world.send(sent, **R5))


@given(st.sampled_from(["json", "xml"]), st.sampled_from(["R4", "R5"]))
def test_a_media_type_that_is_written_is_read_as_it_was_meant(form, release):
    assert media_of(str(Media(form, release))) == Media(form, release)
    assert dataclasses.replace(Media(form, release)) == Media(form, release)
