"""
The decision: may this be disclosed to this recipient now? A pure function without clock, I/O or memory.

Strictest first, and independent of order: hard prohibitions; spärr; any denial, or a consent that cannot be read;
then the permissions that the recipient type needs, each given by name; else no. There is no implicit permission.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from adapter.consent.directives import LAW, Directive, Source, Status
from adapter.consent.disclosure import PATIENT, Disclosure, Disclosures
from adapter.consent.rulebook import Rulebook, Said
from adapter.consent.rules import Coding, Effect, Party, Span, Subject
from adapter.domain import BlockKind, Category

GENERIC = "generic-1"
"""The policy of ``generic``, by name and version."""


class Reason(StrEnum):
    """Every outcome of the gate. Stable; sentences and paragraphs of law are in ``adapter/messages/gate.toml``."""

    PERMITTED = "PERMITTED"
    PERMITTED_BY_LAW = "PERMITTED_BY_LAW"
    # hard prohibitions, in this order
    PERMITTED_NOTICE = "PERMITTED_NOTICE"
    UNKNOWN_RECIPIENT = "UNKNOWN_RECIPIENT"
    WRONG_TENANT = "WRONG_TENANT"
    WRONG_PATIENT = "WRONG_PATIENT"
    RECORD_NOT_FOR_RECIPIENT = "RECORD_NOT_FOR_RECIPIENT"
    PURPOSE_NOT_FOR_RECIPIENT = "PURPOSE_NOT_FOR_RECIPIENT"
    PROTECTED_IDENTITY = "PROTECTED_IDENTITY"
    DECEASED = "DECEASED"
    DIAGNOSIS_CONTENT = "DIAGNOSIS_CONTENT"
    # denials
    BLOCKED_INNER = "BLOCKED_INNER"
    BLOCKED_OUTER = "BLOCKED_OUTER"
    CONSENT_UNINTERPRETABLE = "CONSENT_UNINTERPRETABLE"
    CONSENT_REFUSED = "CONSENT_REFUSED"
    # a permission that is missing: the nearest one first
    CONSENT_WITHDRAWN = "CONSENT_WITHDRAWN"
    CONSENT_EXPIRED = "CONSENT_EXPIRED"
    CONSENT_NOT_YET = "CONSENT_NOT_YET"
    CONSENT_OTHER_PURPOSE = "CONSENT_OTHER_PURPOSE"
    CONSENT_OTHER_CONTENT = "CONSENT_OTHER_CONTENT"
    CONSENT_REPLACED = "CONSENT_REPLACED"
    CONSENT_ENTERED_IN_ERROR = "CONSENT_ENTERED_IN_ERROR"
    CONSENT_FOR_ANOTHER = "CONSENT_FOR_ANOTHER"
    NO_CONSENT = "NO_CONSENT"
    # what the gate finds after the decision
    INVALID_CONTENT = "INVALID_CONTENT"
    UNEXPECTED_CONTENT = "UNEXPECTED_CONTENT"
    GATE_ERROR = "GATE_ERROR"
    # a question that could not be read
    UNREADABLE = "UNREADABLE"

    @property
    def code(self) -> str:
        """The stable code in the message catalogue."""
        return "gate." + self.value.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Request:
    """
    Who asks for what purposes. ``senders``: the care providers that the sending tenant answers for.
    ``allows_protected``: the channel is agreed for persons with protected identity.
    """

    recipient: Party
    purposes: tuple[Coding, ...]
    senders: frozenset[str]
    action: Coding | None = None
    allows_protected: bool = False


class Finding(NamedTuple):
    """
    What one directive, by its ``number`` in the rulebook, says to each requested purpose. ``out``: why it says nothing
    at all, whatever its rules match.
    """

    number: int
    directive: Directive
    out: Reason | None
    said: tuple[Said, ...]

    @property
    def denies(self) -> bool:
        return self.out is None and any(said.effect is Effect.DENY for said in self.said)

    @property
    def permits(self) -> bool:
        return self.out is None and any(said.effect is Effect.PERMIT for said in self.said)

    @property
    def short(self) -> frozenset[str]:
        """What of its root rule does not match."""
        return frozenset().union(*(said.short for said in self.said))


@dataclass(frozen=True, slots=True)
class Missing:
    """
    A permission that was needed and not found: its kind, the nearest reason, and the directive that came nearest.
    ``alone``: the reason is all that is wrong with it.
    """

    kind: str
    reason: Reason
    nearest: Finding | None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """
    ``categories`` is what may be disclosed, empty unless ``permitted``. ``consents`` are those that opened it.
    ``withheld`` tells for each category that may not go which rule closed it.
    """

    permitted: bool
    reason: Reason
    request: Request
    subject: Subject
    now: datetime
    policy: str
    kind: str = ""
    categories: frozenset[Category] = frozenset()
    consents: tuple[tuple[str, int], ...] = ()
    withheld: tuple[tuple[Category, str], ...] = ()
    findings: tuple[Finding, ...] = field(default=(), repr=False)
    missing: tuple[Missing, ...] = field(default=(), repr=False)


def decide(
    directives: Iterable[Directive], request: Request, subject: Subject, now: datetime, policy: Disclosures
) -> Decision:
    """
    Decide on one subject for one recipient at one instant (``now`` is aware).

    Never raises: what goes wrong inside is a denial, ``GATE_ERROR``.
    """
    try:
        return _decide(directives, request, subject, now, policy)
    except Exception:  # noqa: BLE001  whatever is wrong, the answer is no
        return Decision(False, Reason.GATE_ERROR, request, subject, now, policy.version)


def generic(directives: Iterable[Directive], request: Request, subject: Subject, now: datetime) -> Decision:
    """
    Decide by the consents alone, for consents of unknown origin: no prohibitions, no tenant, no kinds of recipient.

    PERMITTED, CONSENT_UNINTERPRETABLE, CONSENT_REFUSED, or NO_CONSENT when nobody said anything. Never raises: what goes
    wrong inside is a denial, ``GATE_ERROR``.
    """
    facts = (request, subject, now, GENERIC)
    try:
        return _generic(directives, facts)
    except Exception:  # noqa: BLE001  whatever is wrong, the answer is no
        return Decision(False, Reason.GATE_ERROR, *facts)


def _generic(directives: Iterable[Directive], facts: tuple[Request, Subject, datetime, str]) -> Decision:
    request, subject, now, _ = facts
    rules = Rulebook.of(directives)
    findings = _findings(rules, request, subject, now)
    if any(found.out is Reason.CONSENT_UNINTERPRETABLE for found in findings):
        return Decision(False, Reason.CONSENT_UNINTERPRETABLE, *facts, findings=findings)
    if any(found.denies for found in findings):
        return Decision(False, Reason.CONSENT_REFUSED, *facts, findings=findings)
    opening = [_sources(rules, findings, "", _permits(n)) for n in range(len(request.purposes) or 1)]
    if not all(opening):
        return Decision(False, Reason.NO_CONSENT, *facts, findings=findings)
    consents = sorted({(directive.id, directive.version) for sources in opening for directive, _ in sources})
    return Decision(True, Reason.PERMITTED, *facts, consents=tuple(consents), findings=findings)


_OUTRIGHT = frozenset({"MODIFIER_EXTENSION", "IMPLICIT_RULES"})
"""Refusals that come before any other look at a consent: they may change what every element of it means."""

_NO_RIVAL = frozenset(
    {Reason.WRONG_PATIENT, Reason.WRONG_TENANT, Reason.CONSENT_ENTERED_IN_ERROR, Reason.CONSENT_NOT_YET}
)
"""Consents that replace nothing: another's, one that never was, one whose time has not come."""

