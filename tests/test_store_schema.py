"""A store that an older adapter made opens, has all that a new one has, and keeps what it held."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from store_world import PERSON, START, some_keys

from adapter.errors import StoreFault
from adapter.store import Store, audit, database, records, schema, withdrawals
from adapter.store.instants import micros

OLDEST = Path(__file__).with_name("schema_1.sql")
HALFWAY = """
import os, signal, sys
from pathlib import Path
from store_world import some_keys
from adapter.store import Store, schema

whole = schema.statements

def statements(present):
    asked = whole(present)
    yield from asked[: int(sys.argv[2])]
    os.kill(os.getpid(), signal.SIGKILL)

schema.statements = statements
Store.open(Path(sys.argv[1]), some_keys())
"""


@pytest.fixture
def path(tmp_path):
    """A store as version 1 made it, with three audit rows."""
    made = tmp_path / "koord.db"
    connection = sqlite3.connect(made)
    connection.executescript(OLDEST.read_text(encoding="ascii"))
    keys, previous = some_keys(), bytes(32)
    connection.execute("INSERT INTO store_info VALUES (1, 1, ?, ?)", keys.checks())
    for number in range(1, 4):
        row = (
            number,
            micros(START),
            "record.accepted",
            "local",
            f"record-{number}",
            keys.patient_key(PERSON),
            "ok",
            "",
        )
        hashed = keys.chain(previous, audit._canonical((*row, None, None)))
        connection.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?)", (*row, previous, hashed))
        previous = hashed
    connection.commit()
    connection.close()
    return made


def looked_at(path, question):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(question).fetchall()
    finally:
        connection.close()


def version(path):
    return looked_at(path, "SELECT schema_version FROM store_info")[0][0]


def shape(path):
    """Every table and index with its columns, in order."""
    names = looked_at(path, "SELECT type, name FROM sqlite_master ORDER BY type, name")
    columns = {
        name: looked_at(path, f"SELECT name, type, \"notnull\", pk FROM pragma_table_info('{name}')")
        + looked_at(path, f"SELECT name FROM pragma_index_info('{name}')")
        for _, name in names
    }
    return names, columns


def test_an_older_store_gets_all_that_a_new_one_has_and_keeps_its_rows(path, tmp_path):
    Store.open(tmp_path / "new.db", some_keys()).close()
    with Store.open(path, some_keys()) as store:
        store.write(audit.append, [audit.Entry("record.read", "peer", unit="SE2321000016-10B2")], now=START).result()
        verified = store.read(audit.verify_chain).result()
        written = store.read(audit.entries).result()
    assert shape(path) == shape(tmp_path / "new.db")
    assert version(path) == schema.SCHEMA_VERSION
    assert (verified.rows, verified.breaks) == (4, ())
    assert [each.entry.unit for each in written] == [None, None, None, "SE2321000016-10B2"]


def test_an_older_store_takes_consents_of_other_systems(path):
    given = records.NewRecord("x", "ForeignConsent", some_keys().patient_key("personnummer|191212121212"), b"{}")
    with Store.open(path, some_keys()) as store:
        where = {"source": "@local", "request_id": "q", "origin": "local", "now": START}
        store.write(records.put, given, **where).result()
        [found] = store.read(records.consents, given.patient_key).result().records
        ends = store.write(withdrawals.note_ends, lambda version: version.received_at).result()
    assert (found.record_id, found.body, ends) == ("x", b"{}", 1)


def test_a_store_that_has_grown_is_not_touched_again(path):
    Store.open(path, some_keys()).close()
    before = path.read_bytes()
    Store.open(path, some_keys()).close()
    assert path.read_bytes() == before


def test_a_new_store_lacks_nothing(tmp_path):
    Store.open(tmp_path / "new.db", some_keys()).close()
    connection = sqlite3.connect(tmp_path / "new.db")
    assert schema.statements(database._present(connection)) == []
    connection.close()


def lacking(path):
    connection = sqlite3.connect(path)
    try:
        return schema.statements(database._present(connection))
    finally:
        connection.close()


def test_growth_that_fails_anywhere_leaves_the_store_as_it_was(path, monkeypatch):
    whole, before = schema.statements, shape(path)
    asked = lacking(path)
    assert len(asked) >= 4
    for place in range(len(asked) + 1):
        broken = [*asked[:place], "CREATE TABLE", *asked[place:]]
        monkeypatch.setattr(schema, "statements", lambda _, broken=broken: broken)
        with pytest.raises(StoreFault, match="store.failed"):
            Store.open(path, some_keys())
        assert (version(path), shape(path)) == (1, before)
    monkeypatch.setattr(schema, "statements", whole)
    Store.open(path, some_keys()).close()
    assert (version(path), lacking(path)) == (schema.SCHEMA_VERSION, [])


@pytest.mark.processes
def test_growth_that_is_killed_in_the_middle_is_done_at_the_next_opening(path):
    before = shape(path)
    for place in (0, len(lacking(path)) // 2, len(lacking(path))):
        ended = subprocess.run(
            [sys.executable, "-c", HALFWAY, str(path), str(place)], cwd=Path(__file__).parent, check=False, timeout=60
        )
        assert ended.returncode == -signal.SIGKILL
        assert (version(path), shape(path)) == (1, before)
    with Store.open(path, some_keys()) as store:
        assert store.read(audit.verify_chain).result().breaks == ()
    assert (version(path), lacking(path)) == (schema.SCHEMA_VERSION, [])


def test_an_older_store_of_other_keys_is_left_as_it_is(path):
    before = shape(path)
    with pytest.raises(StoreFault, match="store.wrong-key"):
        Store.open(path, some_keys(2))
    assert (version(path), shape(path)) == (1, before)


def test_many_who_open_an_older_store_at_once_all_get_the_same(path):
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: Store.open(path, some_keys()), range(8)))
    for store in stores:
        assert store.read(audit.verify_chain).result().rows == 3
        store.close()
    assert lacking(path) == []
