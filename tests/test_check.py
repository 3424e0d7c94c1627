"""``koord check``: every fault of every file, in the five forms that people, programs, test runners and scanners read."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from adapter.cli import koord, report, terminal
from adapter.cli.checking import Bar, checked
from adapter.cli.report import Checked
from adapter.errors import Fault, codes
from adapter.wire import json as json_form
from adapter.wire import xml
from tests.bad_input import misspelt
from tests.fhir_generated import Maker

EXAMPLES = Path(__file__).parents[1] / "examples"
INTERVENTION, BROKEN = EXAMPLES / "intervention.json", EXAMPLES / "broken.json"
FORMS = ["text", "json", "outcome", "junit", "sarif"]
PERSONAL = ["191212121212", "19121212-1212", "Tolvan", "Orkar sitta", "Hanna Hansson"]
FAULTS = st.builds(
    Fault,
    st.sampled_from(codes()),
    where=st.sampled_from(
        ["", "Task.status", "Bundle.entry[1].resource.note[0].text", "Bundle.entry[10]", "records[0].id"]
    ),
    why=st.sampled_from(["", "R4 tsk-1"]),
    line=st.none() | st.integers(1, 9),
    column=st.just(1),
    severity=st.sampled_from(["error", "warning", "information"]),
    profile=st.sampled_from(["", "https://koord.example/fhir/StructureDefinition/koord-task"]),
    pointer=st.none() | st.sampled_from(["", "/status"]),
)
CHECKED = st.lists(
    st.builds(
        Checked,
        st.sampled_from(["a.json", "-", "/tmp/å b.json", "bad\udcff\x1b[2J.json"]),
        st.lists(FAULTS, max_size=5).map(tuple),
        st.just(("Bundle", "Bundle.entry[0].resource", "Bundle.entry[1].resource")) | st.just(("",)),
    ),
    min_size=1,
    max_size=3,
)


@pytest.fixture
def run(monkeypatch, capsysbinary):
    """Run a command line in this process. Nothing personal is ever shown; reasons stand in the report."""

    def run(*arguments, stdin=b"", language="en_US.UTF-8", columns="100"):
        monkeypatch.setenv("LC_ALL", language)
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
        code = terminal.run(koord, [str(argument) for argument in arguments])
        out, err = capsysbinary.readouterr()
        if arguments[0] == "check":
            assert err == b"" or out == b""
            assert not any(word in out.decode() for word in PERSONAL)
        return SimpleNamespace(code=code, out=out, text=out.decode(), err=err.decode(), json=lambda: json.loads(out))

    return run


def intervention(**changes):
    return json.loads(INTERVENTION.read_text("utf-8")) | changes


def written(folder, content, name="input.json"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content, indent=2).encode())
    return path


def bundle(run, **task):
    """The example as FHIR, its Task changed."""
    found = run("map", INTERVENTION).json()
    changed = next(each["resource"] for each in found["entry"] if each["resource"]["resourceType"] == "Task")
    changed |= task
    return found


# what is found


def test_check_tells_every_fault_of_every_file_in_order(run, tmp_path):
    wrong = intervention(state="finished", note=7)
    del wrong["unit"]
    path = written(tmp_path, wrong)
    ended = run("check", path, BROKEN, INTERVENTION, tmp_path / "none", "--format", "json")
    assert ended.code == 2
    rows = ended.json()
    assert [row["file"] for row in rows] == [str(path)] * 3 + [str(BROKEN)] * 4 + [str(tmp_path / "none")]
    assert [(row["code"], row["where"], row["line"], row["pointer"]) for row in rows[:3]] == [
        ("record.required", "unit", 1, ""),
        ("record.invalid", "state", 10, "/state"),
        ("record.invalid", "note", rows[2]["line"], "/note"),
    ]
    assert rows[-1]["code"] == "cli.no-such-file"


def test_check_finds_what_is_wrong_around_the_records_of_a_submission(run, tmp_path):
    submission = json.loads((EXAMPLES / "submission.json").read_text("utf-8"))
    submission["send"][0]["to"] = []
    submission["sent"] = []
    submission["records"][0]["kind"] = "none"
    ended = run("check", written(tmp_path, submission), "--format", "json")
    assert ended.code == 1
    assert {(row["where"], row["pointer"]) for row in ended.json()} >= {
        ("records[0].kind", "/records/0/kind"),
        ("send[0].to", "/send/0/to"),
        ("sent", "/sent"),
    }


def test_a_submission_may_hold_consents_of_other_systems_alone(run, tmp_path):
    given = json.loads((EXAMPLES / "other-systems.json").read_text("utf-8"))
    alone = run("check", written(tmp_path, {"consents": given["consents"]}))
    assert alone.code == 0
    broken = run("check", written(tmp_path, {"consents": [{"resourceType": "Consent"}]}))
    assert broken.code == 1
    assert "consents[0]" in broken.text


def test_check_says_the_same_of_json_and_of_xml(run):
    task = json.loads(BROKEN.read_text())
    task["reasonCode"] = {"text": "x"}
    as_json = run("check", "-", "--format", "json", stdin=json.dumps(task).encode()).json()
    as_xml = run("check", "-", "--format", "json", stdin=xml.write(task)).json()
    found = [[(row["code"], row["where"], row["pointer"]) for row in rows] for rows in (as_json, as_xml)]
    assert found[0] == found[1]
    assert all(row["line"] == 1 and row["column"] > 1 for row in as_xml)


@given(
    name=st.sampled_from(["Task", "CarePlan", "Consent", "Patient", "AuditEvent"]),
    seed=st.integers(0, 10_000),
    count=st.integers(0, 5),
    random=st.randoms(use_true_random=False),
)
def test_what_is_wrong_is_the_same_in_json_in_xml_and_in_xml_with_misspelt_elements_besides(name, seed, count, random):
    resource = Maker(seed, 0.5).resource(name)
    texts = texts_in(resource)
    for holder, key in random.choices(texts, k=2) if texts else ():
        holder[key] = random.choice(["", " ", "Z9", "2020-13-01"])
    as_json = found_in(json_form.write(resource))
    as_xml = found_in(misspelt(resource, count, random))
    of_form = [fault for fault in as_xml if fault.code.startswith("wire.")]
    assert [fault.code for fault in of_form] == ["wire.unknown-element"] * count
    assert Counter(map(without_position, as_json)) == Counter(map(without_position, set(as_xml) - set(of_form)))
    assert all(fault.line and fault.pointer is not None for fault in as_xml)


def texts_in(value):
    """Where texts stand that FHIR's XML can hold whatever they say."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [(value, key) for key, each in children if isinstance(each, str) and key not in {"resourceType", "div"}]
    return found + [place for _, each in children for place in texts_in(each)]


