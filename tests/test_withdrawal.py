"""A consent ends: nothing that it covered starts to leave, and each that got something on it is told once and answers."""

from __future__ import annotations

import asyncio
import json as stdlib_json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
import region as r
from hypothesis import example, given, settings
from hypothesis import strategies as st
from withdrawal_world import (
    COLLABORATE,
    INTERVENTIONS,
    MUNICIPALITY,
    business,
    drain,
    hand_over,
    listed,
    sent,
    told,
    watched,
)

from adapter.consent import notice
from adapter.consent.inspection import leaves
from adapter.errors import AdapterError, Conflict, Invalid
from adapter.flows import Dispatcher, Reader, accept, receive, search, withdraw
from adapter.store import audit, destinations, quarantine, withdrawals
from adapter.sweden import HsaId
from adapter.transport.login import Caller
from adapter.wire import json, xml

REGION_B = "TSTNMT2321000131-B000"
CALLER = Caller("region-b", frozenset({"care-provider"}), HsaId(REGION_B))
PEERS = [
    {"id": "region-b", "role": "care-provider", "hsa_id": "TSTNMT2321000131-J001", "organisation": REGION_B},
    {
        "id": "region-c",
        "role": "care-provider",
        "hsa_id": "TSTNMT2321000164-J001",
        "organisation": "TSTNMT2321000164-C000",
    },
]


def run(story, **more):
    """Play a story in a region of its own, in a folder that goes afterwards."""

    async def play(folder):
        async with watched(Path(folder), **more) as adapter:
            return await story(adapter)

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(play(folder))


def ended(document, state, **more):
    """The next version of a consent that is given no more."""
    if state == "withdrawn":
        return r.withdrawn(document)
    return document | {"version": document["version"] + 1, "state": state, **more}


def narrowed(document, **more):
    return document | {"version": document["version"] + 1, **more}


LIMITED = COLLABORATE | {"period": {"end": "2026-11-21"}}
"""Until midnight in Sweden: 23:00 UTC."""
RENEWING = r.consent("c-2", "collaborate", recipient=r.EMPLOYER, given_on="2026-11-20", informed_on="2026-11-20")
EVERYTHING = [INTERVENTIONS, COLLABORATE, r.intervention()]


# the answer


@pytest.mark.parametrize("state", ["withdrawn", "refused", "entered-in-error"])
def test_who_got_something_on_a_consent_that_is_given_no_more_is_told_in_the_answer(state):
    async def story(adapter):
        before = await sent(adapter, *EVERYTHING, i1=["employer", "region-b"])
        answer = await sent(adapter, ended(COLLABORATE, state))
        return before, answer, adapter.transport.notices()

    before, answer, notices = run(story)
    [order] = answer["notified"]
    [left] = answer["leftBefore"]
    assert (order["to"], left["to"], left["certain"]) == ("employer", "employer", True)
    assert left["message"] == before["messages"][0]["id"]
    assert left["records"] == [{"system": r.IDS, "value": "i1", "version": 1}]
    assert answer["blocked"] == []
    assert [(each.destination, each.task["id"]) for each in notices] == [("employer", order["id"])]


def test_without_interventions_everyone_who_got_something_is_told(tmp_path):
    async def story(adapter):
        await sent(adapter, *EVERYTHING, i1=["employer", "region-b"])
        return await sent(adapter, r.withdrawn(INTERVENTIONS))

    assert told(run(story)) == ["employer", "region-b"]


def test_an_ordinary_consent_takes_nothing_away():
    async def story(adapter):
        answers = [await sent(adapter, INTERVENTIONS, r.intervention(), i1=["region-b"])]
        answers.append(await sent(adapter, COLLABORATE, i1=["employer"]))
        answers.append(await sent(adapter, COLLABORATE | {"version": 2, "form": "written"}))
        return answers, adapter.transport.notices()

    answers, notices = run(story)
    assert [(each["blocked"], each["notified"], each["leftBefore"]) for each in answers] == [([], [], [])] * 3
    assert notices == []


def test_what_waits_is_taken_back_and_what_is_still_open_goes():
    async def story(adapter):
        await hand_over(adapter, *EVERYTHING, i1=["employer", "region-b"])
        answer = await hand_over(adapter, r.withdrawn(COLLABORATE))
        await drain(adapter)
        messages = await adapter.store.read(quarantine.messages, now=adapter.clock())
        return answer, {each.destination: (each.message_id, each.state, each.reason) for each in messages}

    answer, messages = run(story)
    assert answer["notified"] == answer["leftBefore"] == []
    assert messages["employer"] == (answer["blocked"][0], "blocked", "CONSENT_WITHDRAWN")
    assert messages["region-b"][1] == "delivered"


def test_what_a_submission_withdraws_and_sends_at_once_is_blocked_in_its_own_answer():
    async def story(adapter):
        await hand_over(adapter, *EVERYTHING)
        return await hand_over(adapter, r.withdrawn(COLLABORATE), i1=["employer", "region-b"])

    answer = run(story)
    assert [each["state"] for each in answer["messages"]] == ["blocked", "queued"]
    assert answer["blocked"] == [answer["messages"][0]["id"]]


def test_a_message_that_was_never_open_is_not_taken_back_by_another_consents_withdrawal():
    async def story(adapter):
        await hand_over(adapter, INTERVENTIONS, r.intervention(), r.fk_signal(), i1=["employer"], f1=["fk"])
        await hand_over(adapter, r.consent("c-f", "inform-fk"))
        answer = await hand_over(adapter, ended(r.consent("c-f", "inform-fk"), "withdrawn"))
        await sent(adapter, COLLABORATE)
        return answer, adapter.transport.held("employer")

    answer, held = run(story)
    assert len(answer["blocked"]) == 1
    assert len(held) == 1


