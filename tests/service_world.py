"""
Region A's adapter behind its real server, over TLS on loopback: ``with serving(folder) as world``.

The callers are known by their certificates: ``region-b`` and ``clinic`` (the region's own) are care providers, ``employer`` an
outside actor, ``journal`` the local system. Every log line is kept, and searched for persons when it ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
import threading
from contextlib import contextmanager
from itertools import count
from uuid import uuid4

import httpx
import region as r
import uvloop
from joserfc import jws

from adapter.certs import Authority, create_signing_key, signing_key
from adapter.domain import read_record
from adapter.flows import Adapter
from adapter.mapping import Mapper, transaction
from adapter.service import create_app
from adapter.tables import load
from adapter.transport.memory import Memory
from adapter.transport.server import running

BASE_URL = "https://127.0.0.1:8443"
REGION_B = "TSTNMT2321000131-B000"
PEERS = {
    "region-b": ("care-provider", "TSTNMT2321000131-J001", REGION_B),
    "clinic": ("care-provider", "TSTNMT2321000016-J002", r.PROVIDER),
    "employer": ("outside-actor", "TSTNMT2321000131-E001", "2321000131"),
    "journal": ("local-system", "TSTNMT2321000016-L001", r.PROVIDER),
}
IDS_OF = {name: organisation for name, (_, _, organisation) in PEERS.items()}
OTHERS_NUMBER = "195009072553"
CANARIES = re.compile(r"19121212-?1212|19500907-?2553|HEMLIG|Tolvan")

MAPPER = Mapper(load())
_NUMBERS = count(1)


def fresh(prefix="x"):
    """A business id that no other test uses."""
    return f"{prefix}{next(_NUMBERS)}"


def of_region_b(document):
    """The same record, with region B answering for it."""
    return document | {"unit": {"hsa_id": "TSTNMT2321000131-B001"}, "provider": {"hsa_id": REGION_B}}


def bundle(*documents):
    """Records as a peer sends them: one transaction."""
    entries = {}
    for document in documents:
        for entry in transaction(MAPPER.to_fhir(read_record(document)[0]))["entry"]:
            entries.setdefault(entry["fullUrl"], entry)
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries.values())}


def package(value=None, **more):
    """One intervention of region B as a transaction."""
    return bundle(of_region_b(r.intervention(value or fresh("i"), **more)))


def focus_of(sent):
    return next(
        e["resource"] for e in sent["entry"] if e["resource"]["resourceType"] in {"Task", "CarePlan", "Consent"}
    )


def alone(sent):
    """The focus of a transaction with the others contained, and its Provenance as the X-Provenance header has it."""
    parts = [entry["resource"] for entry in sent["entry"]]
    names = {f"{part['resourceType']}/{part['id']}": f"#{part['id']}" for part in parts[1:]}

    def inside(node):
        if isinstance(node, dict):
            return {
                name: names.get(value, value) if name == "reference" else inside(value) for name, value in node.items()
            }
        return [inside(each) for each in node] if isinstance(node, list) else node

    focus, *others = [inside(part) for part in parts]
    (provenance,) = [each for each in others if each["resourceType"] == "Provenance"]
    header = {name: value for name, value in provenance.items() if name not in {"id", "target"}}
    return focus | {"contained": [each for each in others if each is not provenance]}, json.dumps(header)


class World:
    """The running server, and clients for each caller."""

    def __init__(self, folder, adapter, url):
        self.folder, self.adapter, self.url = folder, adapter, url
        self._clients = {}

    def client(self, caller):
        """A client with the certificate of a caller, or of nobody (empty)."""
        if caller not in self._clients:
            context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
            if caller:
                context.load_cert_chain(self.folder / f"{caller}.pem", self.folder / f"{caller}.key")
            self._clients[caller] = httpx.Client(base_url=self.url, verify=context, trust_env=False)
        return self._clients[caller]

    def call(self, caller, method, path, **more):
        return self.client(caller).request(method, path, **more)

    def send(self, body, *, caller="region-b", path="/fhir", method="POST", **headers):
        """A body in JSON (or bytes as they are), with headers: ``x_request_id`` is X-Request-Id."""
        named = {"content-type": "application/fhir+json"} | {n.replace("_", "-"): v for n, v in headers.items()}
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return self.call(caller, method, path, headers=named, **content)

    def hand_over(self, document, **headers):
        return self.send(document, caller="journal", path="/records", **{"content_type": "application/json"} | headers)

    def stored(self):
        """How many rows there are of everything that a request could leave behind."""
        tables = ("record", "inbox", "outbox", "audit", "disclosure")
        return self.adapter.store.read(
            lambda tx: {table: tx.one(f"SELECT count(*) FROM {table}")[0] for table in tables}
        ).result()

    def close(self):
        for client in self._clients.values():
            client.close()


def codes(response):
    """The stable codes in an OperationOutcome, without who must act."""
    assert response.json()["resourceType"] == "OperationOutcome"
    return [issue["details"]["coding"][0]["code"].partition("_")[2] for issue in response.json()["issue"]]


def settings(folder, **more):
    authority = Authority.create(folder)
    authority.issue_server("server")
    for name, (_, hsa_id, _) in PEERS.items():
        authority.issue_client(name, hsa_id)
    authority.issue_client("stranger", "TSTNMT2321000131-X001")
    create_signing_key(folder, "journal")
    server = {
        "port": 0,
        "base_url": BASE_URL,
        "authentication": "either",
        "tls": {"certificate": "server.pem", "key": "server.key", "ca": "ca.pem"},
        "limits": {"body_bytes": 1_000_000},
    }
    peers = [
        {"id": name, "role": role, "hsa_id": hsa_id, "organisation": organisation}
        for name, (role, hsa_id, organisation) in PEERS.items()
    ]
    peers[-1]["jwks"] = "journal.jwks"
    return r.settings(folder, **({"server": server, "peers": peers} | more))


def token(folder, **claims):
    """A bearer token of the local system, for one call."""
    key, now = signing_key(folder / "journal.jwk"), int(r.NOW.timestamp())
    told = {"iss": "journal", "sub": "journal", "aud": BASE_URL, "iat": now, "exp": now + 60, "jti": request_id()}
    return jws.serialize_compact({"alg": "ES384", "kid": key.kid}, json.dumps(told | claims), key, algorithms=["ES384"])


@contextmanager
def serving(folder, **more):
    """A ``World``; ``more`` are settings. Logs of the server's side are kept, for ``logged`` and for the search."""
    configured = settings(folder, **more)
    adapter = Adapter.open(configured, transport=Memory([d.id for d in configured.destinations]), clock=r.Clock())
    ready, stop, kept = threading.Event(), threading.Event(), []

    class Lines(logging.Handler):
        def emit(self, record):
            kept.append(" ".join(f"{name}={value}" for name, value in vars(record).items()))

    async def main():
        async with running(create_app(adapter, dispatcher=False), configured.server) as url:
            kept.append(url)
            ready.set()
            await asyncio.to_thread(stop.wait)

    def on_its_own():
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())

    lines, loggers = Lines(), [logging.getLogger(name) for name in ("adapter", "asyncio", "fastapi", "uvicorn")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(lines)
        logger.setLevel(logging.DEBUG)
    thread = threading.Thread(target=on_its_own)
    thread.start()
    assert ready.wait(20)
    world = World(folder, adapter, kept.pop())
    world.logged = kept
    try:
        yield world
    finally:
        world.close()
        stop.set()
        thread.join()
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(lines)
            logger.setLevel(level)
    assert not [line for line in kept if CANARIES.search(line)]


def request_id():
    return str(uuid4())
