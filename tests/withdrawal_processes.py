"""A program to be killed: it hands over consents, sends on them, withdraws them, and delivers to a file that stands for a receiver."""

from __future__ import annotations

import asyncio
import json as stdlib_json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import region as r

from adapter.consent import notice
from adapter.consent.seal import verify
from adapter.flows import Adapter, Dispatcher, accept
from adapter.store import destinations
from adapter.transport import Receipt
from adapter.wire import json

PATIENTS = ("191212121212", "195009072553", "198107092396")
CASES = 30


class Appending:
    """What leaves is a line: the notice's id or nothing, the request id, and the case."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def send(self, cleared):
        verify(cleared)
        body = json.read(cleared.body)
        task = notice.task_in(body)
        identifier = task["focus"]["identifier"] if task else body["entry"][0]["resource"]["identifier"][0]
        line = {
            "notice": task["id"] if task else "",
            "request": cleared.request_id,
            "value": identifier["value"].rpartition("-")[2],
        }
        os.write(self.file, stdlib_json.dumps(line).encode() + b"\n")
        await asyncio.sleep(0.002)
        return Receipt("delivered", "", 200, echoed=True)

    async def aclose(self):
        os.close(self.file)


def documents(number):
    """A case: both consents, and an intervention to an employer of its own number, so that cases do not meet."""
    patient = PATIENTS[number % len(PATIENTS)]
    interventions = r.consent(f"interventions-{patient[:8]}", "interventions", number=patient)
    case = r.consent(f"case-{number}", "collaborate", number=patient, recipient=r.EMPLOYER)
    given = f"2026-11-01T10:{number:02}:00+01:00"
    return (
        interventions,
        case | {"given_on": given, "informed_on": given},
        r.intervention(f"task-{number}", number=patient),
    )


async def main(folder: Path, run: int) -> None:
    """Each run is a minute later, so that the leases of one that was killed have ended."""
    late = timedelta(minutes=run)
    adapter = Adapter.open(
        r.settings(folder), transport=Appending(folder / "left.jsonl"), clock=lambda: datetime.now(UTC) + late
    )
    delivering = asyncio.create_task(Dispatcher(adapter, owner=f"run-{run}").run())
    for number in range(CASES):
        interventions, case, task = documents(number)
        sends = {f"task-{number}": ["employer"]}
        await accept(
            adapter, r.submission(interventions, case, task, **sends), caller="local", request_id=f"send-{number}"
        )
        os.write(1, b"sent %d\n" % number)
        await asyncio.sleep(0.01)
        gone = r.withdrawn(case)
        await accept(adapter, r.submission(gone), caller="local", request_id=f"gone-{number}")
        os.write(1, b"withdrawn %d\n" % number)
    while any(row.queued for row in await adapter.store.read(destinations.overview, now=adapter.clock())):  # noqa: ASYNC110  the dispatcher tells nobody
        await asyncio.sleep(0.05)
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)
    await adapter.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
