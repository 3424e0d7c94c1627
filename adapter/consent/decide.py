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

from adapter.consent.directives import LAW, Directive, Source, Status
from adapter.consent.disclosure import PATIENT, Disclosure, Disclosures
from adapter.consent.rules import (
    Answer,
    Asked,
    Coding,
    Effect,
    Party,
    Span,
    Step,
    Subject,
    answers,
    evaluate,
)
from adapter.domain import BlockKind, Category

GENERIC = "generic-1"
"""The policy of ``generic``, by name and version."""


class Reason(StrEnum):
    """Every outcome of the gate. Stable; sentences and paragraphs of law are in ``adapter/messages/gate.toml``."""

    PERMITTED = "PERMITTED"
    PERMITTED_BY_LAW = "PERMITTED_BY_LAW"
    # hard prohibitions, in this order
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


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What one directive says. ``out``: why it says nothing at all. ``short``: what of its root rule does not match.
    ``effects`` and ``steps``: one for each requested purpose.
    """

    directive: Directive
    out: Reason | None
    short: frozenset[str]
    effects: tuple[Effect | None, ...] = ()
    steps: tuple[tuple[Step, ...], ...] = ()

    @property
    def denies(self) -> bool:
        return Effect.DENY in self.effects


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
    findings = _findings(directives, request, subject, now)
    if any(found.out is Reason.CONSENT_UNINTERPRETABLE for found in findings):
        return Decision(False, Reason.CONSENT_UNINTERPRETABLE, *facts, findings=findings)
    if any(found.denies for found in findings):
        return Decision(False, Reason.CONSENT_REFUSED, *facts, findings=findings)
    opening = [_sources(findings, "", _permits(n)) for n in range(len(request.purposes) or 1)]
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
    heard = (each for each in directives if each.source is not Source.LAW or disclosure.opened_by is None)
    findings = _findings(heard, request, subject, now)
    denial = _denied(findings)
    opened = _Opened.find(findings, disclosure, request)
    if denial is not None or opened.missing:
        reason, kind = denial or (opened.missing[0].reason, opened.missing[0].kind)
        return Decision(False, reason, *facts, kind, findings=findings, missing=opened.missing)
    closed = {
        category: finding.directive.name
        for finding in findings
        if finding.denies
        for category in finding.directive.categories or ()
    }
    categories = (disclosure.categories & opened.categories) - closed.keys()
    return Decision(
        True,
        Reason.PERMITTED if disclosure.opened_by else Reason.PERMITTED_BY_LAW,
        *facts,
        disclosure.opened_by or LAW,
        categories=categories,
        consents=opened.consents,
        withheld=tuple(_withheld(disclosure, opened, closed, categories)),
        findings=findings,
    )


def _prohibited(disclosure: Disclosure, request: Request, subject: Subject) -> Reason | None:
    """The first hard prohibition that holds. No consent and no lift opens one."""
    to_the_patient = disclosure.recipient == PATIENT
    own = (PATIENT, subject.patient) in request.recipient.identifiers
    shielded = to_the_patient or (disclosure.care and request.allows_protected)
    prohibitions = {
        Reason.WRONG_TENANT: subject.custodian not in request.senders,
        Reason.WRONG_PATIENT: not subject.patient or (to_the_patient and not own),
        Reason.RECORD_NOT_FOR_RECIPIENT: subject.kind not in disclosure.records,
        Reason.PURPOSE_NOT_FOR_RECIPIENT: not {("", each.value) for each in disclosure.purposes}
        >= set(request.purposes),
        Reason.PROTECTED_IDENTITY: subject.protected and not shielded,
        Reason.DECEASED: subject.deceased,
    }
    return next((reason for reason, holds in prohibitions.items() if holds), None)


def _findings(
    directives: Iterable[Directive], request: Request, subject: Subject, now: datetime
) -> tuple[Finding, ...]:
    """What each directive says, in an order that does not depend on theirs."""
    ordered = sorted(directives, key=lambda each: (each.source, each.id, each.version))
    return tuple(_finding(each, request, subject, now) for each in ordered)


def _finding(directive: Directive, request: Request, subject: Subject, now: datetime) -> Finding:
    purposes: tuple[Coding | None, ...] = request.purposes or (None,)
    asked = [Asked(request.recipient, purpose, request.action, subject, now) for purpose in purposes]
    short = frozenset(
        name for one in asked for name, answer in answers(directive.rule, one) if answer is not Answer.YES
    )
    out = _out(directive, subject, now)
    if out is not None:
        return Finding(directive, out, short)
    effects, steps = [], []
    for one in asked:
        taken: list[Step] = []
        effects.append(evaluate(directive.rule, one, directive.dialect, taken))
        steps.append(tuple(taken))
    return Finding(directive, None, short, tuple(effects), tuple(steps))


def _out(directive: Directive, subject: Subject, now: datetime) -> Reason | None:
    """Why a directive is no source of anything, or of nothing but alarm; None when it is to be evaluated."""
    period = directive.rule.period or Span()
    of_this_patient = directive.patient == subject.patient
    if directive.refusal in _OUTRIGHT and of_this_patient and directive.status is Status.ACTIVE:
        return Reason.CONSENT_UNINTERPRETABLE
    out: dict[Reason, bool] = {
        Reason.CONSENT_ENTERED_IN_ERROR: directive.status is Status.ENTERED_IN_ERROR,
        Reason.WRONG_PATIENT: not of_this_patient,
        Reason.WRONG_TENANT: directive.custodian not in {"", subject.custodian},
        Reason.CONSENT_WITHDRAWN: directive.status is Status.WITHDRAWN,
        Reason.CONSENT_NOT_YET: not Span(start=directive.dated.start).holds(now) or not Span(period.start).holds(now),
        Reason.CONSENT_EXPIRED: not Span(end=period.end).holds(now),
        Reason.CONSENT_UNINTERPRETABLE: bool(directive.refusal),
    }
    return next((reason for reason, holds in out.items() if holds), None)


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


@dataclass(frozen=True, slots=True)
class _Opened:
    """What the needed permissions open together, or which of them are missing."""

    categories: frozenset[Category]
    consents: tuple[tuple[str, int], ...]
    narrowed_by: tuple[Directive, ...]
    missing: tuple[Missing, ...]

    @classmethod
    def find(cls, findings: Sequence[Finding], disclosure: Disclosure, request: Request) -> _Opened:
        categories, sources, missing = disclosure.categories, list[Directive](), list[Missing]()
        for kind in disclosure.presupposes:
            standing = _sources(findings, kind, _stands)
            sources += [directive for directive, _ in standing]
            if not standing:
                missing.append(_missing(findings, kind, _stands, named=False))
        narrowed: list[Directive] = []
        for n in range(len(request.purposes) or 1):
            permits = _permits(n)
            opening = _sources(findings, disclosure.opened_by or LAW, permits)
            sources += [directive for directive, _ in opening]
            narrowed += [directive for directive, _ in opening if directive.categories is not None]
            categories &= frozenset[Category]().union(*(opens for _, opens in opening))
            if not opening:
                missing.append(_missing(findings, disclosure.opened_by or LAW, permits, named=True))
        consents = sorted({(each.id, each.version) for each in sources if each.source is Source.CONSENT})
        return cls(categories, tuple(consents), tuple(narrowed), tuple(dict.fromkeys(missing)))


_Says = Callable[[Finding], bool]


def _stands(found: Finding) -> bool:
    """A consent that is presupposed stands: given, in time, this patient's; whom it names does not matter here."""
    return found.out is None and found.directive.rule.effect is Effect.PERMIT


