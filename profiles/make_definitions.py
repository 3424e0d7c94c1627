"""
Extracts the facts that the adapter needs from HL7's definitions of one release of FHIR, for ``make definitions``.

In: two folders of HL7's own npm packages (CC0): the definitions (for R4 ``hl7.fhir.r4.examples`` 4.0.1, which holds every
resource that the specification publishes; for R5 ``hl7.fhir.r5.core`` 5.0.0), and the expansions of its value sets
(``hl7.fhir.r4.expansions`` 4.0.1, ``hl7.fhir.r5.expansions`` 5.0.0), asked only where the definitions alone do not say
which codes a value set has. Out: ``profiles/definitions/<release>/``: one file per type, ``codes.json`` (the codes of
every required value set), ``extensible.json`` (of every extensible one), ``systems.json`` (all codes of each code system
that is published whole and that a value set of these types uses), ``extensions.json`` (HL7's own extensions, as far as the
package of the definitions has them: R4's does, R5's have a package of their own), an index.
Only facts are kept: paths, cardinalities, types, limits, targets, bindings, invariant keys with their expressions, codes.
None of HL7's sentences is. The output depends on the input alone, so that a second run changes nothing.
"""

# ruff: noqa: INP001  a script beside the data that it writes, not a package
from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]

RESOURCES = (
    "AuditEvent", "Binary", "Bundle", "CapabilityStatement", "CarePlan", "CareTeam", "Communication", "Condition", "Consent", "DocumentReference",
    "Goal", "Medication", "MessageHeader", "OperationOutcome", "Organization", "Parameters", "Patient", "Practitioner", "PractitionerRole",
    "Provenance", "RelatedPerson", "Task",
)  # fmt: skip
BASE = "http://hl7.org/fhir/StructureDefinition/"
LARGEST = BASE + "elementdefinition-maxValueSet"
FHIR_TYPE = BASE + "structuredefinition-fhir-type"
FHIRPATH_TYPE = "http://hl7.org/fhirpath/"
TAG = (
    "([A-Za-z]{2,3}(-[A-Za-z]{3}){0,3}|[A-Za-z]{4,8})(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?(-([A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*"
    "(-[0-9A-WY-Za-wy-z](-[A-Za-z0-9]{2,8})+)*(-[Xx](-[A-Za-z0-9]{1,8})+)?|[IXix](-[A-Za-z0-9]{1,8})+"
)
"""A tag of a language: its own parts in their order, then extensions, then private use; or all of it private, or of the oldest. RFC 5646, section 2.1."""
OPEN_SYSTEMS = {
    # UCUM, section 2: printable ASCII without spaces; its grammar of units is more than a pattern can say
    "http://unitsofmeasure.org": "[!-~]+",
    "http://unstats.un.org/unsd/methods/m49/m49.htm": "[0-9]{3}",
    # RFC 6838, section 4.2; FHIR also lets the short words xml and json stand for a format
    "urn:ietf:bcp:13": "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*(/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*)?(\\s*;.*)?",
    "urn:ietf:bcp:47": TAG,
    "urn:iso:std:iso:3166": "[A-Z]{2,3}|[0-9]{3}",
    "urn:iso:std:iso:3166:-2": "[A-Z]{2}-[A-Z0-9]{1,3}",
    "urn:iso:std:iso:4217": "[A-Z]{3}",
}
ANY_CODE = "\\S+( \\S+)*"
"""For the systems of a value set that is neither composed of what is published nor expanded: none of the usual types has one."""
LIMITS = {"maxLength": "maxLength", "minValueInteger": "minimum", "maxValueInteger": "maximum"}  # JSON Schema's words
ERRATA = {"Resource.id": "id"}  # R4 marks it as a string; the text and the examples say id


