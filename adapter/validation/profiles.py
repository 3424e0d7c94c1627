"""
A resource against profiles: what a snapshot asks beyond FHIR's own definitions, compiled once per profile.

FHIR's own rules have been applied before (``walk.py``), so a plan holds only what a profile tightens: cardinalities, types,
fixed values and patterns, bindings, slices, profiles of types and of the targets of references, invariants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any, Final

from adapter.definitions import Constraint, Element
from adapter.errors import Fault, Severity
from adapter.profiles import BASE, Node, Profile, Profiles, Slicing
from adapter.validation.bindings import Bound
from adapter.validation.fhirpath import Runs, runs
from adapter.validation.invariants import objects
from adapter.validation.own_invariants import OWN
from adapter.validation.slicing import Belongs, Item, Resolve, Surroundings, belongs, contains

Place = tuple[Any, str | int]
"""A place as its parent and the last step; None for what is above a resource."""
Report = Callable[[Fault], None]

_UNSLICED: Final = Slicing((), "open", is_ordered=False)
_NUMBERS: Final = (int, float, Decimal)


@dataclass(frozen=True, slots=True)
class _Check:
    """One invariant."""

    key: str
    severity: Severity
    holds: Runs


@dataclass(frozen=True, slots=True)
class _Part:
    """One slice."""

    name: str
    belongs: Belongs
    plan: Plan


@dataclass(frozen=True, slots=True)
class Plan:
    """What a profile asks of one element. ``properties``: its JSON names with the type that each means."""

    node: Node
    base_name: str
    properties: tuple[tuple[str, str], ...]
    is_list: bool
    low: int
    high: int | None
    types: frozenset[str] | None
    bound: Bound | None
    checks: tuple[_Check, ...]
    profiles: tuple[str, ...]
    targets: tuple[str, ...]
    slicing: Slicing
    parts: tuple[_Part, ...]
    children: tuple[Plan, ...]

    @property
    def asks_nothing(self) -> bool:
        """Nothing that FHIR's own definitions do not ask already."""
        node = self.node
        values = (node.fixed, node.pattern, node.min_value, node.max_value, node.max_length, self.high, self.types)
        rules = (self.checks, self.profiles, self.targets, self.parts, self.children, self.low, self.bound)
        return not any(rules) and all(value is None for value in values)


@cache
def plan(known: Profiles, url: str) -> Plan | None:
    """
    What a profile asks; None if there is no such profile.

    Raises:
        Misconfigured: it slices in a way that cannot be decided here.
    """
    profile = known.profile(url)
    return _Compiler(known, profile).element(profile.root, profile.type) if profile else None


