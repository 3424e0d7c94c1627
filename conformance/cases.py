"""
The cases: everything that the adapter sends, and as much again made at random.

Each is a resource by a name that says where it is from. Nothing here depends on the day or on chance: seeds and clocks are fixed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import region
import strategies
from audit_world import eventful
from hypothesis import HealthCheck, Phase, given, seed, settings
from test_scenarios import SCENARIOS, played

from adapter.definitions import Release
from adapter.demo.cast import release_of
from adapter.domain import Record, read_record
from adapter.errors import Fault
from adapter.flows import audit_events
from adapter.mapping import Mapper, collection, searchset, transaction
from adapter.service.capability import capability_statement
from adapter.store import audit
from adapter.tables import load
from adapter.transport.outcome import operation_outcome
from adapter.wire import json as wire
from adapter.wire import xml

Json = dict[str, Any]
SEED = 20261122
MAPPER = Mapper(load())


def generated(count: int) -> Iterator[tuple[str, Json]]:
    """Records of every kind from the tests' strategies, mapped out: each as a Bundle of all that belongs to it."""
    for name, record in _records(count):
        yield f"generated/{name}", collection(MAPPER.to_fhir(record))


def _records(count: int) -> Iterator[tuple[str, Record]]:
    each, over = divmod(count, len(strategies.KINDS))
    for place, (kind, strategy) in enumerate(strategies.KINDS.items()):
        for number, record in enumerate(_drawn(strategy(), each + (place < over))):
            yield f"{kind}-{number}", record


def _drawn(strategy: Any, count: int) -> list[Any]:
    """So many values of a strategy, the same each time."""
    found: list[Any] = []

    @seed(SEED)
    @settings(
        database=None,
        deadline=None,
        max_examples=count,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: Any) -> None:
        found.append(value)

    draw()
    return found[:count]


@cache
def _held() -> Mapping[str, list[Any]]:
    return played(SCENARIOS)[2]


def delivered(release: Release) -> Iterator[tuple[str, Json]]:
    """What the receivers that read a release hold when all scenarios have been played, as it came."""
    for recipient, messages in sorted(_held().items()):
        if release_of(recipient) == release:
            for number, message in enumerate(messages):
                yield f"scenario/{recipient}-{number}", _read(message.body, release)


def _read(body: bytes, release: Release) -> Json:
    read: Json = xml.read(body, release=release) if body.lstrip().startswith(b"<") else wire.read(body)
    return read


def expected(release: Release) -> Iterator[tuple[str, Json]]:
    """The content that the scenarios expect, with their own dates and ids."""
    for each in SCENARIOS:
        for one in each.expectations:
            if release_of(one.recipient) == release:
                for number, bundle in enumerate(each.expected(one.recipient, region.NOW)):
                    yield f"scenario/{each.name}-{one.recipient}-{number}", bundle


def examples() -> Iterator[tuple[str, Json]]:
    """The records under examples/ in each form of Bundle, and the examples of our profiles."""
    packages = [MAPPER.to_fhir(record) for record in _examples()]
    for number, package in enumerate(packages):
        yield f"examples/{number}-collection", collection(package)
        yield f"examples/{number}-transaction", transaction(package)
    tasks = [package for package in packages if package.resources[0]["resourceType"] == "Task"]
    yield "examples/searchset", searchset(tasks, "Task", "R4")
    for file in sorted((ROOT / "profiles/examples/r4").glob("*.json")):
        yield f"profiles/{file.stem}", wire.read(file.read_bytes())


def _examples() -> list[Record]:
    names = ("submission", "consents", "intervention", "care-plan")
    read = [json.loads((ROOT / f"examples/{name}.json").read_bytes()) for name in names]
    documents = [*read[0]["records"], *read[1], *read[2:]]
    return [read_record(document)[0] for document in documents]


def around() -> Iterator[tuple[str, Json]]:
    """What the server says of itself, of errors and of what happened."""
    with tempfile.TemporaryDirectory() as folder:
        made, settings = asyncio.run(_audited(Path(folder)))
    for number, event in enumerate(made):
        yield f"audit/{number}", event
    yield "server/capabilities", capability_statement(settings)
    yield "server/outcome", operation_outcome([Fault("fhir.missing", where="Task.intent", why="R4 Task.intent 1..1")])


async def _audited(folder: Path) -> tuple[list[Json], Any]:
    async with eventful(folder) as adapter:

        def all_events(tx: Any) -> list[Json]:
            return [audit_events.audit_event(tx, each, adapter.settings) for each in audit.entries(tx, limit=10_000)]

        return await adapter.store.read(all_events), adapter.settings


def sent(count: int) -> dict[str, Json]:
    """All cases of R4 by name, ``count`` generated ones among them."""
    sources = (examples(), delivered("R4"), expected("R4"), around(), generated(count))
    return {name: case for source in sources for name, case in source}


def sent_r5(count: int) -> dict[str, Json]:
    """As FHIR R5: scenarios, generated records and those under examples/, the examples of our profiles."""
    mapper = Mapper(load("R5"))
    found = {name: case for source in (delivered("R5"), expected("R5")) for name, case in source}
    found |= {f"generated/{name}": collection(mapper.to_fhir(record)) for name, record in _records(count)}
    found |= {f"examples/{n}": transaction(mapper.to_fhir(each)) for n, each in enumerate(_examples())}
    files = sorted((ROOT / "profiles/examples/r5").glob("*.json"))
    return found | {f"profiles/{file.stem}": wire.read(file.read_bytes()) for file in files}
