"""
A consent ends, is withdrawn or narrowed, or a spärr is set: what waits is taken back, and who got something is told.

It is decided inside the transaction that writes the consent: the decision is pure and the bodies are there, so nothing
can come between what is looked at and what is done about it, and there is nothing to try again. Whether something is taken
away is never read off the consent's fields: the gate decides as it was and as it is, and what it opens less is taken.
The end of a period by the clock goes the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from adapter.consent import disclosure, policy
from adapter.consent.decide import Decision, Reason
from adapter.consent.gate import Gate
from adapter.consent.handed_over import ForeignConsent
from adapter.consent.policy import Recipient, Snapshot
from adapter.domain import Block, Consent, Purpose, Record
from adapter.flows.adapter import Adapter
from adapter.store import Transaction, audit, disclosures, outbox, records, withdrawals
from adapter.store.disclosures import Entered, Exposure
from adapter.store.records import RecordRef, Stored, Version
from adapter.store.withdrawals import Cause, End, Order, Withdrawal

log = logging.getLogger("adapter.withdraw")

SWEEP: Final = timedelta(minutes=1)
"""How often the dispatcher looks for consents that have ended and for orders that wait too long."""
_PAGE: Final = 1000
_INSTANT: Final = timedelta(microseconds=1)
_OF_CONSENTS: Final = frozenset(each for each in Reason if each is Reason.NO_CONSENT or each.startswith("CONSENT_"))
"""Denials by or for want of a consent, as against those of a person's protection or death, where none is looked for."""


@dataclass(frozen=True, slots=True)
class Left:
    """
    A message that had left, or (not ``certain``) may have left, on what no longer holds. A read has the reader's request id.
    ``records``: business ids and versions.
    """

    destination: str
    message_id: str
    at: datetime
    certain: bool
    records: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Effects:
    """What a change of consents led to: messages taken back, orders to stop using what was sent, what had left before."""

    blocked: tuple[str, ...] = ()
    ordered: tuple[Withdrawal, ...] = ()
    left: tuple[Left, ...] = ()

    def __add__(self, other: Effects) -> Effects:
        return Effects(self.blocked + other.blocked, self.ordered + other.ordered, self.left + other.left)

    def document(self) -> dict[str, Any]:
        """As the answer to a submission tells it (docs/api.md)."""
        return {
            "blocked": list(self.blocked),
            "notified": [{"id": each.id, "to": each.destination, "message": each.message_id} for each in self.ordered],
            "leftBefore": [
                {
                    "to": each.destination,
                    "message": each.message_id,
                    "at": each.at.isoformat(),
                    "certain": each.certain,
                    "records": list(each.records),
                }
                for each in self.left
            ],
        }


def settle(
    tx: Transaction,
    adapter: Adapter,
    written: Iterable[tuple[Record | ForeignConsent, Stored]],
    *,
    who: str,
    now: datetime,
) -> Effects:
    """
    What follows from the consents and spärrar that were just stored, in the transaction that stored them.

    ``written``: each record with what became of it. ``who``: for the audit log.
    """
    by_patient: dict[str, list[tuple[_Voice, Stored]]] = {}
    for record, kept in written:
        if isinstance(record, _Voice) and not kept.unchanged:
            by_patient.setdefault(adapter.patient_key(record), []).append((record, kept))
    effects = Effects()
    for patient_key, changed in by_patient.items():
        effects += _settle(tx, adapter, patient_key, changed, who=who, now=now)
    return effects


def expire(tx: Transaction, adapter: Adapter, *, now: datetime) -> Effects:
    """
    What follows from what the clock has changed in consents since this was last asked, most often that a period has ended. In
    one commit with the mark that it was seen to: nothing is done twice, and nothing is forgotten.
    """
    _note_ends(tx, adapter)
    return _see_to(tx, adapter, withdrawals.ended(tx, now=now), now=now)


def expire_before(
    tx: Transaction, adapter: Adapter, changing: Iterable[Record | ForeignConsent], *, now: datetime
) -> Effects:
    """
    The same for the patients whose consents are about to change, so that what comes of it does not hang on whether there was
    time to look: the new versions hide what the clock has done to those of before.
    """
    _note_ends(tx, adapter)
    effects = Effects()
    for patient_key in sorted({adapter.patient_key(each) for each in changing if isinstance(each, _Voice)}):
        while ends := withdrawals.ended(tx, now=now, patient_key=patient_key):
            effects += _see_to(tx, adapter, ends, now=now)
    return effects