_NEAREST = (
    Reason.CONSENT_WITHDRAWN,
    Reason.CONSENT_EXPIRED,
    Reason.CONSENT_NOT_YET,
    Reason.CONSENT_OTHER_PURPOSE,
    Reason.CONSENT_OTHER_CONTENT,
    Reason.CONSENT_REPLACED,
    Reason.CONSENT_ENTERED_IN_ERROR,
    Reason.CONSENT_FOR_ANOTHER,
    Reason.WRONG_TENANT,
    Reason.WRONG_PATIENT,
)


_ATTRIBUTES = {
    Reason.CONSENT_EXPIRED: {"period"},
    Reason.CONSENT_NOT_YET: {"period"},
    Reason.CONSENT_OTHER_PURPOSE: {"purpose"},
    Reason.CONSENT_FOR_ANOTHER: {"actor"},
}
"""What of a rule does not match when a reason is all that is wrong."""


def _decide(
    directives: Iterable[Directive], request: Request, subject: Subject, now: datetime, policy: Disclosures
) -> Decision:
    facts = (request, subject, now, policy.version)
    disclosure = policy.of.get(request.recipient.kind)
    if disclosure is None or not request.recipient.identifiers:
        return Decision(False, Reason.UNKNOWN_RECIPIENT, *facts)
    prohibited = _prohibited(disclosure, request, subject)
    if prohibited is not None:
        return Decision(False, prohibited, *facts)
    rules = Rulebook.of(directives)
    findings = _findings(rules, request, subject, now)
    heard = findings
    if disclosure.opened_by is not None:
        heard = tuple(found for found in findings if found.directive.source is not Source.LAW)
    denial = _denied(heard)
    opened = _Opened.find(rules, findings, disclosure, request)
    if denial is not None or opened.missing:
        reason, kind = denial or (opened.missing[0].reason, opened.missing[0].kind)
        return Decision(False, reason, *facts, kind, findings=heard, missing=opened.missing)
    closed = tuple(
        (category, found.directive.name)
        for found in heard
        if found.denies
        for category in found.directive.categories or ()
    )
    categories, withheld = _narrowed(disclosure, opened.categories, opened.narrowed_by, closed)
    return Decision(
        True,
        Reason.PERMITTED if disclosure.opened_by else Reason.PERMITTED_BY_LAW,
        *facts,
        disclosure.opened_by or LAW,
        categories=categories,
        consents=opened.consents,
        withheld=withheld,
        findings=heard,
    )


