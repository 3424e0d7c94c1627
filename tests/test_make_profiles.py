"""What is under ``profiles/generated`` is what the sources make; this is held here without npm, as far as that goes."""

from __future__ import annotations

import base64
import hashlib
import importlib
import io
import json
import re
import tarfile
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import pytest

from adapter.errors import Fault, codes
from adapter.flows.audit_events import EVENTS
from adapter.service.capability import PUBLISHED
from adapter.store.outbox import Outcome
from adapter.tables import CANONICAL, load
from adapter.transport.outcome import operation_outcome
from adapter.validation import validate

PROFILES = Path(__file__).parent.parent / "profiles"
GENERATED = PROFILES / "generated"
RELEASES = {"r4": "4.0.1", "r5": "5.0.0"}
FILES = sorted(GENERATED.rglob("*.json"))
FACTS = {
    "id", "path", "representation", "sliceName", "sliceIsConstraining", "slicing", "min", "max", "base", "contentReference", "type",
    "condition", "constraint", "mustSupport", "isModifier", "isSummary", "binding", "maxLength",
}  # fmt: skip


@pytest.fixture(scope="module")
def script():
    """The build scripts lie beside the data, outside the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROFILES)
        yield importlib.import_module


@pytest.fixture
def made(script):
    return {release: script("terminology").resources(release) for release in RELEASES}


def content(file):
    return json.loads(file.read_text("utf-8"))


@pytest.mark.parametrize("release", RELEASES)
def test_the_generated_terminology_is_that_of_the_code_tables(script, made, release):
    kinds = ("CodeSystem", "ConceptMap", "NamingSystem", "ValueSet")
    on_disk = {
        file.name: file.read_text("utf-8")
        for file in (GENERATED / release).glob("*.json")
        if file.name.startswith(tuple(f"{kind}-" for kind in kinds))
    }
    expected = {name: script("make_profiles").pretty(each) for name, each in made[release].items()}
    assert on_disk == expected, "make terminology writes them anew"


@pytest.mark.parametrize("release", RELEASES)
def test_the_terminology_is_fhir(made, release):
    package = "fhir.resources.R4B" if release == "r4" else "fhir.resources"
    for resource in made[release].values():
        kind = resource["resourceType"]
        getattr(importlib.import_module(f"{package}.{kind.lower()}"), kind).model_validate(resource)


def test_every_code_of_ours_has_its_words_in_english_and_swedish(made):
    systems = [each for each in made["r4"].values() if each["resourceType"] == "CodeSystem"]
    assert len(systems) > 20
    for system in systems:
        assert system["count"] == len({concept["code"] for concept in system["concept"]})
        for concept in system["concept"]:
            swedish = [each["value"] for each in concept["designation"] if each["language"] == "sv"]
            assert concept["display"].strip()
            assert len(swedish) == 1
            assert swedish[0].strip()


def test_a_concept_map_has_every_value_of_a_record_and_only_codes_that_are_read_back_as_it(made):
    tables = {name: table for name, table in load().codes.items() if not name.endswith("-r5")}
    maps = {
        each["id"].removeprefix("record-"): each for each in made["r4"].values() if each["resourceType"] == "ConceptMap"
    }
    assert maps.keys() == {
        name
        for name, table in tables.items()
        if any(row["key"] != row["code"] or "accept" in row for row in table.rows)
    }
    for name, each in maps.items():
        rows = {row["code"]: [target["code"] for target in row["target"]] for row in each["group"][0]["element"]}
        assert rows.keys() == tables[name].keys.keys()
        for key, targets in rows.items():
            assert targets[0] == tables[name].code(key)
            assert tables[name].one_way or {tables[name].key(target) for target in targets} == {key}


def test_what_is_wider_than_the_record_says_so_in_both_releases(made):
    def relation(release, name):
        return {
            (row["code"], *(value for key, value in target.items() if key != "code"))
            for row in made[release]["ConceptMap-record-purpose.json"]["group"][0]["element"]
            for target in row["target"]
            if row["code"] == name
        }

    assert relation("r4", "rehabilitation-need") == {("rehabilitation-need", "wider")}
    assert relation("r5", "rehabilitation-need") == {("rehabilitation-need", "source-is-narrower-than-target")}
    assert relation("r4", "coordination") == {("coordination", "equivalent")}


def test_a_value_set_has_what_is_read_of_every_system(made):
    kva = made["r4"]["ValueSet-kva.json"]["compose"]["include"]
    assert {each["system"] for each in kva} == set(load().codes["kva"].systems)
    assert all(each["concept"] == [{"code": "GC001"}] for each in kva)
    assert all("concept" not in each for each in made["r4"]["ValueSet-icd10se.json"]["compose"]["include"])


def test_the_code_system_of_faults_has_every_code_that_an_outcome_can_carry(made):
    known = {concept["code"] for concept in made["r4"]["CodeSystem-fault.json"]["concept"]}
    carried = {
        issue["details"]["coding"][0]["code"] for issue in operation_outcome([Fault(code) for code in codes()])["issue"]
    }
    assert known == carried


def test_a_naming_system_prefers_the_uri_that_is_written(made):
    hsaid = made["r4"]["NamingSystem-identifier-hsaid.json"]["uniqueId"]
    assert [(each["value"], each["preferred"]) for each in hsaid] == [
        ("1.2.752.29.4.19", True),
        ("1.2.752.129.2.1.4.1", False),
    ]


@pytest.mark.parametrize("release", RELEASES)
def test_every_definition_has_our_canonical_its_own_name_and_the_version_of_the_product(release):
    files = sorted((GENERATED / release).glob("*.json"))
    assert files
    for file in files:
        resource = content(file)
        kind, name = resource["resourceType"], resource["id"]
        assert file.name == f"{kind}-{name}.json"
        if kind == "NamingSystem" and release == "r4":
            continue  # has no URL in R4
        assert resource["url"] == f"{CANONICAL}/{kind}/{name}"
        assert resource["version"] == version("koord-adapter")
        assert resource.get("fhirVersion", RELEASES[release]) in (RELEASES[release], [RELEASES[release]])


@pytest.mark.parametrize("release", RELEASES)
def test_snapshots_hold_facts_and_none_of_the_sentences_of_hl7(release):
    for file in (GENERATED / release).glob("StructureDefinition-*.json"):
        resource = content(file)
        assert "mapping" not in resource
        ours = {element["id"]: element for element in resource["differential"]["element"]}
        for element in resource["snapshot"]["element"]:
            said = ours.get(element["id"], {})
            assert element["definition"] == said.get("definition", element["path"])
            assert all(element.get(word) == said.get(word) for word in ("short", "comment"))
            assert element.get("isModifierReason", "As in FHIR.") == "As in FHIR."
            rest = {
                key for key in element.keys() - FACTS if not re.match("(fixed|pattern|minValue|maxValue)[A-Z]", key)
            }
            assert rest <= {"short", "definition", "comment", "isModifierReason"}, (file.name, element["id"])
            assert set(element.get("binding", ())) <= {"strength", "valueSet"}
            assert set(element.get("slicing", ())) <= {"discriminator", "ordered", "rules"}
            for constraint in element.get("constraint", ()):
                assert constraint["key"].startswith("koord-") or constraint["human"] == constraint["key"]


def test_generated_files_tell_neither_the_day_nor_the_machine():
    for file in FILES:
        text = file.read_text("utf-8")
        assert str(PROFILES.parent) not in text
        assert not re.search(r"\.cache|/tmp/|/home/", text)


def test_a_snapshot_loses_prose_and_keeps_our_own_words(script):
    resource = {
        "resourceType": "StructureDefinition",
        "mapping": [{"identity": "v2"}],
        "differential": {"element": [{"id": "Task.code", "path": "Task.code", "short": "ours"}]},
        "snapshot": {
            "element": [
                {
                    "id": "Task.code",
                    "path": "Task.code",
                    "short": "ours",
                    "definition": "theirs",
                    "requirements": "theirs",
                    "isModifierReason": "theirs",
                    "min": 0,
                    "isSummary": False,
                    "isModifier": True,
                    "patternCodeableConcept": {"text": "x"},
                    "binding": {"strength": "required", "valueSet": "u", "description": "theirs"},
                    "constraint": [
                        {"key": "ele-1", "human": "theirs", "expression": "true"},
                        {"key": "koord-1", "human": "ours"},
                    ],
                }
            ]
        },
    }
    assert script("make_profiles").structural(resource) == {
        "resourceType": "StructureDefinition",
        "differential": resource["differential"],
        "snapshot": {
            "element": [
                {
                    "id": "Task.code",
                    "path": "Task.code",
                    "short": "ours",
                    "definition": "Task.code",
                    "isModifierReason": "As in FHIR.",
                    "min": 0,
                    "isModifier": True,
                    "patternCodeableConcept": {"text": "x"},
                    "binding": {"strength": "required", "valueSet": "u"},
                    "constraint": [
                        {"key": "ele-1", "human": "ele-1", "expression": "true"},
                        {"key": "koord-1", "human": "ours"},
                    ],
                }
            ]
        },
    }


def test_one_element_or_concept_stands_on_a_line(script):
    pretty = script("make_profiles").pretty
    resource = {
        "id": "å",
        "snapshot": {"element": [{"id": "a"}, {"id": "b"}]},
        "concept": [{"code": "c"}],
        "context": [],
    }
    assert json.loads(pretty(resource)) == resource
    assert '\n{"id": "b"}' in pretty(resource)
    assert '\n{"code": "c"}' in pretty(resource)
    assert "å" in pretty(resource)


def test_what_is_new_changed_or_gone_is_named_once_and_in_place_then(script, tmp_path):
    replace = script("make_profiles")._replace
    same, old, gone, new = (tmp_path / f"{name}.json" for name in ("same", "old", "gone", "deep/new"))
    for file in (same, old, gone):
        file.write_text("1")
    fresh = {same: "1", old: "2", new: "3"}
    assert replace([same, old, gone], fresh) == sorted([old, gone, new])
    assert replace([same, old, new], fresh) == []
    assert {file: file.read_text() for file in tmp_path.rglob("*.json")} == fresh


# The compiler and npm are played here: what the scripts do with what these say.

RESOURCES = {
    "StructureDefinition-Task.json": {"resourceType": "StructureDefinition", "id": "Task", "url": "http://hl7.org/fhir/StructureDefinition/Task", "fhirVersion": "4.0.1", "snapshot": {}, "text": {"div": "x"}},
    "StructureDefinition-bare.json": {"resourceType": "StructureDefinition", "id": "bare", "url": "http://hl7.org/fhir/StructureDefinition/bare", "fhirVersion": "4.0.1"},
    "ValueSet-theirs.json": {"resourceType": "ValueSet", "id": "theirs", "url": "http://example.org/ValueSet/theirs"},
    "Patient-example.json": {"resourceType": "Patient", "id": "example"},
}  # fmt: skip


def archive(resources):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, resource in resources.items():
            data = json.dumps(resource).encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A program called npm that gives one archive, whatever is asked for; returns that archive's digest."""
    body = archive(RESOURCES)
    (tmp_path / "archive.tgz").write_bytes(body)
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncp "{tmp_path}/archive.tgz" "$4/given.tgz"\necho given.tgz\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return base64.b64encode(hashlib.sha512(body).digest()).decode()


