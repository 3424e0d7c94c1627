"""
A withdrawal against attempts to send: every order in which their steps can come, then real ones against each other.

The simulation runs the store's own functions and the real gate step by step on tables in memory. A worker's steps are
decide, start, send, and end (or retry); a writer's are whole commits, as they are in the store.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from functools import cache, partial
from itertools import permutations

import other_systems as o
import pytest
import region as r
from store_world import LEASE, World
from withdrawal_world import COLLABORATE, INTERVENTIONS, watched

from adapter.consent import handed_over
from adapter.consent.gate import Gate, Withheld
from adapter.domain import Purpose, read_record
from adapter.flows import Adapter, Dispatcher, accept, withdraw
from adapter.flows.adapter import LOCAL, recipient_of
from adapter.mapping import Mapper
from adapter.store import destinations, disclosures, outbox, records, withdrawals
from adapter.store.disclosures import Disclosure
from adapter.store.outbox import Delivered, Refused, Retry, Send
from adapter.tables import load
from adapter.transport.memory import Memory

WITHDRAWN = r.withdrawn(INTERVENTIONS)
AGAIN = r.consent("c-j", "interventions", given_on="2026-11-21T12:00:00Z", informed_on="2026-11-21")
ALSO = r.consent("c-f", "inform-fk")
GONE = r.withdrawn(COLLABORATE)


class Simulation:
    """One store in memory at the moment when two messages wait, and what happens to it, step by step."""

    def __init__(self, adapter, start):
        self.adapter = adapter
        self.world = object.__new__(World)
        self.world.keys, self.world.now = adapter.keys, r.NOW
        self.world.connection = sqlite3.connect(":memory:", isolation_level=None)
        start.backup(self.world.connection)
        self.closed_by: dict[str, int] = {}
        self.steps = 0
        self.leaving: dict[str, int] = {}
        self.violations: list[str] = []
        self.orders: list[tuple[str, str]] = []
        self.blocked: list[str] = []
        self.on_the_way: dict[str, set[str]] = {}

    def do(self, work, *args, **more):
        return self.world.do(work, *args, **more)

    def write(self, document, *, opens=(), closes=()):
        """A consent is written: its commit, with what follows from it."""
        read = handed_over.read if "resourceType" in document else read_record
        record = read(document, mode="test")[0]

        def commit(tx):
            new = self.adapter.new_record(LOCAL, record)
            stored = records.put(tx, new, source=LOCAL, request_id="q", origin="local", now=r.NOW)
            return withdraw.settle(tx, self.adapter, [(record, stored)], who="local", now=r.NOW)

        effects = self.do(commit)
        self.orders += [(order.consent.record_id, order.destination) for order in effects.ordered]
        self.blocked += effects.blocked
        for destination in opens:
            self.closed_by.pop(destination, None)
        under_way = self.do(outbox.under_way, self.patient_key, now=r.NOW)
        for destination in closes:
            self.closed_by[destination] = self.steps
            self.on_the_way[destination] = {each.message_id for each in under_way}
            ordered = [order.destination for order in effects.ordered].count(destination)
            if ordered != (destination in self.may_have):
                self.violations.append(f"{destination} got {ordered} orders")

    @property
    def patient_key(self):
        return self.world.sql("SELECT patient_key FROM lane")[0][0]

    @property
    def may_have(self):
        return set(self.leaving)

    def work(self, destination, outcomes) -> Iterator[str]:
        """One worker's steps, until its message has ended; ``outcomes`` of the sends in order."""
        for outcome in outcomes:
            claims = self.do(outbox.claim, owner=destination, now=r.NOW, lease=LEASE, limit=2, only={destination})
            ordinary = [claim for claim in claims if not claim.urgent]
            if not ordinary:
                return
            yield from self._attempt(ordinary[0], outcome)

    def _attempt(self, claim, outcome) -> Iterator[str]:
        while True:
            version = self.do(records.get, *claim.records[0])
            snapshot = self.do(records.consents, claim.patient_key)
            record = self.adapter.record(version)
            decided = self.adapter.gate.clear(
                record,
                destination=self.adapter.recipients[claim.destination],
                purpose=Purpose.COORDINATION,
                snapshot=self.adapter.snapshot(record, snapshot),
                now=r.NOW,
                request_id=claim.request_id,
                correlation_id=claim.correlation_id,
            )
            yield "decided"
            if isinstance(decided, Withheld):
                self._end(claim, Refused("withheld", decided.reason), None)
                return
            digest = self.world.keys.fingerprint(decided.body)
            begun = self.do(
                outbox.begin,
                claim,
                consent_version=snapshot.consent_version,
                body_digest=digest,
                request_id=claim.request_id_for(digest, now=r.NOW),
                now=r.NOW,
            )
            if begun.status == "started":
                break
            if begun.status == "lost":
                return
        if claim.destination in self.closed_by:
            self.violations.append(f"{claim.destination} started after the withdrawal was committed")
        self.leaving[claim.destination] = self.steps
        yield "started"
        closed = claim.destination in self.closed_by
        if closed and claim.message_id not in self.on_the_way[claim.destination]:
            self.violations.append(f"{claim.destination} left, and the withdrawal did not say that it was under way")
        yield "sent"
        consents = self.adapter.consents_of(decided, snapshot)
        ended = {
            "delivered": Delivered(Disclosure(claim.destination, claim.records, consents, tuple(decided.categories))),
            "retry": Retry(r.NOW, "peer.timeout", peer_failed=False),
        }[outcome]
        self._end(claim, ended, begun.attempt)

    def _end(self, claim, outcome, attempt):
        self.do(outbox.complete, claim, outcome, attempt=attempt, entries=[], now=r.NOW)

    def play(self, actors, order):
        """Let the actors take their steps in this order; one that has ended is passed over. Then all go on to their end."""
        left = {name: actor(self) for name, actor in actors.items()}
        for name in [*order, *(name for name in actors for _ in range(12))]:
            if name in left and next(left[name], None) is None:
                del left[name]
            self.steps += 1
        assert not left

    def close(self):
        self.world.connection.close()


