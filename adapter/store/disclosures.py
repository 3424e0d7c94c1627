"""
Who received what, when, on which consent (PDL 3:11), and what may have left without our knowing.

A disclosure is entered in the transaction that marks its message delivered. An exposure is weaker: an attempt that began
and of which nobody can say that no byte arrived (a crash, a lost answer, a refusal after reading).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime

from adapter.store.database import Row, Transaction
from adapter.store.instants import instant, micros, new_id
from adapter.store.records import RecordRef

_ENTERED = """
    SELECT d.id, d.at, d.patient_key, d.destination, d.message_id, d.request_id, d.purpose, d.categories, d.recipient FROM disclosure d
"""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """
    What left: the recipient's identity (sealed), the record versions, the consents that allowed it, the categories of
    data.
    """

    recipient: str = field(repr=False)
    records: tuple[RecordRef, ...]
    consents: tuple[RecordRef, ...]
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entered:
    """A disclosure as it was entered."""

    id: str
    at: datetime
    patient_key: str = field(repr=False)
    destination: str
    message_id: str
    request_id: str
    purpose: str
    disclosure: Disclosure


@dataclass(frozen=True, slots=True)
class Exposure:
    """
    A message of which bytes left ("yes") or may have left ("perhaps"), with the latest such attempt on one version of the
    patient's consents (``records.consents_at``). ``urgent``: a notice of withdrawal.
    """

    message_id: str
    destination: str
    request_id: str
    at: datetime
    exposed: str
    records: tuple[RecordRef, ...]
    purpose: str
    consent_version: int
    urgent: bool


def enter(  # noqa: PLR0913  named by the caller
    tx: Transaction,
    disclosure: Disclosure,
    *,
    patient_key: str,
    destination: str,
    message_id: str,
    request_id: str,
    purpose: str,
    now: datetime,
) -> str:
    """Enter a disclosure; its id. For answers to reads there is no message: give the request's id as both."""
    entered = new_id(now)
    recipient = tx.keys.seal(disclosure.recipient.encode(), "disclosure", entered)
    tx.run(
        """
        INSERT INTO disclosure (id, at, patient_key, destination, message_id, request_id, purpose, categories, recipient)
        VALUES (:id, :at, :patient_key, :destination, :message_id, :request_id, :purpose, :categories, :recipient)
        """,
        id=entered,
        at=micros(now),
        patient_key=patient_key,
        destination=destination,
        message_id=message_id,
        request_id=request_id,
        purpose=purpose,
        categories=json.dumps(sorted(disclosure.categories)),
        recipient=recipient,
    )
    for role, refs in (("record", disclosure.records), ("consent", disclosure.consents)):
        for record_id, version in sorted(set(refs)):
            tx.run(
                "INSERT INTO disclosure_ref (disclosure_id, role, record_id, version) VALUES (:id, :role, :record_id, :version)",
                id=entered,
                role=role,
                record_id=record_id,
                version=version,
            )
    return entered


def of_patient(tx: Transaction, patient_key: str) -> list[Entered]:
    """Everything that was disclosed about a patient, the oldest first."""
    rows = tx.all(_ENTERED + " WHERE d.patient_key = :patient_key ORDER BY d.at, d.id", patient_key=patient_key)
    return [_entered(tx, row) for row in rows]


def of_message(tx: Transaction, patient_key: str, message_id: str, at: datetime) -> list[Entered]:
    """What was disclosed about a patient with one message, or in the answer to one request, at that moment."""
    rows = tx.all(
        _ENTERED + " WHERE d.patient_key = :patient_key AND d.message_id = :message_id AND d.at = :at ORDER BY d.id",
        patient_key=patient_key,
        message_id=message_id,
        at=micros(at),
    )
    return [_entered(tx, row) for row in rows]


def exposures(tx: Transaction, patient_key: str) -> list[Exposure]:
    """
    Every message about a patient of which bytes left or may have left, delivered or not, the oldest first; once for each
    version of the patient's consents that it left on.
    """
    rows = tx.all(
        """
        SELECT o.message_id, o.destination, a.request_id, max(a.at), max(a.exposed), o.records, o.purpose, a.consent_version, l.urgent
        FROM lane l JOIN outbox o ON o.lane_id = l.id JOIN attempt a ON a.outbox_id = o.id
        WHERE l.patient_key = :patient_key AND a.exposed <> 'no'
        GROUP BY o.id, a.consent_version ORDER BY o.id, a.consent_version
        """,
        patient_key=patient_key,
    )
    return [
        Exposure(
            message, destination, request, instant(at), exposed, refs_from(records), purpose, version or 0, bool(urgent)
        )
        for message, destination, request, at, exposed, records, purpose, version, urgent in rows
    ]


def refs_from(stored: str) -> tuple[RecordRef, ...]:
    """Record references as the outbox keeps them."""
    return tuple(RecordRef(record_id, version) for record_id, version in json.loads(stored))


def _entered(tx: Transaction, row: Row) -> Entered:
    entered, at, patient_key, destination, message_id, request_id, purpose, categories, recipient = row
    refs: dict[str, list[RecordRef]] = {"record": [], "consent": []}
    for role, record_id, version in tx.all(
        "SELECT role, record_id, version FROM disclosure_ref WHERE disclosure_id = :id ORDER BY record_id, version",
        id=entered,
    ):
        refs[role].append(RecordRef(record_id, version))
    opened = tx.keys.open(recipient, "disclosure", entered).decode()
    disclosure = Disclosure(opened, tuple(refs["record"]), tuple(refs["consent"]), tuple(json.loads(categories)))
    return Entered(entered, instant(at), patient_key, destination, message_id, request_id, purpose, disclosure)
