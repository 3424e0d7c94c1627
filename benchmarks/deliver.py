"""
How many messages are delivered end to end in a second: taken from region A's durable outbox, through the gate, over HTTP on
loopback, and acknowledged by region B after its commit; beside B's side alone (the same bodies posted by a bare client), and
the gate's side alone (the same records cleared, nothing sent). Two processes, one core each.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import aiohttp
import region as r

from adapter.flows import Adapter, Dispatcher, accept
from adapter.service import serve
from adapter.store import quarantine
from adapter.transport.memory import Memory
from adapter.transport.rest import Rest

PATIENTS = [f"19{year}01{day:02}" for year in range(40, 99) for day in range(1, 28)]
REGION_B = {
    "name": "Region B",
    "provider": "TSTNMT2321000131-B000",
    "unit": "TSTNMT2321000131-B001",
    "organisation_number": "2321000131",
    "source_system": "TSTNMT2321000131-S001",
}


def number(start):
    """A made-up identity number with a birth number of the test series (980-999) and a right check digit."""
    from adapter.sweden import luhn

    return next(f"{start}980{last}" for last in range(10) if luhn(f"{start}980{last}"[2:]))


def submissions(count):
    for n in range(count):
        who = number(PATIENTS[n % len(PATIENTS)])
        yield r.submission(
            r.consent(f"c-{who[:8]}", "interventions", number=who),
            r.intervention(f"i{n}", number=who),
            **{f"i{n}": ["region-b"]},
        )


def destination(url):
    return [
        {
            "id": "region-b",
            "recipient": "vard",
            "hsa_id": REGION_B["provider"],
            "url": url,
            "network": "loopback",
            "production": False,
            "max_inflight": 32,
        }
    ]


async def queue_all(adapter, count):
    await asyncio.gather(*(accept(adapter, document, caller="bench") for document in submissions(count)))


async def timed(adapter, count):
    await queue_all(adapter, count)
    began = time.perf_counter()
    await Dispatcher(adapter, owner="bench").drain()
    took = time.perf_counter() - began
    states = [m.state for m in await adapter.store.read(quarantine.messages, now=adapter.clock(), limit=count)]
    assert set(states) == {"delivered"}, set(states)
    return count / took


async def post_alone(url, bodies):
    """A bare client with as many requests under way as A has."""
    waiting = list(bodies)

    async def worker(session):
        while waiting:
            headers = {"Content-Type": "application/fhir+json", "X-Request-Id": str(uuid4())}
            async with session.post(url, data=waiting.pop(), headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()

    began = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(worker(session) for _ in range(32)))
    return len(bodies) / (time.perf_counter() - began)


async def measure(folder, url, count):
    from datetime import UTC, datetime

    def clock():
        return datetime.now(UTC)

    (folder / "a").mkdir()
    (folder / "m").mkdir()
    wanted = destination(url)
    memory = Memory(["region-b"])
    alone = Adapter.open(r.settings(folder / "m", destinations=wanted), transport=memory, clock=clock)
    gate_side = await timed(alone, count)
    await alone.close()
    configured = r.settings(folder / "a", destinations=wanted)
    adapter = Adapter.open(configured, transport=Rest(configured), clock=clock)
    both = await timed(adapter, count)
    await adapter.close()
    receiver_side = await post_alone(url, [message.body for message in memory.held("region-b")])
    return {
        "benchmark": "deliver",
        "messages": count,
        "end_to_end_per_s": round(both),
        "gate_and_outbox_alone_per_s": round(gate_side),
        "receiver_alone_per_s": round(receiver_side),
        "ratio": round(both / receiver_side, 2),
    }


def main():
    if sys.argv[1:2] == ["--serve"]:
        serve(
            r.settings(
                Path(sys.argv[2]),
                region=REGION_B,
                destinations=[],
                server={"base_url": "http://127.0.0.1:8443", "port": 0, "authentication": "none"},
            )
        )
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "b").mkdir()
        receiver = subprocess.Popen([sys.executable, __file__, "--serve", str(folder / "b")], stdout=subprocess.PIPE)
        try:
            url = json.loads(receiver.stdout.readline())["ready"] + "/fhir"
            print(json.dumps(asyncio.run(measure(folder, url, count))))
        finally:
            receiver.terminate()
            receiver.wait()


if __name__ == "__main__":
    main()
