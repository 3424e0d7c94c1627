"""
The records: coordination in the region's own terms, frozen and typed. A record is the truth inside; FHIR is how it travels.

Swedish words are in docs/glossary.md. Where the law asks for something, the field names the paragraph.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from adapter.dates import Moment
from adapter.errors import Fault, Invalid
from adapter.sweden import HsaId, Mode, OrganisationNumber, check_person_number

T = TypeVar("T")


def _plain(text: str) -> str:
    if any(unicodedata.category(sign) in {"Cc", "Cs", "Co", "Cn"} and sign not in "\n\t" for sign in text):
        raise ValueError("text holds control characters")
    return unicodedata.normalize("NFC", text)


Text = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=4000, pattern=r"\S"), AfterValidator(_plain)
]
Line = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=200, pattern=r"^\S(?:[^\n\t]*\S)?$"),
    AfterValidator(_plain),
]
Uri = Annotated[str, StringConstraints(strict=True, max_length=255, pattern=r"^[a-z][a-z0-9+.-]*:[!-~]+$")]
Token = Annotated[str, StringConstraints(strict=True, max_length=255, pattern=r"^[!-~]+(?: [!-~]+)*$")]
Version = Annotated[StrictInt, Field(ge=1, le=2_147_483_647)]


class ActorCategory(StrEnum):
    """The closed list of who a region collaborates with (lag 2019:1297 3 §); ``vard`` is another care unit or region."""

    FORSAKRINGSKASSAN = "forsakringskassan"
    ARBETSGIVARE = "arbetsgivare"
    ARBETSFORMEDLINGEN = "arbetsformedlingen"
    KOMMUN = "kommun"
    SAMORDNINGSFORBUND = "samordningsforbund"
    VARD = "vard"


class Category(StrEnum):
    """What kind of information a mapping row carries. Consent and disclosure tables permit by category."""

    ADMINISTRATIVE = "administrative"
    IDENTITY = "identity"
    NAME = "name"
    PROTECTION = "protection"
    CARE_UNIT = "care-unit"
    CARE_PROVIDER = "care-provider"
    COORDINATOR = "coordinator"
    PARTICIPATION = "participation"
    SCHEDULE = "schedule"
    PLAN = "plan"
    GOAL = "goal"
    ACTIVITY = "activity"
    SICK_LEAVE = "sick-leave"
    REHABILITATION_NEED = "rehabilitation-need"
    CONSENT = "consent"
    CONSENT_REFERENCE = "consent-reference"
    BLOCK = "block"
    NOTE = "note"
    DIAGNOSIS = "diagnosis"


class Purpose(StrEnum):
    """Why something is disclosed. Codes: ``mappings/codes/purpose.toml``."""

    COORDINATION = "coordination"
    REHABILITATION_NEED = "rehabilitation-need"
    PATIENT_REQUEST = "patient-request"


class Protection(StrEnum):
    """Protected personal data (OSL 22:1): sekretessmarkering, skyddad folkbokföring."""

    SEKRETESSMARKERING = "sekretessmarkering"
    SKYDDAD_FOLKBOKFORING = "skyddad-folkbokforing"


class Channel(StrEnum):
    VISIT = "visit"
    PHONE = "phone"
    VIDEO = "video"
    LETTER = "letter"


class ConsentKind(StrEnum):
    """The four consents, which never stand in for each other (lag 2019:1297 3, 4 §§; OSL 10:1; lag 2022:913 3:1)."""

    INTERVENTIONS = "interventions"
    INFORM_FK = "inform-fk"
    COLLABORATE = "collaborate"
    SHARED_RECORDS = "shared-records"


class ConsentForm(StrEnum):
    ORAL = "oral"
    WRITTEN = "written"
    ELECTRONIC = "electronic"


class ConsentState(StrEnum):
    GIVEN = "given"
    WITHDRAWN = "withdrawn"
    REFUSED = "refused"
    ENTERED_IN_ERROR = "entered-in-error"


class WithdrawnBy(StrEnum):
    PATIENT = "patient"
    REPRESENTATIVE = "representative"


class Relation(StrEnum):
    """Who may speak for the patient: vårdnadshavare, god man, förvaltare, framtidsfullmaktshavare."""

    GUARDIAN = "guardian"
    GOD_MAN = "god-man"
    FORVALTARE = "forvaltare"
    AUTHORISED = "authorised"


class BlockKind(StrEnum):
    """Inre spärr (PDL 4:4), yttre spärr (lag 2022:913 2 kap.)."""

    INNER = "inner"
    OUTER = "outer"


class PlanKind(StrEnum):
    VARDPLAN = "vardplan"
    REHABILITERINGSPLAN = "rehabiliteringsplan"
    ATERGANG = "plan-for-atergang-i-arbete"
    SIP = "sip"


class PlanState(StrEnum):
    DRAFT = "draft"
    ACTIVE = "active"
    ON_HOLD = "on-hold"
    REVOKED = "revoked"
    COMPLETED = "completed"
    ENTERED_IN_ERROR = "entered-in-error"


class ActivityState(StrEnum):
    PLANNED = "planned"
    SCHEDULED = "scheduled"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Achievement(StrEnum):
    IN_PROGRESS = "in-progress"
    IMPROVING = "improving"
    ACHIEVED = "achieved"
    NOT_ACHIEVED = "not-achieved"


class InterventionKind(StrEnum):
    """Personligt stöd, intern samordning, samverkan (lag 2019:1297 3 § first paragraph)."""

    PERSONLIGT_STOD = "personligt-stod"
    INTERN_SAMORDNING = "intern-samordning"
    SAMVERKAN = "samverkan"


class TaskState(StrEnum):
    REQUESTED = "requested"
    RECEIVED = "received"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    IN_PROGRESS = "in-progress"
    ON_HOLD = "on-hold"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ENTERED_IN_ERROR = "entered-in-error"


class BusinessState(StrEnum):
    """How far the coordination has come; no diagnosis. Codes: ``mappings/codes/business-status.toml``."""

    VANTAR_PA_SAMTYCKE = "vantar-pa-samtycke"
    SKICKAD = "skickad"
    MOTTAGEN = "mottagen"
    KONTAKT_TAGEN = "kontakt-tagen"
    KARTLAGGNING = "kartlaggning"
    AVSTAMNINGSMOTE_BOKAT = "avstamningsmote-bokat"
    PLAN_UPPRATTAD = "plan-upprattad"
    UPPFOLJNING = "uppfoljning"
    AVSLUTAD_MAL_NATT = "avslutad-mal-natt"
    AVSLUTAD_ANNAN_ORSAK = "avslutad-annan-orsak"
    SAMTYCKE_ATERKALLAT = "samtycke-aterkallat"
    SPARRAD = "sparrad"


class OfferAnswer(StrEnum):
    ACCEPTED = "accepted"
    DECLINED = "declined"
    UNDECIDED = "undecided"


class Part(BaseModel):
    """A part of a record: frozen, closed, and silent about its values when it refuses them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