def test_the_answer_is_replayed_the_same_and_tells_nobody_twice():
    async def story(adapter):
        await sent(adapter, *EVERYTHING, i1=["employer"])
        document = r.submission(r.withdrawn(COLLABORATE))
        answers = [await accept(adapter, document, caller="local", request_id="q") for _ in range(3)]
        await drain(adapter)
        return [each.answer for each in answers], adapter.transport.notices(), await listed(adapter)

    answers, notices, orders = run(story)
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]["notified"]) == len(notices) == 1
    assert orders == {"employer": ["acknowledged"]}


# partial withdrawals


@pytest.mark.parametrize(
    "less",
    [
        {"categories": ["administrative", "name"]},
        {"purposes": ["rehabilitation-need"]},
        {"period": {"end": "2026-11-20"}},
        {"recipient": MUNICIPALITY},
    ],
    ids=["categories", "purposes", "period", "recipient"],
)
def test_a_consent_that_opens_less_than_somebody_got_is_a_withdrawal_to_that_one(less):
    async def story(adapter):
        await sent(adapter, *EVERYTHING, i1=["employer", "region-b"])
        answer = await sent(adapter, narrowed(COLLABORATE, **less))
        return answer, await adapter.store.read(withdrawals.listed)

    answer, [order] = run(story)
    assert told(answer) == ["employer"]
    assert order.cause == "narrowed"


def test_a_shorter_period_that_has_not_ended_takes_nothing_away_until_it_does():
    clock = r.Clock()

    async def story(adapter):
        await sent(adapter, *EVERYTHING, i1=["employer"])
        now = await sent(adapter, narrowed(COLLABORATE, period={"end": "2026-11-30"}))
        await withdraw.sweep(adapter)
        assert adapter.transport.notices() == []
        clock.forward(days=10)
        await withdraw.sweep(adapter)
        await drain(adapter)
        return now, adapter.transport.notices()

    now, notices = run(story, clock=clock)
    assert now["notified"] == []
    assert [each.destination for each in notices] == ["employer"]


def test_a_message_that_may_still_go_with_less_stays_in_the_queue():
    async def story(adapter):
        await hand_over(adapter, *EVERYTHING, i1=["employer"])
        less = ["administrative", "name", "coordinator", "care-provider", "participation"]
        answer = await sent(adapter, narrowed(COLLABORATE, categories=less))
        return answer, adapter.transport.held("employer")

    answer, held = run(story)
    assert answer["blocked"] == []
    assert len(held) == 1


def test_a_new_narrower_consent_and_a_refusal_of_their_own_take_away_as_a_new_version_does():
    async def story(adapter, other):
        await sent(adapter, *EVERYTHING, i1=["employer"])
        return await sent(adapter, other | {"given_on": "2026-11-20", "informed_on": "2026-11-20"})

    another = r.consent("c-2", "collaborate", recipient=r.EMPLOYER)
    for other in (another | {"categories": ["administrative", "name"]}, another | {"state": "refused"}):
        answer = run(lambda adapter, other=other: story(adapter, other))
        assert told(answer) == ["employer"]


def test_a_renewed_consent_that_opens_as_much_takes_nothing_away():
    async def story(adapter):
        await sent(adapter, *EVERYTHING, i1=["employer"])
        return await sent(adapter, RENEWING)

    assert run(story)["notified"] == []


def test_protection_of_the_patients_data_stops_what_waits_but_is_no_withdrawal():
    async def story(adapter):
        await sent(adapter, *EVERYTHING, i1=["employer"])
        await hand_over(adapter, r.intervention("i2"), i2=["employer"])
        protected = narrowed(COLLABORATE, patient=r.patient(protected="sekretessmarkering"))
        return await sent(adapter, protected)

    answer = run(story)
    assert len(answer["blocked"]) == 1
    assert answer["notified"] == []


# spärr


def test_a_block_takes_back_what_waits_and_asks_nobody_to_stop():
    block = {
        "record": "Block",
        "id": {"system": r.IDS, "value": "b"},
        "kind": "outer",
        "set_on": "2026-01-01",
        **r.parties(),
    }

    async def story(adapter):
        await sent(adapter, *EVERYTHING, i1=["region-b"])
        await hand_over(adapter, r.intervention("i2"), i2=["region-b"])
        answer = await sent(adapter, block)
        together = await sent(adapter, block | {"version": 2, "set_on": "2026-01-02"}, r.withdrawn(INTERVENTIONS))
        return answer, together, await adapter.store.read(quarantine.messages, now=adapter.clock(), state="blocked")

    answer, together, [blocked] = run(story)
    assert (answer["blocked"], blocked.reason) == ([blocked.message_id], "BLOCKED_OUTER")
    assert answer["notified"] == []
    assert told(together) == ["region-b"]


# who may have got something


@pytest.mark.parametrize("situation", ["lost", "reset", "garbage", "forbidden"])
def test_one_who_may_have_got_something_is_told_too(situation):
    async def story(adapter):
        adapter.transport.expect("employer", situation)
        await sent(adapter, *EVERYTHING, i1=["employer"])
        return await sent(adapter, r.withdrawn(COLLABORATE))

    answer = run(story)
    assert told(answer) == ["employer"]
    assert [each["certain"] for each in answer["leftBefore"]] == [False]


def test_one_who_certainly_got_nothing_is_not_told():
    async def story(adapter):
        adapter.transport.expect("employer", "unreachable")
        await sent(adapter, *EVERYTHING, i1=["employer"])
        return await sent(adapter, r.withdrawn(COLLABORATE))

    answer = run(story)
    assert (answer["notified"], len(answer["blocked"])) == ([], 1)


