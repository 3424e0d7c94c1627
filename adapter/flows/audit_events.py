"""
Entries of the audit log as FHIR R4 AuditEvents, after the patterns of IHE BALP (Basic Audit Log Patterns 1.1.3).

* What left with a message, or in the answer to a search: Privacy Disclosure at the source.
* What an authorised care provider read: Patient Read.
* What the gate withheld: Authorization Decision by consent, outcome 4. It is the same for every refusal: neither the reason
  nor the consents that were looked at are told, since both can say that something is blocked.
* Everything else follows no pattern of BALP and claims none.

The patient is the keyed hash that the log has; whoever holds the number and the store's keys can tell whose it is. BALP
wants the search itself in the event of a search (Patient Query); ours holds an identity number, so that pattern is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from adapter.dates import written as instant
from adapter.settings import Settings
from adapter.store import Transaction, disclosures, quarantine
from adapter.store.audit import Written
from adapter.store.disclosures import Entered
from adapter.store.records import RecordRef
from adapter.sweden import HsaId, identifier_systems
from adapter.tables import CANONICAL, EXTENSION, load

Json = dict[str, Any]

_BALP: Final = "https://profiles.ihe.net/ITI/BALP"
_THO: Final = "http://terminology.hl7.org/CodeSystem"
_DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_LIFECYCLE: Final = f"{_THO}/iso-21089-lifecycle"
_REST: Final = "http://hl7.org/fhir/restful-interaction"
_ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
EVENTS: Final = f"{CANONICAL}/CodeSystem/audit-event"
"""The system of our own event codes: every AuditEvent has its code as a subtype."""
_WITHHELD: Final = "The consent gate did not permit this."


@dataclass(frozen=True, slots=True)
class _Kind:
    """How an event is classified: type, action, further subtypes, and the BALP profile that it follows."""

    type: Json
    action: str
    subtypes: tuple[Json, ...] = ()
    profile: str = ""


def _coding(system: str, code: str) -> Json:
    return {"system": system, "code": code}


_DISCLOSE: Final = _coding(_LIFECYCLE, "disclose")
_DISCLOSED: Final = _Kind(_coding(_DCM, "110106"), "R", (_DISCLOSE,), "PrivacyDisclosure.Source")
_SEARCHED: Final = _Kind(
    _coding(_DCM, "110106"), "R", (_DISCLOSE, _coding(_REST, "search-type")), "PrivacyDisclosure.Source"
)
_READ: Final = _Kind(_coding(f"{_THO}/audit-event-type", "rest"), "R", (_coding(_REST, "read"),), "PatientRead")
_DENIED: Final = _Kind(
    _coding(_DCM, "110113"), "E", (_coding(f"{_BALP}/CodeSystem/AuthZsubType", "AuthZ-Consent"),), "AuthZconsent"
)
_OF_EVENT: Final = {
    "record.accepted": _Kind(_coding(_LIFECYCLE, "originate"), "C"),
    "record.received": _Kind(_coding(_LIFECYCLE, "receive"), "C"),
    "changes.read": _Kind(_coding(_LIFECYCLE, "access"), "R"),
    "explanation.read": _Kind(_coding(_DCM, "110101"), "R"),
    "message.retry": _Kind(_coding(_LIFECYCLE, "transmit"), "E"),
    "message.fault": _Kind(_coding(_LIFECYCLE, "transmit"), "E"),
    "message.dead": _Kind(_coding(_LIFECYCLE, "transmit"), "E"),
}
_OF_FAMILY: Final = {"audit": _Kind(_coding(_DCM, "110101"), "R")}
_OTHERWISE: Final = _Kind(_coding(_DCM, "110100"), "E")
_ANSWERS: Final = {"record.read": _READ, "record.searched": _SEARCHED, "message.delivered": _DISCLOSED}
_REFUSALS: Final = frozenset({"record.read", "record.searched", "message.refused", "message.blocked"})
_FAILURES: Final = {"retry": "4", "fault": "8", "dead": "8"}
"""Outcomes of attempts that neither were refused nor arrived, by the last word of their event: minor or serious failure."""


@dataclass(frozen=True, slots=True)
class _Other:
    """Who is on the other end: an identifier, and the address if it is known."""

    identifier: Json
    address: str | None


def audit_event(tx: Transaction, written: Written, settings: Settings) -> Json:
    """An entry of the log as an AuditEvent, with what the store knows of the message or the request that it is about."""
    entry = written.entry
    entered = (
        disclosures.of_message(tx, entry.patient_key, entry.what, written.at)
        if entry.event in _ANSWERS and entry.patient_key
        else []
    )
    kind = _kind(written, entered)
    event: Json = {
        "resourceType": "AuditEvent",
        "id": str(uuid5(NAMESPACE_URL, f"{settings.server.base_url}/audit/{written.sequence}")),
        "meta": {"profile": [f"{EXTENSION}koord-audit-event"]},
        "type": kind.type,
        "subtype": [*kind.subtypes, _coding(EVENTS, entry.event)],
        "action": kind.action,
        "recorded": str(instant(written.at)),
        "outcome": "4" if entry.outcome == "refused" else _FAILURES.get(entry.event.rpartition(".")[2], "0"),
        "agent": _agents(tx, written, kind, settings),
        "source": {
            "site": str(entry.unit or settings.region.unit),
            "observer": _self(settings),
            "type": [_coding(f"{_THO}/security-source-type", "6" if kind is _DENIED else "4")],
        },
    }
    if kind.profile:
        event["meta"]["profile"].append(f"{_BALP}/StructureDefinition/IHE.BasicAudit.{kind.profile}")
    if kind is _DENIED:
        event["outcomeDesc"] = _WITHHELD
    if entered:
        event["purposeOfEvent"] = [{"coding": [_purpose(entered[0].purpose)]}]
    if entities := list(_entities(written, kind, entered)):
        event["entity"] = entities
    return event


def _kind(written: Written, entered: Sequence[Entered]) -> _Kind:
    event = written.entry.event
    if event in _REFUSALS and written.entry.outcome == "refused":
        return _DENIED
    if event in _ANSWERS and entered:
        # Patient Read speaks of one resource.
        several = sum(len(each.disclosure.records) for each in entered) != 1
        return _DISCLOSED if event == "record.read" and several else _ANSWERS[event]
    return _OF_EVENT.get(event) or _OF_FAMILY.get(event.partition(".")[0], _OTHERWISE)


def _agents(tx: Transaction, written: Written, kind: _Kind, settings: Settings) -> list[Json]:
    entry = written.entry
    unit = _agent(_coding(f"{_THO}/v3-RoleClass", "PROV"), _organisation(entry.unit or settings.region.unit))
    if kind is _DENIED:
        other = _other(tx, written, settings)
        wanted = {"identifier": other.identifier}
        return [
            _agent(_coding(_DCM, "110150"), wanted, address=other.address, has_network=True),
            _agent(_coding(f"{_THO}/v3-ParticipationType", "IRCP"), wanted, requestor=True) | {"name": entry.who},
            _agent(_coding(f"{_THO}/v3-RoleClass", "PROV"), wanted),
            _agent(_coding(f"{_THO}/extra-security-role-type", "authserver"), _self(settings)),
        ]
    if kind.profile:
        other = _other(tx, written, settings)
        pushed = entry.event == "message.delivered"
        ours = _agent(_coding(_DCM, "110153"), _self(settings), address=settings.server.base_url, requestor=pushed)
        theirs = _agent(
            _coding(_DCM, "110152"),
            {"identifier": other.identifier},
            address=other.address,
            requestor=not pushed,
            has_network=True,
        )
        return [ours, theirs if pushed else theirs | {"altId": entry.who}, unit]
    person = entry.who.startswith("operator:")
    role = _coding(f"{_THO}/extra-security-role-type", "humanuser") if person else _coding(_DCM, "110150")
    who = _self(settings) if entry.who == "adapter" else {"identifier": _ours("user" if person else "peer", entry.who)}
    return [_agent(role, who, requestor=True), unit]


def _agent(
    role: Json, who: Json, *, requestor: bool = False, address: str | None = None, has_network: bool = False
) -> Json:
    agent: Json = {"type": {"coding": [role]}, "who": who, "requestor": requestor}
    if address is not None:
        agent["network"] = {"address": address, "type": "5"}
    elif has_network:
        agent["network"] = {"_address": {"extension": [{"url": _ABSENT, "valueCode": "unknown"}]}}
    return agent


def _other(tx: Transaction, written: Written, settings: Settings) -> _Other:
    """The recipient of a message, or who asked. By its HSA-id if it has one: an organisation number can be a person's."""
    entry = written.entry
    if entry.event.startswith("record."):
        unit = entry.unit or ""
        return _Other(_hsa_id(unit) if HsaId.pattern.fullmatch(unit) else _ours("peer", entry.who), None)
    message = quarantine.message(tx, entry.what, now=written.at)
    name = message.destination if message else ""
    for destination in settings.destinations:
        if destination.id == name:
            known = _hsa_id(destination.hsa_id) if destination.hsa_id else _ours("destination", name)
            return _Other(known, destination.url)
    return _Other(_ours("destination", name or "unknown"), None)


