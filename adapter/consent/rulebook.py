"""
All rules of some directives in one index, so that a question is answered for all of them at once.

Every rule has a bit. To one attribute of a question the rules answer with two sets of bits: those that say yes, and those
that cannot know. The answers of all attributes side by side are one number, the *sheet*. What a directive says depends on its
own bits of the sheet alone, so it is worked out once for each pattern of bits that turns up, and written for the explanation
at the same time. What is remembered is bounded, and goes with the rulebook.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import product
from operator import attrgetter, or_
from typing import Any, Final, Generic, NamedTuple, Protocol, Self, TypeVar

import msgspec

from adapter.consent.directives import Directive
from adapter.consent.rules import (
    ActorPattern,
    Answer,
    Coding,
    DataPattern,
    Dialect,
    Effect,
    Meaning,
    Party,
    Rule,
    Span,
    Subject,
    Thing,
)

ATTRIBUTES: Final = ("action", "actor", "code", "data", "dataPeriod", "label", "period", "purpose", "type")
"""Of a rule, in the order of canonical JSON."""
_PURPOSE: Final = ATTRIBUTES.index("purpose")
REMEMBERED: Final = 4096
"""How many answers of one kind are kept; one more, and all of them are forgotten."""

_Key = TypeVar("_Key", bound=Hashable)
_Known = TypeVar("_Known", bound=Hashable)
_Pattern = TypeVar("_Pattern", bound=Hashable)
_Value = TypeVar("_Value")


class Bits(NamedTuple):
    """The rules that say yes, and those that cannot know."""

    yes: int
    unknown: int


class Answers(NamedTuple):
    """The bits of all attributes but the purpose, in the rulebook's order; and those of each purpose."""

    common: tuple[Bits, ...]
    purposes: tuple[Bits, ...]


class Step(NamedTuple):
    """What one rule answered: its place, its effect, the answer per attribute that it has, and what it came to."""

    path: str
    effect: Effect
    answers: tuple[tuple[str, Answer], ...]
    outcome: Effect | None


class Question(NamedTuple):
    """
    What is asked of every rule: may this party do this with this subject now? ``now`` is in ``micros``. For which purposes
    comes beside it.
    """

    party: Party
    action: Coding | None
    subject: Subject
    now: int


class Said(NamedTuple):
    """
    What a directive says to a question. ``effects``: one for each purpose, None where it does not apply; ``denies`` and
    ``permits``: any of them does. ``short``: the attributes of its root rule that do not say yes. ``steps``: one for each
    rule that was asked for each purpose, as a canonical JSON list.
    """

    effects: tuple[Effect | None, ...]
    denies: bool
    permits: bool
    short: frozenset[str]
    steps: bytes


class Rival(NamedTuple):
    """Another directive of a line, by its number. ``newer``: it surely is; dates may be partial, and then it only may be."""

    number: int
    newer: bool