@dataclass(frozen=True, slots=True)
class _Compiler:
    known: Profiles
    profile: Profile

    def element(self, node: Node, path: str) -> Plan:
        """``path`` is the element's own in FHIR's definitions, as far as they know it: ``Task.restriction.period``."""
        base = self.known.base.element(path) if "." in path else None
        children = (self.element(child, f"{self._inside(node, path)}.{child.name}") for child in node.children.values())
        parts = tuple(self._parts(node, path))
        return Plan(
            node=node,
            base_name=node.name.removesuffix("[x]") if base is None else base.base_name,
            properties=self._properties(node, base),
            is_list=base.is_list if base else node.max != 1,
            low=node.min if node.min > (base.min if base else 0) else 0,
            high=node.max if base is None or node.max != base.max else None,
            types=self._types(node, base),
            bound=self._bound(node, base),
            checks=tuple(self._checks(node, path, base)),
            profiles=tuple(
                url for kind in node.types if kind.code != "Extension" for url in kind.profiles if "/" in url
            ),
            targets=self._targets(node, base),
            slicing=node.slicing or _UNSLICED,
            parts=parts,
            children=tuple(child for child in children if not child.asks_nothing),
        )

    def _inside(self, node: Node, path: str) -> str:
        """The path under which the children of an element are found: one type of a choice, the type of an inner resource."""
        kind = node.types[0].code if len(node.types) == 1 else ""
        if path.endswith("[x]") and kind:
            return path.removesuffix("[x]") + kind[0].upper() + kind[1:]
        if kind in self.known.base.resource_types:
            return kind
        return path

    def _properties(self, node: Node, base: Element | None) -> tuple[tuple[str, str], ...]:
        types = (base or node).types
        if not node.name.endswith("[x]"):
            return ((node.name, types[0].code if types else ""),)
        stem = node.name.removesuffix("[x]")
        return tuple((stem + kind.code[0].upper() + kind.code[1:], kind.code) for kind in types)

    def _types(self, node: Node, base: Element | None) -> frozenset[str] | None:
        allowed = frozenset(kind.code for kind in node.types)
        if not allowed or (base is not None and allowed >= {kind.code for kind in base.types}):
            return None
        if base is not None and base.type == "Resource":
            return allowed
        return allowed if base is None or base.is_choice else None

    def _targets(self, node: Node, base: Element | None) -> tuple[str, ...]:
        targets = {target for kind in node.types for target in kind.targets}
        usual = {target for kind in base.types for target in kind.targets} if base else set()
        return () if targets <= {"Resource"} or targets == usual else tuple(sorted(targets))

    def _bound(self, node: Node, base: Element | None) -> Bound | None:
        binding = node.binding
        if binding is None or binding.strength not in ("required", "extensible") or not binding.value_set:
            return None
        value_set = binding.value_set.partition("|")[0]
        usual = base.binding if base else None
        if usual is not None and (usual.strength, usual.value_set) == (binding.strength, value_set):
            return None
        return Bound(binding.strength, value_set, self.known.codes(value_set))

    def _checks(self, node: Node, path: str, base: Element | None) -> Iterator[_Check]:
        shape = self.known.base.shape_of(base) if base else self.known.base.shape(path)
        stated = {each.key for each in (*(base.constraints if base else ()), *(shape.constraints if shape else ()))}
        for each in node.constraints:
            if each.expression and each.key not in stated and not each.path.startswith(BASE):
                severity: Severity = "error" if each.severity == "error" else "warning"
                yield _Check(each.key, severity, _runs(self.known, each))

    def _parts(self, node: Node, path: str) -> Iterator[_Part]:
        for name, part in node.slices.items():
            yield _Part(name, belongs(self.known, node, part), self._part(part, path))

    def _part(self, part: Node, path: str) -> Plan:
        whole = self.element(part, path)
        return _tightened(whole, part)


def _tightened(whole: Plan, part: Node) -> Plan:
    """A slice counts its own items, whatever its element asks."""
    fields = {name: getattr(whole, name) for name in Plan.__slots__}
    return Plan(**fields | {"low": part.min, "high": part.max})


def _runs(known: Profiles, constraint: Constraint) -> Runs:
    own = OWN.get(constraint.key)
    return (lambda value, _: own(value)) if own else runs(known.base, constraint.expression)


@dataclass(slots=True)
class Against:
    """
    Resources against profiles. ``entries`` finds a resource of the Bundle around them by a reference, ``written`` writes places.
    Remembers which resources conform to which profiles.
    """

    known: Profiles
    entries: Resolve
    written: Callable[[Place], str]
    judged: dict[tuple[int, str], bool] = field(default_factory=dict)

    def profile(self, url: str, value: Any, place: Place, container: Any, report: Report) -> bool:
        """
        Tells every fault of a resource or of a value of a data type against a profile; False if the profile is not known.
        ``container``: the resource whose contained resources references with ``#`` lead to.
        """
        asked, profile = plan(self.known, url), self.known.profile(url)
        if asked is None or profile is None:
            return False
        kind = value.get("resourceType", "") if isinstance(value, dict) else ""
        if profile.kind == "resource" and kind != profile.type:
            why = f"{profile.root.id} resourceType"
            report(Fault("fhir.resource-type", where=self.written(place), why=why, profile=url))
            return True
        _Walk(self, url, value if kind else container, container, report).item(asked, Item(value, None, kind), place)
        return True

    def conforms(self, value: Any, url: str, container: Any) -> bool:
        """No fault that is an error; nothing conforms to what is not known. A cycle of references counts as conforming."""
        key = (id(value), url)
        if key not in self.judged:
            self.judged[key] = True
            found: list[Fault] = []
            known = self.profile(url, value, (None, ""), container, found.append)
            self.judged[key] = known and not any(fault.severity == "error" for fault in found)
        return self.judged[key]


