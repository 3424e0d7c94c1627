"""
Consents of other systems, in FHIR R4 or R5, read into the internal form. The page is docs/decide.md.

What cannot be read with certainty is refused with a coded reason, since it may hold a denial; what can be told of any consent, whose it
is and when it holds, is told of one that is refused too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import reduce
from hashlib import sha256
from operator import or_
from typing import Any, Final, TypeVar

from adapter.consent.directives import Directive, Source, Status
from adapter.consent.names import (
    Names,
    Resolver,
    codings,
    identifier,
    identifiers,
    is_contained,
    is_understood,
    tells_a_person,
)
from adapter.consent.provisions import (
    Form,
    Json,
    Provisions,
    Refusal,
    RefusedError,
    check_elements,
    effect,
    listed,
    moment,
    span,
)
from adapter.consent.rules import NOBODY, Answer, Coding, Dialect, Effect, Party, Rule, Span
from adapter.tables import load
from adapter.wire import LIMITS, json

_T = TypeVar("_T")


class DeniesOnly(StrEnum):
    """The kind of a consent whose denials hold and that opens nothing: no recipient needs a consent of these kinds."""

    NO_KNOWN_PATIENT = "no-known-patient"
    NOT_BY_THE_PATIENT = "not-by-the-patient"
    NO_KNOWN_KIND = "no-known-kind"
    OTHER_SCOPE = "other-scope"
    NO_KNOWN_CUSTODIAN = "no-known-custodian"
    FOR_EVERYONE = "for-everyone"


@dataclass(frozen=True, slots=True)
class Reader:
    """
    What consents are read with. ``patient``: every name of the one that is asked about, and ``token``: what the patient is
    called in directives. ``recipient``: who asks, whose own word opens nothing; None: anybody may ask. ``custodian``: what the
    care provider with these names is called in directives, nothing if it cannot be told; without it custodians, scopes and kinds
    are not looked at.
    """

    patient: Names
    token: str
    resolver: Resolver
    dialect: Dialect = Dialect.TREE
    recipient: Party | None = None
    custodian: Callable[[Names], str] | None = None

    def read(self, consent: Any) -> Directive:
        """One Consent in the internal form; ``refusal`` says why it cannot be read. Never raises, whatever it is given."""
        unread = Directive(
            source=Source.CONSENT,
            id="?",
            version=1,
            kind="",
            patient=self.token,
            rule=Rule(Effect.DENY),
            dated=Span(),
            dialect=self.dialect,
            refusal=Refusal.MALFORMED,
        )
        try:
            return _Consent(self, consent).directive(unread) if isinstance(consent, dict) else unread
        except Exception:  # noqa: BLE001  whatever is wrong with it, it may hold a denial
            return unread

    def read_as_ours(self, consent: Any) -> tuple[Directive, ...]:
        """
        One Consent as the policy ``koord`` reads it: purposes in our words, and a permission names its recipient. A Consent
        that also speaks of everyone is two directives: what it denies, and what it opens by name.
        """
        directive = self.read(consent)
        directive = replace(directive, rule=_in_our_words(directive.rule))
        named = _naming(directive.rule, flat=self.dialect is Dialect.PCF_FLAT)
        if named == directive.rule:
            return (directive,)
        return replace(directive, kind=DeniesOnly.FOR_EVERYONE), replace(directive, rule=named)


def consents_in(document: Json) -> tuple[list[Any], Resolver]:
    """
    The Consents in a resource or Bundle, and the other resources of it, which they may refer to.

    Raises:
        KeyError, TypeError, AttributeError: it is not a Bundle of resources.
    """
    if document.get("resourceType") != "Bundle":
        return [document], Resolver({})
    resources = [
        (entry.get("fullUrl", f"urn:entry:{number}"), entry["resource"])
        for number, entry in enumerate(document.get("entry", ()))
    ]
    at_hand = {url: each for url, each in resources if each["resourceType"] != "Consent"}
    return [each for _, each in resources if each["resourceType"] == "Consent"], Resolver(at_hand)


def patient_of(consent: Json, resolver: Resolver) -> Names:
    """Every name of the one whom a Consent says that it is about, as far as it can be read."""
    read = _Consent(Reader(Names(), "", resolver), consent)
    named = (read.named(consent[element]) for element in ("patient", "subject") if element in consent)
    return reduce(or_, named, Names())


_ANYWHERE: Final = frozenset({"resourceType", "meta", "language", "text", "contained"})
_SHARED: Final = frozenset(
    {"identifier", "status", "category", "sourceAttachment", "sourceReference", "verification", "provision"}
)
_R4: Final = frozenset({"scope", "patient", "dateTime", "performer", "organization", "policy", "policyRule"})
_R5: Final = frozenset(
    {
        "subject", "date", "period", "grantor", "grantee", "manager", "controller", "regulatoryBasis", "policyBasis",
        "policyText", "decision",
    }
)  # fmt: skip

_STATUS: Final = {
    "active": Status.ACTIVE,
    "inactive": Status.WITHDRAWN,
    "draft": Status.PROPOSED,
    "entered-in-error": Status.ENTERED_IN_ERROR,
}
_STATUS_OF: Final[dict[Form, dict[str, Status]]] = {
    "R4": _STATUS | {"rejected": Status.WITHDRAWN, "proposed": Status.PROPOSED},
    "R5": _STATUS | {"not-done": Status.WITHDRAWN},
}
_ACT_CODES: Final = frozenset({"http://terminology.hl7.org/CodeSystem/v3-ActCode", ""})
_BASE: Final = {"OPTIN": Effect.PERMIT, "OPTOUT": Effect.DENY}
_OLDEST: Final = Span(*[datetime.min.replace(tzinfo=UTC)] * 2)


class _Consent:
    """One Consent while it is read."""

    def __init__(self, reader: Reader, resource: Json) -> None:
        self._reader, self._resource = reader, resource
        self._refusals: list[Refusal] = []

    def directive(self, unread: Directive) -> Directive:
        self._refusals += self._outright()
        patient = self._attempt(self._of_the_patient, Answer.YES)
        known = replace(
            unread,
            id=self._id(),
            version=self._version(),
            status=self._status(),
            patient="" if patient is Answer.NO else self._reader.token,
            dated=self._attempt(self._dated, Span()),
            rule=Rule(Effect.DENY, period=self._attempt(self._period, None)),
            line=self._line(),
        )
        rule = self._attempt(self._rule, known.rule)
        kind, custodian = self._attempt(self._opens, ("", ""))
        if self._refusals:
            return replace(known, refusal=self._refusals[0])
        if patient is not Answer.YES:
            kind = DeniesOnly.NO_KNOWN_PATIENT
        return replace(known, rule=rule, kind=kind, custodian=custodian, refusal="")

    def _attempt(self, read: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return read()
        except RefusedError as refused:
            self._refusals.append(refused.refusal)
            return otherwise

    def _outright(self) -> Iterator[Refusal]:
        """
        What may change the meaning of everything else. What is contained has its own meaning. What is larger than any body
        may be, or holds itself, is not searched to its end.
        """
        left = LIMITS.nodes
        waiting: list[Any] = [value for name, value in self._resource.items() if name != "contained"]
        modified = "modifierExtension" in self._resource
        while waiting and not modified:
            each, left = waiting.pop(), left - 1
            if not left:
                raise RefusedError(Refusal.MALFORMED)
            if isinstance(each, dict):
                modified = "modifierExtension" in each
                waiting.extend(each.values())
            elif isinstance(each, list):
                waiting.extend(each)
        if modified:
            yield Refusal.MODIFIER_EXTENSION
        if not {"implicitRules", "_implicitRules"}.isdisjoint(self._resource):
            yield Refusal.IMPLICIT_RULES

    def _status(self) -> Status:
        code = self._resource.get("status")
        try:
            known = _STATUS_OF[self._form()]
        except RefusedError:
            known = _STATUS
        if isinstance(code, str) and code in known:
            return known[code]
        self._refusals.append(Refusal.UNKNOWN_STATUS)
        return Status.ACTIVE

    def _of_the_patient(self) -> Answer:
        """By identifier or reference, never by display. With this reference and another number it may be this patient's."""
        patient, named, numbers = self._reader.patient, Names(), set[Coding]()
        given = [self._resource[element] for element in ("patient", "subject") if element in self._resource]
        for reference in given:
            names = self.named(reference)
            number = identifier(reference.get("identifier")) if isinstance(reference, dict) else None
            lost = is_contained(reference) and not any(self._contained(reference))
            if lost or not is_understood(reference) or not names.all:
                raise RefusedError(Refusal.MALFORMED)
            named |= names
            numbers |= {number} if number else set()
        if not given:
            raise RefusedError(Refusal.MALFORMED)
        comparable = {system for system, _ in numbers} & {system for system, _ in patient.identifiers}
        answer = named.answer(patient)
        if answer is Answer.YES and comparable and not numbers & patient.identifiers:
            raise RefusedError(Refusal.PATIENT_AMBIGUOUS)
        return answer

    def named(self, reference: Any) -> Names:
        """The names of what a Reference refers to, also inside this Consent."""
        names = self._reader.resolver.named(reference)
        for inner in self._contained(reference) if is_contained(reference) else ():
            names |= Names(identifiers=identifiers(inner))
        return names

    def _contained(self, reference: Json) -> Iterator[Json]:
        """What lies inside this Consent under the name that a Reference gives."""
        contained = self._resource.get("contained")
        for inner in contained if isinstance(contained, list) else ():
            if isinstance(inner, dict) and inner.get("id") == str(reference["reference"])[1:]:
                yield inner

    def _dated(self) -> Span:
        """When it was given: at any of its dates, in a mixture of releases. One without a date is older than any other."""
        for names in (("dateTime", "date"), ("_dateTime", "_date")):
            given = [self._resource[name] for name in names if name in self._resource]
            if given:
                return Span.around(moment(each, Refusal.UNPARSABLE_DATE) for each in given)
        return _OLDEST

    def _period(self) -> Span | None:
        """
        The period of the root: it is past or not begun before anything else is looked at. Where a mixture of releases has two,
        what is not outside of both may hold.
        """
        holders = (self._resource, self._resource.get("provision"))
        spans = [span(each["period"]) for each in holders if isinstance(each, dict) and "period" in each]
        return Span.around(spans) if spans else None

    def _rule(self) -> Rule:
        form = self._form()
        check_elements(self._resource, _ANYWHERE | _SHARED | (_R4 if form == "R4" else _R5))
        if self._resource.get("resourceType") != "Consent":
            raise RefusedError(Refusal.MALFORMED)
        if any(identifier(each) is None for each in listed(self._resource, "identifier")):
            raise RefusedError(Refusal.MALFORMED)
        self._check_policies(form)
        provisions = Provisions(form, self._reader.resolver)
        if form == "R4":
            return provisions.read(self._resource.get("provision", {}), self._base())
        base = effect(self._resource.get("decision"), Refusal.AMBIGUOUS_BASE)
        return provisions.read_all(
            listed(self._resource, "provision"), base, self._period(), listed(self._resource, "grantee")
        )

    def _form(self) -> Form:
        """The release, by the elements that only one of them has."""
        names = {name.removeprefix("_") for name in self._resource}
        provision = self._resource.get("provision")
        r4 = not names.isdisjoint(_R4) or isinstance(provision, dict)
        r5 = not names.isdisjoint(_R5) or isinstance(provision, list)
        if r4 == r5:
            raise RefusedError(Refusal.UNKNOWN_RELEASE)
        return "R4" if r4 else "R5"

    def _base(self) -> Effect:
        """The root's own type. An opt-in or opt-out alone is no base under any policy of ours; one that contradicts it, none at all."""
        provision = self._resource.get("provision")
        code = provision.get("type") if isinstance(provision, dict) else None
        base = effect(code, Refusal.AMBIGUOUS_BASE)
        rules = {_BASE[code] for system, code in self._policy_rule() if system in _ACT_CODES and code in _BASE}
        if rules - {base}:
            raise RefusedError(Refusal.AMBIGUOUS_BASE)
        return base

    def _policy_rule(self) -> Iterator[Coding]:
        if "policyRule" in self._resource:
            check_elements(self._resource["policyRule"], {"coding", "text"})
            listed(self._resource["policyRule"], "coding")
        return codings(self._resource.get("policyRule"))

    def _check_policies(self, form: Form) -> None:
        """A policy that is not known may say anything about how to read the rest."""
        known = load().codes["consent-policy"].keys.values()
        policies = listed(self._resource, "policy") if form == "R4" else []
        if "policyBasis" in self._resource:
            policies = [self._resource["policyBasis"]]
        for policy in policies:
            check_elements(policy, {"authority", "uri"} if form == "R4" else {"reference", "url"})
            uri = policy.get("uri", policy.get("url"))
            if "reference" in policy or (uri is not None and uri not in known):
                raise RefusedError(Refusal.UNKNOWN_POLICY)

    def _opens(self) -> tuple[str, str]:
        """Its kind and its custodian. A kind that no recipient needs if something is missing for it to open anything."""
        by_the_patient = self._is_by_the_patient()
        if self._reader.custodian is None:
            return "" if by_the_patient else DeniesOnly.NOT_BY_THE_PATIENT, ""
        known = load().codes["consent-kind"]
        categories = _all_codings(self._resource, "category")
        kinds = {known.key(code) or "" for system, code in categories if system in known.systems}
        scopes = set(codings(self._resource.get("scope")))
        custodian = self._reader.custodian(self._custodian())
        lacking = {
            DeniesOnly.NOT_BY_THE_PATIENT: not by_the_patient,
            DeniesOnly.OTHER_SCOPE: "scope" in self._resource and not scopes & _accepted_scopes(),
            DeniesOnly.NO_KNOWN_KIND: len(kinds) != 1 or "" in kinds,
            DeniesOnly.NO_KNOWN_CUSTODIAN: not custodian,
        }
        return next((kind for kind, is_lacking in lacking.items() if is_lacking), "".join(kinds)), custodian

    def _custodian(self) -> Names:
        named = Names()
        for element in ("organization", "controller", "manager"):
            for reference in listed(self._resource, element):
                named |= self._reader.resolver.named(reference)
        return named

    def _is_by_the_patient(self) -> bool:
        """
        Given by the patient, or by a proxy when all verifications say yes; never by the one who asks. A consent that does not
        say who gave it was given by the patient.
        """
        givers = [*listed(self._resource, "performer"), *listed(self._resource, "grantor")]
        verifications = listed(self._resource, "verification")
        if not all(isinstance(each, dict) and each for each in [*givers, *verifications]):
            raise RefusedError(Refusal.MALFORMED)
        verified = [each.get("verified") for each in verifications]
        if not all(isinstance(each, bool) for each in verified):
            raise RefusedError(Refusal.MALFORMED)
        if not givers or any(self._is_same(self._reader.patient.party, giver) for giver in givers):
            return True
        proxies = [giver for giver in givers if _is_related_person(giver)]
        return bool(proxies) and bool(verified) and all(verified) and not any(map(self._may_ask, givers))

    def _may_ask(self, giver: Any) -> bool:
        recipient = self._reader.recipient
        return not _is_related_person(giver) if recipient is None else self._is_same(recipient, giver)

    def _is_same(self, party: Party, reference: Any) -> bool:
        return self.named(reference).pattern.answer(party) is Answer.YES

    def _id(self) -> str:
        """A name for explanations: the business identifier, else the resource's id; neither if it may hold a person's number."""
        given = self._resource.get("identifier")
        numbers = [each for each in map(identifier, given if isinstance(given, list) else ()) if each]
        for name in [*(f"{system}|{value}" for system, value in sorted(numbers)), self._resource.get("id")]:
            if isinstance(name, str) and name and not tells_a_person(name):
                return name
        return self._digest()

    def _line(self) -> frozenset[str]:
        """Consents with the same identifier are of one line; one without any has its own."""
        given = self._resource.get("identifier")
        numbers = [each for each in map(identifier, given if isinstance(given, list) else ()) if each]
        return frozenset(f"{system}|{value}" for system, value in numbers) or frozenset({self._digest()})

    def _digest(self) -> str:
        try:
            return "sha256:" + sha256(json.canonical(self._resource)).hexdigest()[:16]
        except RecursionError:
            return "too deep to name"

    def _version(self) -> int:
        meta = self._resource.get("meta")
        version = meta.get("versionId") if isinstance(meta, dict) else None
        is_number = isinstance(version, str) and version.isascii() and version.isdigit() and len(version) < 10
        return int(version) if is_number and version else 1


