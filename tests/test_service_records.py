"""The region's own system and those who run the adapter: records in, changes out, the queue and what is stuck in it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import httpx
import pytest
import region as r
from service_world import CANARIES, bundle, codes, fresh, of_region_b, package, request_id, serving

from adapter.flows import Adapter, Dispatcher
from adapter.service import create_app
from adapter.store import audit
from adapter.transport.memory import Memory
from adapter.transport.server import running
from adapter.wire import json

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service")) as world:
        yield world


def deliver(world):
    asyncio.run(Dispatcher(world.adapter, owner="test").drain())


def ask(world, path, **parameters):
    return world.call("journal", "GET", path, params=parameters)


def act(world, path, why="the test asks for it"):
    return world.call("journal", "POST", path, json={"why": why})


# records


def test_what_is_handed_over_is_stored_and_queued_before_the_answer(world):
    mine, consent = fresh("i"), fresh("c")
    before = world.stored()
    document = r.submission(r.consent(consent, "interventions"), r.intervention(mine), **{mine: ["region-b"]})
    answer = world.hand_over(document)
    after = world.stored()
    assert answer.status_code == 202
    told = answer.json()
    assert [(each["kind"], each["state"]) for each in told["records"]] == [
        ("Consent", "stored"),
        ("Intervention", "stored"),
    ]
    assert [(each["to"], each["state"]) for each in told["messages"]] == [("region-b", "queued")]
    assert (told["warnings"], told["underWay"]) == ([], [])
    assert (after["record"] - before["record"], after["outbox"] - before["outbox"]) == (2, 1)


def test_a_submission_takes_effect_once(world):
    mine, document = request_id(), r.submission(r.intervention(fresh("i")))
    first = world.hand_over(document, x_request_id=mine)
    before = world.stored()
    second = world.hand_over(document, x_request_id=mine)
    assert (second.status_code, second.headers["x-replayed"]) == (202, "true")
    assert second.json() == first.json()
    assert world.stored() == before
    third = world.hand_over(r.submission(r.intervention(fresh("i"))), x_request_id=mine)
    assert (third.status_code, codes(third)) == (409, ["store.duplicate-request"])


def test_a_submission_whose_answer_was_lost_is_answered_though_the_record_has_moved_on(world):
    value, mine = fresh("i"), request_id()
    first = world.hand_over(r.submission(r.intervention(value)), x_request_id=mine)
    world.hand_over(r.submission(r.intervention(value, version=2)))
    assert world.hand_over(r.submission(r.intervention(value)), x_request_id=mine).json() == first.json()
    late = world.hand_over(r.submission(r.intervention(value)))
    assert (late.status_code, codes(late)) == (409, ["exchange.older-version"])


def test_the_correlation_id_of_a_submission_follows_its_messages(world):
    value, case = fresh("i"), request_id()
    world.hand_over(r.submission(r.intervention(value), **{value: ["af"]}), x_correlation_id=case)
    assert ask(world, "/queue", destination="af").json()["messages"][0]["correlationId"] == case


def unknown_field():
    return r.intervention(fresh("i")) | {"diagnosis": "F32"}


REFUSED = {
    "no JSON": (b"<records/>", 400, "wire.json"),
    "a key twice": (b'{"records":[],"records":[]}', 400, "wire.duplicate-key"),
    "a list": ([], 400, "record.invalid"),
    "an unknown part": ({"records": [], "drop": "191212121212"}, 400, "record.unknown-field"),
    "an unknown kind": (r.submission({"record": "Diagnosis"}), 400, "record.unknown-kind"),
    "an unknown field": (r.submission(unknown_field()), 400, "record.unknown-field"),
    "a number that is none": (r.submission(r.intervention("x", number="191213121212")), 400, "record.invalid"),
    "another provider": (r.submission(of_region_b(r.intervention("x"))), 422, "exchange.foreign-provider"),
    "an unknown destination": (r.submission(r.intervention("x"), x=["nobody"]), 422, "exchange.unknown-recipient"),
    "an unknown record": (r.submission(**{"never-was": ["fk"]}), 422, "exchange.unknown-record"),
    "one good, one bad": (r.submission(r.intervention("good"), unknown_field()), 400, "record.unknown-field"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_submission_that_is_wrong_anywhere_leaves_nothing(world, name):
    document, status, code = REFUSED[name]
    before = world.stored()
    answer = world.hand_over(document)
    assert (answer.status_code, codes(answer)[0]) == (status, code)
    assert CANARIES.search(answer.text) is None
    assert world.stored() == before


def test_the_local_system_speaks_json(world):
    before = world.stored()
    for content_type in ("application/fhir+xml", "text/plain", ""):
        answer = world.hand_over(r.submission(), content_type=content_type, accept="application/json")
        assert (answer.status_code, codes(answer)) == (415, ["exchange.media-type"])
    assert world.stored() == before


# changes


def test_the_feed_gives_what_peers_sent_in_order_and_once(world):
    start = ask(world, "/records/changes", limit=1000).json()["next"]
    values = [fresh("i") for _ in range(5)]
    for value in values:
        world.send(package(value))
    world.hand_over(r.submission(r.intervention(fresh("i"))))  # ours is no news to ourselves
    seen, after = [], start
    while page := (answer := ask(world, "/records/changes", after=after, limit=2).json())["changes"]:
        assert len(page) <= 2
        seen += [change["record"]["id"]["value"] for change in page]
        after = answer["next"]
    assert seen == values
    assert ask(world, "/records/changes", after=after).json() == {"changes": [], "next": after}


def test_reading_the_feed_is_audited_when_it_gave_something(world):
    world.send(package())
    before = world.stored()["audit"]
    ask(world, "/records/changes", limit=1)
    (entry,) = world.adapter.store.read(audit.entries, after=before).result()
    assert (entry.entry.event, entry.entry.who) == ("changes.read", "journal")
    assert ask(world, "/records/changes", after=10**14).json() == {"changes": [], "next": 10**14}
    assert world.stored()["audit"] == before + 1


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"after": "-1"}, "exchange.number"),
        ({"after": "x"}, "exchange.number"),
        ({"after": "১"}, "exchange.number"),
        ({"after": "1" * 16}, "exchange.number"),
        ({"limit": "0"}, "exchange.number"),
        ({"limit": "1001"}, "exchange.number"),
        ({"since": "1"}, "exchange.parameter"),
        ({"after": ["1", "2"]}, "exchange.parameter"),
    ],
)
def test_the_feed_has_two_parameters(world, parameters, code):
    answer = ask(world, "/records/changes", **parameters)
    assert (answer.status_code, codes(answer)) == (400, [code])


# the queue


def test_a_paused_destination_gets_nothing_until_it_is_resumed(world):
    value = fresh("i")
    world.hand_over(r.submission(r.intervention(value), **{value: ["municipality"]}))
    before = world.stored()["audit"]
    assert act(world, "/destinations/municipality/pause", "their system is down").status_code == 204
    deliver(world)
    (shown,) = [d for d in ask(world, "/queue").json()["destinations"] if d["id"] == "municipality"]
    assert (shown["paused"], shown["queued"]) == (True, 1)
    assert act(world, "/destinations/municipality/resume").status_code == 204
    deliver(world)
    (message,) = ask(world, "/queue", destination="municipality").json()["messages"]
    assert (message["state"], message["reason"]) == ("withheld", "NO_CONSENT")
    first = world.adapter.store.read(audit.entries, after=before, limit=1).result()[0].entry
    assert (first.event, first.who, first.what) == ("destination.paused", "journal", "municipality")
    assert first.details == b"their system is down"


def stuck(world, number="196101182803"):
    """A message that the other region has refused; its id."""
    value = fresh("i")
    document = r.submission(
        r.consent(fresh("c"), "interventions", number=number),
        r.intervention(value, number=number),
        **{value: ["region-b"]},
    )
    deliver(world)  # what other tests have left in the queue
    world.adapter.transport.expect("region-b", "rejected")
    (message,) = world.hand_over(document).json()["messages"]
    deliver(world)
    return message["id"]


def test_a_dead_letter_is_shown_with_its_attempts_and_released(world):
    message = stuck(world)
    (shown,) = [each for each in ask(world, "/dead").json()["messages"] if each["id"] == message]
    assert (shown["state"], shown["reason"]) == ("dead", "peer.rejected")
    assert [(attempt["n"], attempt["exposed"]) for attempt in shown["attempts"]] == [(1, "perhaps")]
    assert act(world, f"/dead/{message}/release").status_code == 204
    deliver(world)
    assert message not in {each["id"] for each in ask(world, "/dead").json()["messages"]}
    states = {each["id"]: each["state"] for each in ask(world, "/queue").json()["messages"]}
    assert states[message] == "delivered"
    again = act(world, f"/dead/{message}/release")
    assert (again.status_code, codes(again)) == (409, ["store.wrong-state"])


def test_a_dead_letter_is_discarded_with_a_reason(world):
    message = stuck(world, "195009072553")
    assert act(world, f"/dead/{message}/discard", "sent by letter").status_code == 204
    (shown,) = [each for each in ask(world, "/queue").json()["messages"] if each["id"] == message]
    assert (shown["state"], shown["reason"]) == ("discarded", "operator.discarded")


@pytest.mark.parametrize(
    "path",
    ["/destinations/fk/pause", "/destinations/fk/resume", "/dead/x/release", "/dead/x/discard"],
)
@pytest.mark.parametrize("body", [{}, {"why": ""}, {"why": 1}, {"why": "x", "who": "me"}, {"why": "x" * 201}, []])
def test_who_runs_it_says_why(world, path, body):
    before = world.stored()
    answer = world.call("journal", "POST", path, json=body)
    assert answer.status_code == 400
    assert codes(answer)[0].startswith("record.")
    assert world.stored() == before


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/destinations/nobody/pause", 404, "exchange.unknown-destination"),
        ("/destinations/191212121212/resume", 404, "exchange.unknown-destination"),
        ("/dead/191212121212/release", 404, "store.unknown-message"),
        ("/dead/191212121212/discard", 404, "store.unknown-message"),
    ],
)
def test_what_is_not_there_is_not_acted_on(world, path, status, code):
    before = world.stored()
    answer = act(world, path)
    assert (answer.status_code, codes(answer)) == (status, [code])
    assert CANARIES.search(answer.text) is None
    assert world.stored() == before


def test_the_queue_names_no_patient(world):
    for path in ("/queue", "/dead"):
        assert CANARIES.search(ask(world, path).text) is None
    for parameters in ({"state": "queued"}, {"destination": "fk"}, {"before": "1"}, {"limit": "1"}):
        assert ask(world, "/queue", **parameters).status_code == 200
    assert codes(ask(world, "/queue", patient="191212121212")) == ["exchange.parameter"]
    assert ask(world, "/queue", before="1").json()["messages"] == []


# the whole of it running


def test_the_application_delivers_what_is_queued_and_closes_what_it_opened(tmp_path):
    configured = r.settings(tmp_path, server={"port": 0, "base_url": "http://127.0.0.1:1", "authentication": "none"})
    transport = Memory([d.id for d in configured.destinations])

    async def go():
        adapter = Adapter.open(configured, transport=transport)
        async with (
            running(create_app(adapter), configured.server) as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            document = r.submission(r.consent("c", "interventions"), r.intervention("i"), i=["region-b"])
            assert (await client.post("/records", json=document)).status_code == 202
            for _ in range(200):
                if transport.held("region-b"):
                    break
                await asyncio.sleep(0.05)
        return adapter

    adapter = asyncio.run(go())
    assert len(transport.held("region-b")) == 1
    with pytest.raises(Exception, match=r"store\.closed"):
        adapter.store.read(audit.entries).result()


def test_a_dispatcher_that_fails_is_started_again(tmp_path, monkeypatch, caplog):
    configured = r.settings(tmp_path, server={"port": 0, "base_url": "http://127.0.0.1:1", "authentication": "none"})
    transport, run, failures = (
        Memory([d.id for d in configured.destinations]),
        Dispatcher.run,
        [ValueError("191212121212")],
    )

    async def once_broken(self):
        if failures:
            raise failures.pop()
        await run(self)

    monkeypatch.setattr(Dispatcher, "run", once_broken)
    monkeypatch.setattr("adapter.service.app._REST_S", 0.01)

    async def go():
        adapter = Adapter.open(configured, transport=transport)
        async with running(create_app(adapter), configured.server) as url:
            async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                await client.post(
                    "/records", json=r.submission(r.consent("c", "interventions"), r.intervention("i"), i=["region-b"])
                )
            for _ in range(200):
                if transport.held("region-b"):
                    break
                await asyncio.sleep(0.05)

    asyncio.run(go())
    assert len(transport.held("region-b")) == 1
    assert "dispatcher failed: ValueError" in caplog.text
    assert not CANARIES.search(caplog.text)


def test_serve_listens_until_it_is_told_to_stop(tmp_path):
    r.settings(tmp_path)
    program = textwrap.dedent(
        """
        import sys, pathlib
        sys.path.insert(0, sys.argv[1])
        import region
        from adapter.service import serve
        server = {"port": 0, "base_url": "http://127.0.0.1:1", "authentication": "none"}
        serve(region.settings(pathlib.Path(sys.argv[2]), server=server))
        """
    )
    command = [sys.executable, "-c", program, os.path.dirname(__file__), str(tmp_path)]  # noqa: PTH120
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            url = json.read(process.stdout.readline().strip())["ready"]
            answer = httpx.post(f"{url}/fhir", json=bundle(of_region_b(r.intervention("i"))), trust_env=False)
            assert answer.status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert process.stderr.read() == b""
        finally:
            process.kill()
