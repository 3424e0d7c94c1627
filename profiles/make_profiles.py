"""
Compiles the profiles, for ``make profiles``: FSH under ``profiles/fsh``, code tables and server → ``profiles/generated``.

Each release compiles ``fsh/common`` and its own folder. The compiler (SUSHI) and all that it reads are pinned by
``package-lock.json`` and ``core_package.py``; it runs with a home of its own and finds no network. An error or a warning of
the compiler ends the run. What is written to ``generated/{r4,r5}`` has one element per line, and snapshots without HL7's prose;
the compiler's own output, with full snapshots, stays in ``.cache/profiles/{r4,r5}/fsh-generated/resources``.

``--tables`` makes only what needs no compiler. Ends with 1 if what came out is not what lay there before, naming the files;
the new ones are then in place.
"""

# ruff: noqa: INP001, T201  a script beside the data that it writes, not a package; it prints what it found
from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import capabilities
import core_package
import terminology

from adapter.tables import CANONICAL

Json = dict[str, Any]

HERE: Final = Path(__file__).parent
CACHE: Final = HERE.parent / ".cache" / "profiles"
GENERATED: Final = HERE / "generated"
RELEASES: Final = {"r4": "4.0.1", "r5": "5.0.0"}

_FACTS: Final = (
    "id", "path", "representation", "sliceName", "sliceIsConstraining", "slicing", "min", "max", "base", "contentReference", "type",
    "maxLength", "condition", "constraint", "mustSupport", "isModifier", "isSummary", "binding",
)  # fmt: skip
_VALUES: Final = ("fixed", "pattern", "minValue", "maxValue")
"""What stays of an element in a snapshot; of values the type follows in the name. The rest is prose or for other readers."""
_WORDS: Final = ("short", "definition", "comment")
_OF_PART: Final = {
    "slicing": ("discriminator", "ordered", "rules"),
    "constraint": ("key", "severity", "human", "expression", "source"),
    "binding": ("strength", "valueSet"),
}
_OURS: Final = "koord-"
"""How the keys of our own invariants begin: their words are ours, too."""
_COMPLAINT: Final = re.compile(r"^(?:\x1b\[[0-9;]*m)*((?:error|warn)\b.*(?:\n  .*)*)", re.MULTILINE)
"""An error or a warning of the compiler, with the indented lines that say where."""
_ARGUED: Final = "Unable to determine the latest version of sushi"
"""It asks the network whether there is a newer compiler; ours is pinned, and the network is out of its reach."""
_NOWHERE: Final = "http://127.0.0.1:9"
_OFFLINE: Final = {
    "FPL_REGISTRY": _NOWHERE,
    "HTTPS_PROXY": _NOWHERE,
    "https_proxy": _NOWHERE,
    "npm_config_offline": "true",
}


def main() -> None:
    arguments = argparse.ArgumentParser(description="Compile the profiles.")
    arguments.add_argument(
        "--tables", action="store_true", help="only what comes from the adapter's own tables: needs no npm"
    )
    if arguments.parse_args().tables:
        fresh = dict(item for release in RELEASES for item in _from_tables(release))
        before = [path for path in fresh if path.exists()]
    else:
        fresh = dict(
            item
            for release, folder in _compiled()
            for item in (*_from_tables(release), *_from_compiler(release, folder))
        )
        before = [*GENERATED.rglob("*.json")]
    changed = _replace(before, fresh)
    for path in changed:
        print(f"differs: {path.relative_to(HERE.parent)}", file=sys.stderr)
    print(f"profiles/generated: {len(fresh)} files, {len(changed)} not as before")
    sys.exit(bool(changed))


def _compiled() -> Iterator[tuple[str, Path]]:
    """Each release with the folder of what the compiler made of it."""
    home = CACHE / "home"
    core_package.make_cache(home)
    compiler = _compiler(CACHE / "npm")
    with ThreadPoolExecutor() as both:
        folders = both.map(lambda release: _compile(release, compiler, home), RELEASES)
        yield from zip(RELEASES, folders, strict=True)


def _compiler(folder: Path) -> Path:
    """SUSHI, installed by the lock file; again only if that has changed."""
    names = ("package.json", "package-lock.json")
    folder.mkdir(parents=True, exist_ok=True)
    lock, installed = HERE / names[1], folder / "installed"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        for name in names:
            shutil.copy(HERE / name, folder)
        told, failed = _run(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], folder)
        if failed:
            raise SystemExit(f"npm could not install the compiler: {told}")
        shutil.copy(lock, installed)
    return folder / "node_modules" / "fsh-sushi" / "dist" / "app.js"


