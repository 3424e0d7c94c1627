"""Reads ``mappings/`` with a region's overlays; every fault is collected, and one fault is enough to refuse."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path as File
from typing import Any

from adapter import domain
from adapter.definitions import Definitions, Element
from adapter.domain import Category
from adapter.errors import Fault, Misconfigured
from adapter.profiles import EXTENSION, profiles
from adapter.tables import conformity
from adapter.tables.checking import Check
from adapter.tables.model import (
    Also,
    CodeTable,
    Model,
    Path,
    Pattern,
    Recognise,
    Role,
    Row,
    Step,
    Table,
    Tables,
)


class Loader:
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
                self.faults.extend(Check(table, by_model).faults())
        known = profiles(self.known.release)
        found = [table for table in (*records, *parties) if table]
        self.faults.extend(conformity.unpublished(self.codes.values(), known))
        self.faults.extend(conformity.faults(found, known, has_overlay=bool(self.overlays)))
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

    def code_tables(self) -> dict[str, CodeTable]:
        found = self._code_tables()
        if self.faults:
            raise Misconfigured(self.faults)
        return found

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
        made = [row for part in parts for row in part.get("resource", ())]
        resources = [row["name"] for row in made]
        reader = _Paths(self, file.name, slices, resources)
        rows = [self._row(reader, name, row) for part in parts for row in part.get("row", ())]
        return Table(
            name=name,
            title=raw["title"],
            model=model,
            key=tuple(tuple(field.split(".")) for field in raw["key"]),
            roles=tuple(_role(row["name"], row.get("profile", "")) for row in made),
            rows=tuple(row for row in rows if row),
            recognise=self._recognise(reader, raw.get("recognise")),
        )

    def _recognise(self, reader: _Paths, raw: Mapping[str, Any] | None) -> Recognise | None:
        if raw is None:
            return None
        path = reader.path(raw["path"])
        table, _, key = raw.get("code", raw.get("codes", "")).partition(".")
        codes = self.codes_named(reader.file, table)
        return Recognise(path, codes, codes.code(key) if key else None) if path and codes else None

    def codes_named(self, where: str, name: str) -> CodeTable | None:
        if name not in self.codes:
            self.fault("codes-unknown", where, f"no code table {name}")
        return self.codes.get(name)

    _KEYS = frozenset(
        {
            "field", "path", "fixed", "link", "to", "codes", "party", "audience", "also", "category", "source", "why",
            "convert", "required",
        }
    )  # fmt: skip

    def _row(self, reader: _Paths, table: str, given: dict[str, Any]) -> Row | None:
        label = given.get("field") or given.get("link") or given.get("path", "")
        where = f"{reader.file} {label}"
        raw = self._in_release(where, given)
        if raw is None:
            return None
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
            codes=self.codes_named(where, raw["codes"]) if "codes" in raw else None,
            party=raw.get("party", ""),
            audience=raw.get("audience", False),
            also=tuple(also for also in (self._also(reader, where, one) for one in raw.get("also", ())) if also),
            fixed=self.value(path.leaf, raw["fixed"]) if "fixed" in raw else None,
            to=raw.get("to", "").removesuffix("[]"),
            convert=raw.get("convert"),
            required=raw.get("required", False),
        )

    def _in_release(self, where: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """
        A row as this release has it: ``r5`` is the path in R5 where it differs, or a table of all that differs. False: R5 has
        no such element; that is only for what no field of a record needs, and the row says why.
        """
        raw = {key: value for key, value in given.items() if key != "r5"}
        differs = given.get("r5") if self.known.release == "R5" else None
        if differs is False:
            if "field" in raw or not raw.get("why"):
                self.fault(
                    "row-release", where, "a field needs a place in every release, and a row that has none says why"
                )
            return None
        if isinstance(differs, str):
            differs = {"link" if "link" in raw else "path": differs}
        return raw | (differs or {})

    def _also(self, reader: _Paths, where: str, raw: Mapping[str, Any]) -> Also | None:
        path = reader.path(raw["path"])
        if path is None:
            return None
        return Also(path, self.codes_named(where, raw["codes"]) if "codes" in raw else None, raw.get("convert"))

    def value(self, element: Element, text: str) -> Any:
        """A literal of a table: plain for primitives, ``table.key`` for coded types."""
        if element.type not in {"Coding", "CodeableConcept"}:
            return text
        table, _, key = text.partition(".")
        codes = self.codes_named(element.path, table)
        code = codes and codes.code(key)
        if codes is None or code is None:
            self.fault("codes-unknown", element.path, f"no code {text}")
            return {}
        coding = {"system": codes.systems[0], "code": code}
        return coding if element.type == "Coding" else {"coding": [coding]}


def _role(name: str, profile: str) -> Role:
    return Role(name.removesuffix("[]"), each=name.endswith("[]"), profile=profile)


class _Paths:
    """Reads the paths of one table and gives the same slot to the same prefix."""

    def __init__(self, loader: Loader, file: str, slices: Mapping[str, Any], roles: Sequence[str]) -> None:
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
            codes = self.loader.codes_named(f"{self.file} {prefix}", table)
            row = next((row for row in codes.rows if row["key"] == key), None) if codes else None
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
                codes = self.loader.codes_named(f"{self.file} {prefix}", text.removeprefix("in:"))
                accepts[name] = frozenset(codes.read if codes else ())
            else:
                value = self.loader.value(child, text)
                pattern[name] = [value] if child.is_list else value
        return pattern, accepts