def _remembering(clear):
    known = {}

    def remembered(record, *, destination, snapshot, request_id, **more):
        key = destination.destination, snapshot.digest, request_id
        if key not in known:
            known[key] = clear(record, destination=destination, snapshot=snapshot, request_id=request_id, **more)
        return known[key]

    return remembered


@pytest.fixture(scope="module")
def simulations(tmp_path_factory):
    """Simulations of one start: both consents given, and a message for the employer and one for region B."""
    folder = tmp_path_factory.mktemp("race")
    settings = r.settings(folder)
    world = World(*(destinations.Destination(d.id) for d in settings.destinations))
    mapper = Mapper(load())
    adapter = Adapter(
        settings=settings,
        store=None,
        keys=world.keys,
        mapper=mapper,
        gate=Gate(senders=[r.PROVIDER], id_key=b"k" * 32, mapper=mapper),
        recipients={d.id: recipient_of(d) for d in settings.destinations},
        transport=Memory([]),
        clock=lambda: r.NOW,
    )
    # The same version holds the same record, and the same snapshot the same decision: looked up once, for speed.
    adapter.record, adapter.gate.clear = cache(adapter.record), _remembering(adapter.gate.clear)
    taken = [read_record(each, mode="test")[0] for each in (INTERVENTIONS, COLLABORATE, r.intervention())]
    for record in taken:
        new = adapter.new_record(LOCAL, record)
        world.do(records.put, new, source=LOCAL, request_id="q", origin="local", now=r.NOW)
    last = adapter.new_record(LOCAL, taken[-1])
    for to in ("employer", "region-b"):
        send = Send(to, last.patient_key, (last.record_id,), "coordination", "case")
        world.do(outbox.enqueue, send, now=r.NOW)
    yield partial(Simulation, adapter, world.connection)
    world.close()


def writing(*steps):
    """A writer: each step one commit."""

    def actor(simulation):
        for step in steps:
            step(simulation)
            yield "written"

    return actor


