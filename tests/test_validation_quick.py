"""The quick yes never says yes to what the walk would refuse."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from fhir_generated import Maker
from hypothesis import given, settings
from hypothesis import strategies as st
from test_validation import mutated
from unhurried import walked

from adapter.profiles import profiles
from adapter.validation import plain, quick, schema, validate
from adapter.validation.holds import Functions
from adapter.validation.invariants import INVARIANTS
from adapter.validation.own_invariants import OWN, SAID
from adapter.validation.quick import Unsayable, compiled
from adapter.validation.text_rules import TEXT_RULES
from adapter.wire import json

FOLDER = Path(__file__).parents[1] / "profiles" / "examples"


def examples(folder):
    return {file.stem: json.read(file.read_bytes()) for file in sorted((FOLDER / folder).glob("*.json"))}


EXAMPLES = {(release, name): made for release in ("R4", "R5") for name, made in examples(release.lower()).items()}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """A quick yes is made when it is first asked for, not when it has been asked for often."""
    monkeypatch.setattr(plain, "_OFTEN", 0)


def test_most_profiles_have_a_quick_yes():
    for release in ("R4", "R5"):
        known = profiles(release)
        having = [url for url in known.own if (found := known.profile(url)) and compiled(known, found).quick]
        assert len(having) > len(known.own) * 0.8


@pytest.mark.parametrize(("release", "name"), EXAMPLES)
def test_an_example_gets_the_quick_yes_of_its_profile(release, name):
    resource = EXAMPLES[release, name]
    [url] = [url for url in resource["meta"]["profile"] if url.startswith("https://koord.example")]
    known = profiles(release)
    found = compiled(known, known.profile(url))
    if found.quick is not None:
        assert found.quick.is_valid(resource)


def plain_of(release, resource):
    return plain.plain(profiles(release), resource["resourceType"], tuple(resource["meta"]["profile"]))


UNUSUAL = {
    "R4": {
        "koord-audit-event",
        "koord-block",
        "koord-consent-collaborate",
        "koord-consent-inform-fk",
        "koord-consent-interventions",
        "koord-consent-shared-records",
        "koord-journal-entry",
    },
    "R5": {
        "koord-block",
        "koord-consent-collaborate",
        "koord-consent-inform-fk",
        "koord-journal-entry",
        "koord-message-header",
    },
}
"""Codes beside an extensible value set, of which a warning tells; extensions in a data type; types that a choice seldom has."""
PLAIN = [(release, name) for release, name in EXAMPLES if name not in UNUSUAL[release]]


@pytest.mark.parametrize(("release", "name"), PLAIN)
def test_an_example_is_plain(release, name):
    made = EXAMPLES[release, name]
    assert plain_of(release, made).says_yes(made)


@pytest.mark.parametrize(
    "changes",
    [
        {"executionPeriod": {"start": "2026-02-02", "end": "2026-02-01"}},
        {"executionPeriod": {"start": "2026-02", "end": "2026-02-01"}},
        {"restriction": {"repetitions": Decimal("2.0")}},
        {"contained": [{"resourceType": "Patient", "id": "x"}]},
        {"text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><script/></div>'}},
        {"for": {"reference": "Condition/1"}},
        {"note": [{"text": "a", "id": "x"}]},
        {"description": ""},
        {"authoredOn": "2026-02-30"},
        {"_description": {"extension": [{"url": "urn:x", "valueString": "y"}]}},
        {"extension": [{"url": "urn:x", "valueString": "y"}]},
        {"input": [{"type": {"text": "a"}, "valueString": "x", "valueBoolean": True}]},
        {"meta": {"profile": ["https://elsewhere.example/p"]}},
        {"meta": {"profile": ["https://koord.example/fhir/StructureDefinition/koord-goal"]}},
        {"statuz": "x"},
        {"status": "x"},
        {"status": 1},
        {"for": None},
        {"intent": None},
        {"code": {}},
        {"code": "x"},
        {"code": [{"text": "a"}]},
        {"statusReason": {"coding": [{"system": "urn:s", "code": "a", "x": 1}]}},
        {"statusReason": {"coding": []}},
        {"statusReason": {"coding": {}}},
        {"note": []},
        {"note": {}},
        {"note": "a"},
        {"note": ["a"]},
        {"note": [{"time": "2026-01-01T10:00:00Z"}]},
        {"note": [{"text": "a", "authorString": "b", "authorReference": {"reference": "Patient/1"}}]},
        {"input": [{"type": {"text": "a"}}]},
        {"input": [{"type": {"text": "a"}, "valueTime": "10:00:00"}]},
        {"input": [{"type": {"text": "a"}, "valueString": "x", "extension": [{"url": "urn:x", "valueString": "y"}]}]},
        {"input": [{"type": {"text": "a"}, "valueQuantity": {"value": 1, "system": "ucum", "code": "d"}}]},
        {"input": [{"type": {"text": "a"}, "valueIdentifier": {"system": "personnummer", "value": "x"}}]},
        {"input": [{"type": {"text": "a"}, "valueIdentifier": {"system": "urn:ietf:rfc:3986", "value": "x"}}]},
        {"input": [{"type": {"text": "a"}, "valueReference": {"reference": "#a"}}]},
        {"identifier": [{"system": "urn:s", "value": "x", "use": "y"}]},
        {"identifier": [{"system": "urn:s", "value": ""}]},
        {"owner": {"display": ""}},
        {"owner": {"display": "x", "x": 1}},
        {"owner": {"display": "x", "type": "Condition"}},
        {"owner": {"reference": "Organization/1", "type": "Patient"}},
        {"owner": {"reference": "Organization/1/_history/1/x"}},
        {"owner": {"reference": "https://a.example/Condition/1"}},
        {"owner": {"reference": 1}},
        {"owner": {"identifier": {}}},
        {"owner": {"identifier": {"system": "x"}}},
        {"owner": {"type": "Organization", "x": 1}},
        {"owner": "Organization/1"},
        {"basedOn": [{"reference": "Period/1"}]},
        {"id": "a b"},
        {"language": "not a language"},
        {"modifierExtension": [{"url": "urn:x", "valueString": "y"}]},
        {"implicitRules": "a b"},
        {"resourceType": "Goal"},
    ],
)
def test_what_is_unusual_or_wrong_is_not_plain(changes):
    made = EXAMPLES["R4", "koord-intervention"] | changes
    found = plain_of("R4", made)
    assert found is None or not found.says_yes(made)
    assert set(validate(made)) == set(walked(made))


def rule(owner, key):
    """The function of an invariant or of a rule of the text."""
    kept = [INVARIANTS[release][owner, key] for release in ("R4", "R5") if (owner, key) in INVARIANTS[release]]
    return (kept or [told for name, told in TEXT_RULES[owner] if name == key])[0]


@pytest.mark.parametrize(("owner", "key"), plain._FORMS)
def test_a_rule_with_a_form_of_its_own_is_a_rule_and_no_function_is_called_for_it(owner, key):
    assert rule(owner, key)
    builder = plain._Builder(profiles("R4"))
    assert list(builder._asked((owner, key), rule(owner, key))) == plain._FORMS[owner, key]
    assert not builder.functions._all


@pytest.mark.parametrize("key", OWN)
def test_of_our_invariants_those_that_a_schema_can_say_call_no_function(key):
    functions = Functions()
    made = quick._own(key, functions)
    assert made is SAID[key] if key in SAID else made == {"holds": 0}
    assert len(functions._all) == (key not in SAID)


DOCUMENT, PATIENT = {"type": "document", "total": 1}, {"resourceType": "Patient", "id": "x"}
CONTAINED = {
    "contained": [PATIENT | {"contained": [PATIENT], "meta": {"versionId": "1", "security": [{"code": "x"}]}}] * 2
}
LABEL = {"system": "urn:s", "code": "a"}
BROKEN = {
    ("Bundle", "bdl-1"): DOCUMENT,
    **{("Bundle", f"bdl-{number}"): DOCUMENT for number in (9, 10, 11)},
    ("Bundle", "bdl-12"): {"type": "message", "entry": [{"resource": PATIENT}]},
    ("Bundle", "http.html#paging"): {"type": "collection", "link": [{"relation": "next"}]},
    **{("DomainResource", f"dom-{number}"): CONTAINED for number in (2, 4, 5)},
    ("DomainResource", "references.html#contained"): CONTAINED,
    ("Meta", "resource.html#Meta"): {"security": [LABEL, LABEL]},
    ("Period", "per-1"): {"start": "2026-02-02", "end": "2026-02-01"},
    ("Task", "inv-1"): {"authoredOn": "2026-02-02", "lastModified": "2026-02-01"},
}
NOTHING = [
    {"type": "collection", "start": "2026", "authoredOn": "2026"},
    {"end": "2026", "lastModified": "2026", "type": "batch"},
]


@pytest.mark.parametrize(("owner", "key"), plain._ASKED_IF)
def test_a_rule_that_is_only_asked_under_a_condition_holds_where_it_is_not_asked(owner, key):
    holds, asked = rule(owner, key), schema.validator(plain._ASKED_IF[owner, key])
    assert not holds(BROKEN[owner, key])
    assert asked.is_valid(BROKEN[owner, key])
    for value in NOTHING:
        assert holds(value)
        assert not asked.is_valid(value)


def test_a_quick_yes_is_made_when_it_has_been_asked_for_often(monkeypatch):
    monkeypatch.setattr(plain, "_OFTEN", 3)
    monkeypatch.setattr(plain, "_times", {})
    asked = [plain.often(profiles("R4"), "Task", ()) for _ in range(5)]
    assert asked[:3] == [None] * 3
    assert asked[3] is asked[4] is plain.plain(profiles("R4"), "Task", ())


def test_names_of_profiles_that_nobody_knows_are_counted_in_bounds(monkeypatch):
    monkeypatch.setattr(plain, "_OFTEN", 3)
    monkeypatch.setattr(plain, "_MOST_ASKED", 5)
    monkeypatch.setattr(plain, "_times", {})
    for number in range(50):
        assert plain.often(profiles("R4"), "Task", (f"urn:no-such-{number}",)) is None
        assert len(plain._times) <= 6


OURS = "https://koord.example/fhir/StructureDefinition/"


@pytest.mark.parametrize(
    "extension",
    [
        {"url": f"{OURS}version", "valuePositiveInt": 0},
        {"url": f"{OURS}version", "valuePositiveInt": Decimal("1.0")},
        {"url": f"{OURS}version", "valueString": "1"},
        {"url": f"{OURS}version", "valuePositiveInt": 1, "valueString": "1"},
        {"url": f"{OURS}version", "valuePositiveInt": 1, "id": "x"},
        {"url": f"{OURS}version"},
        {"url": f"{OURS}no-such", "valueString": "x"},
        {"url": f"{OURS}follow-up", "valueDateTime": "2026-02-30"},
        {"url": f"{OURS}patient-took-part", "valueBoolean": "true"},
        {"url": f"{OURS}sick-leave", "valueString": "x"},
        {"url": f"{OURS}sick-leave", "extension": []},
        {"url": f"{OURS}sick-leave", "extension": {}},
        {"url": f"{OURS}sick-leave", "extension": [{"url": "degree", "valueInteger": 10}]},
        {
            "url": f"{OURS}sick-leave",
            "extension": [{"url": "degree", "valueInteger": 50}, {"url": "x", "valueString": "x"}],
        },
        {"url": f"{OURS}sick-leave", "extension": [{"url": "degree", "valueString": "50"}]},
        {"url": f"{OURS}sick-leave", "extension": [{"url": "degree"}]},
        {"url": f"{OURS}sick-leave", "extension": [{"valueInteger": 50}]},
        {"url": f"{OURS}sick-leave", "extension": [{"url": "degree", "valueInteger": 50}], "valueString": "x"},
        {"url": f"{OURS}answered-on", "valueDateTime": "2026"},
        {"valueString": "x"},
        {},
        "x",
        None,
    ],
)
def test_an_extension_of_ours_that_is_wrong_is_not_plain(extension):
    made = deepcopy(EXAMPLES["R4", "koord-care-plan"])
    made["extension"] = [*made["extension"], extension]
    assert not plain_of("R4", made).says_yes(made)
    assert set(validate(made)) == set(walked(made))


def test_what_a_codeable_reference_leads_to_is_looked_at():
    made = EXAMPLES["R5", "koord-intervention"]
    known = plain_of("R5", made)
    for reason, fits in (
        ({"concept": {"text": "a"}}, True),
        ({"reference": {"reference": "Patient/1"}}, True),
        ({"reference": {"reference": "Period/1"}}, False),
        ({"reference": {"display": ""}}, False),
        ({}, False),
    ):
        changed = made | {"statusReason": reason}
        assert known.says_yes(changed) is fits
        assert set(validate(changed, "R5")) == set(walked(changed, "R5"))


INPUTS = {
    "valueBoolean": False,
    "valueCode": "a",
    "valueCodeableConcept": {"text": "a"},
    "valueCoding": {"system": "urn:s", "code": "a"},
    "valueDate": "2026-02",
    "valueDateTime": "2026-02-28T10:00:00+01:00",
    "valueIdentifier": {"system": "urn:s", "value": "a"},
    "valueMarkdown": "*a*",
    "valuePeriod": {"start": "2026-02-01", "end": "2026-02-02"},
    "valueQuantity": {"value": Decimal("1.50"), "unit": "h", "system": "http://unitsofmeasure.org", "code": "h"},
    "valueReference": {"reference": "Patient/1"},
    "valueString": "a",
    "valueUri": "urn:oid:1.2.3",
}


@pytest.mark.parametrize("name", INPUTS)
def test_a_choice_of_a_usual_type_is_plain(name):
    made = EXAMPLES["R4", "koord-intervention"] | {"input": [{"type": {"text": "a"}, name: INPUTS[name]}]}
    assert plain_of("R4", made).says_yes(made)


@pytest.mark.parametrize("kind", sorted(profiles("R4").base.resource_types))
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_a_shape_that_cannot_be_said_lets_nothing_pass_wherever_it_stands_again(release, kind):
    builder = plain._Builder(profiles(release))
    with suppress(Unsayable):
        builder.group(kind, ())
    assert builder.shapes
    assert all(builder.shapes.values())


def test_what_cannot_be_said_the_first_time_is_not_let_through_the_second():
    item = {"itemCodeableConcept": {"text": "a"}, "strength": {"no-such": 1}}
    found = validate({"resourceType": "Medication", "ingredient": [item]})
    assert ("fhir.unknown-element", "Medication.ingredient[0].strength") in {(f.code, f.where) for f in found}


def test_what_breaks_an_invariant_breaks_it_with_the_quick_yes_too():
    for resource in examples("invalid").values():
        assert set(validate(resource)) == set(walked(resource, "R4"))


@pytest.mark.parametrize(("release", "name"), EXAMPLES)
def test_with_the_quick_yes_the_same_faults_are_told(release, name):
    @settings(max_examples=15)
    @given(st.integers(0, 2**32))
    def same(seed):
        random = Random(seed)
        resource = deepcopy(EXAMPLES[release, name])
        for _ in range(3):
            resource = mutated(resource, random)
            if isinstance(resource, dict):
                assert set(validate(resource, release)) == set(walked(resource, release))

    same()


def bundled(release, *names, kind="collection"):
    made = [deepcopy(EXAMPLES[release, name]) | {"id": f"a{index}"} for index, name in enumerate(names)]
    base = "https://region-a.example/fhir"
    entries = [{"fullUrl": f"{base}/{each['resourceType']}/{each['id']}", "resource": each} for each in made]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


BUNDLED = ("koord-intervention", "koord-offer", "koord-goal", "koord-organization")


@pytest.mark.parametrize("release", ["R4", "R5"])
def test_a_bundle_of_one_server_is_plain_besides_its_resources(release):
    made = bundled(release, *BUNDLED)
    assert plain.plain(profiles(release), "Bundle", ()).says_yes(made)
    assert validate(made, release) == walked(made, release)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "searchset"},
        {"type": "document"},
        {"type": "message"},
        {"type": "transaction"},
        {"type": "batch-response"},
        {"type": "history"},
        {"total": 4},
        {"entry": []},
        {"entry": [{"fullUrl": "https://region-a.example/fhir/Task/a0"}]},
        {"timestamp": "2026-02-30T10:00:00Z"},
    ],
)
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_of_a_wrong_bundle_the_same_is_told(release, changes):
    made = bundled(release, *BUNDLED) | changes
    assert set(validate(made, release)) == set(walked(made, release))


@pytest.mark.parametrize(
    "changes",
    [
        {"fullUrl": "https://region-a.example/fhir/Task/another"},
        {"fullUrl": "https://region-a.example/fhir/Goal/a2"},
        {"fullUrl": "https://region-a.example/_history/Task/a0"},
        {"fullUrl": "urn:uuid:6f1c2e34-0d0f-4d5e-9b1a-2a1b3c4d5e6f"},
        {"fullUrl": None},
        {"search": {"mode": "match"}},
        {"request": {"method": "PUT", "url": "Task/a0"}},
        {"response": {"status": "201"}},
        {"id": "a"},
        {"resource": None},
        {"resource": {"resourceType": "Condition"}},
    ],
)
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_of_a_wrong_entry_the_same_is_told(release, changes):
    made = bundled(release, *BUNDLED)
    made["entry"][0] = {name: each for name, each in (made["entry"][0] | changes).items() if each is not None}
    assert set(validate(made, release)) == set(walked(made, release))


@pytest.mark.parametrize("release", ["R4", "R5"])
def test_of_mutated_bundles_the_same_is_told(release):
    @settings(max_examples=60)
    @given(st.integers(0, 2**32))
    def same(seed):
        random = Random(seed)
        made = bundled(release, *BUNDLED, kind=random.choice(["collection", "searchset", "message"]))
        for _ in range(3):
            made = mutated(made, random)
            if isinstance(made, dict):
                assert set(validate(made, release)) == set(walked(made, release))

    same()


@pytest.mark.parametrize("name", sorted({made["resourceType"] for made in EXAMPLES.values()}))
def test_of_generated_resources_the_same_is_told_too(name):
    @settings(max_examples=15)
    @given(st.integers(0, 2**32), st.sampled_from([0.02, 0.1, 0.3]))
    def same(seed, richness):
        resource = Maker(seed, richness, companions=False).resource(name)
        assert set(validate(resource)) == set(walked(resource, "R4"))

    same()