@dataclass(frozen=True, slots=True)
class _Walk:
    """One value, one profile."""

    against: Against
    url: str
    resource: Any
    container: Any
    report: Report

    def item(self, asked: Plan, item: Item, place: Place) -> None:
        node = asked.node
        value = item.value
        if asked.types is not None and item.type not in asked.types:
            self._fault("fhir.type", place, asked, " or ".join(sorted(asked.types)))
            return
        if node.fixed is not None and value != node.fixed:
            self._fault("profile.value", place, asked, "fixed")
        if node.pattern is not None and not contains(value, node.pattern):
            self._fault("profile.value", place, asked, "pattern")
        if asked.bound is not None and (wrong := asked.bound.judge(value)):
            self._fault(wrong[0], place, asked, f"{asked.bound.strength} {asked.bound.value_set}", wrong[1])
        self._limits(asked, value, place)
        for check in asked.checks:
            self._check(check, value, place, asked)
        if asked.targets:
            self._target(asked, value, place)
        if asked.profiles and not any(self._conforms(value, url) for url in asked.profiles):
            self._profiled(asked, value, place)
        inner = item.object
        for child in asked.children:
            self.element(child, inner, place)

    def element(self, asked: Plan, parent: dict[str, Any], place: Place) -> None:
        here = (place, asked.base_name)
        found = list(_items(asked, parent, here))
        self._count(asked, len(found), here)
        for item, where in found:
            self.item(asked, item, where)
        if asked.parts:
            self._slices(asked, found, here)

    def _count(self, asked: Plan, count: int, place: Place) -> None:
        card = f"{asked.node.min}..{'*' if asked.node.max is None else asked.node.max}"
        if count < asked.low:
            self._fault("fhir.missing", place, asked, card)
        if asked.high is not None and count > asked.high:
            self._fault("fhir.too-many" if asked.high else "profile.prohibited", place, asked, card)

    def _slices(self, asked: Plan, found: list[tuple[Item, Place]], place: Place) -> None:
        slicing = asked.slicing
        around = Surroundings(self._resolve, self._conforms)
        members: list[list[tuple[Item, Place]]] = [[] for _ in asked.parts]
        last = -1
        for item, where in found:
            index = next((n for n, part in enumerate(asked.parts) if part.belongs(item, around)), None)
            if index is not None:
                members[index].append((item, where))
                if index < last:
                    self._fault("profile.order", where, asked, slicing.rules)
                last = max(last, index) if slicing.is_ordered else last
            elif slicing.rules == "openAtEnd":
                last = len(asked.parts)
            elif slicing.rules == "closed":
                self._fault("profile.slice", where, asked, "closed")
        for part, those in zip(asked.parts, members, strict=True):
            self._count(part.plan, len(those), place)
            for item, where in those:
                self.item(part.plan, item, where)
            if part.plan.parts:
                self._slices(part.plan, those, place)

    def _limits(self, asked: Plan, value: Any, place: Place) -> None:
        node = asked.node
        if node.max_length is not None and isinstance(value, str) and len(value) > node.max_length:
            self._fault("profile.limit", place, asked, f"maxLength {node.max_length}")
        for limit, is_low in ((node.min_value, True), (node.max_value, False)):
            if limit is not None and _is_beyond(value, limit, is_low=is_low):
                self._fault("profile.limit", place, asked, "minValue" if is_low else "maxValue")

    def _check(self, check: _Check, value: Any, place: Place, asked: Plan) -> None:
        held = check.holds(value, self.resource)
        if held is None:
            self._fault("profile.not-run", place, asked, check.key, "warning")
        elif not held:
            self._fault("fhir.invariant", place, asked, check.key, check.severity)

    def _target(self, asked: Plan, value: Any, place: Place) -> None:
        """A reference whose target is here leads to one of the profiles; otherwise its type is all that can be told."""
        reference = value.get("reference") if isinstance(value, dict) else None
        if not isinstance(reference, str):
            return
        target = self._resolve(reference)
        kind = target.get("resourceType") if target else _type_named(reference)
        if kind is None:
            return
        known = self.against.known
        fitting = [url for url in asked.targets if (known.profile(url) or _Bare(url)).type == kind]
        if not fitting or (
            target is not None and not any("/" not in url or self._conforms(target, url) for url in fitting)
        ):
            self._fault("fhir.reference-target", (place, "reference"), asked, "targets")

    def _profiled(self, asked: Plan, value: Any, place: Place) -> None:
        """None of the profiles of a type holds: with one, its own faults say why."""
        only = asked.profiles[0]
        if len(asked.profiles) > 1 or not self.against.profile(only, value, place, self.container, self.report):
            severity: Severity = "error" if len(asked.profiles) > 1 else "warning"
            code = "profile.none" if severity == "error" else "profile.unknown"
            self._fault(code, place, asked, " or ".join(asked.profiles), severity)

    def _resolve(self, reference: str) -> Mapping[str, Any] | None:
        if not reference.startswith("#"):
            return self.against.entries(reference)
        inner = objects(self.container, "contained") if reference != "#" else iter([self.container])
        return next((each for each in inner if reference in ("#", f"#{each.get('id')}")), None)

    def _conforms(self, value: Any, url: str) -> bool:
        is_inner = any(value is each for each in objects(self.container, "contained"))
        within = self.container if is_inner or not (isinstance(value, dict) and "resourceType" in value) else value
        return self.against.conforms(value, url, within)

    def _fault(self, code: str, place: Place, asked: Plan, rule: str, severity: Severity = "error") -> None:
        self.report(
            Fault(
                code,
                where=self.against.written(place),
                why=f"{asked.node.id} {rule}",
                severity=severity,
                profile=self.url,
            )
        )


