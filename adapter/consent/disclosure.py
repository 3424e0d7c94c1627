"""
What each type of recipient may get at most: ``mappings/disclosure/<type>.toml``, one file per type, a closed list.

A consent narrows what stands here and never widens it. ``elements`` is written by hand, apart from the mapping
rows, and is what the last look at the outgoing bytes compares with.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from adapter.definitions import Release
from adapter.domain import RECORDS, ActorCategory, Category, ConsentKind, Purpose
from adapter.errors import Fault, Misconfigured
from adapter.resources import folder

PATIENT = "patient"
"""The one recipient type that is not an organisation."""
TYPES = (*(category.value for category in ActorCategory), PATIENT)

_REQUIRED = {"recipient", "law", "records", "purposes", "presupposes", "opened_by", "categories", "elements", "r5"}
_OPTIONAL = {"addressed", "care", "marks", "values"}
_SHAPES = {
    "Attachment": ("title", "contentType", "url"),
    "CodeableConcept": ("coding.system", "coding.code"),
    "Coding": ("system", "code"),
    "ContactPoint": ("system", "value"),
    "HumanName": ("family", "given"),
    "Identifier": ("system", "value"),
    "Link": ("reference",),
    "Logical": ("identifier.system", "identifier.value"),
    "Period": ("start", "end"),
    "Reference": ("reference", "identifier.system", "identifier.value"),
}
"""What may stand in an element of a type: never a text or display, an extension, an assigner or a period of validity."""


@dataclass(frozen=True, slots=True)
class AllowList:
    """
    What may stand in the bytes for a ``recipient``. ``elements``: for each resource type the paths that may stand in it;
    ``values``: for some paths, all that may stand there.
    """

    recipient: str
    elements: Mapping[str, frozenset[str]]
    values: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Disclosure(AllowList):
    """
    The most one type of recipient may get.

    ``presupposes``: consents that must stand, whomever they name. ``opened_by``: the consent that must name the
    recipient, or None where the ``law`` itself opens. ``addressed``: items that name another outside actor, or none,
    are left out. ``care``: the recipient gives care. ``marks``: tags (system, code) that every resource for this type
    carries, always.
    """

    law: str
    records: frozenset[str]
    purposes: frozenset[Purpose]
    presupposes: tuple[ConsentKind, ...]
    opened_by: ConsentKind | None
    categories: frozenset[Category]
    addressed: bool
    care: bool
    marks: tuple[tuple[str, str], ...]
    in_r5: AllowList

    def most(self, release: Release) -> AllowList:
        """The list for the bytes of a release."""
        return self if release == "R4" else self.in_r5

    @property
    def usual_purpose(self) -> Purpose:
        """The purpose of a send whose sender names none."""
        return next(purpose for purpose in Purpose if purpose in self.purposes)


@dataclass(frozen=True, slots=True)
class Disclosures:
    """All types of recipient, and the ``version`` of what they say (the first of their digest)."""

    version: str
    of: Mapping[str, Disclosure]


@cache
def load(root: Path | None = None) -> Disclosures:
    """
    Read and check the disclosure tables.

    Raises:
        Misconfigured: a file is missing, unreadable, or says something that is not known.
    """
    place = root or folder("mappings") / "disclosure"
    digest = sha256()
    found: dict[str, Disclosure] = {}
    for recipient in TYPES:
        file = place / f"{recipient}.toml"
        try:
            text = file.read_bytes()
            found[recipient] = _disclosure(recipient, tomllib.loads(text.decode()))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise Misconfigured(Fault("gate.table", f"disclosure/{file.name}", type(error).__name__)) from None
        digest.update(sha256(text).digest())
    return Disclosures(f"koord-1-{digest.hexdigest()[:16]}", found)


def _disclosure(recipient: str, raw: dict[str, Any]) -> Disclosure:
    if raw.pop("recipient") != recipient:
        raise ValueError("the file is named for another recipient")
    if not _REQUIRED - {"recipient"} <= set(raw) <= _REQUIRED | _OPTIONAL:
        raise KeyError("a key is missing or unknown")
    records = frozenset(raw["records"])
    if not records <= set(RECORDS) or not raw["law"]:
        raise ValueError("an unknown record kind, or no law")
    opened_by = raw["opened_by"]
    if (opened_by == "law") != (recipient == PATIENT):
        raise ValueError("only the patient's own access is opened by law")
    categories = frozenset(Category(name) for name in raw["categories"])
    if Category.ADMINISTRATIVE not in categories:
        raise ValueError("no resource exists without its administrative elements")
    elements, values = _lists(raw)
    elements_r5, values_r5 = _lists(raw["r5"])
    if not elements_r5.keys() <= elements.keys() or set(raw["r5"]) - {"elements", "values"}:
        raise ValueError("R5 has a list of its own only for a type that R4 has one for")
    return Disclosure(
        recipient=recipient,
        law=raw["law"],
        records=records,
        purposes=frozenset(Purpose(name) for name in raw["purposes"]),
        presupposes=tuple(ConsentKind(name) for name in raw["presupposes"]),
        opened_by=None if opened_by == "law" else ConsentKind(opened_by),
        categories=categories,
        elements=elements,
        values=values,
        in_r5=AllowList(recipient, {**elements, **elements_r5}, {**values, **values_r5}),
        addressed=_flag(raw, "addressed"),
        care=_flag(raw, "care"),
        marks=tuple((system, code) for system, code in raw.get("marks", ())),
    )


def _lists(raw: Mapping[str, Any]) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """The elements and values that a release has; in R5, those of a type that differs replace R4's."""
    elements = {name: frozenset(_expanded(paths)) for name, paths in raw["elements"].items()}
    return elements, {path: frozenset(values) for path, values in raw.get("values", {}).items()}


def _expanded(paths: Iterable[str]) -> Iterator[str]:
    """``for Reference`` is every path of a Reference under ``for``."""
    for written in paths:
        path, _, shape = written.partition(" ")
        yield from (f"{path}.{inner}" for inner in _SHAPES[shape]) if shape else (path,)


def _flag(raw: dict[str, Any], name: str) -> bool:
    value = raw.get(name, False)
    if not isinstance(value, bool):
        raise TypeError(name)
    return value
