"""
The mapping tables: read from ``mappings/``, checked against the records and against FHIR's definitions, printed as pages.

One row says which record field stands at which FHIR path, how it is coded, what kind of information it is, and on
which source. Everything else is driven by the rows: both directions, the loss report, the disclosure filter, the docs.
Loading fails on the first start with a table that is wrong; nothing is mapped by a table that was not checked.

Paths are written as in FHIR's element ids: ``Task.extension:met[].extension:actor.valueReference``. ``[]`` repeats
together with the ``[]`` of the field; ``:name`` is a slice, ``extension:name`` the adapter's own extension of that name.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path as File
from types import UnionType
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel

from adapter import domain
from adapter.definitions import Definitions, Element, Release, definitions
from adapter.domain import Category
from adapter.errors import Fault, Misconfigured
from adapter.resources import folder

CANONICAL: Final = "https://koord.example/fhir"
EXTENSION: Final = f"{CANONICAL}/StructureDefinition/"

Pattern: TypeAlias = Mapping[str, Any]
Model: TypeAlias = type[BaseModel]


@dataclass(frozen=True)
class CodeTable:
    """
    A list of codes: ``keys`` from record value to code, ``read`` from code (aliases too) to record value.

    ``systems[0]`` is written, all are read. ``one_way``: several keys may share a code, so it is never read.
    ``partial``: not every key has a code. ``is_open``: any code is its own key.
    """

    name: str
    title: str
    systems: tuple[str, ...]
    keys: Mapping[str, str]
    read: Mapping[str, str]
    one_way: bool
    partial: bool
    is_open: bool
    rows: tuple[Mapping[str, Any], ...]

    def code(self, key: str) -> str | None:
        return key if self.is_open else self.keys.get(key)

    def key(self, code: str) -> str | None:
        return code if self.is_open else self.read.get(code)


@dataclass(frozen=True)
class Step:
    """One step of a FHIR path. ``slot`` numbers the distinct prefixes of a table; ``depth`` counts the ``[]`` up to here."""

    name: str
    element: Element
    slot: int
    depth: int
    each: bool = False
    pattern: Pattern | None = None
    accepts: Mapping[str, frozenset[str]] | None = None


@dataclass(frozen=True)
class Path:
    """A place in one of the table's resources: ``role`` is the resource's name in the table."""

    text: str
    role: str
    role_each: bool
    steps: tuple[Step, ...]

    @property
    def leaf(self) -> Element:
        return self.steps[-1].element

    @property
    def depth(self) -> int:
        return int(self.role_each) + sum(step.each for step in self.steps)


@dataclass(frozen=True)
class Also:
    """A second place that a row writes, and reads when the first is empty."""

    path: Path
    codes: CodeTable | None
    convert: Literal["instant"] | None


@dataclass(frozen=True)
class Row:
    """
    One row: a *field* row (``field`` ↔ ``path``), a *fixed* row (``fixed`` at ``path``) or a *link* row (``path`` → ``to``).

    ``audience``: what it carries is about one outside actor and is for nobody else.
    """

    id: str
    path: Path
    category: Category
    source: str
    why: str = ""
    field: tuple[str, ...] = ()
    codes: CodeTable | None = None
    party: str = ""
    audience: bool = False
    also: tuple[Also, ...] = ()
    fixed: Any = None
    to: str = ""

    @property
    def field_text(self) -> str:
        return ".".join(self.field)


@dataclass(frozen=True)
class Role:
    """A resource that the table makes; ``each``: one per item of a list."""

    name: str
    each: bool


@dataclass(frozen=True)
class Recognise:
    """How the table knows its resources: a coding of ``codes`` at ``path``, or just the one ``code``."""

    path: Path
    codes: CodeTable
    code: str | None


@dataclass(frozen=True)
class Table:
    """The rows of one record kind or of one kind of party."""

    name: str
    title: str
    model: Model
    key: tuple[tuple[str, ...], ...]
    roles: tuple[Role, ...]
    rows: tuple[Row, ...]
    recognise: Recognise | None

    @property
    def focus(self) -> str:
        return self.roles[0].name

    @cached_property
    def fields(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.field)

    @cached_property
    def groups(self) -> Mapping[str, tuple[Row, ...]]:
        """The field rows by the list of the record whose items they describe; those of no list under ``""``."""
        found: dict[str, list[Row]] = {}
        for row in self.fields:
            name = row.field[0]
            found.setdefault(name.removesuffix("[]") if name.endswith("[]") else "", []).append(row)
        return {name: tuple(rows) for name, rows in found.items()}

    @cached_property
    def fixed(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.fixed is not None)

    @cached_property
    def links(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.to)

    @cached_property
    def audiences(self) -> Mapping[str, tuple[str, ...]]:
        """For each list of the record that is about outside actors: where the actor stands inside an item."""
        found = {}
        for row in self.fields:
            if row.audience and "[]" in "".join(row.field):
                last = max(n for n, step in enumerate(row.field) if step.endswith("[]"))
                found[row.field[last].removesuffix("[]")] = row.field[last + 1 :]
        return found


@dataclass(frozen=True)
class Tables:
    """All tables of one release, with their codes and the region's overlays in place."""

    release: Release
    records: Mapping[str, Table]
    parties: Mapping[str, Table]
    codes: Mapping[str, CodeTable]


