"""
Where we and another validator agree on mutants, and which differences are argued.

The mutants: for every element of every snapshot of our profiles, several kinds of change, at a place in a resource that claims the
profile; where no resource has the element, one is made up first. The seed fixes all of it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

from cases import ROOT, SEED
from java import Verdict
from mutate import KINDS, Mutant, Place, added, mutant, places

from adapter.definitions import Definitions, Release, definitions
from adapter.errors import Fault

Json = dict[str, Any]
THIN = dict.fromkeys(
    (
        "blank text",
        "control character",
        "reference that is none, or leads nowhere",
        "declared type of a reference",
        "language of the resource",
    ),
    8,
)
"""Kinds that say little, or the same each time, come so many times more seldom than the others."""
MOST_SILENT = 0.01
"""How much we may reject of what the other accepts without a word."""
FEWEST = 5_000
"""Of fewer, a share of one per cent is known only to within half of itself."""
POOL = 12
"""Resources of a profile that are mutated: those that have elements which smaller ones do not have."""


@dataclass(frozen=True, slots=True)
class Argued:
    """
    A kind of difference that stands, and why. ``id``: the other's message id or our fault's code, ``text``: what its message or
    the rule and place of our fault look like; both regular expressions. ``warned``: the other's warning of the same thing.
    """

    id: str
    why: str
    text: str = ""
    warned: str = ""

    def covers(self, identity: str, text: str, warnings: frozenset[str]) -> bool:
        warned = not self.warned or self.warned in warnings
        return warned and bool(re.fullmatch(self.id, identity) and re.search(self.text, text))


_OUTCOMES = {(True, True): "both", (False, False): "neither", (True, False): "ours", (False, True): "theirs"}


@dataclass
class Table:
    """Agreement by kind of mutation, the differences that nothing argues, and how often each argument was needed."""

    rows: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    unargued: list[str] = field(default_factory=list)
    needed: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> Counter[str]:
        return sum(self.rows.values(), Counter())

    @property
    def silent(self) -> float:
        """The share of what we reject and the other accepts without a word."""
        return self.total["ours"] / self.total.total()

    @property
    def silent_by_kind(self) -> float:
        """The same if every kind came equally often: the mean of the kinds' shares."""
        return mean(row["ours"] / row.total() for row in self.rows.values())


@cache
def argued(section: str) -> tuple[Argued, ...]:
    """The arguments of one section of argued.toml: ``accepts`` (we accept what is rejected), ``rejects``, ``sent``."""
    read = tomllib.loads((Path(__file__).parent / "argued.toml").read_text("utf-8"))
    return tuple(Argued(**each) for each in read[section])


def mutants(pool: Iterable[Json], count: int, release: Release) -> Iterator[tuple[str, Mutant]]:
    """So many mutants of the resources that claim our profiles: one for each element of each snapshot in turn, and again."""
    random, known = Random(SEED), definitions(release)
    of_profile = _by_profile(known, pool)
    asked = [
        (profile["id"], facts, found)
        for profile in _profiles(release)
        for facts in profile["snapshot"]["element"][1:]
        if (found := list(_places(known, profile, facts, of_profile[profile["url"]], random)))
    ]
    random.shuffle(asked)  # so that the first thousand are of all profiles
    used: Counter[str] = Counter()
    for number, (name, facts, found) in zip(range(count), cycle(asked), strict=False):
        made = _next(found, facts, used, random)
        if made is not None:
            yield f"mutant/{name}-{number}", made


def _next(found: list[Place], facts: Json, used: Counter[str], random: Random) -> Mutant | None:
    """A mutant at one of the places, of the kind that was used least among those that work there."""
    for kind in sorted(KINDS, key=lambda kind: (used[kind], random.random())):
        made = mutant(kind, random.choice(found), facts, random)
        if made is not None:
            used[kind] += THIN.get(kind, 1)
            return made
    return None


def _profiles(release: Release) -> list[Json]:
    """Our profiles of resources, and our extensions."""
    files = sorted((ROOT / "profiles/generated" / release.lower()).glob("StructureDefinition-*.json"))
    return [json.loads(file.read_text("utf-8")) for file in files]


def _by_profile(known: Definitions, pool: Iterable[Json]) -> Mapping[str, list[Json]]:
    """Resources by the canonicals of the profiles that they claim, and of those profiles' parents, and by extension."""
    parents = {each["url"]: each["baseDefinition"] for each in _profiles(known.release)}
    claimed: dict[str, list[Json]] = defaultdict(list)
    for resource in sorted(pool, key=lambda resource: len(json.dumps(resource, default=str))):
        for url in {url for given in resource.get("meta", {}).get("profile", ()) for url in _line(given, parents)}:
            claimed[url].append(resource)
        for url in {url for url in _extensions(resource) if url in parents}:
            claimed[url].append(resource)
    return defaultdict(list, {url: list(_covering(known, resources)) for url, resources in claimed.items()})


