"""HL7's own extensions of R4 are judged by their definitions, and where these are not known nobody is blamed."""

from __future__ import annotations

import json
from itertools import chain

import pytest

from adapter.definitions import Definitions, definitions
from adapter.profiles import BASE, Profiles, profiles
from adapter.resources import folder
from adapter.validation import validate
from adapter.validation.profiles import Against
from adapter.validation.quick import compiled
from adapter.validation.walk import Walk

KNOWN = profiles("R4")
ROWS = json.loads((folder("profiles") / "definitions" / "r4" / "extensions.json").read_bytes())["extensions"]
RELIGIONS = "http://terminology.hl7.org/CodeSystem/v3-ReligiousAffiliation"


def hl7(name, **content):
    return {"url": BASE + name, **content}


def patient(**more):
    return {"resourceType": "Patient", **more}


def born(*extensions):
    return patient(birthDate="1990-01-01", _birthDate={"extension": list(extensions)})


def faults(resource, release="R4", severity="error"):
    found = validate(resource, release=release)
    return {(fault.code, fault.where) for fault in found if fault.severity == severity}


ABSENT = hl7("data-absent-reason", valueCode="unknown")
BIRTH_TIME = hl7("patient-birthTime", valueDateTime="1990-01-01T04:30:00Z")
OWN_PREFIX = hl7("humanname-own-prefix", valueString="von")
NATIONALITY = hl7(
    "patient-nationality",
    extension=[
        {"url": "code", "valueCodeableConcept": {"text": "svensk"}},
        {"url": "period", "valuePeriod": {"start": "1990"}},
    ],
)
LOCATION = hl7("consent-location", valueReference={"reference": "Location/1"})
CONSENT = {
    "resourceType": "Consent", "status": "draft", "scope": {"text": "x"}, "category": [{"text": "x"}], "policyRule": {"text": "x"},
}  # fmt: skip


@pytest.mark.parametrize(
    "resource",
    [
        patient(_birthDate={"extension": [ABSENT]}),
        patient(extension=[ABSENT]),
        patient(name=[{"extension": [ABSENT]}]),
        patient(extension=[{"url": "https://example.org/x", "extension": [ABSENT]}]),
        born(BIRTH_TIME),
        born(hl7("tz-code", valueCode="Europe/Stockholm")),
        patient(name=[{"family": "x", "_family": {"extension": [OWN_PREFIX]}}]),
        patient(name=[{"text": "x", "_text": {"extension": [hl7("rendering-markdown", valueMarkdown="x")]}}]),
        patient(extension=[NATIONALITY, NATIONALITY]),
        patient(extension=[NATIONALITY | {"extension": [*NATIONALITY["extension"], ABSENT]}]),
        CONSENT | {"provision": {"extension": [LOCATION], "provision": [{"extension": [LOCATION]}]}},
    ],
    ids=lambda resource: json.dumps(resource)[:120],
)
def test_an_extension_of_hl7_is_at_home_in_its_contexts(resource):
    assert faults(resource) == set()


