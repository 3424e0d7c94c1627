from __future__ import annotations

from datetime import timedelta

import pytest
from store_world import START, World

from adapter.errors import Misconfigured
from adapter.store import audit, destinations
from adapter.store.destinations import Destination
from adapter.store.outbox import Dead, Refused


@pytest.fixture
def world():
    made = World(Destination("healthy"), Destination("sick"))
    yield made
    made.close()


def seen(world, name):
    return next(row for row in world.do(destinations.overview, now=world.now) if row.destination.id == name)


def fail(world, times):
    for _ in range(times):
        world.later(seconds=1)
        world.send(f"p|{world.now}", to="sick")
        [claim] = world.claim(only=["sick"])
        world.attempt(claim, world.retry(1000))


def test_five_failures_in_a_row_open_the_breaker_and_only_of_the_sick_one(world):
    fail(world, 4)
    assert seen(world, "sick").breaker == "closed"
    fail(world, 1)
    assert seen(world, "sick").breaker == "open"
    assert seen(world, "sick").open_until == world.now + timedelta(seconds=15)
    world.send("p|x", to="sick")
    world.send("p|x", to="healthy")
    assert [claim.destination for claim in world.claim()] == ["healthy"]


def test_half_open_lets_one_probe_through_at_a_time(world):
    fail(world, 5)
    for number in range(3):
        world.send(f"q|{number}", to="sick")
    world.later(seconds=14.9)
    assert world.claim() == []
    world.later(seconds=0.1)
    assert seen(world, "sick").breaker == "half-open"
    [probe] = world.claim()
    assert world.claim() == []
    world.attempt(probe, world.retry(1000))
    assert seen(world, "sick").breaker == "open"
    world.later(seconds=30)
    [probe] = world.claim()
    world.attempt(probe, world.delivered())
    assert seen(world, "sick").breaker == "closed"
    assert len(world.claim()) == 1


def test_attempts_that_end_while_it_is_open_change_nothing(world):
    fail(world, 5)
    before = seen(world, "sick")
    for ok in (True, False):
        world.do(destinations.record_outcome, "sick", ok=ok, now=world.now)
    assert seen(world, "sick") == before


def test_an_open_breaker_uses_up_no_attempts(world):
    fail(world, 5)
    message = world.send("q|1", to="sick")
    world.claim()
    assert world.sql("SELECT attempts FROM outbox WHERE message_id = ?", message) == [(0,)]


@pytest.mark.parametrize("outcome", ["refused", "dead", "ours"])
def test_what_is_not_the_peers_failure_does_not_open_it(world, outcome):
    for number in range(8):
        world.send(f"p|{number}", to="sick")
        [claim] = world.claim()
        if outcome == "refused":
            world.complete(claim, Refused("withheld", "consent.none"), None)
        elif outcome == "dead":
            world.attempt(claim, Dead("http.422"))
        else:
            world.complete(claim, world.retry(1000, exposed=False, peer_failed=False), None)
    assert seen(world, "sick").breaker == "closed"


def test_a_refusal_of_the_gate_does_not_close_it_either(world):
    fail(world, 5)
    world.send("q|1", to="sick")
    world.later(seconds=15)
    [claim] = world.claim()
    world.complete(claim, Refused("withheld", "consent.none"), None)
    assert seen(world, "sick").breaker == "half-open"


def test_a_probe_of_another_kind_counts_too(world):
    for _ in range(5):
        world.do(destinations.record_outcome, "sick", ok=False, now=world.now)
    assert seen(world, "sick").breaker == "open"
    world.do(destinations.record_outcome, "sick", ok=True, now=world.later(seconds=15))
    assert seen(world, "sick").breaker == "closed"


def test_the_overview_shows_depth_and_age(world):
    assert seen(world, "sick").oldest is None
    world.send("p|1", to="sick")
    world.send("p|2", to="sick", record_id="second")
    world.later(minutes=5)
    world.send("p|3", to="sick", record_id="third")
    world.claim(limit=1)
    row = seen(world, "sick")
    assert (row.queued, row.dead, row.in_flight, row.oldest, row.paused) == (3, 0, 1, START, False)
    assert row.destination == Destination("sick")


def test_declaring_again_changes_the_limits_and_keeps_what_is_paused_or_broken(world):
    fail(world, 5)
    world.do(destinations.pause, "sick", who="anna", why="holiday", now=world.now)
    world.do(destinations.declare, [Destination("sick", max_inflight=1, on_error="skip")], now=world.now)
    row = seen(world, "sick")
    assert row.destination == Destination("sick", max_inflight=1, on_error="skip")
    assert row.paused
    assert row.breaker == "open"
    assert seen(world, "healthy").destination == Destination("healthy")


def test_pausing_and_resuming_are_audited_with_who_and_why(world):
    world.do(destinations.pause, "sick", who="anna", why="service window", now=world.now)
    world.do(destinations.resume, "sick", who="berit", why="done", now=world.now)
    entries = [row.entry for row in world.do(audit.entries)]
    assert [(entry.event, entry.who, entry.what, entry.details) for entry in entries] == [
        ("destination.paused", "anna", "sick", b"service window"),
        ("destination.resumed", "berit", "sick", b"done"),
    ]


@pytest.mark.parametrize("action", [destinations.pause, destinations.resume])
def test_a_destination_nobody_declared_cannot_be_paused_or_resumed(world, action):
    with pytest.raises(Misconfigured, match="store.unknown-destination"):
        world.do(action, "stranger", who="anna", why="", now=world.now)
    with pytest.raises(Misconfigured, match="store.unknown-destination"):
        world.do(destinations.record_outcome, "stranger", ok=True, now=world.now)
    assert world.do(audit.entries) == []