class Rulebook:
    """
    The rules of ``directives``, in an order that does not depend on the one they came in. ``times``: when any of them
    begins or ends. ``outs`` and ``verdicts`` are ``decide``'s to remember in.
    """

    def __init__(self, directives: Iterable[Directive]) -> None:
        self.directives = tuple(sorted(directives, key=lambda each: (each.source, each.id, each.version)))
        self._trees = [_Tree(each.rule, each.dialect) for each in self.directives]
        rules = [rule for tree in self._trees for rule in tree.rules]
        self._width = len(rules)
        self._purposes = _Words((rule.purposes for rule in rules), lambda _: None)
        attributes: dict[str, Iterable[_Attribute]] = {
            "period": (_Periods(rules),),
            "actor": (_actors(rules),),
            "action": (_Words((rule.actions for rule in rules), lambda asked: asked.action and (asked.action,)),),
            "type": (_Words((rule.types for rule in rules), attrgetter("subject.types")),),
            "code": (_Words((rule.codes for rule in rules), attrgetter("subject.codes")),),
            "label": (_Words((rule.labels for rule in rules), attrgetter("subject.labels")),),
            "data": _data(rules),
            "dataPeriod": (_data_periods(rules),),
        }
        self._attributes = [
            (2 * ATTRIBUTES.index(name) * self._width, attribute)
            for name, of_name in attributes.items()
            for attribute in of_name
            if attribute.listed
        ]
        self._starts = [0]
        for tree in self._trees:
            self._starts.append(self._starts[-1] + len(tree.rules))
        self._masks = [self._mask(number) for number in range(len(self._trees))]
        self._said: list[dict[tuple[int, ...], Said]] = [{} for _ in self._trees]
        periods = [rule.period for rule in rules if rule.period is not None]
        self.times = Times(_ends(span) for span in (*periods, *(each.dated for each in self.directives)))
        self.outs: dict[Any, Any] = {}
        self.verdicts: dict[Any, Any] = {}
        self._lines = _Lines(self.directives)
        self._kinds: dict[str, list[int]] = {}
        for number, each in enumerate(self.directives):
            self._kinds.setdefault(each.kind, []).append(number)

    @classmethod
    def of(cls, directives: Iterable[Directive]) -> Self:
        """The rulebook of these directives; one that is made already stays what it is."""
        return directives if isinstance(directives, cls) else cls(directives)

    def __iter__(self) -> Iterator[Directive]:
        return iter(self.directives)

    def answers(self, asked: Question, purposes: Sequence[Coding]) -> Answers:
        """What all rules answer to a question, and to each of the purposes; to an unknown one, if there is none."""
        return Answers(
            tuple([attribute.to(asked) for _, attribute in self._attributes]),
            tuple([self._purposes.among((purpose,)) for purpose in purposes]) or (self._purposes.among(None),),
        )

    def sheets(self, answers: Answers) -> list[int]:
        """The sheet of each purpose. Where an attribute is looked at in several ways, yes in one of them is yes."""
        sheet, width = 0, self._width
        for (shift, _), (yes, unknown) in zip(self._attributes, answers.common, strict=True):
            sheet |= (unknown << width | yes) << shift
        return [sheet | (unknown << width | yes) << 2 * _PURPOSE * width for yes, unknown in answers.purposes]

    def says(self, number: int, sheets: Sequence[int]) -> Said:
        """What the directive of this number in ``directives`` says to the question of these sheets."""
        mask, known = self._masks[number], self._said[number]
        mine = tuple([sheet & mask for sheet in sheets])
        return known.get(mine) or remember(known, mine, self._worked_out(number, mine))

    def rivals(self, number: int) -> tuple[Rival, ...]:
        """The directives of the same kind and line that may be newer than this one."""
        return self._lines.rivals(number)

    def of_kind(self, kind: str) -> Sequence[int]:
        """The numbers of the directives of a kind."""
        return self._kinds.get(kind, ())

    def _worked_out(self, number: int, sheets: Sequence[int]) -> Said:
        effects: list[Effect | None] = []
        steps: list[Step] = []
        short: set[str] = set()
        for sheet in sheets:
            answers = self._answers(number, sheet)
            effects.append(self._trees[number].outcome(answers, steps))
            short |= {name for name, answer in answers[0] if answer is not Answer.YES}
        written = msgspec.json.encode([_written(step) for step in steps])
        return Said(tuple(effects), Effect.DENY in effects, Effect.PERMIT in effects, frozenset(short), written)

    def _answers(self, number: int, sheet: int) -> list[_OfRule]:
        """For each rule of a directive, the answer of every attribute that it has."""
        own = sheet >> self._starts[number]
        return [tuple(self._read(own >> n, rule)) for n, rule in enumerate(self._trees[number].rules)]

    def _read(self, sheet: int, rule: Rule) -> Iterator[tuple[str, Answer]]:
        """The answers of the rule whose bits are the lowest of every plane."""
        listed = (
            rule.actions, rule.actors, rule.codes, rule.data, rule.data_period, rule.labels, rule.period, rule.purposes,
            rule.types,
        )  # fmt: skip
        for place, name in enumerate(ATTRIBUTES):
            if listed[place]:
                bits = sheet >> 2 * place * self._width
                yield name, Answer.YES if bits & 1 else Answer.UNKNOWN if bits >> self._width & 1 else Answer.NO

    def _mask(self, number: int) -> int:
        """A directive's bits on every plane of a sheet."""
        start, end = self._starts[number : number + 2]
        own = (1 << end) - (1 << start)
        return sum(own << plane * self._width for plane in range(2 * len(ATTRIBUTES)))


_OfRule = tuple[tuple[str, Answer], ...]


