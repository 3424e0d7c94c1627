from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_world import OTHER, PERSON, World

from adapter.store import audit
from adapter.store.audit import Break, Entry

COLUMNS = ("at", "event", "who", "what", "patient_key", "outcome", "reason", "details", "unit", "previous", "hash")


@pytest.fixture
def world():
    made = World()
    for number in range(6):
        entry = Entry(
            "record.accepted",
            "local",
            f"record-{number}",
            "refused",
            "why",
            made.patient(),
            b"words %d" % number,
            "SE2321000016-10B2",
        )
        made.do(audit.append, [entry], now=made.later(seconds=1))
    yield made
    made.close()


def breaks(world):
    return world.do(audit.verify_chain).breaks


def test_a_chain_that_nobody_touched_holds(world):
    verified = world.do(audit.verify_chain)
    assert (verified.rows, verified.breaks) == (6, ())
    assert verified.head == world.sql("SELECT hash FROM audit ORDER BY sequence DESC")[0][0]


def test_an_empty_chain_holds():
    world = World()
    world.do(audit.append, [], now=world.now)
    assert world.do(audit.verify_chain) == audit.Verified(0, bytes(32), ())
    world.close()


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", [1, 3, 6])
def test_a_changed_value_in_any_column_of_any_row_is_found(world, column, row):
    [(value,)] = world.sql(f"SELECT {column} FROM audit WHERE sequence = ?", row)
    changed = value + 1 if isinstance(value, int) else value[:-1] + b"!" if isinstance(value, bytes) else value + "!"
    world.sql(f"UPDATE audit SET {column} = ? WHERE sequence = ?", changed, row)
    assert row in {found.sequence for found in breaks(world)}


@pytest.mark.parametrize("column", ["event", "who", "what", "patient_key", "outcome", "reason", "unit"])
def test_text_that_is_no_text_any_more_is_found_in_its_row(world, column):
    world.sql(f"UPDATE audit SET {column} = CAST(x'ff6f' AS TEXT) WHERE sequence = 3")
    assert breaks(world) == (Break(3, "altered"),)


@pytest.mark.parametrize("column", ["patient_key", "details", "unit"])
def test_a_value_that_was_taken_away_is_found(world, column):
    world.sql(f"UPDATE audit SET {column} = NULL WHERE sequence = 3")
    assert breaks(world) == (Break(3, "altered"),)


@pytest.mark.parametrize("row", [1, 2, 5])
def test_a_deleted_row_is_found(world, row):
    world.sql("DELETE FROM audit WHERE sequence = ?", row)
    assert breaks(world) == (Break(row + 1, "missing"),)


@pytest.mark.parametrize("row", [1, 2, 5])
def test_a_deleted_row_is_found_even_if_the_rest_closes_up(world, row):
    world.sql("DELETE FROM audit WHERE sequence = ?", row)
    for moved in range(row + 1, 7):
        world.sql("UPDATE audit SET sequence = sequence - 1 WHERE sequence = ?", moved)
    assert Break(row, "altered") in breaks(world)


def test_an_inserted_row_is_found(world):
    for moved in range(6, 3, -1):
        world.sql("UPDATE audit SET sequence = sequence + 1 WHERE sequence = ?", moved)
    world.sql(
        f"INSERT INTO audit (sequence, {', '.join(COLUMNS)}) SELECT 4, {', '.join(COLUMNS)} FROM audit WHERE sequence = 3"
    )
    assert Break(4, "altered") in breaks(world)


def test_a_row_added_at_the_end_without_the_key_is_found(world):
    world.sql(
        f"INSERT INTO audit (sequence, {', '.join(COLUMNS)}) SELECT 7, at, event, who, what, patient_key, outcome, reason, details, unit, hash, randomblob(32) FROM audit WHERE sequence = 6"
    )
    assert breaks(world) == (Break(7, "altered"),)


def test_two_rows_that_changed_places_are_found(world):
    world.sql("UPDATE audit SET sequence = 99 WHERE sequence = 2")
    world.sql("UPDATE audit SET sequence = 2 WHERE sequence = 3")
    world.sql("UPDATE audit SET sequence = 3 WHERE sequence = 99")
    assert {found.sequence for found in breaks(world)} >= {2, 3}


def test_a_row_of_another_place_with_a_right_hash_of_its_own_is_found_by_its_link(world):
    [row] = world.sql(
        "SELECT sequence, at, event, who, what, patient_key, outcome, reason, details, unit FROM audit WHERE sequence = 4"
    )
    elsewhere = bytes(31) + b"\1"
    hashed = world.keys.chain(elsewhere, audit._canonical(row))
    world.sql("UPDATE audit SET previous = ?, hash = ? WHERE sequence = 4", elsewhere, hashed)
    assert breaks(world) == (Break(4, "unlinked"), Break(5, "unlinked"))


def test_a_chain_made_anew_without_the_key_is_found(world):
    from store_world import some_keys

    stranger = some_keys(2)
    previous = bytes(32)
    for row in world.sql(
        "SELECT sequence, at, event, who, what, patient_key, outcome, reason, details, unit FROM audit ORDER BY sequence"
    ):
        hashed = stranger.chain(previous, audit._canonical(row))
        world.sql("UPDATE audit SET previous = ?, hash = ? WHERE sequence = ?", previous, hashed, row[0])
        previous = hashed
    assert len([found for found in breaks(world) if found.kind == "altered"]) == 6


@given(
    batches=st.lists(
        st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=4), max_size=5
    )
)
def test_entries_come_back_in_order_as_they_were_written(batches):
    world = World()
    written = [[Entry(event, "who", details=details) for event, details in batch] for batch in batches]
    for batch in written:
        world.do(audit.append, batch, now=world.now)
    found = world.do(audit.entries)
    assert [row.entry for row in found] == [entry for batch in written for entry in batch]
    assert [row.sequence for row in found] == list(range(1, len(found) + 1))
    assert world.chain_holds()
    world.close()


def test_entries_can_be_paged_and_of_one_patient(world):
    world.do(audit.append, [Entry("record.read", "peer", patient_key=world.patient(OTHER))], now=world.now)
    assert [row.sequence for row in world.do(audit.entries, after=2, limit=3)] == [3, 4, 5]
    assert [row.entry.event for row in world.do(audit.entries, patient_key=world.patient(OTHER))] == ["record.read"]
    assert len(world.do(audit.entries, patient_key=world.patient(PERSON))) == 6


def test_two_rows_never_have_the_same_canonical_form_by_shifting_text_between_columns():
    assert audit._canonical((1, 2, "ab", "c", None)) != audit._canonical((1, 2, "a", "bc", None))
    assert audit._canonical((1, None, None)) != audit._canonical((1, "null", None))
    assert audit._canonical((1, None, "unit")) != audit._canonical((1, "unit", None))


def test_what_is_shown_of_an_entry_holds_neither_words_nor_patient(world):
    shown = repr(world.do(audit.entries))
    assert "words" not in shown
    assert world.patient() not in shown
