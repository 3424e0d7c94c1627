"""
Outwards: a record's resources are constructed, row by row. An element stands in them only if a row wrote it, and a row
writes only if its category is permitted and the recipient is among those whom it is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapter.dates import Moment, day, written
from adapter.definitions import definitions
from adapter.domain import Category
from adapter.errors import Fault, Unmappable
from adapter.mapping.package import Document, Ids, Indexes, Permission, Resource, Traced, actor_keys
from adapter.tables import CodeTable, Path, Row, Step, Table, Tables


@dataclass
class Outward:
    """Records on their way out: their own resources and the parties so far, and who already stands among those."""

    tables: Tables
    permission: Permission | None
    ids: Ids
    trace: list[Traced] | None
    own: list[Resource] = field(default_factory=list)
    parties: list[Resource] = field(default_factory=list)
    known: dict[tuple[str, str], list[tuple[str, list[Resource]]]] = field(default_factory=dict)

    def record(self, table: Table, document: Document) -> None:
        made = _Construction(self, table, document)
        made.write()
        key = _key(table, document)
        for (role, indexes), resource in made.roots.items():
            resource["id"] = self.ids(role, "#".join((key, *map(str, indexes))))
        made.link()
        self.own.extend(made.finished())

    def party(self, table: Table, document: Document, *, needed: bool) -> Resource | None:
        """
        The reference to a party, whose resources join the package. The same party with other content becomes a second
        resource, so that nothing of either is lost. None: nothing of it is permitted, and it is not ``needed``.
        """
        made = _Construction(self, table, document)
        made.write()
        contents, key = made.finished(), _key(table, document)
        if contents == [made.new(table.focus)] and not needed:
            return None
        variants = self.known.setdefault((table.focus, key), [])
        for suffix, known in variants:
            if known == contents:
                return self._reference(table, key + suffix, contents)
        suffix = f"#{len(variants) + 1}" if variants else ""
        variants.append((suffix, [dict(resource) for resource in contents]))
        for (role, _), resource in made.roots.items():
            resource["id"] = self.ids(role, key + suffix)
        made.link()
        self.parties.extend(made.finished())
        return self._reference(table, key + suffix, contents)

    def _reference(self, table: Table, key: str, contents: list[Resource]) -> Resource:
        reference: Resource = {"reference": f"{table.focus}/{self.ids(table.focus, key)}"}
        for identifier in contents[0].get("identifier", ())[:1]:
            reference["identifier"] = {name: identifier[name] for name in ("system", "value") if name in identifier}
        return reference

    def permits(self, row: Row) -> bool:
        return self.permission is None or row.category in self.permission.categories

    def concerns(self, actor: Document | None) -> bool:
        """Whether what is about this actor may be heard by the recipient; what names no actor stays in care."""
        if self.permission is None or self.permission.only_for is None:
            return True
        return actor is not None and bool(
            actor_keys(actor.get("organisation_number"), actor.get("hsa_id")) & self.permission.only_for
        )


class _Construction:
    """The resources that one table makes of one document."""

    def __init__(self, writing: Outward, table: Table, document: Document) -> None:
        self.writing, self.table, self.document = writing, table, document
        self.roots: dict[tuple[str, Indexes], Resource] = {(table.focus, ()): self.new(table.focus)}
        self.nodes: dict[tuple[int, Indexes], Resource] = {}
        self.references: dict[str, Resource] = {}
        self.hidden = {
            (name, index)
            for name, inner in table.audiences.items()
            for index, item in enumerate(document.get(name, ()))
            if not writing.concerns(_inside(item, inner))
        }

    def new(self, resource_type: str) -> Resource:
        """A resource that says which profile it follows; the id is filled in when the whole of it is known."""
        profile = self.table.role[resource_type].profile_of(self.document)
        return {"resourceType": resource_type, "id": "", "meta": {"profile": [profile]}}

    def write(self) -> None:
        for name, rows in self.table.groups.items():
            if not name:
                for row in rows:
                    self._write(row, self.document, row.field, ())
                continue
            if not all(self.writing.permits(row) for row in rows if row.is_required):
                continue
            for index, item in enumerate(self.document.get(name, ())):
                for row in rows if (name, index) not in self.hidden else ():
                    self._write(row, item, row.field[1:], (index,))
        for row in self.table.fixed:
            if self.writing.permits(row):
                self._fixed(row)

    def _write(self, row: Row, node: Any, path: Sequence[str], indexes: Indexes) -> None:
        permitted = self.writing.permits(row)
        for deeper, value in _values(node, path, indexes):
            heard = permitted and (not row.audience or bool(indexes) or self.writing.concerns(value))
            if heard:
                self._row(row, deeper, value)
            if self.writing.trace is not None:
                self.writing.trace.append(Traced(row.id, row.field_text, row.path.text, row.category, heard))

    def link(self) -> None:
        """Write the references between the resources, once all of them have ids. What cannot stand alone is left out."""
        self.roots = {
            key: each for key, each in self.roots.items() if key == (self.table.focus, ()) or self._stands(each)
        }
        for row in self.table.links:
            if not self.writing.permits(row):
                continue
            targets = [{"reference": f"{name}/{r['id']}"} for (name, _), r in self.roots.items() if name == row.to]
            if row.to in self.references:
                targets = [self.references[row.to]]
            for role, indexes in [key for key in self.roots if key[0] == row.path.role]:
                for target in targets:
                    self._put(row.path, indexes, dict(target), root=(role, indexes))

    def _stands(self, resource: Resource) -> bool:
        """Whether a resource beside the focus has what FHIR requires of it: what was not permitted may be missing."""
        shape = definitions(self.writing.tables.release).shape(resource["resourceType"])
        linked = {row.path.steps[0].name for row in self.table.links}
        required = [element.name for element in shape.elements if element.min] if shape else []
        return all(name in resource or name in linked for name in required)

    def finished(self) -> list[Resource]:
        return list(self.roots.values())

    def _row(self, row: Row, indexes: Indexes, value: Any) -> None:
        if row.party:
            needed = row.category is Category.ADMINISTRATIVE
            reference = self.writing.party(self.writing.tables.parties[row.party], value, needed=needed)
            if reference is None:
                return
            self.references[row.field_text] = reference
            for path in (row.path, *(also.path for also in row.also)):
                self._put(path, indexes, dict(reference))
            return
        kept = value if row.convert is None else str(day(Moment(value)))
        self._put(row.path, indexes, _coded(row.path, row.codes, kept, row))
        for also in row.also:
            if also.codes and also.codes.partial and also.codes.code(value) is None:
                continue
            other = str(written(Moment(kept).earliest)) if also.convert == "instant" else kept
            self._put(also.path, indexes, _coded(also.path, also.codes, other, row))

    def _fixed(self, row: Row) -> None:
        if row.path.role_each or row.path.role != self.table.focus:
            for role, indexes in [key for key in self.roots if key[0] == row.path.role]:
                self._put(row.path, indexes, row.fixed, root=(role, indexes))
        elif any(step.each for step in row.path.steps):
            last = max(n for n, step in enumerate(row.path.steps) if step.each)
            slot = row.path.steps[last].slot
            for indexes in [key[1] for key in self.nodes if key[0] == slot]:
                self._put(row.path, indexes, row.fixed)
        else:
            self._put(row.path, (), row.fixed)

    def _put(self, path: Path, indexes: Indexes, value: Any, *, root: tuple[str, Indexes] | None = None) -> None:
        key = root or (path.role, indexes[:1] if path.role_each else ())
        node = self.roots[key] if key in self.roots else self.roots.setdefault(key, self.new(path.role))
        for step in path.steps[:-1]:
            node = self._descend(node, step, indexes[: step.depth])
        leaf = path.steps[-1]
        if leaf.element.is_list:
            node.setdefault(leaf.name, []).append(value)
        elif isinstance(value, dict) and isinstance(node.get(leaf.name), dict):
            node[leaf.name]["coding"] = [*node[leaf.name].get("coding", ()), *value["coding"]]
        else:
            node[leaf.name] = value

    def _descend(self, node: Resource, step: Step, indexes: Indexes) -> Resource:
        key = (step.slot, indexes)
        if key in self.nodes:
            return self.nodes[key]
        made = dict(step.pattern) if step.pattern else {}
        if step.element.is_list:
            if step.each or step.pattern is not None or step.name not in node:
                node.setdefault(step.name, []).append(made)
            else:
                made = node[step.name][0]
        else:
            made = node.setdefault(step.name, made)
        self.nodes[key] = made
        return made


def _values(node: Any, path: Sequence[str], indexes: Indexes = ()) -> Iterator[tuple[Indexes, Any]]:
    """Each value at a field path of a document, with the index of every list item passed."""
    if not path:
        yield indexes, node
        return
    name = path[0].removesuffix("[]")
    value = node.get(name)
    if value is None:
        return
    if name == path[0]:
        yield from _values(value, path[1:], indexes)
        return
    for index, item in enumerate(value):
        yield from _values(item, path[1:], (*indexes, index))


def values_at(document: Document, path: Sequence[str]) -> list[Any]:
    """Every value at a field path of a document."""
    return [value for _, value in _values(document, path)]


def _coded(path: Path, codes: CodeTable | None, value: Any, row: Row) -> Any:
    """A record's value as its element wants it: plain, as a code, a Coding or a CodeableConcept."""
    if codes is None:
        return value
    code = codes.code(value)
    if code is None:
        raise Unmappable(Fault("mapping.uncoded", row.field_text, f"code table {codes.name}"))
    if path.leaf.type not in {"Coding", "CodeableConcept"}:
        return code
    coding = {"system": codes.systems[0], "code": code}
    return coding if path.leaf.type == "Coding" else {"coding": [coding]}


def _key(table: Table, document: Document) -> str:
    return "|".join(str(_inside(document, path) or "") for path in table.key)


def _inside(node: Any, path: Sequence[str]) -> Any:
    for name in path:
        node = node.get(name) if node is not None else None
    return node
