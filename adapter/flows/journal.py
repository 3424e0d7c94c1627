"""
The entry in the region's own journal system (PDL 3 kap. 11 §), where one is configured: that a message is about to be sent, before
its first byte, and how it ended, when it has. The page is docs/journal.md.

A send that cannot be entered is not made: the message waits, which counts neither as a try nor against its recipient. How it
ended is written in the commit that ends it and told until the journal acknowledges it, for as long as that takes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from pydantic import TypeAdapter

from adapter.consent.gate import Cleared, Withheld
from adapter.consent.journal_entry import Handout
from adapter.consent.policy import Recipient
from adapter.domain import BusinessId, Category, Record
from adapter.errors import AdapterError
from adapter.flows.adapter import Adapter
from adapter.settings import JOURNAL, Journal
from adapter.store import Transaction, destinations, journal
from adapter.store.journal import Entry
from adapter.store.outbox import Claim
from adapter.store.schedule import LONGEST_URGENT_WAIT, wait_before
from adapter.transport import Receipt

log = logging.getLogger("adapter.journal")

UNREACHABLE: Final = "journal.unreachable"
REFUSED: Final = "journal.refused"
_HANDOUT: Final = TypeAdapter(Handout)


@dataclass(frozen=True, slots=True)
class NotYet:
    """The journal has not taken the entry, so the message must not be sent before ``due_at``."""

    due_at: datetime
    reason: str


async def announced(adapter: Adapter, claim: Claim, record: Record, cleared: Cleared) -> NotYet | None:
    """
    Enter that a message is about to be sent; None: it may be sent. Nothing to enter for a recipient of our own care provider,
    or where no journal is configured.
    """
    settings = adapter.settings.journal
    recipient = adapter.recipients[claim.destination]
    if settings is None or not _is_outside(adapter, recipient):
        return None
    handout = _HANDOUT.dump_json(_handout(adapter, claim, record, recipient, cleared))
    entry = await adapter.store.write(_announce, adapter, claim, handout, settings)
    if isinstance(entry, datetime):
        return NotYet(entry, UNREACHABLE)
    if entry.acknowledged or not settings.required:
        return None
    return await _told(adapter, entry, settings)


async def due(adapter: Adapter, limit: int) -> list[Entry]:
    """Entries that the journal is to be told now, at most as many as it takes at a time. They are for ``enter``."""
    settings = adapter.settings.journal
    if settings is None or limit <= 0:
        return []
    return await adapter.store.write(_claim, adapter, settings, min(limit, settings.max_inflight))


async def enter(adapter: Adapter, entry: Entry) -> None:
    """Tell the journal how a message ended; if it does not take it, later again. Never raises: a lease that runs out tries again."""
    try:
        assert adapter.settings.journal is not None  # noqa: S101  that is where entries come from
        await _told(adapter, entry, adapter.settings.journal)
    except Exception as error:  # noqa: BLE001  an entry must not be lost for a fault of our own
        code = error.first.code if isinstance(error, AdapterError) else type(error).__name__
        log.error("entry failed: %s", code, extra={"message_id": entry.message_id})  # noqa: TRY400  a trace could hold content


def _is_outside(adapter: Adapter, recipient: Recipient) -> bool:
    """Whether it is handed out at all: within one care provider it is not."""
    provider = recipient.provider_hsa_id
    return provider is None or not provider.same(adapter.settings.region.provider)


def _handout(adapter: Adapter, claim: Claim, record: Record, recipient: Recipient, cleared: Cleared) -> Handout:
    return Handout(
        message_id=claim.message_id,
        patient=record.patient.identity,
        to=recipient.hsa_id or recipient.organisation_number,
        provider=record.provider.hsa_id,
        unit=record.unit.hsa_id if record.unit else None,
        records=((adapter.mapper.tables.records[record.record].focus, record.id, record.version),),
        consents=tuple((BusinessId.named(name), version) for name, version in cleared.consent_versions),
        categories=tuple(Category(each) for each in cleared.categories),
    )


def _announce(tx: Transaction, adapter: Adapter, claim: Claim, handout: bytes, settings: Journal) -> Entry | datetime:
    """The entry to deliver, or when to try again: a journal that has been down is asked again as its breaker allows."""
    now = adapter.clock()
    known = journal.get(tx, claim.message_id)
    closed_until = destinations.open_until(tx, JOURNAL)
    if settings.required and not (known and known.acknowledged) and closed_until is not None and closed_until > now:
        return closed_until
    entry = journal.announce(
        tx,
        claim.message_id,
        patient_key=claim.patient_key,
        correlation_id=claim.correlation_id,
        handout=handout,
        told=settings.required,
        now=now,
    )
    return entry or now + wait_before(1, adapter.random)


def _claim(tx: Transaction, adapter: Adapter, settings: Journal, limit: int) -> list[Entry]:
    now = adapter.clock()
    closed_until = destinations.open_until(tx, JOURNAL)
    if closed_until is not None and closed_until > now:
        return []
    lease = timedelta(seconds=settings.send_timeout_s) * 2 + timedelta(seconds=30)
    return journal.claim(tx, now=now, lease=lease, limit=limit)


async def _told(adapter: Adapter, entry: Entry, settings: Journal) -> NotYet | None:
    """Deliver an entry, and note what became of it."""
    own = adapter.settings.region.provider
    cleared = adapter.gate.entry(
        _HANDOUT.validate_json(entry.handout, context={"mode": "test"}),
        entry.status,
        at=entry.at,
        journal=Recipient(
            JOURNAL, "journal", hsa_id=own, provider_hsa_id=own, format=settings.format, release=settings.release
        ),
        now=adapter.clock(),
        # One for each thing that it says: the same again after a crash or a lost answer.
        request_id=str(uuid5(NAMESPACE_URL, f"urn:uuid:{entry.message_id}#{entry.version}")),
        correlation_id=entry.correlation_id,
    )
    if isinstance(cleared, Withheld):
        receipt = Receipt("quarantine", cleared.reason.code, exposed=False)
    else:
        async with adapter.journal_slots:
            receipt = await adapter.transport.send(cleared)
    not_yet = await adapter.store.write(_note, adapter, entry, receipt)
    if not_yet is not None:
        log.warning("not entered: %s", receipt.reason, extra={"message_id": entry.message_id})
    return not_yet


def _note(tx: Transaction, adapter: Adapter, entry: Entry, receipt: Receipt) -> NotYet | None:
    now = adapter.clock()
    destinations.record_outcome(tx, JOURNAL, ok=not receipt.peer_failed, now=now)
    if receipt.outcome in {"delivered", "duplicate"}:
        journal.acknowledge(tx, entry, now=now)
        return None
    wait = wait_before(entry.tries + 1, adapter.random, urgent=True)
    asked = timedelta(seconds=receipt.retry_after_s or 0)
    due_at = max(now + min(max(wait, asked), LONGEST_URGENT_WAIT), destinations.open_until(tx, JOURNAL) or now)
    journal.postpone(tx, entry, due_at=due_at)
    return NotYet(due_at, UNREACHABLE if receipt.outcome == "retry" else REFUSED)
