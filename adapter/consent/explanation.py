"""
Why: the explanation of a decision as canonical JSON, the same bytes for the same input, and as text for people.

It is the sender's. It names rules, records and organisations by their numbers, never a person, and the recipient
never gets it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from adapter.consent.decide import GENERIC, Decision, Finding, Missing, Reason
from adapter.consent.directives import Source
from adapter.consent.disclosure import PATIENT
from adapter.consent.names import is_personal
from adapter.consent.rules import Party
from adapter.domain import ActorCategory, BlockKind, Category
from adapter.errors import Fault, Language


class _Document(msgspec.Struct):
    """The explanation but its last parts; the fields stand in the order of their names, as canonical JSON has them."""

    categories: msgspec.Raw
    changes: list[dict[str, Any]]
    decision: str
    destination: str
    faults: list[dict[str, str]]
    kind: str
    law: str
    now: datetime
    policy: str
    purposes: list[str]
    reason: str
    recipient: str
    record: str


def explain(decision: Decision, *, snapshot: str = "", destination: str = "", faults: Sequence[Fault] = ()) -> bytes:
    """
    The explanation as canonical JSON: keys sorted, no spaces, UTF-8. ``snapshot`` is the digest of the consents and
    spärrar that were looked at, ``faults`` what was found wrong with what would have been sent.
    """
    document = _Document(
        categories=_categories(decision.categories, decision.withheld),
        changes=[_change(code, named, decision.policy) for code, named in changes(decision)],
        decision="permit" if decision.permitted else "deny",
        destination=destination,
        faults=[{"code": each.code, "where": each.where, "why": each.why} for each in faults],
        kind=decision.kind,
        law="" if decision.policy == GENERIC else law(decision.reason, decision.kind),
        now=decision.now,
        policy=decision.policy,
        purposes=[purpose for _, purpose in decision.request.purposes],
        reason=decision.reason,
        recipient=_recipient(decision.request.recipient),
        record=decision.subject.name,
    )
    first, sentence = msgspec.json.encode(document)[:-1], _sentence(decision.reason, decision.kind)
    return b'%b,"rules":%b,"sentence":%b,"snapshot":%b}' % (
        first,
        decision.rules,
        sentence,
        msgspec.json.encode(snapshot),
    )


def reason_fault(decision: Decision, where: str = "") -> Fault:
    """The decision's reason as a fault of the catalogue, with the kind of consent that it is about."""
    return Fault(
        decision.reason.code,
        where or decision.subject.name,
        law(decision.reason, decision.kind),
        named=(("kind", decision.kind),),
    )


def law(reason: Reason, kind: str = "") -> str:
    """The paragraph behind a reason; where it depends on the kind of consent, that of the kind."""
    return _laws().get((reason, kind)) or _laws().get((reason, ""), "")


def changes(decision: Decision) -> Iterator[tuple[str, dict[str, str]]]:
    """
    The smallest set of changes that would turn a denial into a permission: all of them are needed. Nothing for a hard
    prohibition, which no change of consents can turn.
    """
    if decision.permitted:
        return
    care = decision.request.recipient.kind == ActorCategory.VARD
    recipient = _recipient(decision.request.recipient)
    for found in decision.findings:
        name = {"rule": found.directive.name, "kind": found.directive.kind}
        if found.out is Reason.CONSENT_UNINTERPRETABLE:
            yield "repair-consent", name
        elif found.denies and found.directive.source is Source.BLOCK:
            yield ("lift-block", name | {"recipient": recipient}) if care else ("end-block", name)
        elif found.denies and _closes_all(found):
            yield "end-refusal", name
    for missing in decision.missing:
        yield _for_missing(missing, decision, recipient)