class BusinessId(Part):
    """Who gave the number, and the number: the identity of a record across systems."""

    system: Uri
    value: Token

    @property
    def name(self) -> str:
        """Both in one text, as the gate and its explanations name a record; ``named`` reads it."""
        return f"{self.system}|{self.value}"

    @classmethod
    def named(cls, name: str) -> Self:
        """
        The identifier of a ``name``.

        Raises:
            ValidationError: it is not one.
        """
        system, _, value = name.partition("|")
        return cls(system=system, value=value)


class PersonIdentity(Part):
    """An identity number of a person, by its kind in ``mappings/codes/identifiers.toml``."""

    kind: Literal["personnummer", "samordningsnummer", "nationelltReservnummer"] | str  # noqa: PYI051  names the usual ones
    number: Annotated[str, StringConstraints(strict=True)]

    @model_validator(mode="after")
    def _is_a_number_of_its_kind(self, info: ValidationInfo) -> Self:
        context = info.context or {}
        mode: Mode = context.get("mode", "production")
        today: date | None = context.get("today")
        warnings = check_person_number(self.kind, self.number, mode=mode, today=today)
        context.get("warnings", []).extend(warnings)
        return self


class Person(Part):
    """The patient, or another person by identity number. A name alone identifies nobody."""

    identity: PersonIdentity
    given_names: tuple[Line, ...] = ()
    family_name: Line | None = None
    protected: Protection | None = None
    deceased: StrictBool | None = None


