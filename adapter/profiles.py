"""
Profiles: what StructureDefinitions ask of resources, extensions and data types on top of FHIR's own definitions.

Ours lie in ``profiles/generated/<release>/`` and come from ``make profiles``; other people's in the folders of FHIR
packages whose StructureDefinitions have snapshots; HL7's own extensions of R4 are among the definitions. A file is read
when what it defines is first asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from adapter.definitions import Binding, Codes, Constraint, Release, Type, definitions, named_type
from adapter.errors import Fault, Misconfigured
from adapter.resources import folder

CANONICAL: Final = "https://koord.example/fhir"
EXTENSION: Final = f"{CANONICAL}/StructureDefinition/"
BASE: Final = "http://hl7.org/fhir/StructureDefinition/"
_INDEXED: Final = (
    "url", "version", "kind", "type", "baseDefinition", "derivation", "supplements", "content", "valueSet"
)  # fmt: skip
_OURS: Final = frozenset({"StructureDefinition", "ValueSet", "CodeSystem"})


@dataclass(frozen=True, slots=True)
class Slicing:
    """How the items of an element are told apart: ``(type, path)`` pairs; rules are open, closed or openAtEnd."""

    discriminators: tuple[tuple[str, str], ...]
    rules: str
    is_ordered: bool


_SLICE: Final = re.compile(":[^.]+")
_BY_URL: Final = Slicing((("value", "url"),), "open", is_ordered=False)
"""How the extensions inside an extension are told apart."""


@dataclass(frozen=True)
class Node:
    """
    One element of a snapshot with those below it. FHIR R4 elementdefinition.html.

    ``name`` as in FHIR's paths (``value[x]``); ``max`` is None where there is no limit; ``types`` name their targets and profiles
    by canonical, HL7's own resources and data types by the bare name; ``fixed`` and ``pattern`` are None where there is none.
    ``slices`` are the named parts of its items; each has children of its own.
    """

    id: str
    path: str
    min: int
    max: int | None
    types: tuple[Type, ...] = ()
    fixed: Any = None
    pattern: Any = None
    binding: Binding | None = None
    constraints: tuple[Constraint, ...] = ()
    slicing: Slicing | None = None
    min_value: Any = None
    max_value: Any = None
    max_length: int | None = None
    children: dict[str, Node] = field(default_factory=dict)
    slices: dict[str, Node] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    def below(self) -> Iterator[Node]:
        """Itself and every element below it, in the snapshot's order."""
        yield self
        for node in (*self.slices.values(), *self.children.values()):
            yield from node.below()


@dataclass(frozen=True, eq=False)
class Profile:
    """
    One StructureDefinition, the same object wherever it is known; ``version`` is empty where it states none. ``contexts``: where
    an extension may stand, as ``(type, expression)``; ``is_modifier``: it changes what the element that it stands in means, and
    stands in ``modifierExtension``.
    """

    url: str
    version: str
    title: str
    type: str
    kind: str
    contexts: tuple[tuple[str, str], ...]
    is_modifier: bool
    root: Node


