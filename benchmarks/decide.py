"""
Decisions per second with their explanation, on 5 consents of 10 provisions each: one JSON line.

``ours`` is the product: decide and write the explanation. ``theirs`` is the test suite's plain evaluator of the same rule
trees (tests/oracle.py: dictionaries and strings, no explanation, no combination of consents).
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import oracle

from adapter.consent import disclosure
from adapter.consent.decide import Request, decide
from adapter.consent.directives import Directive, Source
from adapter.consent.explanation import explain
from adapter.consent.rulebook import Rulebook
from adapter.consent.rules import ActorPattern, DataPattern, Effect, Meaning, Party, Rule, Span, Subject

NOW = datetime(2026, 6, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
PURPOSES = [("", name) for name in ("coordination", "rehabilitation-need", "patient-request")]
CONSENTS, PROVISIONS, QUESTIONS, SECONDS = 5, 10, 200, 2.0


def workload():
    """The consents in both forms, and the questions."""
    chance = Random(1)
    plain = [_consent(chance) for _ in range(CONSENTS)]
    rules = Rulebook(
        Directive(
            Source.CONSENT,
            f"c{n}",
            1,
            "interventions",
            "p",
            _rule(rule),
            Span(NOW - YEAR, NOW - YEAR),
            line=frozenset({f"l{n}"}),
        )
        for n, rule in enumerate(plain)
    )
    questions = []
    for _ in range(QUESTIONS):
        number, unit = f"{chance.randint(1, 9)}", chance.choice("ab")
        request = Request(Party("vard", identifiers=frozenset({("orgnr", number)})), (PURPOSES[0],), frozenset({"v"}))
        subject = Subject(
            "Intervention", "p", custodian="v", authors=frozenset({unit}), dates=Span(NOW - YEAR / 9, NOW - YEAR / 9)
        )
        asked = {
            "now": NOW,
            "party": {"kind": "vard", "identifiers": [("orgnr", number)]},
            "purpose": PURPOSES[0],
            "authoredby": [unit],
            "dates": (NOW - YEAR / 9, NOW - YEAR / 9),
        }
        questions.append((request, subject, asked))
    return plain, rules, questions


def _consent(chance):
    children = [_provision(chance) for _ in range(PROVISIONS - 1)]
    return {
        "effect": Effect.PERMIT,
        "period": (NOW - YEAR, NOW + YEAR),
        "actors": [{"kind": "vard"}],
        "children": children,
    }


def _provision(chance):
    return {
        "effect": chance.choice(list(Effect)),
        "period": (NOW - YEAR, NOW + YEAR),
        "actors": [{"identifiers": [("orgnr", str(chance.randint(1, 9)))]}],
        "purposes": chance.sample(PURPOSES, 2),
        "data": [("authoredby", [chance.choice("ab")])],
    }


def _rule(plain):
    actors = plain["actors"]
    return Rule(
        plain["effect"],
        period=Span(*plain["period"]),
        actors=tuple(
            ActorPattern(each.get("kind", ""), identifiers=frozenset(each.get("identifiers", ()))) for each in actors
        ),
        purposes=frozenset(plain.get("purposes", ())),
        data=tuple(
            DataPattern(Meaning(meaning), frozenset(references)) for meaning, references in plain.get("data", ())
        ),
        children=tuple(_rule(child) for child in plain.get("children", ())),
    )


def rate(decisions) -> float:
    """Decisions per second, the best of three runs."""
    best = 0.0
    for _ in range(3):
        done, start = 0, perf_counter()
        while perf_counter() - start < SECONDS / 3:
            decisions()
            done += QUESTIONS
        best = max(best, done / (perf_counter() - start))
    return best


def main() -> None:
    plain, rules, questions = workload()
    policy = disclosure.load()

    def ours():
        for request, subject, _ in questions:
            explain(decide(rules, request, subject, NOW, policy))

    def theirs():
        for _, _, asked in questions:
            for rule in plain:
                oracle.tree(rule, asked)

    one, other = rate(ours), rate(theirs)
    print(
        json.dumps(
            {
                "benchmark": "decide",
                "workload": f"{CONSENTS} consents of {PROVISIONS} provisions",
                "ours": {"what": "decide + explanation", "per_second": round(one)},
                "theirs": {"what": "plain evaluator of the same trees, no explanation", "per_second": round(other)},
                "ratio": round(one / other, 2),
            },
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    main()