class Professional(Part):
    """A member of staff by HSA-id, with the contact that others may use."""

    hsa_id: HsaId
    given_names: tuple[Line, ...] = ()
    family_name: Line | None = None
    phone: Line | None = None
    email: Line | None = None


class Unit(Part):
    """Vårdenhet: author of a record and key of an inner spärr."""

    hsa_id: HsaId
    name: Line | None = None
    phone: Line | None = None


class Provider(Part):
    """Vårdgivare: answers for the record and is the key of an outer spärr."""

    hsa_id: HsaId
    organisation_number: OrganisationNumber | None = None
    name: Line | None = None


class Actor(Part):
    """An outside actor: always an organisation with a number, never a name alone."""

    category: ActorCategory
    organisation_number: OrganisationNumber | None = None
    hsa_id: HsaId | None = None
    name: Line | None = None

    @model_validator(mode="after")
    def _has_a_number(self) -> Self:
        if self.organisation_number is None and self.hsa_id is None:
            raise ValueError("an actor needs an organisation number or an HSA-id")
        return self


def _cannot_be_ordered(start: Moment, end: Moment) -> bool:
    return start.is_part_of(end) or end.is_part_of(start)


class Period(Part):
    """From ``start`` through ``end``, both inclusive; a side that is missing is open."""

    start: Moment | None = None
    end: Moment | None = None

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.start is None and self.end is None:
            raise ValueError("a period needs a start or an end")
        if self.start is not None and self.end is not None and self.start.earliest > self.end.latest:
            raise ValueError("the period ends before it starts")
        if self.start is not None and self.end is not None and _cannot_be_ordered(self.start, self.end):
            raise ValueError("start and end are the same at different precision: write both as days, or both as times")
        return self


class Withdrawal(Part):
    """A consent is withdrawn from ``on`` and onwards; what was sent before stays sent."""

    on: Moment
    by: WithdrawnBy
    reason: Text | None = None


class Representative(Part):
    identity: PersonIdentity
    relation: Relation


class Attachment(Part):
    """The signed form, kept where the journal keeps it: a title and where, never the content."""

    title: Line
    content_type: Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z]+/[a-z0-9.+-]+$")]
    url: Uri


class Consent(Part):
    """
    One decision of one patient of one kind (lag 2019:1297 3, 4 §§). ``collaborate`` names one actor.

    Information was given before the consent (``informed_on`` ≤ ``given_on``); withdrawn ones are kept.
    """

    record: Literal["Consent"] = "Consent"
    id: BusinessId
    version: Version = 1
    kind: ConsentKind
    state: ConsentState
    patient: Person
    unit: Unit
    provider: Provider
    given_on: Moment
    form: ConsentForm
    informed_on: Moment
    informed_by: Professional
    recorded_by: Professional
    recipient: Actor | None = None
    purposes: tuple[Purpose, ...] = ()
    categories: tuple[Category, ...] = ()
    period: Period | None = None
    withdrawn: Withdrawal | None = None
    representative: Representative | None = None
    attachment: Attachment | None = None

    @model_validator(mode="after")
    def _follows_the_law(self) -> Self:
        if (self.state is ConsentState.WITHDRAWN) != (self.withdrawn is not None):
            raise ValueError("a withdrawn consent, and only that, says when and by whom it was withdrawn")
        if self.kind is ConsentKind.COLLABORATE and self.recipient is None:
            raise ValueError("a consent to collaborate names the actor")
        if (
            self.kind is ConsentKind.INFORM_FK
            and self.recipient
            and self.recipient.category is not ActorCategory.FORSAKRINGSKASSAN
        ):
            raise ValueError("a consent to inform Försäkringskassan cannot name another actor")
        if self.informed_on.earliest > self.given_on.latest:
            raise ValueError("the patient is informed before the consent is given")
        if self.withdrawn and self.withdrawn.by is WithdrawnBy.REPRESENTATIVE and self.representative is None:
            raise ValueError("a withdrawal by a representative needs the representative")
        return self