async def sweep(adapter: Adapter) -> None:
    """See to what time brings: consents that end, orders that are not delivered, orders that nobody answers."""
    effects = await adapter.store.write(expire, adapter, now=adapter.clock())
    if effects.ordered:
        adapter.wake()
    late, escalated = await adapter.store.write(withdrawals.alarms, now=adapter.clock())
    for code, found in (("withdrawal.late", late), ("withdrawal.escalated", escalated)):
        for each in found:
            log.error(code, extra={"withdrawal": each.id, "destination": each.destination})


def is_taking(document: Mapping[str, Any]) -> bool:
    """Whether the answer to a submission tells that something was taken away."""
    return any(document.get(name) for name in ("blocked", "notified", "leftBefore"))


_Voice = Consent | Block | ForeignConsent


@dataclass(frozen=True, slots=True)
class _Change:
    """
    A consent that says something else than before, or nothing any more. ``kind``: of the consents that it may close, None for
    whichever opens for a recipient. ``gone``: it was given and is not.
    """

    ref: RecordRef
    kind: str | None
    cause: Cause
    gone: bool = False

    def concerns(self, consent: str, kind: str | None, opening: str | None) -> bool:
        """
        Whether it may close what a consent of this id and kind opened; without a kind it was not given. ``opening``: the kind
        that opens for the recipient, None if that is not known.
        """
        closes = {self.kind} if self.kind is not None else {opening or kind}
        return kind is not None and (kind in closes or self.ref.record_id == consent)


@dataclass(frozen=True, slots=True)
class _Got:
    """What a destination got of a record, or may have got, on which consents (their ids in the store)."""

    destination: str
    message_id: str
    at: datetime
    certain: bool
    record: RecordRef
    purpose: str
    consents: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Shift:
    """
    A patient's consents and spärrar as they were at one moment, and as they are at another. ``given``: the kinds of the
    consents, by id, that were given at the first, over or not; ``stood``: those that were not over.
    """

    gate: Gate
    given: Mapping[str, str]
    stood: frozenset[RecordRef]
    before: Snapshot
    before_at: datetime
    after: Snapshot
    now: datetime

    def loss(self, record: Record, recipient: Recipient, purpose: str) -> Decision | None:
        """The decision now, if it opens less than it did; None if it opens as much."""
        was = self.gate.decision(record, recipient, Purpose(purpose), self.before, self.before_at)
        if not was.permitted:
            return None
        is_now = self.gate.decision(record, recipient, Purpose(purpose), self.after, self.now)
        return None if is_now.permitted and was.categories <= is_now.categories else is_now

    def stood_again(self, told: RecordRef) -> bool:
        """Whether a consent that somebody was told of, in this version, had been given anew since."""
        return any(ref.record_id == told.record_id and ref.version > told.version for ref in self.stood)

    def of_consents(self) -> _Shift:
        """The same shift as if no spärr had been set: a spärr asks nobody to stop using what they lawfully have."""
        return replace(self, after=replace(self.after, blocks=self.before.blocks))


def _settle(  # noqa: PLR0913  named by the caller
    tx: Transaction,
    adapter: Adapter,
    patient_key: str,
    changed: Sequence[tuple[_Voice, Stored]],
    *,
    who: str,
    now: datetime,
) -> Effects:
    after = records.consents(tx, patient_key)
    first: dict[str, int] = {}
    for _, kept in changed:
        first.setdefault(kept.record_id, kept.version)
    earlier = (
        _earlier(tx, version, first[version.record_id]) if version.record_id in first else version
        for version in after.records
    )
    before = tuple(version for version in earlier if version)
    if not any(version.kind != "Block" for version in before):  # nothing was open, so nothing can be taken away
        return Effects()
    patient = changed[-1][0]
    was = adapter.snapshot(patient, replace(after, records=before))
    voices = adapter.voices(replace(after, records=before))
    shift = _Shift(
        adapter.gate, _given(voices), _standing(voices, now), was, now, adapter.snapshot(patient, after), now
    )
    newest = {kept.record_id: (record, kept) for record, kept in changed}
    changes = []
    for record, kept in newest.values():
        if not isinstance(record, Block):
            opens = policy.opens(record)
            gone = kept.record_id in shift.given and not opens
            changes.append(_Change(kept.ref, policy.closes(record), "narrowed" if opens else "withdrawn", gone))
    return _taken_away(tx, adapter, patient_key, shift, changes, who=who)


def _earlier(tx: Transaction, version: Version, first: int) -> Version | None:
    return records.get(tx, version.record_id, first - 1) if first > 1 else None


