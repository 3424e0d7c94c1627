"""
The decision: may this be disclosed to this recipient now? A pure function without clock, I/O or memory.

Strictest first, and independent of order: hard prohibitions; spärr; any denial, or a consent that cannot be read;
then the permissions that the recipient type needs, each given by name; else no. There is no implicit permission.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec
from msgspec import structs

from adapter.consent.directives import LAW, Directive, Source, Status
from adapter.consent.disclosure import PATIENT, Disclosure, Disclosures
from adapter.consent.rulebook import Answers, Question, Rulebook, Said, micros, remember
from adapter.consent.rules import Coding, Effect, Party, Span, Subject
from adapter.domain import BlockKind, Category

GENERIC = "generic-1"
"""The policy of ``generic``, by name and version."""


class Reason(StrEnum):
    """Every outcome of the gate. Stable; sentences and paragraphs of law are in ``adapter/messages/gate.toml``."""

    PERMITTED = "PERMITTED"
    PERMITTED_BY_LAW = "PERMITTED_BY_LAW"
    PERMITTED_NOTICE = "PERMITTED_NOTICE"
    PERMITTED_RECEIPT = "PERMITTED_RECEIPT"
    PERMITTED_JOURNAL_ENTRY = "PERMITTED_JOURNAL_ENTRY"
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
    What one directive says to a request. ``out``: why it says nothing at all, whatever its rules match.
    """

    directive: Directive
    out: Reason | None
    said: Said

    @property
    def denies(self) -> bool:
        return self.said.denies and self.out is None

    @property
    def permits(self) -> bool:
        return self.said.permits and self.out is None


@dataclass(frozen=True, slots=True)
class Missing:
    """
    A permission that was needed and not found: its kind, the nearest reason, and the directive that came nearest.
    ``alone``: the reason is all that is wrong with it. ``named``: it must be for the recipient; else it only has to stand.
    """

    kind: str
    reason: Reason
    nearest: Finding | None
    named: bool
    alone: bool = False