class Profiles:
    """
    The profiles, value sets and code systems of one release: ours, FHIR's own and those of the packages.

    Raises:
        Misconfigured: a package's folder holds no FHIR resources, or one that cannot be read.
    """

    def __init__(self, release: Release, packages: tuple[Path, ...] = ()) -> None:
        self.release = release
        self.base = definitions(release)
        self._folder = folder("profiles") / "generated" / release.lower()
        self._packages: dict[tuple[str, str], Path] = {}
        for package in packages:
            self._packages |= _published(package, release)
        self._profiles: dict[str, Profile] = {}
        self._systems: dict[str, frozenset[str] | None] = {}
        self._codes: dict[str, Codes | None] = {}

    def named(self, canonical: str) -> Profile | None:
        """
        As ``profile``, for a canonical that data names: with a version (``url|1.0.0``) it means that version only.
        FHIR R4 references.html#canonical.
        """
        found = self.profile(canonical)
        version = canonical.partition("|")[2]
        return None if found is None or (version and version != found.version) else found

    def profile(self, url: str) -> Profile | None:
        """
        The profile with this canonical, its version left out of account; None if it is not known. What is not known is not
        remembered: the names come from whoever sends.

        Raises:
            Misconfigured: its definition is not one (``profile.package``), or has no snapshot (``profile.snapshot``).
        """
        plain = url.partition("|")[0]
        if plain not in self._profiles:
            read = self._read("StructureDefinition", plain)
            found = _profile(plain, read) if read else self._of_hl7(plain)
            if found is None:
                return None
            self._profiles[plain] = found
        return self._profiles[plain]

    def _of_hl7(self, url: str) -> Profile | None:
        """One of HL7's own extensions."""
        facts = self.base.extension(url.removeprefix(BASE)) if url.startswith(BASE) else None
        return None if facts is None else _extension(url, facts)

    @cached_property
    def own(self) -> tuple[str, ...]:
        """The canonicals of our StructureDefinitions, sorted."""
        files = sorted(self._folder.glob("StructureDefinition-*.json"))
        return tuple(EXTENSION + file.stem.partition("-")[2] for file in files)

    def codes(self, value_set: str) -> Codes | None:
        """The codes of a value set; None if it is not known or cannot be told from what is here."""
        plain = value_set.partition("|")[0]
        if plain not in self._codes:
            self._codes[plain] = None  # a set that includes itself has no codes of its own
            self._codes[plain] = self._expanded(plain)
        return self._codes[plain]

    def system(self, url: str) -> frozenset[str] | None:
        """Every code of a code system; None if the system is not known whole."""
        if url not in self._systems:
            found = self._read("CodeSystem", url)
            if found is None:
                return self.base.system(url)
            whole = found.get("content") == "complete"
            self._systems[url] = frozenset(_concepts(found.get("concept", ()))) if whole else None
        return self._systems[url]

    def _expanded(self, url: str) -> Codes | None:
        found = self._read("ValueSet", url)
        if found is None:
            return self.base.codes(url) if self.base.has_codes(url) else None
        if "compose" not in found:
            return _of_expansion(found)
        if any("filter" in include for include in found["compose"]["include"]) or "exclude" in found["compose"]:
            return _of_expansion(found)
        parts = [self._included(include) for include in found["compose"]["include"]]
        if any(part is None for part in parts):
            return _of_expansion(found)
        return _joined(part for part in parts if part is not None)

    def _included(self, include: Mapping[str, Any]) -> Codes | None:
        """The codes of one include: those of its system that are also in every value set that it names."""
        named = [self.codes(url) for url in include.get("valueSet", ())]
        own: Codes | None = None
        if "concept" in include:
            own = Codes({include["system"]: frozenset(concept["code"] for concept in include["concept"])})
        elif "system" in include:
            whole = self.system(include["system"])
            if whole is None:
                return None
            own = Codes({include["system"]: whole})
        if any(codes is None for codes in named):
            return None
        found = [codes for codes in (own, *named) if codes is not None]
        return found[0] if len(found) == 1 else _common(found)

    def _read(self, kind: str, url: str) -> dict[str, Any] | None:
        start, _, name = url.rpartition("/")
        file = self._packages.get((kind, url))
        if file is None and start == f"{CANONICAL}/{kind}" and name.replace("-", "").isalnum():
            file = self._folder / f"{kind}-{name}.json"
        if file is None or not file.is_file():
            return None
        read: dict[str, Any] = json.loads(file.read_bytes())
        return read


@cache
def profiles(release: Release = "R4", packages: tuple[Path, ...] = ()) -> Profiles:
    """The profiles of a release with those of packages; one object per process and set of packages."""
    return Profiles(release, packages)