class Lift(Part):
    """A dated lift of a spärr for one unit, or one professional there (PDL 4:5)."""

    unit: Unit
    professional: Professional | None = None
    period: Period


class Block(Part):
    """A spärr: a denial that no consent lifts. Without dates everything of the unit (inner) or provider (outer) is blocked."""

    record: Literal["Block"] = "Block"
    id: BusinessId
    version: Version = 1
    kind: BlockKind
    patient: Person
    provider: Provider
    unit: Unit | None = None
    set_on: Moment
    information_period: Period | None = None
    lifts: tuple[Lift, ...] = ()


class SickLeave(Part):
    degree: Annotated[Literal[25, 50, 75, 100], Field(description="percent")]
    period: Period


class Goal(Part):
    text: Text
    target_date: Moment | None = None
    achievement: Achievement | None = None

    @model_validator(mode="after")
    def _target_is_a_day(self) -> Self:
        if self.target_date is not None and self.target_date.is_time:
            raise ValueError("a target date is a day, month or year")
        return self


class Activity(Part):
    """What is planned. ``actor`` decides which outside actor may hear of it; without one it stays in care."""

    text: Text
    state: ActivityState
    actor: Actor | None = None
    planned: Period | None = None
    intervention: BusinessId | None = None


class Diagnosis(Part):
    """Care side only: a code of ICD-10-SE. No disclosure table permits it outwards."""

    code: Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Z][0-9]{2}(?:\.?[0-9A-Z]{1,3})?$")]
    text: Line | None = None


class CarePlan(Part):
    record: Literal["CarePlan"] = "CarePlan"
    id: BusinessId
    version: Version = 1
    kind: PlanKind
    title: Line
    state: PlanState
    patient: Person
    author: Professional
    unit: Unit
    provider: Provider
    created_on: Moment
    period: Period | None = None
    sick_leave: tuple[SickLeave, ...] = ()
    goals: tuple[Goal, ...] = ()
    activities: tuple[Activity, ...] = ()
    participants: tuple[Actor, ...] = ()
    follow_ups: tuple[Moment, ...] = ()
    patient_took_part: StrictBool | None = None
    text: Text | None = None
    diagnoses: tuple[Diagnosis, ...] = ()


class Meeting(Part):
    """An actor met in an intervention, and the contact there."""

    actor: Actor
    contact: Line | None = None


class Intervention(Part):
    """A coordination intervention, journalled without diagnosis under KVÅ GC001: the type has no place for one."""

    record: Literal["Intervention"] = "Intervention"
    id: BusinessId
    version: Version = 1
    kind: InterventionKind
    code: Literal["GC001"] = "GC001"
    state: TaskState
    business_state: BusinessState | None = None
    state_reason: Text | None = None
    sequence: Version = 1
    patient: Person
    unit: Unit
    provider: Provider
    performer: Professional
    owner: Actor | None = None
    authored_on: Moment
    met: tuple[Meeting, ...] = ()
    channel: Channel | None = None
    planned: Period | None = None
    performed: Period | None = None
    plan: BusinessId | None = None
    consent: BusinessId | None = None
    note: Text | None = None
    outcome: Text | None = None
    next_step: Text | None = None

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if (
            self.state in {TaskState.REJECTED, TaskState.FAILED, TaskState.CANCELLED, TaskState.ON_HOLD}
            and not self.state_reason
        ):
            raise ValueError("a rejected, failed, cancelled or paused intervention says why")
        return self