def _note_ends(tx: Transaction, adapter: Adapter) -> None:
    while withdrawals.note_ends(tx, partial(_end_of, adapter), limit=_PAGE) == _PAGE:
        pass


def _see_to(tx: Transaction, adapter: Adapter, ends: Iterable[End], *, now: datetime) -> Effects:
    effects = Effects()
    for end in ends:
        consent = _consent(adapter, records.kept(tx, end.consent))
        if withdrawals.seen_to(tx, end, policy.stays_until(consent, end.ended_at + _INSTANT)):
            effects += _expired(tx, adapter, consent, end, now=now)
    return effects


def _expired(
    tx: Transaction, adapter: Adapter, consent: Consent | ForeignConsent, end: End, *, now: datetime
) -> Effects:
    stored = records.consents(tx, end.patient_key)
    snapshot = adapter.snapshot(consent, stored)
    voices = adapter.voices(stored)
    shift = _Shift(adapter.gate, _given(voices), _standing(voices, end.ended_at), snapshot, end.ended_at, snapshot, now)
    changes = [_Change(end.consent, policy.closes(consent), "expired")]
    return _taken_away(tx, adapter, end.patient_key, shift, changes, who="adapter")


def _end_of(adapter: Adapter, version: Version) -> datetime | None:
    """The last instant, since it came, at which a consent says what it says now."""
    return policy.stays_until(_consent(adapter, version), version.received_at)


def _consent(adapter: Adapter, version: Version) -> Consent | ForeignConsent:
    consent = adapter.kept(version)
    assert isinstance(consent, Consent | ForeignConsent)  # noqa: S101  only ends of consents are kept
    return consent


def _given(voices: Mapping[RecordRef, _Voice]) -> dict[str, str]:
    return {ref.record_id: kind for ref, voice in voices.items() if (kind := policy.opens(voice))}


def _standing(voices: Mapping[RecordRef, _Voice], at: datetime) -> frozenset[RecordRef]:
    return frozenset(ref for ref, voice in voices.items() if policy.opens(voice, at))


def _taken_away(  # noqa: PLR0913  named by the caller
    tx: Transaction, adapter: Adapter, patient_key: str, shift: _Shift, changes: Sequence[_Change], *, who: str
) -> Effects:
    blocked = _take_back(tx, adapter, patient_key, shift, who=who)
    if not changes:
        return Effects(blocked)
    orders = withdrawals.of_patient(tx, patient_key)
    lost = [
        (got, named)
        for got in _got(tx, adapter, patient_key)
        if (named := _named(tx, adapter, got, shift.of_consents(), changes, orders))
    ]
    ordered = _order(tx, adapter, patient_key, lost, who=who, now=shift.now)
    return Effects(blocked, ordered, _left(tx, adapter, [got for got, _ in lost]))


def _take_back(tx: Transaction, adapter: Adapter, patient_key: str, shift: _Shift, *, who: str) -> tuple[str, ...]:
    """Block what waits and is no longer open at all; what may still go with less stays. The messages' ids."""
    blocked: list[str] = []
    for waiting in outbox.waiting(tx, patient_key, now=shift.now):
        recipient = adapter.recipients.get(waiting.destination)
        if waiting.urgent or recipient is None:
            continue
        lost = shift.loss(_record(tx, adapter, waiting.records[0]), recipient, waiting.purpose)
        if lost is None or lost.permitted or not outbox.block(tx, waiting.message_id, lost.reason, now=shift.now):
            continue
        blocked.append(waiting.message_id)
        entry = audit.Entry("message.blocked", who, waiting.message_id, "refused", lost.reason, patient_key)
        audit.append(tx, [entry], now=shift.now)
    return tuple(blocked)


def _got(tx: Transaction, adapter: Adapter, patient_key: str) -> list[_Got]:
    """Everything about a patient that left or may have left: sent or read, entered or not."""
    entered = disclosures.of_patient(tx, patient_key)
    delivered = {each.message_id for each in entered}
    uncertain = (
        each
        for each in disclosures.exposures(tx, patient_key)
        if not each.urgent and not (each.exposed == "yes" and each.message_id in delivered)
    )
    found = [each for disclosed in entered for each in _disclosed(disclosed)]
    return [*found, *(_exposed(tx, adapter, patient_key, each) for each in uncertain)]


def _disclosed(entered: Entered) -> Iterable[_Got]:
    consents = frozenset(ref.record_id for ref in entered.disclosure.consents)
    for ref in entered.disclosure.records:
        yield _Got(entered.destination, entered.message_id, entered.at, True, ref, entered.purpose, consents)


