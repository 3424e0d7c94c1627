"""Inwards: the resources of each record are found along the links of its table, and each row is read from its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from adapter.errors import Fault, Unmappable
from adapter.mapping.package import Document, Indexes, Resource, Resources
from adapter.tables import CodeTable, Path, Row, Step, Table, Tables


class Inward:
    """Resources on their way in."""

    def __init__(self, tables: Tables, resources: Resources) -> None:
        self.tables, self.resources = tables, resources

    def documents(self) -> Iterator[tuple[Table, Document, dict[str, str]]]:
        """For each focus: its table, the record's document, and the FHIR path of each field."""
        kinds = {table.focus for table in self.tables.records.values()}
        for number, resource in enumerate(self.resources.all):
            if resource.get("resourceType") in kinds:
                table = self._recognise(resource, number)
                document = self.document(table, resource)
                yield table, document, {row.field_text: row.path.text for row in table.fields}

    def document(self, table: Table, focus: Resource) -> Document:
        roots = self._roots(table, focus)
        document: Document = {}
        for row in table.fields:
            found = [] if row.codes and row.codes.one_way else list(self._values(row.path, roots, row.codes))
            for indexes, value in found:
                _set(document, row.field, indexes, self._value(row, value))
            if not found:
                self._fall_back(row, roots, document)
        return document

    def _fall_back(self, row: Row, roots: Mapping[str, list[Resource]], document: Document) -> None:
        for also in row.also:
            if also.codes and also.codes.one_way:
                continue
            for indexes, value in self._values(also.path, roots, also.codes):
                _set(document, row.field, indexes, self._value(row, value))

    def _recognise(self, focus: Resource, number: int) -> Table:
        for table in self.tables.records.values():
            known = table.recognise
            if table.focus == focus["resourceType"] and known:
                values = self._values(known.path, {table.focus: [focus]}, known.codes)
                if any(known.code is None or known.codes.code(value) == known.code for _, value in values):
                    return table
        wanted = ", ".join(
            f"{t.recognise.path.text} of {t.recognise.codes.systems[0]}"
            for t in self.tables.records.values()
            if t.recognise and t.focus == focus["resourceType"]
        )
        raise Unmappable(Fault("mapping.unrecognised", f"{focus['resourceType']} (resource {number + 1})", wanted))

    def _roots(self, table: Table, focus: Resource) -> dict[str, list[Resource]]:
        """The resource or resources that play each role, found along the links."""
        roots = {table.focus: [focus]}
        for role in table.roles[1:]:
            roots[role.name] = [
                resource
                for link in table.links
                for resource in (
                    self._forward(link, roots) if link.to == role.name else self._backward(link, role.name, focus)
                )
            ]
        return roots

    def _forward(self, link: Row, roots: Mapping[str, list[Resource]]) -> Iterator[Resource]:
        for root in roots.get(link.path.role, ()):
            for reference in _every(root, link.path.steps):
                resource = self._resolve(reference)
                if resource is not None and resource["resourceType"] == link.to:
                    yield resource

    def _backward(self, link: Row, role: str, focus: Resource) -> Iterator[Resource]:
        if link.path.role != role or link.to != focus["resourceType"]:
            return
        for resource in self.resources.all:
            if resource.get("resourceType") == role:
                references = list(self._forward(link, {role: [resource]}))
                if any(found is focus for found in references):
                    yield resource

    def _resolve(self, reference: Any) -> Resource | None:
        text = reference.get("reference") if isinstance(reference, dict) else None
        return self.resources.resolve(text) if isinstance(text, str) else None

    def _values(
        self, path: Path, roots: Mapping[str, list[Resource]], codes: CodeTable | None
    ) -> Iterator[tuple[Indexes, Any]]:
        for index, root in enumerate(roots.get(path.role, ())):
            yield from self._walk(root, path.steps, codes, (index,) if path.role_each else ())
            if not path.role_each:
                break

    def _walk(
        self, node: Any, steps: Sequence[Step], codes: CodeTable | None, indexes: Indexes
    ) -> Iterator[tuple[Indexes, Any]]:
        step, rest = steps[0], steps[1:]
        value = node.get(step.name) if isinstance(node, dict) else None
        if value is None:
            return
        items = [item for item in (value if isinstance(value, list) else [value]) if item is not None]
        if step.pattern is not None or step.accepts:
            items = [item for item in items if _matches(item, step)]
        if not rest and codes is not None:
            items = [key for key in (_decoded(item, codes, step) for item in items) if key is not None]
        for index, item in enumerate(items if step.each else items[:1]):
            deeper = (*indexes, index) if step.each else indexes
            if rest:
                yield from self._walk(item, rest, codes, deeper)
            else:
                yield deeper, item

    def _value(self, row: Row, value: Any) -> Any:
        if not row.party:
            return value
        table, reference = self.tables.parties[row.party], value
        resource = self._resolve(reference)
        if resource is None and isinstance(reference, dict) and "identifier" in reference:
            # A logical reference: the identifier is all that is said about the party.
            resource = {"resourceType": table.focus, "identifier": [reference["identifier"]]}
        if resource is None or resource["resourceType"] != table.focus:
            raise Unmappable(
                Fault("mapping.unresolved", row.path.text, f"a {table.focus} of the same package, or an identifier")
            )
        return self.document(table, resource)


