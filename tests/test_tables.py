"""The tables are checked when they are loaded; nothing is mapped by a table that is wrong."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.errors import Misconfigured
from adapter.resources import folder
from adapter.tables import code_tables, load, load_every, pages

ROW = '[[row]]\nfield = "channel"\npath = "Task.extension:channel.valueCoding"\ncodes = "channel"\ncategory = "schedule"\nsource = "koord extension"\n'


@pytest.fixture
def tables(tmp_path):
    return Path(shutil.copytree(folder("mappings"), tmp_path / "mappings"))


def codes_of(root, **more):
    with pytest.raises(Misconfigured) as caught:
        load(root=root, **more)
    return {fault.code for fault in caught.value.faults}


def change(root, file, before, after):
    path = root / file
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), "utf-8")


WRONG = {
    "mapping.profile": ("intervention.toml", 'profile = "koord-intervention"', 'profile = "koord-offer"'),
    "mapping.field-unmapped": ("intervention.toml", ROW, ""),
    "mapping.field-twice": ("intervention.toml", ROW, ROW + "\n" + ROW),
    "mapping.field-unknown": ("intervention.toml", 'field = "channel"', 'field = "canal"'),
    "mapping.path-unknown": ("intervention.toml", "Task.executionPeriod.start", "Task.executionTime.start"),
    "mapping.row-category": ("intervention.toml", 'category = "schedule"', 'category = "secret"'),
    "mapping.row-source": ("intervention.toml", 'source = "FHIR R4 Task.status"', 'source = ""'),
    "mapping.row-key": ("intervention.toml", 'codes = "channel"', 'codes = "channel"\ncolour = "red"'),
    "mapping.codes-unknown": ("intervention.toml", 'codes = "channel"', 'codes = "canal"'),
    "mapping.member-uncoded": (
        "codes/channel.toml",
        '[[code]]\nkey = "video"\ncode = "video"',
        '[[code]]\nkey = "tv"\ncode = "tv"',
    ),
    "mapping.member-unknown": (
        "codes/channel.toml",
        "[[code]]",
        '[[code]]\nkey = "fax"\ncode = "fax"\nsource = "x"\n\n[[code]]',
    ),
    "mapping.codes-pair": ("codes/channel.toml", 'code = "video"', 'code = "visit"'),
    "mapping.repeats": (
        "care-plan.toml",
        'path = "CarePlan.extension:follow-up[].valueDateTime"',
        'path = "CarePlan.extension:follow-up.valueDateTime"',
    ),
    "mapping.party": ("intervention.toml", 'party = "professional"', 'party = "unit"'),
    "mapping.slice-unknown": ("intervention.toml", '"Task.output:outcome"', '"Task.output:result"'),
    "mapping.link-unknown": ("intervention.toml", 'to = "Task"', 'to = "Encounter"'),
    "mapping.table-missing": ("offer.toml", 'record = "Offer"', 'record = "Gift"'),
    "mapping.table-unreadable": ("offer.toml", 'record = "Offer"', 'record = "Offer'),
}


WRONG_IN_R5 = {
    "mapping.path-unknown": ('r5 = "Task.requestedPeriod.start"', 'r5 = "Task.restriction.span.start"'),
    "mapping.row-release": ('r5 = "Task.requestedPeriod.start"', "r5 = false"),
    "mapping.row-key": ('r5 = "Task.requestedPeriod.start"', 'r5 = { place = "Task.requestedPeriod.start" }'),
    "mapping.codes-unknown": ('codes = "channel"', 'codes = "channel"\nr5 = { codes = "canal" }'),
    "mapping.repeats": ('r5 = "Task.requestedPeriod.start"', 'r5 = "Task.input[].valuePeriod.start"'),
}


@pytest.mark.parametrize("code", WRONG_IN_R5)
def test_what_a_table_says_of_r5_is_checked_as_the_rest(tables, code):
    change(tables, "intervention.toml", *WRONG_IN_R5[code])
    assert load(root=tables).records
    assert code in codes_of(tables, release="R5")


def test_both_releases_have_the_same_rows_but_for_what_r5_has_no_place_for():
    def rows(release):
        return {row.id for table in load(release).records.values() for row in table.rows}

    assert rows("R5") < rows("R4")
    assert rows("R4") - rows("R5") == {
        "Consent:Consent.scope", "Block:Consent.scope", "Block:Consent.provision.provision[].type",
    }  # fmt: skip


@pytest.mark.parametrize("code", WRONG)
def test_a_table_that_is_wrong_is_refused_with_its_own_code(tables, code):
    change(tables, *WRONG[code])
    assert code in codes_of(tables)


def test_the_shipped_tables_are_right(tables):
    assert set(load(root=tables).records) == {"Block", "CarePlan", "Consent", "FkSignal", "Intervention", "Offer"}


def test_a_region_changes_a_code_and_a_system_by_overlay(tmp_path):
    overlay = tmp_path / "region.toml"
    overlay.write_text(
        '[[code]]\ntable = "channel"\nkey = "video"\ncode = "videomote"\n\n'
        '[[system]]\ntable = "channel"\nsystem = "https://region.example/channel"\n\n[[system]]\ntable = "kva"\nsystem = "urn:oid:1.2.752.116.1.1.1.1.1"\n'
    )
    codes = load(overlays=(overlay,)).codes
    assert codes["channel"].code("video") == "videomote"
    assert codes["channel"].key("videomote") == "video"
    assert codes["kva"].systems[:2] == ("urn:oid:1.2.752.116.1.1.1.1.1", "urn:oid:1.2.752.116.1.3.2.1.4")


@pytest.mark.parametrize(
    "text",
    ['[[system]]\ntable = "channel"\nsystem = "kanal"\n', '[[code]]\ntable = "identifiers"\nkey = "orgnr"\ncode = "orgnr"\n'],
)  # fmt: skip
def test_an_overlay_that_names_a_system_by_no_absolute_address_is_refused(tmp_path, text):
    overlay = tmp_path / "region.toml"
    overlay.write_text(text)
    with pytest.raises(Misconfigured) as refused:
        load(overlays=(overlay,))
    assert any("absolute address" in fault.why for fault in refused.value.faults)


@pytest.mark.parametrize(
    ("system", "rule"),
    [('"kva"\nsystem = "https://region.example/kva"', "gc001"), ('"channel"\nsystem = "https://www.icd10.se/"', "no-diagnosis")],
)  # fmt: skip
def test_an_overlay_whose_codes_break_a_rule_of_a_profile_is_refused(tmp_path, system, rule):
    overlay = tmp_path / "region.toml"
    overlay.write_text(f"[[system]]\ntable = {system}\n")
    with pytest.raises(Misconfigured) as refused:
        load(overlays=(overlay,))
    assert {fault.code for fault in refused.value.faults} == {"mapping.profile"}
    assert any(f"koord-{rule}:" in fault.why for fault in refused.value.faults)


@pytest.mark.parametrize(
    "text",
    [
        '[[code]]\ntable = "no-such"\nkey = "a"\ncode = "b"\n',
        '[[colour]]\ntable = "channel"\n',
        '[[code]]\ntable = "channel"\nkey = "video"\ncode = "visit"\n',
        '[[code]]\ntable = "channel"\nkey = "video"\ncode = "not-a-code-of-ours"\n',
    ],
)
def test_an_overlay_that_does_not_fit_is_refused(tmp_path, text):
    overlay = tmp_path / "region.toml"
    overlay.write_text(text)
    with pytest.raises(Misconfigured):
        load(overlays=(overlay,))


def test_the_mapping_pages_in_docs_are_those_of_the_tables():
    docs = Path(__file__).parent.parent / "docs" / "mapping"
    expected = pages(load(), load("R5"))
    assert {page.name: page.read_text("utf-8") for page in docs.glob("*.md")} == expected


CELLS = {
    "a path": ("intervention.toml", "Task.executionPeriod.start", "Task.executionPeriodd.start"),
    "a path of another type": ("intervention.toml", "Task.executionPeriod.start", "Task.performerType"),
    "a path that the profile closes": ("intervention.toml", 'path = "Task.note.text"', 'path = "Task.reasonCode.text"'),
    "a second place": ("consent.toml", 'path = "Consent.policy.uri"', 'path = "Consent.policyRule.text"'),
    "the place of another row": ("offer.toml", "Task.extension:version.valuePositiveInt", "Task.identifier.value"),
    "a fixed value": ("intervention.toml", 'fixed = "order"', 'fixed = "plan"'),
    "a fixed concept": ("offer.toml", 'fixed = "task-kind.offer"', 'fixed = "task-kind.fk-signal"'),
    "an extension": ("intervention.toml", "Task.extension:channel.valueCoding", "Task.extension:chanel.valueCoding"),
    "a part of an extension": ("intervention.toml", "extension:met[].extension:contact", "extension:met[].extension:mail"),
    "a type": ("intervention.toml", "Task.extension:channel.valueCoding", "Task.extension:channel.valueCodeableConcept"),
    "a type that holds no code": ("intervention.toml", "Task.output:outcome.valueString", "Task.output:outcome.valueCoding"),
    "a reference": ("intervention.toml", 'path = "Task.owner"', 'path = "Task.encounter"'),
    "a link": ("consent.toml", 'link = "Consent.performer"', 'link = "Consent.organization"'),
    "codes": ("intervention.toml", 'codes = "business-status"', 'codes = "task-kind"'),
    "codes left out": ("intervention.toml", 'path = "Task.status"\ncodes = "task-status"', 'path = "Task.status"'),
    "codes that it is known by": ("block.toml", 'codes = "block-kind"', 'codes = "plan-kind"'),
    "a code of ours": ("codes/channel.toml", 'code = "video"', 'code = "tv"'),
    "a code that a slice fixes": ("codes/kva.toml", 'code = "GC001"', 'code = "GC002"'),
    "a code of HL7's in a slice": ("codes/provenance-role.toml", 'code = "author"', 'code = "zzz"'),
    "another code of HL7's in a slice": ("codes/provenance-role.toml", 'code = "enterer"', 'code = "verifier"'),
    "a code of a required value set": ("codes/task-status.toml", 'code = "requested"', 'code = "proposed"'),
    "a code in no row": ("codes/audit-event.toml", 'code = "record.accepted"', 'code = "record.taken"'),
    "an address that tells a slice": ("codes/identifiers.toml", "urn:oid:2.5.4.97", "urn:oid:2.5.4.98"),
    "a system of ours that is not": ("codes/channel.toml", "CodeSystem/channel", "CodeSystem/chanel"),
    "a system of ours in a slice": ("codes/task-output.toml", "CodeSystem/task-output", "CodeSystem/task-outputs"),
    "a system that a slice is told by": ("codes/kva.toml", "1.3.2.1.4", "1.3.2.1.5"),
    "a system that an element asks for": ("codes/icd10se.toml", "www.icd10.se", "www.icd11.se"),
    "the system of a plain code": ("codes/task-status.toml", "http://hl7.org/fhir/task-status", "http://x.example/s"),
    "a slice's code": ("provenance.toml", "provenance-role.custodian", "provenance-role.enterer"),
    "a slice's constant": ("parties/unit.toml", '"Organization.telecom:phone" = { system = "phone" }', '"Organization.telecom:phone" = { system = "fone" }'),
    "a slice's code of another table": ("intervention.toml", "task-output.outcome", "task-input.sluta-anvanda"),
    "a slice's element": ("consent.toml", '"Provenance.agent:enterer" = { type =', '"Provenance.agent:enterer" = { role ='),
    "a slice's codes": ("parties/person.toml", "in:identifiers", "in:identities"),
    "a slice's system": ("parties/actor.toml", '"identifiers.orgnr"', '"identities.orgnr"'),
    "two slices of one code": ("intervention.toml", "task-output.next-step", "task-output.outcome"),
    "a profile": ("intervention.toml", 'profile = "koord-intervention"', 'profile = "koord-interventions"'),
    "the field that a profile depends on": ("consent.toml", "koord-consent-{kind}", "koord-consent-{sort}"),
    "a profile of another type": ("care-plan.toml", 'profile = "koord-goal"', 'profile = "koord-care-plan"'),
}  # fmt: skip
"""What is changed in a copy of the tables: file, before, after."""

CELLS_OF_R5 = {
    "a path": ("care-plan.toml", 'r5 = "CarePlan.custodian"', 'r5 = "CarePlan.custodiann"'),
    "a path that leads elsewhere": ("care-plan.toml", 'r5 = "CarePlan.custodian"', 'r5 = "CarePlan.encounter"'),
    "a second place": ("block.toml", '"Consent.policyBasis.url"', '"Consent.policyBasis.reference"'),
    "an extension": ("block.toml", "extension:blocked-unit.valueReference", "extension:blocking-unit.valueReference"),
    "a type": ("care-plan.toml", "extension:activity-status.valueCode", "extension:activity-status.valueString"),
    "codes": ("consent.toml", 'r5 = { codes = "consent-state-r5" }', 'r5 = { codes = "consent-state" }'),
    "a code": ("codes/consent-state-r5.toml", 'code = "active"', 'code = "rejected"'),
    "the system of a plain code": ("codes/consent-state-r5.toml", "fhir/consent-state-codes", "fhir/consent-states"),
    "a slice": ("parties/unit.toml", '"Organization.contact.telecom:phone" = { system = "phone" }', '"Organization.contact.telecom:phone" = { system = "fax" }'),
}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_whatever_a_row_a_slice_or_a_code_table_says_otherwise_than_the_profiles_is_refused_at_load(tables, cell):
    change(tables, *CELLS[cell])
    assert codes_of(tables)


@pytest.mark.parametrize("cell", CELLS_OF_R5)
def test_what_is_wrong_in_r5_alone_is_refused_where_both_releases_are_loaded(tables, cell):
    change(tables, *CELLS_OF_R5[cell])
    assert load(root=tables)
    with pytest.raises(Misconfigured) as caught:
        load_every(root=tables)
    assert any("R5" in fault.why for fault in caught.value.faults)


SHIPPED = folder("mappings")
ROWS = sorted([*SHIPPED.glob("*.toml"), *SHIPPED.glob("parties/*.toml")])
CODES = sorted((SHIPPED / "codes").glob("*.toml"))
FREE = {
    "consent-action": "published for peers; no row writes it",
    "block-policy": "addresses of laws, which no profile lays down",
    "consent-policy": "addresses of laws, which no profile lays down",
    "identifiers": "reserve numbers of the regions, of which a profile names none",
}
"""Code tables with cells that no snapshot says anything of."""


def cells(files, kinds):
    """Every cell of these kinds in the shipped tables: file and where its text stands."""
    found = re.compile(rf'^(?:{kinds}) = "([^"]+)"', re.MULTILINE)
    return [
        (file.relative_to(SHIPPED), *each.span(1)) for file in files for each in found.finditer(file.read_text("utf-8"))
    ]


def spoilt(root, cell, after):
    file, start, end = cell
    text = (root / file).read_text("utf-8")
    (root / file).write_text(text[:start] + after(text[start:end]) + text[end:], "utf-8")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Makes copies of the tables."""
    folders = itertools.count()
    root = tmp_path_factory.mktemp("tables")
    return lambda: Path(shutil.copytree(SHIPPED, root / str(next(folders))))


