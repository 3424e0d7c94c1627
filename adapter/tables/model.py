"""What a table is: rows, paths, code lists. Read-only once loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel

from adapter.definitions import Element, Release
from adapter.domain import Category
from adapter.profiles import EXTENSION

_FIELD: Final = re.compile(r"\{(\w+)\}")

Pattern: TypeAlias = Mapping[str, Any]
Model: TypeAlias = type[BaseModel]


@dataclass(frozen=True)
class CodeTable:
    """
    A list of codes: ``keys`` from record value to code, ``read`` from code (aliases too) to record value.

    ``systems[0]`` is written, all are read. ``one_way``: several keys may share a code, so it is never read.
    ``partial``: not every key has a code. ``is_open``: any code is its own key.
    """

    name: str
    title: str
    systems: tuple[str, ...]
    keys: Mapping[str, str]
    read: Mapping[str, str]
    one_way: bool
    partial: bool
    is_open: bool
    rows: tuple[Mapping[str, Any], ...]

    def code(self, key: str) -> str | None:
        return key if self.is_open else self.keys.get(key)

    def key(self, code: str) -> str | None:
        return code if self.is_open else self.read.get(code)


@dataclass(frozen=True)
class Step:
    """One step of a FHIR path. ``slot`` numbers the distinct prefixes of a table; ``depth`` counts the ``[]`` up to here."""

    name: str
    element: Element
    slot: int
    depth: int
    each: bool = False
    pattern: Pattern | None = None
    accepts: Mapping[str, frozenset[str]] | None = None


@dataclass(frozen=True)
class Path:
    """A place in one of the table's resources: ``role`` is the resource's name in the table."""

    text: str
    role: str
    role_each: bool
    steps: tuple[Step, ...]

    @property
    def leaf(self) -> Element:
        return self.steps[-1].element

    @property
    def depth(self) -> int:
        return int(self.role_each) + sum(step.each for step in self.steps)


@dataclass(frozen=True)
class Also:
    """A second place that a row writes, and reads when the first is empty."""

    path: Path
    codes: CodeTable | None
    convert: Literal["instant"] | None


@dataclass(frozen=True)
class Row:
    """
    One row: a *field* row (``field`` ↔ ``path``), a *fixed* row (``fixed`` at ``path``) or a *link* row (``path`` → ``to``).

    ``audience``: what it carries is about one outside actor and is for nobody else. ``convert``: the release keeps only the
    day of a time. ``required``: without it there can be no item of its list, though this release would allow one.
    """

    id: str
    path: Path
    category: Category
    source: str
    why: str = ""
    field: tuple[str, ...] = ()
    codes: CodeTable | None = None
    party: str = ""
    audience: bool = False
    also: tuple[Also, ...] = ()
    fixed: Any = None
    to: str = ""
    convert: Literal["day"] | None = None
    required: bool = False

    @property
    def is_required(self) -> bool:
        """Whether FHIR requires what it writes within the item that it belongs to: without it there can be no item."""
        if self.required:
            return True
        steps = self.path.steps
        first = max((n for n, step in enumerate(steps) if step.each), default=-1) + 1
        return any(step.element.min > 0 for step in steps[first:])

    @property
    def field_text(self) -> str:
        return ".".join(self.field)


@dataclass(frozen=True)
class Role:
    """
    A resource that the table makes; ``each``: one per item of a list. ``profile``: the id of the profile that it follows and
    says that it follows; a field of the record in braces stands for its value (``koord-consent-{kind}``).
    """

    name: str
    each: bool
    profile: str

    def profile_of(self, document: Mapping[str, Any]) -> str:
        """The canonical of the profile for one record, given as its document."""
        return EXTENSION + _FIELD.sub(lambda field: str(document[field[1]]), self.profile)

    @property
    def profile_field(self) -> str:
        """The field that the profile depends on; empty if it is always the same."""
        found = _FIELD.search(self.profile)
        return found[1] if found else ""


@dataclass(frozen=True)
class Recognise:
    """How the table knows its resources: a coding of ``codes`` at ``path``, or just the one ``code``."""

    path: Path
    codes: CodeTable
    code: str | None


@dataclass(frozen=True)
class Table:
    """The rows of one record kind or of one kind of party."""

    name: str
    title: str
    model: Model
    key: tuple[tuple[str, ...], ...]
    roles: tuple[Role, ...]
    rows: tuple[Row, ...]
    recognise: Recognise | None

    @cached_property
    def role(self) -> Mapping[str, Role]:
        """Its resources by name."""
        return {role.name: role for role in self.roles}

    @property
    def focus(self) -> str:
        return self.roles[0].name

    @cached_property
    def fields(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.field)

    @cached_property
    def groups(self) -> Mapping[str, tuple[Row, ...]]:
        """The field rows by the list of the record whose items they describe; those of no list under ``""``."""
        found: dict[str, list[Row]] = {}
        for row in self.fields:
            name = row.field[0]
            found.setdefault(name.removesuffix("[]") if name.endswith("[]") else "", []).append(row)
        return {name: tuple(rows) for name, rows in found.items()}

    @cached_property
    def fixed(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.fixed is not None)

    @cached_property
    def links(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.to)

    @cached_property
    def audiences(self) -> Mapping[str, tuple[str, ...]]:
        """For each list of the record that is about outside actors: where the actor stands inside an item."""
        found = {}
        for row in self.fields:
            if row.audience and "[]" in "".join(row.field):
                last = max(n for n, step in enumerate(row.field) if step.endswith("[]"))
                found[row.field[last].removesuffix("[]")] = row.field[last + 1 :]
        return found


@dataclass(frozen=True)
class Tables:
    """All tables of one release, with their codes and the region's overlays in place."""

    release: Release
    records: Mapping[str, Table]
    parties: Mapping[str, Table]
    codes: Mapping[str, CodeTable]
