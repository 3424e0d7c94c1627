"""The decision against an independent evaluator that was written from the page alone."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from random import Random

from adapter.consent.decide import Reason
from adapter.consent.rules import (
    ActorPattern,
    Asked,
    DataPattern,
    Dialect,
    Effect,
    Meaning,
    Party,
    Rule,
    Span,
    Subject,
    evaluate,
)
from adapter.domain import written_record

import oracle
from consent_worlds import NOWS, PROVIDER, cases, decided

COUNT = int(os.environ.get("KOORD_ORACLE_CASES", "20000"))
"""`make proof` sets more."""
DENIALS = {Reason.BLOCKED_INNER, Reason.BLOCKED_OUTER, Reason.CONSENT_REFUSED, Reason.CONSENT_UNINTERPRETABLE}
RARE = {Reason.CONSENT_OTHER_CONTENT, Reason.CONSENT_REPLACED}
LATER = {Reason.DIAGNOSIS_CONTENT, Reason.INVALID_CONTENT, Reason.UNEXPECTED_CONTENT, Reason.GATE_ERROR}


def test_every_decision_is_the_one_that_the_page_asks_for():
    written = {}
    seen = Counter()
    for consents, blocks, record, to, purpose, now in cases(COUNT, seed=COUNT):
        decision = decided(to, consents, blocks, record, now, purpose)
        plain = [
            [written.setdefault(id(each), (each, written_record(each)))[1] for each in group]
            for group in (consents, blocks, [record])
        ]
        expected = oracle.decide(plain[0], plain[1], plain[2][0], _plain(to), purpose.value, [PROVIDER.hsa_id], now)
        missing = decision.missing and decision.reason not in DENIALS
        reason = ("missing", decision.kind) if missing else decision.reason.value
        found = ("permit", {str(each) for each in decision.categories}) if decision.permitted else ("deny", reason)
        assert found == expected, (to, now, purpose, consents, blocks, record)
        seen[decision.reason] += 1
    wanted = set(Reason) - LATER - RARE
    assert wanted <= set(seen), f"the worlds never led to {wanted - set(seen)}"
    assert seen[Reason.PERMITTED] > COUNT / 10


def _plain(to):
    return {
        "type": to.type,
        "organisation_number": to.organisation_number,
        "hsa_id": to.hsa_id,
        "provider_hsa_id": to.provider_hsa_id,
        "patient": to.patient and to.patient.model_dump(),
        "allows_protected": to.allows_protected_identity,
    }


def test_every_rule_tree_says_what_the_page_says():
    chance = Random(7)
    seen = Counter()
    for _ in range(COUNT):
        rule, asked = _rule(chance, depth=chance.randint(0, 3)), _asked(chance)
        for dialect, walk in ((Dialect.TREE, oracle.tree), (Dialect.PCF_FLAT, oracle.flat)):
            found = evaluate(_as_rule(rule), _as_asked(asked), dialect, [])
            assert found == walk(rule, asked), (dialect, rule, asked)
            seen[dialect, found] += 1
    assert all(seen[dialect, effect] > COUNT / 50 for dialect in Dialect for effect in (*Effect, None))


def test_every_small_rule_tree_says_what_the_page_says():
    """All trees of a root and up to two children over one attribute, with a match, a mismatch and nothing known."""
    leaves = [
        {"effect": effect, **({"purposes": [("", listed)]} if listed else {})}
        for effect in Effect
        for listed in (None, "a", "b")
    ]
    for root, first, second in itertools.product(leaves, [None, *leaves], [None, *leaves]):
        rule = {**root, "children": [each for each in (first, second) if each]}
        for known in (("", "a"), None):
            asked = {"now": NOWS[0], "party": {}, **({"purpose": known} if known else {})}
            for dialect, walk in ((Dialect.TREE, oracle.tree), (Dialect.PCF_FLAT, oracle.flat)):
                assert evaluate(_as_rule(rule), _as_asked(asked), dialect, []) == walk(rule, asked), (
                    dialect,
                    rule,
                    asked,
                )


def _some(chance, values, most=2):
    return chance.sample(values, chance.randint(1, most))


def _rule(chance, depth):
    rule = {"effect": chance.choice(list(Effect))}
    tokens = [("", "a"), ("", "b"), ("s", "a")]
    for name in ("purposes", "actions", "types", "codes", "labels"):
        if chance.random() < 0.2:
            rule[name] = _some(chance, tokens)
    if chance.random() < 0.3:
        rule["period"] = _span(chance)
    if chance.random() < 0.2:
        rule["data_period"] = _span(chance)
    if chance.random() < 0.3:
        rule["actors"] = [_actor(chance) for _ in range(chance.randint(1, 2))]
    if chance.random() < 0.2:
        rule["data"] = [
            (chance.choice(list(Meaning)), _some(chance, ["x", "y", "z"])) for _ in range(chance.randint(1, 2))
        ]
    if depth:
        rule["children"] = [_rule(chance, depth - 1) for _ in range(chance.randint(0, 3))]
    return rule


def _actor(chance):
    actor = {}
    if chance.random() < 0.4:
        actor["kind"] = chance.choice("kl")
    if chance.random() < 0.5:
        actor["references"] = _some(chance, ["O/1", "O/2", "G/1"])
    if chance.random() < 0.5:
        actor["identifiers"] = _some(chance, [("s", "1"), ("s", "2"), ("t", "1")])
    return actor


def _span(chance):
    start, end = sorted(chance.sample(NOWS, 2))
    return chance.choice([start, None]), chance.choice([end, None])


def _asked(chance):
    asked = {"now": chance.choice(NOWS), "party": _actor(chance)}
    if chance.random() < 0.3:
        asked["party"]["groups"] = ["G/1"]
    tokens = [("", "a"), ("", "b"), ("s", "a")]
    for name in ("purpose", "action"):
        if chance.random() < 0.7:
            asked[name] = chance.choice(tokens)
    for name in ("types", "codes", "labels"):
        if chance.random() < 0.7:
            asked[name] = chance.sample(tokens, chance.randint(0, 2))
    for meaning in Meaning:
        if chance.random() < 0.6:
            asked[meaning] = _some(chance, ["x", "y", "z"])
    if chance.random() < 0.7:
        asked["dates"] = _span(chance)
    return asked


def _as_rule(rule):
    return Rule(
        rule["effect"],
        period=Span(*rule["period"]) if "period" in rule else None,
        actors=tuple(
            ActorPattern(
                each.get("kind", ""), frozenset(each.get("references", ())), frozenset(each.get("identifiers", ()))
            )
            for each in rule.get("actors", ())
        ),
        **{name: frozenset(rule.get(name, ())) for name in ("purposes", "actions", "types", "codes", "labels")},
        data=tuple(DataPattern(meaning, frozenset(references)) for meaning, references in rule.get("data", ())),
        data_period=Span(*rule["data_period"]) if "data_period" in rule else None,
        children=tuple(_as_rule(child) for child in rule.get("children", ())),
    )


def _as_asked(asked):
    party = asked["party"]
    known = {name: frozenset(asked[name]) if name in asked else None for name in ("types", "codes", "labels")}
    meanings = {"instance": "instances", "related": "related", "dependents": "dependents", "authoredby": "authors"}
    known |= {meanings[meaning]: frozenset(asked[meaning]) if meaning in asked else None for meaning in Meaning}
    return Asked(
        Party(
            party.get("kind", ""), *(frozenset(party.get(name, ())) for name in ("references", "identifiers", "groups"))
        ),
        asked.get("purpose"),
        asked.get("action"),
        Subject("kind", "patient", dates=Span(*asked["dates"]) if "dates" in asked else None, **known),
        asked["now"],
    )
