"""Every scenario under examples/, played through the real flows, store and gate with receivers in memory."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.certs import Credential
from adapter.dates import STOCKHOLM, Moment
from adapter.demo import cast, scenario
from adapter.demo.judging import Held, judge, last_words, readings
from adapter.demo.playing import Ended, HandedOver, Notified, play
from adapter.errors import AdapterError, Misconfigured
from adapter.flows import Adapter, Dispatcher, accept
from adapter.settings import JOURNAL, Settings
from adapter.store import destinations, quarantine, withdrawals
from adapter.transport.memory import Memory
from adapter.validation import validate

SCENARIOS = scenario.load()
CASES = [(each, expected) for each in SCENARIOS for expected in each.expectations]
NOW = datetime(2026, 10, 7, 9, 30, tzinfo=UTC)
AT_THE_CHANGE_TO_WINTER_TIME = datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC)

# Published Swedish test persons (HL7 Sweden's examples, Inera's and Skatteverket's test numbers). Nobody else may be named.
TEST_PERSONS = {
    *("191212121212", "195009072553", "196101182803", "189002029800", "200302022389", "199002222397", "199103222395"),
    *("199008252398", "197705232382", "199909032386", "199908312391", "200001252386", "189602029812"),
    *("196109732393", "197010632391", "98240301AA06", "22950606FH20", "991981000010", "19810829M071", "19810829SU3A"),
    *("198108320014", "19810829TB1F", "810829DA1B", "20200501-AA8A"),
}


class InProcess:
    """The local system, and region A's adapter around it, in one process."""

    def __init__(self, adapter):
        self.adapter = adapter
        self.dispatcher = Dispatcher(adapter, owner="test")

    async def submit(self, document):
        try:
            accepted = await accept(self.adapter, document, caller="test")
        except AdapterError as error:
            return HandedOver(refused=error.first.code)
        return HandedOver(
            tuple(message["id"] for message in accepted.answer["messages"]),
            notified=tuple(
                Notified(each["to"], each["id"], each["message"] or "") for each in accepted.answer["notified"]
            ),
        )

    async def pause(self, recipient):
        await self.adapter.store.write(
            destinations.pause, recipient, who="test", why="scenario", now=self.adapter.clock()
        )

    async def resume(self, recipient):
        await self.adapter.store.write(
            destinations.resume, recipient, who="test", why="scenario", now=self.adapter.clock()
        )

    async def acknowledged(self):
        orders = await self.adapter.store.read(withdrawals.listed)
        return frozenset(each.id for each in orders if each.state(self.adapter.clock()) == "acknowledged")

    async def ended(self, messages):
        await self.dispatcher.drain()
        read = self.adapter.store.read
        found = [await read(quarantine.message, each, now=self.adapter.clock()) for each in messages]
        return {each.message_id: Ended(each.state, each.reason or "", each.request_id) for each in found}


async def _play(folder, chosen, now):
    urls = {receiver.id: "https://localhost:1/fhir" for receiver in cast.RECEIVERS}
    cast.make_keys(folder)
    shown = Credential(folder / "client.pem", folder / "client.key")
    reached = {"base_url": "http://127.0.0.1:8443", "authentication": "none"}
    links = urls | {cast.JOURNAL: "https://localhost:1/fhir"}
    settings = Settings.model_validate(cast.sender_settings(folder, links, shown, folder / "ca.pem", reached))
    transport = Memory([*urls, JOURNAL])
    adapter = Adapter.open(settings, transport=transport, clock=lambda: now)
    try:
        played = [await play(each, InProcess(adapter), now) for each in chosen]
    finally:
        await adapter.close()
    held = {name: [Held(each.request_id, each.body) for each in transport.held(name)] for name in [*urls, JOURNAL]}
    entries = last_words(held.pop(JOURNAL))
    return judge(played, held, adapter.mapper, entries), played, held


def played(chosen, now=NOW):
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_play(Path(folder), chosen, now))


@cache
def _played_alone(name):
    return played([each for each in SCENARIOS if each.name == name])


def played_alone(one):
    return _played_alone(one.name)


def identity(case):
    each, expected = case
    return f"{each.name}-{expected.recipient}"


@pytest.mark.parametrize("case", CASES, ids=identity)
def test_each_recipient_of_a_scenario_gets_what_the_scenario_says_and_nothing_else(case):
    each, expected = case
    verdict, _, _ = played_alone(each)
    [row] = [row for row in verdict.rows if row.recipient == expected.recipient]
    assert row.problems == ()
    assert (row.outcome, row.reason) == (expected.outcome, expected.reason)
    assert row.received == (expected.outcome == "delivered")


@pytest.mark.parametrize("each", SCENARIOS, ids=lambda each: each.name)
def test_nothing_of_a_scenario_is_lost_or_reaches_where_it_must_not(each):
    verdict, _, held = played_alone(each)
    assert (verdict.lost, verdict.leaked, verdict.problems) == (0, 0, ())
    told = {expected.recipient for expected in each.expectations}
    assert {recipient for recipient, messages in held.items() if messages} <= told


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "in reverse"])
@pytest.mark.parametrize("now", [NOW, AT_THE_CHANGE_TO_WINTER_TIME], ids=["any day", "as summer time ends"])
def test_scenarios_do_not_disturb_each_other(order, now):
    verdict, _, _ = played(SCENARIOS[::order], now)
    assert verdict.problems == ()


def test_a_canary_of_a_recipient_that_is_kept_out_is_in_what_was_to_be_sent():
    """A canary that stands in no submission could never sing."""
    silent = [
        (each.name, canary)
        for each, expected in CASES
        for canary in expected.canaries
        if expected.outcome == "withheld" and canary.replace("-", "") not in _submitted(each).replace("-", "")
    ]
    assert silent == []