def _line(url: str, parents: Mapping[str, str]) -> Iterator[str]:
    while url in parents:
        yield url
        url = parents[url]


def _extensions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for extension in value.get("extension", ()):
            yield extension["url"]
        for child in value.values():
            yield from _extensions(child)
    elif isinstance(value, list):
        for child in value:
            yield from _extensions(child)


def _covering(known: Definitions, resources: Iterable[Json]) -> Iterator[Json]:
    seen: set[str] = set()
    count = 0
    for resource in resources:
        paths = {place.path for place in places(known, resource)}
        if not paths <= seen and count < POOL:
            seen |= paths
            count += 1
            yield resource


def _places(known: Definitions, profile: Json, facts: Json, resources: list[Json], random: Random) -> Iterator[Place]:
    """Where the resources have an element of a snapshot, or could have it."""
    path = facts["path"]
    if profile["type"] == "Extension":
        for place in (place for resource in resources for place in places(known, resource)):
            if _in_extension(place, profile["url"]) and place.path.rpartition(".")[2] == path.rpartition(".")[2]:
                yield place
        return
    found = [place for resource in resources for place in places(known, resource) if place.path == path]
    if found:
        yield from found
        return
    if path.rpartition(".")[2] in {
        "id",
        "extension",
        "modifierExtension",
    }:  # anything may have them; elsewhere they are there
        return
    for resource in resources:
        made = added(known, resource, path, random) if known.element(path) else None
        if made is not None:
            yield made
            return


def _in_extension(place: Place, url: str) -> bool:
    holder: Any = place.resource
    for step in place.steps:
        holder = holder[step]
    return bool(holder.get("url") == url)


def compared(kinds: Mapping[str, str], ours: Mapping[str, list[Fault]], theirs: Mapping[str, Verdict]) -> Table:
    """The agreement on resources by name, ``kinds`` saying what kind each is of."""
    table = Table()
    for name, kind in kinds.items():
        verdict = theirs[name]
        outcome = _OUTCOMES[bool(ours[name]), verdict.rejects]
        if outcome == "ours":
            told = [(identity, f"{text} ({kind})") for identity, text in _ours(ours[name])]
            needed = _argue(table, name, told, argued("rejects"), verdict.warnings)
            outcome = "warned" if needed and all(each.warned for each in needed) else outcome
        elif outcome == "theirs":
            told = [(identity, f"{text} ({kind})") for identity, text in _theirs(verdict)]
            _argue(table, name, told, argued("accepts"))
        table.rows[kind][outcome] += 1
    return table


def faultless(theirs: Mapping[str, Verdict], table: Table) -> None:
    """Notes in the table what the other rejects among resources that nothing is wrong with."""
    for name, verdict in theirs.items():
        if verdict.rejects:
            _argue(table, name, _theirs(verdict), argued("sent"))


def _argue(
    table: Table,
    name: str,
    told: Iterable[tuple[str, str]],
    arguments: Sequence[Argued],
    warnings: frozenset[str] = frozenset(),
) -> list[Argued]:
    """The arguments that a difference needs; what has none is noted."""
    needed = []
    for identity, text in told:
        argument = next((each for each in arguments if each.covers(identity, text, warnings)), None)
        if argument is None:
            table.unargued.append(f"{name}: {identity}: {text}")
        else:
            needed.append(argument)
    table.needed.update({each.why for each in needed})
    return needed


def _ours(faults: Iterable[Fault]) -> Iterator[tuple[str, str]]:
    for fault in faults:
        yield fault.code, f"{fault.why} at {fault.where}"


def _theirs(verdict: Verdict) -> Iterator[tuple[str, str]]:
    for message in verdict.errors:
        yield message.get("messageId") or "", f"{message['text']} at {message.get('where')}"


def rows(table: Table) -> list[str]:
    """The agreement by kind, in the form of the document."""
    outcomes = ("both", "neither", "theirs", "warned", "ours")
    head = ["kind", "both reject", "both accept", "only it rejects", "we reject, it warns", "only we reject"]
    listed = [(kind, table.rows[kind]) for kind in sorted(table.rows)] + [("**all**", table.total)]
    lines = [[kind, *(str(row[outcome]) for outcome in outcomes)] for kind, row in listed]
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)]


def reasons(table: Table) -> list[str]:
    """How often each argument was needed, the most needed first."""
    return [f"- {count} times: {why}." for why, count in table.needed.most_common()]