def test_the_core_package_has_hl7s_definitions_without_narrative_and_nothing_else(script, npm, tmp_path, monkeypatch):
    core_package = script("core_package")
    monkeypatch.setattr(core_package, "FROM_NPM", {"hl7.fhir.r4.examples@4.0.1": npm})
    core_package.make_cache(tmp_path / "home")
    packages = tmp_path / "home" / ".fhir" / "packages"
    core = packages / "hl7.fhir.r4.core#4.0.1" / "package"
    assert {file.name for file in core.iterdir()} == {"StructureDefinition-Task.json", "package.json", ".index.json"}
    assert "text" not in content(core / "StructureDefinition-Task.json")
    assert [each["filename"] for each in content(core / ".index.json")["files"]] == ["StructureDefinition-Task.json"]
    assert {file.name.rpartition("#")[0] for file in packages.iterdir()} > {
        "hl7.terminology.r4",
        "hl7.fhir.uv.tools.r5",
    }


def test_a_package_with_other_bytes_than_those_looked_at_is_refused(script, npm, tmp_path, monkeypatch):
    core_package = script("core_package")
    monkeypatch.setattr(core_package, "FROM_NPM", {"hl7.fhir.r5.core@5.0.0": "other"})
    with pytest.raises(SystemExit, match="other bytes"):
        core_package.make_cache(tmp_path / "home")
    assert not list((tmp_path / "home" / ".fhir" / "packages").glob("hl7.fhir.r5.core*"))


