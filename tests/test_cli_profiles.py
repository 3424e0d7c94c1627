"""``koord profiles``: the list, one profile's rules, and the package that other people's tools load."""

from __future__ import annotations

import io
import json
import tarfile
from importlib.metadata import version

import pytest

from adapter.cli import koord
from adapter.cli.terminal import run as run_koord
from adapter.resources import folder
from adapter.tables import CANONICAL

GENERATED = folder("profiles") / "generated"
RELEASES = {"R4": "4.0.1", "R5": "5.0.0"}


@pytest.fixture
def run(capsysbinary):
    def run(*arguments):
        code = run_koord(koord, [*map(str, arguments)])
        shown = capsysbinary.readouterr()
        return code, shown.out.decode(), shown.err.decode()

    return run


def definitions(release):
    return {file.name: json.loads(file.read_text("utf-8")) for file in (GENERATED / release.lower()).glob("*.json")}


def packed(file):
    with tarfile.open(file) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_everything_that_is_published_is_listed_with_its_release(run):
    code, out, err = run("profiles", "show", "--json")
    listed = json.loads(out)
    assert (code, err) == (0, "")
    assert len(listed) == sum(len(definitions(release)) for release in RELEASES)
    assert {each["release"] for each in listed} == {"R4", "R5"}
    assert all(each["title"] for each in listed)
    assert {
        "id": "koord-patient",
        "kind": "StructureDefinition",
        "release": "R4",
        "title": "Patient",
        "url": f"{CANONICAL}/StructureDefinition/koord-patient",
    } in listed


def test_the_list_can_be_that_of_one_release(run):
    _, out, _ = run("profiles", "show", "--release", "R5")
    lines = out.splitlines()
    assert lines[0].split() == ["id", "kind", "release", "title", "url"]
    assert len(lines) == 1 + len(definitions("R5"))
    assert " R4 " not in out


def test_a_profile_is_shown_by_what_it_asks_beyond_fhir(run):
    code, out, err = run("profiles", "show", "koord-patient", "--json")
    rows = {row["element"]: row for row in json.loads(out)}
    assert (code, err) == (0, "")
    assert rows["Patient.identifier:personnummer.system"] == {
        "element": "Patient.identifier:personnummer.system",
        "card": "1..1",
        "type": "uri",
        "binding": None,
        "rules": '= "http://electronichealth.se/identifier/personnummer"',
    }
    assert rows["Patient.identifier"]["rules"] == "open slices by value of system"
    assert rows["Patient.meta.security:protection"]["binding"] == f"required {CANONICAL}/ValueSet/protection"
    assert "Patient.birthDate" not in rows


def test_an_invariant_of_ours_is_shown_with_its_words(run):
    _, out, _ = run("profiles", "show", "koord-intervention")
    assert "koord-subject-given: " in out
    assert "ele-1" not in out


def test_the_rules_of_the_profiles_that_it_is_made_from_are_shown_too(run):
    rows = {row["element"]: row for row in json.loads(run("profiles", "show", "koord-intervention", "--json")[1])}
    assert "koord-gc001: " in rows["Task"]["rules"]
    assert rows["Task.identifier"]["card"] == "1..*"
    assert "Task.description" not in rows


def test_what_is_forbidden_is_shown_with_the_reason(run):
    rows = {row["element"]: row for row in json.loads(run("profiles", "show", "koord-intervention", "--json")[1])}
    assert rows["Task.reasonCode"]["card"] == "0..0"
    assert rows["Task.reasonCode"]["rules"].startswith("Never: ")


@pytest.mark.parametrize("release", RELEASES)
def test_every_rule_of_a_snapshot_that_is_not_hl7s_is_shown(run, release):
    """Told by the snapshot itself: cardinality narrower than the base's, constants and invariants of ours."""
    for name, resource in definitions(release).items():
        if not name.startswith("StructureDefinition-"):
            continue
        out = run("profiles", "show", f"StructureDefinition/{resource['id']}", "--release", release, "--json")[1]
        shown = {row["element"] for row in json.loads(out)}
        for element in resource["snapshot"]["element"]:
            base = element["base"]
            ours = any(each["key"].startswith("koord-") for each in element.get("constraint", ()))
            fixed = any(key.startswith(("fixed", "pattern")) for key in element)
            narrower = ":" not in element["id"] and (element["min"], element["max"]) != (base["min"], base["max"])
            assert element["id"] in shown or not (ours or fixed or narrower), element["id"]


@pytest.mark.parametrize("version", ["", f"|{version('koord-adapter')}"])
def test_a_profile_is_shown_by_the_canonical_that_faults_give(run, version):
    url = f"{CANONICAL}/StructureDefinition/koord-patient{version}"
    assert run("profiles", "show", url) == run("profiles", "show", "koord-patient")


def test_what_r5_alone_has_is_found_without_naming_the_release(run):
    url = f"{CANONICAL}/StructureDefinition/activity-status"
    assert run("profiles", "show", url) == run("profiles", "show", "activity-status", "--release", "R5")


def test_another_version_than_ours_is_not_known(run):
    code, out, err = run("profiles", "show", f"{CANONICAL}/StructureDefinition/koord-patient|9.9.9")
    assert (code, out, "cli.unknown-artefact" in err) == (2, "", True)


@pytest.mark.parametrize("release", RELEASES)
def test_every_definition_can_be_shown(run, release):
    for resource in definitions(release).values():
        code, out, err = run("profiles", "show", f"{resource['resourceType']}/{resource['id']}", "--release", release)
        assert (code, err) == (0, "")
        assert out


def test_an_id_of_several_kinds_is_the_extensions_unless_the_kind_is_named(run):
    assert run("profiles", "show", "channel")[1].startswith("element")
    assert json.loads(run("profiles", "show", "CodeSystem/channel")[1])["concept"]


