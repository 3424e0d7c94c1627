"""The parts of a running adapter, opened from the settings and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random, SystemRandom
from typing import Any, Final, Self, TypeVar
from uuid import UUID, uuid4

from adapter.consent import handed_over
from adapter.consent.gate import Cleared, Gate
from adapter.consent.handed_over import ForeignConsent
from adapter.consent.policy import Recipient, Snapshot
from adapter.domain import Block, BusinessId, Consent, Record, read_record, written_record
from adapter.errors import Conflict, Fault
from adapter.mapping import Mapper
from adapter.settings import JOURNAL, Destination, Peer, Settings
from adapter.store import Keys, Store, Transaction, destinations, load_keys, outbox, records
from adapter.store.audit import Entry
from adapter.store.inbox import Arrival
from adapter.store.outbox import Begun, Claim
from adapter.store.records import NewRecord, RecordRef, Version
from adapter.store.schedule import next_try
from adapter.sweden import HsaId, OrganisationNumber, person_key
from adapter.tables import load_every
from adapter.transport import Receipt, Transport
from adapter.wire import json
from adapter.wire.media import USUAL, Media

LOCAL: Final = "@local"
"""The source of what the local system hands over. Peers are sources by their id, and no id in the settings can be this."""
READER: Final = "reader:"
"""What a peer has read is entered under its id behind this, as what is sent is under the id of its destination."""

Kept = TypeVar("Kept", bound=Record | ForeignConsent)
"""What the store keeps in versions: a record of ours or a peer's, or a Consent of another system."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Adapter:
    """
    One region's adapter. ``clock`` gives aware times in UTC and is the only clock of the flows.

    ``recipients`` are the configured destinations, by id. ``journal_slots``: as many as may deliver to the region's own journal at
    a time.
    """

    settings: Settings
    store: Store
    keys: Keys
    mapper: Mapper
    gate: Gate
    recipients: Mapping[str, Recipient]
    transport: Transport
    clock: Callable[[], datetime] = _now
    random: Random = field(default_factory=SystemRandom)
    journal_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def open(
        cls, settings: Settings, *, transport: Transport | None = None, clock: Callable[[], datetime] = _now
    ) -> Self:
        """
        Read keys and tables, open the store, declare the destinations. ``transport``: another than the network's.

        Raises:
            Misconfigured: keys, tables or destinations cannot be used.
            StoreFault: the store cannot be opened.
        """
        if transport is None:
            from adapter.transport.rest import Rest  # noqa: PLC0415  most of the import time, and not every command sends

            transport = Rest(settings, clock=clock)
        keys = load_keys(settings.store.key_file)
        tables = load_every(settings.overlays)  # whoever calls may speak any release
        mapper = Mapper(tables["R4"], tables.__getitem__)
        store = Store.open(settings.store.path, keys, unit=settings.region.unit)
        declared = [destinations.Destination(d.id, d.max_inflight, d.on_error) for d in settings.destinations]
        at_once = 1 if settings.journal is None else settings.journal.max_inflight
        if settings.journal is not None:
            declared.append(destinations.Destination(JOURNAL, at_once))
        store.write(destinations.declare, declared, now=clock()).result()
        return cls(
            settings=settings,
            store=store,
            keys=keys,
            mapper=mapper,
            gate=Gate(
                senders=[settings.region.provider],
                id_key=settings.store.id_key_file.read_bytes(),
                mapper=mapper,
            ),
            recipients={d.id: recipient_of(d) for d in settings.destinations},
            transport=transport,
            clock=clock,
            journal_slots=asyncio.Semaphore(at_once),
        )

    async def close(self) -> None:
        """Let go of connections and the store."""
        await self.transport.aclose()
        self.store.close()

    # names in the store

    def record_id(self, source: str, identifier: BusinessId) -> str:
        """The id under which the store keeps a record of a source: the same for the same business id, and no trace of it."""
        digest = self.keys.fingerprint(f"{source}|{identifier.name}".encode())
        return str(UUID(bytes=digest[:16], version=5))

    def patient_key(self, record: Record | ForeignConsent) -> str:
        identity = record.patient.identity
        return self.keys.patient_key(person_key(identity.kind, identity.number))

    def new_record(self, source: str, record: Record | ForeignConsent, *, expected: int | None = None) -> NewRecord:
        return NewRecord(
            record_id=self.record_id(source, record.id),
            kind=record.record,
            patient_key=self.patient_key(record),
            body=record.body if isinstance(record, ForeignConsent) else json.canonical(written_record(record)),
            expected=expected,
        )

    def arrival(
        self, source: str, body: Mapping[str, Any], request_id: str | None, *, original: bytes, beyond: Iterable[Fault]
    ) -> Arrival:
        """What a peer sends, for the inbox. ``beyond``: what of it we cannot hold."""
        return Arrival(
            source=source,
            request_id=request_id or str(uuid4()),
            digest=self.keys.fingerprint(json.canonical(body)),
            origin="peer",
            original=original,
            loss=json.write([{"code": each.code, "where": each.where} for each in beyond]),
        )

    def entry(self, event: str, who: str, source: str, record: Record | ForeignConsent) -> Entry:
        """What is logged of a record that is taken over."""
        return Entry(
            event,
            who,
            self.record_id(source, record.id),
            patient_key=self.patient_key(record),
            unit=record.unit.hsa_id if record.unit else None,
        )

    def record(self, version: Version) -> Record:
        """The record that a stored version holds; it was checked when it came."""
        return read_record(json.read(version.body), mode="test")[0]

    def kept(self, version: Version) -> Record | ForeignConsent:
        """As ``record``, for whatever is kept in versions."""
        if version.kind == ForeignConsent.record:
            return handed_over.read(json.read(version.body), mode="test")[0]
        return self.record(version)

    def in_order(self, tx: Transaction, source: str, given: Iterable[tuple[str, Kept]]) -> Iterator[tuple[Kept, bool]]:
        """
        Whether each is the newest of its versions so far, kept or given: versions only rise, and one version has one content.
        ``given``: with the place of its version in what came.

        Raises:
            Conflict: ``exchange.same-version``.
        """
        newest: dict[str, Record | ForeignConsent | None] = {}
        for where, record in given:
            record_id = self.record_id(source, record.id)
            if record_id not in newest:
                stored = records.get(tx, record_id)
                newest[record_id] = self.kept(stored) if stored else None
            known = newest[record_id]
            if known is not None and record.version == known.version and record != known:
                raise Conflict(Fault("exchange.same-version", where))
            is_newest = known is None or record.version >= known.version
            if is_newest:
                newest[record_id] = record
            yield record, is_newest

    def business_ref(self, version: Version) -> tuple[str, int]:
        """How the gate names a stored version: business id and the record's own version."""
        record = self.record(version)
        return record.id.name, record.version

    # what a decision needs

    def voices(self, stored: records.Snapshot) -> dict[RecordRef, Consent | Block | ForeignConsent]:
        """The consents and blocks that count: what the local system has handed over, never what a peer has written."""
        handed = ((version.ref, self.kept(version)) for version in stored.records if version.origin == "local")
        return {ref: each for ref, each in handed if isinstance(each, Consent | Block | ForeignConsent)}

    def snapshot(self, record: Record | ForeignConsent, stored: records.Snapshot) -> Snapshot:
        """The patient's consents and blocks as the gate reads them."""
        voices = self.voices(stored).values()
        return Snapshot(
            patient=record.patient.identity,
            consent_version=stored.consent_version,
            consents=tuple(each for each in voices if isinstance(each, Consent)),
            blocks=tuple(each for each in voices if isinstance(each, Block)),
            foreign=tuple(each.document for each in voices if isinstance(each, ForeignConsent)),
        )

    def consents_of(self, cleared: Cleared, stored: records.Snapshot) -> tuple[RecordRef, ...]:
        """The consents that a disclosure was cleared on, as the store names them."""
        newest = {version.record_id: version.ref for version in stored.records}
        return tuple(newest[self.record_id(LOCAL, BusinessId.named(name))] for name, _ in cleared.consent_versions)

    # who got something

    def recipient(self, name: str) -> Recipient | None:
        """Who it is that something was entered for: a destination, or a reader; None if it is configured no more."""
        peer = self._reader(name)
        return reader_of(peer.id, peer.organisation) if peer else self.recipients.get(name)

    def told_at(self, name: str) -> str:
        """The destination where such a one is told something: a reader at its organisation's own, if it has one."""
        peer = self._reader(name)
        return min((d.id for d in self.settings.destinations if peer and _speaks_for(peer, d)), default=name)

    def _reader(self, name: str) -> Peer | None:
        return next((peer for peer in self.settings.peers if name == f"{READER}{peer.id}"), None)

    # an attempt

    async def begin(
        self, claim: Claim, cleared: Cleared, *, now: datetime, basis: bytes | None = None
    ) -> tuple[Begun, Cleared]:
        """
        Commit that an attempt starts, before its first byte, and the disclosure as it is to be sent: other bytes than last
        time have another request id. ``basis``: as in ``outbox.begin``.
        """
        digest = self.keys.fingerprint(cleared.body)
        request_id = claim.request_id_for(digest, now=now)
        begun = await self.store.write(
            outbox.begin,
            claim,
            consent_version=cleared.consent_version,
            body_digest=digest,
            request_id=request_id,
            now=now,
            basis=basis,
        )
        return begun, cleared if request_id == cleared.request_id else self.gate.renamed(cleared, request_id)

    def next_try(self, claim: Claim, receipt: Receipt) -> datetime | None:
        """When to send a message again that did not arrive; None: its time to live has ended. A notice lives for ever."""
        return next_try(
            claim.tries + 1,
            queued_at=claim.queued_at,
            now=self.clock(),
            rng=self.random,
            urgent=claim.urgent,
            retry_after=None if receipt.retry_after_s is None else timedelta(seconds=receipt.retry_after_s),
        )

    # waking the dispatcher

    def wake(self) -> None:
        """Something was queued."""
        self._woken.set()

    async def woken(self, at_most_s: float) -> None:
        """Wait until something is queued, at most so long."""
        try:
            async with asyncio.timeout(at_most_s):  # wait_for would lose a cancellation that comes with the wake
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            self._woken.clear()


def recipient_of(destination: Destination) -> Recipient:
    """Whom a configured destination belongs to, as the gate compares it."""
    return Recipient(
        destination=destination.id,
        type=destination.recipient,
        organisation_number=destination.organisation_number,
        hsa_id=destination.hsa_id,
        provider_hsa_id=(destination.provider or destination.hsa_id) if destination.recipient == "vard" else None,
        allows_protected_identity=destination.allows_protected_identity,
        format=destination.format,
        release=destination.release,
    )


def _speaks_for(peer: Peer, destination: Destination) -> bool:
    known = {destination.hsa_id, destination.provider, destination.organisation_number} - {None}
    return destination.recipient == "vard" and peer.organisation.upper() in {str(each).upper() for each in known}


def reader_of(peer: str, organisation: HsaId | OrganisationNumber, media: Media = USUAL) -> Recipient:
    """A care provider that reads, as the gate compares it."""
    hsa_id = organisation if isinstance(organisation, HsaId) else None
    return Recipient(
        destination=f"{READER}{peer}",
        type="vard",
        hsa_id=hsa_id,
        organisation_number=None if isinstance(organisation, HsaId) else organisation,
        provider_hsa_id=hsa_id,
        format=media.form,
        release=media.release,
    )
