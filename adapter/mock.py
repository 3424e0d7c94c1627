"""
A stand-in receiver: Försäkringskassan, an employer, Arbetsförmedlingen or a municipality, as far as demos and tests need one.

It takes FHIR transactions over mutual TLS, keeps the raw bytes of every request, whatever became of it, and answers a repeated
request as it did the first time. It is no FHIR server: nothing can be read from it but ``GET /held``, the list of all it
was ever sent, and that only with one certificate (or, without TLS, on a loopback address).
"""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

import click

from adapter.certs import peer_identity
from adapter.consent import notice
from adapter.errors import AdapterError, Denied, Fault, Invalid
from adapter.settings import Limits, Server, ServerTls
from adapter.transport.outcome import operation_outcome
from adapter.transport.server import App, Receive, Scope, Send
from adapter.transport.server import run as serve
from adapter.wire import bodies, json
from adapter.wire.media import USUAL, media_of

BASE: Final = "/fhir"
HELD: Final = "/held"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

What = Literal["accepted", "repeated", "refused"]
"""What became of a request: accepted (an effect, once), repeated (answered as before), refused (no effect)."""


@dataclass(frozen=True, slots=True)
class Faults:
    """
    How it misbehaves: ``fail_first``: so many requests are refused with 503; ``garbage_first``: of those after them, so many
    are received but answered with noise, so that the acknowledgement is lost; ``delay_s``: each answer waits so long.
    """

    fail_first: int = 0
    garbage_first: int = 0
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Received:
    """
    One request: ``sender`` (HSA-id, empty without TLS), ``target`` (method, path and query), ``headers`` without credentials,
    what became of it, the ``digest`` of what it says (of its canonical JSON if it could be read), and its body as it came.
    """

    number: int
    at: str
    sender: str
    target: str
    headers: Mapping[str, str]
    request_id: str
    what: What
    digest: str
    body: bytes


