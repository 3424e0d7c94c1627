"""The decision against an independent evaluator that was written from the page alone."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from random import Random

import oracle
from consent_worlds import NOWS, PROVIDER, cases, decided
from rule_trees import answers, random_question, random_rule, rulebook, said

from adapter.consent.decide import Reason
from adapter.consent.rules import Dialect, Effect
from adapter.domain import written_record

COUNT = int(os.environ.get("KOORD_ORACLE_CASES", "20000"))
"""`make proof` sets more."""
DENIALS = {Reason.BLOCKED_INNER, Reason.BLOCKED_OUTER, Reason.CONSENT_REFUSED, Reason.CONSENT_UNINTERPRETABLE}
RARE = {Reason.CONSENT_OTHER_CONTENT, Reason.CONSENT_REPLACED}
LATER = {
    Reason.DIAGNOSIS_CONTENT,
    Reason.INVALID_CONTENT,
    Reason.UNEXPECTED_CONTENT,
    Reason.GATE_ERROR,
    Reason.UNREADABLE,
    Reason.PERMITTED_NOTICE,
    Reason.PERMITTED_RECEIPT,
    Reason.PERMITTED_JOURNAL_ENTRY,
}


def decisions(count, seed):
    """(found, expected, reason, case) for random worlds of records."""
    written = {}
    for consents, blocks, record, to, purpose, now in cases(count, seed=seed):
        decision = decided(to, consents, blocks, record, now, purpose)
        plain = [
            [written.setdefault(id(each), (each, written_record(each)))[1] for each in group]
            for group in (consents, blocks, [record])
        ]
        expected = oracle.decide(plain[0], plain[1], plain[2][0], _plain(to), purpose.value, [PROVIDER.hsa_id], now)
        missing = decision.missing and decision.reason not in DENIALS
        reason = ("missing", decision.kind) if missing else decision.reason.value
        found = ("permit", {str(each) for each in decision.categories}) if decision.permitted else ("deny", reason)
        yield found, expected, decision.reason, (to, now, purpose, consents, blocks, record)


def test_every_decision_is_the_one_that_the_page_asks_for():
    seen = Counter()
    for found, expected, reason, case in decisions(COUNT, seed=COUNT):
        assert found == expected, case
        seen[reason] += 1
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


def rule_answers(count, seed):
    """(found, expected, dialect, case) for random rule trees, twenty in a rulebook, ten questions to each, both dialects."""
    chance = Random(seed)
    for _ in range(count // 400):
        trees = [random_rule(chance, depth=chance.randint(0, 3)) for _ in range(20)]
        questions = [random_question(chance) for _ in range(10)]
        for dialect, walk in ((Dialect.TREE, oracle.tree), (Dialect.PCF_FLAT, oracle.flat)):
            rules = rulebook(trees, dialect)
            for asked in questions:
                for rule, found in zip(trees, answers(rules, len(trees), asked), strict=True):
                    yield found, walk(rule, asked), dialect, (dialect, rule, asked)


def test_every_rule_tree_says_what_the_page_says():
    seen = Counter()
    for found, expected, dialect, case in rule_answers(COUNT, seed=7):
        assert found == expected, case
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
                assert said([rule], asked, dialect)[0] == walk(rule, asked), (
                    dialect,
                    rule,
                    asked,
                )