def main() -> None:
    arguments = argparse.ArgumentParser(description="Extract the facts of a release of FHIR that the adapter uses.")
    arguments.add_argument("source", type=Path, help="folder of the npm package with the definitions")
    arguments.add_argument("expansions", type=Path, help="folder of the npm package with the expanded value sets")
    arguments.add_argument("target", type=Path, help="folder to write, for instance profiles/definitions/r4")
    arguments.add_argument("--narrative", type=Path, help="folder of definitions that list the names of txt-1: R4's")
    arguments.add_argument("--resources", nargs="*", default=RESOURCES, help="resource types, if not the usual ones")
    given = arguments.parse_args()
    structures = {resource["id"]: resource for resource in _published(given.source, "StructureDefinition")}
    types = {name: _type(structures[name]) for name in sorted(_closure(structures, given.resources))}
    terminology = Terminology(given.source, given.expansions)
    extensions = dict(_extensions(structures, types))
    bound = _bound([*types.values(), *extensions.values()])
    given.target.mkdir(parents=True, exist_ok=True)
    for stale in given.target.glob("*.json"):
        stale.unlink()

    def write(name: str, facts: Json, rows: str) -> None:
        (given.target / f"{name}.json").write_text(_pretty(facts, rows), "utf-8")

    for name, facts in types.items():
        if facts["kind"] != "primitive":
            write(name, facts, "elements")
    for file, strength in (("codes", "required"), ("extensible", "extensible")):
        wanted = bound[strength] - (bound["required"] if strength == "extensible" else set())
        write(file, {"codes": {url: terminology.codes(url) for url in sorted(wanted)}}, "codes")
    write("systems", {"systems": terminology.whole_systems(sorted(set().union(*bound.values())))}, "systems")
    write("extensions", {"extensions": extensions}, "extensions")
    narrative = _names_in_narratives(given.narrative or given.source)
    write("index", {"version": structures["Resource"]["fhirVersion"], **narrative, "types": _index(types)}, "types")


def _published(source: Path, kind: str) -> Iterator[Json]:
    for file in sorted(source.glob(f"{kind}-*.json")):
        resource = json.loads(file.read_text("utf-8"))
        if resource["resourceType"] == kind:
            yield resource


def _closure(structures: dict[str, Json], resources: Iterable[str]) -> set[str]:
    """The named resource types and every type that they reach."""
    seen: set[str] = set()
    waiting = [*resources, "SimpleQuantity"]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting.append(structures[name].get("baseDefinition", name).removeprefix(BASE))
        elements = structures[name]["snapshot"]["element"]
        waiting += [
            kind["code"]
            for element in elements
            for kind in element.get("type", [])
            if not kind["code"].startswith(FHIRPATH_TYPE)
        ]
    return seen


def _type(structure: Json) -> Json:
    name, kind = structure["id"], structure["kind"].removesuffix("-type")
    root, *elements = structure["snapshot"]["element"]
    facts: Json = {"name": name, "kind": kind, "base": structure.get("baseDefinition", "").removeprefix(BASE)}
    if structure["abstract"]:
        facts["abstract"] = True
    if kind == "primitive":
        limits = {LIMITS[key]: value for element in elements for key, value in element.items() if key in LIMITS}
        return facts | {"pattern": next(iter(_extension(elements, BASE + "regex")), ""), "limits": limits}
    facts["constraints"] = _constraints(root, name)
    profile = structure.get("derivation") == "constraint"  # says what it takes away; a type says what it adds
    own = [e for e in elements if (e["max"] == "0" if profile else e["base"]["path"] == e["path"])]
    facts["elements"] = [_element(element, name) for element in own]
    return {key: value for key, value in facts.items() if value or key == "elements"}


def _element(element: Json, owner: str) -> Json:
    fixed = {
        key: value for key, value in element.items() if key.startswith(("fixed", "pattern", "minValue", "maxValue"))
    }
    if fixed or "maxLength" in element:
        raise SystemExit(f"{element['path']}: no type of R4 or R5 limits the values of its elements; this one does")
    facts: Json = {
        "path": element["path"].partition(".")[2],
        "card": f"{element['min']}..{element['max']}",
        "types": [_named_type(element["path"], kind) for kind in element.get("type", [])],
        "content": element.get("contentReference", "").removeprefix("#"),
        "binding": _binding(element),
        "modifier": element.get("isModifier", False),
        "attribute": "xmlAttr" in element.get("representation", []),
        "constraints": _constraints(element, owner),
    }
    return {key: value for key, value in facts.items() if value}