@settings(max_examples=15)
@given(cell=st.sampled_from(cells(ROWS, "path|link|r5|fixed|codes|field|to|party|profile")))
def test_no_cell_of_a_row_can_say_what_does_not_exist(fresh, cell):
    root = fresh()
    spoilt(root, cell, lambda text: f"{text}x")
    with pytest.raises(Misconfigured):
        load_every(root=root)


@settings(max_examples=15)
@given(cell=st.sampled_from(cells([file for file in CODES if file.stem not in FREE], "code|system")))
def test_no_code_and_no_system_can_be_another_than_the_profiles_and_value_sets_have(fresh, cell):
    root = fresh()
    spoilt(root, cell, lambda text: f"{text}x")
    with pytest.raises(Misconfigured):
        load_every(root=root)


def test_a_table_that_is_wrong_says_which_row_and_which_profile(tables):
    change(tables, *CELLS["a fixed value"])
    with pytest.raises(Misconfigured) as caught:
        load(root=tables)
    (fault,) = caught.value.faults
    assert fault.where == "Intervention Task.intent"
    assert fault.why == "the profile fixes another value: koord-intervention in R4"


def test_terminology_can_be_made_anew_from_codes_that_are_not_published_yet(monkeypatch, tables):
    change(tables, *CELLS["a code of ours"])
    monkeypatch.setattr("adapter.tables.folder", lambda name: tables)
    assert code_tables()["channel"].code("video") == "tv"
    with pytest.raises(Misconfigured):
        load.__wrapped__()
