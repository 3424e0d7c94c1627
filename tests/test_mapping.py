"""The mapping, both ways."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from adapter.dates import day
from adapter.domain import Activity, Category, Meeting, read_record, written_record
from adapter.errors import Invalid, Unmappable
from adapter.mapping import Mapper, Permission, actor_keys, collection, transaction
from adapter.tables import load
from adapter.validation import validate

MAPPER = Mapper(load())
IN_R5 = Mapper(load("R5"))
KEPT_AS_A_DAY = {"Consent": "given_on", "Block": "set_on"}
"""What R5 has no time for."""


def as_kept(record, release):
    """The record as a release can hold it."""
    name = KEPT_AS_A_DAY.get(record.record) if release == "R5" else None
    return record.model_copy(update={name: day(getattr(record, name))}) if name else record


@pytest.mark.parametrize("release", ["R4", "R5"])
@pytest.mark.parametrize("kind", strategies.KINDS)
@given(data=st.data())
def test_what_goes_out_comes_back_the_same(release, kind, data):
    mapper, record = Mapper(load(release)), data.draw(strategies.KINDS[kind]())
    reading = mapper.from_fhir(mapper.to_fhir(record).resources)
    assert reading.records == (as_kept(record, release),)
    assert reading.losses == ()


@pytest.mark.parametrize("kind", strategies.KINDS)
@given(data=st.data())
def test_what_a_release_cannot_hold_is_stated_and_nothing_else_is(kind, data):
    record = data.draw(strategies.KINDS[kind]())
    assert MAPPER.narrowed(record) == ()
    stated = [(fault.code, fault.where, fault.severity) for fault in IN_R5.narrowed(record)]
    lost = as_kept(record, "R5") != record
    assert stated == ([("mapping.narrowed", KEPT_AS_A_DAY[record.record], "warning")] if lost else [])


@given(strategies.consents())
def test_a_consent_in_r5_permits_nothing_but_what_its_innermost_provision_says(record):
    """In R5 a provision is an exception to what stands above it: a permission for all of the recipient's purposes must not appear."""
    consent = IN_R5.to_fhir(record).resources[0]
    assert consent["decision"] == "permit"
    inner = [deep for outer in consent.get("provision", []) for deep in outer["provision"]]
    assert [set(outer) for outer in consent.get("provision", [])] == [{"provision"}] * len(inner)
    assert bool(inner) == bool(record.recipient or record.purposes or record.categories)
    for provision in inner:
        assert len(provision.get("purpose", [])) == len(record.purposes)
        assert len(provision.get("documentType", [])) == len(record.categories)
        assert set(provision) <= {"actor", "purpose", "documentType"}


@given(strategies.blocks())
def test_no_block_looks_like_a_permission_in_any_release(record):
    assert MAPPER.to_fhir(record).resources[0]["provision"]["type"] == "deny"
    assert IN_R5.to_fhir(record).resources[0]["decision"] == "deny"


@given(strategies.consents() | strategies.blocks(), st.booleans())
def test_the_codes_of_a_category_are_read_in_one_concept_as_in_one_each_in_any_order(record, turned):
    resources = copy.deepcopy(MAPPER.to_fhir(record).resources)
    codings = [coding for category in resources[0]["category"] for coding in category["coding"]]
    assert len(codings) == 2
    resources[0]["category"] = [{"coding": codings[:: -1 if turned else 1]}]
    reading = MAPPER.from_fhir(resources)
    assert (reading.records, reading.losses) == ((record,), ())


@given(strategies.records())
def test_a_record_survives_its_json_form(record):
    assert read_record(written_record(record))[0] == record


def resources_of_a(kind, data):
    record = data.draw(strategies.KINDS[kind]())
    return record, [copy.deepcopy(resource) for resource in MAPPER.to_fhir(record).resources]


def leaves(value, path=""):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value