def _prohibited(disclosure: Disclosure, request: Request, subject: Subject) -> Reason | None:
    """The first hard prohibition that holds. No consent and no lift opens one."""
    to_the_patient = disclosure.recipient == PATIENT
    if subject.custodian not in request.senders:
        return Reason.WRONG_TENANT
    if not subject.patient or (to_the_patient and (PATIENT, subject.patient) not in request.recipient.identifiers):
        return Reason.WRONG_PATIENT
    if subject.kind not in disclosure.records:
        return Reason.RECORD_NOT_FOR_RECIPIENT
    if any(system or code not in disclosure.purposes for system, code in request.purposes):
        return Reason.PURPOSE_NOT_FOR_RECIPIENT
    if subject.protected and not (to_the_patient or (disclosure.care and request.allows_protected)):
        return Reason.PROTECTED_IDENTITY
    return Reason.DECEASED if subject.deceased else None


def _findings(rules: Rulebook, request: Request, subject: Subject, now: datetime) -> tuple[Finding, ...]:
    """What each directive says, in the rulebook's order."""
    sheets = rules.sheets(request.recipient, request.purposes, request.action, subject, now)
    return tuple(
        Finding(n, each, _out(each, subject, now), tuple([rules.says(n, sheet) for sheet in sheets]))
        for n, each in enumerate(rules.directives)
    )


def _out(directive: Directive, subject: Subject, now: datetime) -> Reason | None:  # noqa: PLR0911  one for each reason, in their order
    """Why a directive is no source of anything, or of nothing but alarm; None when it is to be evaluated."""
    this_patients = directive.patient == subject.patient
    if directive.refusal in _OUTRIGHT and this_patients and directive.status is Status.ACTIVE:
        return Reason.CONSENT_UNINTERPRETABLE
    if directive.status is Status.ENTERED_IN_ERROR:
        return Reason.CONSENT_ENTERED_IN_ERROR
    if not this_patients:
        return Reason.WRONG_PATIENT
    if directive.custodian not in {"", subject.custodian}:
        return Reason.WRONG_TENANT
    if directive.status is Status.WITHDRAWN:
        return Reason.CONSENT_WITHDRAWN
    period = directive.rule.period or _ALWAYS
    begun = directive.status is not Status.PROPOSED and (directive.dated.start is None or directive.dated.start <= now)
    if not begun or (period.start is not None and now < period.start):
        return Reason.CONSENT_NOT_YET
    if period.end is not None and period.end < now:
        return Reason.CONSENT_EXPIRED
    return Reason.CONSENT_UNINTERPRETABLE if directive.refusal else None


_ALWAYS = Span()


def _denied(findings: Sequence[Finding]) -> tuple[Reason, str] | None:
    """The strictest denial: a spärr, then a consent that cannot be read, then a refusal of everything."""
    blocked = {found.directive.kind for found in findings if found.directive.source is Source.BLOCK and found.denies}
    if blocked:
        inner = BlockKind.INNER.value in blocked
        return (Reason.BLOCKED_INNER, BlockKind.INNER) if inner else (Reason.BLOCKED_OUTER, BlockKind.OUTER)
    for found in findings:
        if found.out is Reason.CONSENT_UNINTERPRETABLE:
            return Reason.CONSENT_UNINTERPRETABLE, found.directive.kind
    for found in findings:
        closes = found.directive.categories
        if found.denies and (closes is None or Category.ADMINISTRATIVE in closes):
            return Reason.CONSENT_REFUSED, found.directive.kind
    return None