def found_in(data):
    """What is wrong, without the word on the other release, which stands at no place."""
    with TemporaryDirectory() as folder:
        path = written(Path(folder), data)
        found = checked(str(path), Bar((), (), (), "test")).faults
    return [fault for fault in found if fault.code != "cli.other-release"]


def without_position(fault):
    return replace(fault, line=None, column=None)


def test_faults_of_form_hide_no_others_and_what_could_not_be_read_is_not_missing_too(run):
    data = b"""<AuditEvent xmlns="http://hl7.org/fhir">
      <type><sistem value="urn:x"/><code value=" "/></type>
      <recorded value="2026"/>
      <agent><requestor value="yes"/></agent>
      <agent><requestor value="true"/><requestor value="false"/></agent>
      <action value="Z"/>
      <source><site>x</site><observer/></source>
      <entity><wat/></entity>
    </AuditEvent>"""
    ended = run("check", "-", "--format", "json", stdin=data)
    assert ended.code == 1
    errors = [row for row in ended.json() if row["severity"] == "error"]
    assert [(row["line"], row["code"], row["where"], row["pointer"]) for row in errors] == [
        (2, "wire.unknown-element", "AuditEvent.type", "/type"),
        (2, "fhir.format", "AuditEvent.type.code", "/type/code"),
        (3, "fhir.format", "AuditEvent.recorded", "/recorded"),
        (4, "wire.value", "AuditEvent.agent[0].requestor", "/agent/0"),
        (5, "wire.repeated", "AuditEvent.agent[1].requestor", "/agent/1/requestor"),
        (6, "wire.order", "AuditEvent.action", "/action"),
        (6, "fhir.code", "AuditEvent.action", "/action"),
        (7, "wire.text", "AuditEvent.source.site", "/source"),
        (7, "fhir.empty", "AuditEvent.source.observer", "/source/observer"),
        (8, "wire.unknown-element", "AuditEvent.entity[0]", "/entity/0"),
    ]


