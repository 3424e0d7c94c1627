"""The runner of mutants: which faults it makes, and a few of them in every run. `make mutants` runs them all."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import mutants
import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a == b", "a != b"),
        ("a <= b", "a < b"),
        ("a in b", "a not in b"),
        ("a is None", "a is not None"),
        ("a and b", "a or b"),
        ("not a", "a"),
        ("a | b", "a & b"),
        ("True", "False"),
        ("7", "8"),
        ("'text'", "''"),
        ("any(a)", "all(a)"),
        ("max(a)", "min(a)"),
    ],
)
def test_a_fault_in_an_expression(before, after):
    node = ast.parse(before, mode="eval").body
    assert [ast.unparse(ast.fix_missing_locations(new)) for new in mutants._faults(node)] == [after]


@pytest.mark.parametrize(
    ("before", "after"),
    [("return a", "return None"), ("raise a", "pass"), ("f(a)", "pass"), ("a += 1", "pass"), ("continue", "pass")],
)
def test_a_fault_in_a_statement(before, after):
    node = ast.parse(before).body[0]
    assert [ast.unparse(ast.fix_missing_locations(new)) for new in mutants._faults(node)] == [after]


@pytest.mark.parametrize("module", mutants.TESTS)
def test_every_mutant_has_a_name_of_its_own_and_is_another_module(module):
    found = list(mutants.mutants(module))
    lines = mutants._source(module).read_text("utf-8").count("\n")
    assert len({mutant.name for mutant in found}) == len(found) > lines // 5
    assert all(mutant.name.startswith(f"{module} ") and len(mutant.name) < 250 for mutant in found)


def test_every_argument_is_for_a_mutant_that_there_is():
    names = {mutant.name for module in mutants.TESTS for mutant in mutants.mutants(module)}
    assert set(mutants.argued()) <= names


@pytest.mark.processes
@pytest.mark.parametrize("modules", [("consent.seal", "consent.inspection"), ("validation.quick",)])
def test_a_few_mutants_are_noticed(modules):
    command = [sys.executable, "tests/mutants.py", "--sample", "5", "--jobs", "2", *modules]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, env=os.environ, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith("5 mutants, 0 not noticed")
