"""
How FHIR names things, in one spelling: references, identifiers and codings of any resource.

A reference is relative (``Organization/1``), absolute, to one version (``/_history/2``) or a URN. A relative one may be relative to any
server, so it is equal to every absolute one of its type and id; two absolute ones are equal only on the same server. To find that out
by sets alone, a reference has other forms where it is asked for than where a rule speaks of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from adapter.consent.rules import ActorPattern, Answer, Coding, Party
from adapter.sweden import IdentifierSystem, identifier_systems, luhn

_LITERAL: Final = re.compile(
    r"(?P<server>(?i:https?)://[^?#\s]+/)?(?P<name>[A-Z][A-Za-z]+/[^/?#|\s]+)(?:/_history/[^/?#|\s]+)?"
)
_OTHER_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^#\s]+")
_ON_ANY_SERVER: Final = "./"
_PERSONAL: Final = re.compile(
    r"(?<![0-9])((?:18|19|20)?[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[1-9][0-9])[-+]?[0-9]{4})(?![0-9])", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Names:
    """What one thing is called: forms of its references, and identifiers (system, value)."""

    references: frozenset[str] = field(default=frozenset(), repr=False)
    identifiers: frozenset[Coding] = field(default=frozenset(), repr=False)

    def __or__(self, other: Names) -> Names:
        return Names(self.references | other.references, self.identifiers | other.identifiers)

    @property
    def all(self) -> frozenset[str]:
        return self.references | {f"{system}|{value}" for system, value in self.identifiers}

    @property
    def pattern(self) -> ActorPattern:
        return ActorPattern(references=self.references, identifiers=self.identifiers)

    def answer(self, asked: Names) -> Answer:
        """
        Whether a rule's names are of what is asked for. Numbers of different systems cannot be compared, nor a URN with
        an address.
        """
        if self.references & asked.references or self.identifiers & asked.identifiers:
            return Answer.YES
        systems, others = ({system for system, _ in names.identifiers} for names in (self, asked))
        schemes, others_schemes = ({form.startswith("urn:") for form in names.references} for names in (self, asked))
        return Answer.NO if systems & others or schemes & others_schemes else Answer.UNKNOWN

    @property
    def party(self) -> Party:
        return Party(references=self.references, identifiers=self.identifiers)


def spoken(reference: str) -> frozenset[str]:
    """The forms of a reference that a rule speaks of; none if it is not a reference."""
    server, name = _parts(reference)
    return frozenset({server + name, _ON_ANY_SERVER + name} if server else {name} if name else ())


def asked(reference: str) -> frozenset[str]:
    """The forms of a reference that is asked for; none if it is not a reference."""
    server, name = _parts(reference)
    if not name or _OTHER_URI.fullmatch(name):
        return frozenset({name} if name else ())
    return frozenset({server + name, name} if server else {name, _ON_ANY_SERVER + name})


def identifier(given: Any) -> Coding | None:
    """
    An Identifier as system and value, or None if it has no value. Numbers of the Swedish systems have one spelling and
    the key of their system, whichever of its URIs it was written with.
    """
    if not isinstance(given, dict):
        return None
    system, value = given.get("system", ""), given.get("value")
    if not (isinstance(system, str) and isinstance(value, str) and value):
        return None
    known = _systems().get(system)
    if known is None:
        return f"'{system}'" if system in identifier_systems() else system, value
    return known.key, (value if known.key == "hsaid" else value.replace("-", "")).upper()


def is_contained(reference: Any) -> bool:
    """Whether a Reference leads to something inside its own resource."""
    return isinstance(reference, dict) and str(reference.get("reference")).startswith("#")


def is_understood(reference: Any) -> bool:
    """Whether each way to say what a Reference refers to that is there can be read."""
    if not isinstance(reference, dict):
        return False
    text, number = reference.get("reference"), reference.get("identifier")
    says_where = text is None or is_contained(reference) or (isinstance(text, str) and bool(spoken(text)))
    return says_where and (number is None or identifier(number) is not None)


def codings(concepts: Any) -> Iterator[Coding]:
    """The codes of CodeableConcepts or Codings, of one or of a list, wherever they can be read."""
    for concept in concepts if isinstance(concepts, list) else [concepts]:
        if not isinstance(concept, dict):
            continue
        if "coding" in concept:
            yield from codings(concept["coding"])
        elif isinstance(concept.get("code"), str) and isinstance(concept.get("system", ""), str):
            yield concept.get("system", ""), concept["code"]


def identifiers(resource: Mapping[str, Any]) -> frozenset[Coding]:
    """The identifiers of a resource, wherever they can be read."""
    given = resource.get("identifier")
    found = map(identifier, given if isinstance(given, list) else [given])
    return frozenset(each for each in found if each is not None)


def own_name(resource: Mapping[str, Any]) -> str:
    """``Type/id``, or nothing if it has no id."""
    kind, logical_id = resource.get("resourceType"), resource.get("id")
    return f"{kind}/{logical_id}" if isinstance(kind, str) and isinstance(logical_id, str) else ""


def tells_a_person(text: str) -> bool:
    """Whether it holds what may be a person's number: a day of birth, four digits, a right check digit."""
    return any(luhn(re.sub("[-+]", "", found)[-10:]) for found in _PERSONAL.findall(text))


def is_personal(system: str, value: str) -> bool:
    """Whether an identifier is, or may be, a person's."""
    known = identifier_systems().get(system)
    return known.person if known else tells_a_person(value)


class Resolver:
    """The resources that a question brings with it, found by any form of their name."""

    def __init__(self, resources: Mapping[str, Any]) -> None:
        self._found: dict[str, Mapping[str, Any] | None] = {}
        for key, resource in resources.items():
            for form in asked(key) | asked(own_name(resource)):
                same = self._found.setdefault(form, resource) == resource
                self._found[form] = resource if same else None

    def __call__(self, forms: Iterable[str]) -> Mapping[str, Any] | None:
        """The resource that a rule's reference names; None if it is not here, or if there are several."""
        found = [resource for form in sorted(forms) if (resource := self._found.get(form)) is not None]
        return found[0] if found else None

    def named(self, reference: Any) -> Names:
        """Every name of what a Reference refers to, as far as it can be read: its own, and those of the resource."""
        if not isinstance(reference, dict):
            return Names()
        text, number = reference.get("reference"), identifier(reference.get("identifier"))
        forms = spoken(text) if isinstance(text, str) else frozenset[str]()
        own = Names(forms, frozenset({number} if number else ()))
        resource = self(forms)
        return own | Names(spoken(own_name(resource)), identifiers(resource)) if resource else own


def references(value: Any) -> Iterator[dict[str, Any]]:
    """Every Reference in a resource, at any depth."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if isinstance(each.get("reference"), str) or isinstance(each.get("identifier"), dict):
                yield each
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)


def _parts(reference: str) -> tuple[str, str]:
    """Server and name. What is no address of a FHIR server, a URN for example, is all name."""
    literal = _LITERAL.fullmatch(reference)
    if literal:
        scheme, _, place = (literal["server"] or "").partition("://")
        host, slash, path = place.partition("/")
        return f"{scheme.lower()}://{host.lower()}{slash}{path}" if scheme else "", literal["name"]
    if _OTHER_URI.fullmatch(reference) is None:
        return "", ""
    return "", reference.lower() if reference.lower().startswith("urn:") else reference


@cache
def _systems() -> dict[str, IdentifierSystem]:
    return {uri: known for known in identifier_systems().values() for uri in (known.uri, *known.accept)}
