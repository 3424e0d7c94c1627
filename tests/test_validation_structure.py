"""The structure of resources: what is wrong is told of large ones too, and every unknown name."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.definitions import definitions
from adapter.validation import structure, validate
from tests.fhir_generated import KNOWN, Maker

CANARY = "Kanariefågel"
WRONG = [7, True, "", " ", "Z", None, [], {}, [None], [{}], {CANARY: 1}, [{CANARY: 1}, {}], [[]]]


def task(**more):
    return {"resourceType": "Task", "status": "requested", "intent": "order", **more}


def told(resource):
    return [(fault.code, fault.where, fault.why, fault.named, fault.nth) for fault in faults_of(resource)]


def faults_of(resource):
    name = resource["resourceType"]
    return [] if structure.is_valid("R4", name, resource) else list(structure.faults("R4", name, resource, name))


@pytest.mark.parametrize("most", [10, 40, 160])
@given(
    name=st.sampled_from(sorted(KNOWN.resource_types)),
    seed=st.integers(0, 10_000),
    richness=st.sampled_from([0.3, 0.6]),
    random=st.randoms(use_true_random=False),
)
def test_of_what_is_looked_at_in_parts_the_same_is_told_or_that_there_may_be_more(most, name, seed, richness, random):
    resource = spoilt(Maker(seed, richness).resource(name), random)
    whole = told(resource)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(structure, "MOST_VALUES", most)
        found = told(resource)
    in_parts = {each for each in found if each[0] != "fhir.more"}
    if any(each[0] == "fhir.more" for each in found):
        assert in_parts
        assert in_parts <= {*whole, ("fhir.type", name, "R4 structure", (), None)}
    else:
        assert in_parts == set(whole)


def spoilt(resource, random):
    """With some values in it that are wrong, at whatever depth."""
    for _ in range(random.randrange(6)):
        at = resource
        while True:
            keys = [key for key in at if key != "resourceType"] if isinstance(at, dict) else range(len(at))
            if not keys:
                break
            key = random.choice(list(keys))
            if isinstance(at[key], dict | list) and random.random() < 0.8:
                at = at[key]
                continue
            at[key] = deepcopy(random.choice(WRONG))
            break
    return resource


def test_every_fault_of_a_large_bundle_is_told():
    entries = [
        {"fullUrl": f"https://x.example/Task/{n}", "resource": task(id=str(n)), "request": {"method": "PUT", "url": f"Task/{n}"}}
        for n in range(2_000)
    ]  # fmt: skip
    wrong = {3: ("fhir.code", "method", "put"), 999: ("fhir.type", "url", 7), 1_999: ("fhir.code", "method", "SET")}
    for number, (_, name, value) in wrong.items():
        entries[number]["request"][name] = value
    found = validate({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert {(fault.code, fault.where) for fault in found} == {
        (code, f"Bundle.entry[{number}].request.{name}") for number, (code, name, _) in wrong.items()
    }


@pytest.mark.parametrize(
    ("resource", "where"),
    [
        (task(code={"coding": [{"code": 1}] * 10_000}), "Task.code.coding"),
        (task(input=[{"valueCodeableConcept": {"coding": [{"code": 1}] * 10_000}}]), "Task.input[0].value.coding"),
        (task(note=[{"text": 1}] * 10_000), "Task.note"),
    ],
    ids=["in an element", "in the only item of a list", "in a list"],
)
def test_many_faults_of_something_large_are_told_up_to_a_thousand_and_that_there_may_be_more(resource, where):
    *found, last = validate(resource)
    assert len(found) == 1_000
    assert sum(fault.where.startswith(where) for fault in found) > 900
    assert (last.code, last.severity) == ("fhir.more", "information")


def test_what_is_too_large_to_be_looked_at_in_parts_is_told_of_once_and_that_there_may_be_more():
    """A code that must be one of a value set is looked at with all of its element."""
    found = validate({"resourceType": "Condition", "clinicalStatus": {"coding": [{"code": 1}] * 10_000}})
    assert {fault.code for fault in found} > {"fhir.more"}
    assert [fault.where for fault in found if fault.code == "fhir.more"] == ["Condition"]


@given(
    unknown=st.lists(st.text(min_size=1).map("x{}".format), min_size=1, max_size=50, unique=True),
    random=st.randoms(use_true_random=False),
)
def test_every_unknown_name_of_an_object_is_told_by_its_number(unknown, random):
    known = [("text", "a"), ("time", "2026"), ("authorString", "b")]
    pairs = known + [(name, 1) for name in unknown]
    random.shuffle(pairs)
    found = [
        fault for fault in validate(task(note=[{"text": "a"}, dict(pairs)])) if fault.code == "fhir.unknown-element"
    ]
    assert all(fault.where == "Task.note[1]" for fault in found)
    assert sorted(fault.nth for fault in found) == [n for n, pair in enumerate(pairs) if pair not in known]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("statuz", "status"),
        ("satus", "status"),
        ("sttaus", "status"),
        ("Status", "status"),
        ("busines_status", "businessStatus"),
        ("reason", "reasonCode"),
        ("unkåwn", "-"),
        ("patient", "-"),
        ("Tolvan Tolvansson", "-"),
        ("_code", "code"),
        ("x" * 100_000, "-"),
    ],
)
def test_only_a_name_that_may_have_been_meant_is_offered_for_an_unknown_one(name, nearest):
    (fault,) = (each for each in validate(task(**{name: 1})) if each.code == "fhir.unknown-element")
    assert dict(fault.named) == {"nearest": nearest}
    assert nearest == "-" or nearest in definitions().shape("Task").properties
