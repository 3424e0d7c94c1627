"""
Profiles as plans: of each snapshot what it asks beyond FHIR's own definitions, compiled once.

A plan holds only what a profile tightens: cardinalities, types, fixed values and patterns, limits, bindings, slices,
profiles of types and of the targets of references, invariants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import Any, Final

from adapter.definitions import Constraint, Element, choice_name
from adapter.errors import Severity
from adapter.profiles import BASE, Node, Profile, Profiles, Slicing
from adapter.validation.bindings import Bound
from adapter.validation.fhirpath import Runs, runs
from adapter.validation.own_invariants import OWN
from adapter.validation.slicing import Belongs, belongs

_LINE: Final = 240
_UNSLICED: Final = Slicing((), "open", is_ordered=False)


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant; ``human`` says it in words, shortened to a line."""

    key: str
    severity: Severity
    holds: Runs
    human: str


@dataclass(frozen=True, slots=True)
class Part:
    """One slice."""

    belongs: Belongs
    plan: Plan


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What a profile asks of one element.

    ``id`` and ``card`` as the snapshot writes them. ``properties``: its JSON names with the type that each means.
    ``low`` and ``high`` are 0 and None where FHIR itself asks as much; ``types`` is None where all of a choice are allowed;
    ``limits`` by the names of ElementDefinition: minValue, maxValue, maxLength.
    """

    id: str
    card: str
    base_name: str
    properties: Mapping[str, str]
    is_choice: bool
    is_list: bool
    low: int = 0
    high: int | None = None
    types: frozenset[str] | None = None
    fixed: Any = None
    pattern: Any = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    bound: Bound | None = None
    checks: tuple[Check, ...] = ()
    profiles: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    slicing: Slicing = _UNSLICED
    parts: tuple[Part, ...] = ()
    children: tuple[Plan, ...] = ()

    @property
    def asks_nothing(self) -> bool:
        """Nothing that FHIR's own definitions do not ask already."""
        values = (self.fixed, self.pattern, self.high, self.types, self.bound)
        rules = (self.low, self.limits, self.checks, self.profiles, self.targets, self.parts, self.children)
        return not any(rules) and all(value is None for value in values)


def plan(known: Profiles, profile: Profile) -> Plan:
    """
    What a profile asks of a value of its type.

    Raises:
        Misconfigured: it slices in a way that cannot be decided here (``profile.slicing``).
    """
    return _Compiler(known).element(profile.root, profile.type)


@dataclass(frozen=True, slots=True)
class _Compiler:
    known: Profiles

    def element(self, node: Node, path: str) -> Plan:
        """``path`` is the element's own in FHIR's definitions, as far as they know it: ``Task.restriction.period``."""
        base = self.known.base.element(path) if "." in path else None
        children = (self.element(child, f"{self._inside(node, path)}.{child.name}") for child in node.children.values())
        limits = {"minValue": node.min_value, "maxValue": node.max_value, "maxLength": node.max_length}
        return Plan(
            id=node.id,
            card=f"{node.min}..{'*' if node.max is None else node.max}",
            base_name=node.name.removesuffix("[x]") if base is None else base.base_name,
            properties=_properties(node, base),
            is_choice=node.name.endswith("[x]"),
            is_list=base.is_list if base else node.max != 1,
            low=node.min if node.min > (base.min if base else 0) else 0,
            high=node.max if base is None or node.max != base.max else None,
            types=_types(node, base),
            fixed=node.fixed,
            pattern=node.pattern,
            limits={name: limit for name, limit in limits.items() if limit is not None},
            bound=self._bound(node, base),
            checks=tuple(self._checks(node, path, base)),
            profiles=tuple(
                url for kind in node.types if kind.code != "Extension" for url in kind.profiles if "/" in url
            ),
            targets=_targets(node, base),
            slicing=node.slicing or _UNSLICED,
            parts=tuple(self._part(node, part, path) for part in node.slices.values()),
            children=tuple(child for child in children if not child.asks_nothing),
        )

    def _part(self, sliced: Node, part: Node, path: str) -> Part:
        """A slice counts its own items, whatever its element asks."""
        whole = self.element(part, path)
        return Part(belongs(self.known, sliced, part), replace(whole, low=part.min, high=part.max))

    def _inside(self, node: Node, path: str) -> str:
        """The path under which the children of an element are found: one type of a choice, the type of an inner resource."""
        kind = node.types[0].code if len(node.types) == 1 else ""
        if path.endswith("[x]") and kind:
            return choice_name(path.removesuffix("[x]"), kind)
        return kind if kind in self.known.base.resource_types else path

    def _bound(self, node: Node, base: Element | None) -> Bound | None:
        binding = node.binding
        if binding is None or binding.strength not in ("required", "extensible") or not binding.value_set:
            return None
        value_set = binding.value_set.partition("|")[0]
        usual = base.binding if base else None
        if usual is not None and (usual.strength, usual.value_set) == (binding.strength, value_set):
            return None
        return Bound(binding.strength, value_set, self.known.codes(value_set), self.known)

    def _checks(self, node: Node, path: str, base: Element | None) -> Iterator[Check]:
        shape = self.known.base.shape_of(base) if base else self.known.base.shape(path)
        stated = {each.key for each in (*(base.constraints if base else ()), *(shape.constraints if shape else ()))}
        for each in node.constraints:
            if each.expression and each.key not in stated and not each.path.startswith(BASE):
                severity: Severity = "error" if each.severity == "error" else "warning"
                human = shorten(each.human, _LINE, placeholder=" …") or each.key
                yield Check(each.key, severity, self._runs(each), human)

    def _runs(self, constraint: Constraint) -> Runs:
        own = OWN.get(constraint.key)
        if own is None:
            return runs(self.known.base, constraint.expression)
        return lambda value, _: not isinstance(value, dict) or own(value)  # what is no object is told already


def _properties(node: Node, base: Element | None) -> Mapping[str, str]:
    types = (base or node).types
    if not node.name.endswith("[x]"):
        return {node.name: types[0].code if types else ""}
    stem = node.name.removesuffix("[x]")
    return {choice_name(stem, kind.code): kind.code for kind in types}


def _types(node: Node, base: Element | None) -> frozenset[str] | None:
    allowed = frozenset(kind.code for kind in node.types)
    if not allowed or (base is not None and allowed >= {kind.code for kind in base.types}):
        return None
    return allowed if base is None or base.is_choice or base.type == "Resource" else None


def _targets(node: Node, base: Element | None) -> tuple[str, ...]:
    targets = {target for kind in node.types for target in kind.targets}
    usual = {target for kind in base.types for target in kind.targets} if base else set()
    return () if targets <= {"Resource"} or targets == usual else tuple(sorted(targets))