def _binding(element: Json) -> str:
    """
    Strength and value set: ``required http://hl7.org/fhir/ValueSet/task-status``. A code whose value set is only preferred, within the
    limits of a larger one, is required to be in that.
    """
    binding = element.get("binding", {})
    if "valueSet" not in binding:
        return ""
    largest = next((each["valueCanonical"] for each in binding.get("extension", ()) if each["url"] == LARGEST), "")
    is_limited = largest and binding["strength"] == "preferred" and element["type"] == [{"code": "code"}]
    strength, value_set = ("required", largest) if is_limited else (binding["strength"], binding["valueSet"])
    return f"{strength} {value_set.partition('|')[0]}"


def _named_type(path: str, kind: Json) -> str:
    """A type as one word: ``code``, ``Reference(Patient|Group)``, ``Quantity<SimpleQuantity>``."""
    code = kind["code"]
    if code.startswith(FHIRPATH_TYPE):
        code = ERRATA.get(path) or next(iter(_extension([{"type": [kind]}], FHIR_TYPE)))
    targets = "|".join(target.removeprefix(BASE) for target in kind.get("targetProfile", []))
    profiles = "|".join(profile.removeprefix(BASE) for profile in kind.get("profile", []))
    return code + (f"({targets})" if targets else "") + (f"<{profiles}>" if profiles else "")


def _extension(elements: Iterable[Json], url: str) -> Iterator[str]:
    for element in elements:
        for kind in element.get("type", []):
            for extension in kind.get("extension", []):
                if extension["url"] == url:
                    yield next(value for key, value in extension.items() if key.startswith("value"))


def _constraints(element: Json, owner: str) -> list[list[str]]:
    """Invariants first stated on this element: key, severity, FHIRPath."""
    return [
        [constraint["key"], constraint["severity"], constraint["expression"]]
        for constraint in element.get("constraint", [])
        if constraint.get("source", BASE + owner) == BASE + owner
    ]


def _extensions(structures: dict[str, Json], types: Iterable[str]) -> Iterator[tuple[str, Json]]:
    """
    HL7's own extensions by name: their contexts, and the elements of which each asks more than any extension does.

    Bindings that hold are kept of those that one of the types can carry. Invariants are not: there is one, and it names an
    element that does not exist.
    """
    usual = {_last(element): _stated(element) for element in structures["Extension"]["snapshot"]["element"]}
    for name, structure in sorted(structures.items()):
        if structure["type"] != "Extension" or name == "Extension" or structure["url"] != BASE + name:
            continue
        contexts = [[context["type"], context["expression"]] for context in structure["context"]]
        is_carried = any(expression.partition(".")[0] in types for _, expression in contexts)
        elements = [element for element in structure["snapshot"]["element"] if element["id"] != "Extension.url"]
        kept = {"Extension", *(element["path"] for element in elements if "sliceName" in element)}
        rows = [
            {"id": element["id"], **_stated(element, is_bound=is_carried)}
            for element in elements
            if element["path"] in kept or _stated(element) != usual[_last(element)]
        ]
        yield name, {"contexts": contexts, "elements": rows}


def _last(element: Json) -> str:
    return str(element["path"].rpartition(".")[2])


def _stated(element: Json, *, is_bound: bool = False) -> Json:
    """What is said of an element of an extension; of one that may not be there, no more than that."""
    cardinality = f"{element['min']}..{element['max']}"
    if element["max"] == "0":
        return {"card": cardinality}
    binding = _binding(element)
    types = [_named_type(element["path"], kind) for kind in element.get("type", []) if "fixedUri" not in element]
    facts: Json = {
        "card": cardinality,
        "types": [] if types == ["Extension"] else types,
        "fixed": element.get("fixedUri", ""),
        "binding": binding if is_bound and binding.startswith(("required", "extensible")) else "",
        "modifier": element["isModifier"],
    }
    return {key: value for key, value in facts.items() if value}


def _bound(owners: Iterable[Json]) -> dict[str, set[str]]:
    """The value sets that elements are bound to, by strength."""
    found: dict[str, set[str]] = {"required": set(), "extensible": set(), "preferred": set(), "example": set()}
    for facts in owners:
        for element in facts.get("elements", []):
            if "binding" in element:
                strength, _, url = element["binding"].partition(" ")
                found[strength].add(url)
    return found


