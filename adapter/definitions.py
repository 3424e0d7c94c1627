"""
HL7's definitions of FHIR, as facts: which elements exist, how often, of which types, with which codes and invariants.

The facts lie in ``profiles/definitions/<release>/`` and come from ``make definitions``. A type's file is read when the
type is first asked for. Three words are used throughout:

* an *element* is one row of a definition, such as ``Task.status`` or ``Extension.value[x]``;
* a *shape* is what one JSON object may hold: the elements of a type (``Period``) or of a group inside one
  (``Task.restriction``), in the specification's order, inherited ones first;
* a *property* is an element under the name that JSON gives it: ``status``, ``valueCode``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, Final, Literal

from adapter.resources import folder

Release = Literal["R4", "R5"]
JsonKind = Literal["string", "boolean", "integer", "decimal"]

_KINDS: Final[Mapping[str, JsonKind]] = {
    "boolean": "boolean",
    "integer": "integer",
    "positiveInt": "integer",
    "unsignedInt": "integer",
    "decimal": "decimal",
}
_TYPE = re.compile(r"(?P<code>\w+)(?:\((?P<targets>[^)]*)\))?(?:<(?P<profiles>[^>]*)>)?")


@dataclass(frozen=True, slots=True)
class Type:
    """One type that an element may have: ``targets`` are the resource types a reference or canonical may point at."""

    code: str
    targets: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """The value set of a coded element and how strictly it holds: required, extensible, preferred or example."""

    strength: str
    value_set: str


@dataclass(frozen=True, slots=True)
class Constraint:
    """
    One invariant: its key, ``error`` or ``warning``, the FHIRPath expression that must be true, and the path of the
    element or type that states it (``Quantity`` also where it was found on ``Age``). ``human`` says it in words, in profiles.
    """

    key: str
    severity: str
    expression: str
    path: str
    human: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """
    One element where it is defined: ``path`` is ``Period.start`` also when it was reached as ``Task.executionPeriod.start``.

    ``name`` is the JSON property (``valueCode``), or the bracketed name of a choice (``value[x]``). A property of a
    choice has one type and names its choice in ``choice``. ``max`` is None where there is no limit.
    ``order`` counts from 0 within the shape; the properties of one choice share it.
    """

    path: str
    name: str
    min: int
    max: int | None
    types: tuple[Type, ...]
    order: int
    content: str = ""
    binding: Binding | None = None
    is_modifier: bool = False
    is_attribute: bool = False
    constraints: tuple[Constraint, ...] = ()
    choice: str = ""

    @property
    def is_list(self) -> bool:
        """JSON holds it as an array."""
        return self.max != 1

    @property
    def is_choice(self) -> bool:
        """It stands for several properties, one per type; the properties themselves answer False."""
        return self.name.endswith("[x]")

    @property
    def type(self) -> str:
        """The code of its type; empty where it has none of its own (a content reference) or several (a choice)."""
        return self.types[0].code if len(self.types) == 1 else ""

    @property
    def base_name(self) -> str:
        """Its name in FHIRPath: ``value`` for ``value[x]`` and for ``valueCode``."""
        return (self.choice or self.name).removesuffix("[x]")


@dataclass(frozen=True)
class Shape:
    """What one JSON object may hold. ``path`` is a type's name or the path of a group inside a type."""

    path: str
    elements: tuple[Element, ...]
    constraints: tuple[Constraint, ...] = ()

    @cached_property
    def properties(self) -> Mapping[str, Element]:
        """Every property by its JSON name, choices spelled out."""
        return {concrete.name: concrete for element in self.elements for concrete in _concrete(element)}

    @cached_property
    def choices(self) -> Mapping[str, tuple[str, ...]]:
        """The JSON names of each choice: ``{"value[x]": ("valueBoolean", "valueCode", ...)}``."""
        return {e.name: tuple(concrete.name for concrete in _concrete(e)) for e in self.elements if e.is_choice}


@dataclass(frozen=True)
class Codes:
    """The codes of a value set by code system. An open system (mime types, currencies) has a pattern instead."""

    by_system: Mapping[str, frozenset[str]] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def all(self) -> frozenset[str]:
        return frozenset().union(*self.by_system.values())


