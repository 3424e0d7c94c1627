"""What ``koord check`` found, in the forms that people, programs, test runners and code scanners read. No form holds a value that was read."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, repeat
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, Final
from urllib.parse import quote

from adapter.cli.terminal import shown
from adapter.errors import Fault, Language, Severity, catalogue

_NOTHING: Final = Fault("cli.nothing-found", severity="information")
_SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "information")
_LEVELS: Final = {"error": "error", "warning": "warning", "information": "note"}
_WIDEST: Final = 100
_NAMED: Final = re.compile(r"\{\w+\}")
_WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "error": "error", "warning": "warning", "information": "note",
        "errors": "errors", "warnings": "warnings", "informations": "notes",
        "rule": "rule", "profile": "profile", "do": "do", "at": "at",
        "in": "in", "files": "{found} in {wrong} of {all} files",
    },
    "sv": {
        "error": "fel", "warning": "varning", "information": "upplysning",
        "errors": "fel", "warnings": "varningar", "informations": "upplysningar",
        "rule": "regel", "profile": "profil", "do": "gör", "at": "plats",
        "in": "i", "files": "{found} i {wrong} av {all} filer",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checked:
    """
    One input and all that was found in it. ``parts``: the places of the resources or records that it holds, ``""`` for all of
    it if it is one record or could not be read.
    """

    name: str
    faults: tuple[Fault, ...]
    parts: tuple[str, ...] = ("",)

    def by_part(self) -> dict[str, list[Fault]]:
        """Every part with the faults inside it; those that stand in none come under ``""``."""
        found: dict[str, list[Fault]] = {part: [] for part in self.parts}
        for fault in self.faults:
            found.setdefault(self._part(fault.where), []).append(fault)
        return found

    def _part(self, where: str) -> str:
        inside = (part for part in self.parts if re.match(re.escape(part) + r"(?:$|[.\[])", where))
        return max(inside, key=len, default="")


def text(checked: Sequence[Checked], language: Language) -> Iterator[str]:
    """For people: file by file, what is alike once with all its places, then how much it was."""
    width = min(_WIDEST, get_terminal_size((_WIDEST, 24)).columns)
    for each in checked:
        if not each.faults:
            yield f"{shown(each.name)}: {_NOTHING.says(language)}"
            continue
        yield shown(each.name)
        yield from (f"  {line}" if line else "" for line in _grouped(each.faults, language, width - 2))
        yield f"{_count(each.faults, language)} {_WORDS[language]['in']} {shown(each.name)}"
        yield ""
    wrong = [each for each in checked if each.faults]
    if len(checked) > 1 and wrong:
        found = _count(chain.from_iterable(each.faults for each in wrong), language)
        yield _WORDS[language]["files"].format(found=found, wrong=len(wrong), all=len(checked))


def rows(checked: Sequence[Checked], language: Language) -> list[dict[str, Any]]:
    """For programs: one object for each fault."""
    return [
        {
            "file": shown(each.name),
            "severity": fault.severity,
            "where": fault.where,
            "pointer": fault.pointer,
            "line": fault.line,
            "column": fault.column,
            "code": fault.code,
            "why": fault.why,
            "profile": fault.profile or None,
            "says": fault.says(language),
            "do": fault.do(language),
        }
        for each in checked
        for fault in each.faults
    ]


def outcome(checked: Sequence[Checked], language: Language) -> dict[str, Any]:
    """One FHIR OperationOutcome; of several files, each issue's diagnostics begin with its file."""
    from adapter.transport.outcome import operation_outcome

    faults = [fault for each in checked for fault in each.faults]
    found = operation_outcome(faults or [_NOTHING], language)
    if len(checked) > 1 and faults:
        names = (shown(each.name) for each in checked for _ in each.faults)
        for issue, name in zip(found["issue"], names, strict=True):
            issue["diagnostics"] = f"{name}: {issue['diagnostics']}"
    return found


def junit(checked: Sequence[Checked], language: Language, *, strict: bool) -> bytes:
    """
    JUnit XML for test runners: a suite for each file, a case for each resource or record in it, one failure with all faults.
    Warnings fail if ``strict``; else they stand in the suite's ``system-out``.

    Holds to the schemas of both Ant and Jenkins. No time was measured, and what is not known of the machine is not told.
    """
    from lxml import etree

    failing = _SEVERITIES[:2] if strict else _SEVERITIES[:1]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    root = etree.Element("testsuites")
    for number, each in enumerate(checked):
        name = shown(each.name)
        cases = each.by_part()
        failed = {part: [f for f in faults if f.severity in failing] for part, faults in cases.items()}
        suite = etree.SubElement(
            root,
            "testsuite",
            name=name,
            package="koord.check",
            id=str(number),
            timestamp=now,
            hostname="localhost",
            tests=str(len(cases)),
            failures=str(sum(map(bool, failed.values()))),
            errors="0",
            time="0",
        )
        etree.SubElement(suite, "properties")
        for part, faults in failed.items():
            case = etree.SubElement(suite, "testcase", name=part or name, classname=name, time="0")
            if faults:
                failure = etree.SubElement(case, "failure", type=faults[0].code, message=_count(faults, language))
                failure.text = "\n".join(_grouped(faults, language, _WIDEST))
        rest = [fault for fault in each.faults if fault.severity not in failing]
        etree.SubElement(suite, "system-out").text = "\n".join(_grouped(rest, language, _WIDEST))
        etree.SubElement(suite, "system-err")
    written: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return written


