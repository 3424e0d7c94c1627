from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_world import OTHER, PERSON, World

from adapter.errors import Conflict, StoreFault
from adapter.store import records


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def test_a_record_comes_back_as_it_was_stored(world):
    [stored] = world.accept(
        world.record("plan", "vårdplan".encode(), kind="CarePlan"), arrival=world.arrival("request-x")
    ).records
    assert stored == records.Stored("plan", 1, unchanged=False)
    found = world.do(records.get, "plan")
    assert (found.ref, found.kind, found.body, found.origin) == (("plan", 1), "CarePlan", "vårdplan".encode(), "local")
    assert (found.patient_key, found.received_at, found.source, found.request_id) == (
        world.patient(),
        world.now,
        "local",
        "request-x",
    )


@given(bodies=st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=8))
def test_versions_count_up_whenever_the_body_differs_from_the_newest(bodies):
    world = World()
    expected = [body for place, body in enumerate(bodies) if place == 0 or body != bodies[place - 1]]
    for body in bodies:
        world.later(seconds=1)
        world.accept(world.record("plan", body))
    history = world.do(records.history, "plan")
    assert [version.body for version in history] == expected
    assert [version.version for version in history] == list(range(1, len(expected) + 1))
    assert world.do(records.get, "plan") == history[-1]
    assert [world.do(records.get, "plan", version.version) for version in history] == history
    assert world.do(records.search, world.patient()) == [history[-1]]
    world.close()


def test_an_unchanged_body_is_no_new_version_and_says_so(world):
    world.accept(world.record("consent", b"same", kind="Consent"))
    [again] = world.accept(world.record("consent", b"same", kind="Consent")).records
    assert again == records.Stored("consent", 1, unchanged=True)
    assert world.do(records.consents, world.patient()).consent_version == 1


def test_a_record_that_is_not_there_is_none(world):
    assert world.do(records.get, "absent") is None
    world.accept(world.record("plan"))
    assert world.do(records.get, "plan", 2) is None
    assert world.do(records.history, "absent") == []


@pytest.mark.parametrize(("expected", "newest"), [(0, 1), (2, 1), (1, 0)])
def test_a_write_on_another_version_than_the_newest_is_stale(world, expected, newest):
    if newest:
        world.accept(world.record("plan", b"1"))
    with pytest.raises(Conflict) as caught:
        world.accept(world.record("plan", b"2", expected=expected))
    assert (caught.value.first.code, caught.value.status) == ("store.stale-version", 412)
    assert str(newest) in caught.value.first.says()


def test_a_write_on_the_newest_version_goes_through(world):
    world.accept(world.record("plan", b"1", expected=0))
    assert world.accept(world.record("plan", b"2", expected=1)).records[0].version == 2


@pytest.mark.parametrize("other", [{"identity": OTHER}, {"kind": "CarePlan"}])
def test_a_record_never_moves_to_another_patient_or_kind(world, other):
    world.accept(world.record("consent", b"1", kind="Consent"))
    with pytest.raises(Conflict, match="store.record-moved"):
        world.accept(world.record("consent", b"1", **{"kind": "Consent"} | other))


def test_the_snapshot_holds_the_newest_consents_and_blocks_of_the_patient_and_nothing_else(world):
    world.accept(world.record("c1", b"given", kind="Consent"), world.record("c2", b"other", kind="Consent"))
    world.accept(world.record("b", b"block", kind="Block"), world.record("plan", b"plan", kind="CarePlan"))
    world.accept(world.record("c1", b"withdrawn", kind="Consent"))
    world.accept(world.record("theirs", b"x", kind="Consent", identity=OTHER))
    snapshot = world.do(records.consents, world.patient())
    assert snapshot.consent_version == 4
    assert [(row.record_id, row.version, row.body) for row in snapshot.records] == [
        ("b", 1, b"block"),
        ("c1", 2, b"withdrawn"),
        ("c2", 1, b"other"),
    ]
    assert world.do(records.consents, world.patient("nobody|1")) == records.Snapshot(0, ())


def test_search_finds_a_patients_newest_versions_by_kind(world):
    world.accept(
        world.record("a", b"1"), world.record("b", b"2", kind="CarePlan"), world.record("c", b"3", identity=OTHER)
    )
    world.accept(world.record("a", b"4"))
    assert [(row.record_id, row.body) for row in world.do(records.search, world.patient(PERSON))] == [
        ("b", b"2"),
        ("a", b"4"),
    ]
    assert [row.record_id for row in world.do(records.search, world.patient(PERSON), "CarePlan")] == ["b"]
    assert world.do(records.search, world.patient(PERSON), "Offer") == []


def test_the_change_feed_gives_every_version_once_in_order_of_commit(world):
    for number in range(7):
        world.accept(world.record(f"r{number % 3}", b"%d" % number))
    seen, after = [], 0
    while page := world.do(records.changes, after, 2):
        seen += page
        after = page[-1].sequence
    assert [row.body for row in seen] == [b"%d" % number for number in range(7)]
    assert [row.sequence for row in seen] == sorted({row.sequence for row in seen})


def test_the_change_feed_can_be_of_what_peers_sent_alone(world):
    world.accept(world.record("ours"))
    from adapter.store.inbox import Arrival

    world.accept(world.record("theirs"), arrival=Arrival("SE2321000016-PEER", "r", b"d" * 32, "peer"))
    assert [row.record_id for row in world.do(records.changes, 0, 10, origin="peer")] == ["theirs"]


def test_a_tampered_body_is_found_when_it_is_read(world):
    world.accept(world.record("plan", b"plan"))
    world.connection.execute("UPDATE record SET body = CAST(substr(body, 1, length(body) - 1) || x'00' AS BLOB)")
    with pytest.raises(StoreFault, match="store.tampered"):
        world.do(records.get, "plan")


def test_bodies_of_two_rows_that_change_places_are_found(world):
    world.accept(world.record("a", b"mine"))
    world.accept(world.record("b", b"yours", identity=OTHER))
    world.connection.execute(
        "UPDATE record SET body = (SELECT body FROM record other WHERE other.record_id <> record.record_id)"
    )
    with pytest.raises(StoreFault, match="store.tampered"):
        world.do(records.get, "a")


def test_what_is_shown_of_a_record_holds_neither_body_nor_patient(world):
    record = world.record("plan", b"secret body")
    world.accept(record)
    shown = repr(record) + repr(world.do(records.get, "plan")) + repr(world.do(records.consents, world.patient()))
    assert "secret" not in shown
    assert world.patient() not in shown


_writes = st.tuples(
    st.sampled_from([PERSON, OTHER]),
    st.sampled_from(["Consent", "ForeignConsent", "Block", "CarePlan"]),
    st.sampled_from("ab"),
    st.sampled_from([b"1", b"2", b"3"]),
)


@given(writes=st.lists(_writes, max_size=20))
def test_the_consents_of_every_moment_can_be_had_again(writes):
    """After each write the newest consents of both patients are noted; in the end each of them comes back by its number."""
    world = World()
    people = (PERSON, OTHER)
    noted = {}
    for person, kind, name, body in writes:
        world.accept(world.record(f"{kind}-{name}-{person}", body, kind=kind, identity=person))
        for each in people:
            snapshot = world.do(records.consents, world.patient(each))
            assert noted.setdefault((each, snapshot.consent_version), snapshot) == snapshot
    for (person, version), snapshot in noted.items():
        assert world.do(records.consents_at, world.patient(person), version) == snapshot
    for person in people:
        assert world.do(records.consents_at, world.patient(person), 0) == records.Snapshot(0, ())
    world.close()
