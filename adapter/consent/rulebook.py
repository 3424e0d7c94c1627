"""
All rules of some directives in one index, so that a question is answered for all of them at once.

Every rule has a bit. To one attribute of a question the rules answer with two sets of bits: those that say yes, and those
that cannot know. The answers of all attributes side by side are one number, the *sheet*. What a directive says depends on its
own bits of the sheet alone, so it is worked out once for each pattern of bits that turns up, and written for the explanation
at the same time. What is remembered is bounded, and goes with the rulebook.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, Final, NamedTuple, Self, TypeVar

import msgspec

from adapter.consent.directives import Directive
from adapter.consent.rules import ActorPattern, Answer, Coding, Dialect, Effect, Meaning, Party, Rule, Span, Subject

ATTRIBUTES: Final = ("period", "actor", "purpose", "action", "type", "code", "label", "data", "dataPeriod")
REMEMBERED: Final = 4096
"""How many answers of one kind are kept; one more, and all of them are forgotten."""

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Bits(NamedTuple):
    """The rules that say yes, and those that cannot know."""

    yes: int
    unknown: int


_NONE: Final = Bits(0, 0)


class Step(NamedTuple):
    """What one rule answered: its place, its effect, the answer per attribute that it has, and what it came to."""

    path: str
    effect: Effect
    answers: tuple[tuple[str, Answer], ...]
    outcome: Effect | None


class Said(NamedTuple):
    """
    What a directive says to one question; ``effect`` None: it does not apply. ``short``: the attributes of its root rule
    that do not say yes. ``steps``: one for each rule that was asked, as canonical JSON objects with commas between.
    """

    effect: Effect | None
    short: frozenset[str]
    steps: bytes


class Rival(NamedTuple):
    """Another directive of a line, by its number. ``newer``: it surely is; dates may be partial, and then it only may be."""

    number: int
    newer: bool


class Rulebook:
    """The rules of ``directives``, in an order that does not depend on the one they came in."""

    def __init__(self, directives: Iterable[Directive]) -> None:
        self.directives = tuple(sorted(directives, key=lambda each: (each.source, each.id, each.version)))
        self._trees = [_Tree(each.rule, each.dialect) for each in self.directives]
        rules = [rule for tree in self._trees for rule in tree.rules]
        self._width = len(rules)
        self._periods = _Periods(rules)
        self._actors = _Actors(rules)
        self._purposes = _Words(rule.purposes for rule in rules)
        self._actions = _Words(rule.actions for rule in rules)
        self._types = _Words(rule.types for rule in rules)
        self._codes = _Words(rule.codes for rule in rules)
        self._labels = _Words(rule.labels for rule in rules)
        self._data = _Data(rules)
        self._data_periods = _DataPeriods(rules)
        self._starts = [0]
        for tree in self._trees:
            self._starts.append(self._starts[-1] + len(tree.rules))
        self._masks = [self._mask(number) for number in range(len(self._trees))]
        self._said: list[dict[int, Said]] = [{} for _ in self._trees]
        self._lines = _Lines(self.directives)

    @classmethod
    def of(cls, directives: Iterable[Directive]) -> Self:
        """The rulebook of these directives; one that is made already stays what it is."""
        return directives if isinstance(directives, cls) else cls(directives)

    def __iter__(self) -> Iterator[Directive]:
        return iter(self.directives)

    def sheets(
        self, party: Party, purposes: Sequence[Coding], action: Coding | None, subject: Subject, now: datetime
    ) -> list[int]:
        """The sheet of each purpose; of an unknown one, if there is none."""
        common = (
            (0, self._periods.at(now)),
            (1, self._actors.to(party)),
            (3, self._actions.to(None if action is None else (action,))),
            (4, self._types.to(subject.types)),
            (5, self._codes.to(subject.codes)),
            (6, self._labels.to(subject.labels)),
            (7, self._data.to(subject)),
            (8, self._data_periods.to(subject.dates)),
        )
        sheet = 0
        for place, bits in common:
            if bits is not _NONE:
                sheet |= self._plane(place, bits)
        return [sheet | self._plane(2, self._purposes.to((purpose,))) for purpose in purposes] or [
            sheet | self._plane(2, self._purposes.to(None))
        ]

    def says(self, number: int, sheet: int) -> Said:
        """What the directive of this number in ``directives`` says to the question of a sheet."""
        mine = sheet & self._masks[number]
        said = self._said[number].get(mine)
        return said or _remember(self._said[number], mine, self._worked_out(number, mine))

    def rivals(self, number: int) -> tuple[Rival, ...]:
        """The directives of the same kind and line that may be newer than this one."""
        return self._lines.rivals(number)

    def _worked_out(self, number: int, sheet: int) -> Said:
        answers = self._answers(number, sheet)
        steps: list[Step] = []
        effect = self._trees[number].outcome(answers, steps)
        short = frozenset(name for name, answer in answers[0] if answer is not Answer.YES)
        return Said(effect, short, msgspec.json.encode([_written(step) for step in steps])[1:-1])

    def _answers(self, number: int, sheet: int) -> list[_Answers]:
        """For each rule of a directive, the answer of every attribute that it has."""
        own = sheet >> self._starts[number]
        return [tuple(self._read(own >> n, rule)) for n, rule in enumerate(self._trees[number].rules)]

    def _read(self, sheet: int, rule: Rule) -> Iterator[tuple[str, Answer]]:
        """The answers of the rule whose bits are the lowest of every plane."""
        listed = (
            rule.period, rule.actors, rule.purposes, rule.actions, rule.types, rule.codes, rule.labels, rule.data,
            rule.data_period,
        )  # fmt: skip
        for place, name in enumerate(ATTRIBUTES):
            if listed[place]:
                bits = sheet >> 2 * place * self._width
                yield name, Answer.YES if bits & 1 else Answer.UNKNOWN if bits >> self._width & 1 else Answer.NO

    def _plane(self, place: int, bits: Bits) -> int:
        return (bits.unknown << self._width | bits.yes) << 2 * place * self._width

    def _mask(self, number: int) -> int:
        """A directive's bits on every plane of a sheet."""
        start, end = self._starts[number : number + 2]
        own = (1 << end) - (1 << start)
        return sum(own << plane * self._width for plane in range(2 * len(ATTRIBUTES)))


