"""What the journal is to be told of each message: announced once, concluded by how the message ended, claimed until acknowledged."""

from __future__ import annotations

import pytest
from store_world import LEASE, World

from adapter.store import audit, journal, outbox, quarantine
from adapter.store.disclosures import Disclosure
from adapter.store.outbox import Dead, Delivered, Refused, Retry


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def announce(world, message, handout=b"handout", *, told=True):
    return world.do(
        journal.announce,
        message,
        patient_key=world.patient(),
        correlation_id="case",
        handout=handout,
        told=told,
        now=world.now,
    )


def ended(world, outcome, *, begun=True, told=True):
    """A message that was announced and ended so; its id."""
    message = world.send()
    (claim,) = world.claim()
    announce(world, message, told=told)
    attempt = world.begin(claim).attempt if begun else None
    assert world.complete(claim, outcome, attempt)
    return message


def claimed(world, limit=10):
    return world.do(journal.claim, now=world.now, lease=LEASE, limit=limit)


def delivered():
    return Delivered(Disclosure("peer", (), (), ()))


def test_an_announcement_says_the_same_until_something_else_is_handed_out(world):
    message = world.send()
    first, again = announce(world, message), announce(world, message)
    assert (first, first.version, first.acknowledged) == (again, 1, False)
    world.do(journal.acknowledge, first, now=world.now)
    assert announce(world, message).acknowledged
    other = announce(world, message, b"other")
    assert (other.version, other.acknowledged, other.handout) == (2, False, b"other")
    assert claimed(world) == []


@pytest.mark.parametrize(
    ("outcome", "begun", "status", "has_time"),
    [
        (delivered(), True, "completed", True),
        (Dead("peer.rejected"), True, "unknown", True),
        (Dead("peer.unreachable", exposed=False), True, "not-done", False),
        (Refused("withheld", "NO_CONSENT"), False, "not-done", False),
    ],
)
def test_how_a_message_ended_is_due_for_the_journal(world, outcome, begun, status, has_time):
    message = ended(world, outcome, begun=begun)
    (entry,) = claimed(world)
    assert (entry.message_id, entry.status, entry.version, entry.acknowledged) == (message, status, 2, False)
    assert (entry.at == world.now) is has_time
    assert world.do(journal.waiting) == journal.Waiting(1, world.now)


def test_what_never_left_and_was_never_told_is_not_told(world):
    ended(world, Refused("withheld", "NO_CONSENT"), begun=False, told=False)
    assert claimed(world) == []


def test_a_message_that_is_tried_again_has_not_ended(world):
    ended(world, Retry(world.now, "peer.busy"))
    assert claimed(world) == []


def test_an_entry_is_leased_to_one_and_again_when_the_lease_has_run_out(world):
    ended(world, delivered())
    (entry,) = claimed(world)
    assert claimed(world) == []
    world.later(seconds=31)
    assert claimed(world) == [entry]


def test_an_acknowledged_entry_is_never_claimed_again_and_is_in_the_audit_log_once(world):
    message = ended(world, delivered())
    (entry,) = claimed(world)
    for _ in range(2):
        world.do(journal.acknowledge, entry, now=world.now)
    world.later(hours=1)
    assert claimed(world) == []
    entries = [each.entry for each in world.do(audit.entries, after=0, limit=100)]
    assert [(each.what, each.reason) for each in entries if each.event == "journal.entered"] == [(message, "completed")]
    assert world.do(journal.waiting).entries == 0


def test_a_late_word_about_an_earlier_version_changes_nothing(world):
    message = world.send()
    first = announce(world, message)
    announce(world, message, b"other")
    world.do(journal.acknowledge, first, now=world.now)
    world.do(journal.postpone, first, due_at=world.now)
    now = world.do(journal.get, message)
    assert (now.version, now.acknowledged, now.tries) == (2, False, 0)


def test_a_postponed_entry_comes_back_when_it_is_due_and_counts_its_tries(world):
    ended(world, delivered())
    (entry,) = claimed(world)
    world.do(journal.postpone, entry, due_at=world.later(minutes=5))
    world.now -= (world.now - entry.at) / 2
    assert claimed(world) == []
    world.later(minutes=5)
    assert [each.tries for each in claimed(world)] == [1]


@pytest.mark.parametrize("told", [True, False])
def test_a_new_announcement_waits_for_the_last_word_about_the_message_where_the_journal_is_told_first(world, told):
    message = ended(world, Dead("peer.rejected"), told=told)
    world.do(quarantine.release, message, who="test", why="test", now=world.now)
    assert (announce(world, message, told=told) is None) is told
    assert len(claimed(world)) == int(told)


def test_a_message_that_waits_is_not_tried_and_comes_back_when_it_is_due(world):
    message = world.send()
    (claim,) = world.claim()
    assert world.do(outbox.postpone, claim, due_at=world.later(minutes=1), reason="journal.unreachable")
    assert world.do(outbox.postpone, claim, due_at=world.now, reason="late") is False
    shown = world.do(quarantine.message, message, now=world.now)
    assert (shown.state, shown.reason, shown.attempts, shown.due_at) == ("queued", "journal.unreachable", 0, world.now)
    world.now -= (world.now - shown.created_at) / 2
    assert world.claim() == []
    world.later(minutes=1)
    (again,) = world.claim()
    assert (again.message_id, again.tries) == (message, 0)