def test_without_npm_the_build_says_so(script, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="npm could not give"):
        script("core_package").make_cache(tmp_path / "home")


SUSHI = """#!/bin/sh
mkdir -p "$4/fsh-generated/resources"
cat > "$4/fsh-generated/resources/ValueSet-a.json" <<END
{"resourceType": "ValueSet", "id": "a", "url": "https://koord.example/fhir/ValueSet/a"}
END
echo "info  Running"
"""


@pytest.fixture
def build(script, tmp_path, monkeypatch):
    """make_profiles in a tree of its own, with a compiler that says what it is told to; called, it gives the exit code."""
    make_profiles = script("make_profiles")
    for part in ("common", "r4", "r5"):
        (tmp_path / "profiles" / "fsh" / part).mkdir(parents=True)
    monkeypatch.setattr(make_profiles, "HERE", tmp_path / "profiles")
    monkeypatch.setattr(make_profiles, "CACHE", tmp_path / ".cache")
    monkeypatch.setattr(make_profiles, "GENERATED", tmp_path / "profiles" / "generated")
    monkeypatch.setattr(make_profiles, "_compiler", lambda folder: folder / "app.js")
    monkeypatch.setattr(make_profiles.core_package, "make_cache", lambda home: home.mkdir(parents=True, exist_ok=True))

    def run(said="", *arguments):
        monkeypatch.setattr("sys.argv", ["make_profiles.py", *arguments])
        node = tmp_path / "bin" / "node"
        node.parent.mkdir(exist_ok=True)
        node.write_text(SUSHI + said)
        node.chmod(0o755)
        monkeypatch.setenv("PATH", f"{node.parent}:/usr/bin:/bin")
        with pytest.raises(SystemExit) as ended:
            make_profiles.main()
        return ended.value.code

    return run


