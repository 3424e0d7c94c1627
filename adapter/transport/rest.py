"""
A FHIR transaction over HTTPS: the only module that opens connections to peers.

One client for each destination, with its own certificate, key and trusted issuers, so that no credential can reach another
origin. Nothing is taken from the environment, no redirect is followed, no cookie kept, no answer decompressed; every wait and
every size has a limit.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from joserfc import jws

from adapter.certs import signing_key
from adapter.consent.seal import Cleared, verify
from adapter.errors import Fault, Misconfigured
from adapter.settings import DestinationTls, DestinationToken, Link, Settings
from adapter.transport.address import AddressRefusedError, Lookup, PinnedResolver, lookup, network_of
from adapter.transport.receipt import LARGEST_ANSWER, Answer, Receipt, judge
from adapter.wire import json

CONNECT_TIMEOUT_S: Final = 5.0
IDLE_S: Final = 15.0
"""Idle connections are closed by us, before peers do: a request sent into a closing connection is lost."""
TOKEN_LIFE: Final = timedelta(minutes=2)
_REFUSAL_S: Final = 0.3
"""How long a look at a peer waits to be refused: with TLS 1.3 that comes after the handshake."""

_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
"""The last label of a host that resolvers read as an IPv4 address: 127.1, 2130706433, 0x7f.1."""

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class Rest:
    """
    The REST binding for every destination that has it, and the journal. Use as an asynchronous context manager, or call ``aclose``.

    Raises:
        Misconfigured: certificates or keys cannot be used, or an address in a url is of another network than it says.
    """

    def __init__(self, settings: Settings, *, clock: Clock = _now, look_up: Lookup = lookup) -> None:
        self._channels = {name: _Channel(place, link, clock, look_up) for name, (place, link) in settings.links.items()}

    async def send(self, cleared: Cleared) -> Receipt:
        verify(cleared)
        channel = self._channels.get(cleared.destination)
        if channel is None:
            return Receipt("refused", "config.no-such-destination", exposed=False)
        return await channel.send(cleared)

    async def reach(self, destination: str) -> str | None:
        """Why no connection comes about with a configured destination, as a ``peer.`` code; None if one does. Sends nothing."""
        return await self._channels[destination].reach()

    async def aclose(self) -> None:
        for channel in self._channels.values():
            await channel.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _Channel:
    """One link: its client, its pinned address, its token."""

    def __init__(self, place: str, link: Link, clock: Clock, look_up: Lookup) -> None:
        _check_literal(place, link)
        self._link = link
        self._clock = clock
        self._resolver = PinnedResolver(link.network, look_up)
        self._tls = _client_tls(place, link.tls)
        self._token = None if link.token is None else _Token(place, link.token, clock)
        self._client = httpx.AsyncClient(
            transport=AiohttpTransport(client=self._session, verify=self._tls, trust_env=False),
            headers={"User-Agent": "koord", "Accept-Encoding": "identity", "Prefer": "return=minimal"},
            timeout=httpx.Timeout(link.send_timeout_s, connect=CONNECT_TIMEOUT_S),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            follow_redirects=False,
            trust_env=False,
        )

    async def send(self, cleared: Cleared) -> Receipt:
        try:
            async with asyncio.timeout(self._link.send_timeout_s):
                answer = await self._post(cleared)
                if answer.status == 401 and self._token is not None:
                    answer = await self._post(cleared)
        except TimeoutError:
            return Receipt("retry", "peer.timeout")
        except (httpx.HTTPError, aiohttp.ClientError, OSError, _TooLargeError) as error:
            return self._broken(error)
        must_echo = self._link.echoes_request_id
        return judge(answer, request_id=cleared.request_id, must_echo=must_echo, now=self._clock())

    async def reach(self) -> str | None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await self._knock()
        except TimeoutError:
            return "peer.timeout"
        except AddressRefusedError:
            return "peer.address-refused"
        except ssl.SSLError:
            return "peer.certificate"
        except OSError:
            return "peer.unreachable"

    async def _knock(self) -> str | None:
        """Connect, and see whether the peer hangs up before it is asked anything: so it does if it refuses our certificate."""
        url = urlsplit(self._link.url)
        host, secure = url.hostname or "", url.scheme == "https"
        port = url.port or (443 if secure else 80)
        address = (await self._resolver.resolve(host, port))[0]["host"]
        tls = self._tls if secure else None
        reader, writer = await asyncio.open_connection(address, port, ssl=tls, server_hostname=host if secure else None)
        try:
            hung_up = await asyncio.wait_for(reader.read(1), _REFUSAL_S) == b""
        except TimeoutError:
            hung_up = False
        finally:
            # Closing would wait for the peer's farewell, longer than the loop may live.
            writer.transport.abort()
        refused = "peer.certificate" if secure else "peer.connection-lost"
        return refused if hung_up else None

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _post(self, cleared: Cleared) -> Answer:
        body = bytearray()
        url, headers = self._link.url, self._headers(cleared)
        async with self._client.stream("POST", url, content=cleared.body, headers=headers) as response:
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > LARGEST_ANSWER:
                    raise _TooLargeError
        return Answer(
            response.status_code,
            bytes(body),
            response.headers.get("content-type", ""),
            response.headers.get("x-request-id", ""),
            response.headers.get("retry-after", ""),
        )

    def _headers(self, cleared: Cleared) -> dict[str, str]:
        trace = sha256(cleared.correlation_id.encode()).hexdigest()[:32]
        headers = {
            "Content-Type": cleared.content_type,
            "Accept": cleared.content_type,
            "X-Request-Id": cleared.request_id,
            "X-Correlation-Id": cleared.correlation_id,
            "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01",
        }
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.mint()}"
        return headers

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            use_dns_cache=False,
            ssl=self._tls,
            limit=self._link.max_inflight,
            keepalive_timeout=IDLE_S,
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)

    def _broken(self, error: BaseException) -> Receipt:
        """No answer. What is certain is only that nothing arrived when no connection came about."""
        causes = tuple(_causes(error))
        if any(isinstance(cause, AddressRefusedError) for cause in causes):
            return Receipt("retry", "peer.address-refused", exposed=False)
        connected = not any(isinstance(cause, _NOT_CONNECTED) for cause in causes)
        if not connected:
            self._resolver.forget()
        for kinds, reason in _BROKEN:
            if any(isinstance(cause, kinds) for cause in causes):
                return Receipt("retry", reason, exposed=connected)
        return Receipt("retry", "peer.connection-lost", exposed=connected)


class _TooLargeError(Exception):
    """An answer of more than ``LARGEST_ANSWER`` bytes."""


_NOT_CONNECTED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
# The causes decide: httpx-aiohttp calls every broken connection a ConnectTimeout.
_BROKEN: Final[tuple[tuple[tuple[type[BaseException], ...], str], ...]] = (
    ((_TooLargeError,), "peer.answer-too-large"),
    ((ssl.SSLError, aiohttp.ClientSSLError), "peer.certificate"),
    (_NOT_CONNECTED, "peer.unreachable"),
    ((aiohttp.ServerTimeoutError,), "peer.timeout"),
    ((aiohttp.ClientResponseError,), "peer.garbage"),
)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


class _Token:
    """Makes a bearer token for each request, since each is good for one."""

    def __init__(self, place: str, token: DestinationToken, clock: Clock) -> None:
        self._issuer, self._audience, self._clock = token.issuer, token.audience, clock
        try:
            self._key = signing_key(token.key)
        except (OSError, ValueError) as error:
            raise Misconfigured(Fault("config.bad-key", f"{place}.token.key", type(error).__name__)) from None
        self._algorithm = "ES384" if self._key.key_type == "EC" else "RS384"

    def mint(self) -> str:
        now = self._clock()
        claims = {
            "iss": self._issuer,
            "sub": self._issuer,
            "aud": self._audience,
            "iat": int(now.timestamp()),
            "exp": int((now + TOKEN_LIFE).timestamp()),
            "jti": secrets.token_urlsafe(24),
        }
        header = {"alg": self._algorithm, "kid": self._key.kid, "typ": "JWT"}
        return jws.serialize_compact(header, json.write(claims), self._key, algorithms=[self._algorithm])


def _client_tls(place: str, files: DestinationTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks the chain and the host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if files.ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(files.ca)
        if files.certificate is not None:
            context.load_cert_chain(files.certificate, files.key)
    except OSError as error:  # ssl.SSLError is one
        raise Misconfigured(Fault("config.bad-certificate", f"{place}.tls", type(error).__name__)) from None
    return context


def _check_literal(place: str, link: Link) -> None:
    """An address in the url, in whatever way it is written, is not looked up by anyone, so it is checked here."""
    host = urlsplit(link.url).hostname or ""
    is_address = ":" in host or _NUMERIC.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None
    if is_address and network_of(host) != link.network:
        raise Misconfigured(Fault("config.bad-value", f"{place}.url", f"network = {link.network}"))
