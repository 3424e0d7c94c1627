"""Consents of other systems through the real service: handed over, deciding, withdrawn, told of; and what a peer gets of them."""

from __future__ import annotations

import asyncio

import other_systems as o
import pytest
import region as r
from service_world import codes, fresh, request_id, serving

from adapter.flows import Dispatcher
from adapter.wire import json

pytestmark = pytest.mark.processes


@pytest.fixture
def world(tmp_path):
    with serving(tmp_path) as world:
        yield world
    assert not [line for line in world.logged if o.TEXT in line]


def deliver(world):
    asyncio.run(Dispatcher(world.adapter, owner="test").drain())


def of(world, message):
    """A message as the queue shows it, with the explanations of its attempts."""
    return world.call("journal", "GET", f"/queue/{message['id']}/why").json()


@pytest.mark.parametrize("release", ["R4", "R5"])
def test_from_the_hand_over_to_the_notice(world, release):
    mine, consent, own = fresh("i"), fresh("x"), fresh("c")
    given = o.consent(consent, release=release)
    document = o.hand(given, records=[r.consent(own, "interventions"), r.intervention(mine)], **{mine: ["employer"]})
    key = request_id()
    first, again = (world.hand_over(document, x_request_id=key) for _ in range(2))
    assert (first.status_code, again.headers["x-replayed"], first.json()) == (202, "true", again.json())
    [message] = first.json()["messages"]
    deliver(world)
    shown = of(world, message)
    assert (shown["state"], len(shown["attempts"])) == ("delivered", 1)
    used = [rule for rule in shown["attempts"][0]["explanation"]["rules"] if rule["says"] in {"permit", "stands"}]
    assert f"Consent {o.SYSTEM}|{consent} version 1" in {rule["rule"] for rule in used}

    waiting = fresh("i")
    world.hand_over(r.submission(r.intervention(waiting), **{waiting: ["employer"]}))
    ended = world.hand_over(o.hand(o.later(given, status="inactive"))).json()
    assert len(ended["blocked"]) == 1
    assert [each["to"] for each in ended["notified"]] == ["employer"]
    assert ended["leftBefore"][0]["message"] == message["id"]
    deliver(world)
    [order] = [
        each
        for each in world.call("journal", "GET", "/withdrawals").json()["withdrawals"]
        if each["id"] == ended["notified"][0]["id"]
    ]
    assert (order["to"], order["state"], order["cause"]) == ("employer", "acknowledged", "withdrawn")
    notice = json.read(world.adapter.transport.held("employer")[-1].body)["entry"][0]["resource"]
    assert notice["focus"]["identifier"] == {"system": o.SYSTEM, "value": consent}
    assert not [each for each in world.adapter.transport.held("employer") if o.TEXT.encode() in each.body]


def test_a_denial_stops_a_send_and_a_read_that_our_own_consents_open(world):
    mine, consent, denied = fresh("i"), fresh("c"), fresh("x")
    world.hand_over(r.submission(r.consent(consent, "interventions"), r.intervention(mine)))
    search = {"patient:identifier": f"{o.PERSONNUMMER}|191212121212"}
    before = world.call("region-b", "POST", "/fhir/Task/_search", data=search).json()
    assert before["entry"]
    answer = world.hand_over(o.hand(o.denial(denied)))
    assert answer.json()["consents"] == [
        {"id": {"system": o.SYSTEM, "value": denied}, "opens": None, "state": "stored"}
    ]
    [message] = world.hand_over(r.submission(**{mine: ["region-b"]})).json()["messages"]
    deliver(world)
    shown = of(world, message)
    assert (shown["state"], shown["attempts"][0]["explanation"]["reason"]) == ("withheld", "CONSENT_REFUSED")
    after = world.call("region-b", "POST", "/fhir/Task/_search", data=search)
    nobody = world.call(
        "region-b", "POST", "/fhir/Task/_search", data={"patient:identifier": f"{o.PERSONNUMMER}|195009072553"}
    )
    assert (after.status_code, after.content) == (nobody.status_code, nobody.content)


REFUSED = {
    "no patient": (o.consent("bad", patient={"display": "Tolvan"}), 422, "exchange.consent-patient"),
    "no identifier": (o.consent("bad", identifier=[]), 422, "exchange.consent-id"),
    "no version": (o.consent("bad", meta={"versionId": "a1b2"}), 422, "exchange.consent-version"),
    "no consent": ({"resourceType": "Patient"}, 422, "exchange.consent-form"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_that_cannot_be_kept_is_refused_and_leaves_nothing(world, name):
    document, status, code = REFUSED[name]
    before = world.stored()
    answer = world.hand_over(o.hand(document, records=[r.intervention(fresh("i"))]))
    assert (answer.status_code, codes(answer)) == (status, [code])
    assert world.stored() == before


@pytest.mark.parametrize("caller", ["region-b", "clinic", "employer", "stranger"])
@pytest.mark.parametrize("release", ["R4", "R5"])
def test_nobody_but_the_local_system_hands_one_over(world, caller, release):
    before = world.stored()
    document = o.consent(fresh("x"), kind="interventions", to=o.REGION_B, release=release)
    for path, body in (("/records", o.hand(document)), ("/fhir/Consent", document)):
        answer = world.send(body, caller=caller, path=path)
        assert 400 <= answer.status_code < 500
        assert o.TEXT not in answer.text
    assert world.stored() == before


def test_it_is_read_and_found_by_nobody(world):
    consent = fresh("x")
    world.hand_over(o.hand(o.consent(consent, kind="interventions", to=o.REGION_B)))
    search = {"patient:identifier": f"{o.PERSONNUMMER}|191212121212"}
    keys = world.adapter.store.read(
        lambda tx: tx.all("SELECT record_id FROM record WHERE kind = 'ForeignConsent'")
    ).result()
    assert keys
    for caller in ("region-b", "clinic"):
        found = world.call(caller, "POST", "/fhir/Consent/_search", data=search)
        assert consent not in found.text
        for (key,) in keys:
            assert world.call(caller, "GET", f"/fhir/Consent/{key}").status_code == 404
    assert consent not in world.call("journal", "GET", "/records/changes", params={"limit": 1000}).text