_Answers = tuple[tuple[str, Answer], ...]


class _Tree:
    """One directive's rules from the root down, with their paths, and how they come to one effect."""

    def __init__(self, root: Rule, dialect: Dialect) -> None:
        self.rules: list[Rule] = []
        self._paths: list[str] = []
        self._children: list[list[int]] = []
        self._flat = dialect is Dialect.PCF_FLAT
        self._add(root, "provision", None)

    def outcome(self, answers: Sequence[_Answers], steps: list[Step]) -> Effect | None:
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

    def _among_exceptions(self, place: int, answers: Sequence[_Answers], steps: list[Step]) -> Effect | None:
        """A rule with its children, which are exceptions to it."""
        effect, mine = self.rules[place].effect, len(steps)
        steps.append(Step(self._paths[place], effect, answers[place], None))
        if not _effective(effect, answers[place]):
            return None
        exceptions = {self._among_exceptions(child, answers, steps) for child in self._children[place]}
        outcome = _strictest(exceptions) or effect
        steps[mine] = steps[mine]._replace(outcome=outcome)
        return outcome

    def _alone(self, place: int, answers: Sequence[_Answers], steps: list[Step]) -> Effect | None:
        """A rule by itself."""
        effect = self.rules[place].effect
        outcome = effect if _effective(effect, answers[place]) else None
        steps.append(Step(self._paths[place], effect, answers[place], outcome))
        return outcome


class _Lines:
    """Which directives speak of the same recipient: those that share one, and those of the kind that name none."""

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
        same = {n for word in ("", *old.line) for n in self._by.get((old.kind, word), ()) if n != number}
        for n in sorted(same):
            new = self._directives[n].dated
            if new.end is None or old.dated.start is None or new.end >= old.dated.start:
                surely = new.start is not None and old.dated.end is not None and new.start > old.dated.end
                yield Rival(n, surely)


