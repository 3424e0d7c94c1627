import asyncio
import base64
import json
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager

import httpx
import pytest

from adapter.mock import Faults, Mailbox, application
from adapter.settings import Limits, Server
from adapter.transport.rest import Rest
from adapter.transport.server import running
from adapter.wire import xml
from tests.peers import HSA_ID, cleared, destination, make_pki, region

pytestmark = pytest.mark.processes

READER = "TSTNMT2321000016-R001"
TRANSACTION = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [{"request": {"method": "PUT", "url": "Task/1"}}, {"request": {"method": "PUT", "url": "Task/2"}}],
}
NO_FAULTS = Faults()
BODY = json.dumps(TRANSACTION).encode()
PLAIN = Server(port=0, base_url="http://127.0.0.1", authentication="none", limits=Limits(stop_timeout_s=1))


def using(folder, test, *, faults=NO_FAULTS):
    async def main():
        async with (
            running(application(Mailbox(folder), faults=faults), PLAIN) as url,
            httpx.AsyncClient(base_url=url) as client,
        ):
            return await test(client)

    return asyncio.run(main())


def post(client, body=BODY, request_id="r-1", path="/fhir", **headers):
    sent = {"content-type": "application/fhir+json", "accept": "application/fhir+json"}
    sent |= {"x-request-id": request_id} if request_id else {}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, content=body, headers=sent)


async def held(client):
    return (await client.get("/held")).json()["held"]


def test_a_transaction_is_kept_byte_by_byte_and_answered_entry_by_entry(tmp_path):
    async def test(client):
        answer = await post(client, x_correlation_id="case-1")
        return answer, await held(client)

    answer, kept = using(tmp_path, test)
    assert answer.status_code == 200
    assert (answer.headers["x-request-id"], answer.headers["x-correlation-id"]) == ("r-1", "case-1")
    assert [entry["response"]["status"] for entry in answer.json()["entry"]] == ["201 Created", "201 Created"]
    assert [(one["request_id"], one["what"]) for one in kept] == [("r-1", "accepted")]
    assert base64.b64decode(kept[0]["body"]) == BODY
    assert kept[0]["target"] == "POST /fhir"


def test_a_repeated_request_has_no_second_effect(tmp_path):
    async def test(client):
        first, again = await post(client), await post(client, json.dumps(TRANSACTION, indent=2).encode())
        return first, again, await held(client)

    first, again, kept = using(tmp_path, test)
    assert first.json() == again.json()
    assert again.headers["x-replayed"] == "true"
    assert "x-replayed" not in first.headers
    assert [one["what"] for one in kept] == ["accepted", "repeated"]


def test_another_body_under_one_request_id_is_a_duplicate(tmp_path):
    async def test(client):
        await post(client)
        return await post(client, BODY.replace(b"Task/2", b"Task/3")), await held(client)

    answer, kept = using(tmp_path, test)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (409, "duplicate")
    assert [one["what"] for one in kept] == ["accepted", "refused"]


def test_a_restart_forgets_nothing(tmp_path):
    using(tmp_path, post)

    async def test(client):
        return await post(client), await post(client, BODY.replace(b"2", b"3")), await held(client)

    again, other, kept = using(tmp_path, test)
    assert (again.headers["x-replayed"], other.status_code) == ("true", 409)
    assert [one["number"] for one in kept] == [1, 2, 3]


def test_half_a_file_from_a_crash_is_not_held(tmp_path):
    (tmp_path / "000001.part").write_bytes(b'{"number":1')
    assert using(tmp_path, held) == []


REFUSED = {
    "no request id": ({"request_id": ""}, 400, "required"),
    "a long request id": ({"request_id": "a" * 129}, 400, "required"),
    "another type": ({"content_type": "text/plain"}, 415, "not-supported"),
    "no JSON": ({"body": b"{"}, 400, "structure"),
    "a key twice": ({"body": b'{"resourceType":"Bundle","resourceType":"Bundle"}'}, 400, None),
    "no bundle": ({"body": b'{"resourceType":"Task"}'}, 422, "not-supported"),
    "a batch": ({"body": b'{"resourceType":"Bundle","type":"batch"}'}, 422, "not-supported"),
    "entries that are none": (
        {"body": b'{"resourceType":"Bundle","type":"transaction","entry":[1]}'},
        422,
        "not-supported",
    ),
    "entries that are text": (
        {"body": b'{"resourceType":"Bundle","type":"transaction","entry":"x"}'},
        422,
        "not-supported",
    ),
    "another address": ({"path": "/fhir/Task"}, 404, "not-found"),
    "an address with a person": ({"path": "/fhir?subject=191212121212"}, 404, "not-found"),
}


