"""What a command is given: a file or standard input, JSON or XML, records or FHIR, told apart by what is in it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from adapter.cli.terminal import shown
from adapter.errors import AdapterError, Fault, Invalid, Unreadable
from adapter.wire import LIMITS

if TYPE_CHECKING:
    from adapter.definitions import Release
    from adapter.domain import Record
    from adapter.sweden import Mode
    from adapter.wire.places import Path, Step

STDIN: Final = "-"
_MARKS: Final = b" \t\r\n\0\xef\xbb\xbf\xff\xfe"
"""What may stand before the first character of a text in whatever encoding: byte order marks, zeros, white space."""


@dataclass(frozen=True, slots=True)
class Content:
    """
    One input. ``records``: the documents in it, each with its place (``""``, ``[2]``, ``records[0]``); empty if it is FHIR.
    ``value`` is the whole of it; ``release``: of its FHIR. ``faults``: of the form of XML, without which ``value`` must not be used
    but for telling what else is wrong; ``unread``: the places where it lacks what could not be read.
    """

    name: str
    data: bytes
    value: Any
    is_fhir: bool
    records: tuple[tuple[str, Any], ...] = ()
    release: Release = "R4"
    faults: tuple[Fault, ...] = ()
    unread: frozenset[str] = frozenset()

    @property
    def is_submission(self) -> bool:
        return isinstance(self.value, dict) and not self.is_fhir and "record" not in self.value

    @property
    def parts(self) -> tuple[str, ...]:
        """The places of the resources or records in it; ``""`` for all of it if it is one record or of no known type."""
        if not self.is_fhir:
            return tuple(place for place, _ in self.records) or ("",)
        from adapter.definitions import definitions

        kind, entries = self.value["resourceType"], self.value.get("entry")
        numbers = range(len(entries)) if kind == "Bundle" and isinstance(entries, list) else ()
        known = kind if kind in definitions(self.release).resource_names else ""
        return (known, *(f"Bundle.entry[{n}].resource" for n in numbers if _type(entries[n])))

    def placed(self, faults: Iterable[Fault]) -> list[Fault]:
        """The same faults, each with line, column and pointer if its place leads into this text."""
        found = list(faults)
        if not found:
            return []
        from adapter.wire.places import places

        paths = {
            number: path
            for number, fault in enumerate(found)
            if fault.line is None and (path := self._path(fault)) is not None
        }
        for number, place in zip(paths, places(self.data, self.value, list(paths.values())), strict=True):
            found[number] = replace(found[number], line=place.line, column=place.column, pointer=place.pointer)
        return found

    def _path(self, fault: Fault) -> Path | None:
        """The place of a fault as steps from the root of the text. None: it could be meant in several resources."""
        from adapter.wire.places import Nth, steps

        path = self._from_root(steps(fault.where))
        return path if path is None or fault.nth is None else [*path, Nth(fault.nth)]

    def _from_root(self, path: Sequence[Step]) -> Sequence[Step] | None:
        if not self.is_fhir or not path:
            return path
        if path[0] == self.value["resourceType"]:
            return path[1:]
        entries = self.value.get("entry", ()) if path[0] != "Bundle" else ()
        numbers = [number for number, entry in enumerate(entries) if _type(entry) == path[0]]
        return ["entry", numbers[0], "resource", *path[1:]] if len(numbers) == 1 else None


def read(name: str, *, release: Release = "R4", may_be_empty: bool = False) -> Content:
    """
    Read a file, or standard input for ``-``. ``release``: of the FHIR in it. ``may_be_empty`` accepts no records at all.

    Raises:
        Unreadable: it is not there, not readable, or not the JSON or XML that is accepted (with line and column).
        Invalid: it is neither records nor FHIR.
    """
    content = examined(name, release=release, may_be_empty=may_be_empty)
    if content.faults:
        raise Unreadable(content.faults)
    return content


def examined(name: str, *, release: Release = "R4", may_be_empty: bool = False) -> Content:
    """As ``read``, but XML with faults of form is not refused as long as it is a resource: they are in ``faults``."""
    data = _bytes(name)
    if data.lstrip(_MARKS)[:1] == b"<":
        from adapter.wire import xml

        found = xml.read_all(data, release=release)
        return Content(name, data, found.value, is_fhir=True, release=release, faults=found.faults, unread=found.unread)
    from adapter.wire import json

    value = json.read(data)
    is_fhir = isinstance(value, dict) and isinstance(value.get("resourceType"), str)
    content = Content(name, data, value, is_fhir, () if is_fhir else _documents(value), release)
    asks = content.is_submission and (value.get("send") or value.get("consents"))
    if not (is_fhir or content.records or asks or may_be_empty):
        raise Invalid(content.placed([Fault("cli.no-records", "records" if isinstance(value, dict) else "")]))
    return content


def records(content: Content, *, mode: Mode) -> tuple[list[Record], list[Fault]]:
    """
    The records of an input that is not FHIR, and what test mode let pass.

    Raises:
        Invalid: every fault of every record, with line and column.
    """
    from adapter.domain import read_record

    found: list[Record] = []
    faults: list[Fault] = []
    warnings: list[Fault] = []
    for place, document in content.records:
        try:
            record, noted = read_record(document, mode=mode)
        except AdapterError as error:
            faults += [_inside(place, fault) for fault in error.faults]
            continue
        found.append(record)
        warnings += [_inside(place, fault) for fault in noted]
    if faults:
        raise Invalid(content.placed(faults + warnings))
    return found, content.placed(warnings)


def moment(text: str | None) -> datetime:
    """
    A point in time of the command line, by default now; of a day, its first instant in Swedish local time.

    Raises:
        Invalid: it is none (``cli.bad-time``).
    """
    from adapter.dates import Moment

    try:
        return datetime.now(UTC) if text is None else Moment(text).earliest
    except ValueError as error:
        raise Invalid(Fault("cli.bad-time", "--at", str(error))) from None


def _bytes(name: str) -> bytes:
    """As much as is ever accepted, and one byte more, so that the reader can tell that it is too long."""
    try:
        if name == STDIN:
            return sys.stdin.buffer.read(LIMITS.size + 1)
        with open(name, "rb") as file:  # noqa: PTH123  a name of the command line, as it was typed
            return file.read(LIMITS.size + 1)
    except FileNotFoundError:
        raise Unreadable(Fault("cli.no-such-file", shown(name))) from None
    except (OSError, ValueError, AttributeError) as error:  # AttributeError: standard input is closed
        raise Unreadable(Fault("cli.unreadable-file", shown(name), type(error).__name__)) from None


def _documents(value: Any) -> tuple[tuple[str, Any], ...]:
    if isinstance(value, dict) and "record" in value:
        return (("", value),)
    if isinstance(value, list):
        return tuple((f"[{number}]", each) for number, each in enumerate(value))
    if (
        isinstance(value, dict)
        and value.keys() & {"records", "consents", "send"}
        and isinstance(value.get("records", []), list)
    ):
        return tuple((f"records[{number}]", each) for number, each in enumerate(value.get("records", [])))
    raise Invalid(Fault("cli.neither", line=1, column=1))


def _inside(place: str, fault: Fault) -> Fault:
    return replace(fault, where=f"{place}.{fault.where}".strip("."))


def _type(entry: Any) -> Any:
    resource = entry.get("resource") if isinstance(entry, dict) else None
    return resource.get("resourceType") if isinstance(resource, dict) else None