class _Words:
    """Which rules list a word."""

    def __init__(self, listed: Iterable[Iterable[Hashable]]) -> None:
        self.all = 0
        self._by: dict[Hashable, int] = {}
        for bit, words in enumerate(listed):
            for word in words:
                self.all |= 1 << bit
                self._by[word] = self._by.get(word, 0) | 1 << bit

    def to(self, known: Iterable[Hashable] | None) -> Bits:
        """``known``: any of these words; None or none at all is not known."""
        if not self.all:
            return _NONE
        if not known:
            return Bits(0, self.all)
        return Bits(reduce(or_, (self._by.get(word, 0) for word in known)), 0)


class _Periods:
    """Which rules hold at an instant: the times at which that changes, in order, and the rules between each two."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        spans = [(bit, *_ends(rule.period)) for bit, rule in enumerate(rules) if rule.period is not None]
        self._times = sorted({at for _, start, end in spans for at in (start, end) if at is not None})
        self._between = [0] * (len(self._times) + 1)
        for bit, start, end in spans:
            first = 0 if start is None else bisect_right(self._times, start)
            last = len(self._times) if end is None else bisect_right(self._times, end) - 1
            for place in range(first, last + 1):
                self._between[place] |= 1 << bit

    def at(self, now: datetime) -> Bits:
        holding = self._between[bisect_right(self._times, _micros(now))]
        return Bits(holding, 0) if holding else _NONE


class _Actors:
    """Which rules name a party: each different pattern is compared once for each party."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._patterns: dict[ActorPattern, int] = {}
        for bit, rule in enumerate(rules):
            for actor in rule.actors:
                self._patterns[actor] = self._patterns.get(actor, 0) | 1 << bit
        self._known: dict[Party, Bits] = {}

    def to(self, party: Party) -> Bits:
        return self._known.get(party) or _remember(self._known, party, self._compared(party))

    def _compared(self, party: Party) -> Bits:
        yes = unknown = 0
        for pattern, rules in self._patterns.items():
            match pattern.answer(party):
                case Answer.YES:
                    yes |= rules
                case Answer.UNKNOWN:
                    unknown |= rules
        return Bits(yes, unknown & ~yes)


class _Data:
    """Which rules name data that the subject is, or stands in a relation to."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._by = {meaning: _Words(_named(rule, meaning) for rule in rules) for meaning in Meaning}

    def to(self, subject: Subject) -> Bits:
        yes = unknown = 0
        for meaning, words in self._by.items():
            if words.all:
                bits = words.to(subject.referred(meaning))
                yes, unknown = yes | bits.yes, unknown | bits.unknown
        return Bits(yes, unknown & ~yes)


class _DataPeriods:
    """Which rules' data periods hold the subject's dates."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._spans: dict[Span, int] = {}
        for bit, rule in enumerate(rules):
            if rule.data_period is not None:
                self._spans[rule.data_period] = self._spans.get(rule.data_period, 0) | 1 << bit
        self._known: dict[Span | None, Bits] = {}

    def to(self, dates: Span | None) -> Bits:
        if not self._spans:
            return _NONE
        return self._known.get(dates) or _remember(self._known, dates, self._compared(dates))

    def _compared(self, dates: Span | None) -> Bits:
        yes = unknown = 0
        for span, rules in self._spans.items():
            if dates is None:
                unknown |= rules
            elif span.covers(dates):
                yes |= rules
            elif span.meets(dates):
                unknown |= rules
        return Bits(yes, unknown)


def _named(rule: Rule, meaning: Meaning) -> Iterator[str]:
    return (reference for each in rule.data if each.meaning is meaning for reference in each.references)


def _effective(effect: Effect, answers: _Answers) -> bool:
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
    start = None if span.start is None else _micros(span.start)
    return start, None if span.end is None else _micros(span.end) + 1


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _written(step: Step) -> dict[str, Any]:
    return {
        "answers": dict(sorted((name, answer.name.lower()) for name, answer in step.answers)),
        "effect": step.effect,
        "outcome": step.outcome or "nothing",
        "path": step.path,
    }


def _remember(kept: dict[_Key, _Value], key: _Key, value: _Value) -> _Value:
    if len(kept) >= REMEMBERED:
        kept.clear()
    kept[key] = value
    return value