class Decision(msgspec.Struct, frozen=True):
    """
    ``categories`` is what may be disclosed, empty unless ``permitted``. ``consents`` are those that opened it.
    ``withheld`` tells for each category that may not go which rule closed it. ``rules``: the findings as canonical JSON.
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
    findings: tuple[Finding, ...] = ()
    missing: tuple[Missing, ...] = ()
    rules: bytes = b"[]"

    def stopped(self, reason: Reason) -> Decision:
        """A denial for what was found after it, with all that it was made from."""
        return structs.replace(self, permitted=False, reason=reason, categories=frozenset(), consents=())


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
    outs, answers = _answers(rules, request, subject, now)
    findings = _findings(rules, outs, rules.sheets(answers))
    opening = [_sources(rules, findings, "", _permits(n)) for n in range(len(request.purposes) or 1)]
    consents = tuple(sorted({(directive.id, directive.version) for sources in opening for directive, _ in sources}))
    reason = Reason.PERMITTED
    if any(found.out is Reason.CONSENT_UNINTERPRETABLE for found in findings):
        reason = Reason.CONSENT_UNINTERPRETABLE
    elif any(found.denies for found in findings):
        reason = Reason.CONSENT_REFUSED
    elif not all(opening):
        reason = Reason.NO_CONSENT
    permitted = reason is Reason.PERMITTED
    used = consents if permitted else ()
    return Decision(permitted, reason, *facts, consents=used, findings=findings, rules=_written(findings, used))


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
    outs, answers = _answers(rules, request, subject, now)
    key = (policy.version, disclosure.recipient, outs, answers)
    verdict: _Verdict | None = rules.verdicts.get(key)
    if verdict is None:
        verdict = remember(rules.verdicts, key, _verdict(rules, disclosure, outs, rules.sheets(answers)))
    permitted, reason, kind, categories, consents, withheld, findings, missing, written = verdict
    return Decision(permitted, reason, *facts, kind, categories, consents, withheld, findings, missing, written)


_Withheld = tuple[tuple[Category, str], ...]


class _Verdict(NamedTuple):
    """What all directives come to for a type of recipient: a decision without its facts, in its order."""

    permitted: bool
    reason: Reason
    kind: str
    categories: frozenset[Category]
    consents: tuple[tuple[str, int], ...]
    withheld: _Withheld
    findings: tuple[Finding, ...]
    missing: tuple[Missing, ...]
    rules: bytes


def _verdict(rules: Rulebook, disclosure: Disclosure, outs: _Outs, sheets: Sequence[int]) -> _Verdict:
    findings = _findings(rules, outs, sheets)
    heard = findings
    if disclosure.opened_by is not None:
        heard = tuple(found for found in findings if found.directive.source is not Source.LAW)
    denial = _denied(heard)
    opened = _Opened.find(rules, findings, disclosure, len(sheets))
    if denial is not None or opened.missing:
        reason, kind = denial or (opened.missing[0].reason, opened.missing[0].kind)
        return _Verdict(False, reason, kind, frozenset(), (), (), heard, opened.missing, _written(heard, ()))
    reason = Reason.PERMITTED if disclosure.opened_by else Reason.PERMITTED_BY_LAW
    categories, withheld = _narrowed(disclosure, opened, heard)
    written = _written(heard, opened.consents)
    kind = disclosure.opened_by or LAW
    return _Verdict(True, reason, kind, categories, opened.consents, withheld, heard, (), written)


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


_Outs = tuple[Reason | None, ...]


def _answers(rules: Rulebook, request: Request, subject: Subject, now: datetime) -> tuple[_Outs, Answers]:
    """
    For each directive why it is out, if it is, which is the same between two of the times that matter to any of them; and
    what the rules answer for each purpose.
    """
    at = micros(now)
    key = (subject.patient, subject.custodian, rules.times.between(at))
    outs: _Outs | None = rules.outs.get(key)
    if outs is None:
        outs = remember(rules.outs, key, tuple([_out(each, subject, now) for each in rules.directives]))
    return outs, rules.answers(Question(request.recipient, request.action, subject, at), request.purposes)


def _findings(rules: Rulebook, outs: _Outs, sheets: Sequence[int]) -> tuple[Finding, ...]:
    """What each directive says, in the rulebook's order."""
    return tuple(
        Finding(directive, out, rules.says(n, sheets))
        for n, (directive, out) in enumerate(zip(rules.directives, outs, strict=True))
    )


def _written(findings: Iterable[Finding], used: Collection[tuple[str, int]]) -> bytes:
    """
    The findings as a canonical JSON list. A consent that was presupposed and holds, but does not speak of this recipient,
    "stands".
    """
    rules = []
    for found in findings:
        directive, out, said = found
        says = "stands" if out is None and (directive.id, directive.version) in used else "nothing"
        if found.denies or found.permits:
            says = "deny" if found.denies else "permit"
        steps = msgspec.Raw(b"[]" if out else said.steps)
        rules.append(
            {
                "kind": directive.kind,
                "out": out or "",
                "refusal": directive.refusal,
                "rule": directive.name,
                "says": says,
                "steps": steps,
            }
        )
    return msgspec.json.encode(rules)


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


def _denied(findings: Iterable[Finding]) -> tuple[Reason, str] | None:
    """The strictest denial: a spärr, inner first, then a consent that cannot be read, then a refusal of everything."""
    denials = [denial for found in findings if (denial := _denial(found)) is not None]
    return min(denials, key=lambda denial: _STRICTEST.index(denial[0])) if denials else None


_STRICTEST = (Reason.BLOCKED_INNER, Reason.BLOCKED_OUTER, Reason.CONSENT_UNINTERPRETABLE, Reason.CONSENT_REFUSED)


