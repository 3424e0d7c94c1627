"""
The HTTP server that others reach us through: uvicorn with deadlines, limits, and no tolerance for requests that two
readers could take apart differently.

Stock uvicorn waits for ever for a header or a body, and its parser lets a missing Host and large headers through. Here
every phase of a request has a deadline, sizes are limited, and framing is read one way only (RFC 9112, sections 3.2 and 6).
What is refused at this level is answered with a constant OperationOutcome, and the connection is closed.

The certificate of a TLS client is in ``scope["extensions"]["tls"]["client_certificate"]`` (DER); its chain has been verified.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any, Final

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import HANDLED_SIGNALS

from adapter.errors import Fault, Misconfigured
from adapter.settings import Authentication, Limits, Server, ServerTls
from adapter.transport.outcome import operation_outcome
from adapter.wire import json

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI 3 application."""

log = logging.getLogger("adapter.server")

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 are all good
_LINGER_S: Final = 1.0
"""How long a refused sender is still listened to and ignored: closing at once would reset the connection and lose the answer."""
_OUTLIVES_A_CLIENT_S: Final = 75
"""Idle connections stay longer here than in clients' pools, so that it is the client who closes."""


def run(app: App, server: Server) -> None:
    """
    Serve until SIGTERM or SIGINT, then let what is under way finish (``limits.stop_timeout_s``).

    One line on stdout tells when calls are accepted and where, also when port 0 asked for any port:
    ``{"ready":"https://127.0.0.1:8443"}``.

    Raises:
        Misconfigured: the certificates cannot be used, or the address cannot be listened at.
    """
    serving = _Server(app, server)
    serving.ready = lambda: print(json.write({"ready": serving.url}).decode(), flush=True)  # noqa: T201  for whoever started us
    with asyncio.Runner(loop_factory=serving.config.get_loop_factory()) as runner:
        runner.run(serving.serve([serving.listener]))


@asynccontextmanager
async def running(app: App, server: Server) -> AsyncIterator[str]:
    """
    Serve inside the running event loop for as long as the block lasts; gives the address, ``https://127.0.0.1:43121``.

    Raises:
        Misconfigured: as ``run``.
    """
    serving = _Server(app, server, takes_signals=False)
    ready = asyncio.Event()
    serving.ready = ready.set
    task = asyncio.create_task(serving.serve([serving.listener]))
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield serving.url
    finally:
        waiting.cancel()
        serving.should_exit = True
        await task


class _Config(uvicorn.Config):
    def __init__(self, app: App, server: Server) -> None:
        self.limits = server.limits
        super().__init__(
            _guarded(app),
            http=_HardenedProtocol,
            ws="none",
            lifespan="auto",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_OUTLIVES_A_CLIENT_S,
            timeout_graceful_shutdown=round(server.limits.stop_timeout_s),
        )
        self.load()
        self.ssl = None if server.tls is None else _tls(server.tls, server.authentication)


class _Server(uvicorn.Server):
    """Uvicorn's server on one socket, with a deadline for the TLS handshake, that ends with exit code 0 when told to stop."""

    config: _Config

    def __init__(self, app: App, server: Server, *, takes_signals: bool = True) -> None:
        super().__init__(_Config(app, server))
        self.listener = _listen(server)
        self.url = _url(self.listener, server)
        self.ready: Callable[[], None] = lambda: None
        self._takes_signals = takes_signals

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise RuntimeError("the application did not start")
        loop = asyncio.get_running_loop()
        tls = self.config.ssl
        patience = None if tls is None else self.config.limits.header_timeout_s
        self.servers = [
            await loop.create_server(self._protocol, sock=listener, ssl=tls, ssl_handshake_timeout=patience)
            for listener in sockets or []
        ]
        self.started = True
        self.ready()

    def _protocol(self) -> asyncio.Protocol:
        return _HardenedProtocol(self.config, self.server_state, self.lifespan.state)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if not self._takes_signals:
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _RefusedError(Exception):
    """What a callback raises inside the parser, which wraps it: the code alone."""


