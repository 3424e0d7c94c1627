"""
Every way out is known here and passes the gate: with the gate asleep, nothing about a patient reaches anyone outside.

A route, a transport, a place that sends or a command that is added later fails a test until it is declared here.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import logging
import pkgutil
import re
import socket
from enum import StrEnum
from pathlib import Path

import click
import pytest
import region as r
from service_world import PEERS, alone, codes, package, serving

import adapter
from adapter import service, transport
from adapter.cli import koord
from adapter.consent import seal
from adapter.consent.gate import Cleared, Gate, Withheld
from adapter.domain import BusinessId
from adapter.errors import Denied
from adapter.flows import Dispatcher, accept
from adapter.store import quarantine
from adapter.transport.memory import Memory
from adapter.transport.rest import Rest
from adapter.validation import errors, validate
from adapter.wire import json
from adapter.wire.media import media_of
from tests import peers

pytestmark = pytest.mark.processes

CANARIES = re.compile(r"19121212-?1212|HEMLIG|Tolvan|Psykiatri|Verkstaden|Karin|i-own|GC001")
"""What stands in the records of this module, and in no receipt or error."""


# routes


class Gives(StrEnum):
    CLEARED = "the gate's bytes, or an answer that is the same for everybody"
    RECEIPT = "that something was written, and under which id: nothing of what it says"
    LOCAL = "the region's own system, which holds the records"
    NOTHING = "the same for everybody: about the program, never about a patient"


ROUTES = {
    ("GET", "/fhir/metadata"): Gives.NOTHING,
    ("GET", "/healthz"): Gives.NOTHING,
    ("GET", "/readyz"): Gives.NOTHING,
    ("POST", "/fhir"): Gives.RECEIPT,
    ("POST", "/fhir/"): Gives.RECEIPT,
    ("POST", "/fhir/{type}"): Gives.RECEIPT,
    ("PUT", "/fhir/{type}/{id}"): Gives.RECEIPT,
    ("GET", "/fhir/{type}"): Gives.NOTHING,
    ("GET", "/fhir/{type}/_search"): Gives.NOTHING,
    ("POST", "/fhir/{type}/_search"): Gives.CLEARED,
    ("GET", "/fhir/{type}/{id}"): Gives.CLEARED,
    ("POST", "/records"): Gives.LOCAL,
    ("GET", "/records/changes"): Gives.LOCAL,
    ("GET", "/queue"): Gives.LOCAL,
    ("GET", "/queue/{id}/why"): Gives.LOCAL,
    ("GET", "/dead"): Gives.LOCAL,
    ("POST", "/dead/{id}/release"): Gives.LOCAL,
    ("POST", "/dead/{id}/discard"): Gives.LOCAL,
    ("POST", "/destinations/{id}/pause"): Gives.LOCAL,
    ("POST", "/destinations/{id}/resume"): Gives.LOCAL,
    ("GET", "/withdrawals"): Gives.LOCAL,
    ("POST", "/withdrawals/{id}/receipt"): Gives.LOCAL,
    ("POST", "/notices/{id}/receipt"): Gives.LOCAL,
}
"""Every route and what it can give away. A HEAD is the GET without its body."""

OUTSIDE = ["", "stranger", *(name for name, (role, _, _) in PEERS.items() if role != "local-system")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service")) as world:
        document = r.submission(
            r.consent("c", "interventions"), r.intervention("i-own"), **{"i-own": ["region-b", "fk"]}
        )
        assert world.hand_over(document).status_code == 202
        assert world.send(package("theirs", note="HEMLIG")).status_code == 200
        yield world


@pytest.fixture
def asleep(monkeypatch):
    """The gate lets nothing through, whatever it is asked."""
    asked = []

    def withholding(name):
        def withhold(*_, **named):
            asked.append(name)
            return _withheld(named)

        return withhold

    for name in WAYS:
        monkeypatch.setattr(Gate, name, withholding(name))
    return asked


def _withheld(named):
    to = named.get("destination") or named.get("reader")
    sealed = {
        "destination": getattr(to, "destination", ""),
        "request_id": "",
        "correlation_id": "",
        "consent_version": 0,
    }
    return Withheld(decision=NOBODY.decision, explanation=NOBODY.explanation, faults=NOBODY.faults, **sealed)


def _nobody():
    from consent_worlds import consent, intervention, recipient
    from gate_world import clear

    found = clear(intervention(), recipient(), consents=[consent()])
    assert isinstance(found, Withheld)
    return found


NOBODY = _nobody()
WAYS = sorted(
    name
    for name, member in vars(Gate).items()
    if inspect.isfunction(member) and "Cleared" in str(inspect.signature(member).return_annotation)
)
"""The operations of the gate that make what may leave."""


def test_the_gate_has_these_ways_out_and_no_other():
    assert set(WAYS) - {"renamed"} <= {"clear", "answer", "notice", "receipt", "entry"}


def asked_for(world, method, path, logical_id):
    """A call that the route would answer with as much as it can."""
    filled = path.replace("{type}", "Task").replace("{id}", "fk" if "destinations" in path else logical_id)
    if path.endswith("_search") and method == "POST":
        return filled, {
            "data": {"patient:identifier": "http://electronichealth.se/identifier/personnummer|191212121212"}
        }
    if method in {"GET", "HEAD"}:
        return filled, {}
    if path == "/records":
        return filled, {"json": r.submission(r.intervention("i-own"))}
    if path.startswith("/fhir"):
        task, provenance = alone(package("theirs", note="HEMLIG"))
        body = package("theirs", note="HEMLIG") if path.rstrip("/") == "/fhir" else task
        return filled, {"json": body, "headers": {"x-provenance": provenance}}
    return filled, {"json": {"why": "a test"}}


def every_answer(world, callers):
    """(route, caller, answer) for every route and method, form, caller, and id of ours and of theirs."""
    for method, path in [*ROUTES, *(("HEAD", path) for method, path in ROUTES if method == "GET")]:
        for caller in callers:
            for source, value in (("@local", "i-own"), ("region-b", "theirs")):
                logical_id = world.adapter.record_id(source, BusinessId(system=r.IDS, value=value))
                filled, more = asked_for(world, method, path, logical_id)
                for form in ("application/fhir+json", "application/fhir+xml", "application/fhir+json; fhirVersion=5.0"):
                    headers = {"accept": form, "prefer": "return=representation"} | more.get("headers", {})
                    yield (method, path), caller, world.call(caller, method, filled, **more | {"headers": headers})


def test_every_route_is_declared_here(world):
    app = service.create_app(world.adapter, dispatcher=False)
    assert {(method, route.path) for route in app.routes for method in route.methods - {"HEAD"}} == ROUTES.keys()
    assert not [route for route in app.routes if not hasattr(route, "methods")], "no mounts, no sockets"


def test_with_the_gate_asleep_no_route_tells_anyone_outside_about_a_patient(world, asleep):
    for route, caller, answer in every_answer(world, OUTSIDE):
        told = CANARIES.search(f"{answer.headers} {answer.text}")
        assert told is None, (route, caller, told)
    assert set(asleep) == {"answer"}


def test_with_the_gate_awake_only_its_own_bytes_tell_and_only_to_care(world, monkeypatch):
    made = watch_the_seal(monkeypatch)
    telling = set()
    for route, caller, answer in every_answer(world, OUTSIDE):
        if CANARIES.search(f"{answer.headers} {answer.text}"):
            assert answer.content in [cleared.body for cleared in made], route
            assert PEERS[caller][0] == "care-provider"
            telling.add(route)
    assert telling == {route for route, gives in ROUTES.items() if gives is Gives.CLEARED}


def test_what_is_for_the_regions_own_system_is_closed_to_all_others(world):
    for (method, path), gives in ROUTES.items():
        for caller in OUTSIDE if gives is Gives.LOCAL else ():
            filled, more = asked_for(world, method, path, "x")
            answer = world.call(caller, method, filled, **more)
            assert answer.status_code == (403 if caller in PEERS else 401), (method, path, caller)
            assert codes(answer) in (["exchange.forbidden"], ["auth.required"], ["auth.refused"])


# messages


def watch_the_seal(monkeypatch):
    """Everything that is sealed from now on."""
    made, real = [], seal.Sealer.seal

    def sealing(self, contents, decision):
        cleared = real(self, contents, decision)
        made.append(cleared)
        return cleared

    monkeypatch.setattr(seal.Sealer, "seal", sealing)
    return made


TRIES = ("unreachable", "busy", "lost")


async def everything(adapter):
    """Sends to everybody, faults and retries, a quarantine that a person releases, and a withdrawal that tells who has got something."""
    given = r.consent("c2", "collaborate", recipient=r.EMPLOYER)
    records = [
        r.consent("c1", "interventions"),
        given,
        r.consent("c3", "inform-fk"),
        r.intervention("i-own"),
        r.fk_signal("f"),
    ]
    for each in r.DESTINATIONS:
        adapter.transport.expect(each["id"], *TRIES, *(["rejected"] if each["id"] == "region-b" else []))
    everyone = [each["id"] for each in r.DESTINATIONS]
    await accept(adapter, r.submission(*records, f=["fk"], **{"i-own": everyone}), caller="local")
    await drained(adapter)
    for message in await adapter.store.read(quarantine.messages, now=adapter.clock(), state="dead"):
        await adapter.store.write(
            quarantine.release, message.message_id, who="a person", why="a test", now=adapter.clock()
        )
    await drained(adapter)
    await accept(adapter, r.submission(r.withdrawn(given)), caller="local")
    await drained(adapter)
    return [arrived for each in everyone for arrived in adapter.transport.held(each)]


async def drained(adapter):
    for _ in range(6):
        await Dispatcher(adapter, owner="test").drain()
        adapter.clock.forward(hours=3)


IN_R5 = [
    {"url": f"http://127.0.0.1:1/{d['id']}", "network": "loopback", "production": False, "fhir_version": "5.0", **d}
    for d in r.DESTINATIONS
]


def run(folder, **more):
    async def go():
        async with r.region(folder, **more) as opened:
            return await everything(opened)

    return asyncio.run(go())


@pytest.mark.parametrize("release", ["R4", "R5"])
def test_everything_that_arrives_anywhere_was_sealed_by_the_gate(tmp_path, monkeypatch, release):
    made = watch_the_seal(monkeypatch)
    held = run(tmp_path, **({"destinations": IN_R5} if release == "R5" else {}))
    assert {media_of(each.content_type).release for each in held} == {release}
    assert [fault for each in held for fault in errors(validate(json.read(each.body), release))] == []
    assert len(held) >= 4  # region-b, the employer, Försäkringskassan, and the notice of the withdrawal
    sealed = {(cleared.request_id, cleared.body, cleared.content_type) for cleared in made}
    assert {(each.request_id, each.body, each.content_type) for each in held} <= sealed


def test_with_the_gate_asleep_nothing_arrives_anywhere(tmp_path, asleep):
    assert run(tmp_path) == []
    assert "clear" in asleep


# transports


TRANSPORTS = {"adapter.transport.memory.Memory", "adapter.transport.rest.Rest"}
"""What has ``send``. A new one passes the contract of tests/test_transport_contract.py as well."""


def test_every_transport_is_declared_here():
    found = set()
    for each in pkgutil.iter_modules(transport.__path__, "adapter.transport."):
        for name, member in vars(importlib.import_module(each.name)).items():
            if inspect.isclass(member) and member.__module__ == each.name and not name.startswith("_"):
                found |= (
                    {f"{each.name}.{name}"} if inspect.iscoroutinefunction(getattr(member, "send", None)) else set()
                )
    assert found - {"adapter.transport.receipt.Transport"} == TRANSPORTS


@pytest.mark.parametrize("kind", [Memory, Rest])
def test_a_transport_takes_nothing_but_what_the_gate_has_cleared(kind, tmp_path):
    peers.make_pki(tmp_path)

    async def go():
        peer = peers.Peer(tmp_path)
        await peer.start()
        settings = peers.region(destinations=[peers.destination(peer.port, tmp_path)])
        way = Rest(settings) if kind is Rest else Memory(["fk"])
        forged = peers.cleared()
        object.__setattr__(forged, "body", b"{}")
        for message in (b"{}", {"resourceType": "Bundle"}, NOBODY, object.__new__(Cleared), forged):
            with pytest.raises(Denied) as refused:
                await way.send(message)
            assert refused.value.first.code == "gate.not-cleared"
        await way.aclose()
        await peer.stop()
        return peer.connections if kind is Rest else len(way.held("fk"))

    assert asyncio.run(go()) == 0


# structure


ROOT = Path(adapter.__file__).parent
NETWORK = {
    "aiohttp",
    "httpx",
    "httpx_aiohttp",
    "requests",
    "http",
    "urllib3",
    "smtplib",
    "ftplib",
    "socket",
    "telnetlib",
    "xmlrpc",
}
MAY_REACH = {
    "transport/": "the ways out, and the listening side",
    "mock.py": "a receiver of its own, for tests",
    "demo/": "plays the part of the local system and of peers",
    "cli/doctor.py": "looks whether peers answer",
    "service/app.py": "the name of this machine, for leases",
    "cli/running.py": "the name of this machine, for leases",
}
"""Modules that import what reaches the network, and why. What they send is looked at by name in the next test."""
SENDERS = {"flows/dispatch.py", "flows/notify.py", "flows/stopped.py", "flows/journal.py"}
"""Where something is given to a transport."""


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def test_only_what_is_declared_here_reaches_the_network():
    found = {name for name, tree in modules() if NETWORK & set(imported(tree))}
    assert not {name for name in found if not name.startswith(tuple(MAY_REACH))}
    opened = {
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in {"open_connection", "create_connection", "open_unix_connection", "urlopen", "sock_connect"}
    }
    assert opened <= {"transport/rest.py", "demo/processes.py"}


def test_only_flows_give_anything_to_a_transport():
    found = {
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "send"
        and ast.unparse(node.func.value).endswith("transport")
    }
    assert found <= SENDERS


def test_only_the_gate_holds_a_sealer_and_nothing_makes_a_cleared_in_another_way():
    """The seal is made in one place: no other module names what makes it."""
    named = {
        name
        for name, tree in modules()
        if "Sealer" in {getattr(n, "id", getattr(n, "attr", "")) for n in ast.walk(tree)}
    }
    assert named == {"consent/gate.py"}, "beside the module that defines it"
    forced = {
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"object.__new__", "Cleared.__new__"}
    }
    assert forced <= {"consent/seal.py"}


@pytest.mark.parametrize("connect", ["connect", "connect_ex"])
@pytest.mark.parametrize("address", [("192.0.2.1", 443), ("2001:db8::1", 443)])
def test_in_tests_no_socket_leads_to_another_machine(connect, address):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as made, pytest.raises(PermissionError):
        getattr(made, connect)(address)
    with socket.socket(socket.AF_INET) as made, pytest.raises(ConnectionError):
        made.connect(("127.0.0.1", 1))


# commands


class Prints(StrEnum):
    OWN = "what stands in files that the operator names, and what the gate would make of them"
    CODES = "codes, states, times and ids that tell nothing"
    STORE = "what the store holds about a patient, to the operator of the region, and enters it in the audit log"
    PROGRAM = "about the program"


COMMANDS = {
    "demo": Prints.PROGRAM,
    "map": Prints.OWN,
    "check": Prints.OWN,
    "filter": Prints.OWN,
    "decide": Prints.OWN,
    "send": Prints.CODES,
    "queue": Prints.CODES,
    "dead": Prints.CODES,
    "withdrawals": Prints.CODES,
    "why": Prints.CODES,
    "serve": Prints.CODES,
    "worker": Prints.CODES,
    "mock": Prints.CODES,
    "schema": Prints.PROGRAM,
    "tables": Prints.PROGRAM,
    "config": Prints.PROGRAM,
    "profiles": Prints.PROGRAM,
    "certs": Prints.PROGRAM,
    "audit": Prints.STORE,
    "doctor": Prints.CODES,
}
"""What each command prints. It prints on the operator's own machine: no command but ``send``, ``serve``, ``worker`` and ``demo`` sends."""


def test_every_command_is_declared_here():
    assert isinstance(koord, click.Group)
    assert set(koord.list_commands(None)) == COMMANDS.keys()


def test_logs_hold_nothing_of_what_is_sent(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        run(tmp_path)
    lines = [str(vars(record)) for record in caplog.records if record.name.startswith("adapter")]
    assert lines
    assert not [line for line in lines if CANARIES.search(line)]


def test_every_try_passes_the_gate_anew(tmp_path, monkeypatch):
    """Queues hold references, never cleared bytes."""
    made = watch_the_seal(monkeypatch)
    held = run(tmp_path)
    times = {
        each.request_id: [cleared.cleared_at for cleared in made if cleared.request_id == each.request_id]
        for each in held
    }
    assert any(len(set(cleared_at)) > len(TRIES) for cleared_at in times.values())