class _Opened(NamedTuple):
    """What the needed permissions open together, or which of them are missing."""

    categories: frozenset[Category]
    consents: tuple[tuple[str, int], ...]
    narrowed_by: str
    missing: tuple[Missing, ...]

    @classmethod
    def find(cls, rules: Rulebook, findings: tuple[Finding, ...], disclosure: Disclosure, request: Request) -> _Opened:
        categories, sources, missing = disclosure.categories, list[Directive](), list[Missing]()
        for kind in disclosure.presupposes:
            standing = _sources(rules, findings, kind, _stands)
            sources += [directive for directive, _ in standing]
            if not standing:
                missing.append(_missing(findings, kind, _stands, named=False))
        narrowed: set[str] = set()
        for n in range(len(request.purposes) or 1):
            permits = _permits(n)
            opening = _sources(rules, findings, disclosure.opened_by or LAW, permits)
            sources += [directive for directive, _ in opening]
            narrowed |= {directive.name for directive, _ in opening if directive.categories is not None}
            categories &= frozenset[Category]().union(*(opens for _, opens in opening))
            if not opening:
                missing.append(_missing(findings, disclosure.opened_by or LAW, permits, named=True))
        consents = sorted({(each.id, each.version) for each in sources if each.source is Source.CONSENT})
        return cls(categories, tuple(consents), ", ".join(sorted(narrowed)), tuple(dict.fromkeys(missing)))


_Says = Callable[[Finding], bool]


def _stands(found: Finding) -> bool:
    """A consent that is presupposed stands: given, in time, this patient's; whom it names does not matter here."""
    return found.out is None and found.directive.rule.effect is Effect.PERMIT


def _permits(n: int) -> _Says:
    return lambda found: found.out is None and found.said[n].effect is Effect.PERMIT


def _sources(
    rules: Rulebook, findings: tuple[Finding, ...], kind: str, says: _Says
) -> list[tuple[Directive, frozenset[Category]]]:
    """
    The permissions of a kind and what each opens. One counts unless another of its line is newer. Where dates cannot
    tell which is newer, all of them must permit, and only what all of them open is open.
    """
    sources = []
    for found in findings:
        if found.directive.kind == kind and says(found):
            rivals = [each for each in rules.rivals(found.number) if findings[each.number].out not in _NO_RIVAL]
            if not any(each.newer or not says(findings[each.number]) for each in rivals):
                opens = [found.directive, *(findings[each.number].directive for each in rivals)]
                sources.append((found.directive, _common(tuple(each.categories for each in opens))))
    return sources


@lru_cache(maxsize=1024)
def _common(opens: tuple[frozenset[Category] | None, ...]) -> frozenset[Category]:
    common = frozenset(Category)
    for categories in opens:
        common &= frozenset(Category) if categories is None else categories | {Category.ADMINISTRATIVE}
    return common


def _missing(findings: Sequence[Finding], kind: str, says: _Says, *, named: bool) -> Missing:
    """Which permission of the kind came nearest, and why it was not one."""
    of_kind = [
        found for found in findings if found.directive.kind == kind and found.directive.rule.effect is Effect.PERMIT
    ]
    near = [(_why_not(found, says, named=named), found) for found in of_kind]
    for reason in _NEAREST:
        same = [found for why, found in near if why is reason]
        if same:
            nearest = max(same, key=lambda found: found.directive.spoken)
            readable = not nearest.directive.refusal
            matches = not named or nearest.short <= _ATTRIBUTES.get(reason, set())
            return Missing(kind, reason, nearest, alone=readable and matches)
    return Missing(kind, Reason.NO_CONSENT, None)


def _why_not(found: Finding, says: _Says, *, named: bool) -> Reason | None:
    if named and "actor" in found.short:
        return Reason.CONSENT_FOR_ANOTHER if found.out is None else None
    if found.out is not None:
        return found.out
    if says(found):
        return Reason.CONSENT_REPLACED
    return Reason.CONSENT_OTHER_PURPOSE if "purpose" in found.short else Reason.CONSENT_OTHER_CONTENT


_Withheld = tuple[tuple[Category, str], ...]


def _narrowed(
    disclosure: Disclosure, opened: frozenset[Category], narrowed_by: str, closed: _Withheld
) -> tuple[frozenset[Category], _Withheld]:
    """What goes, and for each category that does not: the disclosure table, the refusal or the consents that close it."""
    refused = dict(closed)
    categories = (disclosure.categories & opened).difference(refused)
    withheld = [
        (
            each,
            refused.get(each, narrowed_by) if each in disclosure.categories else f"disclosure/{disclosure.recipient}",
        )
        for each in Category
        if each not in categories
    ]
    return categories, tuple(withheld)
