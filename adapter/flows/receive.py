"""A peer sends resources: checked, mapped to records, and stored with what was lost, in one commit; then answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from adapter.consent import notice
from adapter.definitions import Release
from adapter.domain import Block, Consent, Record
from adapter.errors import Denied, Fault, Invalid, Unmappable
from adapter.flows import notify
from adapter.flows.adapter import Adapter
from adapter.mapping import Reading, Resource
from adapter.store import Transaction, inbox, records
from adapter.store.records import Stored
from adapter.sweden import HsaId, OrganisationNumber, person_key
from adapter.transport.login import Caller
from adapter.validation import diagnosis_content, errors, validate
from adapter.wire import json


@dataclass(frozen=True, slots=True)
class Written:
    """One record as it was stored: ``id`` is the logical id of its focus here, ``version`` its ETag, ``created``: it is new."""

    type: str
    id: str
    version: int
    created: bool


@dataclass(frozen=True, slots=True)
class Received:
    """``written`` in the order of the records in the body; ``losses``: what the records cannot hold, and what test mode let pass."""

    written: tuple[Written, ...]
    losses: tuple[Fault, ...]
    replayed: bool


async def receive(  # noqa: PLR0913  named by the caller
    adapter: Adapter,
    body: Resource,
    *,
    release: Release = "R4",
    original: bytes,
    caller: Caller,
    request_id: str | None = None,
    expected: Sequence[int | None] = (),
) -> Received:
    """
    Take over what a peer sends: one resource, or a transaction or collection Bundle. ``original`` is kept, encrypted.

    A notice that a consent no longer holds, or an answer to one of ours, goes its own way (``adapter.flows.notify``).

    With ``request_id`` the same body again gets the same answer and takes effect once. ``expected``: for each Task,
    CarePlan and Consent in order, the version that its record must have now (If-Match), 0 for none, None for any.

    Raises:
        Invalid, Unmappable: every fault, by FHIR path; nothing is stored.
        Denied: the peer may not write this. Conflict: a stale version, or another body under the same request id.
    """
    task = notice.task_in(body)
    if task is not None:
        told = await notify.receive(
            adapter, task, body, release=release, original=original, caller=caller, request_id=request_id
        )
        notice_id, beyond, replayed = told
        return Received((Written("Task", notice_id, 1, created=False),), beyond, replayed)
    faults = errors(validate(body, release, rules=_RULES))
    faults += [fault for task in _tasks(body) for fault in diagnosis_content(task, release)]
    if faults:
        raise Invalid(faults)
    reading = adapter.mapper.of(release).from_fhir(body, mode=adapter.settings.mode, today=adapter.clock().date())
    _about_one_patient(reading.records)
    _in_the_peers_own_name(adapter, reading.records, caller)
    losses = (*reading.warnings, *reading.losses)
    arrival = adapter.arrival(caller.peer, body, request_id, original=original, beyond=losses)
    accepted = await adapter.store.read(inbox.replay, arrival)
    if accepted is None:
        accepted = await _accept(adapter, arrival, reading, expected)
    written = [await _written(adapter, *row) for row in json.read(accepted.response)]
    return Received(tuple(written), losses, accepted.replayed)


async def _accept(
    adapter: Adapter, arrival: inbox.Arrival, reading: Reading, expected: Sequence[int | None]
) -> inbox.Accepted:
    """Store what is new, the original and the answer, in one commit."""
    source, now = arrival.source, adapter.clock()
    conditions = dict(zip((record.id for record in reading.records), expected, strict=False))

    def respond(stored: tuple[Stored, ...], _: tuple[str, ...]) -> bytes:
        kept = {one.record_id: (one.version, one.version == 1 and not one.unchanged) for one in stored}
        named = [(_focus(record), adapter.record_id(source, record.id)) for record in reading.records]
        return json.write([(kind, record_id, *kept.get(record_id, (None, False))) for kind, record_id in named])

    def take_over(tx: Transaction) -> inbox.Accepted:
        """What is older than what is kept is acknowledged and ignored: it came out of order."""
        given = ((f"{_focus(record)}.extension", record) for record in reading.records)
        taken = [record for record, is_newest in adapter.in_order(tx, source, given) if is_newest]
        return inbox.accept(
            tx,
            arrival,
            records=[adapter.new_record(source, record, expected=conditions.get(record.id)) for record in taken],
            sends=(),
            entries=[adapter.entry("record.received", source, source, record) for record in taken],
            respond=respond,
            now=now,
        )

    return await adapter.store.write(take_over)


_RULES: Final = ("koord-gc001", "koord-subject")


def _tasks(body: Resource) -> list[Resource]:
    """Interventions are journalled without diagnosis, whoever sends them; a care plan may hold one on the care side."""
    resources = [entry.get("resource", {}) for entry in body.get("entry", ())] if "entry" in body else [body]
    return [resource for resource in resources if resource.get("resourceType") == "Task"]


def _about_one_patient(found: Sequence[Record]) -> None:
    if len({person_key(r.patient.identity.kind, r.patient.identity.number) for r in found}) > 1:
        raise Unmappable(Fault("exchange.several-patients", "Bundle", "one package, one patient"))


def _in_the_peers_own_name(adapter: Adapter, found: Sequence[Record], caller: Caller) -> None:
    """A peer writes what its own care provider answers for: never a consent or a block, or anything else, in our name."""
    for record in found:
        ours = record.provider.hsa_id.same(adapter.settings.region.provider)
        if ours or isinstance(record, Block) or (isinstance(record, Consent) and not _answers(record, caller)):
            raise Denied(
                Fault(
                    "exchange.not-yours",
                    f"{_focus(record)}",
                    "consent.md: a consent that the requester wrote for itself",
                )
            )


def _answers(record: Record, caller: Caller) -> bool:
    """Whether the caller's organisation is the record's care provider."""
    if isinstance(caller.organisation, HsaId):
        return caller.organisation.same(record.provider.hsa_id)
    assert isinstance(caller.organisation, OrganisationNumber)  # noqa: S101  the only other kind
    return caller.organisation == record.provider.organisation_number


async def _written(adapter: Adapter, kind: str, record_id: str, version: int | None, created: bool) -> Written:  # noqa: FBT001  a row of the stored answer
    """What became of one record; without a version it was older than what is kept, whose version is told."""
    if version is None:
        newest = await adapter.store.read(records.get, record_id)
        version = newest.version if newest else 1
    return Written(kind, record_id, version, created)


def _focus(record: Record) -> str:
    return {"Consent": "Consent", "Block": "Consent", "CarePlan": "CarePlan"}.get(record.record, "Task")