@cache
def load(release: Release = "R4", overlays: tuple[File, ...] = (), root: File | None = None) -> Tables:
    """
    Read and check every table.

    ``overlays``: files of a region that change or add codes (``[[code]] table, key, code`` and ``[[system]] table,
    system``). ``root``: another folder of tables, for tests.

    Raises:
        Misconfigured: every fault found, each with file and row.
    """
    return _Loader(definitions(release), root or folder("mappings"), overlays).load()


class _Loader:
    def __init__(self, known: Definitions, root: File, overlays: Sequence[File]) -> None:
        self.known, self.root, self.overlays = known, root, overlays
        self.faults: list[Fault] = []
        self.codes: dict[str, CodeTable] = {}

    def load(self) -> Tables:
        self.codes = self._code_tables()
        records = [
            self._table(file, "record", domain.RECORDS)
            for file in self._files("*.toml")
            if "record" in self._read(file)
        ]
        parties = [self._table(file, "party", None) for file in self._files("parties/*.toml")]
        by_model = {table.model: table.name for table in parties if table}
        for table in [*records, *parties]:
            if table:
                self.faults.extend(_Check(table, by_model).faults())
        for name in domain.RECORDS:
            if name not in {table.name for table in records if table}:
                self.fault("table-missing", name, "every record kind has a table")
        if self.faults:
            raise Misconfigured(self.faults)
        return Tables(
            release=self.known.release,
            records={table.name: table for table in records if table},
            parties={table.name: table for table in parties if table},
            codes=self.codes,
        )

    def _files(self, pattern: str) -> list[File]:
        return sorted(self.root.glob(pattern))

    def fault(self, code: str, where: str, why: str) -> None:
        self.faults.append(Fault(f"mapping.{code}", where, why))

    def _read(self, file: File) -> dict[str, Any]:
        try:
            return tomllib.loads(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise Misconfigured(Fault("mapping.table-unreadable", file.name, type(error).__name__)) from error

    # codes

    def _code_tables(self) -> dict[str, CodeTable]:
        raw = {file.stem: self._read(file) for file in self._files("codes/*.toml")}
        for overlay in self.overlays:
            self._overlay(raw, overlay)
        return {name: self._code_table(name, table) for name, table in raw.items()}

    def _overlay(self, raw: dict[str, dict[str, Any]], overlay: File) -> None:
        changes = self._read(overlay)
        for part, row in [(name, row) for name in ("system", "code") for row in changes.pop(name, ())]:
            table = raw.get(row.get("table", ""))
            if table is None:
                self.fault("overlay", overlay.name, "no such code table")
            elif part == "system":
                table["accept_systems"] = [table["system"], *table.get("accept_systems", ())]
                table["system"] = row["system"]
            else:
                kept = [old for old in table.get("code", ()) if old["key"] != row["key"]]
                table["code"] = [
                    *kept,
                    {"source": f"overlay {overlay.name}", **{k: v for k, v in row.items() if k != "table"}},
                ]
        for unknown in changes:
            self.fault("overlay", overlay.name, f"unknown part {unknown}")

    def _code_table(self, name: str, raw: dict[str, Any]) -> CodeTable:
        rows = tuple(raw.get("code", ()))
        read: dict[str, str] = {}
        for row in rows:
            for code in (row["code"], *row.get("accept", ())):
                if code in read and not raw.get("one_way"):
                    self.fault("codes-pair", f"codes/{name}.toml", f"two keys share a code: {read[code]}, {row['key']}")
                read[code] = row["key"]
            if not row.get("source"):
                self.fault("row-source", f"codes/{name}.toml {row['key']}", "every code has a source")
        if len({row["key"] for row in rows}) != len(rows):
            self.fault("codes-pair", f"codes/{name}.toml", "a key stands twice")
        return CodeTable(
            name=name,
            title=raw["title"],
            systems=(raw["system"], *raw.get("accept_systems", ())),
            keys={row["key"]: row["code"] for row in rows},
            read={} if raw.get("one_way") else read,
            one_way=raw.get("one_way", False),
            partial=raw.get("partial", False),
            is_open=raw.get("open", False),
            rows=rows,
        )

    # tables

    def _table(self, file: File, kind: str, models: Mapping[str, Model] | None) -> Table | None:
        raw = self._read(file)
        included = [self._read(self.root / f"{name}.toml") for name in raw.get("include", ())]
        name = raw.get(kind, "")
        model = models.get(name) if models is not None else getattr(domain, raw.get("model", ""), None)
        if model is None:
            self.fault("table-missing", file.name, f"`{kind}` names nothing known")
            return None
        parts = [raw, *included]
        slices = {path: pattern for part in parts for path, pattern in part.get("slice", {}).items()}
        resources = [row["name"] for part in parts for row in part.get("resource", ())]
        reader = _Paths(self, file.name, slices, resources)
        rows = [self._row(reader, name, row) for part in parts for row in part.get("row", ())]
        return Table(
            name=name,
            title=raw["title"],
            model=model,
            key=tuple(tuple(field.split(".")) for field in raw["key"]),
            roles=tuple(Role(text.removesuffix("[]"), text.endswith("[]")) for text in resources),
            rows=tuple(row for row in rows if row),
            recognise=self._recognise(reader, raw.get("recognise")),
        )

    def _recognise(self, reader: _Paths, raw: Mapping[str, Any] | None) -> Recognise | None:
        if raw is None:
            return None
        path = reader.path(raw["path"])
        table, _, key = raw.get("code", raw.get("codes", "")).partition(".")
        codes = self._codes(reader.file, table)
        return Recognise(path, codes, codes.code(key) if key else None) if path and codes else None

    def _codes(self, where: str, name: str) -> CodeTable | None:
        if name not in self.codes:
            self.fault("codes-unknown", where, f"no code table {name}")
        return self.codes.get(name)

    _KEYS = frozenset(
        {"field", "path", "fixed", "link", "to", "codes", "party", "audience", "also", "category", "source", "why"}
    )

    def _row(self, reader: _Paths, table: str, raw: dict[str, Any]) -> Row | None:
        label = raw.get("field") or raw.get("link") or raw.get("path", "")
        where = f"{reader.file} {label}"
        if set(raw) - self._KEYS:
            self.fault("row-key", where, ", ".join(sorted(set(raw) - self._KEYS)))
        if raw.get("category") not in set(Category):
            self.fault("row-category", where, "every row has a category")
            return None
        if not raw.get("source"):
            self.fault("row-source", where, "every row has a source")
        path = reader.path(raw.get("path") or raw.get("link", ""))
        if path is None:
            return None
        return Row(
            id=f"{table}:{label}",
            path=path,
            category=Category(raw["category"]),
            source=raw.get("source", ""),
            why=raw.get("why", ""),
            field=tuple(raw["field"].split(".")) if "field" in raw else (),
            codes=self._codes(where, raw["codes"]) if "codes" in raw else None,
            party=raw.get("party", ""),
            audience=raw.get("audience", False),
            also=tuple(also for also in (self._also(reader, where, one) for one in raw.get("also", ())) if also),
            fixed=self.value(path.leaf, raw["fixed"]) if "fixed" in raw else None,
            to=raw.get("to", "").removesuffix("[]"),
        )

    def _also(self, reader: _Paths, where: str, raw: Mapping[str, Any]) -> Also | None:
        path = reader.path(raw["path"])
        if path is None:
            return None
        return Also(path, self._codes(where, raw["codes"]) if "codes" in raw else None, raw.get("convert"))

    def value(self, element: Element, text: str) -> Any:
        """A literal of a table: plain for primitives, ``table.key`` for coded types."""
        if element.type not in {"Coding", "CodeableConcept"}:
            return text
        table, _, key = text.partition(".")
        codes = self._codes(element.path, table)
        code = codes and codes.code(key)
        if codes is None or code is None:
            self.fault("codes-unknown", element.path, f"no code {text}")
            return {}
        coding = {"system": codes.systems[0], "code": code}
        return coding if element.type == "Coding" else {"coding": [coding]}


class _Paths:
    """Reads the paths of one table and gives the same slot to the same prefix."""

    def __init__(self, loader: _Loader, file: str, slices: Mapping[str, Any], roles: Sequence[str]) -> None:
        self.loader, self.file, self.slices = loader, file, slices
        self.roles = {role.removesuffix("[]"): role.endswith("[]") for role in roles}
        self.slots: dict[str, int] = {}

    def path(self, text: str) -> Path | None:
        head, *rest = text.split(".")
        role = head.removesuffix("[]")
        if self.roles.get(role) != head.endswith("[]") or not rest:
            self.loader.fault("path-unknown", f"{self.file} {text}", "no such resource in this table")
            return None
        steps: list[Step] = []
        plain, prefix, depth = role, head, int(head.endswith("[]"))
        for word in rest:
            name, _, label = word.removesuffix("[]").partition(":")
            each = word.endswith("[]")
            plain, prefix, depth = f"{plain}.{name}", f"{prefix}.{word}", depth + each
            element = self.loader.known.element(plain)
            if element is None or (each and not element.is_list):
                self.loader.fault(
                    "path-unknown", f"{self.file} {text}", f"FHIR {self.loader.known.release} has no such element"
                )
                return None
            pattern, accepts = self._slice(prefix, element, label) if label else (None, None)
            slot = self.slots.setdefault(prefix, len(self.slots))
            steps.append(Step(name, element, slot, depth, each, pattern, accepts))
        return Path(text, role, self.roles[role], tuple(steps))

    def _slice(self, prefix: str, element: Element, label: str) -> tuple[Pattern, Mapping[str, frozenset[str]]]:
        """What a slice writes, and which values of its primitives it reads."""
        raw = self.slices.get(prefix.removesuffix("[]"))
        if raw is None and element.name == "extension":
            nested = prefix.count("extension:") > 1
            url = label if nested else EXTENSION + label
            return {"url": url}, {"url": frozenset({url})}
        if raw is None:
            self.loader.fault("slice-unknown", f"{self.file} {prefix}", "no such slice in this table")
            return {}, {}
        if isinstance(raw, str):
            table, _, key = raw.partition(".")
            row = next((row for row in self.loader.codes[table].rows if row["key"] == key), None)
            if row is None:
                self.loader.fault("codes-unknown", f"{self.file} {prefix}", f"no code {raw}")
                return {}, {}
            return {"system": row["code"]}, {"system": frozenset({row["code"], *row.get("accept", ())})}
        return self._pattern(prefix, element, raw)

    def _pattern(
        self, prefix: str, element: Element, raw: Mapping[str, str]
    ) -> tuple[Pattern, Mapping[str, frozenset[str]]]:
        pattern: dict[str, Any] = {}
        accepts: dict[str, frozenset[str]] = {}
        for name, text in raw.items():
            inner = self.loader.known.shape_of(element)
            child = inner.properties.get(name) if inner else None
            if child is None:
                self.loader.fault("slice-unknown", f"{self.file} {prefix}", f"no element {name}")
            elif text.startswith("in:"):
                accepts[name] = frozenset(self.loader.codes[text.removeprefix("in:")].read)
            else:
                value = self.loader.value(child, text)
                pattern[name] = [value] if child.is_list else value
        return pattern, accepts


class _Check:
    """A table against its record: every field once, every member coded, every ``[]`` paired, every party of its kind."""

    def __init__(self, table: Table, parties: Mapping[Model, str]) -> None:
        self.table, self.parties = table, parties

    def faults(self) -> Iterator[Fault]:
        leaves = dict(_leaves(self.table.model, self.parties))
        rows = {row.field_text: row for row in self.table.fields}
        for field, count in Counter(row.field_text for row in self.table.fields).items():
            if count > 1:
                yield self._fault("field-twice", field, "one field, one row")
        for field in sorted(leaves.keys() - rows.keys()):
            yield self._fault("field-unmapped", field, "every field of a record has a row")
        for field in sorted(rows.keys() - leaves.keys()):
            yield self._fault("field-unknown", field, "the record has no such field")
        for field, row in rows.items():
            if field in leaves:
                yield from self._row(row, leaves[field])
        for row in self.table.links:
            if row.to not in {role.name for role in self.table.roles} | {
                row.field_text for row in self.table.fields if row.party
            }:
                yield self._fault("link-unknown", row.id, "links lead to a resource or to a party of this table")

    def _row(self, row: Row, kind: Any) -> Iterator[Fault]:
        if row.field_text.count("[]") != row.path.depth:
            yield self._fault("repeats", row.field_text, "as many [] in the path as in the field")
        party = self.parties.get(kind, "") if isinstance(kind, type) else ""
        if row.party != party:
            yield self._fault("party", row.field_text, f"the field holds {party or 'no party'}")
        if row.codes and isinstance(kind, type) and issubclass(kind, StrEnum):
            for table in [row.codes, *(also.codes for also in row.also if also.codes)]:
                yield from self._members(row, table, kind)

    def _members(self, row: Row, table: CodeTable, kind: type[StrEnum]) -> Iterator[Fault]:
        members = {str(member) for member in kind}
        for key in sorted(members - table.keys.keys()):
            if not table.partial:
                yield self._fault("member-uncoded", row.field_text, f"{table.name} has no code for {key}")
        for key in sorted(table.keys.keys() - members):
            yield self._fault(
                "member-unknown", row.field_text, f"{table.name} codes {key}, which the record does not have"
            )

    def _fault(self, code: str, where: str, why: str) -> Fault:
        return Fault(f"mapping.{code}", f"{self.table.name} {where}", why)


def _leaves(model: Model, parties: Mapping[Model, str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field path of a record that a row must carry, with what it holds."""
    for name, field in model.model_fields.items():
        if name != "record":
            yield from _leaf(f"{prefix}{name}", field.annotation, parties)


def _leaf(path: str, kind: Any, parties: Mapping[Model, str]) -> Iterator[tuple[str, Any]]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        yield from _leaf(path, inner[0], parties)
    elif origin is tuple:
        yield from _leaf(f"{path}[]", arguments[0], parties)
    elif isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in parties:
        yield from _leaves(kind, parties, f"{path}.")
    else:
        yield path, kind


def pages(tables: Tables) -> dict[str, str]:
    """The mapping pages in Markdown by file name: one per table, one for all codes."""
    found = {
        f"{_file_name(table.name)}.md": _page(table) for table in (*tables.records.values(), *tables.parties.values())
    }
    return found | {"codes.md": _codes_page(tables.codes)}


def _file_name(name: str) -> str:
    return "".join(f"-{sign.lower()}" if sign.isupper() else sign for sign in name).lstrip("-")


def _page(table: Table) -> str:
    lines = [
        f"# {table.title}",
        "",
        f"Generated from the mapping tables by `koord tables`. Record `{table.name}`; resources: {', '.join(f'`{r.name}`' for r in table.roles)}.",
        "",
        "| record field | FHIR path | codes | category | source | why |",
        "|---|---|---|---|---|---|",
    ]
    for row in table.rows:
        field = f"`{row.field_text}`" if row.field else ("fixed" if row.fixed is not None else f"link to `{row.to}`")
        places = "<br>".join(f"`{path}`" for path in (row.path.text, *(f"{also.path.text}" for also in row.also)))
        codes = row.codes.name if row.codes else (f"party `{row.party}`" if row.party else "")
        why = row.why + (" (only for the actor it names)" if row.audience else "")
        lines.append(f"| {field} | {places} | {codes} | {row.category} | {row.source} | {why.strip()} |")
    return "\n".join(lines) + "\n"


def _codes_page(codes: Mapping[str, CodeTable]) -> str:
    lines = ["# Codes", "", "Generated from `mappings/codes/` by `koord tables`.", ""]
    for table in codes.values():
        lines += [f"## {table.name}", "", f"{table.title}. System: {table.systems[0] or 'each code is a URI'}", ""]
        if table.systems[1:]:
            lines += [f"Also read: {', '.join(table.systems[1:])}", ""]
        if table.rows:
            lines += ["| in records | code | also read | source |", "|---|---|---|---|"]
            lines += [
                f"| {r['key']} | {r['code']} | {', '.join(r.get('accept', ()))} | {r['source']} |" for r in table.rows
            ]
        else:
            lines.append("Every code of the system.")
        lines.append("")
    return "\n".join(lines)
