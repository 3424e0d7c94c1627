"""
Every error the adapter raises on purpose.

An error is one or more *faults*. A fault has a stable code, a place, a reason, and never a value:
what a fault says may stand in a log. The sentences for people, in Swedish and English, and what to do
about it, are data: ``adapter/messages/<area>.toml``, one table per code (``area`` is the code's first word).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

Severity = Literal["error", "warning", "information"]
Language = Literal["sv", "en"]

_MESSAGES: Final = Path(__file__).parent / "messages"
_POSITION: Final = {"en": "line {line}, column {column}", "sv": "rad {line}, kolumn {column}"}
MOST_FAULTS: Final = 1_000
"""Told of one input by what reads or validates it; more are read by no one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One row of the message catalogue.

    ``issue``: FHIR ``OperationOutcome.issue.code``; ``status``: HTTP status; ``exit``: exit code of the
    command line; ``says`` and ``do``: what happened and what to do, by language, with ``{named}`` places
    that are filled from ``Fault.named``.
    """

    issue: str
    status: int
    exit: int
    says: Mapping[str, str]
    do: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One thing that is wrong: ``code`` (stable), ``where`` (FHIRPath, record field or option; never a value),
    ``why`` (the rule, profile or law), and the line and column (from 1) in the text read, when there was one.

    ``profile`` is the canonical of the profile whose rule it is; empty for FHIR's own rules. ``pointer`` leads to the place in
    the JSON document (RFC 6901; ``""`` is all of it), to what is there of the way if the place is missing.
    ``named`` fills the places of the sentence: names of elements, limits, codes from our own tables. No personal data.
    ``nth`` is for a JSON property whose name nobody knows and which may be personal: its number (from 0) in the object at ``where``.
    """

    code: str
    where: str = ""
    why: str = ""
    line: int | None = None
    column: int | None = None
    severity: Severity = "error"
    named: tuple[tuple[str, str], ...] = ()
    profile: str = ""
    pointer: str | None = None
    nth: int | None = None

    @property
    def entry(self) -> Entry:
        return catalogue(self.code)

    def says(self, language: Language = "en") -> str:
        return _fill(self.entry.says[language], self.named)

    def do(self, language: Language = "en") -> str:
        return _fill(self.entry.do[language], self.named)

    def position(self, language: Language = "en") -> str:
        """The line and column in words; empty if there was no text."""
        return "" if self.line is None else _POSITION[language].format(line=self.line, column=self.column)

    @property
    def reason(self) -> str:
        """The rule, and the profile whose rule it is."""
        return " of ".join(reason for reason in (self.why, self.profile) if reason)

    def as_line(self, language: Language = "en") -> str:
        """One line for a terminal: where, code, what, why, what to do."""
        place = self.where or "-"
        if self.line is not None:
            place += f" ({self.position(language)})"
        why = f" [{self.reason}]" if self.reason else ""
        return f"{self.severity}: {place}: {self.code}: {self.says(language)}{why} {self.do(language)}"


class AdapterError(Exception):
    """The root of the tree. Carries at least one fault; the first decides status and exit code."""

    def __init__(self, faults: Fault | Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        if not self.faults:
            raise ValueError("an error without a fault")
        super().__init__("; ".join(f"{fault.code} at {fault.where or '-'}" for fault in self.faults))

    @property
    def first(self) -> Fault:
        return next((fault for fault in self.faults if fault.severity == "error"), self.faults[0])

    @property
    def status(self) -> int:
        return self.first.entry.status

    @property
    def exit(self) -> int:
        return self.first.entry.exit


class Unreadable(AdapterError):
    """Bytes that are not the JSON or XML we accept."""


class Invalid(AdapterError):
    """Readable, but against FHIR's rules, our profiles' rules or the record's shape."""


class Unmappable(AdapterError):
    """Valid, but no table tells how to turn it into a record, or a record into it."""


class Misconfigured(AdapterError):
    """Settings, tables, keys or certificates that the adapter will not start with."""


class Denied(AdapterError):
    """The gate did not clear it, or the caller may not do this. Outwards: constant text."""


class Conflict(AdapterError):
    """A stale version, a duplicate with other content, an edge that the state machine does not have."""


class PeerFault(AdapterError):
    """A peer is down, slow, answers garbage, or refuses."""


class StoreFault(AdapterError):
    """What is durable could not be read or written."""


@cache
def catalogue(code: str) -> Entry:
    """
    The catalogue's row for a stable code.

    Raises:
        KeyError: no such code. A test holds the code base free of these.
    """
    area, _, name = code.partition(".")
    row: Any = _area(area)[name]
    return Entry(
        issue=row["issue"],
        status=row["status"],
        exit=row["exit"],
        says={"en": row["en"], "sv": row["sv"]},
        do={"en": row["do_en"], "sv": row["do_sv"]},
    )


def codes() -> list[str]:
    """Every stable code, sorted."""
    areas = sorted(path.stem for path in _MESSAGES.glob("*.toml"))
    return [f"{area}.{name}" for area in areas for name in sorted(_area(area))]


@cache
def _area(area: str) -> dict[str, Any]:
    return tomllib.loads((_MESSAGES / f"{area}.toml").read_text("utf-8"))


def more(where: str = "", limit: int = MOST_FAULTS) -> Fault:
    """There may be more faults at this place than are told."""
    return Fault("fhir.more", where, "limit of this adapter", severity="information", named=(("limit", str(limit)),))


def _fill(sentence: str, named: tuple[tuple[str, str], ...]) -> str:
    for name, value in named:
        sentence = sentence.replace("{" + name + "}", value)
    return sentence
