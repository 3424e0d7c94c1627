"""One catalogue of errors: every code known, in two languages, none unused, nothing personal."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from adapter import errors
from adapter.consent.decide import Reason
from adapter.definitions import definitions

ADAPTER = Path(errors.__file__).parent
AREAS = sorted(path.stem for path in (ADAPTER / "messages").glob("*.toml"))
SOURCE = "\n".join(path.read_text("utf-8") for path in ADAPTER.rglob("*.py"))
EXITS = {0, 1, 2, 3, 4, 5, 6, 70}


@pytest.mark.parametrize("code", errors.codes())
def test_every_code_says_what_and_what_to_do_in_both_languages(code):
    entry = errors.catalogue(code)
    for sentence in (*entry.says.values(), *entry.do.values()):
        assert sentence.strip()
        assert sentence[0].isupper() or sentence[0] in "`{"
    assert entry.says["sv"] != entry.says["en"]
    assert entry.issue in definitions().codes("http://hl7.org/fhir/ValueSet/issue-type").all
    assert entry.status == 200 or 400 <= entry.status < 600
    assert entry.exit in EXITS


@pytest.mark.parametrize("area", AREAS)
def test_the_places_of_a_sentence_are_the_same_in_both_languages(area):
    for name, row in tomllib.loads((ADAPTER / "messages" / f"{area}.toml").read_text("utf-8")).items():

        def places(*keys, row=row):
            return set(re.findall(r"\{(\w+)\}", " ".join(row[key] for key in keys)))

        assert places("en", "do_en") == places("sv", "do_sv"), name


def codes_of_faults():
    for path in ADAPTER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            named = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"Fault", "NotAuthenticated"}
            )
            if named and node.args and isinstance(node.args[0], ast.Constant):
                yield node.args[0].value


def test_every_code_of_a_fault_in_the_code_is_in_the_catalogue():
    assert set(codes_of_faults()) <= set(errors.codes())


def test_no_code_of_the_catalogue_is_out_of_use():
    """Its whole name, or the part after the dot where the code is put together, stands somewhere in the code."""
    decided = {reason.code for reason in Reason}

    def used(code):
        name = code.partition(".")[2]
        return code in SOURCE or code in decided or f'"{name}"' in SOURCE or f"'{name}'" in SOURCE

    assert [code for code in errors.codes() if not used(code)] == []


def test_an_error_has_at_least_one_fault():
    with pytest.raises(ValueError, match="without a fault"):
        errors.Invalid([])


def test_an_error_takes_status_and_exit_from_its_first_error():
    error = errors.Invalid(
        [errors.Fault("record.check-digit", severity="warning"), errors.Fault("mapping.unknown-code", "Task.code")]
    )
    assert (error.status, error.exit) == (422, 1)


def test_a_fault_as_a_line_tells_where_what_why_and_what_to_do():
    line = errors.Fault("mapping.unknown-code", "Task.code", "code table channel", line=3, column=7).as_line("sv")
    assert line.startswith("error: Task.code (rad 3, kolumn 7): mapping.unknown-code: Kodsystemet är vårt")
    assert "[code table channel]" in line
    assert line.endswith("regionens tillägg.")