@dataclass(frozen=True, slots=True)
class _Bare:
    """A target that is a resource type and no profile; of a profile that is not known, no type can be told."""

    type: str


def _items(asked: Plan, parent: dict[str, Any], place: Place) -> Iterator[tuple[Item, Place]]:
    for name, kind in asked.properties:
        value, companion = parent.get(name), parent.get(f"_{name}")
        if value is None and companion is None:
            continue
        if not isinstance(value, list) and not isinstance(companion, list):
            yield Item(value, companion, _type_of(value, kind)), place
            continue
        values = value if isinstance(value, list) else []
        beside = companion if isinstance(companion, list) else []
        for index in range(max(len(values), len(beside))):
            one = values[index] if index < len(values) else None
            other = beside[index] if index < len(beside) else None
            yield Item(one, other, _type_of(one, kind)), (place, index)


def _type_of(value: Any, declared: str) -> str:
    inner = value.get("resourceType") if isinstance(value, dict) else None
    return inner if isinstance(inner, str) and declared in ("Resource", "") else declared


def _type_named(reference: str) -> str | None:
    """The resource type in a literal reference such as ``Patient/1`` or an address that ends so."""
    parts = reference.partition("/_history/")[0].split("/")
    return parts[-2] if len(parts) > 1 and parts[-2][:1].isupper() else None


def _is_beyond(value: Any, limit: Any, *, is_low: bool) -> bool:
    comparable = (isinstance(value, str) and isinstance(limit, str)) or (
        isinstance(value, _NUMBERS) and isinstance(limit, _NUMBERS)
    )
    if not comparable:
        return False
    return bool(value < limit) if is_low else bool(value > limit)
