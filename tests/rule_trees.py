"""Random rule trees and questions over a small alphabet, as plain data for the oracle and in the product's form."""

from __future__ import annotations

from consent_worlds import NOWS

from adapter.consent.directives import Directive, Source
from adapter.consent.rulebook import Question, Rulebook, micros
from adapter.consent.rules import ActorPattern, DataPattern, Effect, Meaning, Party, Rule, Span, Subject


def _some(chance, values, most=2):
    return chance.sample(values, chance.randint(1, most))


def random_rule(chance, depth):
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
        rule["children"] = [random_rule(chance, depth - 1) for _ in range(chance.randint(0, 3))]
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


def random_question(chance):
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


def as_rule(rule):
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
        children=tuple(as_rule(child) for child in rule.get("children", ())),
    )


def said(trees, asked, dialect):
    """What each of some rule trees says to one question."""
    return answers(rulebook(trees, dialect), len(trees), asked)


def rulebook(trees, dialect):
    return Rulebook(
        Directive(Source.CONSENT, f"c{n:03}", 1, "", "p", as_rule(rule), Span(), dialect=dialect)
        for n, rule in enumerate(trees)
    )


def answers(rules, count, asked):
    """What the first ``count`` rules of a rulebook say to one question."""
    party = asked["party"]
    known = {name: frozenset(asked[name]) if name in asked else None for name in ("types", "codes", "labels")}
    meanings = {"instance": "instances", "related": "related", "dependents": "dependents", "authoredby": "authors"}
    known |= {
        meanings[meaning]: frozenset(frozenset({name}) for name in asked[meaning]) if meaning in asked else None
        for meaning in Meaning
    }
    names = (frozenset(party.get(name, ())) for name in ("references", "identifiers", "groups"))
    subject = Subject("kind", "patient", dates=Span(*asked["dates"]) if "dates" in asked else None, **known)
    question = Question(Party(party.get("kind", ""), *names), asked.get("action"), subject, micros(asked["now"]))
    sheets = rules.sheets(rules.answers(question, [asked["purpose"]] if "purpose" in asked else []))
    return [rules.says(n, sheets).effects[0] for n in range(count)]