def test_the_build_ends_with_1_once_and_with_0_when_nothing_changed(build, tmp_path, capsys):
    assert build() == 1
    assert "differs: profiles/generated/r4/ValueSet-a.json" in capsys.readouterr().err
    assert build() == 0
    assert not capsys.readouterr().err
    assert (tmp_path / "profiles" / "generated" / "r5" / "ValueSet-a.json").exists()


def test_a_file_that_was_changed_by_hand_is_found_and_made_anew(build, tmp_path):
    build()
    file = tmp_path / "profiles" / "generated" / "r4" / "ValueSet-a.json"
    before = file.read_text("utf-8")
    file.write_text(before.replace('"a"', '"b"', 1))
    assert build() == 1
    assert file.read_text("utf-8") == before


@pytest.mark.parametrize("level", ["error", "warn "])
def test_an_error_or_a_warning_of_the_compiler_ends_the_build_and_says_where(build, tmp_path, level):
    said = build(
        f'echo "{level} No such element"\necho "  File: $4/input/fsh/common/X.fsh"\necho "  Line: 3"\necho "info  Done"\n'
    )
    assert said == f"{level} No such element\n  File: profiles/fsh/common/X.fsh\n  Line: 3"
    assert not (tmp_path / "profiles" / "generated").exists()


