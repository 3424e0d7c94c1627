from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
import stat
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from store_world import LEASE, PERSON, START, some_keys

from adapter.errors import Conflict, Fault, StoreFault, codes
from adapter.store import Store, audit, database, destinations, inbox, outbox, quarantine, records
from adapter.store.disclosures import Disclosure
from adapter.store.outbox import Delivered, Send


@pytest.fixture
def path(tmp_path):
    return tmp_path / "koord.db"


@pytest.fixture
def store(path):
    with Store.open(path, some_keys()) as opened:
        opened.write(destinations.declare, [destinations.Destination("peer")], now=START).result()
        yield opened


def put(tx, number, body=b"{}"):
    record = records.NewRecord(f"record-{number}", "Intervention", tx.keys.patient_key(PERSON), body)
    return records.put(tx, record, source="local", request_id=str(number), origin="local", now=START)


def bodies(tx):
    return sorted(version.record_id for version in records.changes(tx, 0, 10_000))


def hold_the_writer(store):
    """Keep the writer busy until the returned event is set, so that what follows waits and shares one commit."""
    go, held = threading.Event(), threading.Event()

    def wait(_):
        held.set()
        go.wait(10)

    store.write(wait)
    held.wait(10)
    return go


# Opening


def test_a_new_store_is_for_its_owner_alone_and_so_are_the_files_beside_it(store, path):
    files = list(path.parent.iterdir())
    assert {file.name for file in files} >= {"koord.db", "koord.db-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_what_was_committed_is_there_after_reopening(path):
    with Store.open(path, some_keys()) as store:
        store.write(put, 1, b"body").result()
    with Store.open(path, some_keys()) as store:
        assert store.read(records.get, "record-1").result().body == b"body"


def test_a_store_does_not_open_with_other_keys(store, path):
    for keys in (
        some_keys(2),
        database.Keys(index=b"\1" * 32, bodies=[b"x" * 32]),
        database.Keys(index=b"x" * 32, bodies=[b"\x65" * 32]),
    ):
        with pytest.raises(StoreFault, match="store.wrong-key"):
            Store.open(path, keys)


def test_a_store_opens_with_a_ring_that_has_grown(store, path):
    Store.open(path, database.Keys(index=b"\1" * 32, bodies=[b"\x65" * 32, b"new" + bytes(29)])).close()


def test_a_store_of_a_newer_adapter_is_left_alone(store, path):
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE store_info SET schema_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreFault) as caught:
        Store.open(path, some_keys())
    assert caught.value.first.code == "store.newer-schema"
    assert "99" in caught.value.first.says()
    assert path.read_bytes() == before


def test_another_programs_database_is_left_alone(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    with pytest.raises(StoreFault, match="store.foreign-file"):
        Store.open(path, some_keys())


def test_a_file_that_is_no_database_is_named_corrupt(path):
    path.write_bytes(b"this is a letter, not a database. " * 100)
    with pytest.raises(StoreFault, match="store.corrupt"):
        Store.open(path, some_keys())


def test_a_place_that_cannot_be_opened_is_named(path):
    with pytest.raises(StoreFault, match="store.unreadable"):
        Store.open(path / "below" / "nothing", some_keys())
    path.mkdir()
    with pytest.raises(StoreFault, match="store.unreadable"):
        Store.open(path, some_keys())


def test_many_who_open_a_new_store_at_once_all_get_the_same(path):
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: Store.open(path, some_keys()), range(8)))
    for number, store in enumerate(stores):
        store.write(put, number).result()
    assert len(stores[0].read(bodies).result()) == 8
    for store in stores:
        store.close()


# Writing


def test_a_job_is_done_when_its_commit_can_be_seen_by_others(store, path):
    seen = []

    def look(_):
        with sqlite3.connect(path) as other:
            seen.append(other.execute("SELECT count(*) FROM record").fetchone()[0])
        other.close()

    for number in range(5):
        job = store.write(put, number)
        job.add_done_callback(look)
        job.result()
    store.close()
    assert seen == [1, 2, 3, 4, 5]


