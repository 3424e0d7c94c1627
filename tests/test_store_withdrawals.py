"""Withdrawal orders: one for each consent, cause and destination; alarms and receipts by a set clock; ends of consents."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_world import START, World

from adapter.errors import Conflict
from adapter.store import audit, destinations, outbox, quarantine, withdrawals
from adapter.store.outbox import Dead, Delivered
from adapter.store.records import RecordRef
from adapter.store.withdrawals import LATE_AFTER, OVERDUE_AFTER, Order

DESTINATIONS = ("peer", "other")


@pytest.fixture
def world():
    world = World(*(destinations.Destination(name) for name in DESTINATIONS))
    world.consent()
    yield world
    world.close()


def order(world, to="peer", *, cause="withdrawn", version=1, deliverable=True):
    wanted = Order(
        cause,
        RecordRef("consent", 1),
        RecordRef("consent", version),
        to,
        world.patient(),
        (RecordRef("plan", 2), RecordRef("task", 1)),
    )
    return world.do(withdrawals.order, wanted, deliverable=deliverable, who="local", now=world.now)


def state(world, made):
    return world.do(withdrawals.get, made.id).state(world.now)


def deliver(world, *, outcome=None):
    [claim] = world.claim()
    world.attempt(claim, outcome or Delivered(None))
    return claim


def test_an_order_queues_one_urgent_message_and_the_same_order_again_does_nothing(world):
    made = order(world)
    assert order(world) is None
    [waiting] = world.do(outbox.waiting, world.patient(), now=world.now)
    assert (waiting.message_id, waiting.urgent, waiting.records) == (made.message_id, True, (RecordRef("consent", 1),))
    assert made.records == (RecordRef("plan", 2), RecordRef("task", 1))
    assert world.do(withdrawals.of_message, made.message_id) == made
    assert world.chain_holds()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(DESTINATIONS), st.sampled_from(["withdrawn", "narrowed", "expired"]), st.integers(1, 2)
        ),
        max_size=12,
    )
)
@settings(max_examples=40, deadline=None)
def test_there_is_exactly_one_order_for_each_cause_version_and_destination(wanted):
    world = World(*(destinations.Destination(name) for name in DESTINATIONS))
    world.consent()
    for to, cause, version in wanted:
        order(world, to, cause=cause, version=version)
    assert len(world.do(withdrawals.listed)) == len(set(wanted))
    assert len(world.states()) == len(set(wanted))
    world.close()


def test_it_is_delivered_then_acknowledged_and_the_first_receipt_stands(world):
    made = order(world)
    assert state(world, made) == "queued"
    deliver(world)
    world.do(withdrawals.delivered, made.id, now=world.now)
    assert state(world, made) == "delivered"
    at = world.later(hours=1)
    world.do(withdrawals.receipt, made.id, by="Kim Karlsson", who="operator:a", now=world.now)
    world.later(hours=1)
    again = world.do(withdrawals.receipt, made.id, by="Someone Else", who="operator:b", now=world.now)
    assert (again.receipt_at, again.receipt_by, again.delivered_at) == (at, "Kim Karlsson", START)
    assert state(world, made) == "acknowledged"
    receipts = [row.entry for row in world.do(audit.entries) if row.entry.event == "withdrawal.receipt"]
    assert [entry.who for entry in receipts] == ["operator:a"]


def test_a_receipt_for_an_order_that_is_not_there_is_refused(world):
    with pytest.raises(Conflict) as caught:
        world.do(withdrawals.receipt, "01a1fdfa-4600-79c7-92fa-5ddc2a339259", by="x", who="y", now=world.now)
    assert caught.value.first.code == "store.unknown-withdrawal"


def test_who_gave_a_receipt_stands_in_no_column_and_no_repr(world):
    made = order(world)
    answered = world.do(withdrawals.receipt, made.id, by="Kim Karlsson", who="operator:a", now=world.now)
    assert "Karlsson" not in repr(answered)
    assert world.patient() not in repr(answered)
    for table in ("withdrawal", "audit"):
        assert "Karlsson" not in repr(world.sql(f"SELECT * FROM {table}"))


@pytest.mark.parametrize("delivered", [False, True])
def test_without_an_answer_in_a_day_it_is_overdue(world, delivered):
    made = order(world)
    if delivered:
        world.do(withdrawals.delivered, made.id, now=world.now)
    world.later(seconds=OVERDUE_AFTER.total_seconds() - 1)
    assert state(world, made) == ("delivered" if delivered else "queued")
    world.later(seconds=1)
    assert state(world, made) == "overdue"
    world.do(withdrawals.receipt, made.id, by="x", who="y", now=world.now)
    assert state(world, made) == "acknowledged"


def test_what_nobody_can_deliver_is_undeliverable_at_once(world):
    assert order(world, "gone", deliverable=False).state(world.now) == "undeliverable"
    made = order(world)
    deliver(world, outcome=Dead("peer.forbidden"))
    assert state(world, made) == "undeliverable"
    world.do(quarantine.release, made.message_id, who="a", why="b", now=world.now)
    assert state(world, made) == "queued"
    world.do(quarantine.discard, made.message_id, who="a", why="b", now=world.now)
    assert state(world, made) == "undeliverable"


def test_each_alarm_is_given_once(world):
    made = order(world)
    assert world.do(withdrawals.alarms, now=world.now) == ([], [])
    world.later(seconds=LATE_AFTER.total_seconds())
    late, escalated = world.do(withdrawals.alarms, now=world.now)
    assert ([each.id for each in late], escalated) == ([made.id], [])
    assert world.do(withdrawals.alarms, now=world.now) == ([], [])
    world.later(days=1)
    late, escalated = world.do(withdrawals.alarms, now=world.now)
    assert (late, [each.id for each in escalated]) == ([], [made.id])
    assert world.do(withdrawals.alarms, now=world.now) == ([], [])
    events = [row.entry.event for row in world.do(audit.entries)]
    assert events.count("withdrawal.late") == events.count("withdrawal.escalated") == 1


def test_what_was_delivered_in_time_or_answered_gives_no_alarm(world):
    first, second = order(world), order(world, "other")
    world.do(withdrawals.delivered, first.id, now=world.now)
    world.do(withdrawals.receipt, second.id, by="x", who="y", now=world.now)
    world.later(hours=23)
    assert world.do(withdrawals.alarms, now=world.now) == ([], [])


def test_the_overview_counts_those_without_an_answer_by_state(world):
    order(world)
    order(world, "gone", deliverable=False)
    world.do(withdrawals.receipt, order(world, "other").id, by="x", who="y", now=world.now)
    counted = {"queued": 1, "delivered": 0, "overdue": 0, "undeliverable": 1, "late": 0}
    assert world.do(withdrawals.overview, now=world.now) == counted
    world.later(minutes=15)
    assert world.do(withdrawals.overview, now=world.now)["late"] == 2


def test_a_dead_notice_holds_up_no_other_withdrawal_of_the_patient(world):
    order(world)
    deliver(world, outcome=Dead("peer.rejected"))
    later = order(world, version=2)
    assert [claim.message_id for claim in world.claim()] == [later.message_id]


# ends by the clock


def put(world, record_id, body=b"{}"):
    world.accept(world.record(record_id, body, kind="Consent"))


def end_of(version):
    """In these tests a consent's body is how many minutes after the start it ends, or nothing."""
    return START + timedelta(minutes=int(version.body)) if version.body.isdigit() else None