FOREIGN = [
    ("description", "en fri text"),
    ("language", "sv"),
    ("extension", [{"url": "https://elsewhere.example/x", "valueString": "y"}]),
    ("text", {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">y</div>'}),
    ("meta", {"tag": [{"system": "https://elsewhere.example/t", "code": "z"}]}),
]


@pytest.mark.parametrize("kind", strategies.KINDS)
@given(data=st.data())
def test_what_no_row_reads_is_named_and_the_rest_is_read_as_before(kind, data):
    record, resources = resources_of_a(kind, data)
    name, value = data.draw(st.sampled_from(FOREIGN))
    target = data.draw(st.sampled_from(resources))
    if name == "description" and target["resourceType"] != "Task":
        name, value = FOREIGN[1]
    target[name] = (
        [*target.get(name, []), *value]
        if isinstance(value, list)
        else target.get(name, {}) | value
        if isinstance(value, dict)
        else value
    )
    reading = MAPPER.from_fhir(resources)
    assert reading.records == (record,)
    added = {f"{target['resourceType']}.{name}{path}" for path, _ in leaves(value)}
    assert {re.sub(r"\[\d+\]", "", loss.where) for loss in reading.losses} == added


@pytest.mark.parametrize("kind", strategies.KINDS)
@given(data=st.data())
def test_a_modifier_that_nobody_knows_refuses_the_resource(kind, data):
    _, resources = resources_of_a(kind, data)
    resources[0]["modifierExtension"] = [{"url": "https://elsewhere.example/not", "valueBoolean": True}]
    with pytest.raises(Unmappable) as caught:
        MAPPER.from_fhir(resources)
    assert {fault.code for fault in caught.value.faults} == {"mapping.modifier"}


@given(strategies.records(), st.sets(st.sampled_from(Category)))
def test_nothing_stands_in_a_package_that_no_permitted_row_wrote(record, categories):
    categories = frozenset(categories) | {Category.ADMINISTRATIVE}
    trace = []
    package = MAPPER.to_fhir(record, permission=Permission(categories), trace=trace)
    assert {line.written for line in trace if line.category not in categories} <= {False}
    everything = Counter(
        leaf for resource in MAPPER.to_fhir(record).resources for leaf in leaves(resource) if leaf[0] != ".id"
    )
    some = Counter(leaf for resource in package.resources for leaf in leaves(resource) if leaf[0] != ".id")
    assert set(some) <= set(everything) | {leaf for leaf in some if leaf[0].endswith(".reference")}


@given(strategies.care_plans() | strategies.interventions(), strategies.actors(), st.sets(st.sampled_from(Category)))
def test_what_is_about_another_actor_leaves_no_trace(record, other, categories):
    """Two worlds that differ only in what is about another actor give the same package for this one."""
    keys = actor_keys("5560360793", None)
    permission = Permission(frozenset(categories), keys)
    if record.record == "CarePlan":
        activity = Activity(text="något annat", state="planned", actor=other)
        changed = record.model_copy(update={"activities": (activity, *record.activities), "participants": (other,)})
    else:
        changed = record.model_copy(update={"met": (*record.met, Meeting(actor=other, contact="Kim")), "owner": other})
    assert MAPPER.to_fhir(changed, permission=permission) == MAPPER.to_fhir(record, permission=permission)


@pytest.mark.parametrize(
    ("name", "harmless", "meaningful"),
    [
        ("active", True, False),
        ("deceasedBoolean", False, None),
        ("identifier", "secondary", "old"),
        ("identifier", "usual", "temp"),
    ],
)
def test_modifiers_that_say_what_is_assumed_anyway_are_only_named(name, harmless, meaningful):
    def patient_with(value):
        resources = [copy.deepcopy(r) for r in MAPPER.to_fhir(read_record(INTERVENTION)[0]).resources]
        patient = next(r for r in resources if r["resourceType"] == "Patient")
        if name == "identifier":
            patient["identifier"][0]["use"] = value
        else:
            patient[name] = value
        return resources

    assert MAPPER.from_fhir(patient_with(harmless)).records
    if meaningful is not None:
        with pytest.raises(Unmappable) as caught:
            MAPPER.from_fhir(patient_with(meaningful))
        assert {fault.code for fault in caught.value.faults} == {"mapping.modifier"}


@given(strategies.care_plans())
def test_an_intent_that_the_table_does_not_write_refuses_the_resource(plan):
    resources = [copy.deepcopy(r) for r in MAPPER.to_fhir(plan).resources]
    resources[0]["intent"] = "order"
    with pytest.raises(Unmappable) as caught:
        MAPPER.from_fhir(resources)
    assert [(f.code, f.where) for f in caught.value.faults] == [("mapping.modifier", "CarePlan.intent")]


def test_an_unknown_code_of_our_own_system_is_refused_and_not_dropped():
    resources = [copy.deepcopy(r) for r in MAPPER.to_fhir(read_record(INTERVENTION)[0]).resources]
    resources[0]["code"]["coding"][0]["code"] = "massage"
    with pytest.raises(Unmappable) as caught:
        MAPPER.from_fhir(resources)
    assert caught.value.first.code == "mapping.unknown-code"


def test_faults_of_a_record_are_told_at_the_fhir_path():
    resources = [copy.deepcopy(r) for r in MAPPER.to_fhir(read_record(INTERVENTION)[0]).resources]
    del resources[0]["requester"]
    with pytest.raises(Invalid) as caught:
        MAPPER.from_fhir(resources)
    assert [(f.code, f.where) for f in caught.value.faults] == [("record.required", "Task.requester (performer)")]


def test_a_logical_reference_is_enough_for_a_party():
    resources = [copy.deepcopy(r) for r in MAPPER.to_fhir(read_record(INTERVENTION)[0]).resources]
    task = resources[0]
    task["for"] = {"identifier": task["for"]["identifier"]}
    reading = MAPPER.from_fhir([r for r in resources if r["resourceType"] != "Patient"])
    assert reading.records[0].patient.identity.number == "191212121212"


def test_a_reference_that_leads_nowhere_is_an_error_of_its_own():
    resources = [copy.deepcopy(r) for r in MAPPER.to_fhir(read_record(INTERVENTION)[0]).resources]
    with pytest.raises(Unmappable) as caught:
        MAPPER.from_fhir([r for r in resources if r["resourceType"] != "PractitionerRole"])
    assert (caught.value.first.code, caught.value.first.where) == ("mapping.unresolved", "Task.requester")


def test_resources_of_a_bundle_refer_to_each_other_by_full_url():
    bundle = collection(MAPPER.to_fhir(read_record(INTERVENTION)[0]))
    names = {
        f"{e['resource']['resourceType']}/{e['resource']['id']}": f"urn:uuid:{e['resource']['id']}"
        for e in bundle["entry"]
    }
    text = json.dumps(bundle)
    for relative, urn in names.items():
        text = text.replace(f'"reference": "{relative}"', f'"reference": "{urn}"')
    bundle = json.loads(text)
    for entry in bundle["entry"]:
        entry["fullUrl"] = f"urn:uuid:{entry['resource'].pop('id')}"
    reading = MAPPER.from_fhir(bundle)
    assert written_record(reading.records[0]) == written_record(read_record(INTERVENTION)[0])
    assert reading.losses == ()


def test_several_records_of_one_bundle_are_read_each():
    first, second = (
        read_record(INTERVENTION)[0],
        read_record({**INTERVENTION, "id": {"system": "urn:x:1", "value": "2"}})[0],
    )
    resources = [*MAPPER.to_fhir(first).resources, *MAPPER.to_fhir(second).resources]
    assert MAPPER.from_fhir(resources).records == (first, second)


def test_nothing_of_ours_is_an_error_and_says_what_is_looked_for():
    with pytest.raises(Unmappable) as caught:
        MAPPER.from_fhir([{"resourceType": "Patient", "id": "1"}])
    assert caught.value.first.code == "mapping.no-record"


INTERVENTION = {
    "record": "Intervention",
    "id": {"system": "urn:oid:1.2.752.129.2.1.2.1", "value": "TSTNMT2321000016-S001:1"},
    "kind": "samverkan",
    "state": "requested",
    "patient": {"identity": {"kind": "personnummer", "number": "191212121212"}, "given_names": ["Tolvan"]},
    "unit": {"hsa_id": "TSTNMT2321000016-105N", "name": "Vårdcentralen Åsen"},
    "provider": {"hsa_id": "TSTNMT2321000016-1003"},
    "performer": {"hsa_id": "TSTNMT2321000016-105P", "phone": "010-123 45 67"},
    "authored_on": "2026-11-21",
    "met": [{"actor": {"category": "arbetsgivare", "organisation_number": "2321000131"}, "contact": "Kim"}],
}


@pytest.mark.parametrize("release", ["R4", "R5"])
@given(strategies.records(), st.sets(st.sampled_from(Category)))
def test_whatever_is_permitted_the_package_is_valid_fhir(release, record, categories):
    permission = Permission(frozenset(categories) | {Category.ADMINISTRATIVE})
    package = Mapper(load(release)).to_fhir(record, permission=permission)
    assert [fault for fault in validate(transaction(package), release) if fault.severity == "error"] == []
