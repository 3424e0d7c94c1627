"""
The provisions of a FHIR Consent, in R4 or R5, read into rules.

Whatever cannot be read with certainty is refused and never skipped: a limit that is not understood would let more through,
a denial that is not understood would be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, Literal

from adapter.consent.names import Names, Resolver, codings, is_contained, is_understood, references
from adapter.consent.rules import ActorPattern, Coding, DataPattern, Effect, Meaning, Rule, Span
from adapter.dates import Moment

Json = Mapping[str, Any]
Form = Literal["R4", "R5"]

DEEPEST: Final = 8
"""Rules within rules. The root counts: in R4 the first provision, in R5 the Consent's own decision."""
MOST_PROVISIONS: Final = 500

_SHARED: Final = frozenset(
    {"period", "actor", "action", "securityLabel", "purpose", "code", "dataPeriod", "data", "provision"}
)
_ONLY: Final[Mapping[Form, frozenset[str]]] = {
    "R4": frozenset({"type", "class"}),
    "R5": frozenset({"resourceType", "documentType"}),
}
_OTHER: Final[Mapping[Form, Form]] = {"R4": "R5", "R5": "R4"}
_TURNED: Final = {Effect.PERMIT: Effect.DENY, Effect.DENY: Effect.PERMIT}


class Refusal(StrEnum):
    """Why a consent cannot be read. Stable."""

    MALFORMED = "MALFORMED"
    UNKNOWN_RELEASE = "UNKNOWN_RELEASE"
    MODIFIER_EXTENSION = "MODIFIER_EXTENSION"
    IMPLICIT_RULES = "IMPLICIT_RULES"
    UNKNOWN_STATUS = "UNKNOWN_STATUS"
    PATIENT_AMBIGUOUS = "PATIENT_AMBIGUOUS"
    UNKNOWN_POLICY = "UNKNOWN_POLICY"
    AMBIGUOUS_BASE = "AMBIGUOUS_BASE"
    AMBIGUOUS_CHILD = "AMBIGUOUS_CHILD"
    EXPRESSION = "EXPRESSION"
    TOO_DEEP = "TOO_DEEP"
    TOO_MANY_PROVISIONS = "TOO_MANY_PROVISIONS"
    UNPARSABLE_DATE = "UNPARSABLE_DATE"
    UNPARSABLE_PERIOD = "UNPARSABLE_PERIOD"
    ACTOR_UNRESOLVED = "ACTOR_UNRESOLVED"
    ACTOR_DISPLAY_ONLY = "ACTOR_DISPLAY_ONLY"
    ACTOR_CONTAINED = "ACTOR_CONTAINED"
    DATA_UNRESOLVED = "DATA_UNRESOLVED"


