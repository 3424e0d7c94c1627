"""
The one form that every consent and spärr is read into. Its attributes answer yes, no or unknown (``rulebook``).

Nothing here knows FHIR or the region's records: a rule, a request and a subject are sets of tokens and spans of
time. An attribute that a rule lacks answers yes. Information that the request or the subject lacks answers
unknown, and unknown counts as matched for a denial and as unmatched for a permission.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

Coding = tuple[str, str]
"""System and code, or system and value of an identifier. The system may be empty for our own words."""


class Answer(IntEnum):
    """Three-valued; AND is ``min`` (no beats unknown beats yes), OR is ``max`` (yes beats unknown beats no)."""

    NO = 0
    UNKNOWN = 1
    YES = 2


class Effect(StrEnum):
    PERMIT = "permit"
    DENY = "deny"


class Dialect(StrEnum):
    """
    How children are read. ``TREE``: exceptions to their parent. ``PCF_FLAT``: rules beside it, forbids win
    (IHE PCF); used only where the policy names it, never guessed.
    """

    TREE = "tree"
    PCF_FLAT = "pcf-flat"


class Meaning(StrEnum):
    """How the data that a rule names relates to the subject (FHIR ``consent-data-meaning``)."""

    INSTANCE = "instance"
    RELATED = "related"
    DEPENDENTS = "dependents"
    AUTHORED_BY = "authoredby"


class Span(NamedTuple):
    """From ``start`` through ``end``, both inclusive and aware; None is open."""

    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def around(cls, spans: Iterable[Span]) -> Span:
        """The shortest that covers all of these, at least one."""
        known = list(spans)
        starts, ends = [each.start for each in known], [each.end for each in known]
        start = None if None in starts else min(filter(None, starts))
        return cls(start, None if None in ends else max(filter(None, ends)))

    def covers(self, other: Span) -> bool:
        begins = self.start is None or (other.start is not None and self.start <= other.start)
        return begins and (self.end is None or (other.end is not None and other.end <= self.end))

    def meets(self, other: Span) -> bool:
        begins = self.start is None or other.end is None or self.start <= other.end
        return begins and (self.end is None or other.start is None or other.start <= self.end)


class Party(NamedTuple):
    """
    Who asks, fully resolved: ``kind`` of recipient, normalised ``references``, ``identifiers`` (system, value)
    and the ``groups`` it belongs to.
    """

    kind: str = ""
    references: frozenset[str] = frozenset()
    identifiers: frozenset[Coding] = frozenset()
    groups: frozenset[str] = frozenset()


def _ways(names: Iterable[str]) -> set[str | bool]:
    """The ways in which things are named: by the numbers of a system, by URN, by address."""
    return {_way(name) for name in names}


def _way(name: str) -> str | bool:
    system, numbered, _ = name.rpartition("|")
    return system if numbered else name.startswith("urn:")


class ActorPattern(NamedTuple):
    """Whom a rule names: by ``kind``, by reference or group, by identifier. ``kind`` adds to the others."""

    kind: str = ""
    references: frozenset[str] = frozenset()
    identifiers: frozenset[Coding] = frozenset()

    def answer(self, party: Party) -> Answer:
        """
        A kind that differs is no. Then: yes if a reference or an identifier is shared; no if at least one of the two
        ways could be compared; unknown if neither could. Identifiers of different systems cannot be compared, nor a URN
        with an address.
        """
        if self.kind and self.kind != party.kind:
            return Answer.NO
        if not self.references and not self.identifiers:
            return Answer.YES if self.kind else Answer.UNKNOWN
        if self.references & (party.references | party.groups) or self.identifiers & party.identifiers:
            return Answer.YES
        systems = {system for system, _ in self.identifiers} & {system for system, _ in party.identifiers}
        ways = _ways(self.references) & _ways(party.references | party.groups)
        return Answer.NO if systems or ways else Answer.UNKNOWN


NOBODY: Final = ActorPattern(kind="nobody")
"""A kind that no recipient has."""


Thing = frozenset[str]
"""One thing by all the names that are known of it: addresses, URNs, numbers (``system|value``)."""


class DataPattern(NamedTuple):
    """Which data a rule selects: those to which the one named by ``references`` stands in ``meaning``."""

    meaning: Meaning
    references: Thing

    def answer(self, known: frozenset[Thing] | None) -> Answer:
        """Whether it is one of these things; unknown if nothing is known. Each is compared on its own."""
        return max(map(self._is, known or ()), default=Answer.UNKNOWN)

    def _is(self, thing: Thing) -> Answer:
        """Yes if a name is shared; no if the two are named in a common way; else unknown."""
        if self.references & thing:
            return Answer.YES
        return Answer.NO if _ways(self.references) & _ways(thing) else Answer.UNKNOWN


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One provision. ``period``, ``actors``, ``purposes`` and ``actions`` are its gate; the rest selects data.
    An empty attribute is missing. ``children`` are exceptions.
    """

    effect: Effect
    period: Span | None = None
    actors: tuple[ActorPattern, ...] = ()
    purposes: frozenset[Coding] = frozenset()
    actions: frozenset[Coding] = frozenset()
    types: frozenset[Coding] = frozenset()
    codes: frozenset[Coding] = frozenset()
    labels: frozenset[Coding] = frozenset()
    data: tuple[DataPattern, ...] = ()
    data_period: Span | None = None
    children: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """
    What would be disclosed, as far as rules look at it. None: not known. ``name`` is for explanations; ``custodian`` is the care provider that
    answers for it, ``authors`` the units and providers that wrote it, ``dates`` when its information arose.
    """

    kind: str
    patient: str
    name: str = ""
    custodian: str = ""
    types: frozenset[Coding] | None = None
    codes: frozenset[Coding] | None = None
    labels: frozenset[Coding] | None = None
    instances: frozenset[Thing] | None = None
    related: frozenset[Thing] | None = None
    dependents: frozenset[Thing] | None = None
    authors: frozenset[Thing] | None = None
    dates: Span | None = None
    protected: bool = False
    deceased: bool = False