def test_what_has_faults_of_form_is_checked_and_not_used(run):
    data = xml.write(json.loads(run("map", INTERVENTION).out)).replace(b"<status ", b"<statuz ")
    assert "fhir.missing" in run("check", "-", stdin=data).text
    for command in (["map", "-"], ["map", "-", "--release", "R5"]):
        ended = run(*command, stdin=data)
        assert (ended.code, ended.out) == (1, b"")
        assert "wire.unknown-element" in ended.err


@given(
    unknown=st.lists(st.sampled_from(["Tolvan", "statuz", 'a"b', "a/b", "åäö", "x~y", "19121212-1212"]), min_size=1, unique=True),
    random=st.randoms(use_true_random=False),
)  # fmt: skip
def test_every_unknown_name_is_told_at_its_own_key_with_the_pointer_of_its_object_and_never_repeated(unknown, random):
    names = ["text", "time", *unknown]
    random.shuffle(names)
    note = dict.fromkeys(names, "2026")
    data = json.dumps({"resourceType": "Task", "status": "requested", "intent": "order", "note": [note]}, indent=1)
    lines = data.splitlines()
    found = [fault for fault in found_in(data.encode()) if fault.code == "fhir.unknown-element"]
    keys = [lines[fault.line - 1][fault.column - 1 :].partition(": ")[0] for fault in found]
    assert keys == [json.dumps(name) for name in names if name in unknown]
    assert {(fault.where, fault.pointer) for fault in found} == {("Task.note[0]", "/note/0")}
    assert not any(name in repr(fault) for fault in found for name in unknown)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["without a mark", "with a byte order mark"])
def test_xml_is_told_from_json_by_what_follows_the_byte_order_mark(run, mark):
    data = mark + b'\n<Task xmlns="http://hl7.org/fhir"><status value="x"/><intent value="order"/></Task>'
    (row,) = run("check", "-", "--format", "json", stdin=data).json()
    assert (row["code"], row["line"], row["column"]) == ("fhir.code", 2, 35)
    (row,) = run("check", "-", "--format", "json", stdin=mark + b"\n[1,").json()
    assert row["code"] == ("wire.bom" if mark else "wire.json")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_xml_in_another_encoding_is_refused_for_that(run, encoding):
    data = '<Task xmlns="http://hl7.org/fhir"/>'.encode(encoding)
    (row,) = run("check", "-", "--format", "json", stdin=data).json()
    assert (row["code"], row["why"]) == ("wire.encoding", "FHIR http.html#mime-type")


def test_a_diagnosis_is_no_fault_of_a_care_plan_until_the_rule_is_asked_for(run):
    plan = run("map", EXAMPLES / "care-plan.json").out
    assert run("check", "-", stdin=plan).code == 0
    ended = run("check", "-", "--rule", "koord-no-diagnosis", stdin=plan)
    assert ended.code == 1
    assert "fhir.diagnosis" in ended.text


def test_a_warning_is_no_finding_unless_it_is_asked_to_be(run, tmp_path):
    person = {"identity": {"kind": "personnummer", "number": "191212121213"}}
    path = written(tmp_path, intervention(patient=person))
    assert run("check", path).code == 1
    assert run("check", path, "--test").code == 0
    assert run("check", path, "--test", "--strict").code == 1
    assert run("check", INTERVENTION, "--strict").code == 0


@pytest.mark.parametrize("form", FORMS)
def test_every_form_ends_with_1_where_something_is_wrong_and_with_0_where_nothing_is(run, form):
    assert run("check", BROKEN, "--format", form).code == 1
    assert run("check", INTERVENTION, "--format", form).code == 0


@pytest.mark.parametrize("form", FORMS)
def test_no_form_holds_anything_that_a_person_wrote(run, tmp_path, form):
    content = bundle(run, status="Tolvan", reasonCode={"text": "Orkar sitta"}, Tolvan=1, description=7)
    ended = run("check", written(tmp_path, content), "--format", form)
    assert ended.code == 1
    assert "fhir.unknown-element" in ended.text


@pytest.mark.parametrize("form", FORMS)
def test_no_form_repeats_a_type_that_is_none(run, form):
    ended = run("check", "-", "--format", form, stdin=b'{"resourceType": "Tolvan"}')
    assert "fhir.resource-type" in ended.text


# held to profiles