def our_purpose(purpose: Coding) -> Coding:
    """A purpose as our own rules write it, if it is one of ours."""
    known = load().codes["purpose"]
    key = known.key(purpose[1]) if purpose[0] in known.systems else None
    return ("", key) if key else purpose


def _in_our_words(rule: Rule) -> Rule:
    return replace(
        rule,
        purposes=frozenset(map(our_purpose, rule.purposes)),
        children=tuple(map(_in_our_words, rule.children)),
    )


def _naming(rule: Rule, *, flat: bool, named: bool = False) -> Rule:
    """The same rules, but a permission that does not name its recipient, itself or in one that it narrows, is for nobody."""
    named = bool(rule.actors) or (named and not flat)
    inner = named and rule.effect is Effect.PERMIT
    return replace(
        rule,
        actors=rule.actors if named or rule.effect is Effect.DENY else (NOBODY,),
        children=tuple(_naming(child, flat=flat, named=inner) for child in rule.children),
    )


def _is_related_person(reference: Json) -> bool:
    return reference.get("type") == "RelatedPerson" or "RelatedPerson/" in str(reference.get("reference"))


def _all_codings(resource: Json, element: str) -> frozenset[Coding]:
    return frozenset(codings(resource.get(element)))


def _accepted_scopes() -> set[Coding]:
    table = load().codes["consent-scope"]
    return {(system, code) for system in table.systems for code in table.keys.values()}