class _HardenedProtocol(HttpToolsProtocol):
    """One connection. Between callbacks, ``_deadline`` says by when the peer must have sent the next thing."""

    config: _Config

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        super().connection_made(transport)
        self.access_log = False  # addresses stand in no log, however logging is set up
        self._deadline: asyncio.TimerHandle | None = None
        self._slow_reader: asyncio.TimerHandle | None = None
        self._in_head = True
        self._in_body = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._refused = False
        self._extensions = _tls_extension(transport)
        if len(self.connections) > self._limits.connections:
            transport.abort()
        else:
            self._expect_within(self._limits.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        self._read_again()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if self._in_head and self._deadline is None:
            self._expect_within(self._limits.header_timeout_s)
        self._head_bytes += len(data) if self._in_head else 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # nothing is upgraded; what follows is not ours to guess
        except httptools.HttpParserError as error:
            ours = isinstance(error.__context__, _RefusedError)
            self._refuse(str(error.__context__) if ours else "server.malformed")
        if self._in_head and self._head_bytes > self._limits.header_bytes:
            self._refuse("server.headers-too-large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._body_bytes = 0

    def on_headers_complete(self) -> None:
        fault = "server.malformed" if self._under_way else self._head_fault()
        if fault:
            raise _RefusedError(fault)
        self.scope["extensions"] = self._extensions
        super().on_headers_complete()
        self._in_head, self._in_body, self._head_bytes = False, True, 0
        self._expect_within(self._limits.body_timeout_s)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            raise _RefusedError("server.too-large")
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._expect_nothing()
        self._in_head, self._in_body = True, False
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._slow_reader = self.loop.call_later(self._limits.body_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._read_again()
        super().resume_writing()

    def _head_fault(self) -> str:
        """The code of what is wrong with the head of the request, or an empty string."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if len(self.headers) > self._limits.header_count or size > self._limits.header_bytes:
            return "server.headers-too-large"
        if not self._reads_one_way():
            return "server.malformed"
        if any(value.strip().lower() != b"identity" for value in self._values(b"content-encoding")):
            return "server.encoded"
        if any(int(value) > self._limits.body_bytes for value in self._values(b"content-length")):
            return "server.too-large"
        return ""

    def _reads_one_way(self) -> bool:
        """RFC 9112: 3.2 one valid Host, 3.2.1 a path as target, 6.1 and 6.3 one statement of the length."""
        version, hosts = self.parser.get_http_version(), self._values(b"host")
        lengths, codings = self._values(b"content-length"), self._values(b"transfer-encoding")
        return (
            version in {"1.0", "1.1"}
            and self.url.startswith(b"/")
            and len(hosts) == 1
            and _HOST.fullmatch(hosts[0]) is not None
            and len(lengths) + len(codings) <= 1
            and all(_LENGTH.fullmatch(length) for length in lengths)
            and all(coding.lower() == b"chunked" and version == "1.1" for coding in codings)
        )

    def _values(self, header: bytes) -> list[bytes]:
        return [value for name, value in self.headers if name == header]

    @property
    def _limits(self) -> Limits:
        return self.config.limits

    def _expect_within(self, seconds: float) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(seconds, self._refuse, "server.too-slow")

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _read_again(self) -> None:
        if self._slow_reader is not None:
            self._slow_reader.cancel()
            self._slow_reader = None

    @property
    def _under_way(self) -> bool:
        """Whether a request waits for its answer. Nobody needs to send the next before, so no answer can be taken for another's."""
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]  # None until the first request

    def _refuse(self, code: str) -> None:
        """Answer and close; close only, if an answer has begun, is being prepared, or nothing was asked."""
        self._refused = True
        self._expect_nothing()
        if self.transport.is_closing():
            return
        answerable = self._head_bytes > 0
        if self._under_way:
            answerable = self._in_body and not self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not answerable:
            self.transport.close()
            return
        self.transport.write(_ANSWERS[code])
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self.transport.close)


def _guarded(app: App) -> App:
    """The application, with a net below it: what it failed to handle is logged by kind and place, never by text, and answered."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        started = False

        async def watched(message: dict[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, watched)
        except Exception as error:  # noqa: BLE001  the last net
            log.error("request failed: %s at %s", type(error).__name__, _line_of(error))  # noqa: TRY400  a traceback can quote data
            if not started:
                await _answer(send, "server.internal")

    return guarded


def _line_of(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "-" if trace is None else f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"


async def _answer(send: Send, code: str) -> None:
    body = json.write(operation_outcome([Fault(code)]))
    headers = [(b"content-type", b"application/fhir+json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": Fault(code).entry.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _constant_answer(code: str) -> bytes:
    body = json.write(operation_outcome([Fault(code)]))
    status = HTTPStatus(Fault(code).entry.status)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"content-type: application/fhir+json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


_ANSWERS: Final = {
    code: _constant_answer(code)
    for code in (
        "server.malformed",
        "server.too-slow",
        "server.too-large",
        "server.encoded",
        "server.headers-too-large",
    )
}


def _listen(server: Server) -> socket.socket:
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((server.host, server.port))
    except OSError as error:
        listener.close()
        raise Misconfigured(Fault("server.address-taken", "server.port", type(error).__name__)) from error
    return listener


def _url(listener: socket.socket, server: Server) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{'http' if server.tls is None else 'https'}://{host}:{listener.getsockname()[1]}"


def _tls(files: ServerTls, authentication: Authentication) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    demand = {"mtls": ssl.CERT_REQUIRED, "either": ssl.CERT_OPTIONAL}.get(authentication, ssl.CERT_NONE)
    try:
        context.load_cert_chain(files.certificate, files.key)
        if demand is not ssl.CERT_NONE:
            context.load_verify_locations(files.ca)
    except (OSError, TypeError) as error:  # ssl.SSLError is an OSError; TypeError: no file named
        raise Misconfigured(Fault("config.bad-certificate", "server.tls", type(error).__name__)) from None
    context.verify_mode = demand
    return context


def _tls_extension(transport: asyncio.BaseTransport) -> dict[str, dict[object, object]]:
    connection = transport.get_extra_info("ssl_object")
    certificate = None if connection is None else connection.getpeercert(binary_form=True)
    return {} if certificate is None else {"tls": {"client_certificate": certificate}}
