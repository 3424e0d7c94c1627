"""
The strict XML reader and writer: FHIR's XML form to and from the value that the JSON reader gives, driven by the definitions.

Nothing is guessed: an element that the definitions do not know, in another place, in another order or too often is refused,
and so are foreign namespaces and text outside narratives. Two things are dropped by rule, because they carry no data and
JSON has no place for them: XML comments, and ``xsi:schemaLocation`` on the root. A narrative's XHTML is kept and written in
one canonical form. Source: FHIR R4 xml.html, json.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import zip_longest
from typing import Any, Final, Literal

from adapter.definitions import Definitions, Element, JsonKind, Release, definitions
from adapter.errors import Fault, Invalid, Unreadable
from adapter.wire import LIMITS, Limits
from adapter.wire.markup import XHTML, RefusedError, attribute, is_writable, parse, xhtml

FHIR: Final = "http://hl7.org/fhir"
_SCHEMA_LOCATION: Final = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<decimal>(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")

Content = Literal["primitive", "object", "resource", "xhtml"]


def read(data: bytes, *, limits: Limits = LIMITS, release: Release = "R4") -> dict[str, Any]:
    """
    The resource that an XML text stands for, in the form that ``adapter.wire.json.read`` gives.

    Raises:
        Unreadable: with line, column and FHIRPath of the first thing that is not accepted.
    """
    tree = parse(data, limits=limits)
    try:
        tree.refuse_text()
        return _Reader(release, limits).root(tree.root)
    except RefusedError as found:
        refused = found.with_traceback(None)  # which would keep the tree until the next garbage collection
    raise tree.unreadable(refused)


def write(resource: Mapping[str, Any], *, release: Release = "R4") -> bytes:
    """
    The XML text of a resource: UTF-8, elements in the specification's order, no white space between them.

    Raises:
        Invalid: an element that the definitions do not know or that has another form there, a narrative that is not
            XHTML, a character that XML cannot hold. The fault's place is the FHIRPath.
    """
    parts = ['<?xml version="1.0" encoding="UTF-8"?>']
    try:
        _Writer(release, parts).root(resource)
    except RefusedError as refused:
        fault = Fault(refused.code, where=refused.where, why="FHIR xml.html")
    else:
        text = "".join(parts)
        if is_writable(text):
            return text.encode()
        fault = Fault("wire.unwritable", where=resource["resourceType"], why="XML 1.0, section 2.2")
    raise Invalid(fault)


@dataclass(frozen=True, slots=True)
class _Row:
    """One property of an object: where it stands and what its content is."""

    name: str
    base_name: str
    order: int
    is_list: bool
    is_attribute: bool
    content: Content
    kind: JsonKind
    shape: str

    def step(self, index: int) -> str:
        return f"{self.base_name}[{index}]" if self.is_list else self.base_name


@dataclass(frozen=True, slots=True)
class _Plan:
    """The properties of an object with one shape, by JSON name (with a number that sorts them) and by XML name."""

    names: Mapping[str, tuple[int, _Row]]
    tags: Mapping[str, _Row]


@cache
def _plan(release: Release, path: str) -> _Plan:
    known = definitions(release)
    shape = known.shape(path)
    rows = [_row(known, name, element) for name, element in shape.properties.items()] if shape else []
    return _Plan(
        names={row.name: (number, row) for number, row in enumerate(rows)},
        tags={
            f"{{{XHTML if row.content == 'xhtml' else FHIR}}}{row.name}": row for row in rows if not row.is_attribute
        },
    )


def _row(known: Definitions, name: str, element: Element) -> _Row:
    shape = known.shape_of(element)
    content: Content = "object" if shape else "primitive"
    if element.type == "Resource":
        content = "resource"
    elif element.type == "xhtml":
        content = "xhtml"
    return _Row(
        name=name,
        base_name=element.base_name,
        order=element.order,
        is_list=element.is_list,
        is_attribute=element.is_attribute,
        content=content,
        kind=known.json_kind(element.type),
        shape=shape.path if shape else "",
    )


class _Reader:
    def __init__(self, release: Release, limits: Limits) -> None:
        self.release = release
        self.limits = limits
        self.types = definitions(release).resource_types

    def root(self, element: Any) -> dict[str, Any]:
        name = element.tag.rpartition("}")[2]
        try:
            return self._resource(element, 1, allowed=(_SCHEMA_LOCATION,))
        except RefusedError as refused:
            raise refused.below(name) if name in self.types else refused from None

    def _resource(self, element: Any, depth: int, allowed: tuple[str, ...] = ()) -> dict[str, Any]:
        namespace, _, name = element.tag.rpartition("}")
        if namespace != "{" + FHIR:
            raise RefusedError("wire.namespace", element)
        if name not in self.types:
            raise RefusedError("wire.resource-type", element)
        if any(attribute not in allowed for attribute in element.keys()):  # noqa: SIM118  iterating an element gives its children
            raise RefusedError("wire.unknown-attribute", element)
        found: dict[str, Any] = {"resourceType": name}
        self._children(element, name, found, depth)
        return found

    def _children(self, parent: Any, shape: str, found: dict[str, Any], depth: int) -> None:
        if depth > self.limits.depth:
            raise RefusedError("wire.depth", parent)
        tags = _plan(self.release, shape).tags
        last: _Row | None = None
        index = 0
        for child in parent:
            row = tags.get(child.tag)
            if row is None:
                raise _unknown(child, tags)
            index = index + 1 if row is last else 0
            try:
                if last is not None and not (last.order < row.order or (index and row.is_list)):
                    raise _misplaced(child, row, last)
                if row.content == "primitive":
                    self._primitive(child, row, found, depth)
                elif row.is_list:
                    found.setdefault(row.name, []).append(self._value(child, row, depth + 1))
                else:
                    found[row.name] = self._value(child, row, depth + 1)
            except RefusedError as refused:
                raise refused.below(row.step(index)) from None
            last = row

    def _value(self, element: Any, row: _Row, depth: int) -> Any:
        if row.content == "resource":
            if len(element) != 1 or element.keys():
                raise RefusedError("wire.one-resource", element)
            return self._resource(element[0], depth)
        if row.content == "xhtml":
            return xhtml(element, self.limits.depth - depth)
        found: dict[str, Any] = {}
        names = _plan(self.release, row.shape).names
        for name, text in element.items():
            if name not in names or not names[name][1].is_attribute:
                raise RefusedError("wire.unknown-attribute", element)
            found[name] = text
        self._children(element, row.shape, found, depth)
        return found

    def _primitive(self, element: Any, row: _Row, found: dict[str, Any], depth: int) -> None:
        value: Any = None
        extra: dict[str, Any] = {}
        for name, text in element.items():
            if name == "value":
                value = text if row.kind == "string" else self._number_or_boolean(element, text, row.kind)
            elif name == "id":
                extra["id"] = text
            else:
                raise RefusedError("wire.unknown-attribute", element)
        if len(element):
            self._children(element, "Element", extra, depth + 1)
        if value is None and not extra:
            raise RefusedError("wire.empty", element)
        if row.is_list:
            _append(found, row.name, value, extra or None)
            return
        if value is not None:
            found[row.name] = value
        if extra:
            found["_" + row.name] = extra

    def _number_or_boolean(self, element: Any, text: str, kind: JsonKind) -> bool | int | Decimal:
        if kind == "boolean" and text in ("true", "false"):
            return text == "true"
        match = _NUMBER.fullmatch(text)
        if (
            kind == "boolean"
            or match is None
            or (kind == "integer" and match["decimal"])
            or not self.limits.allow_number(text)
        ):
            raise RefusedError("wire.value", element)
        return Decimal(text) if match["decimal"] or text == "-0" else int(text)


def _unknown(child: Any, tags: Mapping[str, _Row]) -> RefusedError:
    local = child.tag.rpartition("}")[2]
    elsewhere = any(tag.endswith("}" + local) for tag in tags)
    return RefusedError("wire.namespace" if elsewhere else "wire.unknown-element", child)


def _misplaced(child: Any, row: _Row, last: _Row) -> RefusedError:
    return RefusedError("wire.repeated" if row is last else "wire.order", child)


def _append(found: dict[str, Any], name: str, value: Any, extra: dict[str, Any] | None) -> None:
    """Adds to a list of primitives; the list of values and the list of what belongs to them stay equally long."""
    count = len(found.get(name) or found.get("_" + name) or ())
    for key, one in ((name, value), ("_" + name, extra)):
        if key in found:
            found[key].append(one)
        elif one is not None:
            found[key] = [None] * count + [one]


class _Writer:
    def __init__(self, release: Release, parts: list[str]) -> None:
        self.release = release
        self.parts = parts
        self.types = definitions(release).resource_types

    def root(self, resource: Any) -> None:
        name = self._type(resource)
        try:
            self._object(name, resource, name, f' xmlns="{FHIR}"')
        except RefusedError as refused:
            raise refused.below(name) from None

    def _type(self, resource: Any) -> str:
        name = resource.get("resourceType") if isinstance(resource, Mapping) else None
        if not isinstance(name, str) or name not in self.types:
            raise RefusedError("wire.resource-type")
        return name

    def _object(self, tag: str, value: Any, shape: str, attributes: str = "") -> None:
        """One element with its children; ``shape`` is a resource's name where the object is a resource."""
        if not isinstance(value, Mapping):
            raise RefusedError("wire.misfit")
        present = self._present(value, shape)
        for _, row in present:
            if row.is_attribute:
                attributes += f' {row.name}="{_literal(value.get(row.name), "string")}"'
        self.parts.append(f"<{tag}{attributes}>")
        for _, row in present:
            if not row.is_attribute:
                self._property(row, value.get(row.name), value.get("_" + row.name))
        self.parts.append(f"</{tag}>")

    def _present(self, value: Mapping[str, Any], shape: str) -> list[tuple[int, _Row]]:
        """The rows of the properties that an object has, in the specification's order."""
        names = _plan(self.release, shape).names
        present = []
        for name in value:
            row = names.get(name)
            if row is None and (about := names.get(name.removeprefix("_"))) and about[1].content == "primitive":
                if about[1].name in value:
                    continue
                row = about
            if row is not None:
                present.append(row)
            elif name != "resourceType" or shape not in self.types:
                raise RefusedError("wire.unknown-element")
        present.sort(key=_number)
        return present

    def _property(self, row: _Row, value: Any, extra: Any) -> None:
        index = 0
        try:
            if not row.is_list:
                self._one(row, value, extra)
                return
            for index, (one, about) in enumerate(_pairs(value, extra)):  # noqa: B007  the step of a refusal needs it
                self._one(row, one, about)
        except RefusedError as refused:
            raise refused.below(row.step(index)) from None

    def _one(self, row: _Row, value: Any, extra: Any) -> None:
        if row.content == "primitive":
            if value is None and not extra:
                raise RefusedError("wire.empty")
            text = "" if value is None else f' value="{_literal(value, row.kind)}"'
            if extra is None:
                self.parts.append(f"<{row.name}{text}/>")
            else:
                self._object(row.name, extra, "Element", text)
        elif row.content == "object":
            self._object(row.name, value, row.shape)
        elif row.content == "resource":
            name = self._type(value)
            self.parts.append(f"<{row.name}>")
            self._object(name, value, name)
            self.parts.append(f"</{row.name}>")
        else:
            self.parts.append(_narrative(value))


def _number(numbered: tuple[int, _Row]) -> int:
    return numbered[0]


def _pairs(values: Any, extras: Any) -> zip_longest[tuple[Any, Any]]:
    for given in (values, extras):
        if given is not None and not (isinstance(given, list) and given):
            raise RefusedError("wire.misfit")
    return zip_longest(values or (), extras or ())


def _literal(value: Any, kind: JsonKind) -> str:
    """A primitive as an XML attribute holds it; its JSON type must be the one of its FHIR type."""
    if kind == "string":
        if isinstance(value, str):
            return attribute(value)
    elif isinstance(value, bool):
        if kind == "boolean":
            return "true" if value else "false"
    elif kind != "boolean" and isinstance(value, int | Decimal):
        return str(value)
    raise RefusedError("wire.misfit")


def _narrative(value: Any) -> str:
    """The XHTML of a narrative in canonical form, from its JSON string."""
    if not isinstance(value, str):
        raise RefusedError("wire.misfit")
    try:
        root = parse(value.encode("utf-8", "replace")).root
    except Unreadable:
        root = None
    if root is None or root.tag != f"{{{XHTML}}}div":
        raise RefusedError("wire.narrative")
    return xhtml(root, LIMITS.depth)