class Definitions:
    """All that is known of one release. Reads files lazily; safe to share."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self._folder = folder("profiles") / "definitions" / release.lower()
        self._index = self._read("index")
        self._types: dict[str, Any] = self._index["types"]
        self._files: dict[str, dict[str, Any]] = {}
        self._shapes: dict[str, Shape | None] = {}
        self._elements: dict[str, Element | None] = {}

    @property
    def version(self) -> str:
        """The release's version as FHIR writes it: ``4.0.1``."""
        return str(self._index["version"])

    @property
    def types(self) -> Iterable[str]:
        """The name of every type whose structure is known."""
        return self._types.keys()

    @cached_property
    def resource_types(self) -> frozenset[str]:
        """The resource types whose structure is known, abstract ones left out."""
        return frozenset(
            n for n, facts in self._types.items() if facts["kind"] == "resource" and "abstract" not in facts
        )

    @cached_property
    def resource_names(self) -> frozenset[str]:
        """The name of every resource type of the release, also of those whose structure is not known here."""
        return self.codes("http://hl7.org/fhir/ValueSet/resource-types").all

    @cached_property
    def primitive_types(self) -> frozenset[str]:
        return frozenset(name for name, facts in self._types.items() if facts["kind"] == "primitive")

    @property
    def narrative(self) -> tuple[frozenset[str], frozenset[str]]:
        """The XHTML elements and attributes that a narrative may hold (invariant txt-1)."""
        return frozenset(self._index["narrative_elements"]), frozenset(self._index["narrative_attributes"])

    def is_primitive(self, code: str) -> bool:
        return code in self.primitive_types

    def lineage(self, code: str) -> tuple[str, ...]:
        """A type and all that it is made from: ``("Task", "DomainResource", "Resource")``; empty if it is not known."""
        facts = self._types.get(code)
        return (code, *self.lineage(facts.get("base", ""))) if facts else ()

    def has_companion(self, element: Element) -> bool:
        """
        JSON may give it an id and extensions, under its name with an underscore: ``_birthDate``.

        The ids of elements and resources, the url of an extension and XHTML are plain values without any.
        """
        plain = element.is_attribute or element.type == "xhtml" or element.path == "Resource.id"
        return self.is_primitive(element.type) and not plain

    def json_kind(self, code: str) -> JsonKind:
        """How JSON writes a primitive type."""
        return _KINDS.get(code, "string")

    def pattern(self, code: str) -> str:
        """The specification's regular expression for a primitive type; empty where it gives none."""
        return str(self._types[code].get("pattern", ""))

    def limits(self, code: str) -> Mapping[str, int]:
        """What limits the values of a primitive type, in JSON Schema's words: minimum, maximum, maxLength (characters)."""
        facts = self._types.get(code, {})
        inherited = self.limits(facts["base"]) if "base" in facts else {}
        return {**inherited, **facts.get("limits", {})}

    def has_codes(self, value_set: str) -> bool:
        """The codes of this value set are known: some element requires it, or may only say more than it does."""
        return value_set in self._codes or value_set in self._extensible

    def codes(self, value_set: str) -> Codes:
        """
        The codes of a required or an extensible value set.

        Raises:
            KeyError: no element is bound to this value set so strictly, so it is not kept.
        """
        systems: dict[str, Any] = self._codes[value_set] if value_set in self._codes else self._extensible[value_set]
        return Codes(
            by_system={system: frozenset(codes) for system, codes in systems.items() if isinstance(codes, list)},
            patterns={system: codes for system, codes in systems.items() if isinstance(codes, str)},
        )

    def system(self, url: str) -> frozenset[str] | None:
        """Every code of a code system; None where not all of them are known here."""
        return self._systems.get(url)

    def extension(self, name: str) -> Mapping[str, Any] | None:
        """One of HL7's own extensions by the end of its url: ``contexts`` and ``elements``; None if it is not known."""
        return self._extensions.get(name)

    def shape(self, path: str) -> Shape | None:
        """The shape of a type or of a group by the path of its definition; None for a primitive or unknown one."""
        if path not in self._shapes:
            self._shapes[path] = self._make_shape(path)
        return self._shapes[path]

    def shape_of(self, element: Element) -> Shape | None:
        """The shape that an element's object has; None for primitives, choices, and places that hold any resource."""
        if element.content:
            return self.shape(element.content)
        if element.type == "Resource" or not element.type:
            return None
        if element.type in ("BackboneElement", "Element") and (group := self.shape(element.path)):
            return group
        kind = element.types[0]
        return self.shape(kind.profiles[0] if kind.profiles else kind.code)

    def element(self, path: str) -> Element | None:
        """
        The element at a path through types, groups, choices and content references, or None if there is none.

        ``Task.restriction.period.start``, ``Task.extension.valueCode``, ``Extension.value[x]``, ``Bundle.entry.resource``.
        A path ends where any resource may stand; inside it begin anew with the resource's type.
        """
        if path not in self._elements:
            self._elements[path] = self._walk(path)
        return self._elements[path]

    def children(self, path: str) -> tuple[Element, ...]:
        """The elements below a path in the specification's order, choices as one; empty below primitives and nothing."""
        shape = self.shape(path) if "." not in path else self._shape_at(path)
        return shape.elements if shape else ()

    def _shape_at(self, path: str) -> Shape | None:
        element = self.element(path)
        return self.shape_of(element) if element else None

    def _walk(self, path: str) -> Element | None:
        parent, _, name = path.rpartition(".")
        shape = self._shape_at(parent) if "." in parent else self.shape(parent)
        if shape is None:
            return None
        if name.endswith("[x]"):
            return next((element for element in shape.elements if element.name == name), None)
        return shape.properties.get(name)

    def _make_shape(self, path: str) -> Shape | None:
        owner, _, inner = path.partition(".")
        if owner not in self._types or self._types[owner]["kind"] == "primitive":
            return None
        file = self._file(owner)
        if inner:
            row = next((row for row in file["elements"] if row["path"] == inner), None)
            own = [row for row in file["elements"] if row["path"].rpartition(".")[0] == inner]
            if row is None or not own:
                return None
            base, constraints = self.shape(row["types"][0]), row.get("constraints", [])
        else:
            own = [row for row in file["elements"] if "." not in row["path"]]
            base, constraints = self.shape(file.get("base", "")), file.get("constraints", [])
        names = {row["path"].rpartition(".")[2] for row in own}
        inherited = [element for element in (base.elements if base else ()) if element.name not in names]
        elements = inherited + [_element(owner, row) for row in own if not row["card"].endswith("..0")]
        return Shape(
            path=path,
            elements=tuple(replace(element, order=order) for order, element in enumerate(elements)),
            constraints=(base.constraints if base else ()) + _constraints(path, constraints),
        )

    def _file(self, name: str) -> dict[str, Any]:
        if name not in self._files:
            self._files[name] = self._read(name)
        return self._files[name]

    @cached_property
    def _codes(self) -> dict[str, Any]:
        codes: dict[str, Any] = self._read("codes")["codes"]
        return codes

    @cached_property
    def _extensible(self) -> dict[str, Any]:
        codes: dict[str, Any] = self._read("extensible")["codes"]
        return codes

    @cached_property
    def _systems(self) -> dict[str, frozenset[str]]:
        return {url: frozenset(codes) for url, codes in self._read("systems")["systems"].items()}

    @cached_property
    def _extensions(self) -> dict[str, Any]:
        extensions: dict[str, Any] = self._read("extensions")["extensions"]
        return extensions

    def _read(self, name: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self._folder / f"{name}.json").read_bytes())
        return read


