"""From paths to lines, columns and JSON pointers: where in what was read the values stand that faults are about."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeAlias

from adapter.definitions import definitions

Step: TypeAlias = str | int
"""A name, or the index (from 0) of an item."""


@dataclass(frozen=True, slots=True)
class Nth:
    """A property of an object by its number (from 0), whatever its name: the last step of a path. Its pointer is the object's."""

    number: int


class _Unnamed(str):
    """A name that was asked for by its number, and is told nowhere."""

    __slots__ = ()


Path: TypeAlias = Sequence[Step | Nth]

_STEP: Final = re.compile(r"\.?(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\[(?P<index>[0-9]{1,9})\]")
_KNOWN: Final = ("{http://hl7.org/fhir}*", "{http://www.w3.org/1999/xhtml}div")
"""The elements that a value is made of; others may stand among them in what is told to be wrong."""
_TOKEN: Final = re.compile(
    r'"(?P<text>[^"\\]*(?:\\.[^"\\]*)*)"(?P<colon>[ \t\r\n]*:)?|(?P<mark>[{}\[\],])|[^ \t\r\n{}\[\],:"]+'
)


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where something stands: ``line`` and ``column`` in the text, in characters from 1, and its ``pointer`` (RFC 6901) in the
    JSON document, or in the one that stands for an XML text.
    """

    line: int
    column: int
    pointer: str


def steps(path: str) -> tuple[Step, ...]:
    """The steps of a FHIRPath or a record's field path, as far as they are plain names and indexes."""
    found: list[Step] = []
    end = 0
    while step := _STEP.match(path, end):
        found.append(step["name"] or int(step["index"]))
        end = step.end()
    return tuple(found)


def places(data: bytes, document: Any, paths: Sequence[Path]) -> list[Place]:
    """
    For each path, where that stands; if it is missing, the last thing on the way. The text is gone through once, however
    many paths there are.

    ``data`` is JSON or XML that a strict reader has read, ``document`` what it made of it. A name also finds the extensions
    of a primitive and the FHIR choice that it begins (``valueString`` for ``value``), and a list without an index its first item.
    """
    known = [_present(document, path) for path in paths]
    text = data.decode("utf-8-sig")
    offsets = _in_xml(data, known) if text.lstrip().startswith("<") else _in_json(text, known)
    return [
        Place(line, column, _pointer(path))
        for (line, column), path in zip(lines_and_columns(text, offsets), known, strict=True)
    ]


def pointer(document: Any, path: Path) -> str:
    """The JSON pointer (RFC 6901) of what a path leads to, or if it is missing of the last thing on the way."""
    return _pointer(_present(document, path))


def lines_and_columns(text: str, offsets: Sequence[int]) -> list[tuple[int, int]]:
    """The lines and columns (in characters, from 1) of places in a text. It is gone through once, however many they are."""
    ends = [match.start() for match in re.finditer("\n", text[: max(offsets, default=0)])]
    lines = (bisect_right(ends, offset - 1) for offset in offsets)
    return [(line + 1, offset - (ends[line - 1] if line else -1)) for line, offset in zip(lines, offsets, strict=True)]


def _present(value: Any, path: Path) -> tuple[Step, ...]:
    """As much of a path as is there, with the document's own names and all indexes."""
    if not path:
        return ()
    step, rest = path[0], path[1:]
    if isinstance(value, list):
        index, after = (step, rest) if isinstance(step, int) else (0, path)
        return (index, *_present(value[index], after)) if index < len(value) else ()
    if isinstance(value, dict) and isinstance(step, Nth):
        return tuple(map(_Unnamed, islice(value, step.number, step.number + 1)))
    if isinstance(value, dict) and isinstance(step, str):
        return max(((name, *_present(value[name], rest)) for name in _names(value, step)), key=len, default=())
    return ()


def _names(value: dict[str, Any], step: str) -> list[str]:
    """A property's own name before that of its extensions, wherever they stand, and both before the names of a choice."""
    exact = [name for name in (step, f"_{step}") if name in value]
    choice = (name for name in value if _is_choice(name.removeprefix("_"), step))
    return exact or sorted(choice, key=lambda name: name.startswith("_"))


def _is_choice(name: str, base: str) -> bool:
    kind = name.removeprefix(base)
    if kind == name or not kind[:1].isupper():
        return False
    known = definitions()
    return known.is_primitive(kind[0].lower() + kind[1:]) or known.shape(kind) is not None


def _pointer(path: Sequence[Step]) -> str:
    path = path[:-1] if path and isinstance(path[-1], _Unnamed) else path
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


@dataclass(slots=True, eq=False)
class _Wanted:
    """A place on the way of some paths: what comes after it, and the offset or element that was found there."""

    before: _Wanted | None = None
    after: dict[Step, _Wanted] = field(default_factory=dict)
    found: Any = None

    def reach(self, path: Sequence[Step]) -> _Wanted:
        end = self
        for step in path:
            end = end.after.setdefault(step, _Wanted(end))
        return end

    @property
    def size(self) -> int:
        """How many places are wanted below this one."""
        return sum(1 + each.size for each in self.after.values())

    @property
    def nearest(self) -> Any:
        """What XML writes as an attribute is found at its element."""
        return self.before.nearest if self.found is None and self.before is not None else self.found


def _in_json(text: str, paths: Sequence[Sequence[Step]]) -> list[int]:
    root = _Wanted(found=len(text) - len(text.lstrip()))
    ends = [root.reach(path) for path in paths]
    left = root.size
    here: list[Step] = []
    within: list[_Wanted | None] = [root]
    """What is wanted at the root and at each open bracket's present key or item."""
    for token in _TOKEN.finditer(text) if left else ():
        mark = token["mark"]
        if mark == ",":
            here[-1] = here[-1] + 1 if isinstance(here[-1], int) else ""
            continue
        if mark in ("}", "]"):
            here.pop()
            within.pop()
            continue
        if token["colon"]:
            here[-1] = json.loads(f'"{token["text"]}"') if "\\" in token["text"] else token["text"]
        if token["colon"] or (here and isinstance(here[-1], int)):
            around = within[-2]
            within[-1] = inner = around.after.get(here[-1]) if around is not None else None
            if inner is not None and inner.found is None:
                inner.found = token.start()
                left -= 1
                if not left:
                    break
        if mark in ("{", "["):
            here.append("" if mark == "{" else 0)
            within.append(None)
    return [end.nearest for end in ends]


def _in_xml(data: bytes, paths: Sequence[Sequence[Step]]) -> list[int]:
    from adapter.wire.markup import parse  # noqa: PLC0415  lxml is slow to load, and most texts are JSON

    tree = parse(data)
    root = _Wanted()
    ends = [root.reach(path) for path in paths]
    _visit(tree.root, root)
    return tree.offsets_of([end.nearest for end in ends])


def _visit(element: Any, wanted: _Wanted) -> None:
    wanted.found = element
    if not wanted.after:
        return
    # What holds a resource has one child, named by its type.
    inside = element[0] if len(element) == 1 and _name(element[0])[0].isupper() else element
    seen: Counter[str] = Counter()
    for child in inside.iterchildren(*_KNOWN):
        name = _name(child)
        for inner in (wanted.after.get(name), wanted.after.get(f"_{name}")):
            if inner is None:
                continue
            if not seen[name]:
                _visit(child, inner)
            if seen[name] in inner.after:
                _visit(child, inner.after[seen[name]])
        seen[name] += 1


def _name(element: Any) -> str:
    name: str = element.tag.rpartition("}")[2]
    return name