def ended(world):
    world.do(withdrawals.note_ends, end_of)
    return world.do(withdrawals.ended, now=world.now)


def test_a_consent_is_ended_after_its_last_instant_and_seen_to_once(world):
    put(world, "c1", b"10")
    put(world, "c2", b"20")
    world.now = START + timedelta(minutes=10)
    assert ended(world) == []
    world.now += timedelta(microseconds=1)
    [end] = ended(world)
    assert (end.consent, end.ended_at) == (RecordRef("c1", 1), START + timedelta(minutes=10))
    assert world.do(withdrawals.seen_to, end)
    assert not world.do(withdrawals.seen_to, end)
    assert ended(world) == []
    world.later(days=1)
    assert [end.consent.record_id for end in ended(world)] == ["c2"]


def test_a_newer_version_moves_or_removes_the_end(world):
    put(world, "c1", b"10")
    put(world, "c2", b"10")
    world.do(withdrawals.note_ends, end_of)
    world.later(minutes=11)
    [first, second] = world.do(withdrawals.ended, now=world.now)
    put(world, "c1", b"30")
    put(world, "c2")
    assert ended(world) == []
    assert not world.do(withdrawals.seen_to, first)
    assert not world.do(withdrawals.seen_to, second)
    world.later(minutes=20)
    assert [end.consent for end in ended(world)] == [RecordRef("c1", 2)]


def test_reading_on_finds_every_consent_that_was_there_before_in_pages(world):
    for number in range(7):
        put(world, f"c{number}", b"%d" % number)
    counts = []
    while count := world.do(withdrawals.note_ends, end_of, limit=3):
        counts.append(count)
    assert counts == [3, 3, 2]  # with the one of the fixture
    world.later(days=1)
    assert len(world.do(withdrawals.ended, now=world.now)) == 7


def test_consents_of_peers_end_nothing_of_ours(world):
    put(world, "c1", b"10")
    world.sql("UPDATE record SET origin = 'peer' WHERE record_id = 'c1'")
    world.later(days=1)
    assert ended(world) == []
