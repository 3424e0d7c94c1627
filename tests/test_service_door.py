"""Who is let in, what every answer has, and that no route gives content about a patient that the gate has not made."""

from __future__ import annotations

import ast
import json
import re
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import region as r
from service_world import CANARIES, PEERS, alone, codes, fresh, package, request_id, serving, token

from adapter import flows, service
from adapter.definitions import definitions
from adapter.domain import BusinessId
from adapter.errors import Fault, StoreFault
from adapter.service import answers
from adapter.settings import Role
from adapter.validation import validate
from adapter.wire import xml

pytestmark = pytest.mark.processes

OPEN = "everyone"
ROUTES = {
    ("GET", "/fhir/metadata"): OPEN,
    ("POST", "/fhir"): "care-provider",
    ("POST", "/fhir/"): "care-provider",
    ("POST", "/fhir/{type}"): "care-provider",
    ("GET", "/fhir/{type}"): "care-provider",
    ("POST", "/fhir/{type}/_search"): "care-provider",
    ("GET", "/fhir/{type}/_search"): "care-provider",
    ("GET", "/fhir/{type}/{id}"): "care-provider",
    ("PUT", "/fhir/{type}/{id}"): "care-provider",
    ("POST", "/records"): "local-system",
    ("GET", "/records/changes"): "local-system",
    ("GET", "/queue"): "local-system",
    ("GET", "/queue/{id}/why"): "local-system",
    ("GET", "/dead"): "local-system",
    ("POST", "/destinations/{id}/pause"): "local-system",
    ("POST", "/destinations/{id}/resume"): "local-system",
    ("POST", "/dead/{id}/release"): "local-system",
    ("POST", "/dead/{id}/discard"): "local-system",
    ("GET", "/withdrawals"): "local-system",
    ("POST", "/withdrawals/{id}/receipt"): "local-system",
    ("POST", "/notices/{id}/receipt"): "local-system",
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
}
"""Every route and who may use it. A new one is written down here, after thought about what it gives away."""

