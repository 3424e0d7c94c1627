"""``koord check``: every fault of records and FHIR resources. Nothing is stored and nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from adapter.cli import reading
from adapter.cli.reading import Content
from adapter.cli.terminal import FINDINGS, OK, Command, language, put, put_json, test_identities
from adapter.errors import AdapterError, Fault, Invalid

if TYPE_CHECKING:
    from adapter.cli.report import Checked
    from adapter.definitions import Release
    from adapter.sweden import Mode

Form = Literal["text", "json", "outcome", "junit", "sarif"]


@dataclass(frozen=True, slots=True)
class Bar:
    """What inputs are held to."""

    rules: tuple[str, ...]
    profiles: tuple[str, ...]
    packages: tuple[Path, ...]
    mode: Mode
    release: Release = "R4"

    def look_up(self) -> None:
        """
        Before anything is read.

        Raises:
            Invalid: a profile that was asked for is not known (``cli.unknown-profile``).
            Misconfigured: a folder is no package (``profile.package``).
        """
        if not self.profiles and not self.packages:
            return
        from adapter.profiles import profiles

        known = profiles(self.release, self.packages)
        if any(known.named(url) is None for url in self.profiles):
            raise Invalid(Fault("cli.unknown-profile", "--profile", self.release))

    def faults(self, resource: dict[str, Any]) -> list[Fault]:
        """
        Against FHIR, profiles and rules; interventions, whose type has no place for a diagnosis, also without one.

        Raises:
            click.BadParameter: there is no such rule.
            Misconfigured: a profile slices in a way that cannot be decided (``profile.slicing``).
        """
        from adapter.validation import RULES, diagnosis_content, validate

        if set(self.rules) - set(RULES):
            raise click.BadParameter(f"one of {', '.join(RULES)}", param_hint="--rule")
        rules = dict.fromkeys(["koord-gc001", *self.rules])
        found = validate(resource, self.release, rules=rules, profiles=self.profiles, packages=self.packages)
        diagnoses = (each for each in diagnosis_content(resource, self.release) if _in_intervention(resource, each))
        return list(dict.fromkeys([*found, *diagnoses]))


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
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="URL",
    help="A profile to hold FHIR to, besides those that it names.",
)
@click.option(
    "--package",
    "packages",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The unpacked folder of a FHIR package: its profiles are known besides ours.",
)
@click.option("--strict", is_flag=True, help="A warning is a finding too.")
@click.option("--release", type=click.Choice(["R4", "R5"]), default="R4", help="The release of FHIR; R4 if left out.")
@test_identities
def check(  # noqa: PLR0913, PLR0917  one for each option
    files: tuple[str, ...],
    form: Form,
    rules: tuple[str, ...],
    profiles: tuple[str, ...],
    packages: tuple[Path, ...],
    release: Release,
    mode: Mode,
    *,
    strict: bool,
) -> int:
    """
    Find every fault in records and FHIR resources.

    Each with its place (FHIRPath, JSON pointer, line and column), stable code, rule, and what to do. Ends with 1 if something
    is wrong. FHIR is held to its release, to the profiles that it names as far as they are known, and interventions to
    koord-gc001 and koord-no-diagnosis; RULE is one of these or koord-subject.
    """
    bar = Bar(rules, profiles, packages, mode, release)
    bar.look_up()
    found = [checked(name, bar) for name in files]
    _put(found, form, strict=strict)
    every = [fault for each in found for fault in each.faults]
    worst = max((fault.entry.exit for fault in every if fault.severity == "error"), default=OK)
    return worst or (FINDINGS if strict and any(fault.severity == "warning" for fault in every) else OK)


def checked(name: str, bar: Bar) -> Checked:
    """
    A file, or standard input for ``-``, and all that is wrong with it.

    Raises:
        click.BadParameter, Misconfigured: as ``Bar.faults``.
    """
    from adapter.cli.report import Checked

    try:
        content = reading.examined(name, release=bar.release)
    except AdapterError as error:
        return Checked(name, error.faults)
    found = _fhir_faults(content, bar) if content.is_fhir else _record_faults(content, bar.mode)
    return Checked(name, tuple(sorted(found, key=_place)), content.parts)


def _put(found: Sequence[Checked], form: Form, *, strict: bool) -> None:
    from adapter.cli import report

    if form == "junit":
        put(report.junit(found, language(), strict=strict))
    elif form == "text":
        for line in report.text(found, language()):
            put(line)
    else:
        made = {"json": report.rows, "outcome": report.outcome, "sarif": report.sarif}[form]
        put_json(made(found, language()))


def _fhir_faults(content: Content, bar: Bar) -> list[Fault]:
    """Those of form, then of what could be read."""
    found = [fault for fault in bar.faults(content.value) if not _is_told(fault, content)]
    return [*content.faults, *content.placed(found), *_other_release(content, bar, found)]


def _other_release(content: Content, bar: Bar, found: Sequence[Fault]) -> list[Fault]:
    """A word where names that are unknown in this release are what makes the resource wrong, and it is right in the other."""
    if content.faults or bar.packages or bar.profiles or all(each.code != "fhir.unknown-element" for each in found):
        return []
    from adapter.validation import errors

    other: Release = "R5" if bar.release == "R4" else "R4"
    if errors(replace(bar, release=other).faults(content.value)):
        return []
    return [Fault("cli.other-release", severity="information", named=(("release", other),))]


def _is_told(fault: Fault, content: Content) -> bool:
    """Nothing could be read there, or all that could have been read is told to be wrong."""
    inside = f"{fault.where}."
    is_emptied = fault.code == "fhir.empty" and any(f"{each.where}.".startswith(inside) for each in content.faults)
    return is_emptied or fault.where in content.unread


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


def _in_intervention(resource: dict[str, Any], fault: Fault) -> bool:
    from adapter.validation.coordination import INTERVENTION_KIND
    from adapter.wire.places import steps

    path = steps(fault.where)
    inner = resource
    if path[:2] == ("Bundle", "entry"):
        inner = resource["entry"][path[2]].get("resource", {})
    return inner.get("resourceType") == "Task" and INTERVENTION_KIND in str(inner.get("code"))