def _every(node: Any, steps: Sequence[Step]) -> Iterator[Any]:
    """All values at a path, every item of every list."""
    if not steps:
        yield node
        return
    value = node.get(steps[0].name) if isinstance(node, dict) else None
    for item in value if isinstance(value, list) else [value] if value is not None else []:
        yield from _every(item, steps[1:])


def _matches(item: Any, step: Step) -> bool:
    """Whether an item belongs to the slice: accepted values for primitives, the pattern's codings for the rest."""
    if not isinstance(item, dict):
        return False
    accepts = step.accepts or {}
    if any(item.get(name) not in values for name, values in accepts.items()):
        return False
    return all(name in accepts or _holds(item.get(name), wanted) for name, wanted in (step.pattern or {}).items())


def _holds(value: Any, wanted: Any) -> bool:
    """FHIR's pattern[x]: everything that the pattern says is so; there may be more."""
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(_holds(value.get(name), inner) for name, inner in wanted.items())
    if isinstance(wanted, list):
        return isinstance(value, list) and all(any(_holds(item, inner) for item in value) for inner in wanted)
    return bool(value == wanted)


def _decoded(item: Any, codes: CodeTable, step: Step) -> str | None:
    """
    The record's value for a code. None: it is of another system, or nothing.

    Raises:
        Unmappable: it is of this system, and the table does not know it.
    """
    if step.element.type not in {"Coding", "CodeableConcept"}:
        pairs = [(codes.systems[0], item)]
    else:
        codings = item.get("coding", ()) if step.element.type == "CodeableConcept" else [item]
        pairs = [(coding.get("system"), coding.get("code")) for coding in codings]
    unknown = False
    for system, code in pairs:
        if system in codes.systems and code is not None:
            key = codes.key(code)
            if key is not None:
                return key
            unknown = True
    if unknown and codes.systems[0] not in _SHARED_SYSTEMS:
        raise Unmappable(Fault("mapping.unknown-code", step.element.path, f"code table {codes.name}"))
    return None


_SHARED_SYSTEMS: Final = frozenset(
    {"http://snomed.info/sct", "http://loinc.org", "http://hl7.se/fhir/ig/base/CodeSystem/SecurityLabel"}
)
"""Systems whose other codes may stand beside ours: they are named as losses, not refused."""


def _set(document: Document, path: Sequence[str], indexes: Indexes, value: Any) -> None:
    node: Any = document
    rest = list(indexes)
    for place, step in enumerate(path):
        name, last = step.removesuffix("[]"), place == len(path) - 1
        if name == step:
            if last:
                node[name] = value
            else:
                node = node.setdefault(name, {})
            continue
        items = node.setdefault(name, [])
        index = rest.pop(0)
        while len(items) <= index:
            items.append({})
        if last:
            items[index] = value
        else:
            node = items[index]
