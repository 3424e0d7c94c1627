"""
The walk through a resource for what a schema cannot say: choices, pairing of primitives, narratives, references, invariants,
extensions, codes that a value set may leave open, and the profiles that each resource names in ``meta.profile``.

Shapes are compiled to plans when first met, so that a walk touches only what a rule speaks of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache, cached_property, reduce
from itertools import islice
from typing import Any, Final, Literal

from adapter.definitions import Constraint, Definitions, Element, Release, Shape, definitions
from adapter.errors import MOST_FAULTS, Fault, Severity, more
from adapter.profiles import BASE, CANONICAL, Profiles
from adapter.validation import extensions, plain, structure
from adapter.validation.bindings import Bound
from adapter.validation.invariants import INVARIANTS, Holds, objects
from adapter.validation.narrative import broken_rule
from adapter.validation.profiles import Against
from adapter.validation.text_rules import ABSOLUTE, RESTFUL, SERVER, TEXT_RULES

Content = Literal["object", "resource", "companion", "narrative", "integer", "list"]
Place = tuple[Any, str | int]
"""A place as its parent and the last step, so that a path is only written when there is a fault."""

_LITERAL: Final = re.compile(
    r"(?:(?P<base>[a-z][a-z0-9+.-]*://\S+)/)?(?P<type>[A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?"
)
_CONDITIONAL: Final = re.compile(r"(?P<type>[A-Z][A-Za-z]+)\?\S+")
_REFERENCES: Final = ("Reference", "CodeableReference")


@dataclass(frozen=True, slots=True)
class _Row:
    """A property that some rule speaks of."""

    name: str
    base_name: str
    content: Content
    is_list: bool
    shape: str
    targets: frozenset[str]
    checks: tuple[tuple[str, Holds], ...]
    bound: Bound | None = None


@dataclass(frozen=True, slots=True)
class _Choice:
    base_name: str
    names: frozenset[str]
    required: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    checks: tuple[tuple[str, Holds], ...]
    choices: tuple[_Choice, ...]
    rows: Mapping[str, _Row]
    is_reference: bool
    asks_of_all: bool


@dataclass(slots=True)
class _Bundle:
    """
    A Bundle around a resource: its resources by fullUrl, their names as relative references would say them, and the server
    (``base``) that the fullUrl of the present entry names. ``is_uniform``: every fullUrl is its resource's name on one
    server, and no other's, so that no relative reference inside can miss what it means.
    """

    entries: Mapping[str, Mapping[str, Any]]
    names: set[str]
    is_uniform: bool
    base: str = ""

    def entry(self, entry: dict[str, Any]) -> _Bundle:
        located = RESTFUL.fullmatch(str(entry.get("fullUrl", "")))
        base = located["base"] if located else ""
        return self if base == self.base else replace(self, base=base)

    def find(self, reference: str) -> Mapping[str, Any] | None:
        """The resource that a reference leads to. FHIR R4 bundle.html#references."""
        plain = reference.partition("/_history/")[0]
        return self.entries.get(plain if ABSOLUTE.fullmatch(plain) else f"{self.base}/{plain}")

    def seems_to_have(self, reference: str) -> bool:
        return reference.partition("/_history/")[0] in self.names


@dataclass(frozen=True)
class _Scope:
    """
    Where the walk is.

    ``resource``: the innermost resource, at ``place``; ``container``: the same, or the one that contains it; ``contained``: the
    container's contained resources by id; ``within``: inside a contained resource; ``extension``: inside an extension, whose
    structure is known; ``bundle``: the Bundle around all.
    """

    resource: str
    place: Place
    container: dict[str, Any]
    contained: Mapping[str, Mapping[str, Any]]
    within: bool
    bundle: _Bundle | None
    extension: bool = False

    def find(self, reference: str) -> Mapping[str, Any] | None:
        """The entry of the Bundle that a reference leads to."""
        return self.bundle.find(reference) if self.bundle else None

    @cached_property
    def inside_extension(self) -> _Scope:
        return self if self.extension else replace(self, extension=True)


