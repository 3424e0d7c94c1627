"""
What is queued is sent: a lane is claimed, the gate decides at this moment, and what it clears goes to the transport.

A queue holds references, never cleared bytes. Between decision and first byte the attempt is committed against the
version of the patient's consents that was decided on; if that has changed, or a consent has ended meanwhile, the gate decides again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Final

from adapter.consent.decide import Reason
from adapter.consent.gate import Cleared, Withheld
from adapter.domain import Purpose
from adapter.errors import AdapterError
from adapter.flows import journal, notify, stopped, withdraw
from adapter.flows.adapter import Adapter
from adapter.flows.checkpoints import sign_regularly
from adapter.flows.why import Basis
from adapter.store import Transaction, audit, outbox, records, withdrawals
from adapter.store import stopped as receipts
from adapter.store.disclosures import Disclosure
from adapter.store.outbox import Begun, Claim, Dead, Delivered, Outcome, Refused, Retry
from adapter.store.records import Version
from adapter.store.schedule import wait_before
from adapter.transport import Receipt

log = logging.getLogger("adapter.dispatch")

LEASE: Final = timedelta(seconds=30)
"""Renewed while an attempt lasts, so that it never outlives its lease; after a crash others wait no longer than this."""
_RENEW_S: Final = 10.0
_DECIDE_AGAIN: Final = 20
_TRIES_AFTER_FAULT: Final = 3
_POLL_S: Final = 1.0


class Dispatcher:
    """Claims what is due and delivers it, many lanes at a time, each lane in order. Any number may share one store."""

    def __init__(self, adapter: Adapter, *, owner: str, lanes: int = 64) -> None:
        self.adapter, self.owner, self.lanes = adapter, owner, lanes
        self._tasks: set[asyncio.Task[None]] = set()
        self._swept: datetime | None = None

    async def run(self) -> None:
        """Until cancelled; then what is under way ends first. Meanwhile the audit log is signed at intervals."""
        adapter = self.adapter
        signing = asyncio.create_task(sign_regularly(adapter.store, adapter.settings, adapter.clock))
        try:
            while True:
                await self._sweep()
                if not await self.once():
                    await adapter.woken(_POLL_S)
        finally:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            signing.cancel()
            await asyncio.gather(signing, return_exceptions=True)

    async def once(self) -> bool:
        """Claim what is due and start to deliver it. False: nothing more to claim now."""
        free = self.lanes - len(self._tasks)
        if free <= 0:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            return True
        entries = await journal.due(self.adapter, free)
        claims = await self.adapter.store.write(
            outbox.claim, owner=self.owner, now=self.adapter.clock(), lease=LEASE, limit=free - len(entries)
        )
        for work in (*map(self._deliver, claims), *(journal.enter(self.adapter, entry) for entry in entries)):
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._done)
        return bool(claims or entries)

    async def drain(self) -> None:
        """Deliver all that is due now, and return when nothing is under way. For tests, exports and `koord send`."""
        more = True
        while more:
            more = bool(self._tasks)  # what ends while we look may leave something that is due
            more |= await self.once()
            if self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def _sweep(self) -> None:
        """Once a minute: what time itself brings."""
        now = self.adapter.clock()
        if self._swept is not None and now - self._swept < withdraw.SWEEP:
            return
        self._swept = now
        try:
            await withdraw.sweep(self.adapter)
        except AdapterError as error:
            log.error("sweep failed: %s", error.first.code)  # noqa: TRY400  a trace could hold content

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.adapter.wake()

    async def _deliver(self, claim: Claim) -> None:
        """One message, whatever happens: a fault of our own costs retries, then a person looks at it."""
        try:
            async with _holding(self.adapter, claim):
                await _WAYS.get(claim.purpose, deliver)(self.adapter, claim)
        except Exception as error:  # noqa: BLE001  a message that always fails must not be claimed for ever
            code = error.first.code if isinstance(error, AdapterError) else type(error).__name__
            log.error("attempt failed: %s", code, extra={"message_id": claim.message_id})  # noqa: TRY400  a trace could hold content
            await self._give_up_or_wait(claim)

    async def _give_up_or_wait(self, claim: Claim) -> None:
        now = self.adapter.clock()
        outcome: Outcome = Dead("exchange.internal")
        if claim.tries + 1 < _TRIES_AFTER_FAULT:
            outcome = Retry(
                now + wait_before(claim.tries + 1, self.adapter.random), "exchange.internal", peer_failed=False
            )
        entry = audit.Entry(
            "message.fault", "adapter", claim.message_id, "refused", "exchange.internal", claim.patient_key
        )
        # If the store itself is what fails, the lease runs out and the message is claimed again.
        with suppress(AdapterError):
            await self.adapter.store.write(outbox.complete, claim, outcome, attempt=None, entries=[entry], now=now)


_WAYS: Final[Mapping[str, Callable[[Adapter, Claim], Awaitable[Outcome | None]]]] = {
    withdrawals.PURPOSE: notify.deliver,
    receipts.PURPOSE: stopped.deliver,
}
"""How what is no record is delivered, by the purpose of its message."""


@asynccontextmanager
async def _holding(adapter: Adapter, claim: Claim) -> AsyncIterator[None]:
    """Keep the lane's lease for as long as the attempt lasts."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            if not await adapter.store.write(outbox.renew, claim, now=adapter.clock(), lease=LEASE):
                return

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()


