"""
Records to FHIR and back, by the rows of the tables and nothing else.

Outwards, a resource is *constructed*: an element stands in it only if a row wrote it, and a row writes only if its
category is permitted. Inwards, what the rows understood is mapped out again and compared with what came: every
element that does not come back the same is named in the loss report.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, Self, TypeAlias

from adapter.dates import Moment, written
from adapter.definitions import definitions
from adapter.domain import Category, Record, read_record, written_record
from adapter.errors import Fault, Invalid, Unmappable
from adapter.sweden import Mode
from adapter.tables import CANONICAL, CodeTable, Path, Row, Step, Table, Tables

Document: TypeAlias = dict[str, Any]
Resource: TypeAlias = dict[str, Any]
Ids: TypeAlias = Callable[[str, str], str]
Indexes: TypeAlias = tuple[int, ...]

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, CANONICAL)


def public_ids(resource_type: str, business_key: str) -> str:
    """
    A logical id that anyone can compute again (UUIDv5). For files and tests: it can be guessed back from an identity
    number, so the gate uses keyed ids instead.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{resource_type}|{business_key}"))


@dataclass(frozen=True, slots=True)
class Permission:
    """
    What may be mapped out: rows of these categories. With ``only_for``, what is about an outside actor is mapped only
    if the actor has one of these keys (``actor_keys``); None means every actor.
    """

    categories: frozenset[Category]
    only_for: frozenset[str] | None = None


def actor_keys(organisation_number: str | None, hsa_id: str | None) -> frozenset[str]:
    """The keys by which an outside actor is compared."""
    keys = {f"orgnr|{organisation_number}" if organisation_number else "", f"hsaid|{hsa_id.upper()}" if hsa_id else ""}
    return frozenset(keys - {""})


@dataclass(frozen=True, slots=True)
class Traced:
    """One line of lineage: which row carried which field where, and whether it was permitted."""

    row: str
    field: str
    path: str
    category: str
    written: bool