def test_writes_that_wait_share_one_commit(store):
    statements = []
    go = hold_the_writer(store)
    store._writer._connection.set_trace_callback(statements.append)
    jobs = [store.write(put, number) for number in range(50)]
    go.set()
    assert [job.result().version for job in jobs] == [1] * 50
    assert statements.count("COMMIT") == 2  # the held one and the group
    assert "SAVEPOINT task" not in statements


def test_a_store_that_may_not_group_commits_each_write_by_itself(path):
    with Store.open(path, some_keys(), group=1) as store:
        statements = []
        go = hold_the_writer(store)
        store._writer._connection.set_trace_callback(statements.append)
        jobs = [store.write(put, number) for number in range(5)]
        go.set()
        for job in jobs:
            job.result()
        assert statements.count("COMMIT") == 6


def test_one_that_fails_takes_nothing_with_it(store):
    def bad(tx, number):
        put(tx, number)
        if number % 3 == 0:
            raise Conflict(Fault("store.stale-version"))
        if number % 3 == 1:
            tx.run("INSERT INTO token_seen VALUES (:token, NULL)", token=b"x")  # the table forbids it
        raise ZeroDivisionError

    go = hold_the_writer(store)
    jobs = [store.write(bad if number % 4 == 0 else put, number) for number in range(40)]
    go.set()
    expected = {0: Conflict, 1: StoreFault, 2: ZeroDivisionError}
    for number, job in enumerate(jobs):
        if number % 4 == 0:
            assert type(job.exception()) is expected[number % 3]
        else:
            assert job.result().version == 1
    assert store.read(bodies).result() == sorted(f"record-{number}" for number in range(40) if number % 4)


def test_the_same_request_twice_in_one_commit_takes_effect_once(store):
    def accept(tx):
        arrival = inbox.Arrival("local", "r", b"d", "local")
        record = records.NewRecord("plan", "CarePlan", "p", b"1")
        return inbox.accept(
            tx,
            arrival,
            records=[record],
            sends=[],
            entries=[audit.Entry("e", "w")],
            respond=lambda *_: b"ok",
            now=START,
        )

    go = hold_the_writer(store)
    jobs = [store.write(accept) for _ in range(5)]
    go.set()
    assert [job.result().replayed for job in jobs] == [False, True, True, True, True]
    assert len(store.read(audit.entries).result()) == 1


def test_a_job_cancelled_while_it_waits_is_never_run(store):
    go = hold_the_writer(store)
    unwanted, wanted = store.write(put, 1), store.write(put, 2)
    assert unwanted.cancel()
    go.set()
    wanted.result()
    with pytest.raises(CancelledError):
        unwanted.result()
    assert store.read(bodies).result() == ["record-2"]


def test_asyncio_code_awaits_its_jobs(store):
    async def main():
        stored = await asyncio.gather(*(store.write(put, number) for number in range(20)))
        with pytest.raises(Conflict, match="store.unknown-record"):
            await store.write(records.newest_ref, "absent")
        return [one.version for one in stored], await store.read(bodies)

    versions, found = asyncio.run(main())
    assert versions == [1] * 20
    assert len(found) == 20


def test_operations_compose_into_one_commit(store):
    def both(tx):
        put(tx, 1)
        audit.append(tx, [audit.Entry("record.accepted", "local")], now=START)
        raise RuntimeError("after both")

    with pytest.raises(RuntimeError, match="after both"):
        store.write(both).result()
    assert store.read(bodies).result() == []
    assert store.read(audit.entries).result() == []


# Reading


def test_a_read_sees_one_state_whatever_is_committed_meanwhile(store):
    store.write(put, 1).result()
    looked, written = threading.Event(), threading.Event()

    def twice(tx):
        first = bodies(tx)
        looked.set()
        written.wait(10)
        return first, bodies(tx)

    job = store.read(twice)
    looked.wait(10)
    store.write(put, 2).result()
    written.set()
    assert job.result() == (["record-1"], ["record-1"])
    assert store.read(bodies).result() == ["record-1", "record-2"]


