"""
Records: every version kept, the newest one named, none deleted.

A body is the record's canonical bytes; the store compares, seals and returns them. A version whose body equals the newest
one's is not stored again. Kinds "Consent", "ForeignConsent" and "Block" decide what may leave: a new version of one raises the
patient's ``consent_version``, which fences attempts to send (see ``outbox.begin``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from adapter.errors import Conflict, Fault
from adapter.store.database import Row, Transaction
from adapter.store.instants import instant, micros

CONSENT_KINDS = frozenset({"Consent", "ForeignConsent", "Block"})

_VERSION = (
    "SELECT sequence, record_id, version, kind, patient_key, source, request_id, origin, received_at, body FROM record"
)


class RecordRef(NamedTuple):
    """One version of one record."""

    record_id: str
    version: int


@dataclass(frozen=True, slots=True)
class NewRecord:
    """
    A record to store. ``record_id`` is an opaque id, never a person's number; ``body`` its canonical bytes.

    ``expected``: the version that must be the newest now (0: there is none); None does not look.
    """

    record_id: str
    kind: str
    patient_key: str = field(repr=False)
    body: bytes = field(repr=False)
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a new record. ``unchanged``: the newest version had the same body, so nothing was added."""

    record_id: str
    version: int
    unchanged: bool

    @property
    def ref(self) -> RecordRef:
        return RecordRef(self.record_id, self.version)


@dataclass(frozen=True, slots=True)
class Version:
    """One version as it was stored. ``origin`` is "local" or "peer"; (source, request_id) is its row in the inbox."""

    sequence: int
    record_id: str
    version: int
    kind: str
    patient_key: str = field(repr=False)
    source: str
    request_id: str
    origin: str
    received_at: datetime
    body: bytes = field(repr=False)

    @property
    def ref(self) -> RecordRef:
        return RecordRef(self.record_id, self.version)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A patient's consents and blocks, the newest version of each, and the number that rises with every change of them."""

    consent_version: int
    records: tuple[Version, ...]


def put(  # noqa: PLR0913  named by the caller
    tx: Transaction, record: NewRecord, *, source: str, request_id: str, origin: str, now: datetime
) -> Stored:
    """
    Store a version.

    Raises:
        Conflict: ``store.stale-version`` (412), ``store.record-moved`` (the id is taken by another kind or patient).
    """
    digest = tx.keys.fingerprint(record.body)
    found = tx.one(
        "SELECT version, digest, kind, patient_key FROM record WHERE record_id = :id ORDER BY version DESC LIMIT 1",
        id=record.record_id,
    )
    newest = 0 if found is None else found[0]
    if record.expected not in {None, newest}:
        raise Conflict(Fault("store.stale-version", where=f"{record.kind}.version", named=(("newest", str(newest)),)))
    if found is not None:
        if (found[2], found[3]) != (record.kind, record.patient_key):
            raise Conflict(Fault("store.record-moved", where=f"{record.kind}.id"))
        if found[1] == digest:
            return Stored(record.record_id, newest, unchanged=True)
        tx.run(
            "UPDATE record SET newest = 0 WHERE record_id = :id AND version = :newest",
            id=record.record_id,
            newest=newest,
        )
    version = newest + 1
    tx.run(
        """
        INSERT INTO record (record_id, version, newest, kind, patient_key, source, request_id, origin, received_at, digest, body)
        VALUES (:id, :version, 1, :kind, :patient_key, :source, :request_id, :origin, :at, :digest, :body)
        """,
        id=record.record_id,
        version=version,
        kind=record.kind,
        patient_key=record.patient_key,
        source=source,
        request_id=request_id,
        origin=origin,
        at=micros(now),
        digest=digest,
        body=tx.keys.seal(record.body, "record", record.record_id, version),
    )
    if record.kind in CONSENT_KINDS:
        _raise_consent_version(tx, record.patient_key)
    return Stored(record.record_id, version, unchanged=False)


def get(tx: Transaction, record_id: str, version: int | None = None) -> Version | None:
    """A version of a record, the newest if none is named; None if there is none."""
    row = tx.one(
        _VERSION + " WHERE record_id = :id AND (:version IS NULL OR version = :version) ORDER BY version DESC LIMIT 1",
        id=record_id,
        version=version,
    )
    return None if row is None else _opened(tx, row)


def history(tx: Transaction, record_id: str) -> list[Version]:
    """Every version of a record, the oldest first."""
    return [_opened(tx, row) for row in tx.all(_VERSION + " WHERE record_id = :id ORDER BY version", id=record_id)]


