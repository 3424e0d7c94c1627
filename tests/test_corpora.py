"""The examples of our profiles and of the scenarios: accepted as they are, the same after every form, never a crash when damaged."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import codes
from adapter.validation import errors, validate
from adapter.wire import json, xml
from tests.test_validation import mutated

FOLDER = Path(__file__).parent.parent / "profiles" / "examples"
EXAMPLES = {file.stem: json.read(file.read_bytes()) for file in sorted((FOLDER / "r4").glob("*.json"))}
INVALID = {file.stem: json.read(file.read_bytes()) for file in sorted((FOLDER / "invalid").glob("*.json"))}
CODES = set(codes())


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_valid_and_the_same_after_json_and_xml(name):
    resource = EXAMPLES[name]
    assert errors(validate(resource)) == []
    assert json.read(json.write(resource)) == resource
    assert xml.read(xml.write(resource)) == resource


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_example_breaks_the_rule_that_it_is_named_for_and_no_other(name):
    assert {fault.why.split()[-1] for fault in errors(validate(INVALID[name]))} == {name}


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_that_json_can_hold_breaks_the_judging_of_a_profile(name):
    @given(st.integers(0, 2**32))
    def survives(seed):
        random = Random(seed)
        for _ in range(20):
            assert {fault.code for fault in validate(mutated(EXAMPLES[name], random))} <= CODES

    survives()
