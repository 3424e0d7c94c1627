"""The examples of the profiles: made by the product, one for each profile, and valid; as is whatever else it makes of records."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profile_examples import FOLDER, PROFILES, files
from strategies import HSA_IDS, ORGANISATIONS, records

from adapter.consent.disclosure import load as disclosures
from adapter.domain import Category, read_record
from adapter.mapping import Mapper, Permission, collection, transaction
from adapter.mapping.package import actor_keys
from adapter.tables import load
from adapter.validation import validate

GENERATED = Path(__file__).parents[1] / "profiles" / "generated"
DOCS = Path(__file__).parents[1] / "docs"
PARENTS = {"koord-task", "koord-consent"}
"""Every resource is of one of the profiles under these."""


def profiles(release):
    found = (json.loads(file.read_text("utf-8")) for file in (GENERATED / release).glob("StructureDefinition-*.json"))
    return {each["id"] for each in found if each["type"] != "Extension"} - PARENTS


def of(folder):
    return [
        pytest.param(json.loads(file.read_text("utf-8")), folder, id=f"{folder}/{file.stem}")
        for file in sorted((FOLDER / folder).glob("*.json"))
    ]


def errors(resource, release):
    return [fault for fault in validate(resource, release) if fault.severity == "error"]


def test_the_examples_are_what_the_product_makes_of_the_records():
    """If this fails, look at what differs, and write them anew: ``python tests/profile_examples.py``."""
    made = files()
    kept = {str(path.relative_to(FOLDER)): path.read_text("utf-8") for path in FOLDER.glob("*/*.json")}
    assert set(kept) == set(made)
    for name, text in made.items():
        assert kept[name] == text, name


@pytest.mark.parametrize("release", ["r4", "r5"])
def test_every_profile_has_its_example(release):
    assert {file.stem for file in (FOLDER / release).glob("*.json")} == profiles(release)


@pytest.mark.parametrize(("resource", "folder"), [*of("r4"), *of("r5")])
def test_an_example_claims_its_profile_and_is_valid(resource, folder, request):
    name = request.node.callspec.id.rpartition("/")[2]
    assert resource["meta"]["profile"] == [PROFILES + name]
    assert errors(resource, folder.upper()) == []


@pytest.mark.parametrize(("resource", "folder"), of("invalid"))
def test_what_must_fail_fails_its_invariant_and_nothing_else(resource, folder, request):
    key = request.node.callspec.id.rpartition("/")[2]
    found = errors(resource, "R4")
    assert found
    assert all(key in fault.why for fault in found), found


MAPPERS = {release: Mapper(load(release)) for release in ("R4", "R5")}


@pytest.mark.parametrize("release", MAPPERS)
@given(record=records())
def test_every_record_holds_to_the_profiles_that_its_resources_claim(release, record):
    made = collection(MAPPERS[release].to_fhir(record))
    assert all(entry["resource"]["meta"]["profile"] for entry in made["entry"])
    assert errors(made, release) == []
    assert warned([entry["resource"] for entry in made["entry"]], release) <= argued()


def warned(resources, release):
    """The place and the value set of each warning, and nothing else."""
    faults = [fault for resource in resources for fault in validate(resource, release) if fault.severity == "warning"]
    assert {fault.code for fault in faults} <= {"fhir.code-extensible"}
    places = [re.sub(r"\[\d+\]", "", fault.where) for fault in faults]
    return {(f"{release} {place}", fault.why.rpartition("/")[2]) for place, fault in zip(places, faults, strict=True)}


def argued():
    """The same, as docs/validation.md lists what stands."""
    _, _, after = DOCS.joinpath("validation.md").read_text("utf-8").partition("## Warnings that stand")
    rows = [
        line.strip("| ").split(" | ") for line in after.partition("\n## ")[0].splitlines() if line.startswith("| R")
    ]
    return {(place, value_set) for place, value_set, _ in rows}


def test_every_warning_that_our_own_resources_draw_is_argued_and_no_other_is():
    known = json.loads((FOLDER / "records.json").read_text("utf-8"))[0]
    hidden, _ = read_record(known | {"patient": known["patient"] | {"protected": "sekretessmarkering"}}, mode="test")
    drawn = set()
    for release, mapper in MAPPERS.items():
        examples = [json.loads(file.read_text("utf-8")) for file in (FOLDER / release.lower()).glob("*.json")]
        drawn |= warned([*examples, *mapper.to_fhir(hidden).resources], release)
    assert drawn == argued()


@st.composite
def permissions(draw, kind):
    """What a consent may leave of the most that a type of recipient gets of a kind of record; the patient gets all of it."""
    tables = disclosures().of
    name = draw(st.sampled_from(sorted(name for name, most in tables.items() if kind in most.records)))
    most = tables[name]
    others = st.sets(st.sampled_from(sorted(most.categories - {Category.ADMINISTRATIVE})))
    categories = most.categories if name == "patient" else draw(others) | {Category.ADMINISTRATIVE}
    keys = actor_keys(draw(st.sampled_from(ORGANISATIONS)), draw(st.sampled_from(HSA_IDS)))
    return Permission(frozenset(categories), keys if most.addressed else None)


@pytest.mark.parametrize("release", MAPPERS)
@given(record=records(), data=st.data())
def test_what_is_left_of_a_record_for_a_recipient_holds_to_the_same_profiles(release, record, data):
    permission = data.draw(permissions(type(record).__name__))
    assert errors(transaction(MAPPERS[release].to_fhir(record, permission=permission)), release) == []