@pytest.mark.parametrize(("request_", "status", "issue"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_kept_all_the_same(tmp_path, request_, status, issue):
    async def test(client):
        return await post(client, **request_), await held(client)

    answer, kept = using(tmp_path, test)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert issue is None or answer.json()["issue"][0]["code"] == issue
    assert [one["what"] for one in kept] == ["refused"]
    assert base64.b64decode(kept[0]["body"]) == request_.get("body", BODY)
    assert kept[0]["target"] == "POST " + request_.get("path", "/fhir")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_read_from_it_as_fhir(tmp_path, method):
    async def test(client):
        await post(client)
        return [
            (await client.request(method, path)).status_code for path in ("/fhir", "/fhir/Task/1", "/fhir/metadata")
        ]

    assert set(using(tmp_path, test)) <= {404, 405}


def test_xml_is_received_and_answered(tmp_path):
    body = xml.write({"resourceType": "Bundle", "type": "transaction"})

    async def test(client):
        return await post(client, body, content_type="application/fhir+xml", accept="application/fhir+xml")

    answer = using(tmp_path, test)
    assert answer.headers["content-type"] == "application/fhir+xml"
    assert xml.read(answer.content)["type"] == "transaction-response"


def test_the_same_message_in_xml_and_json_is_the_same(tmp_path):
    transaction = {"resourceType": "Bundle", "type": "transaction"}

    async def test(client):
        await post(client, json.dumps(transaction).encode())
        return await post(client, xml.write(transaction), content_type="application/fhir+xml")

    assert using(tmp_path, test).headers["x-replayed"] == "true"


def test_credentials_are_not_kept(tmp_path):
    async def test(client):
        await post(client, authorization="Bearer secret.secret.secret")
        return await held(client)

    assert "secret.secret" not in json.dumps(using(tmp_path, test))
    assert b"secret.secret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_it_fails_as_often_as_it_is_asked_to(tmp_path):
    async def test(client):
        return [await post(client) for _ in range(4)], await held(client)

    answers, kept = using(tmp_path, test, faults=Faults(fail_first=2, garbage_first=1))
    assert [answer.status_code for answer in answers] == [503, 503, 200, 200]
    assert answers[0].headers["retry-after"] == "1"
    assert answers[2].content.startswith(b"\x00")
    assert answers[3].headers["x-replayed"] == "true"
    assert [one["what"] for one in kept] == ["refused", "refused", "accepted", "repeated"]


# As a process, over TLS, with our own transport


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    authority = make_pki(folder)
    authority.issue_client("reader", READER)
    return folder


@asynccontextmanager
async def receiver(folder, kept, *options):
    certificates = ["--cert", folder / "server.pem", "--key", folder / "server.key", "--ca", folder / "ca.pem"]
    command = [
        sys.executable,
        "-m",
        "adapter.mock",
        "--folder",
        kept,
        "--port",
        "0",
        *certificates,
        "--reader",
        READER,
        *options,
    ]
    started = await asyncio.create_subprocess_exec(*map(str, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        url = json.loads(await asyncio.wait_for(started.stdout.readline(), 20))["ready"]
        yield started, int(url.rpartition(":")[2])
    finally:
        if started.returncode is None:
            started.terminate()
        _, errors = await started.communicate()
    assert (errors, started.returncode) in {(b"", 0), (b"", -9)}


def client_of(folder, name, port):
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=context, trust_env=False)


def test_our_transport_delivers_to_it_and_only_the_reader_sees_what_it_holds(folder, tmp_path):
    async def main():
        async with receiver(folder, tmp_path, "--fail-first", "1", "--garbage-first", "1") as (_, port):
            async with Rest(region(destinations=[destination(port, folder, send_timeout_s=10)])) as rest:
                receipts = [await rest.send(cleared(BODY)) for _ in range(3)]
            async with client_of(folder, "client", port) as other, client_of(folder, "reader", port) as reader:
                return receipts, await other.get("/held"), await held(reader)

    receipts, other, kept = asyncio.run(main())
    assert [(receipt.outcome, receipt.reason) for receipt in receipts] == [
        ("retry", "peer.busy"),
        ("retry", "peer.not-the-peer"),
        ("delivered", ""),
    ]
    assert other.status_code == 403
    assert [(one["sender"], one["what"]) for one in kept] == [
        (HSA_ID, "refused"),
        (HSA_ID, "accepted"),
        (HSA_ID, "repeated"),
    ]


def test_what_it_acknowledged_survives_its_death(folder, tmp_path):
    async def main():
        async with receiver(folder, tmp_path) as (process, port):
            async with Rest(region(destinations=[destination(port, folder, send_timeout_s=10)])) as rest:
                assert (await rest.send(cleared(BODY))).outcome == "delivered"
            process.kill()
        async with receiver(folder, tmp_path) as (_, port), client_of(folder, "reader", port) as reader:
            return await held(reader)

    assert [base64.b64decode(one["body"]) for one in asyncio.run(main())] == [BODY]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--host", "0.0.0.0"], 2),
        (["--cert", "server.pem"], 2),
        (["--cert", "none.pem", "--key", "none.key", "--ca", "none.pem"], 3),
    ],
)
def test_it_does_not_start_where_it_should_not(tmp_path, options, code):
    command = [sys.executable, "-m", "adapter.mock", "--folder", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (code, b"")
    assert done.stderr
    assert b"Traceback" not in done.stderr