class Mailbox:
    """
    Everything received, in a folder: one file each, on disk before the answer leaves. The first line is JSON about the
    request, the rest its body, byte by byte. What a folder holds at the start is remembered.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.received = [_load(path) for path in sorted(folder.glob("*.received"))]
        self._digests = {one.request_id: one.digest for one in self.received if one.what == "accepted"}
        self._lock = asyncio.Lock()

    async def put(self, received: Received) -> Received:
        """Keep it, under the next number; what looked accepted may turn out to be a repetition, or refused as a duplicate."""
        async with self._lock:
            before = self._digests.get(received.request_id)
            if received.what == "accepted" and before is not None:
                received = replace(received, what="repeated" if before == received.digest else "refused")
            received = replace(received, number=len(self.received) + 1)
            await asyncio.to_thread(self._write, received)
            self.received.append(received)
            if received.what == "accepted":
                self._digests[received.request_id] = received.digest
            return received

    def _write(self, received: Received) -> None:
        about = {name: getattr(received, name) for name in _ABOUT}
        path = self._folder / f"{received.number:06}.received"
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(json.write(about) + b"\n" + received.body)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


_ABOUT: Final = tuple(name for name in Received.__slots__ if name != "body")


def _load(path: Path) -> Received:
    about, _, body = path.read_bytes().partition(b"\n")
    return Received(**json.read(about, require_object=True), body=body)


def application(mailbox: Mailbox, *, reader: str = "", faults: Faults = Faults()) -> App:
    """
    The receiver as an ASGI application.

    ``reader``: the HSA-id in the certificate that may see what is held; without TLS everyone may, and the server listens
    on loopback only.
    """
    coming = _coming(faults)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            sender = _sender(scope)
            if (scope["method"], scope["path"]) == ("GET", HELD):
                await _answer(
                    send, 200, json.write(_held(mailbox, sender, reader)), {"content-type": "application/json"}
                )
                return
            arrived = _arrived(scope, sender, headers, await _body(receive))
            await asyncio.sleep(faults.delay_s)
            await _take(mailbox, arrived, send, next(coming))
        except AdapterError as error:
            await _refuse(send, headers, error)

    return app


async def _take(mailbox: Mailbox, arrived: Received, send: Send, trouble: str) -> None:
    """Keep the request, whatever it is, and answer."""
    headers = arrived.headers
    transaction: dict[str, Any] = {}
    problem: AdapterError | None = _error("mock.pause") if trouble == "fail" else None
    if problem is None:
        try:
            transaction = _transaction(arrived)
            arrived = replace(arrived, digest=sha256(json.canonical(transaction)).hexdigest())
        except AdapterError as error:
            problem = error
    kept = await mailbox.put(replace(arrived, what="refused" if problem else "accepted"))
    if problem is None and kept.what == "refused":
        problem = _error("mock.duplicate")
    if problem is not None:
        await _refuse(send, headers, problem)
    elif trouble == "garbage":
        await _answer(send, 200, b"\x00 nothing that anyone can read", {"content-type": str(USUAL)})
    else:
        more = {"x-replayed": "true"} if kept.what == "repeated" else {}
        await _answer_fhir(send, 200, _transaction_response(transaction), headers, more)


def _transaction(arrived: Received) -> dict[str, Any]:
    method, _, target = arrived.target.partition(" ")
    if target.rstrip("/") != BASE:
        raise _error("mock.no-such-route")
    if method != "POST":
        raise _error("mock.method")
    if not (1 <= len(arrived.request_id) <= 128 and arrived.request_id.isascii() and arrived.request_id.isprintable()):
        raise _error("mock.request-id")
    media = media_of(arrived.headers.get("content-type", ""))
    if media is None:
        raise _error("mock.media-type")
    resource = bodies.read(arrived.body, media)
    entries = resource.get("entry", [])
    is_transaction = (resource.get("resourceType"), resource.get("type")) == ("Bundle", "transaction")
    if not is_transaction or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _error("mock.not-a-transaction")
    return resource


def _transaction_response(transaction: Mapping[str, Any]) -> dict[str, Any]:
    entries = [
        _taken(entry.get("resource")) | {"response": {"status": "201 Created"}}
        for entry in transaction.get("entry", ())
    ]
    return {"resourceType": "Bundle", "type": "transaction-response"} | ({"entry": entries} if entries else {})


def _taken(resource: Any) -> dict[str, Any]:
    """What is answered of what was taken: nothing; but to a notice that a consent no longer holds, that we have stopped."""
    is_notice = isinstance(resource, dict) and notice.is_notice(resource)
    return {"resource": notice.answered(resource)} if is_notice else {}


def _arrived(scope: Scope, sender: str, headers: Mapping[str, str], body: bytes) -> Received:
    query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
    return Received(
        number=0,
        at=datetime.now(UTC).isoformat(),
        sender=sender,
        target=f"{scope['method']} {scope['raw_path'].decode('latin-1')}{query}",
        headers={name: value for name, value in headers.items() if name != "authorization"},
        request_id=headers.get("x-request-id", ""),
        what="accepted",
        digest=sha256(body).hexdigest(),
        body=body,
    )


def _sender(scope: Scope) -> str:
    certificate = scope["extensions"].get("tls", {}).get("client_certificate")
    return "" if certificate is None else peer_identity(certificate)


def _held(mailbox: Mailbox, sender: str, reader: str) -> dict[str, Any]:
    if sender and sender.upper() != reader.upper():
        raise Denied(Fault("mock.not-yours"))
    rows = [
        {name: getattr(one, name) for name in _ABOUT} | {"body": b64encode(one.body).decode()}
        for one in mailbox.received
    ]
    return {"held": rows}


def _coming(faults: Faults) -> Iterator[str]:
    yield from ["fail"] * faults.fail_first
    yield from ["garbage"] * faults.garbage_first
    while True:
        yield ""


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the sender left")
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)


def _error(code: str) -> Invalid:
    return Invalid(Fault(code))


async def _refuse(send: Send, headers: Mapping[str, str], error: AdapterError) -> None:
    more = {"retry-after": "1"} if error.status == 503 else {}
    await _answer_fhir(send, error.status, operation_outcome(error.faults), headers, more)


async def _answer_fhir(
    send: Send, status: int, resource: Mapping[str, Any], headers: Mapping[str, str], more: Mapping[str, str]
) -> None:
    media = media_of(headers.get("accept", "")) or USUAL
    echoed = {name: headers[name] for name in ("x-request-id", "x-correlation-id") if name in headers}
    await _answer(send, status, bodies.write(resource, media), {"content-type": str(media), **echoed, **more})


async def _answer(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    sent.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


def run(folder: Path, server: Server, *, reader: str = "", faults: Faults = Faults()) -> None:
    """
    Serve until told to stop; prints the address as one JSON line when ready.

    Raises:
        Misconfigured: the certificates cannot be used, or the address is taken.
        ValueError: no TLS, and the address is not a loopback address.
    """
    if server.tls is None and server.host not in LOOPBACK:
        raise ValueError("without TLS only on a loopback address")
    serve(application(Mailbox(folder), reader=reader, faults=faults), server)


@click.command("mock")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where everything received is kept.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="0: any free port.")
@click.option(
    "--cert", type=click.Path(path_type=Path), help="Our certificate (PEM). Without it: plain HTTP on loopback."
)
@click.option("--key", type=click.Path(path_type=Path), help="Its private key (PEM).")
@click.option("--ca", type=click.Path(path_type=Path), help="The issuers of the senders' certificates (PEM).")
@click.option("--reader", default="", help="HSA-id of the certificate that may read /held.")
@click.option("--fail-first", type=click.IntRange(0), default=0, help="Refuse so many requests with 503.")
@click.option("--garbage-first", type=click.IntRange(0), default=0, help="Receive so many and answer them with noise.")
@click.option("--delay", type=click.FloatRange(0, 600), default=0.0, help="Seconds to wait before each answer.")
def main(  # noqa: PLR0913, PLR0917  one for each option
    folder: Path,
    host: str,
    port: int,
    cert: Path | None,
    key: Path | None,
    ca: Path | None,
    reader: str,
    fail_first: int,
    garbage_first: int,
    delay: float,
) -> None:
    """A stand-in receiver that keeps what it is sent."""
    given = [path for path in (cert, key, ca) if path is not None]
    if len(given) not in {0, 3}:
        raise click.UsageError("--cert, --key and --ca belong together")
    if not given and host not in LOOPBACK:
        raise click.UsageError("without --cert only on a loopback address")
    server = Server(
        host=host,
        port=port,
        base_url=f"{'https' if given else 'http'}://{host}",
        authentication="mtls" if given else "none",
        tls=ServerTls(certificate=given[0], key=given[1], ca=given[2]) if given else None,
        limits=Limits(stop_timeout_s=2.0),
    )
    try:
        run(folder, server, reader=reader, faults=Faults(fail_first, garbage_first, delay))
    except AdapterError as error:
        for fault in error.faults:
            click.echo(fault.as_line(), err=True)
        raise SystemExit(error.exit) from None


if __name__ == "__main__":
    main()
