"""The demo: real processes over TLS; what it finds when something is lost, leaked or killed; what it leaves behind: nothing."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter import demo
from adapter.demo import cast, scenario
from adapter.demo.judging import Held, judge, left_out_of, readings
from adapter.demo.playing import Ended, Played, Sent
from adapter.demo.stage import SENDER, Stage
from adapter.domain import read_record
from adapter.errors import PeerFault
from adapter.mapping import Mapper
from adapter.settings import load as load_settings
from adapter.store import Store, load_keys
from adapter.tables import load

NOW = datetime(2026, 10, 7, 9, 30, tzinfo=UTC)
SCENARIOS = {each.name: each for each in scenario.load()}
MAPPER = Mapper(load())
processes = pytest.mark.processes


# real processes


@processes
def test_the_demo_shows_every_outcome_as_the_scenarios_say_and_leaves_nothing_behind(tmp_path):
    with _demo(tmp_path, "as_json=True") as shown:
        out, err = shown.communicate(timeout=240)
    assert (shown.returncode, err) == (0, "")
    told = json.loads(out)
    assert set(told) == {"scenarios", "summary", "journal"}
    assert all(set(row) == {"name", "recipient", "outcome", "reason", "received"} for row in told["scenarios"])
    assert {(row["name"], row["recipient"]): (row["outcome"], row["reason"]) for row in told["scenarios"]} == {
        (each.name, expected.recipient): (expected.outcome, expected.reason)
        for each in SCENARIOS.values()
        for expected in each.expectations
    }
    assert all(row["received"] == (row["outcome"] == "delivered") for row in told["scenarios"])
    count = Counter(row["outcome"] for row in told["scenarios"])
    assert told["summary"] == {**count, "lost": 0, "leaked": 0}
    assert told["journal"]["entries"] == told["journal"]["of"] >= count["delivered"]
    assert list(tmp_path.iterdir()) == []


@processes
def test_a_wrong_expectation_or_a_canary_that_arrives_fails_the_demo_which_ends_when_told(tmp_path):
    wrong, place = tmp_path / "scenarios", tmp_path / "place"
    for name in ("01-fk-rehab-need", "43-unknown-recipient"):
        shutil.copytree(SCENARIOS[name].folder, wrong / name)
    _alter(wrong / "01-fk-rehab-need/scenario.toml", '"Alva"', '"199008252398"')
    _alter(wrong / "43-unknown-recipient/scenario.toml", "exchange.unknown-recipient", "record.invalid")
    place.mkdir()
    with _demo(place, f"keep=True, scenarios=Path({str(wrong)!r})") as shown:
        told = _read_until(shown, "until Ctrl-C.\n")
        children = _children(place)
        shown.send_signal(signal.SIGTERM)
        rest, err = shown.communicate(timeout=60)
    assert (shown.returncode, rest, err) == (1, "", "")
    assert len(children) == 10
    assert "01-fk-rehab-need: fk holds canary 1" in told
    assert "43-unknown-recipient, insurance-company: refused (exchange.unknown-recipient), expected" in told
    assert "0 lost, 1 leaked" in told
    assert "Not as the scenarios say:" in told
    assert not any(_runs(pid) for pid in children)
    assert list(place.iterdir()) == []


@processes
def test_told_to_end_in_the_middle_it_leaves_no_program_and_no_folder(tmp_path):
    with _demo(tmp_path, "") as shown:
        _read_until(shown, f"Playing scenarios: {len(SCENARIOS)}\n")
        children = _children(tmp_path)
        shown.send_signal(signal.SIGTERM)
        shown.communicate(timeout=60)
    assert shown.returncode != 0
    assert len(children) == 10
    assert not any(_runs(pid) for pid in children)
    assert list(tmp_path.iterdir()) == []


@processes
def test_a_program_that_does_not_start_is_named_with_its_reason_and_the_others_are_stopped(tmp_path):
    stage = Stage(tmp_path, mock_options={"af": ["--no-such-option"]})

    async def start():
        async with stage:
            await stage.start()

    with pytest.raises(PeerFault) as caught:
        asyncio.run(start())
    fault = caught.value.first
    assert (fault.code, fault.where, caught.value.exit) == ("demo.not-started", "af", 4)
    assert "--no-such-option" in fault.why
    assert not any(program.process and _runs(program.process.pid) for program in stage.programs.values())


@processes
def test_killed_while_sending_and_started_again_nothing_accepted_is_lost_or_takes_effect_twice(tmp_path):
    """
    kill -9 of region A's adapter while submissions come in and messages go out. The lease of what was under way runs out in
    minutes; here it is ended in the store, since a test does not wait so long.
    """
    wanted = [_submission(number) for number in range(80)]
    held, accepted = asyncio.run(_killed_while_sending(tmp_path, wanted))
    effects = Counter(_signal_in(message) for message in held["fk"])
    assert len(accepted) >= 5
    assert set(accepted) <= set(effects)
    assert set(effects.values()) == {1}


async def _killed_while_sending(folder, wanted):
    accepted = {}

    async def hand_over(client, document):
        answer = await client.submit(document)
        if document.get("send"):
            accepted[document["send"][0]["record"]["value"]] = answer.messages[0]

    async with Stage(folder, mock_options={"fk": ["--delay", "0.05"]}) as stage:
        await stage.start()
        async with stage.local_system() as client:
            await hand_over(
                client, {"records": SCENARIOS["01-fk-rehab-need"].submission("submission.json", NOW)["records"][:2]}
            )
            handing_over = [asyncio.create_task(hand_over(client, document)) for document in wanted]
            while len(list((folder / "fk").glob("*.received"))) < 5:  # noqa: ASYNC110  another process writes them
                await asyncio.sleep(0.01)
            await stage.programs[SENDER].kill()
            await asyncio.gather(*handing_over, return_exceptions=True)
        _end_leases(folder / SENDER)
        await stage.programs[SENDER].start()
        async with stage.local_system() as client:
            ends = await client.ended(list(accepted.values()))
        assert {end.state for end in ends.values()} == {"delivered"}
        told = await stage.entries(accepted.values())
        assert {told.get(message) for message in accepted.values()} == {"completed"}
        return await stage.held(), accepted


def _submission(number):
    signal_ = SCENARIOS["01-fk-rehab-need"].submission("submission.json", NOW)["records"][2]
    signal_["id"]["value"] = f"kill-{number}"
    return {"records": [signal_], "send": [{"record": signal_["id"], "to": ["fk"]}]}


def _signal_in(message):
    return next(entry["resource"]["identifier"][0]["value"] for entry in message.bundle()["entry"])


def _end_leases(folder):
    with Store.open(folder / "koord.sqlite", load_keys(folder / "store.keys")) as store:
        for table in ("lane", "journal_entry"):
            statement = f"UPDATE {table} SET lease_until = 1 WHERE lease_until IS NOT NULL"
            store.write(lambda tx, statement=statement: tx.run(statement)).result()


def _demo(folder, arguments):
    """The demo in a process of its own, whose temporary files are in ``folder``."""
    code = f"import sys; from pathlib import Path; from adapter.demo import run; sys.exit(run({arguments}))"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(folder), "KOORD_SERVER__PORT": "not one for the demo"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _read_until(process, end):
    told = ""
    while not told.endswith(end):
        line = process.stdout.readline()
        assert line, f"ended early: {told!r} {process.stderr.read()!r}"
        told += line
    return told


def _children(place):
    """The programs of the demo that works in ``place``."""
    return [int(file.read_text()) for file in place.glob("koord-demo-*/*.pid")]


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _alter(file, old, new):
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


# judging


def held(text, request_id="1"):
    return Held(request_id, text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)


WRAPPINGS = {
    "JSON": lambda text: "".join(f"\\u{unit:04x}" for unit in _utf16(text)),
    "XML, hexadecimal": lambda text: "".join(f"&#x{ord(sign):x};" for sign in text),
    "XML, named": lambda text: text.replace("&", "&amp;").replace("ö", "&ouml;").replace(" ", "&nbsp;"),
    "URL": lambda text: quote(text, safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, URL": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64, shifted": lambda text: base64.b64encode(b"xy" + text.encode()).decode(),
    "upper case": str.upper,
}


def _utf16(text):
    raw = text.encode("utf-16-be")
    return [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]


@given(ways=st.lists(st.sampled_from(sorted(set(WRAPPINGS) - {"XML, named", "upper case"})), max_size=3))
def test_a_canary_is_found_behind_any_escapes_three_deep(ways):
    canary = "Frida Öst, handläggare 👋🏽 770523-2382"
    text = canary
    for way in ways:
        text = WRAPPINGS[way](text)
    assert any(canary.casefold() in reading for reading in readings(held(f'{{"note": "{text}"}}')))


@pytest.mark.parametrize("way", sorted(WRAPPINGS))
def test_a_canary_is_found_however_it_is_written(way):
    canary = "Björks & co"
    text = WRAPPINGS[way](canary)
    found = [
        reading for reading in readings(held(f"<x>{text}</x>")) if canary.casefold() in reading.replace("\xa0", " ")
    ]
    assert found


def test_a_canary_in_a_header_counts_as_much_as_one_in_the_body():
    assert any("770523" in text for text in readings(Held("1", b"{}", b'{"x-patient": "770523-2382"}')))


def scene(name, state="delivered", reason=""):
    """A scenario with one recipient as if played, and what its receiver then holds."""
    each = SCENARIOS[name]
    [expected] = each.expectations
    records, sent = {}, []
    for document in [each.submission(step.submit, NOW) for step in each.steps if step.submit]:
        records |= {record["id"]["value"]: record for record in document["records"]}
        for delivery in document.get("send", ()):
            ended = Ended(state, reason, f"r{len(sent)}")
            sent.append(Sent(expected.recipient, records[delivery["record"]["value"]], f"m{len(sent)}", ended=ended))
    bundles = each.expected(expected.recipient, NOW)
    arrived = [Held(f"r{number}", json.dumps(bundle).encode()) for number, bundle in enumerate(bundles)]
    return Played(each, NOW, tuple(sent)), {expected.recipient: arrived}


def test_what_is_as_expected_is_good():
    played, there = scene("02-employer-meeting")
    verdict = judge([played], there, MAPPER)
    assert verdict.good
    assert (verdict.lost, verdict.leaked) == (0, 0)
    assert verdict.rows[0].left_out == ("care-unit", "consent-reference", "identity", "note", "participation", "plan")


@pytest.mark.parametrize("state", ["delivered", "queued", "dead"])
def test_what_was_accepted_and_is_neither_there_nor_withheld_is_lost(state):
    played, _ = scene("02-employer-meeting", state)
    verdict = judge([played], {"employer": []}, MAPPER)
    assert (verdict.lost, verdict.leaked, verdict.good) == (1, 0, False)
    assert not verdict.rows[0].received


def test_the_journal_must_say_of_every_delivered_message_and_of_no_other_that_it_was_sent():
    played, there = scene("02-employer-meeting")
    messages = [each.message for each in played.sent]
    right = dict.fromkeys(messages, "completed") | {"another": "not-done"}
    verdict = judge([played], there, MAPPER, right)
    assert (verdict.good, verdict.entered, verdict.to_enter) == (True, len(messages), len(messages))
    for wrong in ({}, dict.fromkeys(messages, "preparation"), right | {"another": "completed"}):
        verdict = judge([played], there, MAPPER, wrong)
        assert any("the journal is wrong" in problem for problem in verdict.problems)


def test_a_message_that_nobody_sent_is_a_leak():
    played, there = scene("02-employer-meeting")
    there["fk"] = [held("{}", "r9")]
    assert judge([played], there, MAPPER).leaked == 1


def test_what_is_held_though_it_was_withheld_is_a_leak():
    played, there = scene("36-deceased-patient", "withheld", "DECEASED")
    assert judge([played], there, MAPPER).good
    there["region-b"] = [held('{"resourceType": "Bundle", "type": "transaction"}', "r0")]
    verdict = judge([played], there, MAPPER)
    assert verdict.leaked == 1
    assert verdict.rows[0].received


@pytest.mark.parametrize("way", ["", "JSON", "base64"])
def test_a_canary_at_the_recipient_is_a_leak_however_it_is_written_and_is_not_repeated(way):
    played, there = scene("02-employer-meeting")
    canary = "Orkar sitta"
    text = WRAPPINGS[way](canary) if way else canary
    there["employer"][0] = Held("r0", there["employer"][0].body, text.encode())
    verdict = judge([played], there, MAPPER)
    assert (verdict.lost, verdict.leaked) == (0, 1)
    assert not any(canary in problem for problem in verdict.problems)


def test_one_value_more_or_less_than_expected_is_told():
    for change in ({"status": "completed"}, {"description": "x"}, {"intent": None}):
        played, there = scene("02-employer-meeting")
        bundle = json.loads(there["employer"][0].body)
        bundle["entry"][0]["resource"] |= change
        there["employer"] = [held(json.dumps(bundle), "r0")]
        assert any("something else than expected" in problem for problem in judge([played], there, MAPPER).problems)


def test_a_body_that_cannot_be_read_is_told():
    played, _ = scene("02-employer-meeting")
    problems = judge([played], {"employer": [held('{"a":1,"a":1}', "r0")]}, MAPPER).problems
    assert any("cannot be read" in problem for problem in problems)


def test_the_order_of_versions_is_part_of_what_is_expected():
    played, there = scene("18-task-lifecycle")
    assert judge([played], there, MAPPER).good
    first, second, third = there["employer"]
    there["employer"] = [second, first, third]
    assert judge([played], there, MAPPER).problems


def test_what_is_left_out_is_read_from_what_arrived():
    document = SCENARIOS["03-full-plan-to-next-region"].submission("submission.json", NOW)["records"][1]
    record, _ = read_record(document, mode="test")
    everything = {"entry": [{"resource": resource} for resource in MAPPER.to_fhir(record).resources]}
    assert left_out_of(record, everything, MAPPER) == frozenset()
    everything["entry"] = [entry for entry in everything["entry"] if entry["resource"]["resourceType"] != "Goal"]
    assert left_out_of(record, everything, MAPPER) == {"goal"}


# the parts


def test_settings_of_both_regions_are_what_the_adapter_reads(tmp_path):
    asyncio.run(_prepared(tmp_path))
    sender = load_settings(tmp_path / SENDER / "koord.toml", {})
    assert {each.id: (each.recipient, each.format, each.fhir_version) for each in sender.destinations} == {
        each.id: (each.type, each.format, each.fhir_version) for each in cast.RECEIVERS
    }
    assert load_settings(tmp_path / "region-b" / "koord.toml", {}).region.provider == cast.PROVIDER_B


async def _prepared(folder):
    async with Stage(folder):
        pass


def test_a_folder_that_is_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(Exception, match=r"demo\.folder-in-use"):
        demo.run(folder=tmp_path, out=io.StringIO())
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
