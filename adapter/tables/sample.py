"""What the rows of a table write into one resource, all of them together, with examples of the values that they can write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args, get_origin

from adapter.tables.model import CodeTable, Path, Role, Row, Step, Table

ANY: Final = object()
"""A value that only a record knows: a text, a time, a reference."""
CODED: Final = frozenset({"Coding", "CodeableConcept"})


@dataclass(frozen=True, slots=True)
class Written:
    """A place that a row writes; ``holder`` is the object that its last element stands in."""

    row: Row
    path: Path
    codes: CodeTable | None
    holder: Mapping[str, Any]
    own: Any

    @property
    def value(self) -> Any:
        """What stands there when all rows have written: a concept that several rows write is one value."""
        there = self.holder[self.path.steps[-1].name]
        return self.own if isinstance(there, list) else there


class Sample:
    """
    One resource as the rows make it. ``number`` chooses among the codes of each row; ``member``: the value of the field that
    the profile depends on. ``items``: the object at each slot that a path leads through.
    """

    def __init__(self, table: Table, role: Role, member: str, number: int) -> None:
        self.root: dict[str, Any] = {}
        self.items: dict[int, dict[str, Any]] = {}
        self.written: list[Written] = []
        for row in (*table.fields, *table.fixed, *table.links):
            key = member if role.profile_field and row.field_text == role.profile_field else _key(row, number)
            for path, codes, value in _values(row, key, _only_value(table, row)):
                if path.role == role.name:
                    self.written.append(Written(row, path, codes, self._put(path, value), value))

    @property
    def stated(self) -> Any:
        """The resource without what only a record knows."""
        return _without_any(self.root)

    def _put(self, path: Path, value: Any) -> dict[str, Any]:
        """The object that the path's last element now stands in."""
        holder = self.root
        for step in path.steps[:-1]:
            holder = self._item(holder, step)
        leaf = path.steps[-1]
        there = holder.get(leaf.name)
        if leaf.element.is_list:
            holder.setdefault(leaf.name, []).append(value)
        elif isinstance(there, dict) and isinstance(value, dict):
            there["coding"] = [*there.get("coding", ()), *value.get("coding", ())]
        else:
            holder[leaf.name] = value
        return holder

    def _item(self, holder: dict[str, Any], step: Step) -> dict[str, Any]:
        if step.slot not in self.items:
            made = dict(step.pattern or {})
            if not step.element.is_list:
                made = holder.setdefault(step.name, made)
            elif step.each or step.pattern is not None or step.name not in holder:
                holder.setdefault(step.name, []).append(made)
            else:
                made = holder[step.name][0]
            self.items[step.slot] = made
        return self.items[step.slot]


def _without_any(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_any(inner) for name, inner in value.items() if inner is not ANY}
    return [_without_any(inner) for inner in value if inner is not ANY] if isinstance(value, list) else value


def samples(table: Table, role: Role, member: str) -> Iterator[Sample]:
    """So many that each code that a row can write stands in one."""
    tables = [codes for row in table.rows for path, codes in places(row) if codes and path.role == role.name]
    for number in range(max((len(codes.keys) for codes in tables), default=1) or 1):
        yield Sample(table, role, member, number)


def places(row: Row) -> Iterator[tuple[Path, CodeTable | None]]:
    """Where a row writes, with the codes that it writes there."""
    yield row.path, row.codes
    for also in row.also:
        yield also.path, also.codes


def _key(row: Row, number: int) -> str:
    keys = next((list(codes.keys) for _, codes in places(row) if codes and codes.keys), [""])
    return keys[number % len(keys)]


def _only_value(table: Table, row: Row) -> Any:
    """What a row writes that is the same in every record."""
    if row.fixed is not None:
        return dict(row.fixed) if isinstance(row.fixed, dict) else row.fixed  # rows may put codings into one concept
    field = table.model.model_fields.get(row.field_text)
    literals = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return literals[0] if len(literals) == 1 else ANY


def _values(row: Row, key: str, only: Any) -> Iterator[tuple[Path, CodeTable | None, Any]]:
    for path, codes in places(row):
        code = codes.keys.get(key, ANY) if codes else ANY
        if codes is None:
            yield path, None, only
        elif code is not ANY or not codes.partial:
            coding = {"system": codes.systems[0], "code": code}
            kind = path.leaf.type
            yield (
                path,
                codes,
                {"coding": [coding]} if kind == "CodeableConcept" else coding if kind == "Coding" else code,
            )
