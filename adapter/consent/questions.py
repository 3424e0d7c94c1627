"""
Questions to the engine as JSON, one on a line: the consents, who asks for what, and what is known of it. docs/decide.md has the format.

Policy ``generic`` decides by the consents alone. Policy ``koord`` adds our prohibitions, the tenant and the four kinds of consent,
and permits nothing that ``generic`` denies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import structs

from adapter.consent import disclosure
from adapter.consent.decide import Decision, Reason, Request, decide, generic
from adapter.consent.directives import Directive
from adapter.consent.explanation import explain
from adapter.consent.foreign import Reader, our_purpose
from adapter.consent.names import (
    Names,
    Resolver,
    asked,
    codings,
    identifier,
    identifiers,
    own_name,
    references,
    spoken,
    tells_a_person,
)
from adapter.consent.provisions import Refusal, RefusedError, moment, span
from adapter.consent.rules import Answer, Coding, Dialect, Party, Span, Subject
from adapter.domain import Category
from adapter.errors import AdapterError, Fault, Invalid
from adapter.tables import load
from adapter.validation import diagnosis_content
from adapter.wire import Limits, json

LIMITS: Final = Limits(depth=256)
"""Deeper than any other body, so that provisions within provisions are refused for what they are."""

_PATIENT, _TENANT = "the patient", "the tenant"
_TYPES: Final = ("http://hl7.org/fhir/resource-types", "http://hl7.org/fhir/fhir-types")
_PATIENTS: Final = ("subject", "patient", "for", "beneficiary")
_AUTHORS: Final = ("author", "recorder", "enterer", "asserter", "requester", "performer", "sender")
_ARISEN: Final = re.compile(r"(?:effective|onset|performed|occurrence)[A-Z]\w*|period|executionPeriod")
_WRITTEN: Final = re.compile(r"date|authoredOn|recordedDate|created|issued|recorded|sent|authored")
_PLACE: Final = re.compile(r"`\$\.?(?P<place>[\w.\[\]]*)`$")
_MISSING: Final = re.compile(r"missing required field `(?P<field>[A-Za-z]+)`")


class _Coding(msgspec.Struct):
    code: str
    system: str = ""

    @property
    def token(self) -> Coding:
        return self.system, self.code


class _Recipient(msgspec.Struct, forbid_unknown_fields=True):
    references: list[str] | None = None
    identifiers: list[dict[str, Any]] | None = None
    groups: list[str] | None = None
    type: str | None = None


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    patient: str
    recipient: _Recipient
    purpose: list[_Coding] | None = None
    action: _Coding | None = None
    category: list[_Coding] | None = None
    classes: list[_Coding] | None = None
    labels: list[_Coding] | None = None
    tenant: list[dict[str, Any]] | None = None


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    now: str
    policy: Literal["generic", "koord"]
    consents: list[dict[str, Any]]
    request: _Request
    id: str | int | None = None
    dialect: Dialect = Dialect.TREE
    actors: dict[str, dict[str, Any]] | None = None
    resource: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """
    One question in the internal form. ``ours``: under ``koord``, the same consents and request as our own policy reads
    them. ``diagnoses``: every sign of a diagnosis in the resource. ``digest``: SHA-256 of the consents, the same for any order of them.
    """

    directives: tuple[Directive, ...]
    request: Request
    subject: Subject
    now: datetime
    digest: str
    ours: tuple[tuple[Directive, ...], Request] | None = None
    diagnoses: tuple[Fault, ...] = ()


class Answered(NamedTuple):
    """A line of answer without its end, and whether the question could be read and decided."""

    line: bytes
    is_read: bool


def answer(line: bytes) -> Answered:
    """
    What is decided on the question in a line of JSON. Never raises: what cannot be read is a denial, ``UNREADABLE``; what
    goes wrong after that is one too, ``GATE_ERROR``.
    """
    name: str | int | None = None
    failure = Reason.UNREADABLE
    try:
        value = json.read(line, limits=LIMITS, require_object=True)
        if isinstance(value.get("id"), str | int) and not isinstance(value.get("id"), bool):
            name = value["id"]
        question = read(value)
        failure = Reason.GATE_ERROR
        decision, faults = decided(question)
        explanation = explain(decision, snapshot=question.digest, faults=faults)
        return Answered(_written(name, _outcome(decision), decision.reason, explanation), is_read=True)
    except AdapterError as error:
        return _failed(name, failure, error.faults)
    except Exception as error:  # noqa: BLE001  whatever is wrong with a line, the next one is read
        return _failed(name, failure, [Fault(failure.code, why=type(error).__name__)])


def decided(question: Question) -> tuple[Decision, tuple[Fault, ...]]:
    """
    The decision on a question, and what was found wrong with the resource. Under ``koord`` also the consents alone must permit.
    """
    alone = generic(question.directives, question.request, question.subject, question.now)
    if question.ours is None:
        return alone, ()
    directives, request = question.ours
    policy = disclosure.load()
    decision = decide(directives, request, question.subject, question.now, policy)
    most = policy.of.get(request.recipient.kind)
    if question.diagnoses and most and Category.DIAGNOSIS not in most.categories and not _is_prohibited(decision):
        return decision.stopped(Reason.DIAGNOSIS_CONTENT), question.diagnoses
    if decision.permitted and not alone.permitted:
        return structs.replace(alone, policy=decision.policy), ()
    return decision, ()


def read(value: Any) -> Question:
    """
    A question from a JSON object.

    Raises:
        Invalid: something is missing, of the wrong type, unknown, or not the reference or time that it should be.
    """
    try:
        line = msgspec.convert(value, _Line)
    except msgspec.ValidationError as error:
        place, missing = _PLACE.search(str(error)), _MISSING.search(str(error))
        where = [place["place"] if place else "", missing["field"] if missing else ""]
        raise _wrong(".".join(filter(None, where)), "missing, unknown or of the wrong type") from None
    return _Reading(line).question()


class _Reading:
    """One line while it is read."""

    def __init__(self, line: _Line) -> None:
        self._line, self._request = line, line.request
        self._resource: Mapping[str, Any] = line.resource or {}
        self._resolver = Resolver(line.actors or {})
        self._patient = self._names(self._request.patient, "request.patient")

    def question(self) -> Question:
        line, party = self._line, self._recipient()
        reader = Reader(self._patient, _PATIENT, self._resolver, line.dialect, party)
        request = Request(
            recipient=party,
            purposes=_tokens(self._request.purpose),
            senders=frozenset(),
            action=self._request.action.token if self._request.action else None,
        )
        try:
            now = moment(line.now, Refusal.UNPARSABLE_DATE).start
        except RefusedError:
            now = None
        if now is None:
            raise _wrong("now", "FHIR instant")
        return Question(
            directives=tuple(map(reader.read, line.consents)),
            request=request,
            subject=self._subject(),
            now=now,
            digest=sha256(b"\n".join(sorted(map(json.canonical, line.consents)))).hexdigest(),
            ours=self._ours(reader, request) if line.policy == "koord" else None,
            diagnoses=tuple(diagnosis_content(self._resource)) if line.policy == "koord" else (),
        )

    def _ours(self, reader: Reader, request: Request) -> tuple[tuple[Directive, ...], Request]:
        tenant = Names(identifiers=self._numbers(self._request.tenant, "request.tenant"))
        answers = {Answer.YES: _TENANT, Answer.NO: "another"}
        ours = replace(reader, custodian=lambda names: answers.get(names.answer(tenant), ""))
        asked = replace(
            request,
            recipient=self._recipient(self._request.recipient.type or ""),
            purposes=tuple(map(our_purpose, request.purposes)),
            senders=frozenset({_TENANT} if tenant.identifiers else ()),
        )
        return tuple(each for consent in self._line.consents for each in ours.read_as_ours(consent)), asked

    def _recipient(self, kind: str = "") -> Party:
        given = self._request.recipient
        forms, groups = (
            frozenset[str]().union(*(_forms(each, f"request.recipient.{place}") for each in listed or ()))
            for place, listed in (("references", given.references), ("groups", given.groups))
        )
        return Party(
            kind=kind,
            references=forms,
            identifiers=self._numbers(given.identifiers, "request.recipient.identifiers"),
            groups=groups,
        )

    def _subject(self) -> Subject:
        """What the request says of the data and what the data say of themselves, together."""
        resource, request = self._resource, self._request
        name = own_name(resource)
        own = self._names_of(resource)
        referred = (self._asked(each).all for each in references(list(resource.values())))
        authors = (self._asked(each).all for element in _AUTHORS for each in references([resource.get(element)]))
        kind = resource.get("resourceType")
        meta = resource.get("meta")
        labels = codings(meta.get("security")) if isinstance(meta, dict) else ()
        codes = {*codings(resource.get("code")), *codings(resource.get("category"))}
        known = {*_tokens(request.labels), *labels}
        at_hand = (resource, self._resolver(spoken(request.patient)) or {})
        return Subject(
            kind=_record(resource, codes) if resource else "",
            patient="" if self._is_anothers() else _PATIENT,
            name="" if tells_a_person(name) else name,
            custodian=_TENANT,
            types=_or_none({*_tokens(request.classes), *((each, kind) for each in _TYPES if isinstance(kind, str))}),
            codes=_or_none({*_tokens(request.category), *codes}),
            labels=_or_none(known),
            instances=frozenset({own.all}),
            dependents=frozenset({own.all, *referred}),
            authors=frozenset(authors),
            dates=_dates(resource),
            protected=any(_is_protected(each) for each in at_hand) or bool(known & _protections()),
            deceased=any(each.get("deceasedBoolean") is True or "deceasedDateTime" in each for each in at_hand),
        )

    def _is_anothers(self) -> bool:
        """Whether the data say that they are about another patient."""
        about = [self._resolver.named(self._resource.get(element)) for element in _PATIENTS]
        if self._resource.get("resourceType") == "Patient":
            about.append(Names(spoken(own_name(self._resource)), identifiers(self._resource)))
        return any(
            names.answer(self._patient) is Answer.NO
            for names in about
            if any("Patient/" in form for form in names.references)
        )

    def _asked(self, reference: Mapping[str, Any]) -> Names:
        """Every name of what a Reference in the data refers to."""
        text, number = reference.get("reference"), identifier(reference.get("identifier"))
        named = self._names(text, "") if isinstance(text, str) and asked(text) else Names()
        return named | Names(identifiers=frozenset({number} if number else ()))

    def _names(self, reference: str, place: str) -> Names:
        resource = self._resolver(spoken(reference))
        return Names(_forms(reference, place)) | (self._names_of(resource) if resource else Names())

    @staticmethod
    def _names_of(resource: Mapping[str, Any]) -> Names:
        return Names(asked(own_name(resource)), identifiers(resource))

    @staticmethod
    def _numbers(given: Sequence[Mapping[str, Any]] | None, place: str) -> frozenset[Coding]:
        found = [identifier(each) for each in given or ()]
        if None in found:
            raise _wrong(place, "FHIR Identifier")
        return frozenset(each for each in found if each)


def _forms(reference: str, place: str) -> frozenset[str]:
    forms = asked(reference)
    if not forms:
        raise _wrong(place, "FHIR Reference.reference")
    return forms


def _tokens(given: Iterable[_Coding] | None) -> tuple[Coding, ...]:
    return tuple(dict.fromkeys(each.token for each in given or ()))


def _or_none(known: Iterable[Any]) -> frozenset[Any] | None:
    """What is known, or None where nothing is."""
    return frozenset(known) or None


def _dates(resource: Mapping[str, Any]) -> Span | None:
    """From the first to the last instant of when it arose, or else of when it was written down; None if that cannot be told."""
    for names in (_ARISEN, _WRITTEN):
        given = [value for name, value in resource.items() if names.fullmatch(name)]
        if not given:
            continue
        try:
            return Span.around(
                span(each) if isinstance(each, dict) else moment(each, Refusal.UNPARSABLE_DATE) for each in given
            )
        except RefusedError:
            return None
    return None


def _record(resource: Mapping[str, Any], codes: Iterable[Coding]) -> str:
    """The kind of record that a resource carries, as the mapping tables recognise it; nothing for any other."""
    given = set(codes)
    for table in load().records.values():
        known = table.recognise
        if table.focus == resource.get("resourceType") and known:
            systems = known.codes.systems
            accepted = {known.code} if known.code else set(known.codes.read)
            if any(system in systems and code in accepted for system, code in given):
                return table.name
    return ""


def _is_protected(resource: Mapping[str, Any]) -> bool:
    meta = resource.get("meta")
    return isinstance(meta, dict) and not _protections().isdisjoint(codings(meta.get("security")))


def _protections() -> frozenset[Coding]:
    table = load().codes["protection"]
    return frozenset((system, code) for system in table.systems for code in table.keys.values())


def _is_prohibited(decision: Decision) -> bool:
    """Whether it was denied before any consent was looked at."""
    return not (decision.permitted or decision.missing or decision.findings)


def _outcome(decision: Decision) -> str:
    """A denial for want of a permission, and nothing else, is "no-consent"."""
    if decision.permitted:
        return "permit"
    lacking = {Reason.NO_CONSENT, *(each.reason for each in decision.missing)}
    return "no-consent" if decision.reason in lacking else "deny"


def _wrong(place: str, why: str) -> Invalid:
    return Invalid(Fault("gate.unreadable", place, why))


def _failed(name: str | int | None, reason: Reason, faults: Iterable[Fault]) -> Answered:
    """As an explanation, as far as there is one: what is wrong and where, never what was read."""
    fault = Fault(reason.code)
    document = {
        "decision": "deny",
        "faults": list(_places(faults)),
        "reason": reason,
        "sentence": {"en": fault.says("en"), "sv": fault.says("sv")},
    }
    return Answered(_written(name, "deny", reason, msgspec.json.encode(document, order="sorted")), is_read=False)


def _places(faults: Iterable[Fault]) -> Iterator[dict[str, Any]]:
    for fault in faults:
        row = {"code": fault.code, "column": fault.column, "where": fault.where, "why": fault.why}
        yield {name: value for name, value in row.items() if value is not None}


def _written(name: str | int | None, decision: str, reason: Reason, explanation: bytes) -> bytes:
    return msgspec.json.encode(
        {"id": name, "decision": decision, "reason": reason, "explanation": msgspec.Raw(explanation)}
    )