@pytest.mark.parametrize(
    ("resource", "code", "where"),
    [
        (patient(extension=[BIRTH_TIME]), "fhir.extension-place", "Patient.extension[0]"),
        (patient(name=[{"extension": [OWN_PREFIX]}]), "fhir.extension-place", "Patient.name[0].extension[0]"),
        ({"resourceType": "Practitioner", "extension": [NATIONALITY]}, "fhir.extension-place", "Practitioner.extension[0]"),
        (patient(extension=[hl7("questionnaire-hidden", valueBoolean=True)]), "fhir.extension-place", "Patient.extension[0]"),
        (patient(modifierExtension=[ABSENT]), "fhir.extension-place", "Patient.modifierExtension[0]"),
        (born(hl7("data-absent-reason", valueString="unknown")), "fhir.type", "Patient.birthDate.extension[0].value"),
        (born(hl7("data-absent-reason", valueCode="nowhere")), "fhir.code", "Patient.birthDate.extension[0].value"),
        (born(hl7("data-absent-reason")), "fhir.missing", "Patient.birthDate.extension[0].value"),
        (
            patient(extension=[hl7("patient-birthPlace", extension=[ABSENT])]),
            "profile.prohibited",
            "Patient.extension[0].extension",
        ),
        (
            patient(extension=[NATIONALITY | {"extension": [{"url": "code", "valueString": "svensk"}]}]),
            "fhir.type",
            "Patient.extension[0].extension[0].value",
        ),
        (
            patient(extension=[NATIONALITY | {"extension": [*NATIONALITY["extension"], {"url": "part", "valueString": "x"}]}]),
            "fhir.extension-unknown",
            "Patient.extension[0].extension[2]",
        ),
        (
            patient(extension=[NATIONALITY | {"extension": NATIONALITY["extension"] * 2}]),
            "fhir.too-many",
            "Patient.extension[0].extension",
        ),
        (
            patient(extension=[hl7("patient-religion", valueCodeableConcept={"coding": [{"system": RELIGIONS, "code": "0"}]})]),
            "fhir.code-unknown",
            "Patient.extension[0].value",
        ),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)  # fmt: skip
def test_an_extension_of_hl7_is_refused_in_another_place_or_with_other_content(resource, code, where):
    assert (code, where) in faults(resource)


def test_an_extension_that_changes_the_meaning_stands_among_the_modifiers():
    prohibited = hl7("capabilitystatement-prohibited", valueBoolean=True)

    def statement(name):
        operation = {"name": "x", "definition": "https://example.org/x", name: [prohibited]}
        return {
            "resourceType": "CapabilityStatement", "status": "draft", "date": "2026", "kind": "requirements", "description": "x",
            "fhirVersion": "4.0.1", "format": ["json"], "rest": [{"mode": "server", "operation": [operation]}],
        }  # fmt: skip

    assert faults(statement("modifierExtension")) == set()
    where = "CapabilityStatement.rest[0].operation[0].extension[0]"
    assert faults(statement("extension")) == {("fhir.extension-place", where)}


def test_a_code_beside_an_extensible_value_set_is_told_and_a_text_alone_is_not():
    other = {"coding": [{"system": "https://example.org/religions", "code": "0"}]}
    found = faults(patient(extension=[hl7("patient-religion", valueCodeableConcept=other)]), severity="warning")
    assert found == {("fhir.code-extensible", "Patient.extension[0].value")}
    assert not validate(patient(extension=[hl7("patient-religion", valueCodeableConcept={"text": "x"})]))


def test_what_is_not_known_of_hl7_is_nobodys_fault():
    assert not validate(patient(extension=[hl7("no-such-extension", valueBoolean=True)]))
    assert not validate(born(hl7("data-absent-reason", valueString="unknown")), release="R5")


def test_no_binding_of_an_extension_is_to_codes_that_are_not_known():
    """Else each use of it would be told of."""
    bound = [row["binding"] for facts in ROWS.values() for row in facts["elements"] if "binding" in row]
    assert len(bound) > 10
    for binding in bound:
        strength, _, value_set = binding.partition(" ")
        assert strength in ("required", "extensible")
        assert KNOWN.codes(value_set) is not None, value_set


@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_extension_of_hl7_takes_the_types_of_value_that_it_names_and_no_other(name):
    assert compiled(KNOWN, KNOWN.profile(BASE + name))
    value = next((row for row in ROWS[name]["elements"] if row["id"] == "Extension.value[x]"), {"card": "0..1"})
    allowed = {word.partition("(")[0].partition("<")[0] for word in value.get("types", ())}
    against = Against(KNOWN, lambda _: None, str, {})
    for kind in definitions().element("Extension.value[x]").types:
        found = []
        extension = hl7(name, **{f"value{kind.code[0].upper()}{kind.code[1:]}": {}})
        assert against.profile(BASE + name, extension, (None, "Extension"), extension, found.append)
        codes = {fault.code for fault in found}
        if value["card"] == "0..0":
            assert "profile.prohibited" in codes
        else:
            assert ("fhir.type" in codes) == (bool(allowed) and kind.code not in allowed)


def test_the_rows_hold_facts_of_every_extension_and_stay_small():
    assert len(ROWS) == 391
    assert (folder("profiles") / "definitions" / "r4" / "extensions.json").stat().st_size < 250_000
    for facts in ROWS.values():
        assert set(facts) == {"contexts", "elements"}
        assert all(kind == "element" for kind, _ in facts["contexts"])
        for row in facts["elements"]:
            assert set(row) <= {"id", "card", "types", "fixed", "binding", "modifier"}


def test_they_are_read_only_where_an_extension_of_hl7_occurs():
    known = Profiles("R4")
    known.base = Definitions("R4")
    for url in known.own:
        assert compiled(known, known.profile(url))
    Walk(known).resource(patient(extension=[{"url": "https://example.org/x", "valueString": "x"}]))
    assert "_extensions" not in vars(known.base)
    Walk(known).resource(patient(extension=[NATIONALITY]))
    assert "_extensions" in vars(known.base)


def written(folder, *resources):
    for number, resource in enumerate(resources):
        (folder / f"{number}.json").write_text(json.dumps(resource), "utf-8")
    return folder


def test_a_package_that_defines_an_extension_of_hl7_anew_is_the_one_that_is_asked(tmp_path):
    everywhere = {
        "resourceType": "StructureDefinition", "url": BASE + "patient-birthTime", "name": "x", "type": "Extension", "kind": "complex-type",
        "context": [{"type": "element", "expression": "Element"}], "snapshot": {"element": [{"id": "Extension", "path": "Extension", "min": 0, "max": "*"}]},
    }  # fmt: skip
    resource = patient(extension=[BIRTH_TIME])
    assert [fault.code for fault in validate(resource)] == ["fhir.extension-place"]
    assert not validate(resource, packages=(written(tmp_path, everywhere),))


def test_a_profile_of_others_can_ask_for_an_extension_of_hl7(tmp_path):
    """Its slice is told by the extension's url, which the profile says by naming the definition."""
    steps = {"id": "Patient.extension", "path": "Patient.extension", "min": 1, "max": "*"}
    part = {"id": "Patient.extension:n", "path": "Patient.extension", "min": 1, "max": "1", "sliceName": "n"}
    profile = {
        "resourceType": "StructureDefinition", "url": "https://example.org/p", "name": "p", "type": "Patient", "kind": "resource",
        "snapshot": {
            "element": [
                {"id": "Patient", "path": "Patient", "min": 0, "max": "*"},
                steps | {"slicing": {"discriminator": [{"type": "value", "path": "url"}], "rules": "open"}},
                part | {"type": [{"code": "Extension", "profile": [BASE + "patient-nationality"]}]},
            ]
        },
    }  # fmt: skip
    package = written(tmp_path, profile)

    def missing(*extensions):
        found = validate(patient(extension=list(extensions)), profiles=["https://example.org/p"], packages=(package,))
        return [fault.code for fault in found]

    assert missing(NATIONALITY) == []
    assert missing(hl7("patient-birthPlace", valueAddress={"city": "x"})) == ["fhir.missing"]
    assert missing(NATIONALITY, NATIONALITY) == ["fhir.too-many"]


def test_the_contexts_of_what_our_resources_can_carry_lead_somewhere():
    known = definitions()
    expressions = {expression for _, expression in chain.from_iterable(facts["contexts"] for facts in ROWS.values())}
    ours = {each for each in expressions if each.partition(".")[0] in known.types}
    assert len(ours) > 40
    assert {each for each in ours if "." in each and known.element(each) is None} == set()