@cache
def _plan(release: Release, path: str) -> _Plan:
    known = definitions(release)
    shape = known.shape(path)
    if shape is None:
        raise ValueError(f"{path} has no shape")
    rows = [row for element in shape.properties.values() for row in _rows(known, element)]
    choices = [
        _Choice(
            e.base_name, frozenset(shape.choices[e.name]) | {f"_{name}" for name in shape.choices[e.name]}, e.min > 0
        )
        for e in shape.elements
        if e.is_choice
    ]
    checks = _checks(release, shape.constraints) + _text_rules(known, path)
    by_name = {row.name: row for row in rows}
    return _Plan(checks, tuple(choices), by_name, path == "Reference", asks_of_all=bool(checks or choices))


def _text_rules(known: Definitions, path: str) -> tuple[tuple[str, Holds], ...]:
    return tuple(rule for name in known.lineage(path) or (path,) for rule in TEXT_RULES.get(name, ()))


def _checks(release: Release, constraints: Iterable[Constraint]) -> tuple[tuple[str, Holds], ...]:
    kept = INVARIANTS[release]
    return tuple((c.key, kept[c.path, c.key]) for c in constraints if (c.path, c.key) in kept)


def _rows(known: Definitions, element: Element) -> Iterator[_Row]:
    shape = known.shape_of(element)
    content = _content(known, element, shape)
    if content:
        group = shape is not None and shape.path == element.path
        yield _Row(
            name=element.name,
            base_name=element.base_name,
            content=content,
            is_list=element.is_list,
            shape=shape.path if shape else "",
            targets=frozenset(element.types[0].targets) - {"Resource"} if element.type in _REFERENCES else frozenset(),
            checks=() if group else _checks(known.release, element.constraints),
            bound=_bound(known, element),
        )
    if known.has_companion(element):
        yield _Row(f"_{element.name}", element.base_name, "companion", element.is_list, "Element", frozenset(), ())


def _bound(known: Definitions, element: Element) -> Bound | None:
    """What an element may leave open; what it requires is in its schema."""
    binding = element.binding
    if binding is None or binding.strength != "extensible" or not known.has_codes(binding.value_set):
        return None
    return Bound(binding.strength, binding.value_set, known.codes(binding.value_set), known)


def _content(known: Definitions, element: Element, shape: Shape | None) -> Content | None:
    if element.type == "Resource":
        return "resource"
    if shape is not None:
        return "object"
    if element.type == "xhtml":
        return "narrative"
    if known.json_kind(element.type) == "integer":
        return "integer"
    return "list" if element.is_list else None


