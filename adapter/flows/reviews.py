"""
Those who look into the audit log: search, systematic spot checks, export, and what a patient may be told.

Whoever looks is logged first, with whom it was about; what they then get ends before that entry.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal

from adapter.errors import Language
from adapter.flows.audit_events import audit_event
from adapter.flows.checkpoints import sign
from adapter.settings import Settings
from adapter.store import Store, Transaction, audit, checkpoints, quarantine
from adapter.store.audit import Query, Written
from adapter.wire import json

Format = Literal["jsonl", "fhir"]


@dataclass(frozen=True, slots=True)
class Review:
    """A look into the log of an installation by somebody, at a time."""

    store: Store
    settings: Settings
    who: str
    clock: Callable[[], datetime]

    async def search(self, query: Query, *, limit: int) -> list[Written]:
        """The newest entries that a query asks for, at most ``limit``, in their order."""
        last = await self._enter("audit.searched", query)
        return await self.store.read(_newest, query, last, limit)

    async def sample(self, query: Query, *, n: int, seed: str) -> list[Written]:
        """
        Entries about patients drawn at random for a systematic check (HSLF-FS 2016:40 4:9), in their order.

        At least one of each user at each care unit, so there may be more than ``n``. The same log, query and seed give
        the same entries.
        """
        last = await self._enter("audit.sampled", query, n=n, seed=seed)
        return await self.store.read(_sample, query, last, n, seed)

    async def of_patient(self, patient_key: str) -> list[Told]:
        """What a patient may be told of who has handled what is kept about them (PDL 4:3, 8:5)."""
        query = Query(patient_key=patient_key)
        last = await self._enter("audit.extracted", query)
        return await self.store.read(_told, query, last, self.settings)

    async def export(self, write: Callable[[bytes], object], query: Query, form: Format) -> int:
        """
        Hand the log to ``write`` in order, line by line, and say how many entries that were.

        ``jsonl``: the lines that checkpoints sign, each checkpoint after the last row that it speaks of; if the settings
        have a key a new one ends the log. ``fhir``: AuditEvents.
        """
        await self._enter("audit.exported", query, format=form)
        if self.settings.audit is not None:
            await sign(self.store, self.settings, self.clock)
        lines = _lines if form == "jsonl" else _events
        return await self.store.read(_pour, lambda tx: lines(tx, query, self.settings), write)

    async def _enter(self, event: str, query: Query, **more: Any) -> int:
        """Log the look; the number of the last row before it."""
        asked = {"event": query.event, "who": query.who, "outcome": query.outcome, **more}
        asked |= {name: at.isoformat() for name in ("since", "until") if (at := getattr(query, name)) is not None}
        details = json.canonical({name: value for name, value in asked.items() if value is not None})
        entry = audit.Entry(event, self.who, patient_key=query.patient_key, details=details)
        return await self.store.write(_entered, entry, now=self.clock())


@dataclass(frozen=True, slots=True)
class Told:
    """
    One line of a patient's log extract: when, at which care unit, what kind of measure, and who received something.

    The user is not told: the law gives the patient the care unit and the time, not the name of who works there.
    """

    at: datetime
    unit: str | None
    event: str
    outcome: str
    recipient: str | None
    recipient_type: str | None


def measure(event: str, outcome: str, language: Language) -> str:
    """What was done, in words for a patient."""
    known = (f"{event} {outcome}", event, event.partition(".")[0], "")
    return next(_MEASURES[name] for name in known if name in _MEASURES)[language]


def recipient(told: Told, language: Language) -> str | None:
    """Who received something, or wanted to, in words for a patient: what kind of recipient, and its name in the settings."""
    if told.recipient is None:
        return None
    kind = _RECIPIENTS.get(told.recipient_type or "")
    return f"{kind[language]} ({told.recipient})" if kind else told.recipient


_RECIPIENTS: Final[dict[str, dict[Language, str]]] = {
    "forsakringskassan": {"en": "Försäkringskassan", "sv": "Försäkringskassan"},
    "arbetsgivare": {"en": "employer", "sv": "arbetsgivare"},
    "arbetsformedlingen": {"en": "Arbetsförmedlingen", "sv": "Arbetsförmedlingen"},
    "kommun": {"en": "municipality", "sv": "kommun"},
    "samordningsforbund": {"en": "coordination association", "sv": "samordningsförbund"},
    "vard": {"en": "health care", "sv": "hälso- och sjukvård"},
    "patient": {"en": "the patient", "sv": "patienten"},
}
_MEASURES: Final[dict[str, dict[Language, str]]] = {
    "": {"en": "Other handling", "sv": "Annan hantering"},
    "record.accepted": {"en": "Entered by the care unit", "sv": "Infört av vårdenheten"},
    "record.received": {"en": "Received from another care provider", "sv": "Mottaget från en annan vårdgivare"},
    "record.read": {"en": "Read by a care provider", "sv": "Läst av en vårdgivare"},
    "record.read refused": {"en": "Reading was refused", "sv": "Läsning nekades"},
    "record.searched": {"en": "Searched for and read by a care provider", "sv": "Sökt och läst av en vårdgivare"},
    "record.searched refused": {"en": "A search was refused", "sv": "En sökning nekades"},
    "changes.read": {"en": "Fetched to the own journal system", "sv": "Hämtat till det egna journalsystemet"},
    "message.delivered": {"en": "Disclosed to a recipient", "sv": "Utlämnat till en mottagare"},
    "message.refused": {"en": "Not disclosed: no consent, or blocked", "sv": "Inte utlämnat: samtycke saknas eller spärr"},
    "message.blocked": {"en": "Not disclosed: consent was withdrawn or ended", "sv": "Inte utlämnat: samtycket återkallades eller upphörde"},
    "message.retry": {"en": "A disclosure failed and is tried again", "sv": "Ett utlämnande misslyckades och görs om"},
    "message.dead": {"en": "A disclosure was given up", "sv": "Ett utlämnande gavs upp"},
    "message.fault": {"en": "A disclosure failed", "sv": "Ett utlämnande misslyckades"},
    "message.released": {"en": "A stopped disclosure was allowed to go on", "sv": "Ett stoppat utlämnande släpptes vidare"},
    "message.discarded": {"en": "A disclosure was cancelled", "sv": "Ett utlämnande ställdes in"},
    "message.resent": {"en": "A disclosure was asked for again", "sv": "Ett utlämnande begärdes på nytt"},
    "withdrawal": {"en": "A recipient is told that a consent no longer holds", "sv": "En mottagare meddelas att ett samtycke inte längre gäller"},
    "withdrawal.received": {"en": "Another care provider told that a consent no longer holds", "sv": "En annan vårdgivare meddelade att ett samtycke inte längre gäller"},
    "withdrawal.stopped": {"en": "The use of what another care provider withdrew has stopped", "sv": "Användningen av det som en annan vårdgivare återkallade har upphört"},
    "receipt": {"en": "Another care provider is told that the use has stopped", "sv": "En annan vårdgivare meddelas att användningen har upphört"},
    "journal": {"en": "A disclosure is entered in the journal", "sv": "Ett utlämnande antecknas i journalen"},
    "explanation.read": {"en": "The reasons for a decision were read", "sv": "Skälen till ett beslut lästes"},
    "audit.searched": {"en": "The log was searched", "sv": "Loggen söktes igenom"},
    "audit.sampled": {"en": "The log was checked", "sv": "Loggen kontrollerades"},
    "audit.exported": {"en": "The log was exported", "sv": "Loggen exporterades"},
    "audit.extracted": {"en": "A log extract was made", "sv": "Ett loggutdrag gjordes"},
}  # fmt: skip


def _entered(tx: Transaction, entry: audit.Entry, *, now: datetime) -> int:
    last = audit.length(tx)
    audit.append(tx, [entry], now=now)
    return last


def _newest(tx: Transaction, query: Query, last: int, limit: int) -> list[Written]:
    return [audit.written(tx, row) for row in deque(audit.rows(tx, query, last=last), maxlen=limit)]


def _sample(tx: Transaction, query: Query, last: int, n: int, seed: str) -> list[Written]:
    """Each row has its lot; the lowest of each user at each unit is drawn, then the lowest of all until there are ``n``."""
    of_each: dict[tuple[str, str | None], tuple[bytes, int]] = {}
    lowest: list[tuple[int, int]] = []
    for row in audit.rows(tx, replace(query, about_patients=True), last=last):
        lot = sha256(f"{seed}\n{row[0]}".encode()).digest()
        stratum = (row[3], row[9])
        of_each[stratum] = min(of_each.get(stratum, (lot, row[0])), (lot, row[0]))
        heapq.heappush(lowest, (-int.from_bytes(lot), row[0]))
        if len(lowest) > n:
            heapq.heappop(lowest)
    drawn = {sequence for _, sequence in of_each.values()}
    for _, sequence in sorted(lowest, reverse=True):
        if len(drawn) < n:
            drawn.add(sequence)
    return [entry for number in sorted(drawn) for entry in audit.entries(tx, after=number - 1, limit=1)]


def _told(tx: Transaction, query: Query, last: int, settings: Settings) -> list[Told]:
    types = {destination.id: str(destination.recipient) for destination in settings.destinations}
    told = []
    for written in audit.find(tx, query, last=last):
        entry = written.entry
        recipient = None
        if entry.event.startswith("message."):
            message = quarantine.message(tx, entry.what, now=written.at)
            recipient = message.destination if message else None
        elif entry.event in {"record.read", "record.searched"}:
            recipient = entry.who
        kind = "vard" if entry.event.startswith("record.") and recipient else types.get(recipient or "")
        told.append(Told(written.at, entry.unit, entry.event, entry.outcome, recipient, kind))
    return told


def _lines(tx: Transaction, query: Query, _: Settings) -> Iterator[tuple[bytes, int]]:
    known = {each.rows: each.line() for each in checkpoints.after(tx, 0)}
    for row in audit.rows(tx, query):
        yield audit.line(row), 1
        if row[0] in known:
            yield known[row[0]], 0


def _events(tx: Transaction, query: Query, settings: Settings) -> Iterator[tuple[bytes, int]]:
    for row in audit.rows(tx, query):
        yield json.write(audit_event(tx, audit.written(tx, row), settings)) + b"\n", 1


def _pour(
    tx: Transaction, lines: Callable[[Transaction], Iterator[tuple[bytes, int]]], write: Callable[[bytes], object]
) -> int:
    count = 0
    for line, entries in lines(tx):
        write(line)
        count += entries
    return count
