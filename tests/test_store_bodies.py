from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_world import PERSON, some_keys

from adapter.errors import Misconfigured, StoreFault
from adapter.store import Keys, add_body_key, load_keys, make_key_file

PLACES = st.lists(st.text(max_size=5) | st.integers(0, 99), min_size=1, max_size=3)


@given(body=st.binary(max_size=2000), place=PLACES)
def test_what_is_sealed_for_a_place_opens_there_as_it_was(body, place):
    keys = some_keys()
    assert keys.open(keys.seal(body, *place), *place) == body


@given(body=st.binary(min_size=1, max_size=50), flip=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_sealed_body_with_one_bit_changed_does_not_open(body, flip, bit):
    keys = some_keys()
    sealed = bytearray(keys.seal(body, "record", "r", 1))
    sealed[flip % len(sealed)] ^= 1 << bit
    with pytest.raises(StoreFault) as caught:
        keys.open(bytes(sealed), "record", "r", 1)
    assert caught.value.first.code in {"store.tampered", "store.unknown-key"}


@pytest.mark.parametrize("elsewhere", [("record", "r", 2), ("record", "s", 1), ("inbox", "r", 1), ("record", "r")])
def test_a_sealed_body_moved_to_another_row_does_not_open(elsewhere):
    keys = some_keys()
    with pytest.raises(StoreFault, match="store.tampered"):
        keys.open(keys.seal(b"body", "record", "r", 1), *elsewhere)


@pytest.mark.parametrize("size", [0, 7, 8, 19, 20, 35])
def test_a_sealed_body_cut_short_does_not_open(size):
    keys = some_keys()
    with pytest.raises(StoreFault):
        keys.open(keys.seal(b"body", "record", "r", 1)[:size], "record", "r", 1)


def test_the_same_body_is_never_sealed_to_the_same_bytes():
    keys = some_keys()
    assert len({keys.seal(b"body", "record") for _ in range(100)}) == 100


def test_every_key_of_the_ring_opens_and_the_last_one_seals():
    index, old, new = bytes(32), b"\1" * 32, b"\2" * 32
    before, after, only_new = (
        Keys(index=index, bodies=[old]),
        Keys(index=index, bodies=[old, new]),
        Keys(index=index, bodies=[new]),
    )
    assert after.open(before.seal(b"body", "record"), "record") == b"body"
    assert only_new.open(after.seal(b"body", "record"), "record") == b"body"
    with pytest.raises(StoreFault, match="store.unknown-key"):
        only_new.open(before.seal(b"body", "record"), "record")


def test_a_patient_is_a_keyed_hash_that_another_key_does_not_give():
    assert some_keys(1).patient_key(PERSON) == some_keys(1).patient_key(PERSON)
    assert some_keys(1).patient_key(PERSON) != some_keys(2).patient_key(PERSON)
    assert len(bytes.fromhex(some_keys().patient_key(PERSON))) == 32


def test_keys_show_nothing_of_themselves():
    keys = Keys(index=b"secret index key of 32 bytes ...", bodies=[b"secret body key of 32 bytes ...."])
    assert repr(keys) == "<Keys: 1 body keys>"
    assert "secret" not in str(vars(keys))


@pytest.mark.parametrize("bad", [{"bodies": []}, {"bodies": [b"short"]}, {"index": b"short"}])
def test_a_ring_of_wrong_keys_is_refused(bad):
    with pytest.raises(ValueError, match="32 bytes"):
        Keys(**{"index": bytes(32), "bodies": [bytes(32)]} | bad)


def test_a_key_file_is_made_for_its_owner_alone_and_gives_the_same_keys_each_time(tmp_path):
    path = tmp_path / "keys.toml"
    make_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sealed = load_keys(path).seal(b"body", "record")
    assert load_keys(path).open(sealed, "record") == b"body"
    assert load_keys(path).patient_key(PERSON) == load_keys(path).patient_key(PERSON)


def test_a_key_file_is_never_overwritten(tmp_path):
    path = tmp_path / "keys.toml"
    make_key_file(path)
    before = path.read_bytes()
    with pytest.raises(Misconfigured, match="store.key-file-exists"):
        make_key_file(path)
    assert path.read_bytes() == before


def test_two_key_files_are_different(tmp_path):
    make_key_file(tmp_path / "a")
    make_key_file(tmp_path / "b")
    assert load_keys(tmp_path / "a").patient_key(PERSON) != load_keys(tmp_path / "b").patient_key(PERSON)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o601])
def test_a_key_file_that_others_can_reach_is_refused(tmp_path, mode):
    path = tmp_path / "keys.toml"
    make_key_file(path)
    path.chmod(mode)
    with pytest.raises(Misconfigured, match="store.key-file-exposed"):
        load_keys(path)


def test_an_added_key_seals_from_then_on_and_the_older_ones_still_open(tmp_path):
    path = tmp_path / "keys.toml"
    make_key_file(path)
    before = load_keys(path)
    sealed, patient = before.seal(b"body", "record"), before.patient_key(PERSON)
    add_body_key(path)
    after = load_keys(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert after.open(sealed, "record") == b"body"
    assert after.patient_key(PERSON) == patient
    with pytest.raises(StoreFault, match="store.unknown-key"):
        before.open(after.seal(b"body", "record"), "record")
    assert [file.name for file in tmp_path.iterdir()] == ["keys.toml"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"index = 1\nbodies = []",
        b'index = "AAAA"\nbodies = ["AAAA"]',
        b'index = "!"\nbodies = []',
        b"\xff\xfe",
        b"index = secret-key-material",
        b'index = "secret-key-material"\nbodies = "abc"',
    ],
)
def test_a_malformed_key_file_is_refused_without_a_word_of_what_it_holds(tmp_path, content):
    path = tmp_path / "keys.toml"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match="store.key-file-malformed") as caught:
        load_keys(path)
    assert "secret" not in str(caught.value) + caught.value.first.as_line()
    assert caught.value.__cause__ is None


def test_a_missing_key_file_and_a_folder_that_cannot_be_written_are_named(tmp_path):
    with pytest.raises(Misconfigured) as missing:
        load_keys(tmp_path / "absent")
    assert missing.value.first.code == "store.key-file-missing"
    assert str(tmp_path / "absent") in missing.value.first.says("sv")
    with pytest.raises(Misconfigured, match="store.key-file-unwritable"):
        make_key_file(tmp_path / "no-such-folder" / "keys")
