"""The mapping, both ways."""

from __future__ import annotations

import pytest
from adapter.domain import read_record, written_record
from adapter.mapping import Mapper
from adapter.tables import load
from hypothesis import given
from hypothesis import strategies as st

import strategies

MAPPER = Mapper(load())
KINDS = {
    "Intervention": strategies.interventions,
    "Consent": strategies.consents,
    "Block": strategies.blocks,
    "CarePlan": strategies.care_plans,
    "FkSignal": strategies.fk_signals,
    "Offer": strategies.offers,
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_what_goes_out_comes_back_the_same(kind, data):
    record = data.draw(KINDS[kind]())
    reading = MAPPER.from_fhir(MAPPER.to_fhir(record).resources)
    assert reading.records == (record,)
    assert reading.losses == ()


@given(strategies.records())
def test_a_record_survives_its_json_form(record):
    assert read_record(written_record(record))[0] == record