class Terminology:
    """What a release publishes of value sets and code systems."""

    def __init__(self, source: Path, expansions: Path) -> None:
        self.sets = {resource["url"]: resource for resource in _published(source, "ValueSet")}
        self.systems = {resource["url"]: resource for resource in _published(source, "CodeSystem")}
        self.expansions = {resource["url"]: resource for resource in _published(expansions, "ValueSet")}

    def codes(self, url: str) -> Json:
        """The codes of a value set: by system, or one pattern for an open system."""
        found = self._composed(self.sets[url]["compose"]) if url in self.sets else None
        if found is None and url in self.expansions:
            found = {}
            for entry in _entries(self.expansions[url]["expansion"].get("contains", [])):
                found.setdefault(entry["system"], []).append(entry["code"])
        return found or dict.fromkeys(self._used(url), ANY_CODE)

    def whole_systems(self, value_sets: Iterable[str]) -> Json:
        """Every code of the systems that these value sets draw from and that are published whole."""
        used = {system for url in value_sets for system in self._used(url)}
        whole = {
            url: self.systems[url] for url in sorted(used) if self.systems.get(url, {}).get("content") == "complete"
        }
        return {url: list(_concepts(system["concept"])) for url, system in whole.items() if "concept" in system}

    def _used(self, url: str) -> Iterator[str]:
        published = self.sets.get(url) or self.expansions.get(url, {})
        for include in published.get("compose", {}).get("include", []):
            if "system" in include:
                yield include["system"]
            for inner in include.get("valueSet", []):
                yield from self._used(inner)

    def _composed(self, compose: Json) -> Json | None:
        """The codes as the definition says them; None where only a terminology server could tell."""
        found: Json = {}
        for include in compose["include"]:
            part = self._included(include)
            if part is None or compose.get("exclude"):
                return None
            found |= part
        return found

    def _included(self, include: Json) -> Json | None:
        system, others = include.get("system", ""), include.get("valueSet", [])
        if others:  # several, or one beside a system, stand for what they have in common
            alone = len(others) == 1 and not system and others[0] in self.sets
            return self._composed(self.sets[others[0]]["compose"]) if alone else None
        if "concept" in include:
            return {system: [concept["code"] for concept in include["concept"]]}
        if system in OPEN_SYSTEMS:
            return {system: OPEN_SYSTEMS[system]}
        published = self.systems.get(system, {})
        known = published.get("content") == "complete" and "concept" in published and "filter" not in include
        return {system: list(_concepts(published["concept"]))} if known else None


def _entries(contains: list[Json]) -> Iterator[Json]:
    """What of an expansion may be chosen."""
    for entry in contains:
        if not entry.get("abstract"):
            yield entry
        yield from _entries(entry.get("contains", []))


def _concepts(concepts: list[Json]) -> Iterator[str]:
    for concept in concepts:
        yield concept["code"]
        yield from _concepts(concept.get("concept", []))


def _names_in_narratives(source: Path) -> Json:
    """The elements and attributes that txt-1 allows. R4 lists them in XPath; R5 means the same ones, in words."""
    narrative = json.loads((source / "StructureDefinition-Narrative.json").read_text("utf-8"))
    checks = next(e for e in narrative["snapshot"]["element"] if e["path"] == "Narrative.div")["constraint"]
    elements, attributes = (
        sorted(set(re.findall("'([^']+)'", names)))
        for names in re.findall(r"=\(([^)]*)\)", next(check["xpath"] for check in checks if check["key"] == "txt-1"))
    )
    return {"narrative_elements": elements, "narrative_attributes": attributes}


def _index(types: dict[str, Json]) -> Json:
    kept = ("kind", "base", "abstract", "pattern", "limits")
    return {name: {key: facts[key] for key in kept if facts.get(key)} for name, facts in types.items()}


def _pretty(facts: Json, rows: str) -> str:
    """JSON with one row per line, so that a change can be read."""
    lines = [
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in facts.items() if key != rows
    ]
    table = facts[rows]
    body = (
        [json.dumps(row, ensure_ascii=False) for row in table]
        if isinstance(table, list)
        else [f"{json.dumps(key)}: {json.dumps(row, ensure_ascii=False)}" for key, row in table.items()]
    )
    opening, closing = "[]" if isinstance(table, list) else "{}"
    lines.append(f"{json.dumps(rows)}: " + "\n".join(part for part in (opening, ",\n".join(body), closing) if part))
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
