"""A peer over real TLS that behaves, or misbehaves in a way asked for; and a few things to send to it."""

import asyncio
import hashlib
import socket
import ssl
import struct
from collections import deque
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from adapter.certs import Authority
from adapter.consent.seal import Contents, Sealer
from adapter.settings import Settings
from adapter.wire import json, xml

SEALER = Sealer(b"a key for the seals of the tests")
HSA_ID = "TSTNMT2321000016-A001"


def cleared(
    body=b'{"resourceType":"Bundle"}', *, destination="fk", request_id="r-1", content_type="application/fhir+json"
):
    contents = Contents(
        body=body,
        content_type=content_type,
        destination=destination,
        request_id=request_id,
        correlation_id="case-1",
        cleared_at=datetime(2026, 11, 20, tzinfo=UTC),
        consent_version=1,
        consent_versions=(),
        records=(),
        categories=(),
        explanation=b"{}",
    )
    return SEALER.seal(contents, None)


def region(**parts):
    """Settings of a region in test mode, with these destinations and the like."""
    values = {
        "mode": "test",
        "region": {
            "name": "Region Exempel",
            "provider": "TSTNMT2321000016-A000",
            "unit": "TSTNMT2321000016-A001",
            "organisation_number": "2321000016",
            "source_system": "TSTNMT2321000016-S001",
        },
        "store": {"path": "koord.sqlite", "key_file": "store.keys", "id_key_file": "id.key"},
        "server": {"base_url": "http://127.0.0.1:8443", "authentication": "none"},
    }
    return Settings.model_validate(values | parts)


def destination(port, folder, **changes):
    values = {
        "id": "fk",
        "recipient": "forsakringskassan",
        "organisation_number": "2021005521",
        "url": f"https://localhost:{port}/fhir",
        "network": "loopback",
        "production": False,
        "send_timeout_s": 1.0,
        "tls": {"ca": folder / "ca.pem", "certificate": folder / "client.pem", "key": folder / "client.key"},
    }
    return {name: value for name, value in (values | changes).items() if value is not ...}


def make_pki(folder):
    """An authority with a server and a client, and what a stranger would show."""
    authority = Authority.create(folder)
    authority.issue_server("server")
    authority.issue_client("client", HSA_ID)
    stranger = Authority.create(folder / "stranger")
    stranger.issue_server("server")
    stranger.issue_client("client", HSA_ID)
    return authority


def server_tls(folder, name="server", *, ca="ca"):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / f"{ca}.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


ISSUES = {
    "error": "exception",
    "login": "login",
    "forbidden": "forbidden",
    "conflict": "conflict",
    "rejected": "business-rule",
}
STATUS = {"error": 500, "login": 401, "forbidden": 403, "conflict": 412, "rejected": 422}


def outcome(code):
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code}]}


def response(*statuses):
    entries = [{"response": {"status": status}} for status in statuses]
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}


class Peer:
    """Keeps what it received (``held``, by request id) and every head it saw; ``expect`` says what goes wrong next."""

    def __init__(self, folder):
        self.folder = folder
        self.held = {}
        self.heads = []
        self.connections = 0
        self.coming = deque()
        self.tls = server_tls(folder)
        self.port = 0
        self._server = None
        self._writers = set()
        self._handlers = set()

    def expect(self, *situations):
        self.coming.extend(situations)

    async def start(self, tls=None):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=tls or self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0.02)
        for handler in tuple(self._handlers):
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    @asynccontextmanager
    async def while_(self, situation):
        """Runs a block while the peer is gone, or shows another's certificate."""
        if situation not in {"unreachable", "certificate"}:
            self.expect(*([situation] if situation else []))
            yield
            return
        await self.stop()
        if situation == "certificate":
            await self.start(server_tls(self.folder / "stranger"))
        yield
        if situation == "certificate":
            await self.stop()
        await self.start()

    async def _serve(self, reader, writer):
        self.connections += 1
        self._writers.add(writer)
        self._handlers.add(asyncio.current_task())
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            self._writers.discard(writer)
            self._handlers.discard(asyncio.current_task())
            writer.close()

    async def _exchange(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.heads.append(head.decode())
        situation = self.coming.popleft() if self.coming else ""
        if callable(situation):
            return await situation(headers, body, writer)
        answer = self._answer(situation, headers, body)
        if answer is None:
            return False
        writer.write(answer)
        await writer.drain()
        if situation == "hang":
            await asyncio.sleep(30)
        while situation == "drip":
            await asyncio.sleep(0.02)
            writer.write(b" ")
            await writer.drain()
        if situation == "reset":
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return situation != "cut"

    def _answer(self, situation, headers, body):
        if situation in STATUS:
            return http(STATUS[situation], headers, outcome(ISSUES[situation]))
        return (
            {
                "reset": b"",
                "hang": b"",
                "cut": b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"resou',
                "drip": b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n",
                "garbage": b"\x00\x01 this is not HTTP\r\n\r\n",
                "no-acknowledgement": http(200, headers, outcome("informational")),
                "not-the-peer": b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\n<html",
                "too-large": b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n" + b" " * 2_000_000,
                "redirect": http(307, headers, outcome("informational"), "location: https://localhost:1/\r\n"),
                "busy": http(503, headers, outcome("throttled"), "retry-after: 7\r\n"),
                "entry-failed": http(200, headers, response("201 Created", "422 Unprocessable")),
            }.get(situation)
            if situation and situation != "lost"
            else self._receive(situation, headers, body)
        )

    def _receive(self, situation, headers, body):
        request_id, digest = headers["x-request-id"], hashlib.sha256(body).digest()
        before = self.held.setdefault(request_id, body)
        if hashlib.sha256(before).digest() != digest:
            return http(409, headers, outcome("duplicate"))
        return None if situation == "lost" else http(200, headers, response("200 OK", "201 Created"))


def http(status, headers, resource, more=""):
    """An answer in the form asked for, with the request id that was asked with."""
    is_xml = "xml" in headers["accept"]
    body = (xml if is_xml else json).write(resource)
    return (
        f"HTTP/1.1 {status} Status\r\ncontent-type: application/fhir+{'xml' if is_xml else 'json'}; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\nx-request-id: {headers['x-request-id']}\r\n{more}\r\n"
    ).encode() + body