def test_what_is_not_published_is_told_by_code(run):
    code, out, err = run("profiles", "show", "koord-nothing")
    assert (code, out) == (2, "")
    assert "cli.unknown-artefact" in err


@pytest.mark.parametrize("release", RELEASES)
def test_the_package_has_every_definition_of_its_release_and_says_what_it_is(run, tmp_path, release):
    file = tmp_path / "package.tgz"
    assert run("profiles", "pack", "--release", release, "--out", file) == (0, f"{file}\n", "")
    content = packed(file)
    manifest = json.loads(content.pop("package/package.json"))
    assert manifest["name"] == f"koord.fhir.{release.lower()}"
    assert manifest["version"] == version("koord-adapter")
    assert manifest["canonical"] == CANONICAL
    assert manifest["fhirVersions"] == [RELEASES[release]]
    assert manifest["dependencies"] == {f"hl7.fhir.{release.lower()}.core": RELEASES[release]}
    index = json.loads(content.pop("package/.index.json"))["files"]
    assert {f"package/{each['filename']}" for each in index} == content.keys()
    assert {name.removeprefix("package/"): json.loads(body) for name, body in content.items()} == definitions(release)
    for each in index:
        resource = json.loads(content[f"package/{each['filename']}"])
        assert {key: resource[key] for key in each if key != "filename"} == {
            key: value for key, value in each.items() if key != "filename"
        }


def test_the_package_has_the_same_bytes_whenever_and_wherever_it_is_made(run, tmp_path, monkeypatch):
    first = tmp_path / "a.tgz"
    run("profiles", "pack", "--out", first)
    monkeypatch.chdir(tmp_path)
    name = f"koord.fhir.r4-{version('koord-adapter')}.tgz"
    assert run("profiles", "pack")[1] == f"{name}\n"
    assert (tmp_path / name).read_bytes() == first.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(first.read_bytes())) as tar:
        assert {(member.mtime, member.uid, member.uname) for member in tar} == {(0, 0, "")}


def with_texts(resource):
    """The definition as the compiler leaves it: with a text for each element."""
    elements = [each | {"definition": f"What {each['id']} means."} for each in resource["snapshot"]["element"]]
    return resource | {"snapshot": {"element": elements}}


def full(folder, release="R4"):
    for name, resource in definitions(release).items():
        if name.startswith("StructureDefinition-"):
            (folder / name).write_text(json.dumps(with_texts(resource)), "utf-8")
    return folder


def test_full_snapshots_take_the_place_of_those_without_texts(run, tmp_path):
    file = tmp_path / "full.tgz"
    assert run("profiles", "pack", "--full", full(tmp_path), "--out", file) == (0, f"{file}\n", "")
    for name, body in packed(file).items():
        assert (b"What " in body and b" means." in body) == name.startswith("package/StructureDefinition-")


def test_a_full_snapshot_that_is_missing_or_broken_is_told_and_no_package_is_made(run, tmp_path):
    file = tmp_path / "full.tgz"
    code, _, err = run("profiles", "pack", "--full", tmp_path, "--out", file)
    assert (code, "cli.full-missing" in err, file.exists()) == (2, True, False)
    assert "standard input" not in err
    for name in definitions("R4"):
        (tmp_path / name).write_text("{")
    code, _, err = run("profiles", "pack", "--full", tmp_path, "--out", file)
    assert (code, "cli.unreadable-file" in err, file.exists()) == (2, True, False)


OTHERWISE = {
    "a list": (lambda _: [], "resourceType"),
    "another kind": (lambda each: each | {"resourceType": "ValueSet"}, "resourceType"),
    "another url": (lambda each: each | {"url": f"{CANONICAL}/StructureDefinition/koord-goal"}, "url"),
    "another version": (lambda each: each | {"version": "9.9.9"}, "version"),
    "another release": (lambda each: each | {"fhirVersion": "5.0.0"}, "fhirVersion"),
    "no snapshot": (lambda each: {name: each[name] for name in each if name != "snapshot"}, "snapshot"),
    "a snapshot that is none": (lambda each: each | {"snapshot": {"element": "all"}}, "snapshot"),
    "fewer elements": (lambda each: each | {"snapshot": {"element": each["snapshot"]["element"][1:]}}, "snapshot"),
    "no texts": (lambda _: definitions("R4")["StructureDefinition-koord-patient.json"], "snapshot"),
}


@pytest.mark.parametrize("how", OTHERWISE)
def test_a_file_that_is_not_the_same_definition_with_texts_is_refused_and_no_package_is_made(run, tmp_path, how):
    change, told = OTHERWISE[how]
    patient = full(tmp_path) / "StructureDefinition-koord-patient.json"
    patient.write_text(json.dumps(change(json.loads(patient.read_text("utf-8")))), "utf-8")
    file = tmp_path / "full.tgz"
    code, _, err = run("profiles", "pack", "--full", tmp_path, "--out", file)
    assert (code, "cli.not-full" in err, f"[{told}]" in err, file.exists()) == (2, True, True, False)


def test_a_dash_sends_the_package_to_standard_output(capfdbinary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_koord(koord, ["profiles", "pack", "--out", "package.tgz"]) == 0
    capfdbinary.readouterr()
    assert run_koord(koord, ["profiles", "pack", "--out", "-"]) == 0
    assert capfdbinary.readouterr().out == (tmp_path / "package.tgz").read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["package.tgz"]


def test_a_place_that_cannot_be_written_to_is_told(run, tmp_path):
    code, _, err = run("profiles", "pack", "--out", tmp_path / "no" / "package.tgz")
    assert (code, "cli.unwritable" in err) == (2, True)
