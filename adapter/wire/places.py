"""From paths to lines and columns: where in a text that was read the values stand that faults are about."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Step: TypeAlias = str | int
"""A name, or the index (from 0) of an item."""
Path: TypeAlias = Sequence[Step]

_STEP: Final = re.compile(r"\.?(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\[(?P<index>[0-9]{1,9})\]")
_TOKEN: Final = re.compile(
    r'"(?P<text>[^"\\]*(?:\\.[^"\\]*)*)"(?P<colon>[ \t\r\n]*:)?|(?P<mark>[{}\[\],])|[^ \t\r\n{}\[\],:"]+'
)


def steps(path: str) -> tuple[Step, ...]:
    """The steps of a FHIRPath or a record's field path, as far as they are plain names and indexes."""
    found: list[Step] = []
    end = 0
    while step := _STEP.match(path, end):
        found.append(step["name"] or int(step["index"]))
        end = step.end()
    return tuple(found)


def places(data: bytes, paths: Sequence[Path]) -> list[tuple[int, int]]:
    """
    For each path, line and column (in characters, from 1) of what stands there; if it is missing, of the last thing on
    the way. The text is gone through once, however many paths there are.

    ``data`` is JSON or XML that the strict reader has accepted. A name also finds the FHIR choice that it begins, and a
    list without an index its first item.
    """
    text = data.decode("utf-8")
    offsets = _in_xml(data, paths) if text.lstrip().startswith("<") else _in_json(text, paths)
    ends = [match.start() for match in re.finditer("\n", text)]
    lines = [bisect_right(ends, offset - 1) for offset in offsets]
    return [(line + 1, offset - (ends[line - 1] if line else -1)) for line, offset in zip(lines, offsets, strict=True)]


@dataclass(slots=True, eq=False)
class _Wanted:
    """A place on the way of some paths: what comes after it, and where it was found."""

    before: _Wanted | None = None
    after: dict[Step, _Wanted] = field(default_factory=dict)
    offset: int | None = None

    def reach(self, path: Path) -> _Wanted:
        end = self
        for step in path:
            end = end.after.setdefault(step, _Wanted(end))
        return end

    def next(self, found: Step) -> Iterator[_Wanted]:
        """What a step that was found leads to; the first item of a list is also the list itself."""
        if found == 0 and any(isinstance(step, str) for step in self.after):
            yield self
        if isinstance(found, int):
            yield from (self.after[found],) if found in self.after else ()
        else:
            yield from (after for step, after in self.after.items() if isinstance(step, str) and _same(found, step))

    @property
    def nearest(self) -> int:
        if self.offset is None and self.before is not None:
            return self.before.nearest
        return self.offset or 0


def _in_json(text: str, paths: Sequence[Path]) -> list[int]:
    root = _Wanted(offset=len(text) - len(text.lstrip()))
    ends = [root.reach(path) for path in paths]
    here: list[Step] = []
    within: list[list[_Wanted]] = [[root]]
    """What is wanted at the root and at each open bracket's present key or item."""
    for token in _TOKEN.finditer(text):
        mark = token["mark"]
        if mark == ",":
            here[-1] = here[-1] + 1 if isinstance(here[-1], int) else ""
            continue
        if mark in ("}", "]"):
            here.pop()
            within.pop()
            continue
        if token["colon"]:
            here[-1] = json.loads(f'"{token["text"]}"')
        if token["colon"] or (here and isinstance(here[-1], int)):
            within[-1] = [found for wanted in within[-2] for found in wanted.next(here[-1])] if within[-2] else []
            for found in within[-1]:
                found.offset = token.start() if found.offset is None else found.offset
        if mark in ("{", "["):
            here.append("" if mark == "{" else 0)
            within.append([])
    return [end.nearest for end in ends]


def _same(found: str, wanted: str) -> bool:
    name = found.removeprefix("_")
    return name == wanted or (name.startswith(wanted) and name[len(wanted)].isupper())


def _in_xml(data: bytes, paths: Sequence[Path]) -> list[int]:
    from adapter.wire.markup import parse  # noqa: PLC0415  lxml is slow to load, and most texts are JSON

    tree = parse(data)
    return tree.offsets_of([_element(tree.root, path) for path in paths])


def _element(root: Any, path: Path) -> Any:
    element = root
    for step in path:
        if isinstance(step, int):
            found = [element, *element.itersiblings(element.tag)][step : step + 1]
        else:
            # What holds a resource has one child, named by its type.
            inside = element[0] if len(element) == 1 and _name(element[0])[0].isupper() else element
            found = [child for child in inside.iterchildren("*") if _same(_name(child), step)][:1]
        if not found:
            break
        element = found[0]
    return element


def _name(element: Any) -> str:
    name: str = element.tag.rpartition("}")[2]
    return name