def explain_text(explanation: bytes, language: Language = "en") -> str:
    """
    The explanation as lines for a terminal: the outcome and its law; what would turn it and what to do; what each rule said;
    what goes and what does not; when, under which policy, on which consents it was decided.
    """
    document: Any = msgspec.json.decode(explanation)
    said = _WORDS[language]
    outcome = said["permitted" if document["decision"] == "permit" else "denied"]
    return "\n".join(
        [
            f"{document['record']} → {document['recipient']}: {outcome} ({document['reason']})",
            f"  {document['sentence'][language]}{_bracketed(document['law'])}",
            *(_to_turn_it(document, language) if document["decision"] == "deny" else ()),
            *([f"  {said['looked']}:"] if document["rules"] else ()),
            *(line for rule in document["rules"] for line in _looked_at(rule, said)),
            *([f"  {said['found']}:"] if document["faults"] else ()),
            *(f"    {fault['where']}: {fault['code']}{_bracketed(fault['why'])}" for fault in document["faults"]),
            *_going(document["categories"], said),
            f"  {said['at']} {document['now']}, {said['policy']} {document['policy']}, {said['snapshot']} {document['snapshot'][:16]}",
        ]
    )


def _to_turn_it(document: Any, language: Language) -> Iterator[str]:
    said, needed = _WORDS[language], document["changes"]
    if needed:
        yield f"  {said['if'] if len(needed) == 1 else said['if-all']}:"
        yield from (f"    {change[language]}{_bracketed(change.get('law', ''))}" for change in needed)
    else:
        yield f"  {said['never']}"
    yield f"  {said['do']}: {Fault(Reason(document['reason']).code).do(language)}"


def _looked_at(rule: Any, said: Mapping[str, str]) -> Iterator[str]:
    out = f" ({rule['out']})" if rule["out"] else ""
    yield f"    {rule['rule']}, {rule['kind']}: {said[rule['says']]}{out}"
    for step in rule["steps"]:
        answers = ", ".join(f"{said.get(name, name)} {said[answer]}" for name, answer in step["answers"].items())
        yield f"      {step['path']} {said[step['effect']]}: {answers or '-'}"


def _going(categories: Any, said: Mapping[str, str]) -> Iterator[str]:
    if categories["disclosed"]:
        yield f"  {said['disclosed']}: {', '.join(categories['disclosed'])}"
    withheld: dict[str, list[str]] = {}
    for each in categories["withheld"]:
        withheld.setdefault(each["by"], []).append(each["category"])
    for by, closed in withheld.items():
        yield f"  {said['withheld']}: {', '.join(closed)} ({said['by']} {by})"


def _bracketed(text: str) -> str:
    return f" [{text}]" if text else ""


_WORDS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "permitted": "permitted", "denied": "denied",
        "if": "It would be permitted if", "if-all": "It would be permitted if all of this were so",
        "never": "No consent and no lift would permit it.", "do": "What to do",
        "looked": "What was looked at", "found": "What would have been sent",
        "permit": "permits", "deny": "denies", "nothing": "says nothing about this",
        "stands": "holds; it need not name the recipient",
        "yes": "yes", "no": "no", "unknown": "unknown", "actor": "recipient", "dataPeriod": "data period",
        "disclosed": "Goes", "withheld": "Does not go", "by": "closed by",
        "at": "Decided for", "policy": "policy", "snapshot": "consents",
    },
    "sv": {
        "permitted": "tillåts", "denied": "nekas",
        "if": "Det skulle tillåtas om", "if-all": "Det skulle tillåtas om allt detta gällde",
        "never": "Inget samtycke och ingen hävning skulle tillåta det.", "do": "Att göra",
        "looked": "Det som prövades", "found": "Det som skulle ha skickats",
        "permit": "tillåter", "deny": "nekar", "nothing": "säger inget om det här",
        "stands": "gäller; det behöver inte namnge mottagaren",
        "yes": "ja", "no": "nej", "unknown": "okänt", "actor": "mottagare", "purpose": "ändamål", "action": "handling",
        "type": "typ", "code": "kod", "label": "etikett", "data": "uppgift", "dataPeriod": "uppgifternas tid",
        "disclosed": "Lämnas ut", "withheld": "Lämnas inte ut", "by": "stängt av",
        "at": "Prövat för", "policy": "regler", "snapshot": "samtycken",
    },
}  # fmt: skip