def _permits(n: int) -> _Says:
    return lambda found: found.out is None and found.effects[n] is Effect.PERMIT


def _sources(findings: Sequence[Finding], kind: str, says: _Says) -> list[tuple[Directive, frozenset[Category]]]:
    """
    The permissions of a kind and what each opens. One counts unless another of its line is newer. Where dates cannot
    tell which is newer, all of them must permit, and only what all of them open is open.
    """
    rivals = [found for found in findings if found.directive.kind == kind and found.out not in _NO_RIVAL]
    sources = []
    for found in rivals:
        others = [other for other in rivals if other is not found and _may_replace(other.directive, found.directive)]
        if says(found) and all(says(other) and not _is_newer(other.directive, found.directive) for other in others):
            opens = [each.directive.categories for each in (found, *others)]
            sources.append((found.directive, _common(opens)))
    return sources


def _may_replace(new: Directive, old: Directive) -> bool:
    """Whether both speak of the same recipient, and dates do not rule out that ``new`` is the newer."""
    same = not new.line or bool(new.line & old.line)
    return same and (new.dated.end is None or old.dated.start is None or new.dated.end >= old.dated.start)


def _is_newer(new: Directive, old: Directive) -> bool:
    return new.dated.start is not None and old.dated.end is not None and new.dated.start > old.dated.end


def _common(opens: Iterable[frozenset[Category] | None]) -> frozenset[Category]:
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


def _withheld(
    disclosure: Disclosure, opened: _Opened, closed: dict[Category, str], categories: frozenset[Category]
) -> Iterable[tuple[Category, str]]:
    """For each category that does not go: the disclosure table, the refusal or the consents that close it."""
    narrowed = ", ".join(sorted({directive.name for directive in opened.narrowed_by}))
    for category in Category:
        if category not in disclosure.categories:
            yield category, f"disclosure/{disclosure.recipient}"
        elif category not in categories:
            yield category, closed.get(category, narrowed)
