"""
Why a message left or did not: the explanations that its attempts keep, and the same decisions made again from the store alone.

A replay looks at the version of the record that was queued, the consents and blocks as they were, the recipient and the senders as
they were configured, and the moment of the attempt. Same input, same bytes: if they differ, something has changed since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter

from adapter.consent.gate import Cleared, Gate, Withheld
from adapter.consent.policy import Recipient
from adapter.domain import Purpose
from adapter.errors import Conflict, Fault
from adapter.flows.adapter import Adapter
from adapter.store import Store, Transaction, audit, quarantine, records
from adapter.store.quarantine import Attempt, Message
from adapter.store.records import Version
from adapter.sweden import HsaId
from adapter.wire import json


@dataclass(frozen=True, slots=True)
class Basis:
    """What a decision was made on besides the record, the consents and the policy: the moment, and who sends to whom."""

    now: datetime
    consent_version: int
    recipient: Recipient
    senders: tuple[HsaId, ...]

    def written(self) -> bytes:
        """As it is kept with an attempt."""
        return _BASIS.dump_json(self)


_BASIS: Final = TypeAdapter(Basis)


@dataclass(frozen=True, slots=True)
class Explained:
    """One attempt with the gate's explanation, canonical JSON; None if the gate did not decide, or a crash took it."""

    attempt: Attempt
    explanation: bytes | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """
    An attempt decided again. ``explanation``: what the gate says now, None if what it decided on is not known. ``verdict``:
    ``why.identical``, ``why.made-anew``, or what differs.
    """

    attempt: Attempt
    explanation: bytes | None
    verdict: Fault


async def why(store: Store, message_id: str, *, who: str, now: datetime) -> tuple[Message, tuple[Explained, ...]]:
    """
    A message, and what the gate said at each of its attempts, the latest first. Entered in the audit log.

    Raises:
        Conflict: ``store.unknown-message``.
    """
    return await store.write(_why, message_id, who=who, now=now)


async def replay(adapter: Adapter, message_id: str, attempts: Sequence[int]) -> tuple[Replayed, ...]:
    """Decide again on the attempts named by number, in that order, from what is stored. Nothing is sent and nothing changes."""
    return tuple([await _replayed(adapter, message_id, n) for n in attempts])


def _why(tx: Transaction, message_id: str, *, who: str, now: datetime) -> tuple[Message, tuple[Explained, ...]]:
    message = quarantine.message(tx, message_id, now=now)
    if message is None:
        raise Conflict(Fault("store.unknown-message", "message"))
    found = [
        Explained(each, quarantine.explanation(tx, message_id, each.n)) for each in quarantine.attempts(tx, message_id)
    ]
    patient_key = records.kept(tx, message.records[0]).patient_key
    audit.append(tx, [audit.Entry("explanation.read", who, message_id, patient_key=patient_key)], now=now)
    return message, tuple(reversed(found))


@dataclass(frozen=True, slots=True)
class _Kept:
    """All that the store keeps of one attempt."""

    message: Message
    attempt: Attempt
    explanation: bytes | None
    basis: Basis | None
    record: Version
    consents: records.Snapshot


def _kept(tx: Transaction, message_id: str, n: int, now: datetime) -> _Kept:
    message = quarantine.message(tx, message_id, now=now)
    attempt = next((each for each in quarantine.attempts(tx, message_id) if each.n == n), None)
    if message is None or attempt is None:
        raise Conflict(Fault("store.unknown-message", "message"))
    written = quarantine.basis(tx, message_id, n)
    basis = None if written is None else _BASIS.validate_json(written)
    record = records.kept(tx, message.records[0])
    consents = records.consents_at(tx, record.patient_key, basis.consent_version if basis else 0)
    return _Kept(message, attempt, quarantine.explanation(tx, message_id, n), basis, record, consents)


async def _replayed(adapter: Adapter, message_id: str, n: int) -> Replayed:
    kept = await adapter.store.read(_kept, message_id, n, adapter.clock())
    if kept.basis is None:
        return Replayed(kept.attempt, None, Fault("why.no-basis"))
    result = _decided(adapter, kept, kept.basis)
    return Replayed(kept.attempt, result.explanation, _verdict(adapter, kept, result))


def _decided(adapter: Adapter, kept: _Kept, basis: Basis) -> Cleared | Withheld:
    """The gate as it was set up then, asked the same question."""
    gate = Gate(senders=basis.senders, id_key=adapter.settings.store.id_key_file.read_bytes(), mapper=adapter.mapper)
    record = adapter.record(kept.record)
    return gate.clear(
        record,
        destination=basis.recipient,
        purpose=Purpose(kept.message.purpose),
        snapshot=adapter.snapshot(record, kept.consents),
        now=basis.now,
        request_id=kept.attempt.request_id,
        correlation_id=kept.message.correlation_id,
    )


def _verdict(adapter: Adapter, kept: _Kept, result: Cleared | Withheld) -> Fault:
    if kept.explanation is None:
        return Fault("why.made-anew", severity="information")
    if result.explanation != kept.explanation:
        then, now = json.read(kept.explanation), json.read(result.explanation)
        differs = _differing(then, now)
        return Fault("why.other-policy" if "policy" in differs else "why.differs", why=", ".join(differs))
    sent = kept.attempt.body_digest
    if sent is not None and not (isinstance(result, Cleared) and adapter.keys.fingerprint(result.body) == sent):
        return Fault("why.other-content")
    return Fault("why.identical", severity="information")


def _differing(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
