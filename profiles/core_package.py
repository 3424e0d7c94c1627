"""
The FHIR packages that the compiler reads, as a package cache (``.fhir/packages/NAME#VERSION/package``), for ``make profiles``.

Every package comes from npm in one version, and its bytes are compared with the digest here. HL7's package of FHIR R4 itself
(``hl7.fhir.r4.core`` 4.0.1) cannot be had from npm: it is made from HL7's package of examples, which holds all definitions of
the specification. Two packages that the compiler asks for by itself and that nothing here refers to are put there empty, so
that it neither looks for them on the network nor warns.
"""

# ruff: noqa: INP001  a script beside the data that it serves, not a package
from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Final

from adapter.profiles import package_index

Json = dict[str, Any]

FROM_NPM: Final = {
    "hl7.fhir.r4.examples@4.0.1": "DXBdIZOeQaSKIgCU7w6HOC7sw/6BzylmipLkBW4f//pT+Bc94x+8LImwTdvaNThPJoOzpBzvxAzNqjeu3X/zLw==",
    "hl7.fhir.r5.core@5.0.0": "0TvJB1KKtokn/P2mRwcqEY8v8RN8IE/pQjvtlsPaJdYaDfYx4UBhuY4afAGeQjW01p9SNYPphxAFFkEsS6P05A==",
    "hl7.fhir.uv.extensions.r4@5.3.0-ballot-tc1": "mhPmWj0dZvIC7JQLkqxT42/UpoIyYwFtSiIZbhX/ArfX96hR5oTqNvAUvMD+dMH45m4mGMQ19WyCZFpP1OLEbQ==",
    "hl7.fhir.uv.extensions.r5@5.3.0-ballot-tc1": "LjFkDQ542nlYNKV5dWz06XAhsZPapfJ5/XqqOPsGgLEGP4xBznATtFLdApL0O0dlNlvD5diiX7s2o50xKXvPfg==",
}
"""Package and version → SHA-512 of the archive, base64, as npm states it (``dist.integrity``)."""
EXTENSIONS: Final = "5.3.0-ballot-tc1"
EMPTY: Final = "0.0.0"
"""The version of the packages that are there only to be empty."""

_EXAMPLES: Final = "hl7.fhir.r4.examples@4.0.1"
_R4: Final = ("hl7.fhir.r4.core", "4.0.1")
_DEFINITIONS: Final = (
    "CapabilityStatement", "CodeSystem", "CompartmentDefinition", "ConceptMap", "NamingSystem", "OperationDefinition", "SearchParameter",
    "StructureDefinition", "ValueSet",
)  # fmt: skip
_HL7: Final = ("http://hl7.org/fhir/", "http://terminology.hl7.org/", "http://unitsofmeasure.org", "http://snomed.info/", "http://loinc.org", "urn:")  # fmt: skip


def make_cache(home: Path) -> None:
    """
    Fill ``home``/.fhir/packages. What is there already stays as it is.

    Raises:
        SystemExit: npm cannot be run, gives no such package, or gives other bytes than expected.
    """
    packages = home / ".fhir" / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    for name in FROM_NPM:
        target = packages / name.replace("@", "#")
        if name == _EXAMPLES:
            target = packages / "#".join(_R4)
        if not target.exists():
            atomically(target, _core_package if name == _EXAMPLES else unpack, fetched(name, FROM_NPM[name], home))
    for name in ("hl7.fhir.uv.tools.r4", "hl7.fhir.uv.tools.r5", "hl7.terminology.r4", "hl7.terminology.r5"):
        if not (target := packages / f"{name}#{EMPTY}").exists():
            _write_package(
                target / "package", (name, EMPTY), {}, fhir_version="4.0.1" if name.endswith("r4") else "5.0.0"
            )


def fetched(name: str, expected: str, folder: Path) -> Path:
    """
    The archive of an npm package, in a folder. ``expected``: its SHA-512, base64.

    Raises:
        SystemExit: npm cannot be run, gives no such package, or gives other bytes than expected.
    """
    try:
        done = subprocess.run(  # noqa: S603  a fixed program with names from this file
            ["npm", "pack", "--silent", "--pack-destination", str(folder), name],  # noqa: S607  npm is found as the shell finds it
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"npm could not give {name}: {getattr(error, 'stderr', '') or error}") from None
    archive = folder / done.stdout.split()[-1]
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != expected:
        archive.unlink()
        raise SystemExit(f"{name}: other bytes than those that were looked at; SHA-512 is {digest}")
    return archive


def atomically(target: Path, make: Any, archive: Path) -> None:
    """A package is there as a whole or not at all, also after a run that was interrupted."""
    half = target.with_name(f"{target.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    make(archive, half)
    half.rename(target)
    archive.unlink()


def unpack(archive: Path, target: Path) -> None:
    """All that is in an archive."""
    with tarfile.open(archive) as packed:
        packed.extractall(target, filter="data")


def _core_package(archive: Path, target: Path) -> None:
    """HL7's definitions of R4 out of the package of examples: without narrative, and without what is an example itself."""
    resources: dict[str, Json] = {}
    with tarfile.open(archive) as packed:
        for member in packed:
            name = Path(member.name).name
            if name.split("-")[0] in _DEFINITIONS and name.endswith(".json") and (file := packed.extractfile(member)):
                resource = json.load(file)
                if _is_definition(resource):
                    resources[name] = {key: value for key, value in resource.items() if key != "text"}
    _write_package(target / "package", _R4, resources, fhir_version=_R4[1])


def _is_definition(resource: Json) -> bool:
    if resource["resourceType"] not in _DEFINITIONS or not str(resource.get("url", "")).startswith(_HL7):
        return False
    return resource["resourceType"] != "StructureDefinition" or (
        "snapshot" in resource and resource["fhirVersion"] == _R4[1]
    )


def _write_package(folder: Path, identity: tuple[str, str], resources: dict[str, Json], *, fhir_version: str) -> None:
    folder.mkdir(parents=True)
    for name, resource in resources.items():
        (folder / name).write_text(json.dumps(resource, ensure_ascii=False, separators=(",", ":")), "utf-8")
    manifest = {"name": identity[0], "version": identity[1], "fhirVersions": [fhir_version], "dependencies": {}}
    (folder / "package.json").write_text(json.dumps(manifest), "utf-8")
    (folder / ".index.json").write_text(json.dumps(package_index(resources)), "utf-8")
