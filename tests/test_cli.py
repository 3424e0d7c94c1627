"""The command line: what goes in, what comes out, and with which exit code."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import jsonschema_rs
import pytest
import strategies
from hypothesis import HealthCheck, given, settings

from adapter.cli import convert, koord, terminal
from adapter.domain import RECORDS, written_record
from adapter.errors import codes
from adapter.store import Store, load_keys, outbox
from adapter.store.outbox import Dead
from adapter.tables import load

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
INTERVENTION, CONSENTS = str(EXAMPLES / "intervention.json"), str(EXAMPLES / "consents.json")
PROGRAM = [sys.executable, "-m", "adapter.cli"]
EMPLOYER = "arbetsgivare:5566778899"
IN_TIME = "2025-03-10T08:00:00+01:00"
PERSONAL = ["191212121212", "19121212-1212", "Tolvan", "Orkar sitta"]


@pytest.fixture
def run(monkeypatch, capsysbinary):
    """Run a command line in this process: exit code, standard output and standard error."""

    def run(*arguments, stdin=b"", language="en_US.UTF-8"):
        monkeypatch.setenv("LC_ALL", language)
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
        code = terminal.run(koord, [str(argument) for argument in arguments])
        out, err = capsysbinary.readouterr()
        assert not any(word in err.decode() for word in PERSONAL)
        return SimpleNamespace(code=code, out=out, text=out.decode(), err=err.decode(), json=lambda: json.loads(out))

    return run


@pytest.fixture
def region(tmp_path, run):
    """A new installation with one destination, an employer, whose address nobody listens at."""
    assert run("config", "init", tmp_path).code == 0
    with (tmp_path / "koord.toml").open("a") as file:
        file.write(
            '\n[[destinations]]\nid = "employer"\nrecipient = "arbetsgivare"\norganisation_number = "5566778899"\n'
            'url = "http://127.0.0.1:9/fhir"\nnetwork = "loopback"\nproduction = false\n'
        )
    return tmp_path / "koord.toml"


def commands(group=koord, path=()):
    for name in group.list_commands(None):
        yield (*path, name)
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from commands(command, (*path, name))


def intervention(**changes):
    return json.loads(Path(INTERVENTION).read_text("utf-8")) | changes


def written(folder, content, name="input.json"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content, indent=2).encode())
    return path


# the program


@pytest.mark.parametrize("path", [(), *commands()], ids=" ".join)
def test_every_command_explains_itself(run, path):
    shown = run(*path, "--help")
    assert shown.code == 0
    assert shown.err == ""
    assert len(shown.text.split("Usage: koord", 1)[1].splitlines()) > 4


def test_the_version_is_the_packages(run):
    assert re.fullmatch(r"koord \d+\.\d+\.\d+\n", run("--version").text)


def test_without_a_command_help_is_on_standard_error_and_the_usage_is_wrong(run):
    shown = run()
    assert (shown.code, shown.out) == (2, b"")
    assert "Commands:" in shown.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("--no-such-option",),
        ("map",),
        ("map", "a", "b"),
        ("map", INTERVENTION, "--format", "yaml"),
        ("check", INTERVENTION, "--language", "de"),
        ("check", EXAMPLES / "broken.json", "--rule", "no-such-rule"),
        ("filter", INTERVENTION),
        ("filter", INTERVENTION, "--to", EMPLOYER, "--consents", CONSENTS, "--purpose", "curiosity"),
        ("dead", "discard", "x"),
        ("dead", "no-such-command"),
        ("certs", "make", "x"),
        ("mock", "--no-such-option"),
    ],
    ids=str,
)
def test_a_command_line_that_is_not_understood_ends_with_2_and_one_line(run, arguments):
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, b"")
    assert ended.err.count("\n") == 1
    assert "cli.usage" in ended.err
    assert "--help`" in ended.err


def test_a_long_number_on_the_command_line_is_not_repeated(run):
    assert run("map", "x", "19121212-1212").code == 2
    assert run("map", "x", "191212121212").code == 2
    assert run("filter", INTERVENTION, "--to", "patient:191212121212", "--consents", CONSENTS).code == 2


@pytest.mark.parametrize("arguments", [("--language", "sv", "check"), ("check", "--language", "sv")])
def test_the_language_is_chosen_before_or_after_the_command(run, arguments):
    assert "Filen finns inte." in run(*arguments, "no-such-file").text


def test_the_language_is_the_machines_where_none_is_chosen(run):
    assert "Filen finns inte." in run("map", "no-such-file", language="sv_SE.UTF-8").err
    assert "There is no such file." in run("map", "no-such-file", language="C").err
    assert "There is no such file." in run("map", "no-such-file", "--language", "en", language="sv_SE.UTF-8").err


def test_an_error_in_the_program_tells_a_constant_reference_and_nothing_of_what_was_read(run, monkeypatch):
    def fail(*_):
        raise KeyError("191212121212 Tolvan")

    monkeypatch.setattr(convert, "_mapper", fail)
    first, second = run("map", INTERVENTION), run("map", INTERVENTION)
    assert (first.code, first.out) == (70, b"")
    assert re.search(r"cli\.internal: Internal error, reference [0-9a-f]{12}\.", first.err)
    assert first.err == second.err
    monkeypatch.setenv("KOORD_DEBUG", "1")
    shown = run("map", INTERVENTION)
    assert "adapter/cli/convert.py" in shown.err.splitlines()[-4]
    assert "KeyError" in shown.err


def test_a_reader_that_goes_away_is_no_error():
    program = subprocess.Popen([*PROGRAM, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    program.stdout.close()
    assert program.stderr.read() == b""
    program.stderr.close()
    assert program.wait(60) == terminal.GONE


def test_an_interrupted_command_ends_quietly():
    # A test run in the background of a shell hands on SIGINT ignored; a person's terminal does not.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    program = subprocess.Popen(
        [*PROGRAM, "map", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    signal.signal(signal.SIGINT, before)
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(2)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert (program.returncode, out, err.strip()) == (130, b"", b"")


def test_the_program_reads_a_pipe_and_writes_utf_8_whatever_the_terminal():
    done = subprocess.run(
        [*PROGRAM, "map", "-"],
        input=Path(INTERVENTION).read_bytes(),
        capture_output=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "Smärtrehabiliteringen Eken" in done.stdout.decode("utf-8")


# input


BAD_INPUT = {
    "empty": (b"", 1, "wire.json"),
    "text": (b"hello", 1, "wire.json"),
    "binary": (bytes(range(256)), 1, "wire.encoding"),
    "cut": (b'{"record": "Consent",\n "id": ', 1, "wire.json"),
    "twice": (b'{"record": "Offer",\n "record": "Offer"}', 1, "wire.duplicate-key"),
    "bom": (b"\xef\xbb\xbf{}", 1, "wire.bom"),
    "number": (b"191212121212", 1, "cli.neither"),
    "string": (b'"191212121212"', 1, "cli.neither"),
    "other": (b'{"191212121212": "Tolvan"}', 1, "cli.neither"),
    "no-list": (b'{"records": "Tolvan"}', 1, "cli.neither"),
    "none": (b"[]", 1, "cli.no-records"),
    "none-in-submission": (b'{"records": []}', 1, "cli.no-records"),
    "numbers": (b"[191212121212]", 1, "record.invalid"),
    "unknown-kind": (b'{"record": "Tolvan"}', 1, "record.unknown-kind"),
    "unknown-fields": (b'{"record": "Offer", "extra": 1, "191212121212": 2}', 1, "record.unknown-field"),
    "unknown-type": (b'{"resourceType": "Tolvan"}', 1, "fhir.resource-type"),
    "xml": (b"<a/>", 1, "wire."),
    "cut-xml": (b'<Task xmlns="http://hl7.org/fhir"><status', 1, "wire.xml"),
    "entity": (b'<!DOCTYPE a [<!ENTITY b "c">]><a/>', 1, "wire.doctype"),
    "deep": (b"[" * 5000, 1, "wire.depth"),
    "large": (b"[" + b" " * 6_000_000 + b"]", 1, "wire.too-long"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
@pytest.mark.parametrize("command", ["map", "check", "filter"])
def test_input_that_is_wrong_is_refused_by_code_and_place(run, tmp_path, command, name):
    content, exit_code, code = BAD_INPUT[name]
    more = ["--to", EMPLOYER, "--consents", CONSENTS] if command == "filter" else []
    ended = run(command, written(tmp_path, content), *more)
    assert ended.code == exit_code
    assert (f"error {code}" if command == "check" else f": {code}") in ended.text + ended.err
    if command == "check":
        assert ended.err == ""
        assert not any(word in ended.text for word in PERSONAL)
    else:
        assert ended.out == b""


@pytest.mark.parametrize("name", BAD_INPUT)
def test_send_refuses_the_same_and_stores_nothing(run, region, tmp_path, name):
    content, _, code = BAD_INPUT[name]
    ended = run("send", written(tmp_path, content), "--config", region)
    assert (ended.code, ended.out) == (1, b"")
    assert "cli.not-a-submission" in ended.err if name == "unknown-type" else code in ended.err
    assert not (region.parent / "koord.sqlite").exists()


@pytest.mark.parametrize("command", ["map", "check"])
def test_a_file_that_is_not_there_or_is_a_folder_ends_with_2(run, tmp_path, command):
    missing, folder = run(command, tmp_path / "none.json"), run(command, tmp_path)
    assert (missing.code, folder.code) == (2, 2)
    assert "cli.no-such-file" in missing.text + missing.err
    assert "cli.unreadable-file" in folder.text + folder.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_ends_with_2(run, tmp_path):
    path = written(tmp_path, {})
    path.chmod(0)
    assert run("map", path).code == 2


# map


@pytest.mark.parametrize("form", ["json", "xml"])
@pytest.mark.parametrize("name", ["intervention", "care-plan", "consents"])
def test_mapping_there_and_back_gives_the_same_file(run, tmp_path, name, form):
    file = EXAMPLES / f"{name}.json"
    there = run("map", file, "--format", form)
    assert (there.code, there.err) == (0, "")
    assert run("check", "-", stdin=there.out).code == 0
    back = run("map", "-", stdin=there.out)
    assert (back.code, back.err) == (0, "")
    assert back.out == file.read_bytes()


@pytest.mark.parametrize("form", ["json", "xml"])
@pytest.mark.parametrize("name", ["intervention", "care-plan", "consents"])
def test_fhir_becomes_fhir_of_the_other_release_and_comes_back_the_same(run, name, form):
    file = EXAMPLES / f"{name}.json"
    in_r4 = run("map", file, "--format", form)
    in_r5 = run("map", "-", "--release", "R5", "--format", form, stdin=in_r4.out)
    assert (in_r5.code, in_r5.err) == (0, "")
    assert in_r5.out == run("map", file, "--release", "R5", "--format", form).out
    assert run("check", "-", "--release", "R5", stdin=in_r5.out).code == 0
    assert run("map", "-", "--release", "R4", "--format", form, stdin=in_r5.out).out == in_r4.out
    assert run("map", "-", "--from", "R5", stdin=in_r5.out).out == file.read_bytes()


def test_what_a_release_cannot_hold_is_named_on_standard_error(run):
    consents = json.loads(Path(CONSENTS).read_text("utf-8"))
    given = {**consents[0], "given_on": "2025-02-03T23:30:00Z", "informed_on": "2025-02-01"}
    in_r4 = run("map", "-", stdin=json.dumps(given).encode())
    in_r5 = run("map", "-", "--release", "R5", stdin=in_r4.out)
    assert in_r5.code == 0
    assert "mapping.narrowed" in in_r5.err
    assert "given_on" in in_r5.err
    assert run("map", "-", "--from", "R5", stdin=in_r5.out).json() == {**given, "given_on": "2025-02-04"}, "in Sweden"


def test_fhir_of_one_release_is_not_fhir_of_the_other(run):
    in_r5 = run("map", CONSENTS, "--release", "R5").out
    assert run("check", "-", stdin=in_r5).code == 1
    assert run("map", "-", stdin=in_r5).code == 1


def test_what_a_recipient_gets_is_shown_in_the_release_that_it_reads(run):
    asked = ("filter", INTERVENTION, "--consents", CONSENTS, "--at", IN_TIME, "--to", EMPLOYER)
    shown = run(*asked, "--release", "R5")
    assert shown.code == 0
    assert run("check", "-", "--release", "R5", stdin=shown.out).code == 0


@given(record=strategies.records())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_record_comes_back_the_same_from_two_maps(run, record):
    document = written_record(record)
    there = run("map", "-", "--test", "--format", "xml", stdin=json.dumps(document).encode())
    again = run("map", "-", "--test", stdin=there.out)
    assert (there.code, again.code) == (0, 0)
    assert again.json() == document


def test_the_records_of_a_submission_are_mapped_with_shared_parties_once(run):
    bundle = run("map", EXAMPLES / "submission.json").json()
    types = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    assert types.count("Patient") == 1
    assert (types.count("Consent"), types.count("Task")) == (2, 1)
    names = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(names) == len(set(names))


def test_two_records_of_one_id_do_not_fit_in_one_bundle(run, tmp_path):
    ended = run("map", written(tmp_path, [intervention(), intervention(version=2)]))
    assert ended.code == 1
    assert "cli.same-record" in ended.err


def test_what_the_records_cannot_hold_is_named_by_place_line_and_column(run, tmp_path):
    bundle = run("map", INTERVENTION).json()
    task = next(each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == "Task")
    task["description"] = "Tolvan"
    path = written(tmp_path, bundle)
    mapped = run("map", path)
    assert mapped.code == 0
    assert mapped.json() == intervention()
    line = 1 + path.read_text().splitlines().index('        "description": "Tolvan"')
    assert mapped.err.startswith(f"warning: Task.description (line {line}, column 9): mapping.lost: ")


def test_the_trace_has_a_line_for_every_value_with_row_field_path_and_category(run):
    rows = run("map", INTERVENTION, "--trace", "--json").json()
    assert all(row.keys() == {"row", "field", "path", "category"} for row in rows)
    assert {"note", "id.value", "met[].contact", "channel"} <= {row["field"] for row in rows}
    text = run("map", INTERVENTION, "--trace")
    assert text.text.splitlines()[0].split() == ["row", "field", "path", "category"]
    assert len(text.text.splitlines()) == 1 + len(rows)
    assert not any(word in text.text for word in PERSONAL)


def test_the_trace_of_fhir_is_that_of_its_records(run):
    there = run("map", INTERVENTION)
    assert run("map", "-", "--trace", stdin=there.out).out == run("map", INTERVENTION, "--trace").out


def test_a_wrong_check_digit_refuses_and_in_test_mode_warns(run, tmp_path):
    person = {"identity": {"kind": "personnummer", "number": "191212121213"}}
    path = written(tmp_path, intervention(patient=person))
    refused, passed = run("map", path), run("map", path, "--test")
    assert (refused.code, passed.code) == (1, 0)
    assert "record.invalid" in refused.err
    assert passed.err.startswith("warning: patient.identity (line 14, column 5): record.check-digit")
    assert "191212121213" not in refused.err + passed.err


def test_fhir_that_is_wrong_is_not_mapped(run):
    ended = run("map", EXAMPLES / "broken.json")
    assert (ended.code, ended.out) == (1, b"")
    assert "Task.status (line 3, column 3): fhir.code" in ended.err


def test_fhir_without_a_record_of_coordination_is_told(run):
    ended = run("map", "-", stdin=b'{"resourceType": "Patient", "gender": "male"}')
    assert ended.code == 1
    assert "mapping.no-record" in ended.err


# filter


def filtered(run, *more, file=INTERVENTION, to=EMPLOYER, consents=CONSENTS, at=IN_TIME):
    return run("filter", file, "--to", to, "--consents", consents, "--at", at, *more)


@pytest.mark.parametrize("form", ["json", "xml"])
def test_an_employer_gets_its_meeting_and_no_more(run, form):
    shown = filtered(run, "--format", form)
    assert (shown.code, shown.err) == (0, "")
    assert "Hanna Hansson" in shown.text
    for hidden in ("191212121212", "Smärtrehabiliteringen", "Orkar sitta", "2021005521", "Frida"):
        assert hidden not in shown.text
    assert run("check", "-", stdin=shown.out).code == 0


@pytest.mark.parametrize(
    ("to", "at", "code"),
    [
        ("forsakringskassan:2021005521", IN_TIME, "gate.record-not-for-recipient"),
        ("arbetsgivare:2321000016", IN_TIME, "gate.consent-for-another"),
        (EMPLOYER, "2025-03-02", "gate.consent-not-yet"),
    ],
)
def test_what_is_withheld_ends_with_5_reason_and_law(run, to, at, code):
    shown = filtered(run, to=to, at=at)
    assert (shown.code, shown.out) == (5, b"")
    assert f": {code}: " in shown.err
    assert re.search(r"\[[^]]*(lag \(2019:1297\)|OSL)[^]]*\]", shown.err)


def test_without_consents_nothing_leaves(run, tmp_path):
    shown = filtered(run, consents=written(tmp_path, []))
    assert (shown.code, shown.out) == (5, b"")
    assert "gate.no-consent" in shown.err


def test_consents_of_another_patient_open_nothing(run, tmp_path):
    other = json.loads(Path(CONSENTS).read_text("utf-8"))
    for consent in other:
        consent["patient"]["identity"]["number"] = "197705232382"
    assert filtered(run, consents=written(tmp_path, other)).code == 5


def test_consents_may_come_as_fhir(run, tmp_path):
    bundle = written(tmp_path, run("map", CONSENTS, "--format", "xml").out, "consents.xml")
    assert filtered(run, consents=bundle).code == 0


def test_consents_that_are_something_else_are_refused(run):
    shown = filtered(run, consents=INTERVENTION)
    assert shown.code == 1
    assert "cli.not-consents" in shown.err


def test_the_explanation_takes_the_place_of_the_bytes(run):
    text, document = filtered(run, "--explain"), filtered(run, "--explain", "--json")
    assert "permitted (PERMITTED)" in text.text
    assert document.json()["decision"] == "permit"
    assert not any(word in text.text + document.text for word in PERSONAL)
    denied = filtered(run, "--explain", "--json", to="arbetsgivare:2321000016")
    assert denied.code == 5
    assert denied.json()["reason"] == "CONSENT_FOR_ANOTHER"
    assert "nekas" in filtered(run, "--explain", "--language", "sv", to="arbetsgivare:2321000016").text


def test_the_patient_gets_everything(run):
    shown = filtered(run, to="patient")
    assert shown.code == 0
    assert "Orkar sitta" in shown.text


def test_fhir_is_filtered_as_its_records_are(run, tmp_path):
    bundle = written(tmp_path, run("map", INTERVENTION).out)
    assert without_ids(filtered(run, file=bundle).text) == without_ids(filtered(run).text)


def test_of_several_records_each_body_is_a_line_and_what_is_withheld_is_told(run):
    shown = filtered(run, file=EXAMPLES / "submission.json")
    assert shown.code == 0
    assert [json.loads(line)["resourceType"] for line in shown.text.splitlines()] == ["Bundle"]
    assert shown.err.count("gate.record-not-for-recipient") == 2


@pytest.mark.parametrize(
    "to", ["", ":", "arbetsgivare", "arbetsgivare:", "arbetsgivare:123", "arbetsgivare:5566778890", "granne:5566778899",
           "patient:x", "vard:TSTNMT", ":5566778899", "arbetsgivare:５５６６７７８８９９"]
)  # fmt: skip
def test_a_recipient_that_is_none_ends_with_2(run, to):
    shown = filtered(run, to=to)
    assert (shown.code, shown.out) == (2, b"")
    assert "cli.bad-recipient" in shown.err


@pytest.mark.parametrize("at", ["yesterday", "2025-02-30", "2025-03-10T08:00:00", "191212121212", ""])
def test_a_time_that_is_none_ends_with_2(run, at):
    shown = filtered(run, at=at)
    assert (shown.code, shown.out) == (2, b"")
    assert "cli.bad-time" in shown.err


# schema and tables


@pytest.mark.parametrize("name", ["intervention", "care-plan", "consents"])
def test_the_schema_accepts_the_examples_and_refuses_an_unknown_field(run, name):
    schema = jsonschema_rs.validator_for(run("schema").json())
    documents = json.loads((EXAMPLES / f"{name}.json").read_text("utf-8"))
    for document in documents if isinstance(documents, list) else [documents]:
        assert schema.is_valid(document)
        assert not schema.is_valid(document | {"diagnosis_hidden": "x"})
        assert jsonschema_rs.is_valid(run("schema", document["record"]).json(), document)


def test_every_kind_of_record_has_a_schema_and_nothing_else_has(run):
    assert all(run("schema", kind).code == 0 for kind in RECORDS)
    ended = run("schema", "Tolvan2")
    assert ended.code == 2
    assert "Intervention" in ended.err


def test_the_mapping_pages_in_the_documentation_are_those_of_the_tables(run):
    assert run("tables", "--check", "--out", ROOT / "docs" / "mapping").code == 0


def test_a_page_that_is_stale_missing_or_too_many_is_found(run, tmp_path):
    assert run("tables", "--out", tmp_path).code == 0
    assert run("tables", "--out", tmp_path, "--check").code == 0
    (tmp_path / "consent.md").write_text("old")
    (tmp_path / "block.md").unlink()
    (tmp_path / "more.md").write_text("new")
    ended = run("tables", "--out", tmp_path, "--check")
    assert ended.code == 1
    assert [line.split(": ")[1].rpartition("/")[2] for line in ended.err.splitlines()] == [
        "block.md",
        "consent.md",
        "more.md",
    ]


def test_the_tables_are_printed_and_a_folder_that_cannot_be_made_is_told(run, tmp_path):
    assert run("tables").text.count("| record field | FHIR path |") == len(load().records) + len(load().parties)
    assert run("tables", "--out", written(tmp_path, b"")).code == 2


# an installation


def test_an_installation_starts_well_and_nothing_of_it_is_replaced(run, tmp_path):
    made = run("config", "init", tmp_path / "new").json()
    assert {Path(path).stat().st_mode & 0o777 for path in [made["config"], *made["keys"]]} == {0o600}
    before = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    again = run("config", "init", tmp_path / "new")
    assert again.code == 3
    assert "config.exists" in again.err
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == before
    assert run("config", "check", "--config", made["config"]).code == 0


def test_the_settings_are_shown_without_secrets_and_with_what_the_environment_says(run, region, monkeypatch):
    monkeypatch.setenv("KOORD_SERVER__PORT", "8555")
    monkeypatch.setenv("KOORD_CONFIG", str(region))
    monkeypatch.setenv("KOORD_DEBUG", "1")
    shown = run("config", "show")
    assert shown.json()["server"]["port"] == 8555
    assert (region.parent / "store.keys").read_text().split('"')[1] not in shown.text


@pytest.mark.parametrize(
    "command",
    [("config", "check"), ("config", "show"), ("send", INTERVENTION), ("queue",), ("dead", "list"), ("audit", "verify"),
     ("serve",), ("worker",), ("doctor",)],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("content", [None, b"not toml =", b"mode = 'test'", b"\xff"])
def test_settings_that_are_missing_or_wrong_end_with_3(run, tmp_path, command, content):
    path = tmp_path / "koord.toml"
    if content is not None:
        path.write_bytes(content)
    ended = run(*command, "--config", path)
    assert ended.code == 3
    assert "config." in ended.err + ended.text


def test_a_message_that_cannot_be_delivered_stays_and_ends_with_4(run, region):
    sent = run("send", EXAMPLES / "submission.json", "--config", region, "--wait")
    assert sent.code == 4
    (message,) = sent.json()["messages"]
    assert (message["state"], message["reason"]) == ("queued", "peer.unreachable")
    assert "cli.not-delivered" in sent.err
    (queue,) = run("queue", "--config", region, "--json").json()
    assert (queue["destination"], queue["queued"], queue["dead"]) == ("employer", 1, 0)
    assert run("queue", "--config", region).text.splitlines()[1].split()[:2] == ["employer", "1"]


def test_a_message_that_the_gate_withholds_ends_with_5(run, region):
    sent = run("send", INTERVENTION, "--to", "employer", "--config", region, "--wait")
    assert sent.code == 5
    assert sent.json()["messages"][0]["state"] == "withheld"
    assert "cli.withheld" in sent.err


def test_what_is_only_sent_is_stored_and_queued_once_for_each_destination(run, region):
    sent = run("send", "-", "--to", "employer", "--config", region, stdin=Path(CONSENTS).read_bytes())
    assert (sent.code, sent.err) == (0, "")
    assert [each["state"] for each in sent.json()["records"]] == ["stored", "stored"]
    assert [each["to"] for each in sent.json()["messages"]] == ["employer", "employer"]


def test_a_submission_may_send_what_was_accepted_before(run, region):
    assert run("send", INTERVENTION, "--config", region).code == 0
    document = {"send": [{"record": intervention()["id"], "to": ["employer"]}], "records": []}
    assert len(run("send", "-", "--config", region, stdin=json.dumps(document).encode()).json()["messages"]) == 1


@pytest.mark.processes
def test_a_message_is_delivered_to_a_receiver_that_listens(run, region, tmp_path):
    receiver = subprocess.Popen(
        [*PROGRAM, "mock", "--folder", str(tmp_path / "held")], stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        url = json.loads(receiver.stdout.readline())["ready"]
        region.write_text(region.read_text().replace("http://127.0.0.1:9/fhir", f"{url}/fhir"))
        assert run("doctor", "--config", region).code == 0
        sent = run("send", EXAMPLES / "submission.json", "--config", region, "--wait")
        assert (sent.code, sent.err) == (0, "")
        assert sent.json()["messages"][0]["state"] == "delivered"
        shown = run("dead", "show", sent.json()["messages"][0]["id"], "--config", region).json()
        assert [attempt["status"] for attempt in shown["attempts"]] == ["delivered"]
    finally:
        receiver.terminate()
        receiver.wait(30)
        receiver.stdout.close()


@pytest.mark.processes
def test_a_worker_delivers_what_is_queued_and_stops_when_told(run, region, tmp_path):
    receiver = subprocess.Popen(
        [*PROGRAM, "mock", "--folder", str(tmp_path / "held")], stdout=subprocess.PIPE, cwd=ROOT
    )
    worker = None
    try:
        url = json.loads(receiver.stdout.readline())["ready"]
        region.write_text(region.read_text().replace("http://127.0.0.1:9/fhir", f"{url}/fhir"))
        (message,) = run("send", EXAMPLES / "submission.json", "--config", region).json()["messages"]
        worker = subprocess.Popen([*PROGRAM, "worker", "--config", str(region)], stderr=subprocess.PIPE, cwd=ROOT)
        for _ in range(600):
            if run("dead", "show", message["id"], "--config", region).json()["state"] == "delivered":
                break
        worker.send_signal(signal.SIGTERM)
        _, err = worker.communicate(timeout=60)
        assert (worker.returncode, err) == (0, b"")
        assert run("dead", "show", message["id"], "--config", region).json()["state"] == "delivered"
    finally:
        for program in (receiver, worker):
            if program is not None:
                program.kill()
                program.wait(30)
        receiver.stdout.close()


def test_the_dead_are_listed_shown_released_and_discarded_by_somebody_for_a_reason(run, region):
    sent = run("send", EXAMPLES / "submission.json", "--config", region).json()
    message = sent["messages"][0]["id"]
    kill(region.parent)
    (row,) = run("dead", "list", "--config", region, "--json").json()
    assert (row["message"], row["state"], row["reason"]) == (message, "dead", "peer.rejected")
    assert message in run("dead", "list", "--config", region).text
    assert run("dead", "list", "--config", region, "--destination", "other", "--json").json() == []
    shown = run("dead", "show", message, "--config", region)
    assert shown.json()["attempts"][0]["status"] == "dead"
    assert not any(word in shown.text for word in PERSONAL)
    assert run("dead", "release", message, "--why", "fixed", "--config", region).json()["state"] == "queued"
    assert run("dead", "release", message, "--why", "again", "--config", region).code == 1
    assert run("dead", "discard", message, "--why", "given up", "--config", region).json()["state"] == "discarded"
    assert run("dead", "show", "no-such-message", "--config", region).code == 1
    with store(region.parent) as opened:
        rows = opened.read(lambda tx: tx.all("SELECT event, who FROM audit ORDER BY sequence")).result()
    assert [event for event, _ in rows[-2:]] == ["message.released", "message.discarded"]
    assert all(who.startswith("operator:") for _, who in rows[-2:])


def test_test_certificates_are_made_once(run, tmp_path):
    made = run("certs", "make", tmp_path / "pki", "--hsa-id", "TSTNMT2321000016-S001", "--host", "adapter.example")
    assert made.code == 0
    paths = [
        Path(made.json()["ca"]),
        *(Path(p) for part in ("server", "client", "token") for p in made.json()[part].values()),
    ]
    assert all(path.is_file() for path in paths)
    again = run("certs", "make", tmp_path / "pki", "--hsa-id", "TSTNMT2321000016-S001")
    assert again.code == 3
    assert "config.exists" in again.err


# doctor


def findings(run, config):
    ended = run("doctor", "--config", config, "--json")
    assert ended.err == ""
    return ended.code, {row["code"]: row["status"] for row in ended.json()}


def test_a_new_installation_is_well_but_for_a_peer_that_is_down(run, region):
    code, found = findings(run, region)
    assert code == 4
    assert found.pop("peer.unreachable") == "failed"
    assert set(found.values()) == {"ok"}
    assert not (region.parent / "koord.sqlite").exists()
    told = run("doctor", "--config", region, "--language", "sv").text
    assert re.search(r"^fel +employer: .*\(peer\.unreachable\)$", told, re.MULTILINE)


def test_doctor_finds_keys_that_others_can_read(run, region):
    (region.parent / "store.keys").chmod(0o644)
    code, found = findings(run, region)
    assert (code, found["config.file-exposed"]) == (3, "failed")


def test_doctor_finds_a_store_of_other_keys_and_one_that_is_damaged(run, region):
    run("send", CONSENTS, "--config", region)
    assert "doctor.store" in findings(run, region)[1]
    path = region.parent / "koord.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    code, found = findings(run, region)
    assert code == 6
    assert {"doctor.store-broken", "store.corrupt", "store.failed"} & found.keys()
    path.write_bytes(whole)
    (region.parent / "store.keys").unlink()
    other = region.parent / "other"
    run("config", "init", other)
    (other / "store.keys").rename(region.parent / "store.keys")
    assert "store.wrong-key" in findings(run, region)[1]


def test_doctor_finds_codes_of_the_region_that_do_not_fit(run, region):
    (region.parent / "codes.toml").write_text('[[code]]\ntable = "none"\nkey = "a"\ncode = "b"\n')
    region.write_text(region.read_text().replace('# overlays = ["codes.toml"]', 'overlays = ["codes.toml"]'))
    code, found = findings(run, region)
    assert (code, found["mapping.overlay"]) == (3, "failed")


def test_codes_that_fit_r4_and_not_r5_are_told_before_anybody_calls(run, region):
    overlay = region.parent / "codes.toml"
    overlay.write_text('[[code]]\ntable = "consent-state-r5"\nkey = "given"\ncode = "proposed"\n')
    region.write_text(region.read_text().replace('# overlays = ["codes.toml"]', 'overlays = ["codes.toml"]'))
    assert load("R4", (overlay,))
    code, found = findings(run, region)
    assert (code, found["mapping.profile"]) == (3, "failed")
    for command in (("config", "check"), ("serve",), ("worker",)):
        ended = run(*command, "--config", region)
        assert (ended.code, "mapping.profile" in ended.err, "R5" in ended.err) == (3, True, True)


def test_doctor_finds_a_clock_that_is_behind_the_store(run, region):
    run("send", CONSENTS, "--config", region)
    ahead = (datetime.now(UTC) + timedelta(days=1)).timestamp()
    os.utime(region.parent / "koord.sqlite", (ahead, ahead))
    assert findings(run, region)[1]["doctor.clock-behind"] == "failed"


@pytest.mark.parametrize("wrong", ["network", "name"])
def test_doctor_tells_why_an_address_cannot_be_sent_to(run, region, wrong):
    text = region.read_text()
    change = {
        "network": ("http://127.0.0.1:9", "https://localhost:9"),
        "name": ("http://127.0.0.1:9", "https://none.invalid"),
    }
    token = run("certs", "make", region.parent / "pki", "--hsa-id", "TSTNMT2321000016-S001").json()["client"]
    network = 'network = "public"' if wrong == "network" else 'network = "loopback"'
    tls = f'tls = {{ certificate = "{token["certificate"]}", key = "{token["key"]}" }}\n'
    region.write_text(text.replace(*change[wrong]).replace('network = "loopback"', network) + tls)
    code, found = findings(run, region)
    assert code == 4
    assert found["doctor.certificate-ends"] == "warning"
    assert ("peer.address-refused" if wrong == "network" else "peer.unreachable") in found


@pytest.mark.processes
def test_doctor_shakes_hands_with_a_peer_and_tells_when_trust_is_missing(run, region, tmp_path):
    pki = run("certs", "make", tmp_path / "pki", "--hsa-id", "TSTNMT2321000016-S001").json()
    other = run("certs", "make", tmp_path / "other", "--hsa-id", "TSTNMT2321000016-S001").json()
    server = ["--cert", pki["server"]["certificate"], "--key", pki["server"]["key"], "--ca", pki["ca"]]
    receiver = subprocess.Popen([*PROGRAM, "mock", "--folder", str(tmp_path / "held"), *server], stdout=subprocess.PIPE)
    try:
        url = json.loads(receiver.stdout.readline())["ready"]
        plain = region.read_text().replace("http://127.0.0.1:9/fhir", f"{url}/fhir")
        for ca, client, expected in (
            (pki, pki, None),
            (other, pki, "peer.certificate"),
            (pki, other, "peer.certificate"),
        ):
            named = {"ca": ca["ca"], **client["client"]}
            tls = ", ".join(f'{name} = "{path}"' for name, path in named.items())
            region.write_text(f"{plain}tls = {{ {tls} }}\n")
            code, found = findings(run, region)
            assert (code, expected in found) == ((4, True) if expected else (0, False))
    finally:
        receiver.terminate()
        receiver.wait(30)
        receiver.stdout.close()


# the documentation


def documented():
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        yield from (line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))


@pytest.mark.processes
def test_the_commands_of_the_documentation_end_as_it_says(tmp_path):
    (tmp_path / "examples").symlink_to(EXAMPLES)
    (tmp_path / "koord").write_text(f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n')
    (tmp_path / "koord").chmod(0o755)
    told = list(documented())
    assert len(told) > 25
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    for line in told:
        command, _, expected = line.partition("  # ends with ")
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert done.returncode == int(expected or 0), (line, done.stderr.decode())
        if not expected:
            assert done.stderr == b"", line


def test_every_command_is_documented():
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for path in commands():
        assert f"koord {' '.join(path)}" in text or f"`{path[-1]}" in text, path


def test_every_code_that_the_command_line_uses_is_in_the_catalogue():
    source = "".join(path.read_text("utf-8") for path in (ROOT / "adapter" / "cli").glob("*.py"))
    used = set(re.findall(r'"((?:cli|doctor)\.[a-z-]+)"', source))
    known = {code for code in codes() if code.partition(".")[0] in {"cli", "doctor"}}
    assert used == known


def without_ids(text):
    return re.sub(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", "id", text)


def store(folder):
    return Store.open(folder / "koord.sqlite", load_keys(folder / "store.keys"))


def kill(folder):
    """The peer will not have the first message in the queue."""
    now = datetime.now(UTC)
    with store(folder) as opened:
        (claim,) = opened.write(outbox.claim, owner="test", now=now, lease=timedelta(minutes=1), limit=1).result()
        opened.write(outbox.complete, claim, Dead("peer.rejected"), attempt=None, entries=[], now=now).result()