class Walk:
    """One validation of one resource with all that is in it."""

    def __init__(self, profiles: Profiles) -> None:
        self.release: Release = profiles.release
        self.known = profiles.base
        self.profiles = profiles
        self.judged: dict[tuple[int, str], bool] = {}
        self.faults: list[Fault] = []

    def resource(self, resource: Any, asked: Sequence[str] = ()) -> list[Fault]:
        """
        All faults of a resource, those of its structure before those found on the walk. ``asked``: the canonicals of profiles
        that it is held to besides those that it names.
        """
        self._resource(resource, (None, self._type(resource)), within=None, bundle=None, asked=asked)
        return [*self.faults, more()] if self._is_full else self.faults

    def _type(self, resource: Any) -> str:
        name = resource.get("resourceType") if isinstance(resource, dict) else None
        return name if isinstance(name, str) and name in self.known.resource_types else ""

    def _resource(
        self,
        resource: Any,
        place: Place,
        *,
        within: _Scope | None,
        bundle: _Bundle | None,
        asked: Sequence[str] = (),
    ) -> None:
        if self._is_full:
            return
        name = self._type(resource)
        if not name:
            self._fault("fhir.resource-type", place, f"{self.release} resourceType")
            return
        around = _bundle(resource) if name == "Bundle" else bundle
        if within is None and self._is_plain(name, resource, place, around, asked):
            return
        self._structure(name, resource, place)
        plan = _plan(self.release, name)
        if within is not None:
            scope = replace(within, resource=name, place=place, within=True)
            self._object(resource, plan, place, scope)
            self._profiles(resource, place, scope, asked)
            return
        contained = {str(inner.get("id")): inner for inner in objects(resource, "contained")}
        scope = _Scope(name, place, resource, contained, within=False, bundle=around)
        self._object(resource, plan, place, scope)
        if contained:
            self._unreferred(resource, place)
        self._profiles(resource, place, scope, asked)

    def _is_plain(
        self, name: str, resource: dict[str, Any], place: Place, bundle: _Bundle | None, asked: Sequence[str]
    ) -> bool:
        """The quick yes, where it may be asked for; what it leaves of the profiles and the entries of a Bundle is told."""
        if bundle is not None and not bundle.is_uniform:
            return False
        found = plain.often(self.profiles, name, tuple(dict.fromkeys([*asked, *_named(resource)])))
        if found is None or not found.says_yes(resource):
            return False
        for url, rest in found.rests:
            self._against(bundle).walk(rest, url, resource, place, self._report)
        for index, entry in enumerate(objects(resource, "entry") if name == "Bundle" else ()):
            if "resource" in entry:
                here = (((place, "entry"), index), "resource")
                self._resource(entry["resource"], here, within=None, bundle=bundle)
        return True

    def _profiles(self, resource: dict[str, Any], place: Place, scope: _Scope, asked: Sequence[str]) -> None:
        """The profiles that a resource names and those that it is asked for; of other people's, not all are known here."""
        for url in dict.fromkeys([*asked, *_named(resource)]):
            if self._is_full:
                return
            found = self.profiles.named(url)
            if found is None:
                self._unknown(url, scope.resource, place)
            else:
                self._against(scope.bundle).profile(found.url, resource, place, scope.container, self._report)

    def _unknown(self, url: str, kind: str, place: Place) -> None:
        """A profile that is not known. HL7's definition of a type asks no more of what is of that type, or is made from it."""
        name, _, version = url.partition("|")
        name = name.removeprefix(BASE) if url.startswith(BASE) else ""
        known = name in self.known.types or name in self.known.resource_names
        if known and version in ("", self.known.version):
            if name not in self.known.lineage(kind):
                self._fault("profile.type", place, f"{name} resourceType", profile=f"{BASE}{name}")
            return
        severity: Severity = "error" if url.startswith(CANONICAL) else "warning"
        self._fault("profile.unknown", (place, "meta"), f"{self.release} meta.profile", severity)

    def _against(self, bundle: _Bundle | None) -> Against:
        return Against(self.profiles, bundle.find if bundle else _nothing, _written, self.judged)

    def _structure(self, path: str, value: Any, place: Place) -> None:
        if not structure.is_valid(self.release, path, value):
            for fault in islice(structure.faults(self.release, path, value, _written(place)), MOST_FAULTS):
                self._report(fault)

    def _object(self, value: dict[str, Any], plan: _Plan, place: Place, scope: _Scope) -> None:
        if self._is_full:
            return
        for key, holds in plan.checks:
            if not holds(value):
                self._fault("fhir.invariant", place, f"{self.release} {key}")
        for choice in plan.choices:
            self._choice(value, choice, place)
        rows = plan.rows
        for name, child in value.items():
            row = rows.get(name)
            if row is None:
                continue
            here = (place, row.base_name)
            if not row.is_list or not isinstance(child, list):
                self._value(value, child, row, here, scope)
                continue
            if row.content == "companion" and not _as_long(value.get(name[1:]), child):
                self._fault("fhir.pairing", here, f"{self.release} json.html#primitive")
            for index, one in enumerate(child):
                self._value(value, one, row, (here, index), scope)

    def _choice(self, value: dict[str, Any], choice: _Choice, place: Place) -> None:
        count = len({name.removeprefix("_") for name in value.keys() & choice.names})
        if count > 1:
            self._fault("fhir.choice", (place, choice.base_name), f"{self.release} {choice.base_name}[x]")
        elif choice.required and not count:
            self._fault("fhir.missing", (place, choice.base_name), f"{self.release} {choice.base_name}[x] 1..1")

    def _value(self, parent: dict[str, Any], value: Any, row: _Row, place: Place, scope: _Scope) -> None:
        content = row.content
        if content == "object":
            self._held(value, row, place, scope)
        elif content == "resource":
            within = scope if row.name == "contained" else None
            self._resource(value, place, within=within, bundle=scope.bundle.entry(parent) if scope.bundle else None)
        elif content == "companion":
            self._companion(parent, value, row, place, scope)
        else:
            self._primitive(parent, value, row, place)

    def _held(self, value: Any, row: _Row, place: Place, scope: _Scope) -> None:
        if not isinstance(value, dict):
            return
        if row.shape == "Extension":
            self._extension(value, row, place, scope)
            scope = scope.inside_extension
        if row.bound is not None and (wrong := row.bound.judge(value)):
            self._fault(wrong[0], place, f"{self.release} {row.bound.value_set}", wrong[1])
        for key, holds in row.checks:
            if not holds(value):
                self._fault("fhir.invariant", place, f"{self.release} {key}")
        plan = _plan(self.release, row.shape)
        if plan.is_reference:
            self._reference(value, row.targets, place, scope)
        elif row.targets:  # a CodeableReference may lead where the element says, not where its own definition does
            inner = value.get("reference")
            if isinstance(inner, dict):
                self._reference(inner, row.targets, (place, "reference"), scope)
        if plan.asks_of_all or not plan.rows.keys().isdisjoint(value):
            self._object(value, plan, place, scope)

    def _extension(self, value: dict[str, Any], row: _Row, place: Place, scope: _Scope) -> None:
        """The structure of an extension, and what its definition says of it and of where it may stand."""
        if not scope.extension:
            self._structure("Extension", value, place)
        url = value.get("url")
        if not isinstance(url, str) or ":" not in url:
            if isinstance(url, str) and not _is_inside_extension(place):
                self._fault("fhir.format", (place, "url"), f"{self.release} extensibility.html#Extension.url")
            return
        profile = self.profiles.profile(url)
        if profile is None:
            if row.name == "modifierExtension" or url.startswith(CANONICAL):
                severity: Severity = "error" if url.startswith(CANONICAL) else "warning"
                self._fault("fhir.extension-unknown", place, f"{self.release} {row.name}", severity)
            return
        if profile.is_modifier != (row.name == "modifierExtension"):
            self._fault("fhir.extension-place", place, f"{self.release} isModifier", profile=url)
        parent = (scope.resource, *_names(place, scope.place)[:-1])
        if not extensions.may_stand(profile.contexts, self.known, parent):
            self._fault("fhir.extension-place", place, f"{self.release} context", profile=url)
        for steps in extensions.undefined_parts(profile.root, value):
            part = reduce(lambda above, step: (above, step), steps, place)
            self._fault("fhir.extension-unknown", part, f"{self.release} extensibility.html#Extension.url", profile=url)
        self._against(scope.bundle).profile(url, value, place, scope.container, self._report)

    def _primitive(self, parent: dict[str, Any], value: Any, row: _Row, place: Place) -> None:
        if value is None:
            self._no_value(parent, row, place)
        elif row.content == "narrative" and isinstance(value, str) and (rule := broken_rule(self.known, value)):
            self._fault("fhir.invariant", place, f"{self.release} {rule}")
        elif row.content == "integer" and isinstance(value, Decimal):
            self._fault("fhir.format", place, f"{self.release} integer")

    def _companion(self, parent: dict[str, Any], value: Any, row: _Row, place: Place, scope: _Scope) -> None:
        """The id and extensions of a primitive; without a value there must be an extension."""
        if not isinstance(value, dict):
            return
        if value.keys() == {"id"} and _beside(parent, row.name[1:], place[1]) is None:
            self._fault("fhir.empty", place, f"{self.release} ele-1")
        self._object(value, _plan(self.release, "Element"), place, scope)

    def _no_value(self, parent: dict[str, Any], row: _Row, place: Place) -> None:
        """A null in a list stands for a primitive that has extensions only."""
        if isinstance(place[1], int) and _beside(parent, "_" + row.name, place[1]) is None:
            self._fault("fhir.empty", place, f"{self.release} ele-1")

    def _reference(self, value: dict[str, Any], targets: frozenset[str], place: Place, scope: _Scope) -> None:
        reference, declared = value.get("reference"), value.get("type")
        found = self._target(reference, (place, "reference"), scope) if isinstance(reference, str) else None
        kind = declared if isinstance(declared, str) else None
        if found and targets and found not in targets:
            self._fault("fhir.reference-target", (place, "reference"), f"{self.release} targets")
        if kind and (kind not in (targets or self.known.resource_names) or (found and kind != found)):
            self._fault("fhir.reference-target", (place, "type"), f"{self.release} targets")

    def _target(self, reference: str, place: Place, scope: _Scope) -> str | None:
        """The type of resource that a reference leads to, as far as it can be told."""
        if reference.startswith("#"):
            return self._fragment(reference[1:], place, scope)
        literal = _LITERAL.fullmatch(reference) or _CONDITIONAL.fullmatch(reference)
        if literal and literal["type"] in self.known.resource_names:
            if scope.bundle and scope.find(reference) is None and scope.bundle.seems_to_have(reference):
                self._fault("fhir.dangling", place, f"{self.release} bundle.html#references")
            return literal["type"]
        if not ABSOLUTE.fullmatch(reference):
            self._fault("fhir.reference", place, f"{self.release} references.html#literal")
        elif scope.bundle is not None:
            target = scope.find(reference)
            if reference.startswith("urn:uuid:") and target is None:
                self._fault("fhir.dangling", place, f"{self.release} bundle.html#references")
            return str(target.get("resourceType")) if target else None
        return None

    def _fragment(self, fragment: str, place: Place, scope: _Scope) -> str | None:
        if fragment not in scope.contained and (fragment or not scope.within):
            self._fault("fhir.invariant", place, f"{self.release} ref-1")
        found = scope.contained.get(fragment)
        return str(found.get("resourceType")) if found else None

    def _unreferred(self, resource: dict[str, Any], place: Place) -> None:
        """dom-3: something refers to each contained resource, or it refers to the resource that contains it."""
        named = set(_fragments(resource))
        for index, inner in enumerate(objects(resource, "contained")):
            if f"#{inner.get('id')}" not in named and "#" not in _fragments(inner):
                self._fault("fhir.invariant", ((place, "contained"), index), f"{self.release} dom-3")

    def _fault(self, code: str, place: Place, why: str, severity: Severity = "error", *, profile: str = "") -> None:
        self._report(Fault(code, where=_written(place), why=why, severity=severity, profile=profile))

    def _report(self, fault: Fault) -> None:
        if not self._is_full:
            self.faults.append(fault)

    @property
    def _is_full(self) -> bool:
        return len(self.faults) >= MOST_FAULTS


