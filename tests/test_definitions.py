"""What is known of FHIR R4, and that it is facts only."""

from __future__ import annotations

import json
import re

import pytest

from adapter.definitions import Definitions, definitions
from adapter.resources import folder

KNOWN = definitions()
FACT_KEYS = {"path", "card", "types", "content", "binding", "modifier", "attribute", "constraints"}


def every_shape():
    waiting = [KNOWN.shape(name) for name in KNOWN._types if not KNOWN.is_primitive(name)]
    seen = {}
    while waiting:
        shape = waiting.pop()
        if shape is None or shape.path in seen:
            continue
        seen[shape.path] = shape
        waiting += [KNOWN.shape_of(element) for element in shape.properties.values()]
    return seen


@pytest.mark.parametrize(
    ("path", "defined_at", "kind"),
    [
        ("Task.status", "Task.status", "code"),
        ("Task.id", "Resource.id", "id"),
        ("Task.restriction.id", "Element.id", "string"),
        ("Task.restriction.period.start", "Period.start", "dateTime"),
        ("Task.extension.valueCode", "Extension.value[x]", "code"),
        ("Task.extension.extension.extension.url", "Extension.url", "uri"),
        ("Task.input.valueReference.display", "Reference.display", "string"),
        ("CarePlan.activity.detail.status", "CarePlan.activity.detail.status", "code"),
        ("CarePlan.activity.detail.scheduledTiming.repeat.when", "Timing.repeat.when", "code"),
        ("Consent.provision.provision.provision.actor.role.coding.code", "Coding.code", "code"),
        ("Bundle.entry.link.url", "Bundle.link.url", "uri"),
        ("Bundle.entry.resource", "Bundle.entry.resource", "Resource"),
        ("Parameters.parameter.part.part.name", "Parameters.parameter.name", "string"),
        ("Age.value", "Quantity.value", "decimal"),
    ],
)
def test_a_path_leads_through_types_groups_choices_and_content_references(path, defined_at, kind):
    element = KNOWN.element(path)
    assert (element.path, element.type) == (defined_at, kind)


@pytest.mark.parametrize(
    "path",
    [
        "Task.statuz", "Task.status.value", "Task.value", "Nothing.status", "Task.input.value", "Task.input.valueNothing",
        "CarePlan.activity.detail.quantity.comparator", "Task", "", ".", "Task.", ".status", "Bundle.entry.resource.status",
    ],
)  # fmt: skip
def test_a_path_that_is_not_in_the_specification_is_none(path):
    assert KNOWN.element(path) is None
    assert KNOWN.children(path) == () or path == "Task"


def test_lists_are_told_from_single_elements():
    assert KNOWN.element("Task.note").is_list
    assert KNOWN.element("Patient.name.given").is_list
    assert not KNOWN.element("Task.code").is_list
    assert not KNOWN.element("Bundle.entry.resource").is_list


def test_children_come_in_the_order_of_the_specification_inherited_ones_first():
    assert [child.name for child in KNOWN.children("Period")] == ["id", "extension", "start", "end"]
    assert [child.name for child in KNOWN.children("Task")][:9] == [
        "id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension", "identifier",
    ]  # fmt: skip
    assert [child.name for child in KNOWN.children("Task.restriction")] == [
        "id", "extension", "modifierExtension", "repetitions", "period", "recipient",
    ]  # fmt: skip
    for shape in every_shape().values():
        assert [element.order for element in shape.elements] == list(range(len(shape.elements)))


def test_a_choice_is_one_element_and_one_property_per_type():
    choice = KNOWN.element("Goal.start[x]")
    assert choice.is_choice
    assert {kind.code for kind in choice.types} == {"date", "CodeableConcept"}
    assert KNOWN.shape("Goal").choices["start[x]"] == ("startDate", "startCodeableConcept")
    concrete = KNOWN.element("Goal.startDate")
    assert (concrete.choice, concrete.type, concrete.base_name, concrete.is_choice) == (
        "start[x]",
        "date",
        "start",
        False,
    )


def test_only_ids_and_extension_urls_are_xml_attributes():
    attributes = {
        element.path for shape in every_shape().values() for element in shape.elements if element.is_attribute
    }
    assert attributes == {"Element.id", "Extension.url"}


