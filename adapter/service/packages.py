"""
What a transaction asks of us and what it is told, entry by entry; and a resource that comes alone as a package.

Of a package the records are taken over: what Task, CarePlan and Consent say with the resources around them. Those around
them (Patient, Organization, ...) are parts of the records, so they are acknowledged where they were wanted and have no version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from adapter.errors import AdapterError, Fault, Invalid
from adapter.flows import Received, Written
from adapter.mapping import Resource
from adapter.transport.outcome import operation_outcome
from adapter.wire import json

TYPES: Final = ("CarePlan", "Consent", "Task")
"""The resource types that are served: each is the focus of a kind of record."""
LOGICAL_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)

_ETAG: Final = re.compile(r'(?:W/)?"([1-9][0-9]{0,8})"', re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a transaction: ``id`` is empty for POST; ``expected`` as in ``adapter.flows.receive``."""

    type: str
    id: str
    expected: int | None

    @property
    def is_focus(self) -> bool:
        return self.type in TYPES


def etag(version: int) -> str:
    return f'W/"{version}"'


def version_in(condition: str, where: str) -> int:
    """
    The version in an entity tag of ours.

    Raises:
        Invalid: ``exchange.etag``.
    """
    found = _ETAG.fullmatch(condition.strip())
    if found is None:
        raise Invalid(Fault("exchange.etag", where))
    return int(found[1])


def entries_of(bundle: Resource) -> list[Entry]:
    """
    The entries of a transaction, in order.

    Raises:
        Invalid: ``exchange.not-a-transaction``, ``exchange.entry-request``, ``exchange.conditional``, ``exchange.etag``.
    """
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "transaction":
        raise Invalid(Fault("exchange.not-a-transaction", "Bundle.type"))
    listed = bundle.get("entry", [])
    if not isinstance(listed, list):
        raise Invalid(Fault("exchange.entry-request", "Bundle.entry"))
    entries: list[Entry] = []
    faults: list[Fault] = []
    for number, entry in enumerate(listed):
        try:
            entries.append(_entry(entry, f"Bundle.entry[{number}]"))
        except AdapterError as error:
            faults.extend(error.faults)
    if faults:
        raise Invalid(faults)
    return entries


def _entry(entry: Any, where: str) -> Entry:
    resource, request = _object(entry, "resource"), _object(entry, "request")
    resource_type, logical_id = resource.get("resourceType"), resource.get("id")
    method, url = request.get("method"), request.get("url")
    put = method == "PUT" and url == f"{resource_type}/{logical_id}" and LOGICAL_ID.fullmatch(str(logical_id))
    post = method == "POST" and url == resource_type
    if not isinstance(resource_type, str) or not (put or post):
        raise Invalid(Fault("exchange.entry-request", f"{where}.request"))
    expected = _condition(request, f"{where}.request")
    if expected is not None and (post or resource_type not in TYPES):
        raise Invalid(Fault("exchange.conditional", f"{where}.request"))
    return Entry(resource_type, str(logical_id) if put else "", expected)


def _condition(request: Mapping[str, Any], where: str) -> int | None:
    if request.keys() & {"ifNoneExist", "ifModifiedSince"}:
        raise Invalid(Fault("exchange.conditional", where))
    return precondition(request.get("ifMatch"), request.get("ifNoneMatch"), where)


def precondition(if_match: Any, if_none_match: Any, where: str) -> int | None:
    """
    The version that must be the newest now: 0 for none (``*`` in If-None-Match), None if nothing is said.

    Raises:
        Invalid: ``exchange.etag``.
    """
    match (if_match, if_none_match):
        case (None, None):
            return None
        case (None, "*"):
            return 0
        case (str(), None):
            return version_in(if_match, where)
        case _:
            raise Invalid(Fault("exchange.etag", where))


def _object(node: Any, name: str) -> Mapping[str, Any]:
    value = node.get(name) if isinstance(node, dict) else None
    return value if isinstance(value, dict) else {}


def transaction_response(entries: Sequence[Entry], received: Received) -> Resource:
    """One entry for each that was asked, in order. What the records cannot hold is named with the first record."""
    told = [{"response": response} for response in _responses(entries, received)]
    return {"resourceType": "Bundle", "type": "transaction-response"} | ({"entry": told} if told else {})


def _responses(entries: Sequence[Entry], received: Received) -> Iterator[Resource]:
    written, losses = iter(received.written), received.losses
    for entry in entries:
        if not entry.is_focus:
            yield {"status": "200 OK"} | ({"location": f"{entry.type}/{entry.id}"} if entry.id else {})
            continue
        record = next(written)
        yield {
            "status": "201 Created" if record.created else "200 OK",
            "location": location(record, entry.id),
            "etag": etag(record.version),
        } | ({"outcome": operation_outcome(losses)} if losses else {})
        losses = ()


def location(written: Written, asked: str = "") -> str:
    """Where a record is: under the id that the caller gave it, or under the one that it has here."""
    return f"{written.type}/{asked or written.id}/_history/{written.version}"


def package_of(resource: Resource, provenance: Sequence[str]) -> Resource:
    """
    A resource that came alone as a package: what it contains beside it, and the Provenance of the X-Provenance header, which
    says whose it is: the author unit and the care provider (FHIR R4 references.html, section 2.3.0.1; provenance.html, 6.3.4.5).

    Raises:
        Invalid, Unreadable: ``exchange.provenance``, or what is wrong with the JSON.
    """
    around = _contained(resource)
    names = {"#": _name(""), **{f"#{each['id']}": _name(each["id"]) for each in around}}
    focus = {name: value for name, value in resource.items() if name != "contained"} if around else resource
    beside = [*around, *_provenance(provenance)]
    if not beside:
        return resource
    entries = [{"fullUrl": names["#"], "resource": _renamed(focus, names)}]
    entries += [{"fullUrl": _name(each.get("id", "provenance#")), "resource": _renamed(each, names)} for each in beside]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _contained(resource: Resource) -> list[Resource]:
    """What a resource contains, if each has an id of its own; otherwise it stays where it is, for the validator to refuse."""
    found = resource.get("contained")
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        return []
    ids = {each["id"] for each in found if isinstance(each.get("id"), str)}
    return found if len(ids) == len(found) else []


def _provenance(headers: Sequence[str]) -> list[Resource]:
    if not headers:
        return []
    try:
        found = json.read(headers[0].encode("ascii"), require_object=True)
    except UnicodeEncodeError:
        raise Invalid(Fault("exchange.provenance", "X-Provenance")) from None
    if len(headers) > 1 or found.get("resourceType") != "Provenance" or found.keys() & {"id", "target"}:
        raise Invalid(Fault("exchange.provenance", "X-Provenance"))
    return [{**found, "target": [{"reference": "#"}]}]


def _name(inner_id: str) -> str:
    """The fullUrl of what a resource contains, or of the resource itself; constant, since a repeated request has one digest."""
    return f"urn:uuid:{uuid5(NAMESPACE_OID, inner_id)}"


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """The same, with what is contained referred to by its new name."""
    if isinstance(node, dict):
        return {
            name: names.get(value, value) if name == "reference" and isinstance(value, str) else _renamed(value, names)
            for name, value in node.items()
        }
    return [_renamed(each, names) for each in node] if isinstance(node, list) else node
