"""A peer withdraws: once our local system says that it has stopped, the peer is told, and its order is closed without a telephone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import region as r
from service_world import codes, request_id, serving
from withdrawal_world import INTERVENTIONS, business, drain, listed, sent, watched

from adapter.consent import notice as notices
from adapter.consent.gate import Cleared, Withheld
from adapter.consent.inspection import leaves
from adapter.consent.notice import RECEIPT
from adapter.consent.policy import Recipient
from adapter.errors import Conflict
from adapter.flows import receive, stopped
from adapter.store import audit, quarantine
from adapter.sweden import HsaId
from adapter.transport.login import Caller
from adapter.wire import json, xml

A, B = "TSTNMT2321000016-A000", "TSTNMT2321000131-B000"
NOTICE = "01a1fdfa-4600-79c7-92fa-5ddc2a339259"


def peer(name, organisation):
    return {"id": name, "role": "care-provider", "hsa_id": organisation, "organisation": organisation}


OF_A = {"peers": [peer("region-b", B)]}
OF_B = {
    "peers": [peer("region-a", A), peer("reads-only", "TSTNMT2321000164-C000")],
    "destinations": [
        {
            "id": "to-a",
            "recipient": "vard",
            "hsa_id": A,
            "url": "http://127.0.0.1:1/a",
            "network": "loopback",
            "production": False,
        }
    ],
    "region": {
        "name": "Region B",
        "provider": B,
        "unit": "TSTNMT2321000131-B001",
        "organisation_number": "2321000131",
        "source_system": "TSTNMT2321000131-S001",
    },
}


def play(story):
    """A story in two regions with an adapter each."""

    async def both(tmp_path):
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        async with watched(tmp_path / "a", **OF_A) as a, watched(tmp_path / "b", **OF_B) as b:
            return await story(a, b)

    return lambda tmp_path: asyncio.run(both(tmp_path))


async def withdrawn_by_a(a, b):
    """Region A sends something to region B and withdraws; what B gets. The id of the notice."""
    await sent(a, INTERVENTIONS, r.intervention(), i1=["region-b"])
    a.transport.expect("region-b", "lost")
    answer = await sent(a, r.withdrawn(INTERVENTIONS))
    await carried(a, "region-b", b, Caller("region-a", frozenset({"care-provider"}), HsaId(A)))
    return answer["notified"][0]["id"]


async def carried(sender, destination, receiver, caller):
    """What a destination holds, taken in by the adapter that it is."""
    for each in sender.transport.held(destination):
        await receive(receiver, json.read(each.body), original=each.body, caller=caller, request_id=each.request_id)


async def answered(a, b):
    await drain(b)
    await carried(b, "to-a", a, Caller("region-b", frozenset({"care-provider"}), HsaId(B)))


def test_when_the_local_system_has_stopped_the_peer_is_told_and_its_order_is_closed(tmp_path):
    @play
    async def story(a, b):
        notice = await withdrawn_by_a(a, b)
        before = await listed(a)
        await stopped.say(b, notice, by="Karin Koordinator", who="journal")
        await answered(a, b)
        return before, await listed(a)

    assert story(tmp_path) == ({"region-b": ["queued"]}, {"region-b": ["acknowledged"]})


def test_the_first_word_counts_and_is_sent_once(tmp_path):
    @play
    async def story(a, b):
        notice = await withdrawn_by_a(a, b)
        first = await stopped.say(b, notice, by="Karin", who="journal")
        await drain(b)
        second = await stopped.say(b, notice, by="Någon annan", who="journal")
        await drain(b)
        entries = [row.entry for row in await b.store.read(audit.entries)]
        return first, second, len(b.transport.held("to-a")), entries

    first, second, arrived, entries = story(tmp_path)
    assert first == second
    assert arrived == 1
    said = [entry for entry in entries if entry.event == "withdrawal.stopped"]
    assert [(entry.who, entry.details) for entry in said] == [("journal", b"Karin")]
    [told] = [entry for entry in entries if entry.event == "receipt.delivered"]
    assert told.patient_key == said[0].patient_key is not None


def test_a_receipt_needs_no_consent_and_none_that_changes_holds_it_up(tmp_path):
    @play
    async def story(a, b):
        notice = await withdrawn_by_a(a, b)
        await stopped.say(b, notice, by="Karin", who="journal")
        own = r.consent("own", "interventions") | {
            "unit": {"hsa_id": "TSTNMT2321000131-B001"}, "provider": {"hsa_id": B},
        }  # fmt: skip
        await sent(b, own)
        await sent(b, r.withdrawn(own))
        await answered(a, b)
        return await listed(a)

    assert story(tmp_path) == {"region-b": ["acknowledged"]}


def test_a_receipt_is_tried_for_ever_and_what_refuses_it_is_for_a_person(tmp_path):
    @play
    async def story(a, b):
        notice = await withdrawn_by_a(a, b)
        b.transport.expect("to-a", *["unreachable"] * 20, "forbidden")
        [message] = await stopped.say(b, notice, by="Karin", who="journal")
        states = []
        for _ in range(21):
            await drain(b)
            states.append((await b.store.read(quarantine.message, message, now=b.clock())).state)
            b.clock.forward(hours=24)
        found = await b.store.read(quarantine.message, message, now=b.clock())
        return states, found.reason, found.purpose

    states, reason, purpose = story(tmp_path)
    assert states == ["queued"] * 20 + ["dead"]
    assert (reason, purpose) == ("peer.forbidden", "receipt")


def test_a_notice_that_nobody_has_sent_cannot_be_answered(tmp_path):
    @play
    async def story(a, b):
        await withdrawn_by_a(a, b)
        with pytest.raises(Conflict) as caught:
            await stopped.say(b, NOTICE, by="Karin", who="journal")
        await drain(b)
        return caught.value.first.code, b.transport.held("to-a")

    assert story(tmp_path) == ("exchange.unknown-notice", ())


def test_a_peer_that_has_no_destination_must_be_told_otherwise_and_nothing_is_written(tmp_path):
    @play
    async def story(a, b):
        consent = business("c")
        made = notices.Notice(NOTICE, consent, (("Task", consent),), r.NOW)
        body = notices.bundle(made)
        caller = Caller("reads-only", frozenset({"care-provider"}), HsaId("TSTNMT2321000164-C000"))
        await receive(b, body, original=json.write(body), caller=caller)
        with pytest.raises(Conflict) as caught:
            await stopped.say(b, NOTICE, by="Karin", who="journal")
        events = [row.entry.event for row in await b.store.read(audit.entries)]
        return caught.value.first.code, events

    code, events = story(tmp_path)
    assert code == "exchange.no-way-back"
    assert "withdrawal.stopped" not in events


def test_a_destination_that_is_taken_away_afterwards_leaves_a_dead_letter(tmp_path):
    @play
    async def story(a, b):
        notice = await withdrawn_by_a(a, b)
        [message] = await stopped.say(b, notice, by="Karin", who="journal")
        b.recipients.pop("to-a")
        await drain(b)
        return await b.store.read(quarantine.message, message, now=b.clock())

    found = story(tmp_path)
    assert (found.state, found.reason) == ("dead", "config.no-such-destination")


# over HTTP


@pytest.mark.processes
def test_the_local_system_says_it_over_http_and_sees_it_in_the_queue(tmp_path):
    with serving(tmp_path) as world:
        consent = business("c-peer")
        body = notices.bundle(notices.Notice(NOTICE, consent, (("Consent", consent),), r.NOW))
        assert world.send(body).status_code == 200
        [change] = world.call("journal", "GET", "/records/changes").json()["changes"]
        heard = change["record"]["id"]["value"].removeprefix("urn:uuid:")
        path = f"/notices/{heard}/receipt"
        unknown = world.call("journal", "POST", f"/notices/{request_id()}/receipt", json={"by": "Karin"})
        empty = world.call("journal", "POST", path, json={})
        said, again = (world.call("journal", "POST", path, json={"by": "Karin"}) for _ in range(2))
        queued = world.call("journal", "GET", "/queue").json()["messages"]
    assert (unknown.status_code, codes(unknown)) == (404, ["exchange.unknown-notice"])
    assert empty.status_code == 400
    assert (said.status_code, said.json()) == (202, again.json())
    assert [(each["id"], each["purpose"], each["urgent"], each["destination"]) for each in queued] == [
        (said.json()["messages"][0], "receipt", True, "region-b")
    ]


# what it holds


def cleared(gate, notice_id=NOTICE, **more):
    to = Recipient(**{"destination": "to-a", "type": "vard", "hsa_id": HsaId(A)} | more)
    return gate.receipt(notice_id, destination=to, now=r.NOW, request_id="q", correlation_id="c")


@pytest.fixture
def gate(tmp_path):
    async def made():
        async with watched(Path(tmp_path)) as adapter:
            return adapter.gate

    return asyncio.run(made())


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_receipt_holds_what_is_listed_and_nothing_else(gate, form):
    made = cleared(gate, format=form)
    assert isinstance(made, Cleared), made.faults
    seen = (json if form == "json" else xml).read(made.body)
    [task] = [entry["resource"] for entry in seen["entry"]]
    assert {path.partition(".")[2] for path, _ in leaves(task)} == RECEIPT.elements["Task"]
    assert task["id"] == NOTICE
    assert task["status"] == "completed"
    assert (made.records, made.consent_versions, made.consent_version, made.categories) == ((), (), None, ())
    told = json.read(made.explanation)
    assert (told["reason"], told["law"]) == ("PERMITTED_RECEIPT", "GDPR artikel 7.3 och 19")
    assert told["recipient"] == f"vard hsaid|{A}"


def test_an_id_that_tells_a_personal_number_is_not_sent_back(gate):
    stop = cleared(gate, "notice-191212121212")
    assert isinstance(stop, Withheld)
    assert stop.reason == "UNEXPECTED_CONTENT"


@pytest.mark.parametrize("more", [{"type": "stranger"}, {"hsa_id": None}])
def test_one_who_is_not_on_the_list_of_recipients_gets_no_receipt(gate, more):
    stop = cleared(gate, **more)
    assert isinstance(stop, Withheld)
    assert stop.reason == "UNKNOWN_RECIPIENT"


def test_whatever_goes_wrong_inside_nothing_leaves(gate, monkeypatch):
    monkeypatch.setattr("adapter.consent.notice.receipt", lambda _: 1 / 0)
    stop = cleared(gate)
    assert isinstance(stop, Withheld)
    assert stop.reason == "GATE_ERROR"
