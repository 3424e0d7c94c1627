"""
HL7's own examples of FHIR R4, all of them: JSON → XML → JSON, and those of our types: validated, and through the reader and the writer.

``corpora.py EXAMPLES EXPANSIONS FOLDER`` is the part about all types, in a process of its own: it works on definitions of every
resource type, which it makes in FOLDER first. It prints one JSON object: counts, and the names of what did not come back the same.
Two narratives are the same if their canonical XML is (entities, empty elements and line ends can be spelled in several ways).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lxml import etree

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import adapter.definitions
from adapter.definitions import definitions
from adapter.errors import AdapterError
from adapter.wire import Limits, xml
from adapter.wire import json as wire

Json = dict[str, Any]
LIMITS = Limits(size=100_000_000, depth=200, nodes=20_000_000, elements=20_000_000, attributes=64)
WANTED = 0.999
"""The share of examples that the converter must bring back identical."""
_NOT_RESOURCES = {"package.json", ".index.json"}


def examples(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every example by its name."""
    for file in sorted(folder.glob("*.json")):
        if file.name not in _NOT_RESOURCES:
            yield file.stem, file.read_bytes()


def of_our_types(folder: Path) -> Iterator[tuple[str, Json]]:
    """Those whose type, and the type of every resource in them, the adapter knows."""
    known = definitions("R4").resource_types
    for name, data in examples(folder):
        if name.partition("-")[0] in known:
            resource = wire.read(data, limits=LIMITS)
            if _types(resource) <= known:
                yield name, resource


def comes_back(resource: Json) -> bool:
    """An example is the same after writer and reader, in JSON and in XML."""
    by_xml = xml.read(xml.write(resource), limits=LIMITS)
    return bool(wire.read(wire.write(resource), limits=LIMITS) == resource and same_data(by_xml, resource))


def same_data(one: Any, other: Any) -> bool:
    """The same but for how narratives are spelled."""
    return bool(_canonical(one) == _canonical(other))


def _types(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["resourceType"]} if isinstance(value.get("resourceType"), str) else set()
        return own.union(*(_types(child) for child in value.values()))
    return set().union(*(_types(child) for child in value)) if isinstance(value, list) else set()


def _canonical(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _canonical(child, key) for key, child in value.items()}
    if isinstance(value, list):
        return [_canonical(child, name) for child in value]
    if name == "div" and isinstance(value, str):
        tree = etree.fromstring(
            value.replace("\r\n", "\n").encode(), etree.XMLParser(huge_tree=True, resolve_entities=False)
        )
        return etree.tostring(tree, method="c14n", with_comments=False)
    return value


def converted(folder: Path) -> Json:
    """JSON → XML → JSON of all examples."""
    counted: Json = {"examples": 0, "literally": 0, "identical": 0, "again": 0, "others": []}
    for name, data in examples(folder):
        counted["examples"] += 1
        try:
            resource = wire.read(data, limits=LIMITS)
            written = xml.write(resource)
            back = xml.read(written, limits=LIMITS)
        except AdapterError as error:
            counted["others"].append(f"{name}: {error.first.code}")
            continue
        counted["literally"] += back == resource
        counted["again"] += xml.write(back) == written
        if same_data(back, resource):
            counted["identical"] += 1
        else:
            counted["others"].append(f"{name}: differs")
    return counted


def main() -> None:
    source, expansions, folder = map(Path, sys.argv[1:])
    target = folder / "definitions" / "r4"
    all_types = sorted(_concrete(source))
    making = [sys.executable, str(ROOT / "profiles/make_definitions.py"), str(source), str(expansions), str(target)]
    subprocess.run([*making, "--resources", *all_types], check=True, stdout=sys.stderr)
    adapter.definitions.folder = lambda _: folder  # for this process only
    print(json.dumps(converted(source) | {"types": len(definitions("R4").resource_types)}))


def _concrete(source: Path) -> Iterator[str]:
    """The name of every resource type that can be sent."""
    for file in source.glob("StructureDefinition-*.json"):
        read = json.loads(file.read_bytes())
        if read["kind"] == "resource" and read.get("derivation") != "constraint" and not read["abstract"]:
            yield read["type"]


if __name__ == "__main__":
    main()