def _for_missing(missing: Missing, decision: Decision, recipient: str) -> tuple[str, dict[str, str]]:
    """The one thing that is wrong with the consent that came nearest; if there is more, a new consent."""
    if missing.nearest is not None and missing.alone:
        name = {"rule": missing.nearest.directive.name, "kind": missing.kind}
        match missing.reason:
            case Reason.CONSENT_FOR_ANOTHER:
                return "name-recipient", name | {"recipient": recipient}
            case Reason.CONSENT_EXPIRED | Reason.CONSENT_NOT_YET:
                return "hold-now", name | {"now": decision.now.isoformat()}
            case Reason.CONSENT_OTHER_PURPOSE:
                return "cover-purpose", name | {"purpose": ", ".join(each for _, each in decision.request.purposes)}
    if not missing.named:
        return "hold-consent", {"kind": missing.kind}
    return "give-consent", {"kind": missing.kind, "recipient": recipient}


def _closes_all(found: Finding) -> bool:
    closes = found.directive.categories
    return closes is None or Category.ADMINISTRATIVE in closes


_ABOUT = {
    "repair-consent": Reason.CONSENT_UNINTERPRETABLE,
    "end-refusal": Reason.CONSENT_REFUSED,
    "name-recipient": Reason.CONSENT_FOR_ANOTHER,
    "hold-now": Reason.CONSENT_EXPIRED,
    "cover-purpose": Reason.CONSENT_OTHER_PURPOSE,
    "hold-consent": Reason.NO_CONSENT,
    "give-consent": Reason.NO_CONSENT,
}
"""The reason that a change would remove: its paragraph of law is the change's. Blocks have theirs by kind."""


def _change(code: str, named: dict[str, str], policy: str) -> dict[str, Any]:
    said = {language: sentence.format_map(named) for language, sentence in _changes()[code].items()}
    kind = named["kind"]
    reason = _ABOUT.get(code) or (Reason.BLOCKED_INNER if kind == BlockKind.INNER else Reason.BLOCKED_OUTER)
    paragraph = "" if policy == GENERIC else law(reason, kind)
    return {"code": code, "en": said["en"], "law": paragraph, "named": dict(sorted(named.items())), "sv": said["sv"]}


@lru_cache(maxsize=1024)
def _recipient(party: Party) -> str:
    """The recipient by type and number; a person is never told by number."""
    if party.kind == PATIENT:
        return PATIENT
    numbers = (f"{system}|{value}" for system, value in sorted(party.identifiers) if not is_personal(system, value))
    return " ".join([party.kind, *numbers]).strip()


@lru_cache(maxsize=1024)
def _categories(disclosed: frozenset[Category], withheld: tuple[tuple[Category, str], ...]) -> msgspec.Raw:
    closed = [{"by": by, "category": category} for category, by in withheld]
    return msgspec.Raw(msgspec.json.encode({"disclosed": sorted(disclosed), "withheld": closed}))


@cache
def _sentence(reason: Reason, kind: str) -> bytes:
    fault = Fault(reason.code, named=(("kind", kind),))
    return msgspec.json.encode({"en": fault.says("en"), "sv": fault.says("sv")})


@cache
def _laws() -> dict[tuple[str, str], str]:
    """The paragraph of each reason, and where the catalogue tells them apart, of each reason and kind of consent."""
    table = tomllib.loads(files("adapter.messages").joinpath("gate.toml").read_text("utf-8"))
    laws: dict[tuple[str, str], str] = {}
    for reason in Reason:
        said = table[reason.code.partition(".")[2]].get("law", "")
        laws |= {(reason.value, kind): text for kind, text in (said if isinstance(said, dict) else {"": said}).items()}
    return laws


@cache
def _changes() -> dict[str, dict[str, str]]:
    return tomllib.loads(files("adapter.consent").joinpath("changes.toml").read_text("utf-8"))
