"""The invariants of our profiles: the Python functions say what fhirpathrs says of the expressions in the profiles."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
from fhirpathrs import evaluate
from hypothesis import given
from hypothesis import strategies as st

from adapter.tables import CANONICAL
from adapter.validation import own_invariants
from adapter.validation.own_invariants import OWN, SAID

PROFILES = Path(__file__).parents[1] / "profiles"
RELEASES = ("r4", "r5")


def stated(release):
    """Key → its expression, and the elements (profile's type, path, canonical) on which profiles state it."""
    found = {}
    for file in sorted((PROFILES / "generated" / release).glob("StructureDefinition-*.json")):
        definition = json.loads(file.read_text("utf-8"))
        for element in definition["snapshot"]["element"]:
            for constraint in element.get("constraint", ()):
                if constraint["key"].startswith("koord-"):
                    expression, places = found.setdefault(constraint["key"], (constraint["expression"], set()))
                    assert constraint["expression"] == expression
                    places.add((definition["type"], element["path"], definition["url"]))
    return found


STATED = {release: stated(release) for release in RELEASES}


def examples(folder):
    return {
        file.stem: json.loads(file.read_text("utf-8"))
        for file in sorted((PROFILES / "examples" / folder).glob("*.json"))
    }


VALID, INVALID = examples("r4"), examples("invalid")
SOURCES = {key: made["meta"]["profile"][0].rpartition("/")[2] for key, made in INVALID.items()}
"""Invariant → the example that is changed until it breaks it: that of the profile that it still names."""


def objects(value):
    """A value and every object in it."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(child)


def at(node, steps):
    """Every object that a path leads to."""
    if not steps:
        return [node]
    found = node.get(steps[0], ())
    listed = found if isinstance(found, list) else [found]
    return [inner for each in listed if isinstance(each, dict) for inner in at(each, steps[1:])]


def elements(key, resource):
    """Every object in a resource on which the R4 profiles state an invariant."""
    for kind, path, canonical in sorted(STATED["r4"][key][1]):
        if kind == "Extension":
            yield from (each for each in objects(resource) if each.get("url") == canonical)
        else:
            for each in objects(resource):
                if each.get("resourceType") == kind:
                    yield from at(each, path.split(".")[1:])


def oracle(expression, element):
    """What a validator makes of an expression: only true is true. fhirpathrs does not know that valueCoding is a value."""
    plain = json.loads(json.dumps(element).replace('"valueCoding"', '"value"'))
    return evaluate(expression, plain, {}) is True


def failing(resource):
    return {key for key in OWN for each in elements(key, resource) if not OWN[key](each)}


def test_every_key_in_the_profiles_has_its_function_and_every_function_its_key():
    assert set(OWN) == STATED["r4"].keys() | STATED["r5"].keys()


def test_every_invariant_has_an_example_that_holds_and_one_that_breaks_it():
    assert set(OWN) == set(INVALID)
    for key, source in SOURCES.items():
        assert list(elements(key, VALID[source])), key
        assert list(elements(key, INVALID[key])), key


@pytest.mark.parametrize("name", VALID)
def test_the_example_of_a_profile_breaks_nothing(name):
    assert failing(VALID[name]) == set()


@pytest.mark.parametrize("key", INVALID)
def test_what_must_fail_fails_that_invariant_and_no_other(key):
    assert failing(INVALID[key]) == {key}


@pytest.mark.parametrize("key", OWN)
def test_the_functions_agree_with_the_expressions_on_every_example(key):
    for resource in (*VALID.values(), *INVALID.values()):
        for element in elements(key, resource):
            assert OWN[key](element) == oracle(STATED["r4"][key][0], element)


# Changed examples

SYSTEMS = [
    "https://www.icd10.se/",
    "https://www.icd10.se",
    "http://hl7.org/fhir/sid/icd-10",
    "http://hl7.org/fhir/sid/icpc-2",
    "urn:oid:1.2.752.116.1.1.1.1.1",
    "urn:oid:1.2.752.116.1.1.1.1.3",
    "urn:oid:1.2.752.116.1.1.10",
    "urn:oid:1.2.752.116.1.3.2.1.4",
    "urn:oid:1.2.752.116.1.3.1.4.1",
    "urn:oid:2.16.840.1.113883.6.3",
    "urn:oid:2.16.840.1.113883.6.30",
    "urn:oid:2.16.840.1.113883.6.103",
    "http://snomed.info/sct",
    f"{CANONICAL}/CodeSystem/intervention-kind",
    "http://electronichealth.se/identifier/personnummer",
    "urn:oid:1.2.752.129.2.1.3.1",
    "http://dicom.nema.org/resources/ontology/DCM",
    "https://www.socialstyrelsen.se/statistik-och-data/klassifikationer-och-koder/kva/",
]
MOMENTS = [
    "2025",
    "2024",
    "2025-02",
    "2025-01",
    "2025-02-03",
    "2025-02-02",
    "2025-02-03T09:00:00Z",
    "2025-02-03T09:30:00+01:00",
    "2025-02-02T23:30:00-05:30",
    "2025-01-30T09:15:00.123+01:00",
    "2025-01-30T10:30:00+01:00",
]
ACTS = ["https://example.org/2008355", "https://example.org/2022913", "https://example.org/act"]
POOLS = {
    "system": SYSTEMS,
    "code": ["GC001", "416409005", "416308001", "representative", "patient", "1", "110113", "Condition", "M54.5"],
    "status": ["active", "inactive", "rejected", "accepted", "requested", "completed"],
    "reference": ["Condition/1", "https://x.example/Condition/1", "Patient/1", "Conditional/1", "urn:uuid:1"],
    "type": ["Condition", "Patient", "Task"],
    "valueDateTime": MOMENTS,
    "dateTime": MOMENTS,
    "valueInteger": [0, 25, 50, 75, 80, 100],
    "uri": ACTS,
    "method": ["PUT", "POST", "DELETE"],
    "resourceType": ["Condition", "Basic", "Task"],
    "url": [
        *(f"{CANONICAL}/StructureDefinition/{name}" for name in ("informed", "withdrawn", "diagnosis", "answered-on")),
        "on",
        "by",
        "code",
        "degree",
        "Task/1",
    ],
}
"""What may stand in the place of a text or number, by the name of its element."""
GRAFTS = {
    "contained": [{"resourceType": "Condition", "id": "c"}],
    "reference": "Condition/1",
    "system": "https://www.icd10.se/",
    "identifier": {"system": "urn:oid:1.2.752.29.4.19", "value": "1"},
    "purposeOfEvent": [{"text": "x"}],
}


def places(node):
    """Every object and the name of each thing in it."""
    for each in objects(node):
        for name in each:
            yield each, name


@pytest.mark.parametrize("key", OWN)
def test_the_functions_agree_with_the_expressions_whatever_one_value_is(key):
    expression = STATED["r4"][key][0]
    for source in (VALID[SOURCES[key]], INVALID[key]):
        resource = deepcopy(source)
        for node, name in [place for place in places(resource) if place[1] in POOLS]:
            if isinstance(node[name], dict | list) or node is resource:
                continue
            was = node[name]
            for value in POOLS[name]:
                node[name] = value
                for element in elements(key, resource):
                    assert OWN[key](element) == oracle(expression, element), (name, value)
            node[name] = was


@st.composite
def changed(draw, key):
    resource = deepcopy(draw(st.sampled_from([VALID[SOURCES[key]], INVALID[key]])))
    for _ in range(draw(st.integers(1, 4))):
        node, name = draw(st.sampled_from(list(places(resource))))
        value = node[name]
        kinds = ["remove"] if node is not resource or name not in {"resourceType", "status"} else []
        kinds += ["replace"] * 4 if name in POOLS and not isinstance(value, dict | list) else []
        kinds += ["double"] if isinstance(value, list) else []
        kinds += ["graft"]
        match draw(st.sampled_from(kinds)):
            case "remove":
                del node[name]
            case "replace" if node is not resource or name != "resourceType":
                node[name] = draw(st.sampled_from(POOLS[name]))
            case "double":
                node[name] = [*value, *deepcopy(value)]
            case "graft":
                grafted = draw(st.sampled_from(list(GRAFTS)))
                node.setdefault(grafted, deepcopy(GRAFTS[grafted]))
    return resource


@pytest.mark.parametrize("key", OWN)
@given(data=st.data())
def test_the_functions_agree_with_the_expressions_on_examples_that_are_changed(key, data):
    resource = data.draw(changed(key))
    for element in elements(key, resource):
        assert OWN[key](element) == oracle(STATED["r4"][key][0], element)


FOR_R5 = {"koord-informed-first": {"dateTime": "date"}, "koord-withdrawn-by": {"performer": "grantor"}}
"""Where R5 has another name for what the invariant looks at."""


def as_r5(resource, names):
    renamed = {names.get(name, name): value for name, value in resource.items()}
    if "policy" in renamed:
        renamed["policyBasis"] = {"url": renamed.pop("policy")[0].get("uri")}
    if "date" in renamed:
        renamed["date"] = renamed["date"][:10]
    return renamed


@pytest.mark.parametrize("key", sorted(STATED["r5"]))
def test_the_functions_agree_with_the_expressions_of_r5(key):
    for source in (VALID[SOURCES[key]], INVALID[key]):
        for element in elements(key, source):
            given_in_r5 = as_r5(element, FOR_R5.get(key, {}))
            assert OWN[key](given_in_r5) == oracle(STATED["r5"][key][0], given_in_r5)


ODD = [None, "", "x", 1, [], [None], ["x"], {}, {"coding": "x"}, {"coding": [None]}, [{"url": 1}]]


@pytest.mark.parametrize("key", OWN)
@given(data=st.data())
def test_the_functions_never_fail_on_what_has_another_shape(key, data):
    resource = deepcopy(VALID[SOURCES[key]])
    element = data.draw(st.sampled_from(list(elements(key, resource))))
    for _ in range(data.draw(st.integers(1, 3))):
        node, name = data.draw(st.sampled_from(list(places(element))))
        node[name] = deepcopy(data.draw(st.sampled_from(ODD)))
    assert OWN[key](element) in {True, False}


@pytest.mark.parametrize("key", SAID)
@pytest.mark.parametrize("value", [None, True, 1, "GC001", [], [{"code": {"coding": [{"system": "x"}]}}]])
def test_what_is_no_object_breaks_no_invariant_that_is_said_as_a_schema(key, value):
    assert OWN[key](value)


# One by one

ICD, KVA = "https://www.icd10.se/", "urn:oid:1.2.752.116.1.3.2.1.4"
ARC = "urn:oid:2.16.840.1.113883.6."
KIND, GC001 = {"system": f"{CANONICAL}/CodeSystem/intervention-kind", "code": "samverkan"}, {"code": "GC001"}
REFUSED = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110113"}
INNER, OUTER = (
    {"category": [{"coding": [{"system": "http://snomed.info/sct", "code": code}]}]}
    for code in ("416409005", "416308001")
)


def coded(*codings):
    return {"resourceType": "Task", "code": {"coding": [*codings]}}


def informed(on, given):
    told = {"url": "on", "valueDateTime": on}
    return {"dateTime": given, "extension": [{"url": f"{CANONICAL}/StructureDefinition/informed", "extension": [told]}]}


def entry(url, *ids, method="PUT"):
    return {"resource": [{"id": each} for each in ids], "request": {"method": method, "url": url}}


def acts(block, *uris):
    return block | {"policy": [{"uri": uri} for uri in uris]}


def offer(status, **more):
    return {"resourceType": "Task", "status": status} | more


ANSWERED = {"extension": [{"url": f"{CANONICAL}/StructureDefinition/answered-on", "valueDate": "2025-02-03"}]}


HOLDS = {
    "koord-gc001": [
        {}, {"code": {}}, {"code": "x"}, {"code": {"coding": "x"}}, coded("x", None, {}), coded({"display": "x"}),
        *(coded(KIND, GC001 | {"system": system}) for system in (KVA, SYSTEMS[-1], "urn:oid:1.2.752.116.1.1.1.1.1")),
        coded(GC001 | {"system": KVA}, KIND), coded({"system": "urn:x", "code": "y"}), coded({"code": "samverkan"}),
    ],
    "koord-no-diagnosis": [
        {}, {"contained": ["Condition"]}, {"contained": [{"resourceType": "Patient"}]}, {"focus": {"resourceType": "Condition"}},
        {"resourceType": "Condition"}, {"type": "Condition"}, {"focus": {"reference": "MyCondition/1"}},
        {"focus": {"reference": "Condition"}}, {"focus": {"reference": 1, "type": 1, "system": 1}},
        coded({"system": "urn:oid:1.2.752.116.1.1.1.1.1", "code": "GC001"}), *(coded({"system": f"{ARC}{arc}"}) for arc in (4, 43, 91, 104)),
    ],
    "koord-subject-given": [{"reference": "Patient/1"}, {"identifier": {}}, {"_reference": {}}, {"_identifier": {}}],
    "koord-informed-first": [
        informed("2025-02-02", "2025-02-03"), informed("2025-02-02", "2025-02-02"), informed("2025-02", "2025-01-01"),
        informed("2025-02-03T08:00:00Z", "2025-02-03T09:00:00Z"), informed("2025-02-03T09:00:00+01:00", "2025-02-03T08:00:00-01:00"),
        informed(1, "2025"), informed("2025", 1),
    ],
    "koord-offer-answer": [
        {}, offer("requested"), offer("accepted", **ANSWERED), offer("rejected", **ANSWERED), offer("", extension=[]),
    ],
    "koord-entry-request": [
        {}, entry("Task/a", "a"), entry("Task/a", "a", "b"), entry("Task", "a", method="POST"), entry("x", method="POST"),
    ],
    "koord-audit-refusal": [
        {"purposeOfEvent": [{"text": "x"}]}, {"type": REFUSED}, {"type": REFUSED | {"code": "110112"}, "purposeOfEvent": [{}]},
        {"type": REFUSED | {"system": "urn:x"}, "purposeOfEvent": [{}]}, {"type": REFUSED, "entity": [{"what": {"reference": "Patient/1"}}]},
        {"type": REFUSED, "entity": [{"type": {"code": "2"}}]}, {"type": REFUSED, "entity": [{"type": {}, "what": {"reference": "x"}}]}, {"type": REFUSED, "entity": [{"type": {"code": "1"}, "what": {"reference": "x"}}]},
        {"type": REFUSED, "entity": [{"type": {"code": "2"}, "what": {"display": "x"}}]},
    ],
    "koord-block-act": [
        {}, acts(INNER, "https://x.example/2008355"), acts(INNER, "urn:x", "https://x.example/2008355"), acts(OUTER, "https://x.example/2022913"),
    ],
}  # fmt: skip
BREAKS = {
    "koord-gc001": [
        coded(KIND), coded(KIND, GC001), coded(KIND, {"system": KVA}), coded(KIND, {"system": KVA, "code": "GC002"}),
        coded(KIND, GC001 | {"system": "urn:x"}), coded(KIND, {"display": "x"}), coded(KIND, "x"),
    ],
    "koord-no-diagnosis": [
        {"contained": [{"resourceType": "Condition"}]}, {"contained": {"resourceType": "Condition"}}, {"contained": [coded({"system": ICD})]},
        {"focus": {"type": "Condition"}}, {"focus": {"reference": "Condition/1"}}, {"focus": {"reference": "https://a.example/Condition/1"}},
        coded({"system": ICD}), {"a": [[{"system": ICD}]]}, *(coded({"system": f"{ARC}{arc}"}) for arc in (3, 42, 90, 103)),
        *({"a": {name: {name: value}}} for name, value in (("system", ICD), ("type", "Condition"), ("reference", "Condition/1"))),
    ],
    "koord-subject-given": [{}, {"display": "x"}, {"type": "Patient"}],
    "koord-informed-first": [
        informed("2025-02-03", "2025-02-02"), informed("2025", "2024"), informed("2025-02-03T09:00:00Z", "2025-02-03T08:00:00Z"),
    ],
    "koord-offer-answer": [offer("accepted"), offer("rejected"), offer("requested", **ANSWERED), ANSWERED],
    "koord-entry-request": [
        entry("Task/b", "a"), entry("Taska", "a"), entry("Task/a", "a", method="DELETE"), {"request": "x"}, {"request": {}}, entry(1, "a"),
    ],
    "koord-audit-refusal": [
        {"type": REFUSED, "purposeOfEvent": [{"text": "x"}]}, {"type": REFUSED, "entity": [{"type": {"code": "2"}, "what": {"reference": "x"}}]},
        {"type": REFUSED, "entity": [{"type": {"code": "2"}, "what": {"identifier": {}}}]},
    ],
    "koord-block-act": [INNER, OUTER, acts(INNER, "https://x.example/2022913"), acts(OUTER, "https://x.example/2008355"), acts(INNER, 1)],
}  # fmt: skip


@pytest.mark.parametrize("key", HOLDS)
def test_an_invariant_holds_and_breaks_where_it_is_said_to(key):
    for element in HOLDS[key]:
        assert OWN[key](element) is True, element
    for element in BREAKS[key]:
        assert OWN[key](element) is False, element


def test_no_diagnosis_says_the_same_as_the_functions_that_plans_are_asked_with():
    for resource in (*HOLDS["koord-no-diagnosis"], *BREAKS["koord-no-diagnosis"], *VALID.values(), *INVALID.values()):
        told = not own_invariants._diagnoses(resource) and own_invariants._leads_to_no_condition(resource)
        assert OWN["koord-no-diagnosis"](resource) is told, resource