def sarif(checked: Sequence[Checked], language: Language) -> dict[str, Any]:
    """SARIF 2.1.0 for code scanners: our stable codes are the rules, FHIRPaths the logical locations."""
    from importlib.metadata import version

    codes = list(dict.fromkeys(fault.code for each in checked for fault in each.faults))
    driver = {
        "name": "koord",
        "version": version("koord-adapter"),
        "rules": [_rule(code, language) for code in codes],
    }
    results = [_result(each.name, fault, codes, language) for each in checked for fault in each.faults]
    run = {"tool": {"driver": driver}, "language": language, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _rule(code: str, language: Language) -> dict[str, Any]:
    entry = catalogue(code)
    return {
        "id": code,
        "shortDescription": {"text": _NAMED.sub("…", entry.says[language])},
        "help": {"text": _NAMED.sub("…", entry.do[language])},
    }


def _result(name: str, fault: Fault, codes: Sequence[str], language: Language) -> dict[str, Any]:
    reason = f" [{fault.reason}]" if fault.reason else ""
    told = f"{fault.says(language)}{reason} {fault.do(language)}"
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(name)}}
    if fault.line is not None:
        physical["region"] = {"startLine": fault.line, "startColumn": fault.column}
    location: dict[str, Any] = {"physicalLocation": physical}
    if fault.where:
        location["logicalLocations"] = [{"fullyQualifiedName": fault.where}]
    known = {"rule": fault.why, "profile": fault.profile, "pointer": fault.pointer}
    return {
        "ruleId": fault.code,
        "ruleIndex": codes.index(fault.code),
        "level": _LEVELS[fault.severity],
        "message": {"text": told.replace("{", "{{").replace("}", "}}")},
        "locations": [location],
        "properties": {key: value for key, value in known.items() if value or value == fault.pointer == ""},
    }


def _uri(name: str) -> str:
    path = Path(name)
    return path.as_uri() if path.is_absolute() else quote(os.fsencode(name))


def _grouped(faults: Iterable[Fault], language: Language, width: int) -> Iterator[str]:
    """Faults that are told in the same words stand together, errors first."""
    groups: dict[tuple[Any, ...], list[Fault]] = {}
    for fault in sorted(faults, key=lambda fault: _SEVERITIES.index(fault.severity)):
        groups.setdefault((fault.severity, fault.code, fault.named, fault.profile), []).append(fault)
    for group in groups.values():
        yield from _told(group, language, width)
        yield ""


def _told(alike: Sequence[Fault], language: Language, width: int) -> Iterator[str]:
    """What is wrong, what to do, and where; a rule that all have in common is told once."""
    first, words = alike[0], _WORDS[language]
    rules = {fault.why for fault in alike}
    yield f"{words[first.severity]} {first.code}"
    yield from _wrapped(first.says(language), width, "  ", "  ")
    indent = " " * (4 + max(len(words[word]) for word in ("do", "rule", "profile", "at")))
    about = {"do": first.do(language), "rule": first.why if len(rules) == 1 else "", "profile": first.profile}
    for word, said in about.items():
        yield from _wrapped(said, width, f"  {words[word]}".ljust(len(indent)), indent)
    places = filter(None, (_at(fault, with_rule=len(rules) > 1) for fault in alike))
    for before, place in zip(chain([f"  {words['at']}".ljust(len(indent))], repeat(indent)), places, strict=False):
        yield from _wrapped(place, width, before, f"{indent}  ")


def _wrapped(said: str, width: int, first: str, rest: str) -> list[str]:
    """Lines that are no longer than this, unless one word is: addresses and paths stay whole."""
    return textwrap.wrap(
        said, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _at(fault: Fault, *, with_rule: bool) -> str:
    position = "" if fault.line is None else f"{fault.line}:{fault.column}"
    rule = f"[{fault.why}]" if with_rule and fault.why else ""
    return "  ".join(part for part in (position, fault.where, fault.pointer, rule) if part)


def _count(faults: Iterable[Fault], language: Language) -> str:
    words, found = _WORDS[language], [fault.severity for fault in faults]
    numbers = [(found.count(severity), severity) for severity in _SEVERITIES]
    return ", ".join(f"{n} {words[severity if n == 1 else f'{severity}s']}" for n, severity in numbers if n)