def _denial(found: Finding) -> tuple[Reason, str] | None:
    """The denial of everything that a directive is, and its kind."""
    directive = found.directive
    if found.out is not None:
        return (found.out, directive.kind) if found.out is Reason.CONSENT_UNINTERPRETABLE else None
    if not found.said.denies:
        return None
    if directive.source is Source.BLOCK:
        inner = directive.kind == BlockKind.INNER
        return Reason.BLOCKED_INNER if inner else Reason.BLOCKED_OUTER, directive.kind
    closes = directive.categories
    everything = closes is None or Category.ADMINISTRATIVE in closes
    return (Reason.CONSENT_REFUSED, directive.kind) if everything else None


class _Opened(NamedTuple):
    """What the needed permissions open together, or which of them are missing."""

    categories: frozenset[Category]
    consents: tuple[tuple[str, int], ...]
    narrowed_by: str
    missing: tuple[Missing, ...]

    @classmethod
    def find(cls, rules: Rulebook, findings: tuple[Finding, ...], disclosure: Disclosure, purposes: int) -> _Opened:
        categories, sources, missing = disclosure.categories, list[Directive](), list[Missing]()
        for kind in disclosure.presupposes:
            standing = _sources(rules, findings, kind, _stands)
            sources += [directive for directive, _ in standing]
            if not standing:
                missing.append(_missing(findings, kind, _stands, named=False))
        narrowed: set[str] = set()
        for n in range(purposes):
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
    return lambda found: found.out is None and found.said.effects[n] is Effect.PERMIT


def _sources(
    rules: Rulebook, findings: tuple[Finding, ...], kind: str, says: _Says
) -> list[tuple[Directive, frozenset[Category]]]:
    """
    The permissions of a kind and what each opens. One counts unless another of its line is newer. Where dates cannot
    tell which is newer, all of them must permit, and only what all of them open is open.
    """
    sources = []
    for n in rules.of_kind(kind):
        found = findings[n]
        if says(found):
            rivals = [each for each in rules.rivals(n) if findings[each.number].out not in _NO_RIVAL]
            if not any(each.newer or not says(findings[each.number]) for each in rivals):
                opens = (found.directive.categories, *(findings[each.number].directive.categories for each in rivals))
                sources.append((found.directive, _common(opens)))
    return sources


def _common(opens: Iterable[frozenset[Category] | None]) -> frozenset[Category]:
    common = _EVERYTHING
    for categories in opens:
        if categories is not None:
            common &= categories | {Category.ADMINISTRATIVE}
    return common


_EVERYTHING = frozenset(Category)


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
            matches = not named or nearest.said.short <= _ATTRIBUTES.get(reason, set())
            return Missing(kind, reason, nearest, named, alone=readable and matches)
    return Missing(kind, Reason.NO_CONSENT, None, named)


def _why_not(found: Finding, says: _Says, *, named: bool) -> Reason | None:
    if named and "actor" in found.said.short:
        return Reason.CONSENT_FOR_ANOTHER if found.out is None else None
    if found.out is not None:
        return found.out
    if says(found):
        return Reason.CONSENT_REPLACED
    return Reason.CONSENT_OTHER_PURPOSE if "purpose" in found.said.short else Reason.CONSENT_OTHER_CONTENT


def _narrowed(
    disclosure: Disclosure, opened: _Opened, findings: Iterable[Finding]
) -> tuple[frozenset[Category], _Withheld]:
    """What goes, and for each category that does not: the disclosure table, the refusal or the consents that close it."""
    refused = {
        category: found.directive.name
        for found in findings
        if found.denies
        for category in found.directive.categories or ()
    }
    categories = (disclosure.categories & opened.categories).difference(refused)
    by = {each: refused.get(each, opened.narrowed_by) for each in disclosure.categories}
    withheld = [
        (each, by.get(each, f"disclosure/{disclosure.recipient}")) for each in Category if each not in categories
    ]
    return categories, tuple(withheld)
