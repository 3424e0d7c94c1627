"""The order of the steps, with the real store, the real gate and receivers in memory."""

from __future__ import annotations

import asyncio
import json
from itertools import product

import pytest
import region as r

from adapter.errors import AdapterError, Conflict, Invalid
from adapter.flows import Dispatcher, accept
from adapter.store import audit, disclosures, quarantine, records

INTERVENTIONS = r.consent("k-a", "interventions")
COLLABORATE = r.consent("k-c", "collaborate", recipient=r.EMPLOYER)
INFORM_FK = r.consent("c-b", "inform-fk")


def run(coroutine):
    return asyncio.run(coroutine)


async def sent(adapter, *submissions):
    for document in submissions:
        await accept(adapter, document, caller="local")
    await Dispatcher(adapter, owner="test").drain()
    messages = await adapter.store.read(quarantine.messages, now=adapter.clock())
    return {m.destination: (m.state, m.reason) for m in messages}


def scenario(tmp_path, *submissions):
    async def go():
        async with r.region(tmp_path) as adapter:
            outcomes = await sent(adapter, *submissions)
            held = {d["id"]: [m.body.decode() for m in adapter.transport.held(d["id"])] for d in r.DESTINATIONS}
            return outcomes, held

    return run(go())


def test_with_consent_an_intervention_reaches_the_employer_and_only_what_is_permitted(tmp_path):
    outcomes, held = scenario(tmp_path, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]))
    assert outcomes == {"employer": ("delivered", None)}
    (body,) = held["employer"]
    assert "Kim Karlsson" in body
    for secret in ("HEMLIG", "191212121212", "Psykiatri", "k-a", "k-c"):
        assert secret not in body


def test_the_other_region_gets_the_whole_intervention(tmp_path):
    outcomes, held = scenario(tmp_path, r.submission(INTERVENTIONS, r.intervention(), i1=["region-b"]))
    assert outcomes == {"region-b": ("delivered", None)}
    (body,) = held["region-b"]
    for part in ("HEMLIG", "191212121212", "Psykiatri", "GC001"):
        assert part in body


@pytest.mark.parametrize(
    ("records", "to", "reason"),
    [
        ([], "employer", "NO_CONSENT"),
        ([INTERVENTIONS], "employer", "NO_CONSENT"),
        ([COLLABORATE], "employer", "NO_CONSENT"),
        ([INTERVENTIONS, COLLABORATE], "af", "CONSENT_FOR_ANOTHER"),
        ([INTERVENTIONS, INFORM_FK], "employer", "NO_CONSENT"),
        ([INTERVENTIONS, r.withdrawn(COLLABORATE)], "employer", "CONSENT_WITHDRAWN"),
        ([INTERVENTIONS, COLLABORATE | {"period": {"end": "2026-11-20"}}], "employer", "CONSENT_EXPIRED"),
        ([INTERVENTIONS, COLLABORATE], "fk", "RECORD_NOT_FOR_RECIPIENT"),
    ],
)
def test_without_the_right_consent_nothing_leaves_and_the_reason_is_kept(tmp_path, records, to, reason):
    outcomes, held = scenario(tmp_path, r.submission(*records, r.intervention(), i1=[to]))
    assert outcomes == {to: ("withheld", reason)}
    assert not any(held.values())


def test_a_withdrawal_stops_what_is_queued(tmp_path):
    async def go():
        async with r.region(tmp_path) as adapter:
            await accept(
                adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]), caller="local"
            )
            adapter.clock.forward(minutes=1)
            return await sent(adapter, r.submission(r.withdrawn(COLLABORATE))), adapter.transport.held("employer")

    assert run(go()) == ({"employer": ("blocked", "CONSENT_WITHDRAWN")}, ())


def test_a_withdrawal_between_decision_and_first_byte_is_seen(tmp_path):
    """The withdrawal commits after the gate has decided and before the attempt begins: the gate decides again."""

    async def go():
        async with r.region(tmp_path) as adapter:
            await accept(
                adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]), caller="local"
            )
            adapter.clock.forward(minutes=1)
            decide, raced = adapter.gate.clear, []

            def withdrawing(*arguments, **named):
                decision = decide(*arguments, **named)
                if not raced:
                    raced.append(adapter.store.write(_store_withdrawal, adapter).result())
                return decision

            adapter.gate.clear = withdrawing
            return await sent(adapter), adapter.transport.held("employer"), len(raced)

    assert run(go()) == ({"employer": ("withheld", "CONSENT_WITHDRAWN")}, (), 1)


