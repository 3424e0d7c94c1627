"""The tables are checked when they are loaded; nothing is mapped by a table that is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adapter.errors import Misconfigured
from adapter.resources import folder
from adapter.tables import load, pages

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
        '[[system]]\ntable = "channel"\nsystem = "https://region.example/channel"\n\n[[system]]\ntable = "kva"\nsystem = "https://region.example/kva"\n'
    )
    codes = load(overlays=(overlay,)).codes
    assert codes["channel"].code("video") == "videomote"
    assert codes["channel"].key("videomote") == "video"
    assert codes["kva"].systems[:2] == ("https://region.example/kva", "urn:oid:1.2.752.116.1.3.2.1.4")


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
