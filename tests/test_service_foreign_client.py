"""A FHIR client that others wrote, fhirpy, on our server as it is shipped for tests: no login, plain HTTP on loopback."""

from __future__ import annotations

import pytest
import region as r
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound
from service_world import fresh, package, serving

pytestmark = pytest.mark.processes

PERSONNUMMER = "http://electronichealth.se/identifier/personnummer"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    server = {"port": 0, "base_url": "http://127.0.0.1:1", "authentication": "none"}
    with serving(tmp_path_factory.mktemp("service"), server=server, peers=[]) as world:
        yield world


@pytest.fixture
def client(world):
    return SyncFHIRClient(f"{world.url}/fhir", requests_config={"proxies": {"no_proxy": "127.0.0.1"}})


def test_it_sends_a_transaction(client):
    answer = client.execute("/", data=package())
    assert answer["entry"][0]["response"]["status"] == "201 Created"


def test_it_reads_the_capability_statement(client):
    assert client.execute("metadata", method="get")["fhirVersion"] == "4.0.1"


def test_its_search_puts_the_number_in_the_address_and_is_told_not_to(client):
    with pytest.raises(OperationOutcome) as told:
        client.resources("Task").search(patient__identifier=f"{PERSONNUMMER}|191212121212").fetch()
    assert "SEND_exchange.search-by-post" in str(told.value)


def test_its_get_or_create_makes_no_duplicate(client, world):
    before = world.stored()
    task = client.resource("Task", **package()["entry"][0]["resource"])
    for call in (
        lambda: client.resources("Task").search(identifier="x").get_or_create(task),
        lambda: client.resources("Task").search(identifier="x").update(task),
        lambda: task.patch(status="completed"),
        task.delete,
    ):
        with pytest.raises(OperationOutcome):
            call()
    assert world.stored() == before


def test_it_reads_what_it_may_and_is_told_when_there_is_nothing(client, world):
    mine = fresh("i")
    world.send(r.submission(r.consent(fresh("c"), "interventions"), r.intervention(mine)), caller="", path="/records")
    found = world.call("", "POST", "/fhir/Task/_search", data={"patient:identifier": f"{PERSONNUMMER}|191212121212"})
    ids = [entry["resource"]["id"] for entry in found.json()["entry"] if entry["search"]["mode"] == "match"]
    assert client.get("Task", ids[0])["identifier"][0]["value"] == mine
    with pytest.raises(ResourceNotFound):
        client.get("Task", "never-was")
