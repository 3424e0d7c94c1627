from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_world import START, World

from adapter.errors import Conflict
from adapter.store import audit, inbox, outbox, records
from adapter.store.inbox import Arrival


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def test_the_same_request_again_gets_the_same_answer_and_changes_nothing(world):
    record = world.record("plan", b"1", kind="Consent")
    send = outbox.Send("peer", world.patient(), ("plan",), "coordination", "case")
    entry = audit.Entry("records.accepted", "local", "request-1")
    first = world.accept(record, sends=[send], entries=[entry], arrival=world.arrival("request-1"))
    before = list(world.connection.iterdump())
    again = world.accept(record, sends=[send], entries=[entry], arrival=world.arrival("request-1"))
    assert not first.replayed
    assert again == inbox.Accepted(first.response, replayed=True)
    assert list(world.connection.iterdump()) == before


def test_the_same_request_id_with_another_body_is_refused(world):
    world.accept(arrival=world.arrival("request-1", b"one"))
    with pytest.raises(Conflict) as caught:
        world.accept(world.record("plan"), arrival=world.arrival("request-1", b"two"))
    assert (caught.value.first.code, caught.value.status) == ("store.duplicate-request", 409)
    assert world.do(records.get, "plan") is None


def test_two_sources_may_use_the_same_request_id(world):
    for source in ("a", "b"):
        accepted = world.accept(arrival=Arrival(source, "request-1", source.encode(), "peer"))
        assert not accepted.replayed


def test_a_request_that_failed_is_not_remembered(world):
    world.accept(world.record("plan", b"1"))
    with pytest.raises(Conflict, match="store.stale-version"):
        world.accept(world.record("new"), world.record("plan", b"2", expected=0), arrival=world.arrival("request-9"))
    assert world.do(records.get, "new") is None
    assert not world.accept(world.record("plan", b"2", expected=1), arrival=world.arrival("request-9")).replayed


@pytest.mark.parametrize("seen", ["records", "messages"])
def test_the_answer_is_made_from_what_was_stored(world, seen):
    def respond(stored, messages):
        return repr({"records": stored, "messages": messages}[seen]).encode()

    accepted = world.do(
        inbox.accept,
        world.arrival(),
        records=[world.record("plan")],
        sends=[outbox.Send("peer", world.patient(), ("plan",), "coordination", "case")],
        entries=[],
        respond=respond,
        now=world.now,
    )
    assert accepted.response == repr(getattr(accepted, seen)).encode()


def test_an_answer_that_cannot_be_made_stores_nothing(world):
    def respond(stored, messages):
        raise LookupError("no such template")

    with pytest.raises(LookupError):
        world.do(
            inbox.accept,
            world.arrival(),
            records=[world.record("plan")],
            sends=[],
            entries=[],
            respond=respond,
            now=world.now,
        )
    assert world.do(records.get, "plan") is None


def test_what_a_peer_sent_is_kept_as_it_came_with_what_was_lost(world):
    arrival = Arrival("SE2321000016-PEER", "r1", world.keys.fingerprint(b"x"), "peer", original=b"<Task/>", loss=b"[]")
    world.accept(world.record("task"), arrival=arrival)
    found = world.do(records.get, "task")
    kept = world.do(inbox.kept, found.source, found.request_id)
    assert (kept.original, kept.loss, found.origin) == (b"<Task/>", b"[]", "peer")
    assert kept.response == world.accept(arrival=arrival).response
    assert world.do(inbox.kept, "SE2321000016-PEER", "r2") is None


def test_what_is_not_kept_is_none(world):
    world.accept(arrival=world.arrival("r"))
    kept = world.do(inbox.kept, "local", "r")
    assert (kept.original, kept.loss) == (None, None)


def test_what_is_shown_of_a_request_holds_no_body(world):
    arrival = world.arrival("r", original=b"secret", loss=b"secret")
    accepted = world.do(
        inbox.accept, arrival, records=[], sends=[], entries=[], respond=lambda *_: b"secret", now=world.now
    )
    assert "secret" not in repr(arrival) + repr(accepted) + repr(world.do(inbox.kept, "local", "r"))


def test_a_token_is_new_once_and_forgotten_when_it_has_expired(world):
    expires = START + timedelta(minutes=5)
    seen = lambda issuer, jti, now: world.do(inbox.seen_once, issuer, jti, expires=expires, now=now)  # noqa: E731
    assert seen("a", "1", START)
    assert not seen("a", "1", START)
    assert not seen("a", "1", expires - timedelta(seconds=1))
    assert seen("b", "1", START)
    assert seen("a", "2", START)
    assert seen("c", "1", expires)
    assert world.sql("SELECT count(*) FROM token_seen") == [(1,)]


@given(first=st.tuples(st.text(), st.text()), second=st.tuples(st.text(), st.text()))
def test_two_tokens_are_never_taken_for_each_other(first, second):
    world = World()
    expires = START + timedelta(minutes=5)
    assert world.do(inbox.seen_once, *first, expires=expires, now=START)
    assert world.do(inbox.seen_once, *second, expires=expires, now=START) == (first != second)
    world.close()