def withdraws_all(simulation):
    simulation.write(WITHDRAWN, closes=["employer", "region-b"])


def withdraws_for_the_employer(simulation):
    simulation.write(GONE, closes=["employer"])


def writes_something_else(simulation):
    simulation.write(ALSO)


def gives_again(simulation):
    simulation.write(AGAIN, opens=["employer", "region-b"])


def denies_by_another_system(simulation):
    simulation.write(o.denial(), closes=["employer", "region-b"])


WRITERS = {
    "withdraw": [withdraws_all],
    "write, withdraw": [writes_something_else, withdraws_all],
    "withdraw, give again": [withdraws_all, gives_again],
    "withdraw one": [withdraws_for_the_employer],
    "write, deny": [writes_something_else, denies_by_another_system],
    "write, withdraw one": [writes_something_else, withdraws_for_the_employer],
    "withdraw one, withdraw all": [withdraws_for_the_employer, withdraws_all],
}


def works(destination, *outcomes):
    return lambda simulation: simulation.work(destination, outcomes)


def interleavings(counts):
    """Every order of the actors' steps, each actor with as many as it has."""
    return sorted(set(permutations([name for name, count in counts.items() for _ in range(count)])))


def orders_of(counts):
    """As ``interleavings``, without going through equal permutations."""
    if not any(counts.values()):
        yield ()
        return
    for name, count in counts.items():
        if count:
            for rest in orders_of(counts | {name: count - 1}):
                yield (name, *rest)


def hold(simulations, actors, order):
    simulation = simulations()
    try:
        simulation.play(actors, order)
        assert simulation.violations == [], order
        assert len(simulation.orders) == len(set(simulation.orders))
        exposed = {
            each.destination for each in simulation.do(disclosures.exposures, simulation.patient_key) if not each.urgent
        }
        assert exposed == simulation.may_have
        kept = simulation.do(withdrawals.listed)
        assert {each.destination for each in kept} <= simulation.may_have
        waiting = simulation.do(outbox.waiting, simulation.patient_key, now=r.NOW + timedelta(hours=1))
        assert [each for each in waiting if not each.urgent] == []
    finally:
        simulation.close()


def test_the_orders_that_are_tried_are_all_there_are():
    counts = {"a": 2, "b": 2, "w": 1}
    assert sorted(orders_of(counts)) == interleavings(counts)
    assert len(list(orders_of({"a": 3, "b": 3, "w": 2}))) == 560


@pytest.mark.parametrize("name", ["withdraw one", "write, withdraw", "write, deny", "withdraw, give again"])
def test_two_attempts_against_a_withdrawal_in_every_order(simulations, name):
    """Decide, start and send of two workers, and the writer's commits: at most eight events."""
    steps = WRITERS[name]
    actors = {
        "a": works("employer", "delivered"),
        "b": works("region-b", "delivered"),
        "w": writing(*steps),
    }
    for order in orders_of({"a": 3, "b": 3, "w": len(steps)}):
        hold(simulations, actors, order)


@pytest.mark.parametrize("name", WRITERS)
def test_a_retry_against_a_withdrawal_in_every_order(simulations, name):
    """Decide, start, send, decide again, start, send: an answer that was lost, and the message again."""
    steps = WRITERS[name]
    actors = {
        "a": works("employer", "retry", "delivered", "delivered"),
        "w": writing(*steps),
        "b": works("region-b", "delivered"),
    }
    for order in orders_of({"a": 6, "w": len(steps)}):
        hold(simulations, actors, order)


class Fenceless(Simulation):
    """As if an attempt began whatever had been decided on: what the simulation must find."""

    def do(self, work, *args, **more):
        if work is outbox.begin:
            more["consent_version"] = super().do(records.consent_version, args[0].patient_key)
        return super().do(work, *args, **more)