def _store_withdrawal(tx, adapter):
    from adapter.domain import read_record

    record, _ = read_record(r.withdrawn(COLLABORATE))
    records.put(
        tx, adapter.new_record("@local", record), source="@local", request_id="x", origin="local", now=adapter.clock()
    )


@pytest.mark.parametrize(
    "fault", ["unreachable", "reset", "hang", "cut", "lost", "garbage", "busy", "error", "not-the-peer", "redirect"]
)
def test_a_peer_that_is_sick_costs_retries_and_never_a_message(tmp_path, fault):
    async def go():
        async with r.region(tmp_path) as adapter:
            adapter.transport.expect("region-b", fault, fault)
            first = await sent(adapter, r.submission(INTERVENTIONS, r.intervention(), i1=["region-b"]))
            for _ in range(2):
                adapter.clock.forward(minutes=16)
                last = await sent(adapter)
            return first, last, len(adapter.transport.held("region-b"))

    first, last, held = run(go())
    assert first["region-b"][0] == "queued"
    assert (last, held) == ({"region-b": ("delivered", None)}, 1)


def test_what_a_peer_will_not_have_waits_for_a_person_and_is_not_lost(tmp_path):
    async def go():
        async with r.region(tmp_path) as adapter:
            adapter.transport.expect("region-b", "rejected")
            return await sent(adapter, r.submission(INTERVENTIONS, r.intervention(), i1=["region-b"]))

    assert run(go()) == {"region-b": ("dead", "peer.rejected")}


def test_a_fault_of_our_own_costs_retries_and_then_waits_for_a_person(tmp_path):
    async def go():
        async with r.region(tmp_path) as adapter:
            adapter.record = lambda _: 1 / 0
            states = [await sent(adapter, r.submission(INTERVENTIONS, r.intervention(), i1=["region-b"]))]
            for _ in range(2):
                adapter.clock.forward(minutes=1)
                states.append(await sent(adapter))
            return [state["region-b"][0] for state in states]

    assert run(go()) == ["queued", "queued", "dead"]


def test_a_gate_that_fails_lets_nothing_out_and_leaves_the_message_to_a_person(tmp_path):
    async def go():
        async with r.region(tmp_path) as adapter:
            adapter.gate._mapper = None
            outcomes = await sent(adapter, r.submission(INTERVENTIONS, r.intervention(), i1=["region-b"]))
            return outcomes, adapter.transport.held("region-b")

    assert run(go()) == ({"region-b": ("dead", "GATE_ERROR")}, ())


def test_the_same_submission_again_is_answered_again_and_takes_effect_once(tmp_path):
    async def go():
        async with r.region(tmp_path) as adapter:
            document = r.submission(INTERVENTIONS, r.intervention(), i1=["region-b"])
            answers = [await accept(adapter, document, caller="local", request_id="q1") for _ in range(2)]
            await sent(adapter)
            with pytest.raises(Conflict) as caught:
                await accept(adapter, r.submission(INTERVENTIONS), caller="local", request_id="q1")
            return (
                [a.answer for a in answers],
                [a.replayed for a in answers],
                adapter.transport.held("region-b"),
                caught.value,
            )

    answers, replayed, held, conflict = run(go())
    assert answers[0] == answers[1]
    assert replayed == [False, True]
    assert len(held) == 1
    assert conflict.first.code == "store.duplicate-request"


def test_a_disclosure_is_entered_with_recipient_consents_and_categories(tmp_path):
    async def go():
        async with r.region(tmp_path) as adapter:
            await sent(adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]))
            message = (await adapter.store.read(quarantine.messages, now=adapter.clock()))[0]
            given = [adapter.record_id("@local", _business_id(value)) for value in ("k-a", "k-c")]
            patient = (await adapter.store.read(records.get, given[0])).patient_key
            entered = await adapter.store.read(disclosures.of_patient, patient)
            verified = await adapter.store.read(audit.verify_chain)
            return message, given, entered, verified

    message, given, (entry,), verified = run(go())
    assert entry.message_id == message.message_id
    assert entry.destination == "employer"
    assert sorted(entry.disclosure.consents) == sorted((each, 1) for each in given)
    assert "identity" not in entry.disclosure.categories
    assert not verified.breaks


