"""Checkpoints: whatever is done to a log or to its checkpoints is found, also by those who have only the public key."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from store_world import OTHER, PERSON, START, World

from adapter.errors import StoreFault
from adapter.store import audit, checkpoints
from adapter.store.audit import Break, Entry
from adapter.store.checkpoints import Checkpoint

KEY = Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"\2" * 32)
KEYS = {checkpoints.key_id(KEY.public_key()): KEY.public_key()}
COLUMNS = [name for name in audit._COLUMNS if name != "sequence"]


def entry(number, identity=PERSON):
    world_key = "ab" * 32 if identity == PERSON else "cd" * 32
    return Entry("record.read", "peer", f"record-{number}", "ok", "", world_key, b"words", "SE2321000016-10B2")


def log(sizes=(3, 2, 4), late=0, *, key=KEY):
    """A log with a checkpoint after each so many rows, and rows after the last one."""
    world = World()
    number = 0
    for size in (*sizes, late):
        for _ in range(size):
            number += 1
            world.do(audit.append, [entry(number)], now=world.later(seconds=1))
        if size and (size != late or number < sum(sizes) + late):
            world.do(checkpoints.make, key, now=world.now)
    return world


@pytest.fixture
def world():
    made = log()
    yield made
    made.close()


def verified(world, keys=KEYS, elsewhere=()):
    return world.do(checkpoints.verify, keys, elsewhere=elsewhere)


def export(world, first=1, last=10**9):
    """The exported log, its checkpoints each after the last row that it speaks of."""
    known = {each.rows: each for each in world.do(checkpoints.after, 0)}
    for row in world.do(lambda tx: list(audit.rows(tx))):
        if first <= row[0] <= last:
            yield audit.line(row)
            if row[0] in known:
                yield known[row[0]].line()


def offline(lines, keys=KEYS, **more):
    return checkpoints.verify_export(lines, keys, **more)


def kinds(found):
    return {each.kind for each in found.breaks}


# What holds


def test_a_log_that_nobody_touched_holds_in_the_store_and_outside(world):
    for found in (verified(world), offline(export(world))):
        assert (found.rows, found.proved, found.checkpoints, found.breaks) == (9, 9, 3, ())
        assert found.head == world.sql("SELECT hash FROM audit ORDER BY sequence DESC")[0][0]


@given(sizes=st.lists(st.integers(1, 4), max_size=4), late=st.integers(0, 3))
def test_every_log_holds_and_tells_how_much_of_it_checkpoints_vouch_for(sizes, late):
    world = World()
    number = 0
    for size in sizes:
        world.do(audit.append, [entry(number + each) for each in range(size)], now=world.later(seconds=1))
        number += size
        made = world.do(checkpoints.make, KEY, now=world.now)
        assert (made.first, made.rows) == (number - size + 1, number)
    world.do(audit.append, [entry(each) for each in range(late)], now=world.now)
    elsewhere = world.do(checkpoints.after, 0)
    for found in (verified(world, elsewhere=elsewhere), offline(export(world), elsewhere=elsewhere)):
        assert (found.rows, found.proved, found.breaks) == (number + late, number, ())
    assert world.do(checkpoints.waiting)[0] == late
    world.close()


def test_an_empty_log_holds_and_gets_no_checkpoint():
    world = World()
    assert world.do(checkpoints.make, KEY, now=START) is None
    assert world.do(checkpoints.waiting) == (0, None)
    assert (verified(world).breaks, offline([]).breaks) == ((), ())
    world.close()


def test_a_checkpoint_is_made_only_when_there_is_something_new(world):
    assert world.do(checkpoints.make, KEY, now=world.now) is None
    world.do(audit.append, [entry(10)], now=world.later(seconds=1))
    assert world.do(checkpoints.waiting) == (1, world.now)
    assert world.do(checkpoints.make, KEY, now=world.now).number == 4


def test_one_checkpoint_speaks_of_a_limited_number_of_rows(monkeypatch):
    monkeypatch.setattr(checkpoints, "MOST", 4)
    world = World()
    world.do(audit.append, [entry(number) for number in range(10)], now=START)
    made = [world.do(checkpoints.make, KEY, now=START) for _ in range(4)]
    assert [(each.first, each.rows) for each in made[:3]] == [(1, 4), (5, 8), (9, 10)]
    assert made[3] is None
    assert verified(world).breaks == ()
    world.close()


def test_the_public_key_alone_is_enough_to_check_what_rows_say_with_any_tool(world):
    """The content of a checkpoint is the SHA-256 of exported lines, its signature is over JSON that can be cut out of its line."""
    lines = list(export(world))
    first = json.loads(lines[3])
    assert sha256(b"".join(lines[:3])).hexdigest() == first["content"]
    assert sha256(b"".join(lines[4:6])).hexdigest() == json.loads(lines[6])["content"]
    signature = checkpoints.from_line(lines[3]).signature
    signed = lines[3].partition(b',"signature"')[0] + b"}"
    KEY.public_key().verify(signature, signed)
    assert json.loads(lines[6])["previous"] == sha256(signed).hexdigest()


def test_a_log_signed_with_several_keys_in_turn_holds_with_all_of_them():
    world = log((2,))
    world.do(audit.append, [entry(3)], now=world.now)
    world.do(checkpoints.make, STRANGER, now=world.now)
    both = {**KEYS, checkpoints.key_id(STRANGER.public_key()): STRANGER.public_key()}
    assert verified(world, both).breaks == ()
    assert verified(world).breaks == (Break(2, "unknown-key", "checkpoint"),)
    world.close()


# What was done to rows


@given(data=st.data())
def test_every_flipped_bit_of_any_row_is_found_in_the_store(data):
    world = log((2, 2), 1)
    row, column = data.draw(st.integers(1, 5)), data.draw(st.sampled_from(COLUMNS))
    [(value,)] = world.sql(f"SELECT {column} FROM audit WHERE sequence = ?", row)
    world.sql(f"UPDATE audit SET {column} = ? WHERE sequence = ?", flipped(data, value), row)
    assert row in {each.sequence for each in verified(world).breaks if each.of == "audit"}
    world.close()


def flipped(data, value):
    """The same kind of value with one bit changed; text stays text."""
    if isinstance(value, int):
        return value ^ 1 << data.draw(st.integers(0, 60))
    if isinstance(value, bytes):
        changed = bytearray(value)
        changed[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        return bytes(changed)
    if not value:
        return "x"
    place = data.draw(st.integers(0, len(value) - 1))
    return value[:place] + chr(ord(value[place]) ^ 1 << data.draw(st.integers(0, 5))) + value[place + 1 :]


@given(data=st.data())
def test_every_flipped_bit_of_an_export_is_found_without_any_secret(data):
    world = log((2, 1))
    whole = b"".join(export(world))
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert offline(bytes(changed).splitlines(keepends=True)).breaks
    world.close()


@given(data=st.data())
def test_a_line_that_is_taken_out_put_in_or_moved_in_an_export_is_found(data):
    world = log((2, 1, 2))
    lines = list(export(world))
    one = data.draw(st.integers(0, len(lines) - 2))
    other = data.draw(st.integers(one + 1, len(lines) - 1))
    how = data.draw(st.sampled_from(["out", "twice", "swapped", "moved"]))
    if how == "out":
        del lines[one]
    elif how == "twice":
        lines.insert(other, lines[one])
    elif how == "swapped":
        lines[one], lines[other] = lines[other], lines[one]
    else:
        lines.insert(other, lines.pop(one))
    unchanged = lines == list(export(world))
    assert bool(offline(lines).breaks) != unchanged
    world.close()


@given(data=st.data())
def test_rows_deleted_moved_or_put_in_are_found_in_the_store(data):
    world = log((2, 2), 1)
    row = data.draw(st.integers(1, 4))
    how = data.draw(st.sampled_from(["out", "swapped", "closed up", "put in"]))
    if how in {"out", "closed up"}:
        world.sql("DELETE FROM audit WHERE sequence = ?", row)
    if how == "closed up":
        for moved in range(row + 1, 6):
            world.sql("UPDATE audit SET sequence = sequence - 1 WHERE sequence = ?", moved)
    if how == "swapped":
        for old, new in ((row, 99), (row + 1, row), (99, row + 1)):
            world.sql("UPDATE audit SET sequence = ? WHERE sequence = ?", new, old)
    if how == "put in":
        for moved in range(5, row, -1):
            world.sql("UPDATE audit SET sequence = sequence + 1 WHERE sequence = ?", moved)
        world.sql(
            f"INSERT INTO audit (sequence, {', '.join(COLUMNS)}) SELECT ?, {', '.join(COLUMNS)} FROM audit WHERE sequence = ?",
            row + 1,
            row,
        )
    assert verified(world).breaks
    world.close()


@pytest.mark.parametrize(
    "sql", ["at = at | (1 << 62)", "at = -at * 1000", "who = CAST(x'ff' AS TEXT)", "unit = CAST(x'c3' AS TEXT)"]
)
def test_values_that_cannot_be_read_are_found_as_any_other(world, sql):
    world.sql(f"UPDATE audit SET {sql} WHERE sequence = 3")
    assert set(verified(world).breaks) == {Break(3, "altered"), Break(1, "content", "checkpoint")}


# What was cut off


@pytest.mark.parametrize("left", range(9))
def test_rows_that_were_cut_off_are_found_by_the_checkpoints_that_remain(world, left):
    world.sql("DELETE FROM audit WHERE sequence > ?", left)
    assert Break(left, "truncated") in verified(world).breaks


@pytest.mark.parametrize("left", range(9))
def test_rows_cut_off_with_their_checkpoints_are_found_by_one_that_was_kept_elsewhere(world, left):
    elsewhere = [world.do(checkpoints.newest)]
    world.sql("DELETE FROM audit WHERE sequence > ?", left)
    world.sql("DELETE FROM audit_checkpoint WHERE rows > ?", left)
    assert verified(world).breaks == ()
    for found in (verified(world, elsewhere=elsewhere), offline(export(world), elsewhere=elsewhere)):
        assert set(found.breaks) == {Break(left, "truncated"), Break(3, "lost", "checkpoint")}


def test_rows_written_again_in_place_of_those_cut_off_are_found(world):
    world.sql("DELETE FROM audit WHERE sequence > 8")
    world.do(audit.append, [entry(99), entry(100)], now=world.now)
    assert Break(3, "head", "checkpoint") in verified(world).breaks


# Forgery


def anew(world, change):
    """What somebody with the index key can do: change a row and write the chain anew from there."""
    previous = audit.START
    for row in world.do(lambda tx: list(audit.rows(tx))):
        changed = change(row[:10])
        hashed = world.keys.chain(previous, audit._canonical(changed))
        world.sql(
            "UPDATE audit SET who = ?, previous = ?, hash = ? WHERE sequence = ?", changed[3], previous, hashed, row[0]
        )
        previous = hashed


def somebody_else(row):
    return (*row[:3], "nobody", *row[4:]) if row[0] == 2 else row


def test_a_chain_made_anew_with_the_index_key_is_found_by_its_checkpoints(world):
    anew(world, somebody_else)
    assert world.chain_holds()
    assert kinds(verified(world)) == {"head", "content"}


def test_a_chain_made_anew_without_its_checkpoints_is_found_by_one_that_was_kept_elsewhere(world):
    elsewhere = [world.do(checkpoints.newest)]
    anew(world, somebody_else)
    world.sql("DELETE FROM audit_checkpoint")
    assert verified(world).breaks == ()
    assert kinds(verified(world, elsewhere=elsewhere)) == {"head", "lost"}


def test_checkpoints_made_anew_with_another_key_are_found(world):
    anew(world, somebody_else)
    world.sql("DELETE FROM audit_checkpoint")
    world.do(checkpoints.make, STRANGER, now=world.now)
    assert kinds(verified(world)) == {"unknown-key"}


def test_a_signature_of_another_key_under_our_keys_name_is_forged(world):
    last = world.do(checkpoints.newest)
    unsigned = replace(last, rows=last.rows - 1, signature=b"")
    forged = replace(unsigned, signature=STRANGER.sign(unsigned.statement()))
    assert Break(3, "forged", "checkpoint") in verified(world, elsewhere=[forged]).breaks
    world.sql("UPDATE audit_checkpoint SET signature = ? WHERE number = 2", b"short")
    assert Break(2, "forged", "checkpoint") in verified(world).breaks


@pytest.mark.parametrize("column", ["at", "first", "rows", "head", "content", "previous", "key_id", "signature"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_changed_checkpoint_is_found(world, number, column):
    [(value,)] = world.sql(f"SELECT {column} FROM audit_checkpoint WHERE number = ?", number)
    changed = value + 1 if isinstance(value, int) else value[:-1] + (b"!" if isinstance(value, bytes) else "!")
    world.sql(f"UPDATE audit_checkpoint SET {column} = ? WHERE number = ?", changed, number)
    assert number in {each.sequence for each in verified(world).breaks if each.of == "checkpoint"}


@pytest.mark.parametrize("number", [1, 2])
def test_a_checkpoint_that_was_removed_between_others_is_found(world, number):
    world.sql("DELETE FROM audit_checkpoint WHERE number = ?", number)
    assert Break(number + 1, "unlinked", "checkpoint") in verified(world).breaks
    assert offline(export(world)).breaks


def test_two_checkpoints_of_one_number_are_never_both_believed(world):
    last = world.do(checkpoints.newest)
    unsigned = replace(last, at=last.at + timedelta(1), signature=b"")
    other = replace(unsigned, signature=KEY.sign(unsigned.statement()))
    for elsewhere in ([other], [last, other]):
        assert Break(3, "replaced", "checkpoint") in verified(world, elsewhere=elsewhere).breaks


# A part of a log


def test_of_a_part_the_rows_that_whole_checkpoints_speak_of_are_proved(world):
    lines = list(export(world, 3, 8))
    found = offline(lines, part=True)
    assert (found.rows, found.proved, found.breaks) == (6, 2, ())
    assert "missing" in kinds(offline(lines))
    changed = [line.replace(b"record-5", b"record-7") for line in lines]
    assert kinds(offline(changed, part=True)) == {"content"}
    without = [line for line in lines if b'"number":2' not in line]
    assert offline(without, part=True).proved == 0


def test_checkpoints_kept_elsewhere_are_not_missed_in_a_part(world):
    elsewhere = world.do(checkpoints.after, 0)
    assert offline(export(world, 4, 7), elsewhere=elsewhere, part=True).breaks == ()


# The form


@given(
    line=st.binary(max_size=40)
    | st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
    | st.fixed_dictionaries(
        {name: st.none() | st.integers() | st.text(max_size=4) for name in ("sequence", "previous", "hash")}
    ).map(lambda value: json.dumps(value).encode())
)
def test_a_line_that_is_neither_row_nor_checkpoint_is_a_break_and_never_an_error(line):
    assert checkpoints.from_line(line) is None
    found = offline([line])
    assert found.breaks


@given(data=st.data())
def test_a_checkpoint_is_read_back_only_from_the_line_that_it_writes(data):
    made = Checkpoint(
        data.draw(st.integers(1)), START, 1, data.draw(st.integers(1)), *(b"h" * 32, b"c" * 32, b"p" * 32), "key", b"s"
    )
    assert checkpoints.from_line(made.line()) == made
    said = json.loads(made.line())
    assert checkpoints.from_line(json.dumps(said).encode()) is None  # other spaces
    assert checkpoints.from_line(json.dumps(said | {"more": 1}, separators=(",", ":")).encode()) is None
    name = data.draw(st.sampled_from(sorted(said)))
    for other in (None, 1.5, "x", [], {}):
        changed = json.dumps(said | {name: other}, separators=(",", ":")).encode()
        assert checkpoints.from_line(changed) in (None, replace(made, key_id="x"))


def test_no_exported_row_holds_words_or_a_persons_number(world):
    text = b"".join(export(world)).decode()
    assert "words" not in text
    assert not any(number.partition("|")[2] in text for number in (PERSON, OTHER))


# The file


def test_the_file_gets_every_checkpoint_once_whoever_appends(world, tmp_path):
    path = tmp_path / "checkpoints.jsonl"
    known = world.do(checkpoints.after, 0)

    def later_than(number):
        return [each for each in known if each.number > number]

    threads = [threading.Thread(target=checkpoints.keep, args=(path, later_than)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [checkpoints.from_line(line) for line in path.read_bytes().splitlines()] == known
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_torn_is_left_and_the_checkpoint_is_written_again(world, tmp_path):
    path = tmp_path / "checkpoints.jsonl"
    known = world.do(checkpoints.after, 0)
    path.write_bytes(known[0].line() + known[1].line()[:40])
    checkpoints.keep(path, lambda number: [each for each in known if each.number > number])
    assert [checkpoints.from_line(line) for line in path.read_bytes().splitlines()] == [known[0], None, *known[1:]]


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(StoreFault, match="store.unreadable"):
        checkpoints.keep(tmp_path, lambda _: [])


def test_a_key_is_named_after_itself():
    assert len(checkpoints.key_id(KEY.public_key())) == 16
    assert checkpoints.key_id(KEY.public_key()) != checkpoints.key_id(STRANGER.public_key())


def test_an_empty_file_holds_no_checkpoint_and_none_is_missed(tmp_path):
    (tmp_path / "file").touch()
    assert checkpoints.kept(tmp_path / "file") == ([], [])
    with pytest.raises(StoreFault, match="store.unreadable"):
        checkpoints.kept(tmp_path / "absent")


def test_a_line_of_a_file_that_is_no_checkpoint_is_told_unless_it_was_torn(world, tmp_path):
    path = tmp_path / "file"
    first, second, third = world.do(checkpoints.after, 0)
    path.write_bytes(first.line() + second.line()[:30] + b"\n" + second.line() + b"nonsense\n" + third.line()[:50])
    found, bad = checkpoints.kept(path)
    assert found == [first, second]
    assert bad == [Break(4, "unreadable", "checkpoint"), Break(5, "unreadable", "checkpoint")]
