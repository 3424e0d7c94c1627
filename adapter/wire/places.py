"""From a path to a line and a column: where in a text that was read the value stands that a fault is about."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from adapter.wire.markup import parse

Step = str | int
"""A name, or the index (from 0) of an item."""

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


def place(data: bytes, path: Sequence[Step]) -> tuple[int, int]:
    """
    Line and column (in characters, from 1) of what stands at a path; if it is missing, of the last thing on the way.

    ``data`` is JSON or XML that the strict reader has accepted. A name also finds the FHIR choice that it begins, and a
    list without an index its first item.
    """
    text = data.decode("utf-8")
    offset = _in_xml(data, path) if text.lstrip().startswith("<") else _in_json(text, path)
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _in_json(text: str, path: Sequence[Step]) -> int:
    here: list[Step] = []
    offset = len(text) - len(text.lstrip())
    nearest = 0
    for token in _TOKEN.finditer(text):
        mark = token["mark"]
        if token["colon"]:
            here[-1] = json.loads(f'"{token["text"]}"')
        elif mark == ",":
            here[-1] = here[-1] + 1 if isinstance(here[-1], int) else ""
            continue
        elif mark in ("}", "]"):
            here.pop()
            continue
        if token["colon"] or (here and isinstance(here[-1], int)):
            reached = _reached(here, path)
            if reached > nearest:
                nearest, offset = reached, token.start()
        if mark in ("{", "["):
            here.append("" if mark == "{" else 0)
    return offset


def _reached(here: Sequence[Step], path: Sequence[Step]) -> int:
    """How many steps of the path lead exactly to here; 0 if it does not."""
    taken = 0
    for step in here:
        wanted = path[taken] if taken < len(path) else None
        if isinstance(step, int) and not isinstance(wanted, int):
            if step == 0:
                continue
            return 0
        if wanted is None or not _same(step, wanted):
            return 0
        taken += 1
    return taken


def _same(found: Step, wanted: Step) -> bool:
    if isinstance(found, int) or isinstance(wanted, int):
        return found == wanted
    name = found.removeprefix("_")
    return name == wanted or (name.startswith(wanted) and name[len(wanted)].isupper())


def _in_xml(data: bytes, path: Sequence[Step]) -> int:
    tree = parse(data)
    element: Any = tree.root
    for step in path:
        if isinstance(step, int):
            found = [element, *element.itersiblings(element.tag)][step : step + 1]
        else:
            inside = element[0] if len(element) == 1 and _name(element[0])[0].isupper() else element
            found = [child for child in inside.iterchildren("*") if _same(_name(child), step)][:1]
        if not found:
            break
        element = found[0]
    return tree.offset_of(element)


def _name(element: Any) -> str:
    name: str = element.tag.rpartition("}")[2]
    return name