def package_index(resources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The ``.index.json`` of a FHIR package, from its resources by file name. FHIR package specification, version 2 of the index."""
    files = [
        {"filename": name, "resourceType": resource["resourceType"], "id": resource["id"]}
        | {key: resource[key] for key in _INDEXED if isinstance(resource.get(key), str)}
        for name, resource in sorted(resources.items())
    ]
    return {"index-version": 2, "files": files}


def _published(package: Path, release: Release) -> dict[tuple[str, str], Path]:
    """The files of a FHIR package's folder, or of its ``package`` folder, by kind and canonical."""
    inner = package / "package"
    found: dict[tuple[str, str], Path] = {}
    for file in sorted((inner if inner.is_dir() else package).glob("*.json")):
        try:
            resource = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            raise Misconfigured(Fault("profile.package", file.name, type(error).__name__)) from error
        if file.name == "package.json" and not _is_for(release, resource):
            raise Misconfigured(Fault("profile.release", package.name, f"{release} fhirVersions"))
        if (
            isinstance(resource, dict)
            and resource.get("resourceType") in _OURS
            and isinstance(resource.get("url"), str)
        ):
            found[resource["resourceType"], resource["url"]] = file
    if not found:
        raise Misconfigured(Fault("profile.package", package.name, "no StructureDefinition, ValueSet or CodeSystem"))
    return found


def _is_for(release: Release, manifest: Any) -> bool:
    """The manifest of a package names this release, or none. FHIR package specification, ``fhirVersions``."""
    named = manifest.get("fhirVersions") if isinstance(manifest, dict) else None
    major = release.removeprefix("R")
    return not isinstance(named, list) or any(str(each).partition(".")[0] == major for each in named)


def _concepts(concepts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for concept in concepts:
        yield concept["code"]
        yield from _concepts(concept.get("concept", ()))


def _of_expansion(found: Mapping[str, Any]) -> Codes | None:
    """The codes of a published expansion, if it is whole."""
    expansion = found.get("expansion", {})
    listed = list(_expanded_codes(expansion.get("contains", ())))
    if not listed or expansion.get("total", len(listed)) > len(listed):
        return None
    by_system: dict[str, set[str]] = {}
    for system, code in listed:
        by_system.setdefault(system, set()).add(code)
    return Codes({system: frozenset(codes) for system, codes in by_system.items()})


def _expanded_codes(contains: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for each in contains:
        if "code" in each and not each.get("abstract"):
            yield each["system"], each["code"]
        yield from _expanded_codes(each.get("contains", ()))


def _joined(parts: Iterable[Codes]) -> Codes:
    by_system: dict[str, frozenset[str]] = {}
    patterns: dict[str, str] = {}
    for part in parts:
        by_system |= {system: by_system.get(system, frozenset()) | codes for system, codes in part.by_system.items()}
        patterns |= part.patterns
    return Codes(by_system, patterns)


def _common(parts: Iterable[Codes]) -> Codes:
    first, *others = (part.by_system for part in parts)
    return Codes(
        {
            system: codes.intersection(*(other.get(system, frozenset()) for other in others))
            for system, codes in first.items()
        }
    )


def _profile(url: str, found: Mapping[str, Any]) -> Profile:
    if "snapshot" not in found:
        raise Misconfigured(Fault("profile.snapshot", url, "StructureDefinition"))
    try:
        return _read_profile(url, found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Misconfigured(Fault("profile.package", url, f"StructureDefinition: {type(error).__name__}")) from error


def _read_profile(url: str, found: Mapping[str, Any]) -> Profile:
    return Profile(
        url=url,
        version=found.get("version", ""),
        title=found.get("title", found["name"]),
        type=found["type"],
        kind=found["kind"],
        contexts=tuple((context["type"], context["expression"]) for context in found.get("context", ())),
        is_modifier=found["snapshot"]["element"][0].get("isModifier", False),
        root=_tree(_node(element) for element in found["snapshot"]["element"]),
    )


def _extension(url: str, facts: Mapping[str, Any]) -> Profile:
    """One of HL7's own extensions, from the rows that the definitions keep of it."""
    return Profile(
        url=url,
        version="",
        title=url.removeprefix(BASE),
        type="Extension",
        kind="complex-type",
        contexts=tuple((kind, expression) for kind, expression in facts["contexts"]),
        is_modifier=facts["elements"][0].get("modifier", False),
        root=_tree(_stated(row) for row in facts["elements"]),
    )


def _stated(row: Mapping[str, Any]) -> Node:
    low, _, high = row["card"].partition("..")
    strength, _, value_set = row.get("binding", "").partition(" ")
    return Node(
        id=row["id"],
        path=_SLICE.sub("", row["id"]),
        min=int(low),
        max=None if high == "*" else int(high),
        types=tuple(named_type(word) for word in row.get("types", ())),
        fixed=row.get("fixed"),
        binding=Binding(strength, value_set) if strength else None,
        slicing=_BY_URL if row["id"].endswith(".extension") else None,
    )


def _tree(elements: Iterable[Node]) -> Node:
    """The elements of a snapshot as a tree by their ids; a slice stands under the element or slice that it is part of."""
    root, *rest = elements
    nodes = {root.id: root}
    for node in rest:
        nodes[node.id] = node
        parent, _, last = node.id.rpartition(".")
        name, _, slice_name = last.partition(":")
        if slice_name:
            whole = f"{parent}.{name}"
            within, _, inner = slice_name.rpartition("/")
            nodes[f"{whole}:{within}" if within else whole].slices[inner] = node
        else:
            nodes[parent].children[name] = node
    return root


def _node(element: Mapping[str, Any]) -> Node:
    binding = element.get("binding")
    return Node(
        id=element["id"],
        path=element["path"],
        min=element["min"],
        max=None if element["max"] == "*" else int(element["max"]),
        types=tuple(_type(kind) for kind in element.get("type", ())),
        fixed=_choice(element, "fixed"),
        pattern=_choice(element, "pattern"),
        binding=Binding(binding["strength"], binding.get("valueSet", "")) if binding else None,
        constraints=tuple(
            Constraint(
                each["key"], each["severity"], each.get("expression", ""), each.get("source", ""), each.get("human", "")
            )
            for each in element.get("constraint", ())
        ),
        slicing=_slicing(element.get("slicing")),
        min_value=_choice(element, "minValue"),
        max_value=_choice(element, "maxValue"),
        max_length=element.get("maxLength"),
    )


def _type(kind: Mapping[str, Any]) -> Type:
    prefix = "" if kind["code"] == "Extension" else BASE  # extensions are told apart by their whole url
    return Type(
        kind["code"],
        tuple(target.removeprefix(BASE) for target in kind.get("targetProfile", ())),
        tuple(profile.removeprefix(prefix) for profile in kind.get("profile", ())),
    )


def _choice(element: Mapping[str, Any], stem: str) -> Any:
    return next((value for name, value in element.items() if name.startswith(stem) and name[len(stem)].isupper()), None)


def _slicing(raw: Mapping[str, Any] | None) -> Slicing | None:
    if raw is None:
        return None
    pairs = tuple((each["type"], each["path"]) for each in raw.get("discriminator", ()))
    return Slicing(pairs, raw.get("rules", "open"), raw.get("ordered", False))
