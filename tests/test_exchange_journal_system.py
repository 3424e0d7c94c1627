"""The adapter and an independent journal system: packages delivered to it, read back from it, and pulled in from it."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
import region as r
from fhirpy import SyncFHIRClient

from adapter.domain import read_record
from adapter.flows import Dispatcher, accept, receive
from adapter.store import quarantine
from adapter.sweden import HsaId
from adapter.transport.login import Caller
from adapter.transport.rest import Rest
from adapter.wire import json

pytest_plugins = ["journal_system"]
pytestmark = pytest.mark.processes

PLAN = {
    "record": "CarePlan",
    "id": {"system": r.IDS, "value": "plan-1"},
    "kind": "rehabiliteringsplan",
    "title": "Plan för återgång",
    "state": "active",
    **r.parties(),
    "author": r.STAFF,
    "created_on": "2026-11-02T10:30:00+01:00",
    "period": {"start": "2026-11", "end": "2027-02"},
    "sick_leave": [{"degree": 50, "period": {"start": "2026-11-01", "end": "2026-12-31"}}],
    "goals": [{"text": "Halvtid från årsskiftet", "target_date": "2027-01", "achievement": "in-progress"}],
    "activities": [
        {"text": "Avstämningsmöte", "state": "scheduled", "actor": r.EMPLOYER, "planned": {"start": "2026-12-01"}}
    ],
    "patient_took_part": True,
}
RECORDS = [r.intervention(plan=PLAN["id"]), PLAN]
SUBMISSION = r.submission(r.consent("c-a", "interventions"), *RECORDS, **{"i1": ["region-b"], "plan-1": ["region-b"]})


def destinations(url, **more):
    return [
        {
            "id": "region-b",
            "recipient": "vard",
            "hsa_id": "TSTNMT2321000131-B000",
            "url": url,
            "network": "loopback",
            "production": False,
            **more,
        }
    ]


def delivered(tmp_path, url, **more):
    async def go():
        configured = r.settings(tmp_path, destinations=destinations(url, **more))
        clock = r.Clock()
        async with r.region(
            tmp_path, clock=clock, transport=Rest(configured), destinations=destinations(url, **more)
        ) as adapter:
            await accept(adapter, SUBMISSION, caller="local")
            await Dispatcher(adapter, owner="test").drain()
            return [(m.state, m.reason) for m in await adapter.store.read(quarantine.messages, now=clock())]

    return asyncio.run(go())


KINDS = ("Task", "CarePlan", "Goal", "Provenance", "Patient", "Organization", "PractitionerRole", "Practitioner")


def held(url):
    """What the journal system holds of our records, as its own bytes read strictly: each focus, and what is linked to it."""
    everything = {}
    for kind in KINDS:
        answer = httpx.get(f"{url}/{kind}?_count=500", headers={"Accept": "application/fhir+json"}, trust_env=False)
        for entry in json.read(answer.content).get("entry", []):
            everything[f"{kind}/{entry['resource']['id']}"] = entry["resource"]
    links = {
        name: set(re.findall(r'"reference":"([^"]+)"', json.write(each).decode())) for name, each in everything.items()
    }
    ours = {n for n, each in everything.items() if any(i.get("system") == r.IDS for i in each.get("identifier", []))}
    ours |= {n for n in everything if n.startswith("Provenance") and links[n] & ours}
    while more := {to for name in ours for to in links[name]} - ours:
        ours |= more
    return [everything[name] for name in sorted(ours)]


def test_packages_are_delivered_read_back_by_a_foreign_client_and_pulled_in_unchanged(tmp_path, journal_system):
    assert delivered(tmp_path, journal_system) == [("delivered", None), ("delivered", None)]

    client = SyncFHIRClient(journal_system, requests_config={"proxies": {"no_proxy": "127.0.0.1"}})
    tasks = client.resources("Task").fetch_all()
    mine = [task for task in tasks if any(i.get("value") == "i1" for i in task.get("identifier", []))]
    assert mine
    assert {"system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": "GC001"} in mine[0]["code"]["coding"]
    assert mine[0]["for"].to_resource()["identifier"][0]["value"] == "191212121212"

    async def pull():
        async with r.region(tmp_path, clock=r.Clock()) as adapter:
            return adapter.mapper.from_fhir(held(journal_system), mode="test")

    reading = asyncio.run(pull())
    assert {record.id.value: record for record in reading.records} == {
        document["id"]["value"]: read_record(document)[0] for document in RECORDS
    }
    assert {re.sub(r"\[\d+\]|^\w+\.", "", loss.where) for loss in reading.losses} <= {
        "meta.versionId", "meta.lastUpdated", "meta.tag.system", "meta.tag.code", "meta.security.system", "meta.security.code",
    }  # fmt: skip


def test_a_repeat_leaves_one_copy_at_the_journal_system(tmp_path, journal_system):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first = delivered(tmp_path / "a", journal_system)
    for key in ("store.keys", "id.key"):
        (tmp_path / "b" / key).write_bytes((tmp_path / "a" / key).read_bytes())
        (tmp_path / "b" / key).chmod(0o600)
    before = len(held(journal_system))
    assert delivered(tmp_path / "b", journal_system) == first
    assert len(held(journal_system)) == before


def test_it_takes_our_xml_too(tmp_path, journal_system):
    assert delivered(tmp_path, journal_system, format="xml") == [("delivered", None), ("delivered", None)]


def test_what_the_journal_system_holds_comes_in_as_from_any_peer(tmp_path, journal_system):
    delivered(tmp_path, journal_system)
    caller = Caller("journal", frozenset({"care-provider"}), HsaId(r.PROVIDER))
    entries = [
        {"fullUrl": f"https://journal.example/fhir/{x['resourceType']}/{x['id']}", "resource": x}
        for x in held(journal_system)
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    other = {"name": "Region B", "provider": "TSTNMT2321000131-B000", "unit": "TSTNMT2321000131-B001",
             "organisation_number": "2321000131", "source_system": "TSTNMT2321000131-S001"}  # fmt: skip

    async def go():
        (tmp_path / "b").mkdir()
        async with r.region(tmp_path / "b", clock=r.Clock(), region=other) as adapter:
            return await receive(adapter, bundle, original=json.write(bundle), caller=caller)

    received = asyncio.run(go())
    assert {written.type for written in received.written} == {"CarePlan", "Task"}
    assert len({written.id for written in received.written}) == 2