def test_what_may_have_left_rested_on_the_consents_of_then():
    """An attempt that was lost, then the consent replaced; the first one's withdrawal still concerns who may have it."""

    async def story(adapter):
        adapter.transport.expect("employer", "reset")
        await sent(adapter, *EVERYTHING, i1=["employer"])
        await sent(adapter, RENEWING)
        return await sent(adapter, r.withdrawn(COLLABORATE)), await sent(adapter, r.withdrawn(RENEWING))

    first, second = run(story)
    assert told(first) == ["employer"]
    assert told(second) == []


def test_a_reader_is_told_at_its_organisations_destination_and_one_without_is_for_a_person():
    async def story(adapter):
        await hand_over(adapter, INTERVENTIONS, r.intervention())
        identity = adapter.record(await adapter.store.read(_newest)).patient.identity
        for peer in ("region-b", "region-c"):
            of = next(each for each in adapter.settings.peers if each.id == peer)
            caller = Caller(peer, frozenset({"care-provider"}), of.organisation)
            assert await search(adapter, "Task", identity, Reader(caller, f"read-{peer}"))
        answer = await sent(adapter, r.withdrawn(INTERVENTIONS))
        return answer, await listed(adapter), adapter.transport.notices()

    def _newest(tx):
        from adapter.store import records

        return records.search(tx, tx.one("SELECT patient_key FROM record")[0])[0]

    answer, orders, notices = run(story, peers=PEERS)
    assert {each["to"]: each["message"] is not None for each in answer["notified"]} == {
        "region-b": True,
        "reader:region-c": False,
    }
    assert orders == {"region-b": ["acknowledged"], "reader:region-c": ["undeliverable"]}
    assert [each.destination for each in notices] == ["region-b"]


def test_a_destination_that_is_configured_no_more_is_never_silently_left_out(tmp_path):
    async def before():
        async with watched(tmp_path) as adapter:
            await sent(adapter, *EVERYTHING, i1=["employer"])

    async def after():
        fewer = [{"url": "http://127.0.0.1:1/x", "network": "loopback", "production": False, **r.DESTINATIONS[0]}]
        async with watched(tmp_path, destinations=fewer) as adapter:
            answer = await sent(adapter, r.withdrawn(COLLABORATE))
            await withdraw.sweep(adapter)
            [order] = await adapter.store.read(withdrawals.listed)
            return answer, order, order.state(adapter.clock())

    asyncio.run(before())
    answer, order, state = asyncio.run(after())
    assert answer["notified"] == [{"id": order.id, "to": "employer", "message": None}]
    assert state == "undeliverable"
    assert order.escalated_at is not None


def test_a_destination_that_is_taken_away_afterwards_leaves_a_dead_letter(tmp_path):
    async def before():
        async with watched(tmp_path) as adapter:
            await sent(adapter, *EVERYTHING, i1=["employer"])
            await hand_over(adapter, r.withdrawn(COLLABORATE))

    async def after():
        fewer = [{"url": "http://127.0.0.1:1/x", "network": "loopback", "production": False, **r.DESTINATIONS[0]}]
        async with watched(tmp_path, destinations=fewer) as adapter:
            await drain(adapter)
            return await adapter.store.read(quarantine.messages, now=adapter.clock(), state="dead"), await listed(
                adapter
            )

    asyncio.run(before())
    [dead], orders = asyncio.run(after())
    assert (dead.urgent, dead.reason) == (True, "config.no-such-destination")
    assert orders == {"employer": ["undeliverable"]}


# given again


def test_a_consent_that_is_given_again_is_a_new_one_and_the_notice_stands():
    again = r.consent("c-2", "collaborate", recipient=r.EMPLOYER, given_on="2026-11-21T13:00:00Z")

    async def story(adapter):
        await sent(adapter, *EVERYTHING, i1=["employer"])
        await sent(adapter, r.withdrawn(COLLABORATE))
        adapter.clock.forward(hours=2)
        given = await sent(adapter, again, i1=["employer"])
        second = await sent(adapter, r.withdrawn(again, on="2026-11-21T14:00:00Z"))
        return given, second, adapter.transport.notices("employer"), await listed(adapter)

    given, second, notices, orders = run(story)
    assert given["notified"] == []
    assert told(second) == ["employer"]
    assert [each.task["focus"]["identifier"]["value"] for each in notices] == ["c-c", "c-2"]
    assert orders == {"employer": ["acknowledged"] * 2}


def of_one_period_after_another(*then):
    """
    A consent with an end date has ended and the employer knows. What ``then`` makes of it, a day apart: whom each of it tells,
    and of which causes there are orders.
    """
    clock = r.Clock()

    async def story(adapter):
        await sent(adapter, INTERVENTIONS, LIMITED, r.intervention(), i1=["employer", "region-b"])
        consent, notified = LIMITED, []
        for change in ({}, *then):
            if change:
                consent = narrowed(consent, **change)
                notified.append(told(await sent(adapter, consent)))
            clock.forward(days=1)
            await withdraw.sweep(adapter)
            await drain(adapter)
        orders = await adapter.store.read(withdrawals.listed)
        notices = adapter.transport.notices("employer")
        assert len(notices) == len(orders)
        assert {each.task["input"][0]["valueReference"]["identifier"]["value"] for each in notices} == {"i1"}
        return notified, sorted((each.cause, each.consent.version) for each in orders)

    return run(story, clock=clock)


GONE = {"state": "withdrawn", "withdrawn": {"on": "2026-11-23", "by": "patient"}}


