"""
The strict XML reader and writer: FHIR's XML form to and from the value that the JSON reader gives, driven by the definitions.

Nothing is guessed: an element that the definitions do not know, in another place, in another order or too often is refused,
and so are foreign namespaces and text outside narratives; all of it is told at once. Two things are dropped by rule, because they carry no data and
JSON has no place for them: XML comments, and ``xsi:schemaLocation`` on the root. A narrative's XHTML is kept and written in
one canonical form. Source: FHIR R4 xml.html, json.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from itertools import zip_longest
from typing import Any, Final, Literal

from adapter.definitions import Definitions, Element, JsonKind, Release, definitions
from adapter.errors import MOST_FAULTS, Fault, Invalid, Unreadable, more
from adapter.wire import LIMITS, Limits
from adapter.wire.markup import XHTML, RefusedError, attribute, is_writable, parse, xhtml
from adapter.wire.places import pointer, steps

FHIR: Final = "http://hl7.org/fhir"
_SCHEMA_LOCATION: Final = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<decimal>(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")

Content = Literal["primitive", "object", "resource", "xhtml"]


@dataclass(frozen=True, slots=True)
class Read:
    """
    What an XML text stands for as far as it can be read: ``value`` without what is wrong in form, ``faults`` of form in the order
    of the text, and the places (FHIRPath) of what could not be read (``unread``): missing in ``value``, in a list None.
    """

    value: dict[str, Any]
    faults: tuple[Fault, ...] = ()
    unread: frozenset[str] = frozenset()


def read(data: bytes, *, limits: Limits = LIMITS, release: Release = "R4") -> dict[str, Any]:
    """
    The resource that an XML text stands for, in the form that ``adapter.wire.json.read`` gives.

    Raises:
        Unreadable: with line, column and FHIRPath of everything that is not accepted.
    """
    found = read_all(data, limits=limits, release=release)
    if found.faults:
        raise Unreadable(found.faults)
    return found.value


def read_all(data: bytes, *, limits: Limits = LIMITS, release: Release = "R4") -> Read:
    """
    The same, with all faults of form (elements, attributes, values, order, text) instead of a refusal, for telling what else is
    wrong. What has one must not be processed.

    Raises:
        Unreadable: it is not XML, more than ``limits``, no resource of a type that is known, or has ``MOST_FAULTS`` faults of form.
    """
    tree = parse(data, limits=limits)
    reader = _Reader(release, limits, tree.stray_texts())
    value = reader.root(tree.root)
    if not reader.refused:
        return Read(value)
    faults = [_pointed(fault, value) for fault in tree.faults(reader.refused)[:MOST_FAULTS]]
    if len(faults) == MOST_FAULTS:
        raise Unreadable([*faults, more()])
    if not value:
        raise Unreadable(faults)
    return Read(value, tuple(faults), frozenset(each.where for each in reader.refused if each.is_unread))


def _pointed(fault: Fault, value: dict[str, Any]) -> Fault:
    return replace(fault, pointer=pointer(value, steps(fault.where)[1:])) if fault.where else fault


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
    """
    Goes through a tree once. What is wrong in form is left out and kept in ``refused``; each level puts its own step before the
    places of what was refused below it.
    """

    def __init__(self, release: Release, limits: Limits, texts: list[Any]) -> None:
        self.release = release
        self.limits = limits
        self.types = definitions(release).resource_types
        self.texts = dict.fromkeys(texts)
        self.refused: list[RefusedError] = []

    def root(self, element: Any) -> dict[str, Any]:
        """The resource; empty if it is none of a type that is known."""
        name = element.tag.rpartition("}")[2]
        found: dict[str, Any] = {}
        try:
            found = self._resource(element, 1, allowed=(_SCHEMA_LOCATION,))
        except RefusedError as refused:
            self.refused.append(
                refused.with_traceback(None)
            )  # which would keep the tree until the next garbage collection
        if name in self.types:
            self._below(name, 0)
        self.refused += [RefusedError("wire.text", text) for text in self.texts]
        return found

    def _below(self, step: str, since: int) -> None:
        for refused in self.refused[since:]:
            refused.below(step)

    def _resource(self, element: Any, depth: int, allowed: tuple[str, ...] = ()) -> dict[str, Any]:
        namespace, _, name = element.tag.rpartition("}")
        if namespace != "{" + FHIR:
            raise RefusedError("wire.namespace", element)
        if name not in self.types:
            raise RefusedError("wire.resource-type", element)
        if any(attribute not in allowed for attribute in element.keys()):  # noqa: SIM118  iterating an element gives its children
            self.refused.append(RefusedError("wire.unknown-attribute", element))
        found: dict[str, Any] = {"resourceType": name}
        self._children(element, name, found, depth)
        return found

    def _children(self, parent: Any, shape: str, found: dict[str, Any], depth: int) -> None:
        if depth > self.limits.depth:
            raise RefusedError("wire.depth", parent)
        tags = _plan(self.release, shape).tags
        refused, texts = self.refused, self.texts
        last: _Row | None = None
        for child in parent:
            before = len(refused)
            if before >= MOST_FAULTS:
                return
            row = tags.get(child.tag)
            if row is None:
                refused.append(_unknown(child, tags))
                continue
            try:
                if last is not None and not (last.order < row.order or (row is last and row.is_list)):
                    refused.append(_misplaced(child, row, last, found))
                if texts and child in texts:
                    refused.append(self._text(child))
                if len(refused) == before or refused[before].code != "wire.repeated":
                    self._child(child, row, found, depth)
            except RefusedError as one:
                one.is_unread = True
                refused.append(one.with_traceback(None))
                _leave_out(found, row)
            if len(refused) > before:
                self._below(row.step(_count(found, row.name) - 1 if row.is_list else 0), before)
            last = row

    def _child(self, child: Any, row: _Row, found: dict[str, Any], depth: int) -> None:
        if row.content == "primitive":
            self._primitive(child, row, found, depth)
        elif row.is_list:
            found.setdefault(row.name, []).append(self._value(child, row, depth + 1))
        else:
            found[row.name] = self._value(child, row, depth + 1)

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
            if name in names and names[name][1].is_attribute:
                found[name] = text
            else:
                self.refused.append(RefusedError("wire.unknown-attribute", element))
        self._children(element, row.shape, found, depth)
        return found

    def _primitive(self, element: Any, row: _Row, found: dict[str, Any], depth: int) -> None:
        value: Any = None
        extra: dict[str, Any] = {}
        before = len(self.refused)
        for name, text in element.items():
            if name == "value":
                value = text if row.kind == "string" else self._number_or_boolean(element, text, row.kind)
            elif name == "id":
                extra["id"] = text
            else:
                self.refused.append(RefusedError("wire.unknown-attribute", element))
        if len(element):
            self._children(element, "Element", extra, depth + 1)
        if value is None and not extra:
            raise self.refused.pop() if len(self.refused) > before else RefusedError("wire.empty", element)
        if row.is_list:
            _append(found, row.name, value, extra or None)
            return
        if value is not None:
            found[row.name] = value
        if extra:
            found["_" + row.name] = extra

    def _number_or_boolean(self, element: Any, text: str, kind: JsonKind) -> bool | int | Decimal | None:
        if kind == "boolean" and text in ("true", "false"):
            return text == "true"
        match = _NUMBER.fullmatch(text)
        if (
            kind == "boolean"
            or match is None
            or (kind == "integer" and match["decimal"])
            or not self.limits.allow_number(text)
        ):
            self.refused.append(RefusedError("wire.value", element, is_unread=True))
            return None
        return Decimal(text) if match["decimal"] or text == "-0" else int(text)

    def _text(self, element: Any) -> RefusedError:
        """Text where none may stand. What holds nothing else was meant to have it as its value."""
        del self.texts[element]
        refused = RefusedError("wire.text", element)
        if element.keys() or len(element):
            return refused
        raise refused


def _unknown(child: Any, tags: Mapping[str, _Row]) -> RefusedError:
    local = child.tag.rpartition("}")[2]
    elsewhere = any(tag.endswith("}" + local) for tag in tags)
    return RefusedError("wire.namespace" if elsewhere else "wire.unknown-element", child)


def _misplaced(child: Any, row: _Row, last: _Row, found: dict[str, Any]) -> RefusedError:
    is_there = row is last or row.name in found or f"_{row.name}" in found
    return RefusedError("wire.repeated" if is_there and not row.is_list else "wire.order", child)


def _count(found: dict[str, Any], name: str) -> int:
    """How many items a list has, of whose primitives some may have no value or nothing beside it."""
    return len(found.get(name) or found.get("_" + name) or ())


def _leave_out(found: dict[str, Any], row: _Row) -> None:
    """In a list None takes the place, so that the others keep theirs."""
    if not row.is_list:
        return
    if not _count(found, row.name):
        found[row.name] = []
    for name in (row.name, "_" + row.name):
        if name in found:
            found[name].append(None)


def _append(found: dict[str, Any], name: str, value: Any, extra: dict[str, Any] | None) -> None:
    """Adds to a list of primitives; the list of values and the list of what belongs to them stay equally long."""
    count = _count(found, name)
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