def _exposed(tx: Transaction, adapter: Adapter, patient_key: str, exposure: Exposure) -> _Got:
    """What the attempt rested on: decided again on the consents of then. Where that cannot be told, on all of them."""
    ref = exposure.records[0]
    stored = records.consents_at(tx, patient_key, exposure.consent_version)
    voices = adapter.voices(stored)
    consents = {voice.id.name: ref.record_id for ref, voice in voices.items() if not isinstance(voice, Block)}
    recipient = adapter.recipients.get(exposure.destination)
    rested = frozenset(consents.values())
    if recipient is not None:
        record = _record(tx, adapter, ref)
        snapshot = adapter.snapshot(record, stored)
        decided = adapter.gate.decision(record, recipient, Purpose(exposure.purpose), snapshot, exposure.at)
        if decided.permitted:
            rested = frozenset(consents[name] for name, _ in decided.consents)
    return _Got(exposure.destination, exposure.message_id, exposure.at, False, ref, exposure.purpose, rested)


_Named = Mapping[str, _Change]
"""The consents, by id, that are the reason to stop using something, each with the change that made it so."""


def _named(  # noqa: PLR0913, PLR0917  what is lost, and all that says why
    tx: Transaction,
    adapter: Adapter,
    got: _Got,
    shift: _Shift,
    changes: Sequence[_Change],
    orders: Sequence[Withdrawal],
) -> _Named:
    """
    Which consents no longer carry what somebody got: those that are gone; else, if the gate would open less of it now, those
    that it rested on of the kinds that changed, since one can replace or refuse another. Nobody is told again of what
    carried it no more, unless the patient has given it anew in between.
    """
    to = adapter.told_at(got.destination)
    told = {
        each.consent.record_id
        for each in orders
        if each.destination == to
        and got.record in each.records
        and got.at <= each.created_at
        and not shift.stood_again(each.consent)
    }
    resting = got.consents - told
    gone = {change.ref.record_id: change for change in changes if change.gone}
    if found := resting & gone.keys():
        return {consent: gone[consent] for consent in found}
    recipient = adapter.recipient(got.destination)
    opening = disclosure.load().of[recipient.type].opened_by if recipient else None
    named = {
        consent: change
        for change in changes
        for consent in resting
        if change.concerns(consent, shift.given.get(consent), opening)
    }
    if not named or recipient is None:  # who it was cannot be known any more, so nothing can be decided
        return named
    lost = shift.loss(_record(tx, adapter, got.record), recipient, got.purpose)
    return named if lost and (lost.permitted or lost.missing or lost.reason in _OF_CONSENTS) else {}


def _order(  # noqa: PLR0913  named by the caller
    tx: Transaction,
    adapter: Adapter,
    patient_key: str,
    lost: Sequence[tuple[_Got, _Named]],
    *,
    who: str,
    now: datetime,
) -> tuple[Withdrawal, ...]:
    """One order for each consent and destination, with all that was got there on it."""
    wanted: dict[tuple[str, str], tuple[_Change, list[RecordRef]]] = {}
    for got, named in lost:
        for consent, change in named.items():
            to = adapter.told_at(got.destination)
            refs = wanted.setdefault((consent, to), (change, []))[1]
            if got.record not in refs:
                refs.append(got.record)
    made = []
    for (consent, to), (change, refs) in sorted(wanted.items()):
        order = Order(change.cause, records.newest_ref(tx, consent), change.ref, to, patient_key, tuple(refs))
        made.append(withdrawals.order(tx, order, deliverable=to in adapter.recipients, who=who, now=now))
    return tuple(each for each in made if each)


def _left(tx: Transaction, adapter: Adapter, lost: Sequence[_Got]) -> tuple[Left, ...]:
    by_message: dict[tuple[str, str], list[_Got]] = {}
    for got in lost:
        by_message.setdefault((got.destination, got.message_id), []).append(got)
    return tuple(
        Left(
            destination,
            message,
            min(got.at for got in gots),
            any(got.certain for got in gots),
            tuple(_shown(tx, adapter, ref) for ref in dict.fromkeys(got.record for got in gots)),
        )
        for (destination, message), gots in by_message.items()
    )


def _shown(tx: Transaction, adapter: Adapter, ref: RecordRef) -> dict[str, Any]:
    record = _record(tx, adapter, ref)
    return {"system": record.id.system, "value": record.id.value, "version": record.version}


def _record(tx: Transaction, adapter: Adapter, ref: RecordRef) -> Record:
    return adapter.record(records.kept(tx, ref))
