"""Records: what they refuse, and that they say nothing of what they refuse."""

from __future__ import annotations

import json
from datetime import date

import pytest
import region as r
import strategies
from hypothesis import given

from adapter.domain import RECORDS, read_record, schema, written_record
from adapter.errors import Invalid

TODAY = date(2026, 11, 21)


def faults(document, **named):
    with pytest.raises(Invalid) as caught:
        read_record(document, today=TODAY, **named)
    return caught.value.faults


def whys(document):
    return " ".join(fault.why for fault in faults(document))


def test_an_intervention_has_no_place_for_a_diagnosis():
    assert {(f.code, f.where) for f in faults(r.intervention(diagnoses=[{"code": "F438A"}]))} == {
        ("record.unknown-field", "diagnoses")
    }


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (r.consent("c", "collaborate"), "names the actor"),
        (r.consent("c", "inform-fk", recipient=r.EMPLOYER), "cannot name another actor"),
        (r.consent("c", "interventions", informed_on="2026-11-02"), "informed before"),
        (r.consent("c", "interventions", state="withdrawn"), "says when and by whom"),
        (r.consent("c", "interventions", withdrawn={"on": "2026-11-03", "by": "patient"}), "says when and by whom"),
        (
            r.withdrawn(r.consent("c", "interventions")) | {"withdrawn": {"on": "2026-11-03", "by": "representative"}},
            "needs the representative",
        ),
        (r.consent("c", "interventions", period={"start": "2026-12", "end": "2026-11"}), "ends before it starts"),
        (r.consent("c", "interventions", period={"start": "2026-12", "end": "2026-12-31"}), "at different precision"),
        (
            r.consent("c", "interventions", period={"start": "2026-12-01T10:00:00+01:00", "end": "2026-12-01"}),
            "at different precision",
        ),
        (r.consent("c", "interventions", period={}), "needs a start or an end"),
        (r.intervention(state="rejected"), "says why"),
        (
            r.intervention(met=[{"actor": {"category": "arbetsgivare", "name": "Verkstaden"}}]),
            "needs an organisation number",
        ),
        (r.intervention(note="a\x00b"), "control characters"),
        (r.intervention(note="  \n"), "string pattern mismatch"),
        (r.intervention(code="GC002"), "literal error"),
        (r.fk_signal(need_may_be_assumed=False), "literal error"),
        (r.intervention(authored_on="2026-02-30"), "no such day"),
        (r.intervention(version=0), "greater than equal"),
        (r.intervention(version="1"), "int type"),
    ],
)
def test_what_the_law_or_the_form_forbids_is_refused_with_the_rule(document, why):
    assert why in whys(document)


def test_every_fault_of_a_record_is_told_at_once_and_none_tells_a_value():
    secret = "191302301212"
    found = faults(r.intervention(kind="x", number=secret) | {secret: 1, "Karin": 2})
    assert len(found) == 4
    assert secret not in json.dumps([fault.as_line() for fault in found])
    assert secret not in str(Invalid(found))


def test_decomposed_letters_are_kept_composed():
    record, _ = read_record(r.intervention(note="A\u030asa"), today=TODAY)
    assert record.note == "\u00c5sa"


def test_a_wrong_check_digit_is_a_warning_in_test_mode_only():
    document = r.intervention(number="191212121213")
    assert faults(document)[0].code == "record.invalid"
    _, warnings = read_record(document, mode="test", today=TODAY)
    assert [(w.code, w.severity) for w in warnings] == [("record.check-digit", "warning")]


@given(strategies.records())
def test_a_record_never_changes_and_survives_its_json_form(record):
    with pytest.raises(ValueError, match="frozen"):
        record.version = 2
    assert read_record(json.loads(json.dumps(written_record(record))))[0] == record


def test_the_schema_knows_every_kind_and_is_closed():
    document = schema()
    assert set(document["discriminator"]["mapping"]) == set(RECORDS)
    assert all(
        part.get("additionalProperties") is False for part in document["$defs"].values() if part["type"] == "object"
    )
