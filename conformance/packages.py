"""
The FHIR packages that the comparison needs: ours, and HL7's own as they come from npm; and HL7's schemas, out of those and of
HAPI's jars. None of them is ever committed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

from lxml import etree

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "profiles"))

import core_package

FROM_NPM = {
    "hl7.fhir.r4.examples@4.0.1": core_package.FROM_NPM["hl7.fhir.r4.examples@4.0.1"],
    "hl7.fhir.r4.expansions@4.0.1": "E0LjAGKIEla9XdM98cOzE8fv+syczVSzzqjE/29rhK1jK52kSByzSM+dQuQM0j4BiBIpMwZydQnKHV11rV5IlQ==",
}
_ASKED_FOR = "hl7.fhir.xver-extensions#0.1.0"
"""What HL7's engine wants to have seen; nothing here refers to it, so it is there empty."""


def from_npm(name: str, folder: Path) -> Path:
    """
    The folder of a package, unpacked below ``folder``.

    Raises:
        SystemExit: npm cannot be run, gives no such package, or other bytes than those that were looked at.
    """
    target = folder / name
    if not target.exists():
        archive = core_package.fetched(name, FROM_NPM[name], folder)
        core_package.atomically(target, core_package.unpack, archive)
    return target / "package"


def home(folder: Path) -> Path:
    """A home folder with the package cache that HL7's engine reads; the definitions are those that ``make profiles`` reads."""
    made = folder / "home"
    core_package.make_cache(ROOT / ".cache" / "profiles" / "home")
    for name in ("hl7.fhir.r4.core#4.0.1", "hl7.fhir.r5.core#5.0.0"):
        source = ROOT / ".cache" / "profiles" / "home" / ".fhir" / "packages" / name / "package"
        target = made / ".fhir" / "packages" / name / "package"
        target.mkdir(parents=True, exist_ok=True)
        for file in source.iterdir():
            if not (target / file.name).exists() and file.name != "package.json":
                (target / file.name).symlink_to(file)
        manifest = json.loads((source / "package.json").read_text("utf-8"))
        (target / "package.json").write_text(json.dumps(manifest | {"type": "Core"}), "utf-8")
    name, _, version = _ASKED_FOR.partition("#")
    stub = made / ".fhir" / "packages" / _ASKED_FOR / "package" / "package.json"
    stub.parent.mkdir(parents=True, exist_ok=True)
    stub.write_text(
        json.dumps({"name": name, "version": version, "fhirVersions": ["4.0.1", "5.0.0"], "dependencies": {}})
    )
    return made


def ours(release: str, folder: Path) -> Path:
    """Our own package, as ``koord profiles pack`` makes it."""
    made = folder / f"koord-{release.lower()}.tgz"
    packing = [sys.executable, "-m", "adapter.cli", "profiles", "pack", "--release", release, "--out", str(made)]
    subprocess.run(packing, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return made


def schema_r4(jars: Path, folder: Path) -> etree.XMLSchema:
    """The official schema of FHIR R4, which HAPI carries."""
    (jar,) = jars.glob("hapi-fhir-validation-resources-r4-*.jar")
    with zipfile.ZipFile(jar) as packed:
        names = [
            name
            for name in packed.namelist()
            if name.startswith("org/hl7/fhir/r4/model/schema/") and name.endswith(".xsd")
        ]
        packed.extractall(folder, names)
    return _schema(folder / "org/hl7/fhir/r4/model/schema/fhir-single.xsd")


def schema_r5() -> etree.XMLSchema:
    """The official schema of FHIR R5, out of HL7's package."""
    packages = ROOT / ".cache" / "profiles" / "home" / ".fhir" / "packages"
    return _schema(packages / "hl7.fhir.r5.core#5.0.0" / "package" / "xml" / "fhir-single.xsd")


def _schema(file: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(file))