def test_without_the_fence_the_simulation_finds_what_leaves(simulations):
    found = []
    for order in orders_of({"a": 3, "w": 1}):
        simulation = Fenceless(*simulations.args)
        simulation.play(
            {"a": works("employer", "delivered"), "w": writing(withdraws_all), "b": works("region-b", "delivered")},
            order,
        )
        found += simulation.violations
        simulation.close()
    assert "employer started after the withdrawal was committed" in found


# real ones

PATIENTS = ("191212121212", "195009072553", "198107092396", "199008252398")
TRIALS = 40
"""Of each patient, whose trials come one after another; patients race side by side."""


def test_hundreds_of_real_withdrawals_race_real_sends_and_win(tmp_path):
    """
    Each trial sends on a consent of its own, ours or another system's, and withdraws it while two dispatchers run. When the withdrawal has answered,
    none of the trial's bytes starts to leave; who may have got them is told, once.
    """
    luck = random.Random(20261121)

    async def trial(adapter, patient, number):
        value = f"c{patient[:8]}-{number}"
        given, gone = (f"{r.NOW - timedelta(hours=2) + timedelta(seconds=2 * number + n):%FT%TZ}" for n in (0, 1))
        consent, ended = ours(value, patient, given, gone) if number % 2 else theirs(value, patient, given)
        task = r.intervention(f"i{value}", number=patient)
        transport, held = adapter.transport, asyncio.Event()
        transport.holding.append(held)
        asyncio.get_running_loop().call_later(luck.random() * 0.05, held.set)
        sends = {f"i{value}": ["employer"]}
        await accept(adapter, consent | r.submission(*consent.get("records", ()), task, **sends), caller="local")
        if luck.random() < 0.5:
            for _ in range(500):  # until it has begun, or for half a second: either is a race
                if _begun(transport, value):
                    break
                await asyncio.sleep(0.001)
        await asyncio.sleep(luck.random() * luck.choice([0.01, 0.2]))
        answer = await accept(adapter, ended, caller="local")
        begun = _begun(transport, value)
        await asyncio.sleep(luck.random() * 0.01)
        assert _begun(transport, value) == begun
        assert answer.under_way == ()
        assert [each["to"] for each in answer.answer["notified"]] == ["employer"] * bool(begun)
        return bool(begun)

    async def trials(adapter, patient):
        await accept(adapter, r.submission(INTERVENTIONS | r.parties(patient) | _id(patient)), caller="local")
        return [await trial(adapter, patient, number) for number in range(TRIALS)]

    async def go():
        async with watched(tmp_path, clock=r.Clock(r.NOW + timedelta(hours=1))) as adapter:
            working = [asyncio.create_task(Dispatcher(adapter, owner=f"w{n}").run()) for n in range(2)]
            outcomes = await asyncio.gather(*(trials(adapter, patient) for patient in PATIENTS))
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            adapter.clock.forward(
                minutes=1
            )  # a lane that was claimed as its dispatcher ended comes back with its lease
            await Dispatcher(adapter, owner="last").drain()
            orders = await adapter.store.read(withdrawals.listed)
            return [left for each in outcomes for left in each], orders, adapter.transport.notices()

    outcomes, orders, notices = asyncio.run(go())
    assert len(outcomes) == TRIALS * len(PATIENTS)
    assert len(orders) == len(notices) == sum(outcomes)
    assert set(outcomes) == {True, False}  # both happened


def ours(value, patient, given, gone):
    """A consent of our own and its withdrawal, as submissions."""
    consent = r.consent(value, "collaborate", number=patient, recipient=r.EMPLOYER, given_on=given, informed_on=given)
    return r.submission(consent), r.submission(r.withdrawn(consent, on=gone))


def theirs(value, patient, given):
    """Another system's consent and its end."""
    about = {"identifier": {"system": o.PERSONNUMMER, "value": patient}}
    consent = o.consent(value, patient=about, dateTime=given)
    return o.hand(consent), o.hand(o.later(consent, status="inactive"))


def _begun(transport, value):
    return sum(value in consents for consents in transport.begun)


def _id(patient):
    return {"id": {"system": r.IDS, "value": f"interventions-{patient[:8]}"}}
