"""
What a transaction asks of us and what it is told, entry by entry; and one resource with its Provenance as a package.

Of a package the records are taken over: what Task, CarePlan and Consent say with the resources around them. Those around
them (Patient, Organization, ...) are parts of the records, so they are acknowledged where they were wanted and have no version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapter.errors import AdapterError, Fault, Invalid
from adapter.flows import Received, Written
from adapter.mapping import Resource
from adapter.transport.outcome import operation_outcome
from adapter.wire import json

TYPES: Final = ("CarePlan", "Consent", "Task")
"""The resource types that are served: each is the focus of a kind of record."""
LOGICAL_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)

_ETAG: Final = re.compile(r'(?:W/)?"([1-9][0-9]{0,8})"', re.ASCII)
_HERE: Final = "urn:uuid:00000000-0000-5000-8000-000000000000"
"""The fullUrl of a resource that came alone: always the same, so that a repeated request has the same digest."""


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


def with_provenance(resource: Resource, headers: Sequence[str]) -> Resource:
    """
    One resource together with the Provenance of the X-Provenance header (FHIR R4 provenance.html, section 6.3.4.5), which
    says whose it is: the author unit and the care provider.

    Raises:
        Invalid, Unreadable: ``exchange.provenance``, or what is wrong with the JSON.
    """
    if not headers:
        return resource
    try:
        provenance = json.read(headers[0].encode("ascii"), require_object=True)
    except UnicodeEncodeError:
        raise Invalid(Fault("exchange.provenance", "X-Provenance")) from None
    if len(headers) > 1 or provenance.get("resourceType") != "Provenance" or "target" in provenance:
        raise Invalid(Fault("exchange.provenance", "X-Provenance"))
    told = {**provenance, "target": [{"reference": _HERE}]}
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": _HERE, "resource": resource}, {"fullUrl": _HERE[:-1] + "1", "resource": told}],
    }
