"""
The entry in the sending care provider's own journal: that something was handed out, to whom, when, and on which consents.

PDL 3 kap. 11 § asks for to whom and when; PDL 3 kap. 6 § for who answers for the entry. It is one Communication with business
identifiers, and nothing of what the records say. ``ENTRY`` is the closed list that the last look compares with, written by hand
apart from ``bundle``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

from adapter.consent.disclosure import AllowList
from adapter.domain import BusinessId, Category, PersonIdentity
from adapter.mapping import Package, Resource, transaction
from adapter.profiles import EXTENSION
from adapter.sweden import HsaId, OrganisationNumber, identifier_systems

Status = Literal["preparation", "completed", "not-done", "unknown"]

_URN: Final = "urn:ietf:rfc:3986"
_CATEGORY: Final = "https://koord.example/fhir/CodeSystem/information-category"
_VERSION: Final = f"{EXTENSION}version"
_UNIT: Final = f"{EXTENSION}care-unit"


@dataclass(frozen=True, slots=True)
class Handout:
    """
    What a message hands out. ``to``: the recipient's HSA-id or organisation number, None for the patient herself.
    ``records``: resource type, business id and version of each; ``consents``: those that allowed it.
    """

    message_id: str
    patient: PersonIdentity = field(repr=False)
    to: HsaId | OrganisationNumber | None = field(repr=False)
    provider: HsaId
    unit: HsaId | None
    records: tuple[tuple[str, BusinessId, int], ...]
    consents: tuple[tuple[BusinessId, int], ...]
    categories: tuple[Category, ...]


CATEGORIES: Final = frozenset({Category.ADMINISTRATIVE, Category.IDENTITY})
"""What an entry holds."""
ENTRY: Final = AllowList(
    recipient="journal",
    elements={
        "Bundle": frozenset({"type", "entry.fullUrl", "entry.request.method", "entry.request.url"}),
        "Communication": frozenset(
            {
                "id",
                "meta.profile",
                "identifier.system",
                "identifier.value",
                "status",
                "category.coding.system",
                "category.coding.code",
                "subject.type",
                "subject.identifier.system",
                "subject.identifier.value",
                "about.type",
                "about.identifier.system",
                "about.identifier.value",
                "about.extension:version.valuePositiveInt",
                "sent",
                "recipient.type",
                "recipient.identifier.system",
                "recipient.identifier.value",
                "sender.type",
                "sender.identifier.system",
                "sender.identifier.value",
                "extension:care-unit.valueReference.type",
                "extension:care-unit.valueReference.identifier.system",
                "extension:care-unit.valueReference.identifier.value",
                "payload.extension:version.valuePositiveInt",
                "payload.contentReference.type",
                "payload.contentReference.identifier.system",
                "payload.contentReference.identifier.value",
            }
        ),
    },
    values={
        "Bundle.type": frozenset({"transaction"}),
        "Bundle.entry.request.method": frozenset({"PUT"}),
        "Communication.meta.profile": frozenset({"https://koord.example/fhir/StructureDefinition/koord-journal-entry"}),
        "Communication.identifier.system": frozenset({"urn:ietf:rfc:3986"}),
        "Communication.status": frozenset({"preparation", "completed", "not-done", "unknown"}),
        "Communication.category.coding.system": frozenset(
            {"https://koord.example/fhir/CodeSystem/information-category"}
        ),
        "Communication.category.coding.code": frozenset(each.value for each in Category),
        "Communication.subject.type": frozenset({"Patient"}),
        "Communication.about.type": frozenset({"Consent"}),
        "Communication.recipient.type": frozenset({"Organization", "Patient"}),
        "Communication.sender.type": frozenset({"Organization"}),
        "Communication.extension:care-unit.valueReference.type": frozenset({"Organization"}),
        "Communication.payload.contentReference.type": frozenset({"Task", "CarePlan", "Consent"}),
    },
)
"""All that may stand in an entry."""


def bundle(handout: Handout, status: Status, at: datetime | None, logical_id: str) -> Resource:
    """The entry as a transaction of one Communication, written under one id: a repeat does no harm, and the last word counts."""
    systems = identifier_systems()
    patient = {"system": systems[handout.patient.kind].uri, "value": handout.patient.number}
    communication: Resource = {
        "resourceType": "Communication",
        "id": logical_id,
        "meta": {"profile": [f"{EXTENSION}koord-journal-entry"]},
        "extension": [{"url": _UNIT, "valueReference": _organisation(handout.unit)}] if handout.unit else [],
        "identifier": [{"system": _URN, "value": f"urn:uuid:{handout.message_id}"}],
        "status": status,
        "category": [{"coding": [{"system": _CATEGORY, "code": each.value}]} for each in handout.categories],
        "subject": {"type": "Patient", "identifier": patient},
        "about": [_versioned(_logical("Consent", consent), version) for consent, version in handout.consents],
        "sent": at.astimezone(UTC).isoformat(timespec="milliseconds") if at else None,
        "recipient": [_organisation(handout.to) if handout.to else {"type": "Patient", "identifier": patient}],
        "sender": _organisation(handout.provider),
        "payload": [
            _versioned({"contentReference": _logical(kind, record)}, version)
            for kind, record, version in handout.records
        ],
    }
    return transaction(Package(({name: value for name, value in communication.items() if value},)))


def _organisation(number: HsaId | OrganisationNumber) -> Resource:
    system = identifier_systems()["hsaid" if isinstance(number, HsaId) else "orgnr"].uri
    return {"type": "Organization", "identifier": {"system": system, "value": str(number)}}


def _logical(kind: str, identifier: BusinessId) -> Resource:
    return {"type": kind, "identifier": {"system": identifier.system, "value": identifier.value}}


def _versioned(element: Resource, version: int) -> Resource:
    return {"extension": [{"url": _VERSION, "valuePositiveInt": version}], **element}