class RefusedError(Exception):
    """A part of a consent cannot be read with certainty."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class Provisions:
    """The provisions of one Consent of a release, with the resources that its references may lead to."""

    def __init__(self, form: Form, resolver: Resolver) -> None:
        self._form, self._resolver = form, resolver

    def read(self, provision: Json, base: Effect) -> Rule:
        """
        The tree under an R4 root provision, whose effect is the base.

        Raises:
            RefusedError: it cannot be read with certainty.
        """
        self._measure([(provision, 1)])
        return self._rule(provision, base)

    def read_all(self, provisions: Iterable[Any], base: Effect, period: Span | None, grantees: Iterable[Any]) -> Rule:
        """
        The tree of an R5 Consent: its decision, period and grantees, with its provisions as exceptions.

        Raises:
            RefusedError: as ``read``.
        """
        children = list(provisions)
        self._measure([(child, 2) for child in children])
        return Rule(
            base,
            period=_forward(period) if period else None,
            actors=tuple(self._actor(each) for each in grantees),
            children=tuple(self._rule(child, _TURNED[base]) for child in children),
        )

    def _measure(self, waiting: list[tuple[Any, int]]) -> None:
        """Number and depth, and the names of elements, before anything is read by recursion."""
        seen = 0
        while waiting:
            provision, depth = waiting.pop()
            seen += 1
            if seen > MOST_PROVISIONS:
                raise RefusedError(Refusal.TOO_MANY_PROVISIONS)
            if depth > DEEPEST:
                raise RefusedError(Refusal.TOO_DEEP)
            if not isinstance(provision, dict):
                raise RefusedError(Refusal.MALFORMED)
            if "expression" in provision:
                raise RefusedError(Refusal.EXPRESSION)
            if not provision.keys().isdisjoint(_ONLY[_OTHER[self._form]]):
                raise RefusedError(Refusal.UNKNOWN_RELEASE)
            check_elements(provision, _SHARED | _ONLY[self._form])
            waiting += [(child, depth + 1) for child in listed(provision, "provision")]

    def _rule(self, given: Json, effect: Effect) -> Rule:
        kinds = ("class",) if self._form == "R4" else ("resourceType", "documentType")
        return Rule(
            effect,
            period=_forward(span(given["period"])) if "period" in given else None,
            actors=tuple(self._provided_actor(each) for each in listed(given, "actor")),
            purposes=_coded(given, "purpose"),
            actions=_concepts(given, "action"),
            types=frozenset[Coding]().union(*(_coded(given, kind) for kind in kinds)),
            codes=_concepts(given, "code"),
            labels=_coded(given, "securityLabel"),
            data=tuple(pattern for each in listed(given, "data") for pattern in self._data(each)),
            data_period=_forward(span(given["dataPeriod"])) if "dataPeriod" in given else None,
            children=tuple(self._rule(child, self._child(child, effect)) for child in listed(given, "provision")),
        )

    def _child(self, child: Json, parent: Effect) -> Effect:
        if self._form == "R5":
            return _TURNED[parent]
        return effect(child.get("type"), Refusal.AMBIGUOUS_CHILD)

    def _provided_actor(self, given: Any) -> ActorPattern:
        check_elements(given, {"role", "reference"})
        if "reference" not in given:
            raise RefusedError(Refusal.ACTOR_UNRESOLVED)
        return self._actor(given["reference"])

    def _actor(self, reference: Any) -> ActorPattern:
        if not isinstance(reference, dict):
            raise RefusedError(Refusal.MALFORMED)
        if "reference" not in reference and "identifier" not in reference:
            display_only = "display" in reference
            raise RefusedError(Refusal.ACTOR_DISPLAY_ONLY if display_only else Refusal.ACTOR_UNRESOLVED)
        if is_contained(reference):
            raise RefusedError(Refusal.ACTOR_CONTAINED)
        return self._named(reference, Refusal.ACTOR_UNRESOLVED).pattern

    def _data(self, given: Any) -> Iterator[DataPattern]:
        """
        ``dependents`` is the named resource and those that refer to it; ``related`` is it and those that it refers to: known
        if the resource is at hand, otherwise a matter that nobody can tell. FHIR ``consent-data-meaning``.
        """
        check_elements(given, {"meaning", "reference"})
        if given.get("meaning") not in list(Meaning):
            raise RefusedError(Refusal.MALFORMED)
        meaning = Meaning(given["meaning"])
        named = self._named(given.get("reference"), Refusal.DATA_UNRESOLVED)
        if meaning is not Meaning.AUTHORED_BY:
            yield DataPattern(Meaning.INSTANCE, named.all)
        if meaning is not Meaning.RELATED:
            yield DataPattern(meaning, named.all)
            return
        resource = self._resolver(named.references)
        if resource is None:
            yield DataPattern(Meaning.RELATED, named.all)
            return
        for each in references(resource):
            if names := self._resolver.named(each).all:
                yield DataPattern(Meaning.INSTANCE, names)

    def _named(self, reference: Any, refusal: Refusal) -> Names:
        """What a Reference refers to; each way to say it that is there must be understood."""
        names = self._resolver.named(reference)
        if not is_understood(reference) or not names.all:
            raise RefusedError(refusal)
        return names


def effect(code: Any, refusal: Refusal) -> Effect:
    """``permit`` or ``deny``, and nothing else."""
    if code not in ("permit", "deny"):
        raise RefusedError(refusal)
    return Effect(code)


def listed(holder: Json, element: str) -> list[Any]:
    """
    The items of a list; none if the element is not there. An empty list, or one of nothing, is not FHIR: whoever meant
    "nobody" by it would be read as "everybody".
    """
    if element not in holder:
        return []
    items = holder[element]
    if not isinstance(items, list) or not items:
        raise RefusedError(Refusal.MALFORMED)
    return items


def check_elements(holder: Any, elements: Iterable[str]) -> None:
    """
    Nothing but these elements, ids and extensions may stand there, and none with extensions alone in place of a value.
    """
    if not isinstance(holder, dict):
        raise RefusedError(Refusal.MALFORMED)
    known = {"id", "extension", *elements}
    for name, value in holder.items():
        if value is None or name.removeprefix("_") not in known or (name[0:1] == "_" and name[1:] not in holder):
            raise RefusedError(Refusal.MALFORMED)


def moment(text: Any, refusal: Refusal) -> Span:
    """A date or time as the interval that it is."""
    if not isinstance(text, str):
        raise RefusedError(refusal)
    try:
        found = Moment(text)
    except ValueError:
        raise RefusedError(refusal) from None
    return Span(found.earliest, found.latest)


def span(period: Any) -> Span:
    """A Period with its first and last instant."""
    try:
        check_elements(period, {"start", "end"})
    except RefusedError:
        raise RefusedError(Refusal.UNPARSABLE_PERIOD) from None
    if period.keys().isdisjoint({"start", "end"}):
        raise RefusedError(Refusal.UNPARSABLE_PERIOD)
    start, end = (
        moment(period[side], Refusal.UNPARSABLE_PERIOD) if side in period else None for side in ("start", "end")
    )
    return Span(start.start if start else None, end.end if end else None)


def _forward(given: Span) -> Span:
    """A span that ends before it begins tells nobody when."""
    if given.start is not None and given.end is not None and given.end < given.start:
        raise RefusedError(Refusal.UNPARSABLE_PERIOD)
    return given


def _coded(holder: Json, element: str) -> frozenset[Coding]:
    """Codings, each with a code."""
    return frozenset(_coding(each) for each in listed(holder, element))


def _concepts(holder: Json, element: str) -> frozenset[Coding]:
    """CodeableConcepts, each with at least one Coding: text alone cannot be compared."""
    found: set[Coding] = set()
    for concept in listed(holder, element):
        check_elements(concept, {"coding", "text"})
        inner = _coded(concept, "coding")
        if not inner:
            raise RefusedError(Refusal.MALFORMED)
        found |= inner
    return frozenset(found)


def _coding(given: Any) -> Coding:
    check_elements(given, {"system", "version", "code", "display", "userSelected"})
    found = list(codings(given))
    if len(found) != 1 or not found[0][1] or given.get("system") == "":
        raise RefusedError(Refusal.MALFORMED)
    return found[0]