@cache
def definitions(release: Release = "R4") -> Definitions:
    """The definitions of a release; one object per process."""
    return Definitions(release)


def _element(owner: str, row: Mapping[str, Any]) -> Element:
    low, _, high = row["card"].partition("..")
    strength, _, value_set = row.get("binding", "").partition(" ")
    return Element(
        path=f"{owner}.{row['path']}",
        name=row["path"].rpartition(".")[2],
        min=int(low),
        max=None if high == "*" else int(high),
        types=tuple(named_type(word) for word in row.get("types", ())),
        order=0,
        content=row.get("content", ""),
        binding=Binding(strength, value_set) if strength else None,
        is_modifier=row.get("modifier", False),
        is_attribute=row.get("attribute", False),
        constraints=_constraints(f"{owner}.{row['path']}", row.get("constraints", ())),
    )


@cache
def named_type(word: str) -> Type:
    """
    A type as the definitions write it: ``code``, ``Reference(Patient|Group)``, ``Quantity<SimpleQuantity>``.

    Raises:
        ValueError: it is not written so.
    """
    match = _TYPE.fullmatch(word)
    if match is None:
        raise ValueError("a type in the definitions is not of the form code(targets)<profiles>")
    targets, profiles = match["targets"], match["profiles"]
    return Type(
        match["code"], tuple(targets.split("|")) if targets else (), tuple(profiles.split("|")) if profiles else ()
    )


def _constraints(path: str, rows: Any) -> tuple[Constraint, ...]:
    return tuple(Constraint(key, severity, expression, path) for key, severity, expression in rows)


def choice_name(stem: str, code: str) -> str:
    """The JSON name of a choice with a value of a type: ``value`` and ``code`` give ``valueCode``."""
    return stem + code[0].upper() + code[1:]


def _concrete(element: Element) -> tuple[Element, ...]:
    """The properties that an element appears as: itself, or one per type of a choice."""
    if not element.is_choice:
        return (element,)
    stem = element.name.removesuffix("[x]")
    return tuple(
        replace(element, name=choice_name(stem, kind.code), types=(kind,), choice=element.name)
        for kind in element.types
    )