def test_a_read_cannot_write(store):
    with pytest.raises(StoreFault, match="store.unreadable"):
        store.read(put, 1).result()
    assert store.read(bodies).result() == []


def test_a_read_gives_what_it_raised(store):
    with pytest.raises(Conflict, match="store.unknown-record"):
        store.read(records.newest_ref, "absent").result()


def test_a_read_cancelled_while_it_waits_is_never_run(store):
    go = threading.Event()
    busy = [store.read(lambda _: go.wait(10)) for _ in range(database.READERS)]
    ran = []
    job = store.read(ran.append)
    assert job.cancel()
    go.set()
    for one in busy:
        one.result()
    store.close()
    assert ran == []


# Closing


def test_closing_commits_what_was_asked_for_and_then_refuses(path):
    store = Store.open(path, some_keys())
    go = hold_the_writer(store)
    jobs = [store.write(put, number) for number in range(10)]
    closing = threading.Thread(target=store.close)
    closing.start()
    go.set()
    closing.join(10)
    assert [job.result(0).version for job in jobs] == [1] * 10
    store.close()
    with pytest.raises(StoreFault, match="store.closed"):
        store.write(put, 11)
    with pytest.raises(StoreFault, match="store.closed"):
        store.read(bodies)
    with Store.open(path, some_keys()) as again:
        assert len(again.read(bodies).result()) == 10


# Trouble


def test_a_full_disk_gives_a_clear_error_and_stores_nothing_by_halves(store, path):
    pages = store._writer._connection.execute("PRAGMA page_count").fetchone()[0]
    store._writer._connection.execute(f"PRAGMA max_page_count = {pages + 20}")

    def accept(tx, number):
        size = 500_000 if number % 2 else 10
        record = records.NewRecord(f"record-{number}", "CarePlan", "p", b"x" * size)
        send = Send("peer", "p", (record.record_id,), "coordination", "case")
        arrival = inbox.Arrival("local", str(number), b"d", "local")
        return inbox.accept(
            tx,
            arrival,
            records=[record],
            sends=[send],
            entries=[audit.Entry("e", "w")],
            respond=lambda *_: b"ok",
            now=START,
        )

    go = hold_the_writer(store)
    jobs = [store.write(accept, number) for number in range(6)]
    go.set()
    for job in jobs[1::2]:
        fault = job.exception().first
        assert fault.code == "store.full"
        assert "disk" in fault.says()
    stored = [number for number, job in enumerate(jobs) if job.exception() is None]
    for table in ("record", "inbox", "outbox", "audit"):
        counted = store.read(lambda tx, table=table: tx.one(f"SELECT count(*) FROM {table}")).result()
        assert counted == (len(stored),), table
    store._writer._connection.execute("PRAGMA max_page_count = 1000000")
    assert all(not store.write(accept, number).result().replayed for number in (1, 3, 5))
    assert store.read(audit.verify_chain).result().breaks == ()
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_a_lock_that_somebody_keeps_gives_a_clear_error_and_then_all_is_well(path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    with Store.open(path, some_keys()) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFault, match="store.busy"):
            store.write(put, 1).result()
        assert store.read(bodies).result() == []
        other.execute("ROLLBACK")
        other.close()
        assert store.write(put, 1).result().version == 1


def test_two_stores_on_one_file_take_turns_and_keep_one_chain(path):
    def write(store, number):
        return store.write(audit.append, [audit.Entry("e", str(number))], now=START).result()

    with Store.open(path, some_keys()) as one, Store.open(path, some_keys()) as two, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write((one, two)[number % 2], number), range(60)))
        verified = one.read(audit.verify_chain).result()
        assert (verified.rows, verified.breaks) == (60, ())


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (sqlite3.SQLITE_FULL, "store.full"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "store.busy"),
        (sqlite3.SQLITE_LOCKED, "store.busy"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "store.corrupt"),
        (sqlite3.SQLITE_NOTADB, "store.corrupt"),
        (sqlite3.SQLITE_CANTOPEN, "store.unreadable"),
        (sqlite3.SQLITE_READONLY, "store.unreadable"),
        (sqlite3.SQLITE_PERM, "store.unreadable"),
        (sqlite3.SQLITE_IOERR_FSYNC, "store.unreadable"),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, "store.failed"),
        (sqlite3.SQLITE_MISUSE, "store.failed"),
        (None, "store.failed"),
    ],
)
def test_each_error_of_sqlite_becomes_one_of_ours(number, code):
    error = sqlite3.OperationalError("text")
    if number is not None:
        error.sqlite_errorcode = number
    fault = database.wrapped(error)
    assert fault.first.code == code
    assert fault.__cause__ is error