KOORD = "https://koord.example/fhir/StructureDefinition/"


def test_a_profile_that_is_named_on_the_command_line_is_held_to_besides_those_that_the_resource_names(run):
    plain = run("check", BROKEN, "--format", "json").json()
    rows = run("check", BROKEN, "--format", "json", "--profile", f"{KOORD}koord-intervention").json()
    more = [row for row in rows if row["profile"]]
    assert {(row["code"], row["where"]) for row in more} >= {("profile.prohibited", "Task.reasonCode")}
    assert {row["profile"] for row in more} == {f"{KOORD}koord-intervention"}
    assert len(rows) == len(plain) + len(more)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("url", [f"{KOORD}koord-none", ""])
@pytest.mark.parametrize("file", [BROKEN, INTERVENTION])
def test_a_profile_that_nobody_knows_is_a_wrong_argument_in_every_form(run, form, url, file):
    ended = run("check", file, "--format", form, "--profile", url)
    assert (ended.code, ended.out) == (2, b"")
    assert "cli.unknown-profile" in ended.err


PROFILE = {
    "resourceType": "StructureDefinition",
    "url": "urn:example:described",
    "name": "Described",
    "status": "active",
    "kind": "resource",
    "abstract": False,
    "type": "Task",
    "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Task",
    "derivation": "constraint",
    "snapshot": {
        "element": [
            {"id": "Task", "path": "Task", "min": 0, "max": "*"},
            {"id": "Task.description", "path": "Task.description", "min": 1, "max": "1", "type": [{"code": "string"}]},
        ]
    },
}


