"""A table against the profiles that its resources say they follow: every path, every code, and what a profile requires."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from adapter.definitions import Codes
from adapter.domain import Category
from adapter.errors import Fault
from adapter.profiles import EXTENSION, Node, Profile, Profiles
from adapter.tables.model import CodeTable, Path, Role, Row, Step, Table
from adapter.validation.bindings import fits
from adapter.validation.slicing import contains


def faults(table: Table, known: Profiles) -> Iterator[Fault]:
    """All that a table would write against a profile, and what a profile requires beyond FHIR that no row always writes."""
    for role in table.roles:
        for url in _urls(table, role):
            profile = known.profile(url)
            if profile is None:
                yield _fault(table, role.name, "no such profile", url)
            else:
                yield from _Conformity(table, role, profile, known).faults()


def _urls(table: Table, role: Role) -> Iterator[str]:
    kind = table.model.model_fields[role.profile_field].annotation if role.profile_field else None
    members = kind if isinstance(kind, type) and issubclass(kind, StrEnum) else ()
    for member in members or ("",):
        yield role.profile_of({role.profile_field: member})


def _fault(table: Table, where: str, why: str, url: str) -> Fault:
    return Fault("mapping.profile", f"{table.name} {where}", f"{why}: {url.removeprefix(EXTENSION)}", profile=url)


class _Conformity:
    def __init__(self, table: Table, role: Role, profile: Profile, known: Profiles) -> None:
        self.table, self.role, self.profile, self.known = table, role, profile, known

    def faults(self) -> Iterator[Fault]:
        for row in self.table.rows:
            for path, codes in [(row.path, row.codes), *((also.path, also.codes) for also in row.also)]:
                if path.role == self.role.name:
                    yield from self._row(row, path, codes)
        always = {
            step for row in self.table.rows if row.category is Category.ADMINISTRATIVE for step in self._first(row)
        }
        for name, node in self.profile.root.children.items():
            base = self.known.base.element(node.path)
            if node.min > (base.min if base else 0) and name not in always:
                yield self._fault(node.path, "the profile requires it, and no row writes it for everyone")

    def _first(self, row: Row) -> Iterator[str]:
        for path in (row.path, *(also.path for also in row.also)):
            if path.role == self.role.name:
                yield path.steps[0].element.choice or path.steps[0].name

    def _row(self, row: Row, path: Path, codes: CodeTable | None) -> Iterator[Fault]:
        node: Node | None = self.profile.root
        for step in path.steps:
            found = self._below(node, step) if node else None
            if isinstance(found, str):
                yield self._fault(path.text, found)
                return
            node = found
        if node is not None:
            yield from self._leaf(row, path, codes, node)

    def _below(self, node: Node, step: Step) -> Node | str | None:
        """The snapshot's element that a step leads to, None where the snapshot goes no deeper, or what is wrong."""
        if not node.children:
            return None
        child = node.children.get(step.element.choice or step.name)
        if child is None:
            return "the profile has no such element"
        if child.max == 0:
            return "the profile allows none"
        if step.element.choice and step.element.type not in {kind.code for kind in child.types}:
            return f"the profile allows no {step.element.type}"
        if step.name == "extension" and step.pattern:
            return self._extension(child, str(step.pattern["url"]))
        return child

    def _extension(self, child: Node, url: str) -> Node | str:
        for part in child.slices.values():
            definition = next(
                (self.known.profile(each) for kind in part.types for each in kind.profiles if each == url), None
            )
            if definition is not None:
                return definition.root
            named = part.children.get("url")
            if named is not None and named.fixed == url:
                return part
        return "the profile does not name this extension"

    def _leaf(self, row: Row, path: Path, codes: CodeTable | None, node: Node) -> Iterator[Fault]:
        wanted = node.fixed if node.fixed is not None else node.pattern
        if wanted is not None and row.fixed is not None and not contains(row.fixed, wanted):
            yield self._fault(path.text, "the profile fixes another value")
        binding = node.binding
        allowed = self.known.codes(binding.value_set) if binding and binding.strength == "required" else None
        for value in _written(path, row.fixed, codes):
            if allowed is not None and not _is_in(allowed, value):
                yield self._fault(path.text, "a code is not in the value set that the profile requires")
            if isinstance(value, dict) and value["code"] not in (self.known.system(value["system"]) or {value["code"]}):
                yield self._fault(path.text, "a code is not in its code system")

    def _fault(self, where: str, why: str) -> Fault:
        return _fault(self.table, where, why, self.profile.url)


def _is_in(codes: Codes, value: Any) -> bool:
    return value in codes.all if isinstance(value, str) else fits(codes, value)


def _written(path: Path, fixed: Any, codes: CodeTable | None) -> Iterator[Any]:
    """Every code that a row can write: as text for a code, with its system for a Coding or CodeableConcept."""
    if isinstance(fixed, dict):
        yield from fixed.get("coding", [fixed])
    elif fixed is not None:
        yield fixed
    for code in codes.keys.values() if codes else ():
        yield (
            {"system": codes.systems[0], "code": code}
            if codes and path.leaf.type in {"Coding", "CodeableConcept"}
            else code
        )
