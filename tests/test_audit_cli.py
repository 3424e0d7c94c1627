"""``koord audit`` as it is typed."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from adapter.cli import koord, terminal
from adapter.store import Store, audit, checkpoints, load_keys
from adapter.validation import validate

EXAMPLES = Path(__file__).parents[1] / "examples"
PATIENT, DASHED, NOBODY = "191212121212", "19121212-1212", "195009072553"


@pytest.fixture
def run(monkeypatch, capsysbinary):
    """Run a command line in this process; no number of a person may come out anywhere."""

    def run(*arguments, stdin=b"", language="en_US.UTF-8", tty=False):
        monkeypatch.setenv("LC_ALL", language)
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(stdin), isatty=lambda: tty))
        code = terminal.run(koord, [str(argument) for argument in arguments])
        out, err = capsysbinary.readouterr()
        for number in (PATIENT, DASHED, NOBODY):
            assert number.encode() not in out + err
        return SimpleNamespace(code=code, out=out, text=out.decode(), err=err.decode(), json=lambda: json.loads(out))

    return run


@pytest.fixture
def config(tmp_path, run):
    """An installation that has accepted the records of the examples about one patient."""
    assert run("config", "init", tmp_path / "region").code == 0
    path = tmp_path / "region" / "koord.toml"
    assert run("send", EXAMPLES / "consents.json", "--config", path).code == 0
    return path


def store(config):
    return Store.open(config.parent / "koord.sqlite", load_keys(config.parent / "store.keys"))


def change(config, sql):
    with store(config) as opened:
        opened.write(lambda tx: tx.run(sql)).result()


def events(config):
    with store(config) as opened:
        return [each.entry for each in opened.read(audit.entries, limit=1000).result()]


# verify, checkpoint, key


def test_a_log_is_signed_and_verified(run, config):
    before = run("audit", "verify", "--config", config).json()
    assert (before["rows"], before["proved"], before["checkpoints"], before["breaks"]) == (2, 0, 0, 0)
    line = run("audit", "checkpoint", "--config", config).out
    assert line == (config.parent / "checkpoints.jsonl").read_bytes()
    after = run("audit", "verify", "--config", config).json()
    assert (after["rows"], after["proved"], after["checkpoints"], after["breaks"]) == (2, 2, 1, 0)
    assert checkpoints.from_line(line).head.hex() == after["head"]
    assert run("audit", "checkpoint", "--config", config).out == line  # nothing is new


def test_an_empty_log_has_nothing_to_sign(run, tmp_path):
    assert run("config", "init", tmp_path).code == 0
    assert run("audit", "checkpoint", "--config", tmp_path / "koord.toml").out == b""


@pytest.mark.parametrize(
    ("sql", "place"),
    [
        ("UPDATE audit SET who = 'nobody' WHERE sequence = 1", "audit[1]"),
        ("DELETE FROM audit WHERE sequence = 1", "audit[2]"),
        ("DELETE FROM audit WHERE sequence = 2", "audit[1]"),
        ("UPDATE audit_checkpoint SET rows = 1", "checkpoint[1]"),
        ("DELETE FROM audit_checkpoint", "checkpoint[1]"),
    ],
)
def test_a_log_that_was_changed_ends_with_6_and_every_place_is_named(run, config, sql, place):
    run("audit", "checkpoint", "--config", config)
    change(config, sql)
    ended = run("audit", "verify", "--config", config)
    assert ended.code == 6
    assert f"{place}: cli.audit-broken" in ended.err
    assert ended.json()["breaks"] == len(ended.err.splitlines()) > 0


def test_a_log_cut_off_with_its_checkpoints_is_found_by_what_was_kept_elsewhere(run, config, tmp_path):
    (tmp_path / "kept").write_bytes(run("audit", "checkpoint", "--config", config).out)
    change(config, "DELETE FROM audit WHERE sequence = 2")
    change(config, "DELETE FROM audit_checkpoint")
    (config.parent / "checkpoints.jsonl").write_bytes(b"")
    assert run("audit", "verify", "--config", config).code == 0
    ended = run("audit", "verify", "--config", config, "--checkpoint", tmp_path / "kept")
    assert ended.code == 6
    assert "truncated" in ended.err


def test_a_file_of_checkpoints_that_is_gone_or_damaged_is_told(run, config):
    path = config.parent / "checkpoints.jsonl"
    run("audit", "checkpoint", "--config", config)
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    ended = run("audit", "verify", "--config", config)
    assert (ended.code, "checkpoint[2]" in ended.err) == (6, True)
    path.unlink()
    ended = run("audit", "verify", "--config", config)
    assert (ended.code, "checkpoint[0]" in ended.err) == (6, True)


def test_an_export_is_verified_without_the_installation(run, config, tmp_path):
    log, public = tmp_path / "log.jsonl", tmp_path / "audit.pub"
    public.write_bytes(run("audit", "key", "--config", config).out)
    assert load_pem_public_key(public.read_bytes())
    log.write_bytes(run("audit", "export", "--config", config).out)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes((config.parent / "checkpoints.jsonl").read_bytes())
    for file in config.parent.iterdir():
        file.unlink()
    found = run("audit", "verify", log, "--public-key", public, "--checkpoint", elsewhere)
    assert (found.code, found.json()["rows"], found.json()["proved"], found.err) == (0, 3, 3, "")
    whole = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(whole).replace(b"record.accepted", b"record.received", 1))
    assert run("audit", "verify", log, "--public-key", public).code == 6
    log.write_bytes(b"".join(whole[:2]))
    assert run("audit", "verify", log, "--public-key", public).code == 0
    assert run("audit", "verify", log, "--public-key", public, "--checkpoint", elsewhere).code == 6
    log.write_bytes(b"".join(whole[1:]))
    assert run("audit", "verify", log, "--public-key", public).code == 6
    assert run("audit", "verify", log, "--public-key", public, "--part").code == 0


def test_an_export_can_be_verified_with_the_installations_own_key(run, config, tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_bytes(run("audit", "export", "--config", config).out)
    assert run("audit", "verify", log, "--config", config).json()["proved"] == 3


def test_a_public_key_that_is_none_ends_with_3(run, config, tmp_path):
    (tmp_path / "no.pub").write_bytes(b"no key")
    ended = run("audit", "verify", "--config", config, "--public-key", tmp_path / "no.pub")
    assert (ended.code, "config.bad-key" in ended.err) == (3, True)


def test_doctor_says_whether_the_log_is_signed(run, config):
    def found():
        return {each["code"] for each in run("doctor", "--config", config, "--json").json() if "log" in each["code"]}

    assert found() == {"doctor.log"}
    text = config.read_text()
    config.write_text(text[: text.index("[audit]")] + text[text.index("[server]") :])
    assert found() == {"doctor.log-unsigned"}


@pytest.mark.parametrize("command", ["checkpoint", "key"])
def test_without_a_key_nothing_is_signed_and_that_is_told(run, config, command):
    text = config.read_text()
    start = text.index("[audit]")
    config.write_text(text[:start] + text[text.index("[server]") :])
    ended = run("audit", command, "--config", config)
    assert (ended.code, "config.missing" in ended.err) == (3, True)
    assert run("audit", "verify", "--config", config).code == 0


# search, sample, patient


@pytest.mark.parametrize("number", [PATIENT, DASHED, f"  {PATIENT} \r"])
def test_a_patient_is_named_on_standard_input_only(run, config, number, tmp_path):
    given = f"{number}\nsomething else\n".encode()
    found = run("audit", "search", "--patient", "--config", config, "--json", stdin=given).json()
    assert [each["event"] for each in found] == ["record.accepted"] * 2
    (tmp_path / "number").write_bytes(given)
    again = run("audit", "search", "--patient-file", tmp_path / "number", "--config", config, "--json").json()
    assert [each["event"] for each in again] == ["record.accepted"] * 2 + ["audit.searched"]
    assert {each["patient"] for each in again} == {found[0]["patient"]}
    assert run("audit", "search", "--patient", number, "--config", config).code == 2  # it is a flag


def test_a_patient_is_asked_for_at_a_terminal_without_an_echo(run, config, monkeypatch):
    asked = []

    def prompt(*_, **named):
        asked.append(named["hide_input"])
        return PATIENT

    monkeypatch.setattr("adapter.cli.auditing.click.prompt", prompt)
    assert run("audit", "patient", "--config", config, tty=True).text.count("TSTNMT2321000016-A001") == 2
    assert asked == [True]


@pytest.mark.parametrize("number", ["", "191212121213", "1912121212", "x" * 200, "\udcff"])
@pytest.mark.parametrize("command", [("search", "--patient"), ("patient",)])
def test_what_is_no_number_of_a_person_ends_with_2_and_is_not_repeated(run, config, number, command):
    given = number.encode("utf-8", "surrogateescape")
    ended = run("audit", *command, "--config", config, stdin=given)
    if number == "191212121213":  # test mode lets a wrong check digit pass
        assert (ended.code, ended.out) == (0, b"")
        return
    assert ended.code == 2
    assert "cli.not-a-person-number" in ended.err
    assert len(number) < 5 or number not in ended.err


def test_another_kind_of_number_is_named(run, config):
    ended = run("audit", "patient", "--kind", "reservnummer.stockholm", "--config", config, stdin=b"991212121212")
    assert (ended.code, ended.out) == (0, b"")
    assert run("audit", "patient", "--kind", "no-such", "--config", config, stdin=PATIENT.encode()).code == 2


def test_every_look_is_logged_with_who_and_about_whom(run, config):
    run("audit", "search", "--patient", "--config", config, stdin=PATIENT.encode())
    run("audit", "search", "--event", "record", "--since", "2026", "--config", config)
    run("audit", "sample", "--seed", "s", "--config", config)
    run("audit", "patient", "--config", config, stdin=NOBODY.encode())
    run("audit", "export", "--config", config)
    looks = events(config)[2:]
    assert [each.event.partition(".")[2] for each in looks] == [
        "searched",
        "searched",
        "sampled",
        "extracted",
        "exported",
    ]
    assert [each.patient_key is not None for each in looks] == [True, False, False, True, False]
    assert all(each.who.startswith("operator:") and each.unit == "TSTNMT2321000016-A001" for each in looks)
    assert json.loads(looks[1].details)["event"] == "record"


def test_what_is_found_is_shown_in_columns_or_as_json(run, config):
    shown = run("audit", "search", "--config", config).text.splitlines()
    assert shown[0].split() == ["sequence", "time", "event", "who", "unit", "what", "outcome", "reason"]
    assert len(shown) == 3
    assert run("audit", "search", "--who", "nobody", "--config", config).text == ""
    assert run("audit", "search", "--outcome", "refused", "--config", config, "--json").json() == []
    assert len(run("audit", "search", "--limit", "1", "--config", config, "--json").json()) == 1


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_time_that_is_none_ends_with_2(run, config, option):
    ended = run("audit", "search", option, "tomorrow", "--config", config)
    assert (ended.code, f"{option}: cli.bad-time" in ended.err) == (2, True)


def test_a_sample_is_drawn_again_by_its_seed(run, config):
    asked = ("audit", "sample", "--n", "1", "--seed", "2026-11", "--config", config, "--json")
    first = run(*asked).json()
    assert len(first) == 1
    assert run(*asked).json() == first


def test_an_extract_is_told_in_the_language_of_the_reader(run, config):
    for language, heading, measure in (
        ("sv_SE.UTF-8", "Tid", "Infört av vårdenheten"),
        ("en_US.UTF-8", "Time", "Entered by the care unit"),
    ):
        told = run("audit", "patient", "--config", config, stdin=PATIENT.encode(), language=language).text
        assert told.startswith(heading)
        assert measure in told
        assert "operator" not in told
    assert set(run("audit", "patient", "--config", config, "--json", stdin=PATIENT.encode()).json()[0]) == {
        "time",
        "unit",
        "measure",
        "recipient",
    }
    assert run("audit", "patient", "--config", config, stdin=NOBODY.encode()).text == ""


# export


def test_an_export_as_fhir_is_audit_events_that_are_valid(run, config):
    lines = run("audit", "export", "--format", "fhir", "--config", config).text.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert [each for each in validate(json.loads(line)) if each.severity == "error"] == []


def test_an_export_goes_to_a_new_file_for_its_owner_alone(run, config, tmp_path):
    out = tmp_path / "log.jsonl"
    told = run("audit", "export", "--out", out, "--config", config).json()
    assert told == {"file": str(out), "entries": 3}
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    again = run("audit", "export", "--out", out, "--config", config)
    assert (again.code, "cli.unwritable" in again.err) == (2, True)


def test_an_export_of_a_period_has_only_that(run, config):
    assert run("audit", "export", "--until", "2020", "--config", config).out == b""
    assert len(run("audit", "export", "--since", "2020", "--format", "fhir", "--config", config).out.splitlines()) == 4
