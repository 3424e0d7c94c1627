"""
Consents of other systems as they are handed over and kept: exactly as they came, under their own names.

What one means is read anew at every decision (``adapter.consent.foreign``). Here it is told which Consent it is, of which
version, and whose: what must be known of every one, since also one that cannot be read may hold a denial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, ClassVar, Final

from pydantic import TypeAdapter, ValidationError

from adapter.consent.foreign import Reader, consents_in, patient_of
from adapter.consent.names import Names, Resolver, identifiers
from adapter.consent.rules import Coding
from adapter.domain import BusinessId, Person, read_part
from adapter.errors import Fault, Invalid
from adapter.sweden import Mode, identifier_systems
from adapter.tables import EXTENSION
from adapter.wire import json

_PERSON: Final = TypeAdapter(Person)


@dataclass(frozen=True, slots=True)
class ForeignConsent:
    """
    A Consent of another system in one version. ``identifiers``: all that it is known by, ``id`` the first of them.
    ``document``: as it came, alone or in a Bundle with what it refers to; ``body``: its canonical bytes.
    """

    record: ClassVar[str] = "ForeignConsent"
    unit: ClassVar[None] = None

    id: BusinessId
    version: int
    patient: Person = field(repr=False)
    identifiers: frozenset[Coding] = field(repr=False)
    body: bytes = field(repr=False)
    document: Mapping[str, Any] = field(repr=False, compare=False)

    def is_known_as(self, other: ForeignConsent) -> bool:
        """Whether the two have an identifier in common."""
        return not self.identifiers.isdisjoint(other.identifiers)


def read(
    document: Any, *, mode: Mode = "production", today: date | None = None
) -> tuple[ForeignConsent, tuple[Fault, ...]]:
    """
    A Consent in FHIR R4 or R5, alone or in a Bundle with what it refers to, and what test mode let pass.

    Raises:
        Invalid: ``exchange.consent-form``: it is not one Consent; ``exchange.own-consent``: it is one of ours;
            ``exchange.consent-id``, ``exchange.consent-version``, ``exchange.consent-patient``: that cannot be told.
    """
    consent, resolver = _taken_apart(document)
    if is_ours(consent):
        raise Invalid(Fault("exchange.own-consent", "Consent"))
    told = Reader(Names(), "", resolver).read(consent)
    patient, warnings = _patient(patient_of(consent, resolver), mode, today)
    known = identifiers(consent)
    read = ForeignConsent(
        id=_id(told.id, known),
        version=_version(told.version, consent.get("meta")),
        patient=patient,
        identifiers=frozenset((system, value) for system, value in known if system),
        body=json.canonical(document),
        document=document,
    )
    return read, warnings


def is_ours(consent: Mapping[str, Any]) -> bool:
    """Whether a Consent was made by this adapter or one like it: those carry the version of their record."""
    given = consent.get("extension")
    urls = [each.get("url") for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    return f"{EXTENSION}version" in urls


def _taken_apart(document: Any) -> tuple[dict[str, Any], Resolver]:
    try:
        (consent,), resolver = consents_in(document)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise Invalid(Fault("exchange.consent-form", "Consent")) from None
    if not isinstance(consent, dict) or consent.get("resourceType") != "Consent":
        raise Invalid(Fault("exchange.consent-form", "Consent"))
    return consent, resolver


def _id(name: str, known: frozenset[Coding]) -> BusinessId:
    """The name that explanations have for it, if that is an identifier with a system."""
    try:
        found = BusinessId.named(name)
    except ValidationError:
        found = None
    if found is None or (found.system, found.value) not in known:
        raise Invalid(Fault("exchange.consent-id", "Consent.identifier"))
    return found


def _version(read: int, meta: Any) -> int:
    """A Consent without a version is the first one. What is no number cannot be put in order."""
    given = meta.get("versionId", "1") if isinstance(meta, dict) else "1"
    if read < 1 or given != str(read):
        raise Invalid(Fault("exchange.consent-version", "Consent.meta.versionId"))
    return read


def _patient(names: Names, mode: Mode, today: date | None) -> tuple[Person, tuple[Fault, ...]]:
    """The one person by whose number it names its patient."""
    systems = identifier_systems()
    people = [(system, value) for system, value in names.identifiers if system in systems and systems[system].person]
    wrong = Invalid(Fault("exchange.consent-patient", "Consent.patient"))
    if len(people) != 1:
        raise wrong
    ((kind, number),) = people
    try:
        return read_part(_PERSON, {"identity": {"kind": kind, "number": number}}, mode=mode, today=today)
    except Invalid:
        raise wrong from None
