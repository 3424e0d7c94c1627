"""The bridge to fhir.resources."""

from __future__ import annotations

import pytest
import strategies
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.period import Period
from fhir.resources.task import Task as TaskOfR5
from hypothesis import given
from hypothesis import strategies as st

import adapter
from adapter.errors import Invalid
from adapter.mapping import Mapper, Package, collection, transaction
from adapter.models import from_models, to_models
from adapter.tables import load

MAPPER = Mapper(load())


@pytest.mark.parametrize("kind", strategies.KINDS)
@given(data=st.data())
def test_fhir_resources_accepts_every_resource_of_every_record_and_gives_it_back(kind, data):
    package = MAPPER.to_fhir(data.draw(strategies.KINDS[kind]()))
    assert from_models(to_models(package)) == tuple(normalised(resource) for resource in package.resources)


@given(strategies.records())
def test_a_record_comes_back_from_its_models_at_the_same_moments(record):
    models = to_models(MAPPER.to_fhir(record))
    (again,) = MAPPER.from_fhir(from_models(models)).records
    assert to_models(MAPPER.to_fhir(again)) == models


@pytest.mark.parametrize("bundled", [collection, transaction])
@given(strategies.records())
def test_fhir_resources_accepts_the_bundles_that_we_make(bundled, record):
    package = MAPPER.to_fhir(record)
    bundle = Bundle.model_validate(bundled(package))
    assert from_models([bundle]) == from_models(to_models(package))


def test_a_model_of_another_release_is_refused_and_nothing_of_it_told():
    with pytest.raises(Invalid) as refused:
        from_models([TaskOfR5(status="requested", intent="order", description="191212121212")])
    assert [fault.code for fault in refused.value.faults] == ["model.other-release"]
    assert "191212121212" not in str(refused.value)


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Task", "status": "requested", "intent": "order", "191212121212": 1},
        {"resourceType": "Task", "status": "requested", "intent": "order", "authoredOn": "191212121212"},
        {"resourceType": "NoSuchType"},
        {"resourceType": "Period"},
        {},
    ],
)
def test_what_the_models_have_no_place_for_is_refused_by_place_and_rule(resource):
    with pytest.raises(Invalid) as refused:
        to_models(Package((resource,)))
    assert {fault.code for fault in refused.value.faults} == {"model.refused"}
    assert "191212121212" not in repr(refused.value.faults)


def test_a_data_type_is_not_a_resource():
    with pytest.raises(Invalid, match=r"model\.other-release"):
        from_models([Period(start="2026")])


def test_every_public_name_can_be_had_and_star_import_gives_them_all():
    everything = {}
    exec("from adapter import *", everything)
    assert set(adapter.__all__) <= everything.keys()
    assert set(adapter.__all__) <= set(dir(adapter))
    assert sorted(set(adapter.__all__)) == adapter.__all__


def test_a_name_that_is_not_public_is_no_attribute():
    with pytest.raises(AttributeError, match="no_such_name"):
        adapter.no_such_name  # noqa: B018  reading it is the test


def test_the_public_names_are_what_the_type_checker_is_told():
    assert adapter.load_tables is load
    assert adapter.Mapper is Mapper
    assert adapter.to_models is to_models


def normalised(value):
    """UTC has two spellings, and fhir.resources writes one."""
    if isinstance(value, dict):
        return {name: normalised(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [normalised(inner) for inner in value]
    return value.replace("+00:00", "Z") if isinstance(value, str) and value[10:11] == "T" else value