class _Tree:
    """One directive's rules from the root down, with their paths, and how they come to one effect."""

    def __init__(self, root: Rule, dialect: Dialect) -> None:
        self.rules: list[Rule] = []
        self._paths: list[str] = []
        self._children: list[list[int]] = []
        self._flat = dialect is Dialect.PCF_FLAT
        self._add(root, "provision", None)

    def outcome(self, answers: Sequence[_OfRule], steps: list[Step]) -> Effect | None:
        """What the rules come to, by their answers. Appends one step per rule that was asked."""
        if self._flat:
            return _strictest({self._alone(n, answers, steps) for n in range(len(self.rules))})
        return self._among_exceptions(0, answers, steps)

    def _add(self, rule: Rule, path: str, above: Span | None) -> int:
        """
        The place of a rule. In ``PCF_FLAT`` a child keeps within the period of its parent; in a tree it is not asked
        outside of it.
        """
        place = len(self.rules)
        narrowed = replace(rule, period=_within(above, rule.period)) if self._flat else rule
        self.rules.append(narrowed)
        self._paths.append(path)
        self._children.append([])
        for n, child in enumerate(rule.children):
            self._children[place].append(self._add(child, f"{path}.provision[{n}]", narrowed.period))
        return place

    def _among_exceptions(self, place: int, answers: Sequence[_OfRule], steps: list[Step]) -> Effect | None:
        """A rule with its children, which are exceptions to it."""
        effect, mine = self.rules[place].effect, len(steps)
        steps.append(Step(self._paths[place], effect, answers[place], None))
        if not _effective(effect, answers[place]):
            return None
        exceptions = {self._among_exceptions(child, answers, steps) for child in self._children[place]}
        outcome = _strictest(exceptions) or effect
        steps[mine] = steps[mine]._replace(outcome=outcome)
        return outcome

    def _alone(self, place: int, answers: Sequence[_OfRule], steps: list[Step]) -> Effect | None:
        """A rule by itself."""
        effect = self.rules[place].effect
        outcome = effect if _effective(effect, answers[place]) else None
        steps.append(Step(self._paths[place], effect, answers[place], outcome))
        return outcome


class _Lines:
    """
    Which directives speak of the same recipient: those that share one, and those of the kind that name none. One whose kind
    could not be read may be of any.
    """

    def __init__(self, directives: Sequence[Directive]) -> None:
        self._directives = directives
        self._by: dict[tuple[str, str], list[int]] = {}
        for number, directive in enumerate(directives):
            for word in directive.line or ("",):
                self._by.setdefault((directive.kind, word), []).append(number)
        self._known: dict[int, tuple[Rival, ...]] = {}

    def rivals(self, number: int) -> tuple[Rival, ...]:
        known = self._known.get(number)
        if known is None:
            known = self._known[number] = tuple(self._found(number))
        return known

    def _found(self, number: int) -> Iterator[Rival]:
        old = self._directives[number]
        places = product((old.kind, ""), ("", *old.line))
        same = {n for place in places for n in self._by.get(place, ()) if n != number}
        for n in sorted(same):
            new = self._directives[n].dated
            if new.end is None or old.dated.start is None or new.end >= old.dated.start:
                surely = new.start is not None and old.dated.end is not None and new.start > old.dated.end
                yield Rival(n, surely)


class _Attribute(Protocol):
    """``listed``: the rules that have the attribute."""

    listed: int

    def to(self, asked: Question, /) -> Bits: ...


class _Words:
    """Which rules list one of some words."""

    def __init__(
        self, words: Iterable[Iterable[Hashable]], known: Callable[[Question], Iterable[Hashable] | None]
    ) -> None:
        self.listed = 0
        self._by: dict[Hashable, int] = {}
        self._known = known
        for bit, listed in enumerate(words):
            for word in listed:
                self.listed |= 1 << bit
                self._by[word] = self._by.get(word, 0) | 1 << bit

    def to(self, asked: Question) -> Bits:
        return self.among(self._known(asked))

    def among(self, known: Iterable[Hashable] | None) -> Bits:
        """``known``: any of these words; None or none at all is not known."""
        if not known:
            return Bits(0, self.listed)
        yes = 0
        for word in known:
            yes |= self._by.get(word, 0)
        return Bits(yes, 0)


class Times:
    """Instants in order, from the ends of some spans; between two of them nothing begins or ends."""

    def __init__(self, ends: Iterable[tuple[int | None, int | None]]) -> None:
        self._at = sorted({at for pair in ends for at in pair if at is not None})

    def between(self, now: int) -> int:
        """After how many of the instants ``now`` is."""
        return bisect_right(self._at, now)

    def within(self, start: int | None, end: int | None) -> range:
        """The places between instants at which a span with these ends holds."""
        first = 0 if start is None else bisect_right(self._at, start)
        return range(first, len(self._at) + 1 if end is None else bisect_right(self._at, end))