def test_who_was_told_of_an_end_is_told_of_a_withdrawal_if_the_patient_had_set_a_later_end_in_between():
    notified, orders = of_one_period_after_another({"period": {"end": "2026-12-31"}}, GONE)
    assert notified == [[], ["employer"]]
    assert orders == [("expired", 1), ("withdrawn", 3)]


def test_who_was_told_of_an_end_is_told_of_the_later_one_that_the_patient_set_in_between():
    notified, orders = of_one_period_after_another({"period": {"end": "2026-11-23"}}, {}, {})
    assert notified == [[]]
    assert orders == [("expired", 1), ("expired", 2)]


@pytest.mark.parametrize("between", [(), ({"form": "written"},), ({"period": {"end": "2026-11-20"}},)])
def test_who_was_told_of_an_end_is_told_nothing_more_of_a_consent_that_never_held_again(between):
    notified, orders = of_one_period_after_another(*between, GONE)
    assert notified == [[]] * (len(between) + 1)
    assert orders == [("expired", 1)]


# the notice

SECRETS = (
    "191212121212",
    "Tolvan",
    "Verkstaden",
    "Karlsson",
    "HEMLIG",
    "ÅNGRAR",
    "2321000131",
    "TSTNMT",
    "coordination",
)


@pytest.mark.parametrize("form", ["json", "xml"])
@pytest.mark.parametrize(
    ("to", "consents"), [("employer", [COLLABORATE]), ("region-b", []), ("fk", [r.consent("c-f", "inform-fk")])]
)
def test_a_notice_holds_what_is_listed_and_nothing_else(form, to, consents):
    all_formatted = [
        {"url": f"http://127.0.0.1:1/{d['id']}", "network": "loopback", "production": False, "format": form, **d}
        for d in r.DESTINATIONS
    ]

    async def story(adapter):
        record = r.fk_signal("i1") if to == "fk" else r.intervention()
        await sent(adapter, INTERVENTIONS, *consents, record, i1=[to])
        gone = r.withdrawn(consents[0] if consents else INTERVENTIONS)
        gone["withdrawn"]["reason"] = "ÅNGRAR MIG"
        await sent(adapter, gone)
        return adapter.transport.notices(to)

    [only] = run(story, destinations=all_formatted)
    text = only.body.decode()
    assert [secret for secret in SECRETS if secret.casefold() in text.casefold()] == []
    seen = json.read(only.body) if form == "json" else xml.read(only.body)
    [entry] = seen["entry"]
    assert set(seen) == {"resourceType", "type", "entry"}
    assert set(entry) == {"fullUrl", "resource", "request"}
    told = {path.removeprefix("Task."): value for path, value in leaves(entry["resource"])}
    consent = (consents or [INTERVENTIONS])[0]["id"]["value"]
    assert told == {
        "id": only.task["id"],
        "meta.profile": "https://koord.example/fhir/StructureDefinition/koord-withdrawal-notice",
        "identifier.system": "urn:ietf:rfc:3986",
        "identifier.value": f"urn:uuid:{only.task['id']}",
        "status": "requested",
        "intent": "order",
        "code.coding.system": "https://koord.example/fhir/CodeSystem/task-kind",
        "code.coding.code": "samtycke-aterkallat",
        "focus.type": "Consent",
        "focus.identifier.system": r.IDS,
        "focus.identifier.value": consent,
        "authoredOn": "2026-11-21T12:00:00+00:00",
        "input.type.coding.system": "https://koord.example/fhir/CodeSystem/task-input",
        "input.type.coding.code": "sluta-anvanda",
        "input.valueReference.type": "Task",
        "input.valueReference.identifier.system": r.IDS,
        "input.valueReference.identifier.value": "i1",
    }


def test_two_worlds_that_differ_in_all_but_the_ids_give_the_same_notice():
    def story(number, reason):
        async def play(adapter):
            mine = [each | {"patient": r.patient(number)} for each in EVERYTHING]
            mine[2]["note"] = reason * 20
            await sent(adapter, *mine, i1=["employer"])
            gone = r.withdrawn(mine[1])
            gone["withdrawn"]["reason"] = reason
            gone["withdrawn"]["by"] = "patient"
            await sent(adapter, gone)
            return adapter.transport.notices("employer")

        return play

    bodies = {
        re.sub(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"id", run(story(number, reason))[0].body)
        for number, reason in (("191212121212", "a"), ("195009072553", "för att det gick för långt"))
    }
    assert len(bodies) == 1


def test_the_codes_of_a_notice_are_those_of_the_tables():
    from adapter.tables import load

    codes = load().codes
    made = notice.bundle(notice.Notice("1", business("c"), (("Task", business("i")),), r.NOW))["entry"][0]["resource"]
    for table, coding in (
        ("task-kind", made["code"]["coding"][0]),
        ("task-input", made["input"][0]["type"]["coding"][0]),
    ):
        assert coding["system"] == codes[table].systems[0]
        assert coding["code"] in codes[table].keys


def test_a_notice_whose_ids_tell_a_number_that_the_recipient_may_not_have_is_for_a_person():
    telling = COLLABORATE | {"id": {"system": r.IDS, "value": "samtycke-19121212-1212"}}

    async def story(adapter):
        await sent(adapter, INTERVENTIONS, telling, r.intervention(), i1=["employer"])
        await sent(adapter, r.withdrawn(telling))
        messages = await adapter.store.read(quarantine.messages, now=adapter.clock(), state="dead")
        return adapter.transport.notices(), [each.reason for each in messages], await listed(adapter)

    assert run(story) == ([], ["UNEXPECTED_CONTENT"], {"employer": ["undeliverable"]})


# on its way


