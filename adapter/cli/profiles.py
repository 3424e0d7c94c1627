"""``koord profiles``: what is published, and the FHIR package that other people's tools load."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from adapter.cli.terminal import OK, Group, put, put_json, put_rows
from adapter.errors import Fault, Invalid, Misconfigured

Json = dict[str, Any]

_RELEASES: Final = {"R4": "4.0.1", "R5": "5.0.0"}
_VALUES: Final = ("fixed", "pattern")
_BASE: Final = "http://hl7.org/fhir/StructureDefinition/"

_release: Final = click.option("--release", type=click.Choice(list(_RELEASES)), help="Release of FHIR.")


@click.group(cls=Group)
def profiles() -> None:
    """What this adapter publishes: profiles, extensions, terminology and the definitions around them."""


@profiles.command()
@click.argument("name", required=False, metavar="[ID]")
@_release
@click.option("--json", "as_json", is_flag=True, help="JSON instead of columns.")
def show(name: str | None, release: str | None, *, as_json: bool) -> int:
    """
    List what is published. With ID: what a profile or an extension asks beyond FHIR's own rules; anything else as it is.

    ID is that of the list, or the canonical; KIND/ID if several have it (CodeSystem/channel). The profile or extension comes
    first, and R4, if no release is given.
    """
    if name is None:
        put_rows([_listed(each, of) for of, each in _published(release)], as_json=as_json)
        return OK
    of, found = _named(name, release)
    if found["resourceType"] == "StructureDefinition":
        put_rows(list(_elements(found, of)), as_json=as_json)
    else:
        put_json(found)
    return OK


@profiles.command()
@_release
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Here, under the package's own name, if left out; - for standard output.",
)
@click.option(
    "--full", type=click.Path(path_type=Path), metavar="FOLDER", help="Take snapshots with all texts from there."
)
def pack(release: str | None, out: Path | None, full: Path | None) -> int:
    """
    Make the FHIR package (tgz) that validators and other tools of HL7's load. R4 if no release is given.

    Its snapshots have every element without FHIR's own texts. `make profiles` leaves those with all texts in
    .cache/profiles/r4/fsh-generated/resources, for --full. The same input gives the same bytes.
    """
    chosen = release or "R4"
    resources = {f"{each['resourceType']}-{each['id']}.json": each for _, each in _published(chosen)}
    if full is not None:
        resources |= {
            file: _full(full / file, each)
            for file, each in resources.items()
            if each["resourceType"] == "StructureDefinition"
        }
    manifest = _manifest(chosen)
    target = out or Path(f"{manifest['name']}-{manifest['version']}.tgz")
    packed = _archive(manifest, resources)
    if out == Path("-"):
        put(packed)
        return OK
    try:
        target.write_bytes(packed)
    except OSError as error:
        raise Misconfigured(Fault("cli.unwritable", str(target), type(error).__name__)) from None
    put(str(target))
    return OK


def _published(release: str | None, names: str = "*") -> Iterator[tuple[str, Json]]:
    """Every definition with its release, in order of kind and id."""
    from adapter.resources import folder

    for of in _RELEASES if release is None else (release,):
        for file in sorted((folder("profiles") / "generated" / of.lower()).glob(f"{names}.json")):
            yield of, json.loads(file.read_text("utf-8"))


def _listed(resource: Mapping[str, Any], release: str) -> Json:
    return {
        "id": resource["id"],
        "kind": resource["resourceType"],
        "release": release,
        "title": resource.get("title") or resource.get("description") or resource.get("name"),
        "url": resource.get("url"),
    }


def _named(name: str, release: str | None) -> tuple[str, Json]:
    """What is published under an id, with or without its kind, or under a canonical, with or without its version."""
    from adapter.profiles import CANONICAL

    plain, _, version = name.removeprefix(f"{CANONICAL}/").partition("|")
    kind, _, logical_id = plain.rpartition("/")
    found = [
        (of, each)
        for of, each in _published(release, f"*-{logical_id}")
        if each["id"] == logical_id and kind in {"", each["resourceType"]} and version in {"", each.get("version")}
    ]
    if not found:
        raise Invalid(Fault("cli.unknown-artefact", "ID", release or " ".join(_RELEASES)))
    return min(found, key=lambda one: one[1]["resourceType"] != "StructureDefinition")


def _lineage(structure: Json, release: str) -> Iterator[Json]:
    """A profile, and the profiles of ours that it is made from, the nearest first."""
    from adapter.profiles import EXTENSION

    yield structure
    parent = structure.get("baseDefinition", "")
    if parent.startswith(EXTENSION):
        yield from _lineage(_named(parent, release)[1], release)


def _elements(structure: Json, release: str) -> Iterator[Json]:
    """The elements of which the profile, or one that it is made from, says something, as its snapshot has them."""
    told: dict[str, str] = {}
    for profile in _lineage(structure, release):
        for element in profile["differential"]["element"]:
            told[element["id"]] = told.get(element["id"]) or element.get("short", "")
    for element in structure["snapshot"]["element"]:
        if element["id"] in told:
            binding = element.get("binding", {})
            why = [told[element["id"]]] if element["max"] == "0" and told[element["id"]] else []
            yield {
                "element": element["id"],
                "card": f"{element['min']}..{element['max']}",
                "type": " | ".join(_type(kind) for kind in element.get("type", ())) or None,
                "binding": f"{binding['strength']} {binding['valueSet']}" if "valueSet" in binding else None,
                "rules": "; ".join([*why, *_rules(element)]) or None,
            }


def _type(kind: Mapping[str, Any]) -> str:
    targets = "|".join(target.removeprefix(_BASE) for target in kind.get("targetProfile", ()))
    profiles = "|".join(profile.removeprefix(_BASE) for profile in kind.get("profile", ()))
    code: str = kind["code"].rpartition("/")[2]
    return code + (f"({targets})" if targets else "") + (f"<{profiles}>" if profiles else "")


def _rules(element: Mapping[str, Any]) -> Iterator[str]:
    for name, value in element.items():
        if name.startswith(_VALUES):
            yield f"= {json.dumps(value, ensure_ascii=False)}"
    if slicing := element.get("slicing"):
        by = ", ".join(f"{each['type']} of {each['path']}" for each in slicing.get("discriminator", ()))
        yield f"{slicing['rules']} slices by {by}"
    for constraint in element.get("constraint", ()):
        if constraint["key"].startswith("koord-"):
            yield f"{constraint['key']}: {constraint['human']}"


def _full(file: Path, ours: Mapping[str, Any]) -> Json:
    """
    The same StructureDefinition with the texts in its snapshot.

    Raises:
        Invalid: it is not there, not readable (``cli.full-missing``, ``cli.unreadable-file``), or not it (``cli.not-full``).
    """
    try:
        resource: Any = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise Invalid(Fault("cli.full-missing", str(file))) from None
    except (OSError, ValueError) as error:
        raise Invalid(Fault("cli.unreadable-file", str(file), type(error).__name__)) from None
    if not isinstance(resource, dict):
        raise Invalid(Fault("cli.not-full", str(file), "resourceType"))
    same = ("resourceType", "url", "version", "fhirVersion")
    told = [name for name in same if resource.get(name) != ours.get(name)]
    if told or not _has_texts(resource, ours):
        raise Invalid(Fault("cli.not-full", str(file), ", ".join(told or ["snapshot"])))
    return resource


def _has_texts(resource: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Its snapshot has the same elements, and says more of each than its path."""
    snapshot = resource.get("snapshot")
    elements = snapshot.get("element") if isinstance(snapshot, dict) else None
    listed = [each for each in elements if isinstance(each, dict)] if isinstance(elements, list) else []
    same = [each.get("id") for each in listed] == [each["id"] for each in ours["snapshot"]["element"]]
    return same and all(each.get("definition") not in {None, each.get("path")} for each in listed)


def _manifest(release: str) -> Json:
    from importlib.metadata import version

    from adapter.profiles import CANONICAL

    return {
        "name": f"koord.fhir.{release.lower()}",
        "version": version("koord-adapter"),
        "tools-version": 3,
        "type": "IG",
        "canonical": CANONICAL,
        "url": CANONICAL,
        "title": f"Coordination interventions in Swedish health care, FHIR {release}",
        "description": "Profiles, extensions and terminology for koordineringsinsatser, with the consents that open them.",
        "author": "The koord team",
        "license": "Apache-2.0",
        "fhirVersions": [_RELEASES[release]],
        "dependencies": {f"hl7.fhir.{release.lower()}.core": _RELEASES[release]},
        "jurisdiction": "urn:iso:std:iso:3166#SE",
    }


def _archive(manifest: Json, resources: Mapping[str, Json]) -> bytes:
    """A package in npm's form with HL7's index in it; no day and no owner, so that the same content has the same bytes."""
    from adapter.profiles import package_index

    index = package_index(resources)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in {"package.json": manifest, ".index.json": index, **resources}.items():
            body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return gzip.compress(packed.getvalue(), mtime=0)