@dataclass(frozen=True, slots=True)
class Package:
    """The resources of one record or several, the focus first. References inside it are ``Type/id``."""

    resources: tuple[Resource, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """The records that resources held, and what the records cannot give back (``mapping.lost``, ``mapping.changed``)."""

    records: tuple[Record, ...]
    losses: tuple[Fault, ...]
    warnings: tuple[Fault, ...] = ()


class Mapper:
    """Both directions for the tables of one release. Holds no state between calls."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def to_fhir(
        self,
        record: Record,
        *,
        permission: Permission | None = None,
        ids: Ids = public_ids,
        trace: list[Traced] | None = None,
    ) -> Package:
        """
        The package of resources for a record; with ``permission``, only what it permits. Without, everything.
        ``trace`` is filled with the lineage of every value, written or withheld.

        Raises:
            Unmappable: a value has no code.
        """
        return self.to_fhir_together([record], permission=permission, ids=ids, trace=trace)

    def to_fhir_together(
        self,
        records: Iterable[Record],
        *,
        permission: Permission | None = None,
        ids: Ids = public_ids,
        trace: list[Traced] | None = None,
    ) -> Package:
        """
        As ``to_fhir``, for several records in one package: their own resources first, in order; a party that several
        name stands in it once.
        """
        writing = _Writing(self.tables, permission, ids, trace)
        for record in records:
            writing.record(self.tables.records[record.record], written_record(record))
        return Package((*writing.own, *writing.parties))

    def from_fhir(
        self, body: Resource | Sequence[Resource], *, mode: Mode = "production", today: date | None = None
    ) -> Reading:
        """
        Every record that a Bundle, a resource or several hold. They may refer to each other by ``Type/id`` or by the
        ``fullUrl`` of their entries; the focus of a record is a Task, CarePlan or Consent that a table recognises.

        Raises:
            Unmappable: no record, an unrecognised focus, an unknown code, or an element that changes the meaning of what
                it stands in (modifier) and that no row reads.
            Invalid: the record so read is not one; places are FHIR paths.
        """
        came = _Resources.of(body)
        reading = _Reading(self.tables, came)
        records: list[Record] = []
        warnings: list[Fault] = []
        for table, document, places in reading.documents():
            try:
                record, noted = read_record({"record": table.name, **document}, mode=mode, today=today)
            except Invalid as error:
                raise Invalid([_placed(fault, places) for fault in error.faults]) from None
            records.append(record)
            warnings.extend(noted)
        if not records:
            raise Unmappable(Fault("mapping.no-record", "Bundle", "Task, CarePlan or Consent with a coding of ours"))
        returned = [resource for record in records for resource in self.to_fhir(record).resources]
        losses = _losses(came, _Resources.of(returned))
        refused = [loss for loss in losses if loss.severity == "error"]
        if refused:
            raise Unmappable(refused)
        return Reading(tuple(records), losses, tuple(warnings))


def transaction(package: Package) -> Resource:
    """The package as a transaction Bundle of ``PUT Type/id``: a repeat does no harm on any server."""
    return _bundle(
        "transaction", package, lambda r: {"request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}}
    )


def collection(package: Package) -> Resource:
    """The package as a collection Bundle, for files and for people."""
    return _bundle("collection", package, lambda _: {})


def searchset(packages: Sequence[Package]) -> Resource:
    """
    The packages as the answer to a search: each focus a match, what they refer to included, each resource once (the
    newest package's, if they differ). Without a total: it would count what is not shown.
    """
    matches = {_name(package.resources[0]) for package in packages}
    resources = {_name(resource): resource for package in packages for resource in package.resources}
    merged = Package(tuple(sorted(resources.values(), key=lambda resource: _name(resource) not in matches)))
    return _bundle("searchset", merged, lambda r: {"search": {"mode": "match" if _name(r) in matches else "include"}})


def _name(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _bundle(kind: str, package: Package, extra: Callable[[Resource], Mapping[str, Any]]) -> Resource:
    # A relative reference resolves against the fullUrl of its entry, so the fullUrl is of the form base/Type/id.
    entries = [
        {"fullUrl": f"{CANONICAL}/{r['resourceType']}/{r['id']}", "resource": r, **extra(r)} for r in package.resources
    ]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


@dataclass(frozen=True, slots=True)
class _Resources:
    """Resources, and each by the names that references use for it."""

    all: tuple[Resource, ...]
    named: Mapping[str, Resource]

    @classmethod
    def of(cls, body: Resource | Sequence[Resource]) -> Self:
        entries: Iterable[Resource] = [body] if isinstance(body, dict) else body
        urls: dict[str, Resource] = {}
        if isinstance(body, dict) and body.get("resourceType") == "Bundle":
            filled = [entry for entry in body.get("entry", ()) if "resource" in entry]
            entries = [entry["resource"] for entry in filled]
            urls = {entry["fullUrl"]: entry["resource"] for entry in filled if "fullUrl" in entry}
        found = tuple(entries)
        return cls(found, {**{_name(each): each for each in found if "id" in each}, **urls})

    def resolve(self, reference: str) -> Resource | None:
        """The resource that a reference leads to: by full url, or relative, absolute or with a version by ``Type/id``."""
        plain = reference.partition("/_history/")[0]
        return self.named.get(plain) or self.named.get("/".join(plain.split("/")[-2:]))


# outwards


@dataclass
class _Writing:
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

    def party(self, table: Table, document: Document) -> Resource:
        """
        The reference to a party, whose resources join the package. The same party with other content becomes a second
        resource, so that nothing of either is lost.
        """
        made = _Construction(self, table, document)
        made.write()
        contents, key = made.finished(), _key(table, document)
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

    def __init__(self, writing: _Writing, table: Table, document: Document) -> None:
        self.writing, self.table, self.document = writing, table, document
        self.roots: dict[tuple[str, Indexes], Resource] = {(table.focus, ()): _new(table.focus)}
        self.nodes: dict[tuple[int, Indexes], Resource] = {}
        self.references: dict[str, Resource] = {}
        self.hidden = {
            (name, index)
            for name, inner in table.audiences.items()
            for index, item in enumerate(document.get(name, ()))
            if not writing.concerns(_inside(item, inner))
        }

    def write(self) -> None:
        for name, rows in self.table.groups.items():
            if not name:
                for row in rows:
                    self._write(row, self.document, row.field, ())
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
        """Write the references between the resources, once all of them have ids."""
        for row in self.table.links:
            if not self.writing.permits(row):
                continue
            targets = [{"reference": f"{name}/{r['id']}"} for (name, _), r in self.roots.items() if name == row.to]
            if row.to in self.references:
                targets = [self.references[row.to]]
            for role, indexes in [key for key in self.roots if key[0] == row.path.role]:
                for target in targets:
                    self._put(row.path, indexes, dict(target), root=(role, indexes))

    def finished(self) -> list[Resource]:
        return list(self.roots.values())

    def _row(self, row: Row, indexes: Indexes, value: Any) -> None:
        if row.party:
            reference = self.writing.party(self.writing.tables.parties[row.party], value)
            self.references[row.field_text] = reference
            self._put(row.path, indexes, reference)
        else:
            self._put(row.path, indexes, _coded(row.path, row.codes, value, row))
        for also in row.also:
            if also.codes and also.codes.partial and also.codes.code(value) is None:
                continue
            other = str(written(Moment(value).earliest)) if also.convert == "instant" else value
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
        node = self.roots.setdefault(key, _new(path.role))
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


def _new(resource_type: str) -> Resource:
    """An empty resource; the id is filled in when the whole of it is known."""
    return {"resourceType": resource_type, "id": ""}


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


# inwards


class _Reading:
    """Resources on their way in."""

    def __init__(self, tables: Tables, resources: _Resources) -> None:
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
                _set(document, row.field, indexes, value)

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


def _placed(fault: Fault, places: Mapping[str, str]) -> Fault:
    """The same fault at the FHIR path that the field is read from."""
    plain = re.sub(r"\[[0-9]+\]", "[]", fault.where)
    path = next(
        (path for field_path, path in places.items() if field_path == plain or field_path.startswith(plain + ".")), None
    )
    return Fault(fault.code, f"{path} ({fault.where})" if path else fault.where, fault.why, severity=fault.severity)


# what is lost


def _losses(came: _Resources, returned: _Resources) -> tuple[Fault, ...]:
    """
    Every leaf of ``came`` that ``returned`` does not hold, by path and value. Logical ids and the text of references
    that resolve are left out: they are rebuilt from business identifiers.
    """
    kept = Counter((path, value) for path, _, value in _leaves(returned))
    paths = {path for path, _ in kept}
    faults = []
    for path, where, value in _leaves(came):
        if kept[path, value] > 0:
            kept[path, value] -= 1
        elif _changes_meaning(path, value):
            faults.append(Fault("mapping.modifier", where))
        else:
            faults.append(Fault(f"mapping.{'changed' if path in paths else 'lost'}", where, severity="warning"))
    return tuple(faults)


_HARMLESS: Final[Mapping[str, Callable[[str], bool]]] = {
    "active": lambda value: value == "bool:True",
    "doNotPerform": lambda value: value == "bool:False",
    "use": lambda value: value not in {"str:old", "str:temp"},
}
"""Modifier elements that say what would be assumed without them."""


def _changes_meaning(path: str, value: str) -> bool:
    """Whether a lost element changes how the rest must be read (FHIR: modifier elements and extensions)."""
    parts = path.split(".")
    if "modifierExtension" in parts or parts[-1] == "implicitRules":
        return True
    harmless = _HARMLESS.get(parts[-1])
    if harmless is not None and harmless(value):
        return False
    known = definitions("R4")
    elements = (known.element(".".join(parts[:length])) for length in range(2, len(parts) + 1))
    return any(element is not None and element.is_modifier for element in elements)


def _leaves(resources: _Resources) -> Iterator[tuple[str, str, str]]:
    """Each primitive of the resources: path without and with indexes, and its value as text."""
    for resource in resources.all:
        name = str(resource.get("resourceType"))
        inner = {key: value for key, value in resource.items() if key not in {"resourceType", "id"}}
        stack: list[tuple[str, str, Any]] = [(name, name, inner)]
        while stack:
            path, where, value = stack.pop()
            if isinstance(value, dict):
                stack.extend((f"{path}.{key}", f"{where}.{key}", item) for key, item in reversed(value.items()))
            elif isinstance(value, list):
                stack.extend((path, f"{where}[{n}]", item) for n, item in reversed(list(enumerate(value))))
            elif path.endswith(".reference") and isinstance(value, str) and resources.resolve(value):
                yield path, where, "→"
            elif value is not None:
                yield path, where, f"{type(value).__name__}:{value}"
