"""
The one form that every consent and spärr is read into, and how a rule of that form answers: yes, no or unknown.

Nothing here knows FHIR or the region's records: a rule, a request and a subject are sets of tokens and spans of
time. An attribute that a rule lacks answers yes. Information that the request or the subject lacks answers
unknown, and unknown counts as matched for a denial and as unmatched for a permission.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TypeVar

Coding = tuple[str, str]
"""System and code, or system and value of an identifier. The system may be empty for our own words."""
_T = TypeVar("_T")


class Answer(IntEnum):
    """Three-valued; AND is ``min`` (no beats unknown beats yes), OR is ``max`` (yes beats unknown beats no)."""

    NO = 0
    UNKNOWN = 1
    YES = 2


class Effect(StrEnum):
    PERMIT = "permit"
    DENY = "deny"


class Dialect(StrEnum):
    """
    How children are read. ``TREE``: exceptions to their parent. ``PCF_FLAT``: rules beside it, forbids win
    (IHE PCF); used only where the policy names it, never guessed.
    """

    TREE = "tree"
    PCF_FLAT = "pcf-flat"


class Meaning(StrEnum):
    """How the data that a rule names relates to the subject (FHIR ``consent-data-meaning``)."""

    INSTANCE = "instance"
    RELATED = "related"
    DEPENDENTS = "dependents"
    AUTHORED_BY = "authoredby"


@dataclass(frozen=True, slots=True)
class Span:
    """From ``start`` through ``end``, both inclusive and aware; None is open."""

    start: datetime | None = None
    end: datetime | None = None

    def holds(self, at: datetime) -> bool:
        return (self.start is None or self.start <= at) and (self.end is None or at <= self.end)

    def covers(self, other: Span) -> bool:
        begins = self.start is None or (other.start is not None and self.start <= other.start)
        return begins and (self.end is None or (other.end is not None and other.end <= self.end))

    def meets(self, other: Span) -> bool:
        begins = self.start is None or other.end is None or self.start <= other.end
        return begins and (self.end is None or other.start is None or other.start <= self.end)


@dataclass(frozen=True, slots=True)
class Party:
    """
    Who asks, fully resolved: ``kind`` of recipient, normalised ``references``, ``identifiers`` (system, value)
    and the ``groups`` it belongs to.
    """

    kind: str = ""
    references: frozenset[str] = frozenset()
    identifiers: frozenset[Coding] = frozenset()
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ActorPattern:
    """Whom a rule names: by ``kind``, by reference or group, by identifier. ``kind`` adds to the others."""

    kind: str = ""
    references: frozenset[str] = frozenset()
    identifiers: frozenset[Coding] = frozenset()

    def answer(self, party: Party) -> Answer:
        """
        A kind that differs is no. Then: yes if a reference or an identifier is shared; no if at least one of the two
        ways could be compared; unknown if neither could. Identifiers of different systems cannot be compared.
        """
        if self.kind and self.kind != party.kind:
            return Answer.NO
        if not self.references and not self.identifiers:
            return Answer.YES if self.kind else Answer.UNKNOWN
        if self.references & (party.references | party.groups) or self.identifiers & party.identifiers:
            return Answer.YES
        systems = {system for system, _ in self.identifiers} & {system for system, _ in party.identifiers}
        comparable = systems or (self.references and (party.references or party.groups))
        return Answer.NO if comparable else Answer.UNKNOWN


@dataclass(frozen=True, slots=True)
class DataPattern:
    """Which data a rule selects: ``references`` that stand in ``meaning`` to the subject."""

    meaning: Meaning
    references: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One provision. ``period``, ``actors``, ``purposes`` and ``actions`` are its gate; the rest selects data.
    An empty attribute is missing. ``children`` are exceptions.
    """

    effect: Effect
    period: Span | None = None
    actors: tuple[ActorPattern, ...] = ()
    purposes: frozenset[Coding] = frozenset()
    actions: frozenset[Coding] = frozenset()
    types: frozenset[Coding] = frozenset()
    codes: frozenset[Coding] = frozenset()
    labels: frozenset[Coding] = frozenset()
    data: tuple[DataPattern, ...] = ()
    data_period: Span | None = None
    children: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """
    What would be disclosed, as far as rules look at it. None: not known. ``name`` is for explanations; ``custodian`` is the care provider that
    answers for it, ``authors`` the units and providers that wrote it, ``dates`` when its information arose.
    """

    kind: str
    patient: str
    name: str = ""
    custodian: str = ""
    types: frozenset[Coding] | None = None
    codes: frozenset[Coding] | None = None
    labels: frozenset[Coding] | None = None
    instances: frozenset[str] | None = None
    related: frozenset[str] | None = None
    dependents: frozenset[str] | None = None
    authors: frozenset[str] | None = None
    dates: Span | None = None
    protected: bool = False
    deceased: bool = False

    def referred(self, meaning: Meaning) -> frozenset[str] | None:
        match meaning:
            case Meaning.INSTANCE:
                return self.instances
            case Meaning.RELATED:
                return self.related
            case Meaning.DEPENDENTS:
                return self.dependents
            case Meaning.AUTHORED_BY:
                return self.authors


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to a rule: who, for which one purpose and action, what, when."""

    recipient: Party
    purpose: Coding | None
    action: Coding | None
    subject: Subject
    now: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """What one rule answered: its place, its effect, the answer per attribute that it has, and what it came to."""

    path: str
    effect: Effect
    answers: tuple[tuple[str, Answer], ...]
    outcome: Effect | None


def evaluate(rule: Rule, asked: Asked, dialect: Dialect, steps: list[Step]) -> Effect | None:
    """What a rule with its children says, or None when it does not apply. Appends one step per rule that was asked."""
    if dialect is Dialect.TREE:
        return _tree(rule, asked, "provision", steps)
    found = {_alone(each, asked, path, steps) for path, each in _flat(rule, "provision")}
    return _strictest(found)


def answers(rule: Rule, asked: Asked) -> Iterator[tuple[str, Answer]]:
    """The answer of every attribute that the rule has, in a fixed order."""
    subject = asked.subject
    if rule.period is not None:
        yield "period", Answer.YES if rule.period.holds(asked.now) else Answer.NO
    if rule.actors:
        yield "actor", max(actor.answer(asked.recipient) for actor in rule.actors)
    if rule.purposes:
        yield "purpose", _among(asked.purpose, rule.purposes)
    if rule.actions:
        yield "action", _among(asked.action, rule.actions)
    if rule.types:
        yield "type", _shared(subject.types, rule.types)
    if rule.codes:
        yield "code", _shared(subject.codes, rule.codes)
    if rule.labels:
        yield "label", _shared(subject.labels, rule.labels)
    if rule.data:
        yield "data", max(_shared(subject.referred(each.meaning), each.references) for each in rule.data)
    if rule.data_period is not None:
        yield "dataPeriod", _dated(rule.data_period, subject.dates)


def _tree(rule: Rule, asked: Asked, path: str, steps: list[Step]) -> Effect | None:
    found = tuple(answers(rule, asked))
    place = len(steps)
    steps.append(Step(path, rule.effect, found, None))
    if not _effective(rule.effect, min((answer for _, answer in found), default=Answer.YES)):
        return None
    exceptions = {_tree(child, asked, f"{path}.provision[{n}]", steps) for n, child in enumerate(rule.children)}
    outcome = _strictest(exceptions) or rule.effect
    steps[place] = replace(steps[place], outcome=outcome)
    return outcome


def _alone(rule: Rule, asked: Asked, path: str, steps: list[Step]) -> Effect | None:
    found = tuple(answers(rule, asked))
    effective = _effective(rule.effect, min((answer for _, answer in found), default=Answer.YES))
    steps.append(Step(path, rule.effect, found, rule.effect if effective else None))
    return rule.effect if effective else None


def _flat(rule: Rule, path: str) -> Iterator[tuple[str, Rule]]:
    """The rule and all below it as rules of their own; a child keeps within the period of its parent."""
    yield path, rule
    for n, child in enumerate(rule.children):
        yield from _flat(replace(child, period=_within(rule.period, child.period)), f"{path}.provision[{n}]")


def _effective(effect: Effect, answer: Answer) -> bool:
    return answer is Answer.YES or (answer is Answer.UNKNOWN and effect is Effect.DENY)


def _strictest(found: Iterable[Effect | None]) -> Effect | None:
    present = set(found)
    return Effect.DENY if Effect.DENY in present else Effect.PERMIT if Effect.PERMIT in present else None


def _among(asked: Coding | None, listed: frozenset[Coding]) -> Answer:
    if asked is None:
        return Answer.UNKNOWN
    return Answer.YES if asked in listed else Answer.NO


def _shared(known: frozenset[_T] | None, listed: frozenset[_T]) -> Answer:
    if not known:
        return Answer.UNKNOWN
    return Answer.YES if known & listed else Answer.NO


def _dated(period: Span, dates: Span | None) -> Answer:
    if dates is None:
        return Answer.UNKNOWN
    if period.covers(dates):
        return Answer.YES
    return Answer.UNKNOWN if period.meets(dates) else Answer.NO


def _within(outer: Span | None, inner: Span | None) -> Span | None:
    if outer is None or inner is None:
        return inner or outer
    starts = [at for at in (outer.start, inner.start) if at is not None]
    ends = [at for at in (outer.end, inner.end) if at is not None]
    return Span(max(starts, default=None), min(ends, default=None))
