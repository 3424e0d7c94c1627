"""
How many messages are accepted durably in a second: group commit against one commit for each.

32 threads accept at the same time; every message is one record of 2 KB, one send and one audit entry, and counts when its
commit is on disk. Prints one JSON line; latencies are those of the grouped run.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from adapter.store import Store, audit, destinations, inbox, load_keys, make_key_file, outbox, records

SUBMITTERS = 32
MESSAGES = 12_000
PATIENTS = 500
BODY = b"x" * 2_000


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES
    with tempfile.TemporaryDirectory() as folder:
        key_file = Path(folder) / "keys"
        make_key_file(key_file)
        grouped, latencies = _measure(Path(folder) / "grouped.db", key_file, group=256, count=count)
        alone, _ = _measure(Path(folder) / "alone.db", key_file, group=1, count=count // 4)
    print(
        json.dumps(
            {
                "benchmark": "accept",
                "koord_per_s": round(grouped),
                "one_commit_each_per_s": round(alone),
                "ratio": round(grouped / alone, 2),
                "submitters": SUBMITTERS,
                "p50_ms": round(latencies[len(latencies) // 2] * 1000, 2),
                "p99_ms": round(latencies[len(latencies) * 99 // 100] * 1000, 2),
            }
        )
    )


def _measure(path: Path, key_file: Path, *, group: int, count: int) -> tuple[float, list[float]]:
    keys = load_keys(key_file)
    now = datetime.now(UTC)
    with Store.open(path, keys, group=group) as store, ThreadPoolExecutor(SUBMITTERS) as submitters:
        store.write(destinations.declare, [destinations.Destination("peer")], now=now).result()
        patients = [keys.patient_key(f"bench|{number}") for number in range(PATIENTS)]
        accept = _acceptor(store, patients, now)
        began = time.perf_counter()
        latencies = list(submitters.map(accept, range(count)))
        return count / (time.perf_counter() - began), sorted(latencies)


def _acceptor(store: Store, patients: list[str], now: datetime) -> Callable[[int], float]:
    def accept(number: int) -> float:
        patient = patients[number % PATIENTS]
        record = f"record-{number}"
        began = time.perf_counter()
        store.write(
            inbox.accept,
            inbox.Arrival("bench", str(number), store.keys.fingerprint(BODY), "local"),
            records=[records.NewRecord(record, "Intervention", patient, BODY)],
            sends=[outbox.Send("peer", patient, (record,), "coordination", "case")],
            entries=[audit.Entry("records.accepted", "bench", str(number), patient_key=patient)],
            respond=lambda _stored, _messages: b"{}",
            now=now,
        ).result()
        return time.perf_counter() - began

    return accept


if __name__ == "__main__":
    main()
