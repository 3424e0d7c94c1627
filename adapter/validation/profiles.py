"""
A resource against profiles: faults with their places.

FHIR's own rules have been applied before (``walk.py``). A value is first asked for a quick yes (``quick.py``); only what that
cannot give is walked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from adapter.errors import Fault, Severity
from adapter.profiles import Profiles
from adapter.validation.invariants import objects
from adapter.validation.plans import Check, Plan
from adapter.validation.quick import compiled
from adapter.validation.slicing import Item, Resolve, Surroundings, contains

Place = tuple[Any, str | int]
"""A place as its parent and the last step; None for what is above a resource."""
Report = Callable[[Fault], None]

_NUMBERS: Final = (int, float, Decimal)


@dataclass(slots=True)
class Against:
    """
    Resources against profiles. ``entries`` finds a resource of the Bundle around them by a reference, ``written`` writes places.
    ``judged`` remembers which values (by identity) conform to which profiles.
    """

    known: Profiles
    entries: Resolve
    written: Callable[[Place], str]
    judged: dict[tuple[int, str], bool]

    def profile(self, url: str, value: Any, place: Place, container: Any, report: Report) -> bool:
        """
        Tells every fault of a resource or of a value of a data type against a profile; False if the profile is not known.
        ``container``: the resource whose contained resources references with ``#`` lead to.
        """
        profile = self.known.profile(url)
        if profile is None:
            return False
        found = compiled(self.known, profile)
        named = value.get("resourceType") if isinstance(value, dict) else None
        kind = named if isinstance(named, str) else ""
        if found.resource != kind and found.resource not in self.known.base.lineage(kind):
            why = f"{found.resource or 'data type'} resourceType"
            report(Fault("profile.type", where=self.written(place), why=why, profile=found.url))
            return True
        asked = found.rest_of(value)
        if asked is None:
            return True
        _Walk(self, found.url, value if kind else container, container, report).item(
            asked, Item(value, None, kind), place
        )
        return True

    def walk(self, asked: Plan, url: str, resource: Any, place: Place, report: Report) -> None:
        """Tells every fault of a resource against a part of a profile."""
        item = Item(resource, None, resource["resourceType"])
        _Walk(self, url, resource, resource, report).item(asked, item, place)

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
        value = item.value
        if asked.types is not None and item.type not in asked.types:
            self._fault("fhir.type", place, asked, " or ".join(sorted(asked.types)))
            return
        if asked.fixed is not None and value != asked.fixed:
            self._fault("profile.value", place, asked, "fixed")
        if asked.pattern is not None and not contains(value, asked.pattern):
            self._fault("profile.value", place, asked, "pattern")
        if asked.bound is not None and (wrong := asked.bound.judge(value)):
            self._fault(wrong[0], place, asked, f"{asked.bound.strength} {asked.bound.value_set}", wrong[1])
        if asked.limits:
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
        if count < asked.low:
            self._fault("fhir.missing", place, asked, asked.card)
        if asked.high is not None and count > asked.high:
            self._fault("fhir.too-many" if asked.high else "profile.prohibited", place, asked, asked.card)

    def _slices(self, asked: Plan, found: list[tuple[Item, Place]], place: Place) -> None:
        slicing = asked.slicing
        around = Surroundings(self._resolve, self._conforms)
        members: list[list[tuple[Item, Place]]] = [[] for _ in asked.parts]
        last = -1
        for item, where in found:
            index = next((n for n, part in enumerate(asked.parts) if part.belongs.test(item, around)), None)
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
        for name, limit in asked.limits.items():
            if _is_beyond(name, value, limit):
                self._fault("profile.limit", place, asked, name)

    def _check(self, check: Check, value: Any, place: Place, asked: Plan) -> None:
        held = check.holds(value, self.resource)
        named = (("rule", check.human),)
        if held is None:
            self._fault("profile.not-run", place, asked, check.key, "warning", named=named)
        elif not held:
            self._fault("profile.invariant", place, asked, check.key, check.severity, named=named)

    def _target(self, asked: Plan, value: Any, place: Place) -> None:
        """
        A reference whose target is here leads to one of the profiles; otherwise its type is all that can be told. Where a profile is
        not known, it might be what the target follows.
        """
        reference = value.get("reference") if isinstance(value, dict) else None
        if isinstance(reference, dict):  # of a CodeableReference
            place, reference = (place, "reference"), reference.get("reference")
        if not isinstance(reference, str):
            return
        target = self._resolve(reference)
        kind = _type_named(reference) or (target.get("resourceType") if target else None)
        if kind is None:
            return
        types = {url: self._type_of_target(url) for url in asked.targets}
        fitting = [url for url in asked.targets if types[url] == kind]
        if any(target is None or "/" not in url or self._conforms(target, url) for url in fitting):
            return
        if unknown := [url for url in asked.targets if types[url] is None]:
            self._fault("profile.unknown", (place, "reference"), asked, " or ".join(unknown), "warning")
        else:
            self._fault("fhir.reference-target", (place, "reference"), asked, "targets")

    def _type_of_target(self, url: str) -> str | None:
        """The type of the resources that a target names: by its bare name, or by a profile; None if that is not known."""
        if "/" not in url:
            return url
        found = self.against.known.profile(url)
        return found.type if found else None

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

    def _fault(  # noqa: PLR0913  the parts of a fault
        self,
        code: str,
        place: Place,
        asked: Plan,
        rule: str,
        severity: Severity = "error",
        *,
        named: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.report(
            Fault(
                code,
                where=self.against.written(place),
                why=f"{asked.id} {rule}",
                severity=severity,
                named=named,
                profile=self.url,
            )
        )


def _items(asked: Plan, parent: dict[str, Any], place: Place) -> Iterator[tuple[Item, Place]]:
    for name, kind in _present(asked, parent) if asked.is_choice else asked.properties.items():
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


def _present(asked: Plan, parent: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The names under which a choice is there."""
    for name in dict.fromkeys(each.removeprefix("_") for each in parent):
        if name in asked.properties:
            yield name, asked.properties[name]


def _type_of(value: Any, declared: str) -> str:
    inner = value.get("resourceType") if isinstance(value, dict) else None
    return inner if isinstance(inner, str) and declared in ("Resource", "") else declared


def _type_named(reference: str) -> str | None:
    """The resource type in a literal reference such as ``Patient/1`` or an address that ends so."""
    parts = reference.partition("/_history/")[0].split("/")
    return parts[-2] if len(parts) > 1 and parts[-2][:1].isupper() else None


def _is_beyond(name: str, value: Any, limit: Any) -> bool:
    if name == "maxLength":
        return isinstance(value, str) and len(value) > limit
    comparable = (isinstance(value, str) and isinstance(limit, str)) or (
        isinstance(value, _NUMBERS) and isinstance(limit, _NUMBERS)
    )
    return comparable and bool(value < limit if name == "minValue" else value > limit)