def test_reference_targets_are_known():
    targets = set(KNOWN.element("Consent.patient").types[0].targets)
    assert targets == {"Patient"}
    assert "PractitionerRole" in KNOWN.element("Task.owner").types[0].targets


def test_every_type_that_an_element_names_is_itself_known():
    for shape in every_shape().values():
        for element in shape.properties.values():
            kind = element.type
            known = KNOWN.is_primitive(kind) or kind == "Resource" or KNOWN.shape_of(element) is not None
            assert known, element.path


def test_every_required_binding_has_its_codes():
    for shape in every_shape().values():
        for element in shape.elements:
            if element.binding and element.binding.strength == "required":
                codes = KNOWN.codes(element.binding.value_set)
                assert codes.all or codes.patterns, element.path
    assert KNOWN.codes("http://hl7.org/fhir/ValueSet/consent-state-codes").all == {
        "draft", "proposed", "active", "rejected", "inactive", "entered-in-error",
    }  # fmt: skip
    assert "4.0.1" in KNOWN.codes("http://hl7.org/fhir/ValueSet/FHIR-version").all


def test_every_extensible_binding_has_its_codes():
    for shape in every_shape().values():
        for element in shape.elements:
            if element.binding and element.binding.strength == "extensible":
                codes = KNOWN.codes(element.binding.value_set)
                assert codes.all or codes.patterns, element.path
                assert KNOWN.has_codes(element.binding.value_set)
    assert KNOWN.codes("http://hl7.org/fhir/ValueSet/consent-scope").all == {
        "adr", "research", "patient-privacy", "treatment",
    }  # fmt: skip


def test_a_value_set_that_is_only_preferred_has_no_codes_here():
    assert not KNOWN.has_codes("http://hl7.org/fhir/ValueSet/goal-achievement")
    with pytest.raises(KeyError):
        KNOWN.codes("http://hl7.org/fhir/ValueSet/goal-achievement")


def test_a_code_system_is_known_whole_or_not_at_all():
    assert KNOWN.system("http://terminology.hl7.org/CodeSystem/consentscope") == {
        "adr", "research", "patient-privacy", "treatment",
    }  # fmt: skip
    assert KNOWN.system("http://snomed.info/sct") is None
    assert KNOWN.system("http://unitsofmeasure.org") is None
    for value_set in (*KNOWN._codes, *KNOWN._extensible):
        for system, codes in KNOWN.codes(value_set).by_system.items():
            assert KNOWN.system(system) is None or codes <= KNOWN.system(system), (value_set, system)


def test_primitive_types_have_their_limits_and_those_of_the_type_that_they_narrow():
    assert KNOWN.limits("positiveInt") == {"minimum": -(2**31), "maximum": 2**31 - 1}
    assert KNOWN.limits("markdown") == KNOWN.limits("string") == {"maxLength": 1024 * 1024}
    assert KNOWN.limits("date") == {}


def test_modifiers_are_marked():
    for path in ("Task.status", "Task.modifierExtension", "Consent.status", "Patient.active", "Bundle.implicitRules"):
        element = KNOWN.element(path)
        assert element is None or element.is_modifier, path
    assert not KNOWN.element("Task.note").is_modifier


def test_the_names_of_all_resources_are_known_but_only_some_structures():
    assert len(KNOWN.resource_names) == 148
    assert KNOWN.resource_types < KNOWN.resource_names
    assert "Observation" in KNOWN.resource_names - KNOWN.resource_types
    assert "DomainResource" not in KNOWN.resource_types


def test_none_of_the_sentences_of_hl7_is_kept():
    for file in (folder("profiles") / "definitions" / "r4").glob("*.json"):
        content = json.loads(file.read_text("utf-8"))
        if file.stem == "extensions":  # tests/test_hl7_extensions.py
            continue
        if file.stem in ("codes", "extensible", "index", "systems"):
            assert not re.search(r'"(display|definition|comment|human)":', file.read_text("utf-8"))
            continue
        assert set(content) <= {"name", "kind", "base", "abstract", "constraints", "elements"}
        for row in content["elements"]:
            assert set(row) <= FACT_KEYS


def test_a_type_is_read_when_it_is_first_asked_for():
    fresh = Definitions("R4")
    assert fresh._files == {}
    fresh.element("Period.start")
    assert set(fresh._files) == {"Period", "Element"}
