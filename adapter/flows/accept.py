"""
The local system hands over records and other systems' Consents, and says to whom each record is to be sent. Stored and queued in
one commit, then answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import uuid4

from pydantic import Field, TypeAdapter

from adapter.consent import disclosure, handed_over, policy
from adapter.consent.handed_over import ForeignConsent
from adapter.domain import (
    Block,
    BusinessId,
    Consent,
    ConsentState,
    Line,
    Part,
    Purpose,
    Record,
    read_part,
    read_record,
)
from adapter.errors import AdapterError, Conflict, Fault, Invalid
from adapter.flows import withdraw
from adapter.flows.adapter import LOCAL, Adapter
from adapter.flows.withdraw import Effects
from adapter.store import Transaction, inbox, outbox, records
from adapter.store.outbox import Send
from adapter.store.records import Stored, Version
from adapter.wire import json


class Delivery(Part):
    """Send this record, of the submission or accepted earlier, to these destinations."""

    record: BusinessId
    to: tuple[Line, ...] = Field(min_length=1)
    purpose: Purpose | None = None


class Submission(Part):
    """
    What the local system hands over: records in their JSON form, Consents of other systems in FHIR (each alone or in a Bundle
    with what it refers to), and what to send.
    """

    records: tuple[Any, ...] = Field(default=(), max_length=1000)
    consents: tuple[Any, ...] = Field(default=(), max_length=1000)
    send: tuple[Delivery, ...] = Field(default=(), max_length=1000)


SUBMISSION: Final = TypeAdapter(Submission)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """
    What to answer: the stored ``answer`` (docs/api.md); ``replayed``: this request had been accepted before;
    ``under_way``: messages that were leaving when a consent was withdrawn, and that had not ended after the longest wait.
    """

    answer: dict[str, Any]
    replayed: bool
    under_way: tuple[str, ...] = ()


async def accept(
    adapter: Adapter, document: Any, *, caller: str, request_id: str | None = None, correlation_id: str | None = None
) -> Acceptance:
    """
    Take over a submission.

    With ``request_id`` the same submission again gets the same answer and takes effect once. What a consent or spärr takes
    away is taken back and told to those who had it, in the same commit (``adapter.flows.withdraw``); the answer comes when
    no attempt that began before it is under way any more, or the longest send has timed out.

    Raises:
        Invalid: a record, a Consent or a delivery is not what it must be; every fault is named.
        Conflict: an older version, or another content under the same version or request id; a Consent that shares an
            identifier with another.
    """
    now = adapter.clock()
    submission, _ = read_part(SUBMISSION, document)
    taken, foreign, warnings = _read(adapter, submission)
    sends = await _sends(adapter, submission, taken, correlation_id or str(uuid4()))
    arrival = inbox.Arrival(
        source=LOCAL,
        request_id=request_id or str(uuid4()),
        digest=adapter.keys.fingerprint(json.canonical(document)),
        origin="local",
    )

    def answer(effects: Effects, stored: Sequence[Stored], messages: tuple[str, ...]) -> bytes:
        return json.write(
            {
                "records": [
                    {"id": record.id.model_dump(), "kind": record.record, "state": _state(kept)}
                    for record, kept in zip(taken, stored, strict=False)
                ],
                "consents": [
                    {"id": consent.id.model_dump(), "opens": policy.opens(consent) or None, "state": _state(kept)}
                    for consent, kept in zip(foreign, stored[len(taken) :], strict=True)
                ],
                "messages": [
                    {
                        "id": message,
                        "to": send.destination,
                        "state": "blocked" if message in effects.blocked else "queued",
                    }
                    for message, send in zip(messages, sends, strict=True)
                ],
                "warnings": [{"code": fault.code, "where": fault.where} for fault in warnings],
                **effects.document(),
            }
        )

    def take_over(tx: Transaction) -> inbox.Accepted:
        def respond(stored: tuple[Stored, ...], messages: tuple[str, ...]) -> bytes:
            effects = withdraw.settle(tx, adapter, zip(all_taken, stored, strict=True), who=caller, now=now)
            return answer(ended + effects, stored, messages)

        answered = inbox.replay(tx, arrival)
        if answered is not None:
            return answered
        _refuse_older(tx, adapter, taken, foreign)
        ended = withdraw.expire_before(tx, adapter, all_taken, now=now)
        return inbox.accept(tx, arrival, records=new, sends=sends, entries=entries, respond=respond, now=now)

    all_taken = [*taken, *foreign]
    new = [adapter.new_record(LOCAL, record) for record in all_taken]
    entries = [adapter.entry("record.accepted", caller, LOCAL, record) for record in all_taken]
    accepted = await adapter.store.write(take_over)
    adapter.wake()
    told = json.read(accepted.response)
    patients = _losing(adapter, all_taken, taking=withdraw.is_taking(told))
    return Acceptance(told, accepted.replayed, await _still_under_way(adapter, patients))


def _read(adapter: Adapter, submission: Submission) -> tuple[list[Record], list[ForeignConsent], list[Fault]]:
    """What is handed over, and what test mode let pass."""
    mode, today = adapter.settings.mode, adapter.clock().date()
    warnings: list[Fault] = []
    faults: list[Fault] = []

    def each(
        name: str, documents: Iterable[Any], read: Callable[[Any], tuple[_Read, tuple[Fault, ...]]]
    ) -> Iterator[tuple[str, _Read]]:
        for number, document in enumerate(documents):
            place = f"{name}[{number}]"
            try:
                one, noted = read(document)
            except AdapterError as error:
                faults.extend(_inside(fault, place) for fault in error.faults)
                continue
            warnings.extend(_inside(fault, place) for fault in noted)
            yield place, one

    taken = []
    for place, record in each("records", submission.records, lambda given: read_record(given, mode=mode, today=today)):
        if not record.provider.hsa_id.same(adapter.settings.region.provider):
            faults.append(Fault("exchange.foreign-provider", f"{place}.provider.hsa_id", "lag (2019:1297) 1 §"))
        taken.append(record)
    consents = each("consents", submission.consents, lambda given: handed_over.read(given, mode=mode, today=today))
    foreign = [consent for _, consent in consents]
    if faults:
        raise Invalid(faults)
    return taken, foreign, warnings


_Read = TypeVar("_Read")


def _inside(fault: Fault, place: str) -> Fault:
    return Fault(fault.code, f"{place}.{fault.where}", fault.why, severity=fault.severity)


def _refuse_older(
    tx: Transaction, adapter: Adapter, taken: Iterable[Record], foreign: Sequence[ForeignConsent]
) -> None:
    """
    Only what is newest is taken over, and an identifier is of one Consent.

    Raises:
        Conflict: ``exchange.older-version``, ``exchange.same-version``, ``exchange.other-consent``.
    """
    given: list[tuple[str, Record | ForeignConsent]] = [
        *((f"records[{number}].version", record) for number, record in enumerate(taken)),
        *((f"consents[{number}].Consent.meta.versionId", consent) for number, consent in enumerate(foreign)),
    ]
    for (where, _), (_, is_newest) in zip(given, adapter.in_order(tx, LOCAL, given), strict=True):
        if not is_newest:
            raise Conflict(Fault("exchange.older-version", where))
    for number, consent in enumerate(foreign):
        stored = records.search(tx, adapter.patient_key(consent), ForeignConsent.record)
        for other in (*map(adapter.kept, stored), *foreign[:number]):
            if isinstance(other, ForeignConsent) and other.is_known_as(consent) and other.id != consent.id:
                raise Conflict(Fault("exchange.other-consent", f"consents[{number}].Consent.identifier"))


def _state(kept: Stored) -> str:
    return "unchanged" if kept.unchanged else "stored"


async def _sends(adapter: Adapter, submission: Submission, taken: Sequence[Record], correlation_id: str) -> list[Send]:
    here = {record.id: adapter.patient_key(record) for record in taken}
    sends: list[Send] = []
    faults: list[Fault] = []
    for number, delivery in enumerate(submission.send):
        record_id = adapter.record_id(LOCAL, delivery.record)
        patient_key = here.get(delivery.record) or await _patient_of(adapter, record_id)
        if patient_key is None:
            faults.append(Fault("exchange.unknown-record", f"send[{number}].record"))
            continue
        for place, name in enumerate(delivery.to):
            recipient = adapter.recipients.get(name)
            if recipient is None:
                faults.append(Fault("exchange.unknown-recipient", f"send[{number}].to[{place}]"))
                continue
            purpose = delivery.purpose or disclosure.load().of[recipient.type].usual_purpose
            sends.append(Send(name, patient_key, (record_id,), purpose, correlation_id))
    if faults:
        raise Invalid(faults)
    return sends


async def _patient_of(adapter: Adapter, record_id: str) -> str | None:
    """Whose record it is; None if there is none that can be sent. Another system's Consent never is."""
    version: Version | None = await adapter.store.read(records.get, record_id)
    return version.patient_key if version and version.kind != ForeignConsent.record else None


def _losing(adapter: Adapter, taken: Sequence[Record | ForeignConsent], *, taking: bool) -> set[str]:
    """The patients of whom something may be under way that is no longer open. ``taking``: something was taken away."""
    return {
        adapter.patient_key(record)
        for record in taken
        if isinstance(record, Block | ForeignConsent)
        or (isinstance(record, Consent) and (taking or record.state is not ConsentState.GIVEN))
    }


async def _still_under_way(adapter: Adapter, patients: Iterable[str]) -> tuple[str, ...]:
    """
    Wait for the attempts that had begun before a withdrawal (none begins on the old consents after it), at most as long as
    the longest send. What is left then is named.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + max((d.send_timeout_s for d in adapter.settings.destinations), default=0)
    left: list[str] = []
    for patient in patients:
        while leaving := await adapter.store.read(outbox.under_way, patient, now=adapter.clock()):
            if clock() > deadline:
                left.extend(attempt.message_id for attempt in leaving)
                break
            await asyncio.sleep(0.02)
    return tuple(left)