def search(tx: Transaction, patient_key: str, kind: str | None = None) -> list[Version]:
    """The newest versions of a patient's records, of one kind if named, in the order they were last changed."""
    rows = tx.all(
        _VERSION
        + " WHERE patient_key = :patient_key AND newest = 1 AND (:kind IS NULL OR kind = :kind) ORDER BY sequence",
        patient_key=patient_key,
        kind=kind,
    )
    return [_opened(tx, row) for row in rows]


def changes(tx: Transaction, after: int, limit: int, *, origin: str | None = None) -> list[Version]:
    """Versions in the order they were committed, those after sequence ``after``; from one origin if named."""
    where = " WHERE sequence > :after" if origin is None else " WHERE origin = :origin AND sequence > :after"
    rows = tx.all(_VERSION + where + " ORDER BY sequence LIMIT :limit", after=after, origin=origin, limit=limit)
    return [_opened(tx, row) for row in rows]


def consents(tx: Transaction, patient_key: str) -> Snapshot:
    """What a decision about the patient must know. In a ``read`` it is one consistent view."""
    rows = tx.all(
        _VERSION
        + " WHERE patient_key = :patient_key AND newest = 1 AND kind IN ('Consent', 'ForeignConsent', 'Block') ORDER BY record_id",
        patient_key=patient_key,
    )
    return Snapshot(consent_version(tx, patient_key), tuple(_opened(tx, row) for row in rows))


def kept(tx: Transaction, ref: RecordRef) -> Version:
    """
    A version that something else in the store names.

    Raises:
        LookupError: it is not there, which no operation leaves behind.
    """
    version = get(tx, *ref)
    if version is None:
        raise LookupError("a record that is named is always kept")
    return version


def consents_at(tx: Transaction, patient_key: str, version: int) -> Snapshot:
    """
    What ``consents`` gave when the patient's consent version was ``version``: of the first so many versions of the
    patient's consents and blocks, in the order they were committed, the newest of each.
    """
    rows = tx.all(
        _VERSION  # noqa: S608  constants
        + """
        WHERE sequence IN (
            SELECT max(sequence) FROM (
                SELECT sequence, record_id FROM record WHERE record_id IN (
                    SELECT record_id FROM record
                    WHERE patient_key = :patient_key AND newest = 1 AND kind IN ('Consent', 'ForeignConsent', 'Block'))
                ORDER BY sequence LIMIT :version)
            GROUP BY record_id)
        ORDER BY record_id
        """,
        patient_key=patient_key,
        version=version,
    )
    return Snapshot(version, tuple(_opened(tx, row) for row in rows))


def consents_after(tx: Transaction, sequence: int, limit: int) -> list[Version]:
    """Versions of the consents that were handed over, of all patients, in the order they were committed; those after ``sequence``."""
    rows = tx.all(
        _VERSION + " WHERE kind IN ('Consent', 'ForeignConsent') AND origin = 'local' AND sequence > :sequence"
        " ORDER BY sequence LIMIT :limit",
        sequence=sequence,
        limit=limit,
    )
    return [_opened(tx, row) for row in rows]


def consent_version(tx: Transaction, patient_key: str) -> int:
    """The number that fences the patient's sends; 0 before there is a consent or block."""
    row = tx.one("SELECT consent_version FROM patient WHERE patient_key = :patient_key", patient_key=patient_key)
    return 0 if row is None else int(row[0])


def newest_ref(tx: Transaction, record_id: str) -> RecordRef:
    """
    The newest version of a record.

    Raises:
        Conflict: ``store.unknown-record``.
    """
    row = tx.one("SELECT max(version) FROM record WHERE record_id = :id", id=record_id)
    if row is None or row[0] is None:
        raise Conflict(Fault("store.unknown-record"))
    return RecordRef(record_id, row[0])


def _raise_consent_version(tx: Transaction, patient_key: str) -> None:
    tx.run(
        """
        INSERT INTO patient (patient_key, consent_version) VALUES (:patient_key, 1)
        ON CONFLICT (patient_key) DO UPDATE SET consent_version = patient.consent_version + 1
        """,
        patient_key=patient_key,
    )


def _opened(tx: Transaction, row: Row) -> Version:
    sequence, record_id, version, kind, patient_key, source, request_id, origin, received_at, sealed = row
    body = tx.keys.open(sealed, "record", record_id, version)
    return Version(
        sequence, record_id, version, kind, patient_key, source, request_id, origin, instant(received_at), body
    )