def _entities(written: Written, kind: _Kind, entered: Sequence[Entered]) -> list[Json]:
    entry = written.entry
    found: list[Json] = []
    if entry.patient_key:
        found.append(
            {
                "what": {"type": "Patient", "identifier": _ours("patient-key", entry.patient_key)},
                "type": _coding(f"{_THO}/audit-entity-type", "1"),
                "role": _coding(f"{_THO}/object-role", "1"),
            }
        )
    if kind is _DENIED:
        masked = {"extension": [{"url": _ABSENT, "valueCode": "masked"}]}
        return [*found, {"what": masked, "type": _coding("http://hl7.org/fhir/resource-types", "Consent")}]
    data = dict.fromkeys(ref for each in entered for ref in each.disclosure.records)
    consents = dict.fromkeys(ref for each in entered for ref in each.disclosure.consents)
    found += [
        {
            "what": {"identifier": _record(ref)},
            "type": _coding(f"{_THO}/audit-entity-type", "2"),
            "role": _coding(f"{_THO}/object-role", "4"),
        }
        for ref in data
    ]
    found += [
        {
            "what": {"type": "Consent", "identifier": _record(ref)},
            "type": _coding("http://hl7.org/fhir/resource-types", "Consent"),
        }
        for ref in consents
    ]
    if entry.what and not entered:
        found.append(
            {"what": {"identifier": _ours("logged", entry.what)}, "type": _coding(f"{_THO}/audit-entity-type", "4")}
        )
    return found


def _self(settings: Settings) -> Json:
    """This adapter, as the source of the event and one of those that took part."""
    return {"type": "Device", "identifier": {"system": "urn:ietf:rfc:3986", "value": settings.server.base_url}}


def _organisation(unit: str) -> Json:
    return {
        "type": "Organization",
        "identifier": _hsa_id(unit) if HsaId.pattern.fullmatch(unit) else _ours("peer", unit),
    }


def _hsa_id(value: str) -> Json:
    return {"system": identifier_systems()["hsaid"].uri, "value": str(value)}


def _record(ref: RecordRef) -> Json:
    return _ours("record", f"{ref.record_id}/{ref.version}")


def _ours(kind: str, value: str) -> Json:
    """An identifier of our own; its system says of what kind."""
    return {"system": f"{CANONICAL}/id/{kind}", "value": value}


def _purpose(key: str) -> Json:
    table = load().codes["purpose"]
    return _coding(table.systems[0], table.code(key) or key)
