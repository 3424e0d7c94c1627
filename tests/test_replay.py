"""Every decision can be made again from the store alone, and says the same, byte for byte; if it does not, it says what differs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import region as r
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.consent import disclosure, gate
from adapter.errors import Conflict
from adapter.flows import Dispatcher, accept
from adapter.flows.why import replay, why
from adapter.store import quarantine

INTERVENTIONS = r.consent("c-a", "interventions")
COLLABORATE = r.consent("c-c", "collaborate", recipient=r.EMPLOYER)
BLOCK = {
    "record": "Block",
    "id": {"system": r.IDS, "value": "b1"},
    "kind": "inner",
    **r.parties(),
    "set_on": "2026-11-21",
}
DELIVERED = r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer", "region-b", "fk"])


async def send(adapter, *documents):
    for document in documents:
        await accept(adapter, document, caller="local")
    await Dispatcher(adapter, owner="test").drain()
    return await adapter.store.read(quarantine.messages, now=adapter.clock())


async def replayed(adapter, message):
    """The verdict on every attempt of a message, the latest first."""
    _, attempts = await why(adapter.store, message, who="test", now=adapter.clock())
    return [each.verdict for each in await replay(adapter, message, [each.attempt.n for each in attempts])]


def codes(verdicts):
    return [verdict.code for verdict in verdicts]


def run(folder, work, **more):
    async def go():
        async with r.region(folder, **more) as adapter:
            return await work(adapter)

    return asyncio.run(go())


def test_what_was_sent_and_what_was_withheld_is_decided_again_to_the_same_bytes(tmp_path):
    async def work(adapter):
        messages = await send(adapter, DELIVERED)
        return {each.destination: (each.state, codes(await replayed(adapter, each.message_id))) for each in messages}

    assert run(tmp_path, work) == {
        "employer": ("delivered", ["why.identical"]),
        "region-b": ("delivered", ["why.identical"]),
        "fk": ("withheld", ["why.identical"]),
    }


def test_the_consents_are_those_of_the_attempt_and_not_those_of_today(tmp_path):
    async def work(adapter):
        (message,) = await send(adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]))
        adapter.clock.forward(days=400)
        await send(adapter, r.submission(r.withdrawn(COLLABORATE), BLOCK, r.intervention(version=2, note="Ny")))
        (again,) = await replay(adapter, message.message_id, [1])
        return again.verdict.code, json.loads(again.explanation)["decision"]

    assert run(tmp_path, work) == ("why.identical", "permit")


def test_settings_that_have_changed_since_do_not_matter(tmp_path):
    async def work(adapter):
        messages = await send(adapter, DELIVERED)
        return [each.message_id for each in messages]

    messages = run(tmp_path, work)
    changed = [
        {"url": "http://127.0.0.1:1/x", "network": "loopback", "production": False, **each, **other}
        for each, other in [
            (r.DESTINATIONS[2], {"organisation_number": "5566778899", "format": "xml"}),
            (r.DESTINATIONS[1], {"recipient": "kommun"}),
        ]
    ]

    async def again(adapter):
        return [codes(await replayed(adapter, each)) for each in messages]

    region = {
        "name": "Region A",
        "provider": "TSTNMT2321000016-A009",
        "unit": r.UNIT,
        "organisation_number": "2321000016",
        "source_system": "TSTNMT2321000016-S001",
    }
    assert run(tmp_path, again, destinations=changed, region=region) == [["why.identical"]] * 3


_STEPS = st.lists(st.sampled_from(["consent", "withdraw", "block", "send", "sick", "later"]), min_size=1, max_size=10)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
def test_whatever_happened_between_them_every_attempt_replays_to_the_same_bytes(tmp_path_factory, steps):
    async def work(adapter):
        versions, interventions = 0, 0
        for step in steps:
            if step in {"consent", "withdraw"}:
                versions += 1
                state = COLLABORATE | {"version": versions}
                document = (
                    state
                    if step == "consent"
                    else state | {"state": "withdrawn", "withdrawn": {"on": "2026-11-21", "by": "patient"}}
                )
                await accept(adapter, r.submission(INTERVENTIONS, document), caller="local")
            elif step == "block":
                await accept(
                    adapter, r.submission(BLOCK | {"id": {"system": r.IDS, "value": f"b{versions}"}}), caller="x"
                )
            elif step == "send":
                interventions += 1
                name = f"i{interventions}"
                await send(adapter, r.submission(r.intervention(name), **{name: ["employer", "region-b"]}))
            elif step == "sick":
                adapter.transport.expect("employer", "hang", "unreachable")
            else:
                adapter.clock.forward(minutes=20)
                await Dispatcher(adapter, owner="test").drain()
        adapter.clock.forward(days=30)
        messages = await adapter.store.read(quarantine.messages, now=adapter.clock())
        decided = [each.message_id for each in messages if not each.urgent]  # notices are not decided on consents
        return [verdict for message in decided for verdict in await replayed(adapter, message)]

    assert set(codes(run(tmp_path_factory.mktemp("region"), work))) <= {"why.identical"}


def test_an_attempt_that_a_crash_broke_off_gets_its_explanation_from_the_replay(tmp_path):
    async def crashed(adapter):
        async def dies(_):
            raise asyncio.CancelledError

        adapter.transport.send = dies
        with pytest.raises(asyncio.CancelledError):
            await asyncio.gather(*await _begun(adapter))

    async def _begun(adapter):
        await accept(
            adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]), caller="local"
        )
        dispatcher = Dispatcher(adapter, owner="test")
        await dispatcher.once()
        return tuple(dispatcher._tasks)

    async def after(adapter):
        adapter.clock.forward(minutes=5)
        (message,) = await send(adapter)
        _, attempts = await why(adapter.store, message.message_id, who="test", now=adapter.clock())
        verdicts = await replay(adapter, message.message_id, [each.attempt.n for each in attempts])
        return [
            (each.attempt.n, each.attempt.status, each.explanation is not None, again.verdict.code, again.explanation)
            for each, again in zip(attempts, verdicts, strict=True)
        ]

    run(tmp_path, crashed)
    (last, first) = run(tmp_path, after)
    assert last[:4] == (2, "delivered", True, "why.identical")
    assert first[:4] == (1, "unknown", False, "why.made-anew")
    assert json.loads(first[4])["decision"] == "permit"


def test_under_another_policy_it_says_so_and_nothing_worse(tmp_path, monkeypatch):
    async def work(adapter):
        (message,) = await send(adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]))
        policy = replace(disclosure.load(), version="another")
        monkeypatch.setattr(gate.disclosure, "load", lambda: policy)
        return await replayed(adapter, message.message_id)

    (verdict,) = run(tmp_path, work)
    assert (verdict.code, verdict.entry.exit) == ("why.other-policy", 1)
    assert "policy" in verdict.why


def test_a_store_in_which_a_consent_has_been_moved_is_found_out(tmp_path):
    """Bodies are sealed to their rows, so what can be altered is which rows there are."""

    async def work(adapter):
        (message,) = await send(adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]))
        return message.message_id

    message = run(tmp_path, work)
    with sqlite3.connect(tmp_path / "koord.sqlite") as altered:
        assert altered.execute("DELETE FROM record WHERE kind = 'Consent' AND sequence = 1").rowcount == 1
    altered.close()

    async def again(adapter):
        return await replayed(adapter, message)

    (verdict,) = run(tmp_path, again)
    assert (verdict.code, verdict.entry.exit) == ("why.differs", 6)
    assert {"decision", "snapshot"} <= set(verdict.why.split(", "))


def test_the_same_decision_that_becomes_other_bytes_is_told_apart(tmp_path):
    async def work(adapter):
        (message,) = await send(adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]))
        (tmp_path / "id.key").write_bytes(bytes(32))
        return await replayed(adapter, message.message_id)

    (verdict,) = run(tmp_path, work)
    assert (verdict.code, verdict.entry.exit) == ("why.other-content", 1)


def test_an_attempt_of_which_the_basis_is_not_known_cannot_be_replayed_and_says_so(tmp_path):
    async def work(adapter):
        (message,) = await send(adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]))
        await adapter.store.write(lambda tx: tx.run("UPDATE attempt SET basis = NULL"))
        (explained,) = (await why(adapter.store, message.message_id, who="test", now=adapter.clock()))[1]
        return explained.explanation, await replayed(adapter, message.message_id)

    explanation, (verdict,) = run(tmp_path, work)
    assert json.loads(explanation)["decision"] == "permit"
    assert verdict.code == "why.no-basis"


def test_a_message_or_attempt_that_is_not_there_is_an_error(tmp_path):
    async def work(adapter):
        (message,) = await send(adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]))
        for asked in (
            why(adapter.store, "absent", who="test", now=adapter.clock()),
            replay(adapter, "absent", [1]),
            replay(adapter, message.message_id, [2]),
        ):
            with pytest.raises(Conflict, match="store.unknown-message"):
                await asked

    run(tmp_path, work)


@pytest.mark.processes
def test_another_process_replays_to_the_same_bytes(tmp_path):
    """Nothing of the process that decided, such as its random tokens for persons, stands in an explanation."""

    async def work(adapter):
        return [each.message_id for each in await send(adapter, DELIVERED)]

    messages = run(tmp_path, work)
    script = (
        "import asyncio, sys; sys.path.insert(0, sys.argv[1]); import test_replay as t; from pathlib import Path\n"
        "async def work(adapter): return [t.codes(await t.replayed(adapter, each)) for each in sys.argv[3:]]\n"
        "print(t.run(Path(sys.argv[2]), work))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path), *messages],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.strip() == str([["why.identical"]] * 3)
