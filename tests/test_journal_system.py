"""Region B is somebody else's system: what we put there is read back by somebody else's client."""

import asyncio
import uuid

import httpx
import pytest
from fhirpy import AsyncFHIRClient, SyncFHIRClient

pytest_plugins = ["journal_system"]
pytestmark = pytest.mark.processes

PERSONNUMMER = {"system": "http://electronichealth.se/identifier/personnummer", "value": "191212121212"}
HSA_ID = "urn:oid:1.2.752.29.4.19"
KVA = "urn:oid:1.2.752.116.1.3.2.1.4"
REQUEST_ID = "1b671a64-40d5-491e-99b0-da01ff1f3341"


def logical_id(value: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, value))


def reference(resource_type: str, value: str) -> dict[str, str]:
    return {"reference": f"{resource_type}/{logical_id(value)}"}


SUBJECT = {**reference("Patient", "patient"), "identifier": PERSONNUMMER}
PATIENT = {
    "resourceType": "Patient",
    "id": logical_id("patient"),
    "identifier": [PERSONNUMMER],
    "name": [{"text": "Tolvan Tolvansson"}],
    "birthDate": "1912-12-12",
}
UNIT = {
    "resourceType": "Organization",
    "id": logical_id("unit"),
    "identifier": [{"system": HSA_ID, "value": "TSTNMT2321000156-1001"}],
    "name": "Vårdcentralen Åsö",
}
COORDINATOR = {
    "resourceType": "PractitionerRole",
    "id": logical_id("coordinator"),
    "identifier": [{"system": HSA_ID, "value": "TSTNMT2321000156-1003"}],
    "organization": reference("Organization", "unit"),
}
CONSENT = {
    "resourceType": "Consent",
    "id": logical_id("consent"),
    "status": "active",
    "scope": {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}],
    },
    "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
    "patient": SUBJECT,
    "dateTime": "2026-11-01T09:00:00+01:00",
    "policy": [{"uri": "https://www.riksdagen.se/sfs/2019:1297"}],
    "provision": {"type": "permit", "period": {"start": "2026-11-01", "end": "2027-05-01"}},
}
TASK = {
    "resourceType": "Task",
    "id": logical_id("task"),
    "extension": [
        {"url": "https://koord.example/StructureDefinition/sequence", "valuePositiveInt": 1},
        {
            "url": "https://koord.example/StructureDefinition/consent",
            "valueReference": reference("Consent", "consent"),
        },
    ],
    "status": "requested",
    "intent": "order",
    "code": {"coding": [{"system": KVA, "code": "GC001"}]},
    "for": SUBJECT,
    "authoredOn": "2026-11-02T10:00:00+01:00",
    "requester": reference("PractitionerRole", "coordinator"),
    "owner": reference("Organization", "unit"),
}
GOAL = {
    "resourceType": "Goal",
    "id": logical_id("goal"),
    "lifecycleStatus": "active",
    "description": {"text": "Åter i arbete på halvtid"},
    "subject": SUBJECT,
}
PLAN = {
    "resourceType": "CarePlan",
    "id": logical_id("plan"),
    "status": "active",
    "intent": "plan",
    "title": "Plan för återgång i arbete",
    "subject": SUBJECT,
    "goal": [reference("Goal", "goal")],
}
PROVENANCE = {
    "resourceType": "Provenance",
    "id": logical_id("provenance"),
    "target": [reference("Task", "task"), reference("CarePlan", "plan")],
    "recorded": "2026-11-02T10:00:00+01:00",
    "agent": [{"who": reference("Organization", "unit")}],
}
PACKAGE = [PATIENT, UNIT, COORDINATOR, CONSENT, TASK, GOAL, PLAN, PROVENANCE]


def transaction(resources: list[dict]) -> dict:
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": f"urn:uuid:{resource['id']}",
                "resource": resource,
                "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
            }
            for resource in resources
        ],
    }


def put(base: str, resources: list[dict]) -> httpx.Response:
    headers = {"Content-Type": "application/fhir+json", "X-Request-Id": REQUEST_ID}
    return httpx.post(base, json=transaction(resources), headers=headers, timeout=30, trust_env=False)


def without_server_meta(resource: dict) -> dict:
    """What every server sets by itself is no part of what was sent."""
    meta = {name: value for name, value in resource["meta"].items() if name not in {"versionId", "lastUpdated"}}
    return {name: value for name, value in resource.items() if name != "meta"} | ({"meta": meta} if meta else {})


@pytest.fixture
def received(journal_system: str) -> str:
    put(journal_system, PACKAGE).raise_for_status()
    return journal_system


def test_a_transaction_is_answered_entry_by_entry_with_our_request_id(journal_system):
    answer = put(journal_system, PACKAGE)

    assert answer.status_code == 200
    assert answer.headers["X-Request-Id"] == REQUEST_ID
    assert answer.json()["type"] == "transaction-response"
    locations = [entry["response"]["location"].partition("/_history/")[0] for entry in answer.json()["entry"]]
    assert locations == [f"{journal_system}/{resource['resourceType']}/{resource['id']}" for resource in PACKAGE]


def test_a_foreign_client_reads_back_exactly_what_was_put(received):
    client = SyncFHIRClient(received, requests_config={"proxies": {"no_proxy": "127.0.0.1"}})

    read = [without_server_meta(client.get(resource["resourceType"], resource["id"])) for resource in PACKAGE]

    assert read == PACKAGE


def test_a_foreign_client_finds_the_task_and_the_plan_by_their_patient(received):
    async def found() -> list[str]:
        client = AsyncFHIRClient(received)
        searches = [client.resources(kind).search(patient=PATIENT["id"]) for kind in ("Task", "CarePlan")]
        return [resource.id for search in searches for resource in await search.fetch_all()]

    assert asyncio.run(found()) == [TASK["id"], PLAN["id"]]


def test_a_repeated_transaction_leaves_one_copy(received):
    put(received, PACKAGE).raise_for_status()
    client = SyncFHIRClient(received, requests_config={"proxies": {"no_proxy": "127.0.0.1"}})

    assert client.resources("Task").search(patient=PATIENT["id"]).count() == 1


def test_a_transaction_with_one_bad_entry_stores_nothing(journal_system):
    late = {**TASK, "id": logical_id("late")}
    broken = {name: value for name, value in PLAN.items() if name != "intent"}

    answer = put(journal_system, [late, broken])

    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert httpx.get(f"{journal_system}/Task/{late['id']}", timeout=30, trust_env=False).status_code == 404