CLEARED = {("POST", "/fhir/{type}/_search"), ("GET", "/fhir/{type}/{id}")}
"""The routes that give FHIR content about a patient."""
RECORDS = {("GET", "/records/changes")}
"""The routes that give records, to the region's own system."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service")) as world:
        world.hand_over(r.submission(r.consent("c", "interventions"), r.intervention("i"), i=["region-b", "fk"]))
        world.send(package("peers"))
        yield world


def filled(world, path):
    logical_id = world.adapter.record_id("@local", BusinessId(system=r.IDS, value="i"))
    return path.replace("{type}", "Task").replace("{id}", "fk" if "destinations" in path else logical_id)


def good(world, method, path):
    """A call that the route answers, as far as there is one that changes nothing."""
    if path.endswith("_search"):
        return {"data": {"patient:identifier": "http://electronichealth.se/identifier/personnummer|191212121212"}}
    if method == "GET":
        return {}
    if path == "/records":
        return {"json": r.submission(r.intervention("i"))}
    if path.startswith("/fhir"):
        task, provenance = alone(package("peers"))
        body = package("peers") if path.rstrip("/") == "/fhir" else task
        return {"json": body, "headers": {"x-provenance": provenance}}
    return {"json": {"why": "a test"}}


# routes


def routes(world):
    app = service.create_app(world.adapter, dispatcher=False)
    return {(method, route.path) for route in app.routes for method in route.methods - {"HEAD"}}


def test_every_route_is_known_here(world):
    assert routes(world) == ROUTES.keys()


def test_only_the_gates_bytes_tell_about_a_patient(world, monkeypatch):
    made = []
    from_cleared = answers.from_cleared

    def watched(cleared, **more):
        made.append(cleared.body)
        return from_cleared(cleared, **more)

    monkeypatch.setattr(answers, "from_cleared", watched)
    telling = set()
    for method, path in sorted(ROUTES):
        for caller in ("", *PEERS):
            for form in ("application/fhir+json", "application/fhir+xml"):
                asked = good(world, method, path)
                headers = {"accept": form, "prefer": "return=representation"} | asked.pop("headers", {})
                answer = world.call(caller, method, filled(world, path), headers=headers, **asked)
                if CANARIES.search(answer.text):
                    telling.add((method, path))
                    assert answer.content in made or (method, path) in RECORDS
    assert telling == CLEARED | RECORDS


def test_content_is_put_into_answers_in_one_place():
    folder = Path(service.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Response"):
                content = [
                    each for each in node.args[:1] if not (isinstance(each, ast.Constant) and each.value is None)
                ]
                assert path.name == "answers.py" or not (content or {"content"} & {k.arg for k in node.keywords})


# who


@pytest.mark.parametrize("caller", ["", "stranger", *PEERS])
@pytest.mark.parametrize(("method", "path"), sorted(ROUTES))
def test_a_route_is_for_one_role(world, caller, method, path):
    role = PEERS[caller][0] if caller in PEERS else None
    before = world.stored()
    answer = world.call(caller, method, filled(world, path), content=b"191212121212")
    if ROUTES[method, path] == OPEN:
        assert answer.status_code == 200
    elif role is None:
        assert (answer.status_code, codes(answer)) == (401, ["auth.refused" if caller else "auth.required"])
        assert answer.headers["www-authenticate"] == "Bearer"
        assert world.stored() == before
    elif role != ROUTES[method, path]:
        assert (answer.status_code, codes(answer)) == (403, ["exchange.forbidden"])
        assert world.stored() == before
    else:
        assert answer.status_code not in {401, 403}


def test_the_roles_of_the_settings_are_those_of_the_routes():
    assert set(Role.__args__) == {role for role, _, _ in PEERS.values()}


def test_a_login_that_does_not_hold_is_told_in_a_constant_text_and_logged_with_its_reason(world):
    first, second = world.call("stranger", "GET", "/queue"), world.call("stranger", "POST", "/fhir")
    assert first.content == second.content
    mine = request_id()
    world.call("stranger", "GET", "/queue", headers={"x-request-id": mine})
    (line,) = [line for line in world.logged if mine in line and "msg=answered" in line]
    assert "reason=unknown-certificate" in line


def test_a_token_opens_the_door_once(world):
    signed = {"authorization": f"Bearer {token(world.folder)}"}
    assert world.call("", "GET", "/queue", headers=signed).status_code == 200
    again = world.call("", "GET", "/queue", headers=signed)
    assert (again.status_code, codes(again)) == (401, ["auth.refused"])
    assert any("reason=replayed" in line for line in world.logged)


def test_a_token_and_a_certificate_name_the_same_caller(world):
    signed = {"authorization": f"Bearer {token(world.folder)}"}
    answer = world.call("region-b", "GET", "/fhir/Task/x", headers=signed)
    assert (answer.status_code, codes(answer)) == (401, ["auth.refused"])
    assert world.call("", "GET", "/queue", headers={"authorization": "Bearer 191212121212"}).status_code == 401


def raw(world, caller, text, *, wait=3.0):
    """Send bytes as they are over TLS; the first that comes back."""
    address = urlsplit(world.url)
    context = ssl.create_default_context(cafile=str(world.folder / "ca.pem"))
    if caller:
        context.load_cert_chain(world.folder / f"{caller}.pem", world.folder / f"{caller}.key")
    with (
        socket.create_connection((address.hostname, address.port), wait) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(text)
        return connection.recv(65_536)


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_who_calls_is_known_before_the_body_is_read(world, expect):
    head = b"POST /fhir HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\nContent-Length: 90000\r\n"
    for caller, status in (("", b"401"), ("employer", b"403"), ("journal", b"403")):
        assert raw(world, caller, head + expect + b"\r\n").startswith(b"HTTP/1.1 " + status)
    if expect:
        assert raw(world, "region-b", head + expect + b"\r\n").startswith(b"HTTP/1.1 100")


# what every answer has


EVERYWHERE = [
    ("GET", "/fhir/metadata", ""),
    ("GET", "/healthz", ""),
    ("GET", "/nowhere", ""),
    ("DELETE", "/fhir/Task/x", ""),
    ("GET", "/queue", ""),
    ("GET", "/queue", "employer"),
    ("GET", "/queue", "journal"),
    ("POST", "/fhir", "region-b"),
    ("GET", "/fhir/Task/x", "region-b"),
]


@pytest.mark.parametrize(("method", "path", "caller"), EVERYWHERE)
def test_every_answer_repeats_the_ids_of_its_call(world, method, path, caller):
    mine, case = request_id(), request_id()
    answer = world.call(caller, method, path, headers={"X-Request-Id": mine, "X-Correlation-Id": case})
    assert (answer.headers["x-request-id"], answer.headers["x-correlation-id"]) == (mine, case)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    unnamed = world.call(caller, method, path)
    assert re.fullmatch(r"[0-9a-f-]{36}", unnamed.headers["x-request-id"])
    assert unnamed.headers["x-request-id"] != world.call(caller, method, path).headers["x-request-id"]


@pytest.mark.parametrize("header", ["X-Request-Id", "X-Correlation-Id"])
@pytest.mark.parametrize(
    "value", ["191212121212", "", "a" * 36, "{" + request_id() + "}", f"{request_id()},{request_id()}"]
)
def test_an_id_that_is_no_uuid_is_refused_and_not_repeated(world, header, value):
    before = world.stored()
    answer = world.send(package(), **{header: value})
    assert (answer.status_code, codes(answer)) == (400, ["exchange.request-id"])
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers[header])
    assert world.stored() == before


def test_two_request_ids_are_refused(world):
    headers = [("X-Request-Id", request_id()), ("X-Request-Id", request_id())]
    assert codes(world.call("region-b", "GET", "/fhir/Task/x", headers=headers)) == ["exchange.request-id"]


def test_a_log_line_tells_the_pattern_and_never_the_address(world):
    for method, path, caller in [
        ("GET", "/fhir/Task/191212121212", "region-b"),
        ("GET", "/fhir/Task?patient:identifier=x|191212121212", "region-b"),
        ("GET", "/191212121212", ""),
        ("GET", "/queue?state=191212121212", "journal"),
        ("POST", "/dead/191212121212/release", "journal"),
    ]:
        world.call(caller, method, path)
    lines = [line for line in world.logged if "msg=answered" in line]
    assert any("route=/fhir/{type}/{id}" in line and "peer=region-b" in line for line in lines)
    assert not [line for line in world.logged if CANARIES.search(line)]


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/nowhere", 404, None),
        ("GET", "/docs", 404, None),
        ("GET", "/openapi.json", 404, None),
        ("GET", "/fhir/Task/x/_history", 404, None),
        ("GET", "/fhir/Task/x/_history/1", 404, None),
        ("GET", "/fhir/Task/x/", 404, None),
        ("POST", "/fhir/Task/$validate/x", 404, None),
        ("GET", "/fhir//etc", 404, None),
        ("GET", "/fhir", 405, "POST"),
        ("OPTIONS", "/fhir", 405, "POST"),
        ("DELETE", "/fhir/Task/x", 405, "GET, HEAD, PUT"),
        ("PATCH", "/fhir/Task/x", 405, "GET, HEAD, PUT"),
        ("OPTIONS", "/fhir/Task/x", 405, "GET, HEAD, PUT"),
        ("POST", "/fhir/Task/x", 405, "GET, HEAD, PUT"),
        ("PUT", "/fhir/Task", 405, "GET, HEAD, POST"),
        ("DELETE", "/fhir/Task", 405, "GET, HEAD, POST"),
        ("GET", "/records", 405, "POST"),
        ("TRACE", "/queue", 405, "GET"),
    ],
)
def test_what_is_not_there_is_told_in_the_same_shape(world, method, path, status, allow):
    answer = world.call("region-b", method, path)
    assert answer.status_code == status
    assert answer.headers.get("allow") == allow
    assert codes(answer) == ["exchange.method" if allow else "exchange.no-such-route"]


# forms and languages


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, "json"),
        ("*/*", "json"),
        ("application/*", "json"),
        ("application/fhir+json", "json"),
        ("application/json", "json"),
        ("application/fhir+xml", "xml"),
        ("application/xml", "xml"),
        ("APPLICATION/FHIR+XML", "xml"),
        ("application/fhir+xml; fhirVersion=4.0", "xml"),
        ("text/html, application/fhir+xml;q=0.9, */*;q=0.1", "xml"),
        ("application/fhir+xml;q=0.5, application/fhir+json;q=0.6", "json"),
        ("application/fhir+xml, application/fhir+json", "xml"),
        ("application/fhir+json;q=0, application/fhir+xml", "xml"),
        ("text/html", None),
        ("application/fhir+json;q=0", None),
        ("application/fhir+json; fhirVersion=3.0", None),
        ("application/fhir+json; fhirVersion=6.0, application/fhir+xml", "xml"),
        ("application/fhir+xml; fhirVersion=5.0", "xml; fhirVersion=5.0"),
        ("application/fhir+json; fhirVersion=5.0.0; charset=utf-8", "json; fhirVersion=5.0"),
        ("*/*; fhirVersion=5.0", "json; fhirVersion=5.0"),
        (
            "application/fhir+json; fhirVersion=4.0;q=0.5, application/fhir+json; fhirVersion=5.0",
            "json; fhirVersion=5.0",
        ),
        ("application/fhir+json;q=banana", None),
        ("text/turtle", None),
    ],
)
def test_the_answer_has_the_form_that_is_asked_for(world, accept, form):
    headers = {} if accept is None else {"accept": accept}
    client = world.client("")
    request = client.build_request("GET", "/fhir/metadata", headers=headers)
    if accept is None:
        del request.headers["accept"]
    answer = client.send(request)
    if form is None:
        assert (answer.status_code, codes(answer)) == (406, ["exchange.not-acceptable"])
    else:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == f"application/fhir+{form}"


@pytest.mark.parametrize(
    ("query", "form"),
    [
        ("_format=json", "json"),
        ("_format=application/fhir%2Bxml;%20fhirVersion%3D5.0", "xml; fhirVersion=5.0"),
        ("_format=json;fhirVersion=3.0", None),
        ("_format=xml", "xml"),
        ("_format=application/fhir%2Bxml", "xml"),
        ("_format=application/fhir+xml", "xml"),
        ("_format=text/xml", None),
        ("_format=", None),
    ],
)
def test_a_format_in_the_address_goes_before_accept(world, query, form):
    answer = world.call("", "GET", f"/fhir/metadata?{query}", headers={"accept": "application/fhir+json"})
    if form is None:
        assert codes(answer) == ["exchange.not-acceptable"]
    else:
        assert answer.headers["content-type"] == f"application/fhir+{form}"


def test_an_answer_has_the_form_of_the_body_if_none_is_asked_for(world):
    client = world.client("region-b")
    headers = {"content-type": "application/fhir+xml", "accept": "*/*"}
    assert (
        xml.read(client.post("/fhir", content=b"<x/>", headers=headers).content)["resourceType"] == "OperationOutcome"
    )


def test_what_cannot_be_answered_is_refused_before_it_is_done(world):
    before = world.stored()
    assert world.send(package(), accept="text/html").status_code == 406
    task, provenance = alone(package())
    refused = world.send(task, path="/fhir/Task", x_provenance=provenance, accept="text/html")
    assert refused.status_code == 406
    assert world.stored() == before


@pytest.mark.parametrize("form", ["application/fhir+json", "application/fhir+xml"])
@pytest.mark.parametrize(("method", "path", "caller"), [each for each in EVERYWHERE[2:] if each[2] != "journal"])
def test_every_error_is_a_valid_operation_outcome_in_the_form_asked_for(world, method, path, caller, form):
    answer = world.call(caller, method, path, headers={"accept": form})
    assert answer.headers["content-type"] == form
    told = xml.read(answer.content) if form.endswith("xml") else answer.json()
    assert told["resourceType"] == "OperationOutcome"
    assert [fault for fault in validate(told) if fault.severity == "error"] == []


def test_errors_are_told_in_swedish_to_who_asks_for_it(world):
    swedish = world.call("", "GET", "/nowhere", headers={"accept-language": "sv-SE, en;q=0.5"})
    english = world.call("", "GET", "/nowhere", headers={"accept-language": "en, sv;q=0.5"})
    assert swedish.json()["issue"][0]["details"]["text"] == "Det finns inget på denna sökväg."
    assert (swedish.headers["content-language"], english.headers["content-language"]) == ("sv", "en")


# what goes wrong inside


def test_what_nobody_foresaw_is_told_by_reference_and_logged_without_content(world, monkeypatch):
    async def broken(*_, **__):
        raise ValueError("191212121212 stood here")

    monkeypatch.setattr(flows, "receive", broken)
    mine = request_id()
    answer = world.send(package(), x_request_id=mine)
    assert (answer.status_code, codes(answer)) == (500, ["exchange.internal"])
    assert answer.headers["x-request-id"] == mine
    assert mine in answer.json()["issue"][0]["details"]["text"]
    assert "stood here" not in answer.text
    logged = [line for line in world.logged if mine in line]
    assert any("ValueError" in line and "test_service_door.py" in line for line in logged)
    assert not [line for line in logged if "stood here" in line]


def test_a_store_that_fails_says_come_back_and_is_not_ready(world, monkeypatch):
    def broken(*_, **__):
        raise StoreFault(Fault("store.busy"))

    monkeypatch.setattr(world.adapter.store, "read", broken)
    answer = world.send(package())
    assert (answer.status_code, codes(answer)) == (503, ["store.busy"])
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["issue"][0]["details"]["coding"][0]["code"].startswith("ADP_")
    assert codes(world.call("", "GET", "/readyz")) == ["exchange.not-ready"]
    assert world.call("", "GET", "/healthz").json() == {"status": "alive"}


def test_a_caller_who_leaves_in_the_middle_is_no_error(world):
    mine = request_id()
    head = f"POST /fhir HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\nX-Request-Id: {mine}\r\n"
    with pytest.raises(TimeoutError):
        raw(world, "region-b", head.encode() + b"Content-Length: 90000\r\n\r\n{", wait=0.5)
    assert world.call("", "GET", "/readyz").json() == {"status": "ready"}
    assert not [line for line in world.logged if mine in line and "failed" in line]


# what it says of itself


def test_the_capability_statement_is_valid_and_true(world):
    answer = world.call("", "GET", "/fhir/metadata")
    told = answer.json()
    assert [fault for fault in validate(told) if fault.severity == "error"] == []
    assert xml.read(world.call("", "GET", "/fhir/metadata?_format=xml").content) == told
    (rest,) = told["rest"]
    assert [resource["type"] for resource in rest["resource"]] == ["CarePlan", "Consent", "Task"]
    paths = {path for _, path in routes(world)}
    for resource in rest["resource"]:
        assert [each["code"] for each in resource["interaction"]] == ["read", "create", "update", "search-type"]
    assert {"/fhir", "/fhir/{type}", "/fhir/{type}/{id}", "/fhir/{type}/_search"} <= paths
    assert [each["code"] for each in rest["interaction"]] == ["transaction"]


def test_the_capability_statement_is_read_by_others_models(world):
    from fhir.resources.R4B.capabilitystatement import CapabilityStatement

    told = CapabilityStatement.model_validate_json(world.call("", "GET", "/fhir/metadata").content)
    assert told.fhirVersion == "4.0.1"
    assert {"application/fhir+json; fhirVersion=5.0", "application/fhir+xml; fhirVersion=4.0", "json"} < set(
        told.format
    )


def test_the_capability_statement_is_told_in_each_release_and_is_right_in_it(world):
    for release, version in (("R4", "4.0"), ("R5", "5.0")):
        accept = {"accept": f"application/fhir+json; fhirVersion={version}"}
        told = world.call("", "GET", "/fhir/metadata", headers=accept).json()
        assert told["fhirVersion"] == definitions(release).version
        assert [fault for fault in validate(told, release) if fault.severity == "error"] == []


def test_the_codes_of_the_statement_are_fhirs():
    known = definitions("R4")
    assert {"read", "create", "update", "search-type"} <= known.codes(
        "http://hl7.org/fhir/ValueSet/type-restful-interaction"
    ).all


def test_a_head_is_an_answer_without_its_body(world):
    for path in ("/fhir/metadata", "/healthz", "/readyz"):
        answer = world.call("", "HEAD", path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_no_error_names_a_person(world):
    """The catalogue's sentences and places are all that an error can say; a fresh id keeps the body from being known."""
    body = json.dumps(package(fresh())).replace('"status": "requested"', '"status": "191212121212"').encode()
    answer = world.send(body)
    assert answer.status_code in {400, 422}
    assert CANARIES.search(answer.text) is None