class FkSignal(Part):
    """
    Impuls to Försäkringskassan (lag 2019:1297 4 §): that measures under SFB 30 kap. may be needed. No form, no text, no diagnosis.
    """

    record: Literal["FkSignal"] = "FkSignal"
    id: BusinessId
    version: Version = 1
    patient: Person
    unit: Unit
    provider: Provider
    sender: Professional
    need_may_be_assumed: Literal[True]
    contact_wished: Channel | None = None
    noted_on: Moment
    consent: BusinessId | None = None
    consent_given_on: Moment | None = None


class Offer(Part):
    """That coordination was offered, when, by whom, and the patient's answer (PDL 3:6; lag 2019:1297 1 §)."""

    record: Literal["Offer"] = "Offer"
    id: BusinessId
    version: Version = 1
    patient: Person
    unit: Unit
    provider: Provider
    offered_by: Professional
    offered_on: Moment
    answer: OfferAnswer
    answered_on: Moment | None = None
    reason: Text | None = None

    @model_validator(mode="after")
    def _answer_has_a_date(self) -> Self:
        if (self.answer is OfferAnswer.UNDECIDED) != (self.answered_on is None):
            raise ValueError("an answer, and only an answer, has a date")
        return self


Record = Consent | Block | CarePlan | Intervention | FkSignal | Offer
RECORDS: dict[str, type[Record]] = {kind.__name__: kind for kind in get_args(Record)}

_ANY: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="record")])


def read_record(
    document: Any, *, mode: Mode = "production", today: date | None = None
) -> tuple[Record, tuple[Fault, ...]]:
    """
    A record from its JSON form, and the warnings that test mode let pass.

    Raises:
        Invalid: every fault of the document, each with the field's path and the rule; never a value.
    """
    return read_part(_ANY, document, mode=mode, today=today)


def read_part(
    kind: TypeAdapter[T], document: Any, *, mode: Mode = "production", today: date | None = None
) -> tuple[T, tuple[Fault, ...]]:
    """As ``read_record``, for any closed form that is built of parts."""
    warnings: list[str] = []
    try:
        part = kind.validate_python(document, context={"mode": mode, "today": today, "warnings": warnings})
    except ValidationError as error:
        raise Invalid([_fault(found) for found in error.errors(include_input=False, include_url=False)]) from None
    return part, tuple(Fault("record.check-digit", "patient.identity", severity="warning") for _ in warnings)


def written_record(record: Record) -> dict[str, Any]:
    """The JSON form of a record, without absent fields. ``read_record`` gives the same record back."""
    return record.model_dump(mode="json", exclude_none=True)


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of every record kind."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "koord records",
        **_ANY.json_schema(ref_template="#/$defs/{model}"),
    }


_NAME = re.compile(r"[A-Za-z_]{1,40}$", re.ASCII)
_CODES = {
    "missing": "required",
    "extra_forbidden": "unknown-field",
    "union_tag_invalid": "unknown-kind",
    "union_tag_not_found": "unknown-kind",
}


def _fault(found: Any) -> Fault:
    """One pydantic error without its input: the path, and our own sentence or pydantic's rule name."""
    steps = [step for step in found["loc"] if step not in RECORDS]
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{_name(step)}" for step in steps).lstrip(".")
    rule = str(found["ctx"]["error"]) if found["type"] == "value_error" else found["type"].replace("_", " ")
    return Fault(f"record.{_CODES.get(found['type'], 'invalid')}", where or "record", rule)


def _name(step: str) -> str:
    """A field's name from a document, as far as it may be repeated in an error: never a number."""
    return step if _NAME.match(step) else "(not a name)"