def test_an_error_of_the_database_shows_no_value(store):
    def twice(tx):
        tx.run("INSERT INTO patient VALUES (:key, 1)", key="191212121212")
        tx.run("INSERT INTO patient VALUES (:key, 1)", key="191212121212")

    error = store.write(twice).exception()
    assert error.first.code == "store.failed"
    assert error.first.why == "SQLITE_CONSTRAINT_PRIMARYKEY"
    assert "1912" not in f"{error!r} {error} {error.first.as_line()} {error.__cause__!r}"


def test_every_code_that_the_store_uses_is_in_the_catalogue_and_every_row_is_used():
    sources = "".join(file.read_text("utf-8") for file in Path(database.__file__).parent.glob("*.py"))
    used = set(re.findall(r'"(store\.[a-z-]+)"', sources)) | {
        f"store.key-file-{what}" for what in re.findall(r'_unfit\("([a-z]+)"', sources)
    }
    assert used == {code for code in codes() if code.startswith("store.")}


# At rest

CANARY = "Anna Canary Andersson 191212121212"


def test_neither_a_number_nor_a_word_about_a_person_stands_in_the_files(path):
    keys = some_keys()
    identity = "http://electronichealth.se/identifier/personnummer|191212121212"
    body = CANARY.encode()
    with Store.open(path, keys) as store:
        store.write(destinations.declare, [destinations.Destination("peer")], now=START).result()
        patient = keys.patient_key(identity)
        record = records.NewRecord("consent", "Consent", patient, body)
        arrival = inbox.Arrival("local", "r1", keys.fingerprint(body), "peer", original=body, loss=body)
        entry = audit.Entry("record.accepted", "local", patient_key=patient, details=body)
        send = Send("peer", patient, ("consent",), "coordination", "case")
        arguments = {"records": [record], "sends": [send], "entries": [entry], "respond": lambda *_: body, "now": START}
        accepted = store.write(inbox.accept, arrival, **arguments).result()
        [claim] = store.write(outbox.claim, owner="w", now=START, lease=LEASE, limit=1).result()
        digest = keys.fingerprint(body)
        begun = store.write(
            outbox.begin, claim, consent_version=1, body_digest=digest, request_id=claim.request_id, now=START
        ).result()
        disclosed = Delivered(Disclosure(CANARY, claim.records, (), ("plan",)))
        store.write(
            outbox.complete,
            claim,
            disclosed,
            attempt=begun.attempt,
            entries=[entry],
            now=START + timedelta(seconds=1),
            explanation=body,
        ).result()
        store.write(quarantine.resend, accepted.messages[0], who="operator", why=CANARY, now=START).result()
        store.write(inbox.seen_once, CANARY, CANARY, expires=START + timedelta(minutes=5), now=START).result()
        assert store.read(records.get, "consent").result().body == body  # it is there, and it is sealed
        files = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    files["after closing"] = path.read_bytes()
    assert len(files["koord.db-wal"]) > 0
    hidden = [
        word.encode(form)
        for word in ("191212121212", "9121212121", "Canary", CANARY, identity)
        for form in ("utf-8", "utf-16-le", "utf-16-be")
    ]
    for secret in (identity.encode(), b"191212121212", body):
        digest = hashlib.sha256(secret)
        hidden += [digest.digest(), digest.hexdigest().encode()]
    for name, content in files.items():
        for needle in hidden:
            assert needle not in content, f"{name} holds something about a person"
