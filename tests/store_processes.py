"""Two programs to be killed: one accepts and says what was acknowledged, one delivers to a file that stands for a receiver."""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from store_world import some_keys

from adapter.store import Store, audit, destinations, inbox, outbox, records
from adapter.store.disclosures import Disclosure
from adapter.store.outbox import Claim, Delivered, Retry, Send

LEASE = timedelta(seconds=0.5)
PATIENTS = 10
DECLARED = [destinations.Destination("peer", max_inflight=4)]


def accept(path: str, first: str) -> None:
    """Accept from 8 threads for ever; each number is written to stdout once its commit is acknowledged."""
    store = Store.open(Path(path), some_keys())
    store.write(destinations.declare, DECLARED, now=datetime.now(UTC)).result()
    numbers = count(int(first))

    def work() -> None:
        while True:
            number = next(numbers)
            store.write(accept_one, number).result()
            os.write(1, b"%d\n" % number)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def accept_one(tx, number: int) -> inbox.Accepted:
    patient = tx.keys.patient_key(f"p|{number % PATIENTS}")
    record_id = f"record-{number}"
    return inbox.accept(
        tx,
        inbox.Arrival("local", str(number), tx.keys.fingerprint(b"%d" % number), "local"),
        records=[records.NewRecord(record_id, "Intervention", patient, b"body %d" % number)],
        sends=[Send("peer", patient, (record_id,), "coordination", "case")],
        entries=[audit.Entry("record.accepted", "local", record_id)],
        respond=lambda _stored, messages: messages[0].encode(),
        now=datetime.now(UTC),
    )


def deliver(path: str, receiver: str) -> None:
    """Deliver until nothing is queued: a line in ``receiver`` is what left. Every third first attempt loses its answer."""
    store = Store.open(Path(path), some_keys())
    log = os.open(receiver, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    owner = f"worker-{os.getpid()}"
    while any(row.queued for row in store.read(destinations.overview, now=datetime.now(UTC)).result()):
        for claim in store.write(outbox.claim, owner=owner, now=datetime.now(UTC), lease=LEASE, limit=4).result():
            _send(store, claim, log)
            os.write(1, b".")
        time.sleep(0.001)
    store.close()


def _send(store: Store, claim: Claim, log: int) -> None:
    digest = store.keys.fingerprint(claim.message_id.encode())
    begun = store.write(
        outbox.begin,
        claim,
        consent_version=0,
        body_digest=digest,
        request_id=claim.request_id_for(digest, now=datetime.now(UTC)),
        now=datetime.now(UTC),
    ).result()
    if begun.status != "started":
        return
    os.write(log, f"{claim.request_id} {claim.message_id} {claim.patient_key}\n".encode())
    if begun.attempt == 1 and claim.message % 3 == 0:
        outcome = Retry(datetime.now(UTC) + timedelta(milliseconds=5), "timeout", peer_failed=False)
    else:
        outcome = Delivered(Disclosure("peer", claim.records, (), ()))
    entry = audit.Entry("message.tried", "adapter", claim.message_id)
    store.write(outbox.complete, claim, outcome, attempt=begun.attempt, entries=[entry], now=datetime.now(UTC)).result()


if __name__ == "__main__":
    {"accept": accept, "deliver": deliver}[sys.argv[1]](*sys.argv[2:])
