"""kill -9 at any moment: what was acknowledged is there, what was queued is delivered, and the file is whole."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
import store_processes
from store_world import some_keys

from adapter.store import Store, audit, destinations, inbox, quarantine, records

pytestmark = pytest.mark.processes


def start(*arguments: object) -> subprocess.Popen[bytes]:
    program = [sys.executable, store_processes.__file__, *map(str, arguments)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kill(process: subprocess.Popen[bytes]) -> bytes:
    process.send_signal(signal.SIGKILL)
    said, complained = process.communicate(timeout=30)
    assert complained == b""
    return said


def whole(path: Path) -> bool:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


def test_every_acknowledged_accept_is_there_after_kill_9(tmp_path):
    path, random, acknowledged = tmp_path / "koord.db", Random(20), set()
    for round_ in range(12):
        process = start("accept", path, round_ * 1_000_000)
        first = process.stdout.readline()
        time.sleep(random.uniform(0.0, 0.15))
        said = first + kill(process)
        complete = said[: said.rfind(b"\n") + 1]
        acknowledged |= {int(line) for line in complete.split()}
        assert whole(path)
    assert len(acknowledged) >= 12
    with Store.open(path, some_keys()) as store:
        before = len(store.read(records.changes, 0, 10_000_000).result())
        again = {number: store.write(store_processes.accept_one, number) for number in acknowledged}
        for number, job in again.items():
            assert job.result().replayed
            assert store.read(records.get, f"record-{number}").result().body == b"body %d" % number
            assert store.read(quarantine.message, job.result().response.decode(), now=datetime.now(UTC)).result()
        # Some commits were on disk and their acknowledgement was killed: they are whole too.
        assert len(store.read(records.changes, 0, 10_000_000).result()) == before >= len(acknowledged)
        verified = store.read(audit.verify_chain).result()
        assert (verified.rows, verified.breaks) == (before, ())


def begun(path):
    """How many attempts have begun and not ended."""
    with Store.open(path, some_keys()) as store:
        return store.read(lambda tx: tx.one("SELECT count(*) FROM attempt WHERE status = 'started'")).result()[0]


def test_every_message_is_delivered_in_order_whatever_is_killed_on_the_way(tmp_path):
    path, receiver, random = tmp_path / "koord.db", tmp_path / "receiver", Random(21)
    count = 1500
    with Store.open(path, some_keys()) as store:
        store.write(destinations.declare, store_processes.DECLARED, now=datetime.now(UTC)).result()
        jobs = [store.write(store_processes.accept_one, number) for number in range(count)]
        accepted = [job.result().response.decode() for job in jobs]
    rounds = interrupted = 0
    while rounds < 8 or not interrupted:
        process = start("deliver", path, receiver)
        process.stdout.read(1)
        time.sleep(random.uniform(0.0, 0.15))
        kill(process)
        assert whole(path)
        interrupted += begun(path)
        rounds += 1
        assert rounds < 40, "no attempt was ever cut off"
    last = start("deliver", path, receiver)
    _, complained = last.communicate(timeout=120)
    assert (last.returncode, complained) == (0, b"")
    lines = [line.split() for line in receiver.read_text().splitlines()]
    request_of, arrived = {}, {}
    for request, message, patient in lines:
        assert request_of.setdefault(message, request) == request, "a retry came with another request id"
        if message not in arrived.setdefault(patient, []):
            arrived[patient].append(message)
    assert set(request_of) == set(accepted)
    assert len(set(request_of.values())) == count, "the receiver knows a repeat by its request id"
    order = {message: place for place, message in enumerate(accepted)}
    assert all(lane == sorted(lane, key=order.__getitem__) for lane in arrived.values())
    with Store.open(path, some_keys()) as store:
        entered = store.read(lambda tx: tx.all("SELECT message_id FROM disclosure")).result()
        assert sorted(message for (message,) in entered) == sorted(accepted)
        assert store.read(audit.verify_chain).result().breaks == ()
        assert store.read(lambda tx: tx.one("SELECT count(*) > 0 FROM attempt WHERE status = 'unknown'")).result() == (
            1,
        )
        states = store.read(lambda tx: tx.all("SELECT DISTINCT state FROM outbox")).result()
        assert states == [("delivered",)]


def test_the_inbox_knows_what_was_answered_before_the_crash(tmp_path):
    path = tmp_path / "koord.db"
    process = start("accept", path, 0)
    number = int(process.stdout.readline())
    kill(process)
    with Store.open(path, some_keys()) as store:
        kept = store.read(inbox.kept, "local", str(number)).result()
        assert kept is not None
        assert kept.response == store.write(store_processes.accept_one, number).result().response
