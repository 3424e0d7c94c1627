"""``koord check``: every fault of records and FHIR resources. Nothing is stored and nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import click

from adapter.cli import reading
from adapter.cli.reading import Content
from adapter.cli.terminal import FINDINGS, OK, Command, language, put, put_json, test_identities
from adapter.errors import AdapterError, Fault, Invalid

if TYPE_CHECKING:
    from adapter.cli.report import Checked
    from adapter.sweden import Mode

Form = Literal["text", "json", "outcome", "junit", "sarif"]


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "outcome", "junit", "sarif"]),
    default="text",
    help="outcome: a FHIR OperationOutcome; junit: JUnit XML; sarif: SARIF 2.1.0.",
)
@click.option("--rule", "rules", multiple=True, metavar="RULE", help="A rule of coordination to apply to all of it.")
@click.option("--strict", is_flag=True, help="A warning is a finding too.")
@test_identities
def check(files: tuple[str, ...], form: Form, rules: tuple[str, ...], mode: Mode, *, strict: bool) -> int:
    """
    Find every fault in records and FHIR resources.

    Each with its place (FHIRPath, JSON pointer, line and column), stable code, rule, and what to do. Ends with 1 if something
    is wrong. FHIR is held against R4, and interventions against koord-gc001 and koord-no-diagnosis; RULE is one of these or
    koord-subject.
    """
    checked = [_checked(name, rules, mode) for name in files]
    _put(checked, form, strict=strict)
    every = [fault for each in checked for fault in each.faults]
    worst = max((fault.entry.exit for fault in every if fault.severity == "error"), default=OK)
    return worst or (FINDINGS if strict and any(fault.severity == "warning" for fault in every) else OK)


def _put(checked: Sequence[Checked], form: Form, *, strict: bool) -> None:
    from adapter.cli import report

    if form == "junit":
        put(report.junit(checked, language(), strict=strict))
    elif form == "text":
        for line in report.text(checked, language()):
            put(line)
    else:
        made = {"json": report.rows, "outcome": report.outcome, "sarif": report.sarif}[form]
        put_json(made(checked, language()))


def _checked(name: str, rules: Sequence[str], mode: Mode) -> Checked:
    from adapter.cli.report import Checked

    try:
        content = reading.read(name)
        found = content.placed(_fhir_faults(content.value, rules)) if content.is_fhir else _record_faults(content, mode)
    except AdapterError as error:
        return Checked(name, error.faults)
    return Checked(name, tuple(sorted(found, key=_place)), content.parts)


def _record_faults(content: Content, mode: Mode) -> list[Fault]:
    around = content.placed(_submission_faults(content.value, mode)) if content.is_submission else []
    try:
        _, warnings = reading.records(content, mode=mode)
    except AdapterError as error:
        return [*around, *error.faults]
    return [*around, *warnings]


def _submission_faults(value: dict[str, Any], mode: Mode) -> Sequence[Fault]:
    """What is wrong around the records: unknown fields, deliveries and other systems' Consents that are not what they must be."""
    from adapter.consent import handed_over
    from adapter.domain import read_part
    from adapter.flows.accept import SUBMISSION

    try:
        submission, _ = read_part(SUBMISSION, value)
    except Invalid as error:
        return error.faults
    faults: list[Fault] = []
    for number, document in enumerate(submission.consents):
        try:
            handed_over.read(document, mode=mode)
        except Invalid as error:
            faults += [replace(fault, where=f"consents[{number}].{fault.where}") for fault in error.faults]
    return faults


def _place(fault: Fault) -> tuple[int, int]:
    return fault.line or 0, fault.column or 0


def _fhir_faults(resource: dict[str, Any], rules: Sequence[str]) -> list[Fault]:
    """Against FHIR and the rules that were named; interventions, whose type has no place for a diagnosis, also without one."""
    from adapter.validation import RULES, diagnosis_content, validate

    if set(rules) - set(RULES):
        raise click.BadParameter(f"one of {', '.join(RULES)}", param_hint="--rule")
    faults = validate(resource, rules=dict.fromkeys(["koord-gc001", *rules]))
    return list(
        dict.fromkeys([*faults, *(each for each in diagnosis_content(resource) if _in_intervention(resource, each))])
    )


def _in_intervention(resource: dict[str, Any], fault: Fault) -> bool:
    from adapter.validation.coordination import INTERVENTION_KIND
    from adapter.wire.places import steps

    path = steps(fault.where)
    inner = resource
    if path[:2] == ("Bundle", "entry"):
        inner = resource["entry"][path[2]].get("resource", {})
    return inner.get("resourceType") == "Task" and INTERVENTION_KIND in str(inner.get("code"))