def test_a_notice_overtakes_its_lane_and_never_gives_up():
    clock = r.Clock()

    async def story(adapter):
        await sent(adapter, *EVERYTHING, i1=["employer"])
        adapter.transport.expect("employer", *["error"] * 4, *["busy"] * 2)
        await sent(adapter, r.withdrawn(COLLABORATE))
        for _ in range(100 * 12):  # four days in steps of five minutes
            clock.forward(minutes=5)
            await drain(adapter)
            if (await listed(adapter))["employer"] == ["acknowledged"]:
                break
        return await listed(adapter), clock.now - r.NOW

    orders, took = run(story, clock=clock)
    assert orders == {"employer": ["acknowledged"]}
    assert took <= timedelta(minutes=60)


def test_a_notice_that_is_late_raises_one_alarm_and_one_without_answer_goes_to_a_person(caplog):
    clock = r.Clock()

    async def story(adapter):
        await sent(adapter, *EVERYTHING, i1=["employer"])
        await adapter.store.write(destinations.pause, "employer", who="a", why="b", now=clock())
        await sent(adapter, r.withdrawn(COLLABORATE))
        states = []
        for minutes in (14, 2, 60 * 23, 60):
            clock.forward(minutes=minutes)
            await withdraw.sweep(adapter)
            states.append((await listed(adapter))["employer"][0])
        events = [row.entry.event for row in await adapter.store.read(audit.entries, limit=100)]
        return states, events, await adapter.store.read(withdrawals.overview, now=clock())

    states, events, counted = run(story, clock=clock)
    assert states == ["queued", "queued", "queued", "overdue"]
    assert (events.count("withdrawal.late"), events.count("withdrawal.escalated")) == (1, 1)
    assert [record.message for record in caplog.records if record.name == "adapter.withdraw"] == [
        "withdrawal.late",
        "withdrawal.escalated",
    ]
    assert (counted["overdue"], counted["late"]) == (1, 1)


def test_the_answer_of_a_withdrawal_does_not_wait_for_its_own_notice():
    async def story(adapter):
        await sent(adapter, *EVERYTHING, i1=["employer"])
        held = asyncio.Event()
        adapter.transport.holding.append(held)
        delivering = asyncio.create_task(Dispatcher(adapter, owner="test").run())
        answer = await accept(adapter, r.submission(r.withdrawn(COLLABORATE)), caller="local")
        held.set()
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)
        return answer.under_way

    assert run(story) == ()


# receipts


def word(order, status="completed", **more):
    """What a recipient sends back about a notice."""
    return {
        "resourceType": "Task",
        "id": order,
        "status": status,
        "intent": "order",
        "code": {
            "coding": [{"system": "https://koord.example/fhir/CodeSystem/task-kind", "code": "samtycke-aterkallat"}]
        },
        **more,
    }


async def region_b_is_told(adapter):
    """Region B has a notice and has not answered; its id."""
    await sent(adapter, INTERVENTIONS, r.intervention(), i1=["region-b"])
    adapter.transport.expect("region-b", "lost")
    answer = await sent(adapter, r.withdrawn(INTERVENTIONS))
    return answer["notified"][0]["id"]


async def answer(adapter, task, caller=CALLER, request_id=None):
    body = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": task, "request": {"method": "PUT", "url": f"Task/{task['id']}"}}],
    }
    for each in (task, body):
        received = await receive(adapter, each, original=json.write(each), caller=caller, request_id=request_id)
    return received


@pytest.mark.parametrize(
    ("status", "state"),
    [("accepted", "acknowledged"), ("completed", "acknowledged"), ("received", "queued"), ("rejected", "queued")],
)
def test_a_peers_word_on_a_notice_is_a_receipt_if_it_says_that_it_has_stopped(status, state):
    async def story(adapter):
        order = await region_b_is_told(adapter)
        received = await answer(adapter, word(order, status))
        return order, received.written[0], await listed(adapter)

    order, written, orders = run(story, peers=PEERS)
    assert (written.type, written.id) == ("Task", order)
    assert orders == {"region-b": [state]}


