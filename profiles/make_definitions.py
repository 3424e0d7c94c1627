"""
Extracts the facts that the adapter needs from HL7's definitions of FHIR R4, for ``make definitions``.

In: the folder of the npm package ``hl7.fhir.r4.examples`` 4.0.1, HL7's own (CC0), which holds every resource that the
specification publishes, its definitions among them. Out: ``profiles/definitions/r4/``: one file per type, the codes of
every required value set, an index. Only facts are kept: paths, cardinalities, types, targets, bindings, invariant keys
with their expressions, codes.
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
FHIR_TYPE = BASE + "structuredefinition-fhir-type"
FHIRPATH_TYPE = "http://hl7.org/fhirpath/"
OPEN_SYSTEMS = {
    # RFC 6838, section 4.2; FHIR also lets the short words xml and json stand for a format
    "urn:ietf:bcp:13": "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*(/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*)?(\\s*;.*)?",
    "urn:iso:std:iso:4217": "[A-Z]{3}",
}
ERRATA = {"Resource.id": "id"}  # R4 marks it as a string; the text and the examples say id


def main() -> None:
    arguments = argparse.ArgumentParser(description="Extract the facts of FHIR R4 that the adapter uses.")
    arguments.add_argument("source", type=Path, help="folder of the npm package hl7.fhir.r4.examples")
    arguments.add_argument("target", type=Path, help="folder to write, for instance profiles/definitions/r4")
    arguments.add_argument("--resources", nargs="*", default=RESOURCES, help="resource types, if not the usual ones")
    given = arguments.parse_args()
    structures = {resource["id"]: resource for resource in _published(given.source, "StructureDefinition")}
    types = {name: _type(structures[name]) for name in sorted(_closure(structures, given.resources))}
    given.target.mkdir(parents=True, exist_ok=True)
    for stale in given.target.glob("*.json"):
        stale.unlink()
    for name, facts in types.items():
        if facts["kind"] != "primitive":
            (given.target / f"{name}.json").write_text(_pretty(facts, "elements"), "utf-8")
    (given.target / "codes.json").write_text(_pretty({"codes": _codes(given.source, types.values())}, "codes"), "utf-8")
    (given.target / "index.json").write_text(_pretty(_index(structures, types), "types"), "utf-8")


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
        return facts | {"pattern": next(iter(_extension(elements, BASE + "regex")), "")}
    facts["constraints"] = _constraints(root, name)
    profile = structure.get("derivation") == "constraint"  # says what it takes away; a type says what it adds
    own = [e for e in elements if (e["max"] == "0" if profile else e["base"]["path"] == e["path"])]
    facts["elements"] = [_element(element, name) for element in own]
    return {key: value for key, value in facts.items() if value or key == "elements"}


def _element(element: Json, owner: str) -> Json:
    fixed = {
        key: value for key, value in element.items() if key.startswith(("fixed", "pattern", "minValue", "maxValue"))
    }
    if fixed:
        raise SystemExit(f"{element['path']}: fixed values are not extracted yet")
    binding = element.get("binding", {})
    facts: Json = {
        "path": element["path"].partition(".")[2],
        "card": f"{element['min']}..{element['max']}",
        "types": [_named_type(element["path"], kind) for kind in element.get("type", [])],
        "content": element.get("contentReference", "").removeprefix("#"),
        "binding": f"{binding['strength']} {binding['valueSet'].partition('|')[0]}" if "valueSet" in binding else "",
        "modifier": element.get("isModifier", False),
        "attribute": "xmlAttr" in element.get("representation", []),
        "constraints": _constraints(element, owner),
    }
    return {key: value for key, value in facts.items() if value}


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


def _codes(source: Path, types: Iterable[Json]) -> Json:
    """The codes of every value set that some element requires: by system, or one pattern for an open system."""
    sets = {resource["url"]: resource for resource in _published(source, "ValueSet")}
    systems = {resource["url"]: resource for resource in _published(source, "CodeSystem")}
    bindings = {element["binding"] for facts in types for element in facts.get("elements", []) if "binding" in element}
    required = sorted(binding.split()[1] for binding in bindings if binding.startswith("required "))
    return {url: _expanded(sets[url]["compose"], sets, systems) for url in required}


def _expanded(compose: Json, sets: dict[str, Json], systems: dict[str, Json]) -> Json:
    if compose.get("exclude"):
        raise SystemExit("a required value set excludes codes: not extracted yet")
    found: Json = {}
    for include in compose["include"]:
        if "filter" in include:
            raise SystemExit("a required value set filters codes: not extracted yet")
        for url in include.get("valueSet", []):
            found |= _expanded(sets[url]["compose"], sets, systems)
        system = include.get("system")
        if "concept" in include:
            found[system] = [concept["code"] for concept in include["concept"]]
        elif system in OPEN_SYSTEMS:
            found[system] = OPEN_SYSTEMS[system]
        elif system:
            found[system] = list(_concepts(systems[system]["concept"]))
    return found


def _concepts(concepts: list[Json]) -> Iterator[str]:
    for concept in concepts:
        yield concept["code"]
        yield from _concepts(concept.get("concept", []))


def _index(structures: dict[str, Json], types: dict[str, Json]) -> Json:
    checks = next(e for e in structures["Narrative"]["snapshot"]["element"] if e["path"] == "Narrative.div")[
        "constraint"
    ]
    elements, attributes = (
        sorted(set(re.findall("'([^']+)'", names)))
        for names in re.findall(r"=\(([^)]*)\)", next(check["xpath"] for check in checks if check["key"] == "txt-1"))
    )
    return {
        "version": structures["Resource"]["fhirVersion"],
        "narrative_elements": elements,
        "narrative_attributes": attributes,
        "types": {
            name: {k: facts[k] for k in ("kind", "base", "abstract", "pattern") if facts.get(k)}
            for name, facts in types.items()
        },
    }


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
