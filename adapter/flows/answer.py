"""An authorised care provider reads. Every record passes the same gate as a send, at this moment, and the bytes are the gate's."""

from __future__ import annotations

from dataclasses import dataclass

from adapter.consent.gate import Cleared, Withheld
from adapter.consent.policy import Recipient
from adapter.domain import PersonIdentity, Purpose
from adapter.errors import Denied, Fault
from adapter.flows.adapter import Adapter
from adapter.store import Transaction, audit, disclosures, records
from adapter.store.disclosures import Disclosure
from adapter.store.records import RecordRef, Version
from adapter.sweden import HsaId, person_key
from adapter.transport.login import Caller


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer a read: the gate's bytes, and the version for the ETag of a single resource (0 for a search)."""

    cleared: Cleared
    version: int


KINDS = {"Task": ("Intervention", "FkSignal", "Offer"), "CarePlan": ("CarePlan",), "Consent": ("Consent", "Block")}
"""The record kinds behind each resource type that can be read."""


async def read_one(
    adapter: Adapter, resource_type: str, logical_id: str, *, caller: Caller, request_id: str, xml: bool = False
) -> Answer:
    """
    One record's focus resource.

    Raises:
        Denied: ``exchange.not-found``: there is none, or not for this caller; the two look the same from outside.
    """
    version = await adapter.store.read(records.get, logical_id)
    found = [version] if version and version.kind in KINDS.get(resource_type, ()) else []
    cleared = await _cleared(adapter, found, "resource", caller, request_id, xml=xml)
    if cleared is None or version is None:
        raise Denied(Fault("exchange.not-found", resource_type))
    return Answer(cleared, version.version)


async def search(  # noqa: PLR0913  named by the caller
    adapter: Adapter, resource_type: str, identity: PersonIdentity, *, caller: Caller, request_id: str, xml: bool = False
) -> Answer:
    """A patient's records of one resource type, as a searchset with the resources they refer to; no total."""
    patient_key = adapter.keys.patient_key(person_key(identity.kind, identity.number))
    found = [
        version
        for version in await adapter.store.read(records.search, patient_key)
        if version.kind in KINDS.get(resource_type, ())
    ]
    cleared = await _cleared(adapter, found, "searchset", caller, request_id, xml=xml)
    if cleared is None:
        raise Denied(Fault("exchange.not-found", resource_type))
    return Answer(cleared, 0)