def test_a_word_is_found_by_the_identifier_when_the_peer_has_ids_of_its_own():
    async def story(adapter):
        order = await region_b_is_told(adapter)
        own = word("42", identifier=[{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{order}"}])
        await answer(adapter, own)
        return await listed(adapter)

    assert run(story, peers=PEERS) == {"region-b": ["acknowledged"]}


def test_nobody_answers_for_another_or_on_a_notice_that_is_not_there():
    async def story(adapter):
        order = await region_b_is_told(adapter)
        other = Caller("region-c", frozenset({"care-provider"}), HsaId("TSTNMT2321000164-C000"))
        codes = []
        for task, caller in ((word(order), other), (word("01a1fdfa-4600-79c7-92fa-5ddc2a339259"), CALLER)):
            with pytest.raises(Conflict) as caught:
                await answer(adapter, task, caller)
            codes.append(caught.value.faults)
        return codes, await listed(adapter)

    (first, second), orders = run(story, peers=PEERS)
    assert first == second
    assert orders == {"region-b": ["queued"]}


def test_a_word_that_is_no_fhir_or_comes_with_something_else_is_refused():
    async def story(adapter):
        order = await region_b_is_told(adapter)
        rider = {"resource": {"resourceType": "Patient", "id": "p"}, "request": {"method": "PUT", "url": "Patient/p"}}
        entry = {"resource": word(order), "request": {"method": "PUT", "url": f"Task/{order}"}}
        both = {"resourceType": "Bundle", "type": "transaction", "entry": [entry, rider]}
        for body in (word(order, "finished"), both):
            with pytest.raises(AdapterError):
                await receive(adapter, body, original=json.write(body), caller=CALLER)
        return await listed(adapter)

    assert run(story, peers=PEERS) == {"region-b": ["queued"]}


# a peer's own notice


async def peer_says(adapter, body, request_id=None):
    return await receive(adapter, body, original=json.write(body), caller=CALLER, request_id=request_id)


def of_region_b():
    made = notice.Notice("01a1fdfa-4600-79c7-92fa-5ddc2a339259", business("c-x"), (("Task", business("ix")),), r.NOW)
    return notice.bundle(made)


def test_a_peers_notice_reaches_the_local_system_once_with_what_it_says():
    from service_world import package

    from adapter.store import records

    async def story(adapter):
        await peer_says(adapter, package("ix"))
        for request_id in ("q1", "q1", "q2"):
            received = await peer_says(adapter, of_region_b(), request_id)
        changes = await adapter.store.read(records.changes, 0, 100, origin="peer")
        return received, changes

    received, (task, told) = run(story, peers=PEERS)
    assert received.written[0].id == "01a1fdfa-4600-79c7-92fa-5ddc2a339259"
    assert told.patient_key == task.patient_key
    assert json.read(told.body) == {
        "record": "WithdrawalNotice",
        "id": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:01a1fdfa-4600-79c7-92fa-5ddc2a339259"},
        "consent": {"system": r.IDS, "value": "c-x"},
        "stop_using": [{"type": "Task", "id": {"system": r.IDS, "value": "ix"}}],
        "ordered_on": "2026-11-21T12:00:00+00:00",
    }


def test_what_a_peers_notice_says_beyond_a_notice_is_named_and_one_that_says_too_little_is_refused():
    async def story(adapter):
        more = of_region_b()
        more["entry"][0]["resource"]["description"] = "hej"
        received = await peer_says(adapter, more)
        codes = []
        for name in ("focus", "authoredOn"):
            less = of_region_b()
            del less["entry"][0]["resource"][name]
            with pytest.raises(Invalid) as caught:
                await peer_says(adapter, less)
            codes.append(caught.value.first.code)
        return [(loss.code, loss.where) for loss in received.losses], codes

    assert run(story, peers=PEERS) == ([("mapping.lost", "Task.description")], ["exchange.notice"] * 2)


def test_what_a_peer_withdraws_opens_and_closes_nothing_of_ours():
    async def story(adapter):
        await hand_over(adapter, *EVERYTHING, i1=["employer"])
        await peer_says(adapter, of_region_b())
        await drain(adapter)
        return adapter.transport.held("employer"), await listed(adapter)

    held, orders = run(story, peers=PEERS)
    assert (len(held), orders) == (1, {})


# the clock


def test_the_end_of_a_period_takes_back_and_tells_as_a_withdrawal_does_once():
    clock = r.Clock()

    async def story(adapter):
        await sent(adapter, INTERVENTIONS, LIMITED, r.intervention(), i1=["employer", "region-b"])
        await adapter.store.write(destinations.pause, "employer", who="a", why="b", now=clock())
        await hand_over(adapter, r.intervention("i2"), i2=["employer"])
        clock.now = r.NOW.replace(hour=22, minute=59, second=59)
        await withdraw.sweep(adapter)
        before = await listed(adapter)
        clock.forward(seconds=1)
        for _ in range(3):
            await withdraw.sweep(adapter)
        await adapter.store.write(destinations.resume, "employer", who="a", why="b", now=clock())
        await drain(adapter)
        blocked = await adapter.store.read(quarantine.messages, now=clock(), state="blocked")
        [order] = await adapter.store.read(withdrawals.listed)
        return before, [each.reason for each in blocked], order, adapter.transport.notices()

    before, reasons, order, notices = run(story, clock=clock)
    assert before == {}
    assert reasons == ["CONSENT_EXPIRED"]
    assert (order.destination, order.cause) == ("employer", "expired")
    assert len(notices) == 1


def test_an_attempt_that_was_decided_before_the_end_does_not_begin_after_it(monkeypatch):
    clock = r.Clock()
    clock.now = r.NOW.replace(hour=22, minute=59, second=59)
    decided = []

    async def story(adapter):
        clear = adapter.gate.clear

        def slow(*args, **named):
            result = clear(*args, **named)
            decided.append(type(result).__name__)
            clock.forward(seconds=1)
            return result

        monkeypatch.setattr(adapter.gate, "clear", slow)
        await sent(adapter, INTERVENTIONS, LIMITED, r.intervention(), i1=["employer"])
        withheld = await adapter.store.read(quarantine.messages, now=clock(), state="withheld")
        return [each.reason for each in withheld], adapter.transport.seen

    reasons, seen = run(story, clock=clock)
    assert decided == ["Cleared", "Withheld"]
    assert reasons == ["CONSENT_EXPIRED"]
    assert not [each for each in seen if each.destination == "employer"]


async def ended_after_its_renewal(adapter, clock):
    """Something was got on the first of two consents before the second came, and the first is over: who was told."""
    await sent(adapter, INTERVENTIONS, LIMITED, r.intervention(), i1=["employer"])
    await sent(adapter, RENEWING)
    clock.forward(days=2)
    await withdraw.sweep(adapter)
    return await listed(adapter)


def test_a_consent_that_was_renewed_before_it_ended_tells_nobody():
    clock = r.Clock()

    async def story(adapter):
        return await ended_after_its_renewal(adapter, clock)

    assert run(story, clock=clock) == {}


@pytest.mark.parametrize("change", [{"form": "written"}, {"period": {"end": "2026-11-22"}}, r.withdrawn(LIMITED)])
def test_what_ended_while_nobody_looked_is_told_though_the_consent_has_a_new_version_by_then(change):
    clock = r.Clock()

    async def story(adapter):
        await sent(adapter, INTERVENTIONS, LIMITED, r.intervention(), i1=["employer"])
        clock.forward(days=1)
        answer = await sent(adapter, narrowed(LIMITED) | change | {"version": 2})
        await withdraw.sweep(adapter)
        [order] = await adapter.store.read(withdrawals.listed)
        return told(answer), (order.cause, order.consent.version)

    assert run(story, clock=clock) == (["employer"], ("expired", 1))


def test_who_got_something_on_a_consent_that_has_ended_is_told_when_the_one_that_renewed_it_is_withdrawn():
    clock = r.Clock()

    async def story(adapter):
        before = await ended_after_its_renewal(adapter, clock)
        await sent(adapter, r.withdrawn(RENEWING, on="2026-11-23"))
        return before, [each.task["focus"]["identifier"]["value"] for each in adapter.transport.notices()]

    assert run(story, clock=clock) == ({}, ["c-c"])


def test_what_ended_while_nobody_looked_is_seen_to_at_the_next_start(tmp_path):
    clock = r.Clock()

    async def before():
        async with watched(tmp_path, clock=clock) as adapter:
            await sent(adapter, INTERVENTIONS, LIMITED, r.intervention(), i1=["employer"])

    async def after():
        async with watched(tmp_path, clock=clock) as adapter:
            working = asyncio.create_task(Dispatcher(adapter, owner="test").run())
            while not adapter.transport.notices():  # noqa: ASYNC110  the dispatcher tells nobody
                await asyncio.sleep(0.01)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            return adapter.transport.notices()

    asyncio.run(before())
    clock.forward(days=30)
    assert [each.destination for each in asyncio.run(after())] == ["employer"]


def test_a_sweep_that_is_cut_off_in_its_commit_does_nothing_and_the_next_does_all():
    clock = r.Clock()

    async def story(adapter):
        await sent(adapter, INTERVENTIONS, LIMITED, r.intervention(), i1=["employer"])
        clock.forward(days=2)

        def fails(tx):
            withdraw.expire(tx, adapter, now=clock())
            raise ValueError("power cut")

        with pytest.raises(ValueError, match="power cut"):
            await adapter.store.write(fails)
        between = await listed(adapter)
        await withdraw.sweep(adapter)
        await drain(adapter)
        return between, adapter.transport.notices()

    between, notices = run(story, clock=clock)
    assert between == {}
    assert len(notices) == 1


# any order of things

DOINGS = st.sampled_from(
    [
        "send employer",
        "send region-b",
        "send both",
        "withdraw c",
        "withdraw i",
        "narrow c",
        "limit c",
        "give c",
        "give i",
        "later",
        "night",
        "sweep",
    ]
)
TROUBLE = st.sampled_from(["", "", "lost", "reset", "unreachable", "busy", "error", "garbage"])


class Story:
    """A patient's consents as the local system has them, and who must be told what, all of it without the gate."""

    def __init__(self, adapter):
        self.adapter, self.number = adapter, 0
        self.newest: dict[str, dict] = {}
        self.given: dict[str, list[str]] = {"collaborate": [], "interventions": []}
        self.told: dict[tuple[str, str], int] = {}
        self.expected: list[tuple[str, str]] = []
        self.unseen: list[str] = []

    async def give(self, kind):
        self.number += 1
        spoken = self.adapter.clock().isoformat()
        more = {"recipient": r.EMPLOYER} if kind == "collaborate" else {}
        made = r.consent(f"{kind}-{self.number}", kind, given_on=spoken, informed_on=spoken, **more)
        await self.hand_over(made)
        self.newest[kind] = made
        self.given[kind].append(made["id"]["value"])

    async def change(self, kind, **more):
        old = self.newest[kind]
        self.newest[kind] = old | {"version": old["version"] + 1, **more}
        return await self.hand_over(self.newest[kind])

    async def hand_over(self, consent):
        """Whom it tells, beside those whom the end of a period should have told before."""
        unseen, self.unseen = self.unseen, []
        return sorted((Counter(told(await hand_over(self.adapter, consent))) - Counter(unseen)).elements())

    async def close(self, kind, *, always, **more):
        """The patient's last word on this is no. ``always``: who got something is told even if it was closed already."""
        expected = self.due(kind, always=always)
        assert await self.change(kind, **more) == sorted(to for _, to in expected)
        self.tell(expected)
        self.given[kind].remove(self.newest[kind]["id"]["value"])
        self.newest[kind] = self.newest[kind] | {"state": "withdrawn"}  # what is narrowed opens nothing that we send

    async def limit(self, kind):
        """The newest consent holds for a day from now; if it had ended it holds again, and what was told of its end is spent."""
        await self.change(kind, period={"end": (self.adapter.clock() + timedelta(hours=24)).isoformat()})
        named = self.newest[kind]["id"]["value"]
        self.told = {key: since for key, since in self.told.items() if key[0] != named}

    def night(self):
        """A day and more goes by; a consent that was limited ends, and nobody looks."""
        for kind, newest in self.newest.items():
            if newest["state"] == "given" and "period" in newest:
                unseen = self.due(kind, always=False)
                self.unseen += [to for _, to in unseen]
                self.tell(unseen)
        self.adapter.clock.forward(hours=30)

    async def sweep(self):
        await withdraw.sweep(self.adapter)
        self.unseen.clear()

    def due(self, kind, *, always):
        """Who got something on the newest consent, or on an earlier one that it had replaced, and has not been told since."""
        seen, named = self.adapter.transport.seen, self.newest[kind]["id"]["value"]
        expected = set()
        for consent in self.given[kind]:
            for to in ("employer", "region-b"):
                got = [
                    e
                    for e in seen[self.told.get((consent, to), 0) :]
                    if e.exposed and e.destination == to and not e.task and consent in e.consents
                ]
                if got and ((always and consent == named) or self.is_open(to)):
                    expected.add((consent, to))
        return expected

    def tell(self, expected):
        self.told |= dict.fromkeys(expected, len(self.adapter.transport.seen))
        self.expected += expected

    def is_open(self, to):
        needed = ["interventions", "collaborate"] if to == "employer" else ["interventions"]
        return all(self._holds(self.newest.get(kind)) for kind in needed)

    def _holds(self, consent):
        if consent is None or consent["state"] != "given":
            return False
        return "period" not in consent or self.adapter.clock().isoformat() <= consent["period"]["end"]


async def play(adapter, doings):  # noqa: C901  one case for each thing that is done
    """Do it all; after each step, that nothing covered starts to leave when it is not open, and who is told."""
    story, transport = Story(adapter), adapter.transport
    kinds = {"c": "collaborate", "i": "interventions"}
    for doing, trouble in doings:
        adapter.clock.forward(seconds=1)
        word, _, what = doing.partition(" ")
        if trouble:
            transport.expect("employer" if what in {"c", "employer"} else "region-b", trouble)
        kind = kinds.get(what, "")
        before = len(transport.seen)
        match word:
            case "send":
                to = ["employer", "region-b"] if what == "both" else [what]
                story.number += 1
                value = f"i{story.number}"
                await hand_over(adapter, r.intervention(value), **{value: to})
            case "give":
                await story.give(kind)
            case "later":
                adapter.clock.forward(minutes=20)
            case "night":
                story.night()
            case "sweep":
                story.night()
                await story.sweep()
            case _ if story.newest.get(kind, {}).get("state") != "given":
                continue
            case "withdraw":
                gone = {"on": adapter.clock().isoformat(), "by": "patient"}
                await story.close(kind, always=True, state="withdrawn", withdrawn=gone)
            case "narrow":
                await story.close(kind, always=False, purposes=["rehabilitation-need"])
            case "limit":
                await story.limit(kind)
        await drain(adapter)
        for each in transport.seen[before:]:
            assert each.task or story.is_open(each.destination), (doing, each.destination)
    return story


@given(st.lists(st.tuples(DOINGS, TROUBLE), min_size=3, max_size=14))
@settings(max_examples=60, deadline=None)
@example([("limit c", ""), ("sweep", ""), ("withdraw c", "")])
@example([("limit c", ""), ("night", ""), ("withdraw c", "")])
@example([("limit c", ""), ("give c", ""), ("sweep", ""), ("withdraw c", "")])
@example([("withdraw i", ""), ("limit c", ""), ("sweep", ""), ("withdraw c", "")])
@example([("limit c", ""), ("night", ""), ("limit c", ""), ("withdraw c", "")])
@example([("limit c", ""), ("sweep", ""), ("limit c", ""), ("withdraw c", "")])
@example([("limit c", ""), ("sweep", ""), ("limit c", ""), ("sweep", ""), ("withdraw c", "")])
def test_whatever_happens_nothing_leaves_that_is_not_open_and_each_who_got_something_is_told_once(doings):
    opening = [("give i", ""), ("give c", ""), ("send both", "")]

    async def told_in_the_end(adapter):
        story = await play(adapter, opening + doings)
        await story.sweep()
        for _ in range(8):
            adapter.clock.forward(minutes=20)
            await drain(adapter)
        arrived = [(e.task["focus"]["identifier"]["value"], e.destination) for e in adapter.transport.notices()]
        orders = await adapter.store.read(withdrawals.listed)
        states = {each.state(adapter.clock()) for each in orders}
        chain = await adapter.store.read(audit.verify_chain)
        return sorted(arrived), sorted(story.expected), len(orders), states, chain.breaks

    arrived, expected, orders, states, breaks = run(told_in_the_end)
    assert arrived == expected
    assert orders == len(expected)
    assert states <= {"acknowledged", "overdue"}
    assert breaks == ()


# killed


@pytest.mark.processes
def test_killed_between_commit_and_delivery_no_notice_is_lost_or_takes_effect_twice(tmp_path):
    """kill -9 while withdrawals are handed over and notices go out; started again until nothing waits."""
    r.settings(tmp_path)
    program = [sys.executable, str(Path(__file__).with_name("withdrawal_processes.py"))]
    log = tmp_path / "left.jsonl"
    acknowledged: list[str] = []
    for number, lines in enumerate((12, 25, 4, None)):
        process = subprocess.Popen([*program, str(tmp_path), str(number)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged.append(line.strip())
            if lines is not None and len(acknowledged) >= lines:
                break
        if lines is not None:
            os.kill(process.pid, signal.SIGKILL)
            acknowledged += [line.strip() for line in process.stdout]
        process.stdout.close()
        assert process.wait(60) in {0, -signal.SIGKILL}
    left = [stdlib_json.loads(line) for line in log.read_text().splitlines()]
    got = {each["value"] for each in left if not each["notice"]}
    notices = {(each["notice"], each["request"], each["value"]) for each in left if each["notice"]}
    withdrawn = {line.removeprefix("withdrawn ") for line in acknowledged if line.startswith("withdrawn ")}
    assert len(withdrawn) >= 10
    values = sorted(value for _, _, value in notices)
    assert values == sorted(set(values))  # under one id and one request id each, however often it left
    assert withdrawn & got <= set(values)
    assert set(values) <= got