def _named(resource: dict[str, Any]) -> list[str]:
    """The profiles that a resource names."""
    meta = resource.get("meta")
    listed = meta.get("profile") if isinstance(meta, dict) else None
    return [url for url in listed if isinstance(url, str)] if isinstance(listed, list) else []


def _is_inside_extension(place: Place) -> bool:
    """An extension stands directly in another one: only there a url may be relative."""
    listed = place[0] if isinstance(place[1], int) else place
    return listed[0] is not None and _name(listed[0]) == "extension"


def _name(place: Place) -> str:
    """The name under which a value stands, if in a list the list's."""
    parent, step = place
    return step if isinstance(step, str) else str(parent[1])


def _bundle(resource: dict[str, Any]) -> _Bundle:
    by_url: dict[str, Mapping[str, Any]] = {}
    names: set[str] = set()
    bases: set[str] = set()
    count = 0
    for entry in objects(resource, "entry"):
        inner = entry.get("resource")
        if not isinstance(inner, dict):
            continue
        count += 1
        url, name = str(entry.get("fullUrl")), f"{inner.get('resourceType')}/{inner.get('id')}"
        by_url.setdefault(url, inner)
        names.add(name)
        bases.add(url.removesuffix(f"/{name}") if url.endswith(f"/{name}") else "")
    only = bases.pop() if len(bases) == 1 and len(by_url) == count else ""
    return _Bundle(by_url, names, is_uniform=SERVER.fullmatch(only) is not None, base=only)


def _nothing(_: str) -> None:
    """Where a reference leads when there is no Bundle around."""


def _as_long(values: Any, companions: list[Any]) -> bool:
    return not isinstance(values, list) or len(values) == len(companions)


def _beside(parent: dict[str, Any], name: str, step: str | int) -> Any:
    """What stands beside a primitive or its companion under the other name, at the same index if in a list."""
    other = parent.get(name)
    if not isinstance(step, int):
        return other
    return other[step] if isinstance(other, list) and step < len(other) else None


def _fragments(value: Any) -> Iterator[str]:
    """Every text that refers to a resource in the same one, whatever the element."""
    if isinstance(value, str):
        if value.startswith("#"):
            yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _fragments(each)


def _written(place: Place) -> str:
    parent, step = place
    if parent is None:
        return str(step)
    return f"{_written(parent)}[{step}]" if isinstance(step, int) else f"{_written(parent)}.{step}"


def _names(place: Place, above: Place) -> tuple[str, ...]:
    """The names on the way from one place to another below it, without indexes."""
    parent, step = place
    if place is above:
        return ()
    before = _names(parent, above)
    return (*before, step) if isinstance(step, str) else before
