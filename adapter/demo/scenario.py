"""
A scenario: records in the region's terms, what is done with them, and what each recipient must then hold, and never hold.

One folder each under ``examples/scenarios``: ``scenario.toml``, the submissions that it names, and ``expected/`` with the
FHIR that a recipient gets (``fk.json``; ``fk-1.json``, ``fk-2.json`` if it gets several). Dates in them can be written as
``{{today-30d}}`` or ``{{now-1s}}``, logical ids are by type and order (``task-1``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from adapter.dates import STOCKHOLM
from adapter.domain import Category
from adapter.errors import AdapterError, Fault, Misconfigured
from adapter.resources import folder
from adapter.wire import json

Outcome = Literal["delivered", "withheld", "refused"]
"""What becomes of a record for a recipient: it arrives; the gate keeps it; it is not even accepted."""


Notice = Literal["", "delivered", "acknowledged"]
"""A notice of withdrawal: none; it arrives; its recipient also answers that it has stopped using what it got."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Step(_Part):
    """One thing that is done: exactly one of the four."""

    submit: str | None = None
    """A file of the scenario, handed over as the local system does."""
    pause: str | None = None
    """A recipient that nothing is sent to from now on."""
    resume: str | None = None
    wait: Literal["idle"] | None = None
    """Until all that was accepted has been sent, or kept for good. The end of the steps waits too."""

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("a step is one of submit, pause, resume, wait")
        return self


class Expectation(_Part):
    """
    What becomes of everything in the scenario for one recipient. ``reason``: the stable code. ``left_out``: the categories
    of what was sent that the recipient does not get, in whole or in part. ``canaries``: text that must never reach it.
    ``notice``: how far a notice that a consent no longer holds comes at least, if the recipient is to have one.
    """

    recipient: str
    outcome: Outcome
    reason: str = ""
    left_out: frozenset[Category] = frozenset()
    canaries: tuple[str, ...] = ()
    notice: Notice = ""

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if (self.outcome == "delivered") == bool(self.reason):
            raise ValueError("what is not delivered, and only that, has a reason")
        if self.left_out and self.outcome != "delivered":
            raise ValueError("what is not delivered is left out as a whole")
        return self


class _Sentence(_Part):
    en: str
    sv: str


class _File(_Part):
    law: str
    title: _Sentence
    purpose: _Sentence
    step: tuple[Step, ...] = Field(min_length=1)
    expect: tuple[Expectation, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario as its folder tells it. ``title`` and ``purpose`` by language."""

    name: str
    folder: Path
    law: str
    title: Mapping[str, str]
    purpose: Mapping[str, str]
    steps: tuple[Step, ...]
    expectations: tuple[Expectation, ...]

    def submission(self, file: str, now: datetime) -> dict[str, Any]:
        """A submission (the form of ``POST /records``) as it is handed over at ``now``."""
        return _read(self.folder / file, now)

    def expected(self, recipient: str, now: datetime) -> list[dict[str, Any]]:
        """The Bundles that a recipient gets, in order."""
        return [_read(file, now) for file in self.expected_files(recipient)]

    def expected_files(self, recipient: str) -> list[Path]:
        """Where they are."""
        shape = re.compile(re.escape(recipient) + r"(?:-([0-9]+))?\.json")
        found = [(shape.fullmatch(file.name), file) for file in (self.folder / "expected").glob("*.json")]
        return [file for _, file in sorted((int(match[1] or 0), file) for match, file in found if match)]


def load(root: Path | None = None) -> tuple[Scenario, ...]:
    """
    Every scenario, by name.

    Raises:
        Misconfigured: ``demo.scenario``: a folder does not hold one, or two of them forbid what another expects.
    """
    place = root or folder("scenarios")
    return tuple(_scenario(file.parent) for file in sorted(place.glob("*/scenario.toml")))


def resolved(text: str, now: datetime) -> str:
    """
    The text with its dates filled in: ``{{today}}`` a day and ``{{now}}`` a time to the second, in Swedish local time;
    either with ``+`` or ``-`` so many days, hours, minutes or seconds (``d``, ``h``, ``m``, ``s``).
    """

    def fill(found: re.Match[str]) -> str:
        shift = timedelta(**{_UNITS[found[4]]: int(found[2] + found[3])}) if found[2] else timedelta()
        if found[1] == "today":
            return (now.astimezone(STOCKHOLM).date() + shift).isoformat()
        return (now + shift).astimezone(STOCKHOLM).replace(microsecond=0).isoformat()

    return _PLACE.sub(fill, text)


def normalised(bundle: dict[str, Any]) -> dict[str, Any]:
    """A Bundle with readable ids: those that an adapter gives are keyed, and differ between two of them."""
    count: dict[str, int] = {}
    names: dict[str, str] = {}
    for entry in bundle.get("entry", ()):
        kind, logical_id = entry["resource"]["resourceType"], entry["resource"]["id"]
        count[kind] = count.get(kind, 0) + 1
        names.setdefault(logical_id, f"{kind.lower()}-{count[kind]}")
    renamed: dict[str, Any] = _renamed(bundle, names)
    return renamed


_PLACE: Final = re.compile(r"\{\{(today|now)(?:([+-])([0-9]{1,4})([dhms]))?\}\}")
_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def _scenario(place: Path) -> Scenario:
    try:
        told = _File.model_validate(tomllib.loads((place / "scenario.toml").read_text("utf-8")))
    except ValidationError as error:
        raise Misconfigured(_faults(place, error)) from None
    except (OSError, ValueError) as error:
        raise Misconfigured(Fault("demo.scenario", f"{place.name}/scenario.toml", type(error).__name__)) from None
    recipients = [each.recipient for each in told.expect]
    if len(set(recipients)) != len(recipients):
        raise Misconfigured(Fault("demo.scenario", f"{place.name}/scenario.toml", "a recipient is expected twice"))
    scenario = Scenario(
        place.name, place, told.law, told.title.model_dump(), told.purpose.model_dump(), told.step, told.expect
    )
    missing = [step.submit for step in told.step if step.submit and not (place / step.submit).is_file()]
    missing += [
        f"expected/{each.recipient}.json"
        for each in told.expect
        if (each.outcome == "delivered") != bool(scenario.expected_files(each.recipient))
    ]
    if missing:
        raise Misconfigured(
            Fault("demo.scenario", f"{place.name}/{file}", "a file is missing or not expected") for file in missing
        )
    return scenario


def _faults(place: Path, error: ValidationError) -> Iterator[Fault]:
    for found in error.errors(include_input=False, include_url=False):
        where = ".".join(str(step) for step in found["loc"])
        yield Fault("demo.scenario", f"{place.name}/scenario.toml {where}", found["type"].replace("_", " "))


def _read(file: Path, now: datetime) -> dict[str, Any]:
    where = f"{file.parent.name}/{file.name}"
    try:
        text = file.read_text("utf-8")
        return dict(json.read(resolved(text, now).encode(), require_object=True))
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(Fault("demo.scenario", where, type(error).__name__)) from None
    except AdapterError as error:
        first = error.first
        raise Misconfigured(Fault("demo.scenario", where, first.code, line=first.line, column=first.column)) from None


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {name: _renamed(value, names) for name, value in node.items()}
    if isinstance(node, list):
        return [_renamed(item, names) for item in node]
    if isinstance(node, str):
        before, slash, logical_id = node.rpartition("/")
        return f"{before}{slash}{names.get(logical_id, logical_id)}"
    return node