def _compile(release: str, compiler: Path, home: Path) -> Path:
    """One release; the folder of what the compiler made."""
    project = CACHE / release
    shutil.rmtree(project, ignore_errors=True)
    for part in ("common", release):
        shutil.copytree(HERE / "fsh" / part, project / "input" / "fsh" / part)
    vocabulary = project / "input" / "vocabulary"
    vocabulary.mkdir(parents=True)
    for name, resource in terminology.resources(release).items():
        (vocabulary / name).write_text(json.dumps(resource), "utf-8")
    # A YAML file may be written as JSON.
    (project / "sushi-config.yaml").write_text(json.dumps(_configuration(release)), "utf-8")
    told, failed = _run(
        ["node", str(compiler), "build", "--snapshot", str(project)], project, _OFFLINE | {"HOME": str(home)}
    )
    if complaints := [each for each in _COMPLAINT.findall(told) if _ARGUED not in each]:
        raise SystemExit("\n".join(complaints).replace(f"{project / 'input'}/", "profiles/"))
    if failed:
        raise SystemExit(told)
    return project / "fsh-generated" / "resources"


def _configuration(release: str) -> Json:
    return {
        "canonical": CANONICAL,
        "status": "draft",
        "version": terminology.VERSION,
        "fhirVersion": RELEASES[release],
        "FSHOnly": True,
        "dependencies": {
            f"hl7.fhir.uv.extensions.{release}": core_package.EXTENSIONS,
            f"hl7.fhir.uv.tools.{release}": core_package.EMPTY,
            f"hl7.terminology.{release}": core_package.EMPTY,
        },
    }


def _run(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> tuple[str, bool]:
    """What a program said, and whether it failed."""
    try:
        done = subprocess.run(  # noqa: S603  fixed programs
            command, cwd=folder, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise SystemExit(f"{command[0]} cannot be run: npm and Node 18 or newer are needed ({error})") from None
    return done.stdout + done.stderr, done.returncode != 0


def _from_tables(release: str) -> Iterator[tuple[Path, str]]:
    """What comes from the code tables, the faults and the server, with its place and text."""
    for name, resource in (terminology.resources(release) | capabilities.resources(release)).items():
        yield GENERATED / release / name, pretty(resource)


def _from_compiler(release: str, folder: Path) -> Iterator[tuple[Path, str]]:
    """What was compiled, with its place and text."""
    for file in folder.glob("*.json"):
        resource = json.loads(file.read_text("utf-8"))
        resource.setdefault("version", terminology.VERSION)  # the compiler gives it to profiles alone
        yield GENERATED / release / file.name, pretty(structural(resource))


def structural(resource: Json) -> Json:
    """
    A StructureDefinition with a snapshot of facts and of our own words; anything else as it is.

    FHIR requires a definition of every element (sdf-3) and a reason for every modifier (eld-18): where the words were HL7's,
    the element's path and a reference to FHIR stand for them.
    """
    if resource["resourceType"] != "StructureDefinition":
        return resource
    ours = {each["id"]: each for each in resource["differential"]["element"]}
    snapshot = [_element(each, ours.get(each["id"], {})) for each in resource["snapshot"]["element"]]
    return {name: value for name, value in resource.items() if name != "mapping"} | {"snapshot": {"element": snapshot}}


def _element(element: Json, ours: Json) -> Json:
    facts: Json = {}
    for name, value in element.items():
        if name in ours and name in _WORDS:
            facts[name] = ours[name]
        elif name == "definition":
            facts[name] = element["path"]
        elif name == "isModifierReason":
            facts[name] = "As in FHIR."
        elif name == "constraint":
            facts[name] = [_constraint(each) for each in value]
        elif name in _OF_PART:
            facts[name] = {key: value[key] for key in _OF_PART[name] if key in value}
        elif name in _FACTS or name.startswith(_VALUES):
            facts[name] = value
    return {name: value for name, value in facts.items() if value is not False and value != {"strength": "example"}}


def _constraint(constraint: Json) -> Json:
    facts = {key: constraint[key] for key in _OF_PART["constraint"] if key in constraint}
    return facts if facts["key"].startswith(_OURS) else facts | {"human": facts["key"]}


def pretty(resource: Json) -> str:
    """JSON with one element, concept or other row per line, so that a change can be read."""
    return "{\n" + ",\n".join(f"{_json(key)}: {_rows(value)}" for key, value in resource.items()) + "\n}\n"


def _rows(value: Any) -> str:
    match value:
        case list() if value:
            return "[\n" + ",\n".join(map(_json, value)) + "\n]"
        case {"element": [*rows]} if len(value) == 1:
            return '{"element": ' + _rows(rows) + "}"
        case _:
            return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _replace(paths: Iterable[Path], fresh: Mapping[Path, str]) -> list[Path]:
    """Put the new files in the place of those at ``paths``; the ones that are new, changed or gone."""
    before = {path: path.read_text("utf-8") for path in paths}
    changed = sorted(path for path in before.keys() | fresh.keys() if before.get(path) != fresh.get(path))
    for path in changed:
        if path in fresh:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fresh[path], "utf-8")
        else:
            path.unlink()
    return changed


if __name__ == "__main__":
    main()
