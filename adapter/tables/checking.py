"""A table against its record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import pairwise
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from adapter.errors import Fault
from adapter.tables.model import CodeTable, Model, Row, Step, Table
from adapter.tables.sample import places


class Check:
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
        yield from self._twice()
        yield from self._recognised()
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

    def _twice(self) -> Iterator[Fault]:
        """Two rows at one place, or two slices that write the same: on the way back nobody could tell them apart."""
        written: dict[object, str] = {}
        for row in self.table.rows:
            for path, codes in places(row):
                at = path.role, path.steps[-1].slot, _system(row, codes)
                if written.setdefault(at, row.id) != row.id:
                    yield self._fault("place-twice", path.text, "one place, one row")
                for before, step in pairwise((None, *path.steps)):
                    if step is not None and step.pattern is not None:
                        slice_ = path.role, before and before.slot, step.name, repr(step.pattern), _accepted(step)
                        if written.setdefault(slice_, str(step.slot)) != str(step.slot):
                            yield self._fault("place-twice", path.text, "another slice writes and reads the same")

    def _recognised(self) -> Iterator[Fault]:
        known = self.table.recognise
        if known is None:
            return
        written = {(path.text, codes.name) for row in self.table.rows for path, codes in places(row) if codes}
        fixed = {(row.path.text, repr(row.fixed)) for row in self.table.fixed}
        coding = {"coding": [{"system": known.codes.systems[0], "code": known.code}]}
        if (known.path.text, known.codes.name) not in written and (known.path.text, repr(coding)) not in fixed:
            yield self._fault("codes-unknown", known.path.text, "recognised by codes that no row writes there")

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


def _accepted(step: Step) -> frozenset[tuple[str, frozenset[str]]]:
    return frozenset((step.accepts or {}).items())


def _system(row: Row, codes: CodeTable | None) -> str:
    """Codes of different systems may stand in one concept."""
    fixed = row.fixed if isinstance(row.fixed, dict) else {}
    return codes.systems[0] if codes else str(fixed.get("coding", [fixed])[0].get("system", ""))


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