def test_the_profiles_of_a_package_are_known_besides_ours(run, tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    written(package, PROFILE, "StructureDefinition-described.json")
    task = b'{"resourceType": "Task", "status": "requested", "intent": "order"}'
    of_package = ("--package", tmp_path, "--profile", PROFILE["url"], "--format", "json")
    assert [row["where"] for row in run("check", "-", *of_package, stdin=task).json()] == ["Task.description"]
    assert run("check", "-", *of_package, "--profile", f"{KOORD}koord-task", stdin=task).code == 1
    assert run("check", "-", "--profile", PROFILE["url"], stdin=task).code == 2


def test_a_folder_that_is_no_package_ends_with_3(run, tmp_path):
    ended = run("check", BROKEN, "--package", tmp_path)
    assert (ended.code, ended.out) == (3, b"")
    assert "profile.package" in ended.err


# for people


def test_the_text_tells_what_is_alike_once_with_all_its_places_and_ends_with_the_count(run, tmp_path):
    content = bundle(run, status="none", priority="none")
    content["entry"] += [{"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "gender": "none"}}] * 2
    ended = run("check", written(tmp_path, content))
    lines = ended.text.splitlines()
    assert lines[0] == str(tmp_path / "input.json")
    assert lines.count("  error fhir.code") == 1
    places = re.findall(r"\d+:\d+\s+\S+\.(\w+)\s+/\S+/(\w+)\s+\[R4 \S+\s+required\s+\S+/[a-z-]+\]", ended.text)
    assert places == [(name, name) for name in ("status", "priority", "gender", "gender")]
    assert re.fullmatch(r"\d+ errors in .*input\.json", lines[-2])
    assert max(map(len, lines)) <= 100


def test_several_files_are_counted_together_in_the_language_that_was_asked_for(run):
    shown = run("check", BROKEN, INTERVENTION, "none", "--language", "sv").text.splitlines()
    assert shown[-1] == "5 fel i 2 av 3 filer"
    assert f"4 fel i {BROKEN}" in shown
    assert f"{INTERVENTION}: Inga fel." in shown
    assert run("check", BROKEN, BROKEN).text.splitlines()[-1] == "8 errors in 2 of 2 files"


def test_sentences_are_broken_at_the_width_of_the_terminal(run):
    lines = run("check", BROKEN, columns="60").text.splitlines()
    sentences = [line for line in lines if "http" not in line and "/" not in line]
    assert max(map(len, sentences)) <= 60


# for programs


def test_check_gives_json_for_programs(run):
    rows = run("check", BROKEN, "--format", "json").json()
    assert {"fhir.code", "fhir.format", "fhir.gc001", "fhir.diagnosis"} == {row["code"] for row in rows}
    assert rows[0]["line"] == 3
    assert all(row["do"] and row["says"] and row["why"] and row["severity"] for row in rows)
    document = json.loads(BROKEN.read_text("utf-8"))
    for row in rows:
        assert row["pointer"].removeprefix("/") in document


def test_check_gives_an_operation_outcome_that_is_valid(run):
    for file in (BROKEN, INTERVENTION):
        outcome = run("check", file, "--format", "outcome")
        assert outcome.json()["resourceType"] == "OperationOutcome"
        assert run("check", "-", stdin=outcome.out).code == 0


def test_the_issues_of_several_files_name_their_file(run):
    issues = run("check", BROKEN, INTERVENTION, "none", "--format", "outcome").json()["issue"]
    assert [issue["diagnostics"].partition(": ")[0] for issue in issues] == [str(BROKEN)] * 4 + ["none"]
    assert (
        "Line 3, column 3, /status. [R4 Task.status required http://hl7.org/fhir/ValueSet/task-status] Use"
        in issues[0]["diagnostics"]
    )


def test_an_outcome_in_swedish_says_its_lines_in_swedish(run):
    issues = run("check", BROKEN, "--format", "outcome", "--language", "sv").json()["issue"]
    assert (
        "Rad 3, kolumn 3, /status. [R4 Task.status required http://hl7.org/fhir/ValueSet/task-status] Använd"
        in issues[0]["diagnostics"]
    )
    assert not any(word in issue["diagnostics"] for issue in issues for word in ("Line", "column", "guideline"))


# for test runners


SUITE = {"name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "time"}
"""What Ant's schema requires of a suite inside ``testsuites``. Jenkins' requires name, tests, failures and errors."""


def assert_junit(content):
    root = etree.fromstring(content)
    assert (root.tag, dict(root.attrib)) == ("testsuites", {})
    for number, suite in enumerate(root):
        assert suite.tag == "testsuite"
        assert set(suite.keys()) == SUITE
        assert suite.get("id") == str(number)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
        tags = [child.tag for child in suite]
        cases = suite.findall("testcase")
        assert tags == ["properties", *["testcase"] * len(cases), "system-out", "system-err"]
        failures = [case for case in cases if len(case)]
        assert (suite.get("tests"), suite.get("failures")) == (str(len(cases)), str(len(failures)))
        for case in cases:
            assert set(case.keys()) == {"name", "classname", "time"}
            assert len(case) <= 1
        for (failure,) in failures:
            assert failure.tag == "failure"
            assert set(failure.keys()) == {"type", "message"}
            assert failure.text.strip()
    return root


def test_junit_has_a_case_for_every_resource_and_fails_the_one_that_is_wrong(run, tmp_path):
    content = bundle(run, status="none")
    root = assert_junit(run("check", written(tmp_path, content), INTERVENTION, "--format", "junit").out)
    fhir, record = root
    number = next(n for n, each in enumerate(content["entry"]) if each["resource"]["resourceType"] == "Task")
    names = [case.get("name") for case in fhir.findall("testcase")]
    assert names == ["Bundle", *(f"Bundle.entry[{n}].resource" for n in range(len(content["entry"])))]
    (failed,) = (case for case in fhir.findall("testcase") if len(case))
    assert failed.get("name") == f"Bundle.entry[{number}].resource"
    assert f"Bundle.entry[{number}].resource.status" in failed[0].text
    assert record.get("failures") == "0"


def test_junit_has_a_case_for_every_record(run, tmp_path):
    (suite,) = assert_junit(
        run("check", written(tmp_path, [intervention(), intervention(note=7)]), "--format", "junit").out
    )
    assert [(case.get("name"), len(case)) for case in suite.findall("testcase")] == [("[0]", 0), ("[1]", 1)]


def test_in_junit_warnings_are_told_and_fail_only_if_strict(run, tmp_path):
    person = {"identity": {"kind": "personnummer", "number": "191212121213"}}
    path = written(tmp_path, intervention(patient=person))
    (lenient,) = assert_junit(run("check", path, "--test", "--format", "junit").out)
    (strict,) = assert_junit(run("check", path, "--test", "--format", "junit", "--strict").out)
    assert (lenient.get("failures"), strict.get("failures")) == ("0", "1")
    assert "record.check-digit" in lenient.find("system-out").text
    assert "record.check-digit" in strict.find("testcase/failure").text


@given(checked=CHECKED, strict=st.booleans())
def test_no_fault_is_missing_in_junit_and_whatever_files_are_called_it_is_xml(checked, strict):
    root = assert_junit(report.junit(checked, "en", strict=strict))
    for suite, each in zip(root, checked, strict=True):
        told = "".join(suite.itertext())
        for fault in each.faults:
            assert f" {fault.code}\n" in told
            assert fault.where in told
        failing = any(f.severity == "error" or (strict and f.severity == "warning") for f in each.faults)
        assert (suite.get("failures") != "0") == failing


# for scanners


def assert_sarif(log):
    """The required properties and value ranges of SARIF 2.1.0 for what we write."""
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "koord"
    assert re.fullmatch(r"[a-z]{2}", run["language"])
    assert run["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}
    rules = driver["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert rule["help"]["text"]
        assert not re.search(r"[{}]", rule["shortDescription"]["text"] + rule["help"]["text"])
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"none", "note", "warning", "error"}
        assert not re.search(r"(?<!\{)\{(?!\{)", result["message"]["text"].replace("{{", ""))
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert re.fullmatch(r"[\w.~:/?#\[\]@!$&'()*+,;=%-]+", physical["artifactLocation"]["uri"], re.ASCII)
        if "region" in physical:
            assert physical["region"].keys() == {"startLine", "startColumn"}
            assert min(physical["region"].values()) >= 1
        for logical in location.get("logicalLocations", ()):
            assert logical["fullyQualifiedName"]
    return run


def test_sarif_points_at_the_line_and_names_the_element_the_rule_and_what_to_do(run):
    found = assert_sarif(run("check", BROKEN, "--format", "sarif").json())
    first = found["results"][0]
    (location,) = first["locations"]
    assert (first["ruleId"], first["level"]) == ("fhir.code", "error")
    assert location["physicalLocation"]["region"] == {"startLine": 3, "startColumn": 3}
    assert unquote(location["physicalLocation"]["artifactLocation"]["uri"]).endswith(str(BROKEN))
    assert location["logicalLocations"] == [{"fullyQualifiedName": "Task.status"}]
    assert first["properties"] == {
        "rule": "R4 Task.status required http://hl7.org/fhir/ValueSet/task-status",
        "pointer": "/status",
    }
    assert "Use one of the value set's codes." in first["message"]["text"]


@given(checked=CHECKED, language=st.sampled_from(["sv", "en"]))
def test_every_fault_is_one_result_whatever_files_are_called(checked, language):
    found = assert_sarif(json.loads(json.dumps(report.sarif(checked, language))))
    assert [result["ruleId"] for result in found["results"]] == [
        fault.code for each in checked for fault in each.faults
    ]


@given(checked=CHECKED, language=st.sampled_from(["sv", "en"]))
def test_text_rows_and_outcome_tell_every_fault_too(checked, language):
    faults = [fault for each in checked for fault in each.faults]
    told = "\n".join(report.text(checked, language))
    told.encode()  # whatever files are called
    assert all(fault.code in told and fault.where in told and fault.profile in told for fault in faults)
    assert "\x1b" not in told
    assert [row["code"] for row in report.rows(checked, language)] == [fault.code for fault in faults]
    assert len(report.outcome(checked, language)["issue"]) == max(len(faults), 1)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_whose_name_is_no_text_is_checked_as_any_other(run, tmp_path, form):
    name = tmp_path / "bad\udcff\x1b[2J.json"
    shutil.copy(BROKEN, name)
    ended = run("check", name, name.with_name("none\udcff"), "--format", form)
    assert ended.code == 2
    assert "\x1b" not in ended.text
    assert "fhir.gc001" in ended.text


@pytest.mark.parametrize(("in_release", "read"), [("R5", "R4"), ("R4", "R5")])
def test_what_is_right_in_the_other_release_is_said_to_be(run, in_release, read):
    file = EXAMPLES.parent / "profiles" / "examples" / in_release.lower() / "koord-consent-collaborate.json"
    ended = run("check", "--release", read, file, "--format", "json")
    [told] = [row for row in ended.json() if row["code"] == "cli.other-release"]
    assert (told["severity"], in_release in told["says"]) == ("information", True)
    assert ended.code == 1
    broken = json.loads(file.read_bytes()) | {"status": "no-such"}
    assert "cli.other-release" not in run("check", "--release", read, "-", stdin=json.dumps(broken).encode()).text
