"""
An authorised care provider reads. Every record passes the same gate as a send, at this moment, and the bytes are the gate's.

What there is not, and what this caller may not have, look the same from outside. Outside actors have no way to read at all
(PDL 5:4, 5:6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from adapter.consent.gate import AnswerForm, Cleared, Withheld
from adapter.consent.policy import Recipient
from adapter.domain import PersonIdentity, Purpose
from adapter.errors import Denied, Fault
from adapter.flows.adapter import READER, Adapter, reader_of
from adapter.store import Transaction, audit, disclosures, records
from adapter.store.disclosures import Disclosure
from adapter.store.records import Version
from adapter.sweden import HsaId, person_key
from adapter.transport.login import Caller
from adapter.wire.media import USUAL, Media

KINDS: Final = {
    "Task": frozenset({"Intervention", "FkSignal", "Offer"}),
    "CarePlan": frozenset({"CarePlan"}),
    "Consent": frozenset({"Consent", "Block"}),
}
"""The record kinds behind each resource type that can be read."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads, under which request id, and in which form and release it wants the answer."""

    caller: Caller
    request_id: str
    media: Media = USUAL


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer a read: the gate's bytes, and the version for the ETag of a single resource (0 for a search)."""

    cleared: Cleared
    version: int


async def read_one(adapter: Adapter, resource_type: str, logical_id: str, reader: Reader) -> Answer:
    """
    The focus resource of one record.

    Raises:
        Denied: ``exchange.not-found``: there is none, or none for this caller.
    """
    version = await adapter.store.read(records.get, logical_id)
    if version is None or version.kind not in KINDS.get(resource_type, ()):
        raise Denied(Fault("exchange.not-found", resource_type))
    cleared = await _cleared(adapter, [version], "resource", reader)
    if cleared is None:
        raise Denied(Fault("exchange.not-found", resource_type))
    return Answer(cleared, version.version)


async def search(adapter: Adapter, resource_type: str, identity: PersonIdentity, reader: Reader) -> Answer | None:
    """A patient's records of one resource type, with the resources they refer to; None: nothing for this caller."""
    patient_key = adapter.keys.patient_key(person_key(identity.kind, identity.number))
    versions = await adapter.store.read(records.search, patient_key)
    found = [version for version in versions if version.kind in KINDS.get(resource_type, ())]
    if not found:
        entry = _entry("exchange.not-found", "searchset", reader, patient_key)
        await adapter.store.write(audit.append, [entry], now=adapter.clock())
        return None
    cleared = await _cleared(adapter, found, "searchset", reader)
    return Answer(cleared, 0) if cleared else None


async def _cleared(adapter: Adapter, found: Sequence[Version], form: AnswerForm, reader: Reader) -> Cleared | None:
    known = [adapter.record(version) for version in found]
    stored = await adapter.store.read(records.consents, found[0].patient_key)
    result = adapter.gate.answer(
        known,
        ids=[version.record_id for version in found],
        reader=_recipient(reader),
        purpose=Purpose.COORDINATION,
        snapshot=adapter.snapshot(known[0], stored),
        now=adapter.clock(),
        request_id=reader.request_id,
        correlation_id=reader.request_id,
        form=form,
    )
    # A read that cannot be entered in the log is not answered (PDL 4:3).
    refused = str(result.reason) if isinstance(result, Withheld) else ""
    entry = _entry(refused, form, reader, found[0].patient_key)
    await adapter.store.write(_enter, adapter, found, stored, result, entry)
    return result if isinstance(result, Cleared) else None


def _recipient(reader: Reader) -> Recipient:
    return reader_of(reader.caller.peer, reader.caller.organisation, reader.media)


def _entry(refused: str, form: AnswerForm, reader: Reader, patient_key: str) -> audit.Entry:
    """What is logged of one read; of what was refused, not what it was. An organisation number can be a person's."""
    peer, organisation = reader.caller.peer, reader.caller.organisation
    return audit.Entry(
        "record.read" if form == "resource" else "record.searched",
        peer,
        reader.request_id,
        "refused" if refused else "ok",
        refused,
        patient_key=patient_key,
        unit=organisation if isinstance(organisation, HsaId) else peer,
    )


def _enter(  # noqa: PLR0913, PLR0917  all that is known of the read
    tx: Transaction,
    adapter: Adapter,
    found: Sequence[Version],
    stored: records.Snapshot,
    result: Cleared | Withheld,
    entry: audit.Entry,
) -> None:
    """The disclosure and the audit entry of one read."""
    now = adapter.clock()
    if isinstance(result, Cleared):
        shown = set(result.records)
        refs = tuple(v.ref for v in found if adapter.business_ref(v) in shown)
        disclosed = Disclosure(entry.who, refs, adapter.consents_of(result, stored), result.categories)
        disclosures.enter(
            tx,
            disclosed,
            patient_key=found[0].patient_key,
            destination=f"{READER}{entry.who}",
            message_id=entry.what,
            request_id=entry.what,
            purpose=Purpose.COORDINATION,
            now=now,
        )
    audit.append(tx, [entry], now=now)