class _Periods:
    """Which rules hold at an instant."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        spans = [(1 << bit, *_ends(rule.period)) for bit, rule in enumerate(rules) if rule.period is not None]
        self.listed = sum(bit for bit, _, _ in spans)
        self._times = Times((start, end) for _, start, end in spans)
        holding = [0] * len(self._times.within(None, None))
        for bit, start, end in spans:
            for place in self._times.within(start, end):
                holding[place] |= bit
        self._holding = [Bits(rules, 0) for rules in holding]

    def to(self, asked: Question) -> Bits:
        return self._holding[self._times.between(asked.now)]


class _Patterns(Generic[_Pattern, _Known]):
    """Which rules list a pattern that fits what is known: each different pattern is compared once for each different knowledge."""

    def __init__(
        self,
        listed: Iterable[Iterable[_Pattern]],
        known: Callable[[Question], _Known],
        answer: Callable[[_Pattern, _Known], Answer],
    ) -> None:
        self._rules: dict[_Pattern, int] = {}
        for bit, patterns in enumerate(listed):
            for pattern in patterns:
                self._rules[pattern] = self._rules.get(pattern, 0) | 1 << bit
        self.listed = reduce(or_, self._rules.values(), 0)
        self._known, self._answer = known, answer
        self._compared: dict[_Known, Bits] = {}

    def to(self, asked: Question) -> Bits:
        known = self._known(asked)
        return self._compared.get(known) or remember(self._compared, known, self._compare(known))

    def _compare(self, known: _Known) -> Bits:
        yes = unknown = 0
        for pattern, rules in self._rules.items():
            match self._answer(pattern, known):
                case Answer.YES:
                    yes |= rules
                case Answer.UNKNOWN:
                    unknown |= rules
        return Bits(yes, unknown & ~yes)


_REFERRED: Final = {
    Meaning.INSTANCE: "instances",
    Meaning.RELATED: "related",
    Meaning.DEPENDENTS: "dependents",
    Meaning.AUTHORED_BY: "authors",
}
"""Where a subject says what stands in a relation to it."""


def _actors(rules: Iterable[Rule]) -> _Patterns[ActorPattern, Party]:
    return _Patterns((rule.actors for rule in rules), attrgetter("party"), ActorPattern.answer)


def _data(rules: Sequence[Rule]) -> Iterator[_Patterns[DataPattern, frozenset[Thing] | None]]:
    """One for each meaning that a rule uses."""
    for meaning in Meaning:
        listed = [[pattern for pattern in rule.data if pattern.meaning is meaning] for rule in rules]
        yield _Patterns(listed, attrgetter(f"subject.{_REFERRED[meaning]}"), DataPattern.answer)


def _data_periods(rules: Iterable[Rule]) -> _Patterns[Span, Span | None]:
    listed = ((rule.data_period,) if rule.data_period is not None else () for rule in rules)
    return _Patterns(listed, attrgetter("subject.dates"), _dated)


def _dated(period: Span, dates: Span | None) -> Answer:
    if dates is None:
        return Answer.UNKNOWN
    if period.covers(dates):
        return Answer.YES
    return Answer.UNKNOWN if period.meets(dates) else Answer.NO


def _effective(effect: Effect, answers: _OfRule) -> bool:
    """No beats unknown beats yes; unknown is enough for a denial, and not for a permission."""
    least = min((answer for _, answer in answers), default=Answer.YES)
    return least is Answer.YES or (least is Answer.UNKNOWN and effect is Effect.DENY)


def _strictest(found: Iterable[Effect | None]) -> Effect | None:
    present = set(found)
    return Effect.DENY if Effect.DENY in present else Effect.PERMIT if Effect.PERMIT in present else None


def _within(outer: Span | None, inner: Span | None) -> Span | None:
    if outer is None or inner is None:
        return inner or outer
    starts = [at for at in (outer.start, inner.start) if at is not None]
    ends = [at for at in (outer.end, inner.end) if at is not None]
    return Span(max(starts, default=None), min(ends, default=None))


def _ends(span: Span) -> tuple[int | None, int | None]:
    """The first instant that a span holds and the first that it does not hold any more, in microseconds."""
    start = None if span.start is None else micros(span.start)
    return start, None if span.end is None else micros(span.end) + 1


_EPOCH = datetime.min.replace(tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """An aware time as microseconds since the first instant there is."""
    return (at - _EPOCH) // _MICROSECOND


_SAID: Final = {answer: answer.name.lower() for answer in Answer}


def _written(step: Step) -> dict[str, Any]:
    return {
        "answers": {name: _SAID[answer] for name, answer in step.answers},
        "effect": step.effect,
        "outcome": step.outcome or "nothing",
        "path": step.path,
    }


def remember(kept: dict[_Key, _Value], key: _Key, value: _Value) -> _Value:
    """Keep a value, among at most so many."""
    if len(kept) >= REMEMBERED:
        kept.clear()
    kept[key] = value
    return value