def test_that_the_compiler_cannot_ask_for_a_newer_one_is_no_complaint(build):
    build()
    assert build('echo "warn  Unable to determine the latest version of sushi: connect ECONNREFUSED"\n') == 0


def test_what_comes_from_the_tables_is_made_without_a_compiler_and_leaves_the_rest(build, tmp_path, monkeypatch):
    build()
    generated = tmp_path / "profiles" / "generated"
    (generated / "r4" / "CodeSystem-channel.json").write_text("{}")
    assert build("exit 1\n", "--tables") == 1
    assert content(generated / "r4" / "CodeSystem-channel.json")["concept"]
    assert (generated / "r4" / "ValueSet-a.json").exists()
    assert build("exit 1\n", "--tables") == 0


@pytest.mark.parametrize("release", RELEASES)
def test_the_published_statement_of_the_server_is_what_a_server_says(script, release):
    statement = script("capabilities").resources(release)["CapabilityStatement-koord-server.json"]
    assert content(GENERATED / release / "CapabilityStatement-koord-server.json") == statement
    assert statement["fhirVersion"] == RELEASES[release]
    assert statement["url"] == PUBLISHED
    assert statement["kind"] == "capability"
    assert not statement.keys() & {"implementation", "instantiates"}
    (rest,) = statement["rest"]
    known = {content(file)["url"] for file in (GENERATED / release).glob("StructureDefinition-*.json")}
    assert {profile for resource in rest["resource"] for profile in resource["supportedProfile"]} <= known
    assert "description" not in rest["security"]


@pytest.mark.parametrize("release", RELEASES)
def test_statements_are_fhir(release):
    for file in (GENERATED / release).glob("CapabilityStatement-*.json"):
        assert [fault for fault in validate(content(file), release=release.upper()) if fault.severity == "error"] == []


def test_a_table_of_r5_stands_for_the_one_that_it_differs_from(made):
    names = {release: {each["id"] for each in resources.values()} for release, resources in made.items()}
    assert names["r4"] == names["r5"]
    states = {
        release: {
            row["target"][0]["code"]
            for row in made[release]["ConceptMap-record-consent-state.json"]["group"][0]["element"]
        }
        for release in RELEASES
    }
    assert states["r4"] - states["r5"] == {"rejected"}
    assert states["r5"] - states["r4"] == {"not-done"}


def test_every_event_of_the_audit_log_has_its_code():
    source = "".join(file.read_text("utf-8") for file in (PROFILES.parent / "adapter").rglob("*.py"))
    told = set(re.findall(r'Entry\(\s*"([a-z]+\.[a-z]+)"', source)) | set(
        re.findall(r'_mark\(.*"([a-z]+\.[a-z]+)"', source)
    )
    told |= set(re.findall(r'(?:\.entry|_enter)\("([a-z]+\.[a-z]+)"', source)) | {"record.searched"}
    told |= {
        f"{of}.{kind.__name__.lower()}" for of in ("message", "receipt", "withdrawal") for kind in get_args(Outcome)
    }
    assert len(told) > 30
    table = load().codes["audit-event"]
    assert table.keys.keys() == told
    assert table.systems == (EVENTS,)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("kind", ["fk-signal", "withdrawal-notice"])
def test_a_message_is_about_a_task_whose_code_is_its_event(release, kind):
    told = content(GENERATED / release / f"MessageDefinition-koord-message-{kind}.json")
    task = content(PROFILES / "examples" / release / f"koord-{kind}.json")
    assert [told["eventCoding"]] == task["code"]["coding"]
    assert {each["profile"] for each in told["focus"]} == set(task["meta"]["profile"])
    assert (told["status"], told["url"]) == ("draft", f"{CANONICAL}/MessageDefinition/{told['id']}")
    assert "$process-message" in told["description"]