def _submitted(each):
    return "".join(file.read_text("utf-8") for file in each.folder.glob("submission*.json"))


@pytest.mark.parametrize("case", [case for case in CASES if case[1].outcome == "delivered"], ids=identity)
def test_expected_content_is_valid_fhir_and_holds_no_canary(case):
    each, expected = case
    for bundle in each.expected(expected.recipient, NOW):
        release = cast.release_of(expected.recipient)
        assert [fault for fault in validate(bundle, release) if fault.severity == "error"] == []
        readable = readings(Held("", json.dumps(bundle, ensure_ascii=False).encode()))
        assert [canary for canary in expected.canaries if any(canary.casefold() in text for text in readable)] == []


@pytest.mark.parametrize("each", SCENARIOS, ids=lambda each: each.name)
def test_scenarios_name_only_test_persons_and_business_ids_of_their_own(each):
    for step in each.steps:
        for record in each.submission(step.submit, NOW)["records"] if step.submit else ():
            assert record["id"]["value"].startswith(each.name[:2])
            if not each.name.startswith("39"):  # its numbers belong to nobody
                assert record["patient"]["identity"]["number"] in TEST_PERSONS


def test_every_file_of_a_scenario_is_used():
    for each in SCENARIOS:
        used = {step.submit for step in each.steps if step.submit} | {"scenario.toml"}
        used |= {
            f"expected/{file.name}"
            for expected in each.expectations
            for file in each.expected_files(expected.recipient)
        }
        there = {str(file.relative_to(each.folder)) for file in each.folder.rglob("*") if file.is_file()}
        assert there == used


def test_the_readme_lists_every_scenario_with_its_outcomes():
    listed = (SCENARIOS[0].folder.parents[1] / "README.md").read_text("utf-8")
    for each in SCENARIOS:
        outcomes = "; ".join(
            f"{expected.recipient}: {expected.reason or expected.outcome}" for expected in each.expectations
        )
        assert f"| [{each.name}](scenarios/{each.name}) | {each.title['en']} | {outcomes} |\n" in listed


# the form of scenarios

INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  hypothesis adds it


@given(days=st.integers(0, 9999), sign=st.sampled_from("+-"), now=INSTANTS)
def test_dates_of_a_scenario_are_counted_from_its_day_in_sweden(days, sign, now):
    day = now.astimezone(STOCKHOLM).date()
    wished = day + timedelta(days=days if sign == "+" else -days)
    assert scenario.resolved(f"{{{{today{sign}{days}d}}}}", now) == wished.isoformat()


@given(seconds=st.integers(0, 9998), now=INSTANTS)
def test_a_time_so_long_ago_has_passed_to_its_last_instant(seconds, now):
    then = Moment(scenario.resolved(f"{{{{now-{seconds + 1}s}}}}", now))
    assert now - timedelta(seconds=seconds + 2) < then.earliest <= then.latest < now - timedelta(seconds=seconds)


def test_ids_are_named_by_type_and_order_wherever_they_stand():
    entry = {
        "fullUrl": "https://koord.example/fhir/Task/3f",
        "resource": {"resourceType": "Task", "id": "3f", "for": {"reference": "Patient/4a"}, "note": [{"text": "3f"}]},
        "request": {"method": "PUT", "url": "Task/3f"},
    }
    other = {"resource": {"resourceType": "Patient", "id": "4a"}}
    made = scenario.normalised({"resourceType": "Bundle", "entry": [entry, other]})
    task = made["entry"][0]["resource"]
    assert (task["id"], task["for"]["reference"]) == ("task-1", "Patient/patient-1")
    assert made["entry"][0]["request"]["url"] == "Task/task-1"
    assert made["entry"][1]["resource"]["id"] == "patient-1"


GOOD = """
law = "lag (2019:1297) 3 §"
title = { en = "x", sv = "x" }
purpose = { en = "x", sv = "x" }
step = [{ submit = "submission.json" }]
expect = [{ recipient = "fk", outcome = "withheld", reason = "NO_CONSENT" }]
"""


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("law =", "lag ="),
        ("submission.json", "another.json"),
        ('submit = "submission.json"', 'submit = "submission.json", wait = "idle"'),
        ('submit = "submission.json"', 'sleep = "1"'),
        (', reason = "NO_CONSENT"', ""),
        ('"withheld"', '"delivered"'),
        ('outcome = "withheld", reason = "NO_CONSENT"', 'outcome = "delivered"'),
        ("expect = [", 'expect = [{ recipient = "fk", outcome = "refused", reason = "x" }, '),
        ("]\n", "\n"),
    ],
)
def test_a_scenario_that_is_not_as_described_is_refused_by_name(tmp_path, good, bad):
    folder = tmp_path / "99-test"
    folder.mkdir()
    (folder / "submission.json").write_text('{"records": []}')
    (folder / "scenario.toml").write_text(GOOD)
    assert [each.name for each in scenario.load(tmp_path)] == ["99-test"]
    (folder / "scenario.toml").write_text(GOOD.replace(good, bad))
    with pytest.raises(Misconfigured) as caught:
        scenario.load(tmp_path)
    assert {fault.code for fault in caught.value.faults} == {"demo.scenario"}
    assert all(fault.where.startswith("99-test/") for fault in caught.value.faults)


def test_titles_and_purposes_are_sentences_in_both_languages():
    for each in SCENARIOS:
        for text in (each.title, each.purpose):
            assert set(text) == {"en", "sv"}
            assert text["en"] != text["sv"]
        assert re.search(r"\d{4}:\d+|PDL|OSL|SFB", each.law)
