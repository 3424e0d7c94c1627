"""
Decisions per second with their explanation, on 5 consents of 10 provisions each: one JSON line.

``ours``: decide and write the explanation, the consents indexed once and the questions asked before (``indexed``), the index
new and each question asked for the first time (``first``), or the index anew for every question (``anew``).
``theirs``: Cedar, another policy engine, on the same provisions as permit and forbid policies, parsed once, with the ids of
the policies that decided as its explanation: each question alone (``one``) and all of them in one call (``batch``, its
best form). Both sides must give the same answers, or nothing is printed.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from time import perf_counter

from cedarpy import Decision, Entities, PolicySet, is_authorized, is_authorized_batch

from adapter.consent import disclosure
from adapter.consent.decide import Request, decide
from adapter.consent.directives import Directive, Source
from adapter.consent.explanation import explain
from adapter.consent.rulebook import Rulebook
from adapter.consent.rules import ActorPattern, DataPattern, Effect, Meaning, Party, Rule, Span, Subject

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PURPOSES = ("coordination", "rehabilitation-need", "patient-request")
CONSENTS, PROVISIONS, QUESTIONS, SECONDS = 5, 10, 1000, 1.0


@dataclass(frozen=True)
class Provision:
    """An exception below a consent for care: to whom, for what, whose data, and when, in days."""

    effect: Effect
    number: str
    purposes: frozenset[str]
    unit: str
    first: int
    last: int

    def rule(self) -> Rule:
        return Rule(
            self.effect,
            period=Span(START + self.first * DAY, START + self.last * DAY),
            actors=(ActorPattern(identifiers=frozenset({("orgnr", self.number)})),),
            purposes=frozenset(("", purpose) for purpose in self.purposes),
            data=(DataPattern(Meaning.AUTHORED_BY, frozenset({self.unit})),),
        )

    def cedar(self) -> str:
        purposes = json.dumps(sorted(self.purposes))
        return f"""{self.effect.replace("deny", "forbid")} (principal == Party::"{self.number}", action, resource == Unit::"{self.unit}")
            when {{ context.kind == "vard" && {purposes}.contains(context.purpose) && context.day >= {self.first} && context.day <= {self.last} }};"""


@dataclass(frozen=True)
class Question:
    number: str
    unit: str
    day: int

    def ours(self) -> tuple[Request, Subject, datetime]:
        party = Party("vard", identifiers=frozenset({("orgnr", self.number)}))
        subject = Subject(
            "Intervention", "p", custodian="v", authors=frozenset({frozenset({self.unit})}), dates=Span(START, START)
        )
        return Request(party, (("", "coordination"),), frozenset({"v"})), subject, START + self.day * DAY

    def cedar(self) -> dict[str, object]:
        return {
            "principal": f'Party::"{self.number}"',
            "action": 'Action::"disclose"',
            "resource": f'Unit::"{self.unit}"',
            "context": {"kind": "vard", "purpose": "coordination", "day": self.day},
        }


def consents(chance: Random) -> Iterator[list[Provision]]:
    for _ in range(CONSENTS):
        yield [
            Provision(
                chance.choice(list(Effect)),
                str(chance.randint(1, 20)),
                frozenset(chance.sample(PURPOSES, 2)),
                chance.choice("abc"),
                first := chance.randint(0, 200),
                first + chance.randint(30, 200),
            )
            for _ in range(PROVISIONS - 1)
        ]


def directives(written: list[list[Provision]]) -> tuple[Directive, ...]:
    dated = Span(START - DAY, START - DAY)
    return tuple(
        Directive(
            Source.CONSENT,
            f"c{n}",
            1,
            "interventions",
            "p",
            Rule(
                Effect.PERMIT, actors=(ActorPattern(kind="vard"),), children=tuple(each.rule() for each in provisions)
            ),
            dated,
            line=frozenset({f"l{n}"}),
        )
        for n, provisions in enumerate(written)
    )


def policies(written: list[list[Provision]]) -> str:
    roots = ['permit (principal, action, resource) when { context.kind == "vard" };'] * CONSENTS
    return "\n".join([*roots, *(each.cedar() for provisions in written for each in provisions)])


def rate(answer: Callable[[], Iterable[object]]) -> int:
    """Questions answered per second, each answer let go when the next one comes; the best of five runs."""
    best = 0.0
    for _ in range(5):
        done, start = 0, perf_counter()
        while (spent := perf_counter() - start) < SECONDS / 5:
            deque(answer(), maxlen=0)
            done += QUESTIONS
        best = max(best, done / spent)
    return round(best)


def _asked(
    given: Iterable[Directive], questions: Iterable[tuple[Request, Subject, datetime]], tables: disclosure.Disclosures
) -> Iterator[bytes]:
    return (explain(decide(given, *each, tables)) for each in questions)


def main() -> None:
    chance = Random(1)
    written = list(consents(chance))
    questions = [
        Question(str(chance.randint(1, 20)), chance.choice("abc"), chance.randint(0, 365)) for _ in range(QUESTIONS)
    ]
    tables = disclosure.load()
    given, asked = directives(written), [each.ours() for each in questions]
    rules = Rulebook(given)
    parsed, nobody = PolicySet.from_str(policies(written)), Entities.from_json_str("[]")
    requests = [each.cedar() for each in questions]

    ours = [decide(rules, *each, tables).permitted for each in asked]
    theirs = [each.decision is Decision.Allow for each in is_authorized_batch(requests, parsed, nobody)]
    if ours != theirs or not QUESTIONS / 20 < sum(ours) < QUESTIONS:
        raise SystemExit("the two sides do not answer the same")

    rates = {
        "indexed": rate(lambda: _asked(rules, asked, tables)),
        "first": rate(lambda: _asked(Rulebook(given), asked, tables)),
        "anew": rate(lambda: _asked(given, asked, tables)),
        "one": rate(lambda: (is_authorized(each, parsed, nobody).diagnostics.reasons for each in requests)),
        "batch": rate(lambda: (each.diagnostics.reasons for each in is_authorized_batch(requests, parsed, nobody))),
    }
    print(
        json.dumps(
            {
                "benchmark": "decide",
                "workload": f"{CONSENTS} consents of {PROVISIONS} provisions, {QUESTIONS} questions, {sum(ours)} permitted",
                "ours": {
                    "what": "decide + explanation, per second",
                    "indexed": rates["indexed"],
                    "first": rates["first"],
                    "anew": rates["anew"],
                },
                "theirs": {"what": "Cedar + reasons, per second", "one": rates["one"], "batch": rates["batch"]},
                "ratio": round(rates["indexed"] / max(rates["one"], rates["batch"]), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