def _business_id(value):
    from adapter.domain import BusinessId

    return BusinessId(system=r.IDS, value=value)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"records": [], "send": [], "extra": 1}, "record.unknown-field"),
        ({"records": [{"record": "Diagnosis"}]}, "record.unknown-kind"),
        ([], "record.invalid"),
        (r.submission(r.intervention(provider={"hsa_id": "TSTNMT2321000131-B000"})), "exchange.foreign-provider"),
        (r.submission(r.intervention(), i1=["nobody"]), "exchange.unknown-recipient"),
        (r.submission(i9=["fk"]), "exchange.unknown-record"),
        (r.submission(r.intervention(number="191302301212")), "record.invalid"),
    ],
)
def test_a_submission_that_is_wrong_is_refused_whole(tmp_path, document, code):
    async def go():
        async with r.region(tmp_path) as adapter:
            with pytest.raises(AdapterError) as caught:
                await accept(adapter, document, caller="local")
            kept = await adapter.store.read(lambda tx: tx.all("SELECT count(*) FROM record"))
            return caught.value, kept

    error, kept = run(go())
    assert code in {fault.code for fault in error.faults}
    assert kept == [(0,)]
    assert "1912" not in json.dumps([fault.as_line() for fault in error.faults])


def test_versions_only_rise_and_one_version_has_one_content(tmp_path):
    async def go():
        async with r.region(tmp_path) as adapter:
            await accept(adapter, r.submission(r.intervention(version=2)), caller="local")
            codes = []
            for document in (r.intervention(version=1), r.intervention(version=2, note="annat")):
                with pytest.raises(Conflict) as caught:
                    await accept(adapter, r.submission(document), caller="local")
                codes.append(caught.value.first.code)
            return codes

    assert run(go()) == ["exchange.older-version", "exchange.same-version"]


def test_every_fault_of_a_submission_is_told_at_once(tmp_path):
    async def go():
        async with r.region(tmp_path) as adapter:
            with pytest.raises(Invalid) as caught:
                await accept(adapter, r.submission({"record": "Offer"}, r.intervention(kind="x")), caller="local")
            return {fault.where for fault in caught.value.faults}

    places = run(go())
    assert "records[1].kind" in places
    assert len([place for place in places if place.startswith("records[0].")]) >= 5


@pytest.mark.parametrize(("more", "outcome"), [({}, "withheld"), ({"provider": r.PROVIDER}, "delivered")])
def test_an_outer_block_leaves_a_unit_of_our_own_provider_open_once_the_settings_say_whose_it_is(
    tmp_path, more, outcome
):
    unit = {"id": "unit-2", "recipient": "vard", "hsa_id": "TSTNMT2321000016-A002", "url": "http://127.0.0.1:1/u", "network": "loopback", "production": False}  # fmt: skip
    block = {
        "record": "Block",
        "id": {"system": r.IDS, "value": "b"},
        "kind": "outer",
        "set_on": "2026-01-01",
        **r.parties(),
    }

    async def go():
        async with r.region(tmp_path, destinations=[unit | more]) as adapter:
            return await sent(adapter, r.submission(INTERVENTIONS, block, r.intervention(), i1=["unit-2"]))

    assert run(go())["unit-2"][0] == outcome


def test_no_peer_can_be_named_so_that_it_writes_over_our_own_records(tmp_path):
    from adapter.flows.adapter import LOCAL

    peer = {
        "id": LOCAL,
        "role": "care-provider",
        "hsa_id": "TSTNMT2321000131-J001",
        "organisation": "TSTNMT2321000131-B000",
    }
    with pytest.raises(ValueError, match="peers"):
        r.settings(tmp_path, peers=[peer])


@pytest.mark.parametrize("state", ["sparrad", "samtycke-aterkallat", "vantar-pa-samtycke"])
def test_an_outside_actor_never_hears_that_there_is_a_block_or_that_a_consent_is_gone(tmp_path, state):
    wanted = r.submission(INTERVENTIONS, COLLABORATE, r.intervention(business_state=state), i1=["employer", "region-b"])
    outcomes, held = scenario(tmp_path, wanted)
    assert outcomes == {"employer": ("withheld", "UNEXPECTED_CONTENT"), "region-b": ("delivered", None)}
    assert held["employer"] == []


def test_one_who_waits_to_be_woken_can_be_cancelled_in_the_moment_of_the_wake(tmp_path):
    """However close the two come: else a dispatcher that is told to end just as a message ends goes on for ever."""

    async def story():
        ended = []
        async with r.region(tmp_path) as adapter:
            for before, between in product(range(4), repeat=2):
                waiting = asyncio.create_task(adapter.woken(3600))
                for _ in range(before):
                    await asyncio.sleep(0)
                adapter.wake()
                for _ in range(between):
                    await asyncio.sleep(0)
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.wait([waiting])
                    ended.append(waiting.cancelled())
        return ended

    ended = asyncio.run(story())
    assert len(ended) >= 4
    assert all(ended)