async def deliver(adapter: Adapter, claim: Claim) -> Outcome | None:
    """One attempt. None: the lane was no longer ours, or the journal has not taken the entry: nothing was sent."""
    recipient = adapter.recipients[claim.destination]
    for _ in range(_DECIDE_AGAIN):
        record, stored = await adapter.store.read(_looked_up, claim)
        known, now = adapter.record(record), adapter.clock()
        basis = Basis(now, stored.consent_version, recipient, (adapter.settings.region.provider,)).written()
        snapshot = adapter.snapshot(known, stored)
        result = adapter.gate.clear(
            known,
            destination=recipient,
            purpose=Purpose(claim.purpose),
            snapshot=snapshot,
            now=now,
            request_id=claim.request_id,
            correlation_id=claim.correlation_id,
        )
        if isinstance(result, Withheld):
            return await _finish(adapter, claim, _refusal(result), None, result, basis)
        not_yet = await journal.announced(adapter, claim, known, result)
        if not_yet is not None:
            await adapter.store.write(outbox.postpone, claim, due_at=not_yet.due_at, reason=not_yet.reason)
            return None
        consents = adapter.consents_of(result, stored)  # before the first byte: what cannot be entered is not sent
        disclosed = Disclosure(claim.destination, claim.records, consents, tuple(result.categories))
        starts = adapter.clock()
        if not snapshot.is_as_it_was(now, starts):
            continue
        begun, cleared = await adapter.begin(claim, result, now=starts, basis=basis)
        if begun.status == "started":
            receipt = await adapter.transport.send(cleared)
            return await _finish(adapter, claim, _outcome(adapter, claim, disclosed, receipt), begun, cleared, basis)
        if begun.status == "lost":
            return None
    await adapter.store.write(outbox.give_back, claim)
    return None


def _refusal(withheld: Withheld) -> Outcome:
    """The gate's no is final. Only where the gate itself failed can a person release the message again."""
    if withheld.reason is Reason.GATE_ERROR:
        return Dead(withheld.reason, exposed=False)
    return Refused("withheld", withheld.reason)


def _looked_up(tx: Transaction, claim: Claim) -> tuple[Version, records.Snapshot]:
    """The record and the patient's consents in one view."""
    return records.kept(tx, claim.records[0]), records.consents(tx, claim.patient_key)


def _outcome(adapter: Adapter, claim: Claim, disclosed: Disclosure, receipt: Receipt) -> Outcome:
    if receipt.outcome in {"delivered", "duplicate"}:
        return Delivered(disclosed)
    due = _next_try(adapter, claim, receipt) if receipt.outcome == "retry" else None
    if due is None:
        return Dead(receipt.reason, exposed=receipt.exposed, peer_failed=receipt.peer_failed)
    return Retry(due, receipt.reason, exposed=receipt.exposed, peer_failed=receipt.peer_failed)


def _next_try(adapter: Adapter, claim: Claim, receipt: Receipt) -> datetime | None:
    used_up = receipt.at_most is not None and claim.tries + 1 >= receipt.at_most
    return None if used_up else adapter.next_try(claim, receipt)


async def _finish(  # noqa: PLR0913, PLR0917  all that is known of the attempt
    adapter: Adapter, claim: Claim, outcome: Outcome, begun: Begun | None, decided: Cleared | Withheld, basis: bytes
) -> Outcome:
    kind = type(outcome).__name__.lower()
    reason = "" if isinstance(outcome, Delivered) else outcome.reason
    entry = audit.Entry(
        f"message.{kind}",
        "adapter",
        claim.message_id,
        outcome="refused" if isinstance(outcome, Refused) else "ok",
        reason=reason,
        patient_key=claim.patient_key,
    )
    await adapter.store.write(
        outbox.complete,
        claim,
        outcome,
        attempt=begun.attempt if begun else None,
        entries=[entry],
        now=adapter.clock(),
        explanation=decided.explanation,
        basis=basis,
    )
    log.info(kind, extra={"message_id": claim.message_id, "destination": claim.destination, "reason": reason})
    return outcome
