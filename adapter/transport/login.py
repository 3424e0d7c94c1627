"""
Who is calling: by the certificate that TLS has verified, or by a bearer token that the caller has signed for this one call.

A token is a JWT as in SMART Backend Services and RFC 7523: ``iss`` and ``sub`` are the peer's id in the settings, ``aud`` is
our base url and nothing else, it lives at most five minutes, and its ``jti`` is used once. Algorithms are ES384 and RS384,
and each goes with its own kind of key. Whatever is wrong, the caller reads the same constant text.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol, get_args

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from adapter.certs import peer_identity, verifying_keys
from adapter.errors import AdapterError, Denied, Fault, Misconfigured
from adapter.settings import Peer, Role, Settings
from adapter.sweden import HsaId, OrganisationNumber
from adapter.wire import Limits, json

LONGEST_LIFE: Final = timedelta(minutes=5)
CLOCK_SLACK: Final = timedelta(seconds=30)
"""How far ahead of ours a caller's clock may be."""

_KEY_KINDS: Final[Mapping[str, type[ECKey | RSAKey]]] = {"ES384": ECKey, "RS384": RSAKey}
_BEARER: Final = re.compile(
    r"[Bb]earer ([A-Za-z0-9_-]{2,1024})\.([A-Za-z0-9_-]{2,2048})\.([A-Za-z0-9_-]{2,1024})", re.ASCII
)
_JTI: Final = re.compile(r"[!-~]{16,128}")
_SMALL: Final = Limits(size=2048, depth=4)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: ``peer`` is its id in the settings, ``roles`` what it may do, ``organisation`` whom it speaks for."""

    peer: str
    roles: frozenset[Role]
    organisation: HsaId | OrganisationNumber


class NotAuthenticated(Denied):
    """No credentials, or none that hold. ``reason`` is for our own log (closed list, no values); it never leaves."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(Fault(code))
        self.reason = reason


class SeenOnce(Protocol):
    """Whether a token is seen for the first time; durable, so that a restart does not forget."""

    def __call__(self, issuer: str, jti: str, /, *, expires: datetime, now: datetime) -> Awaitable[bool]: ...


class Login:
    """
    The door. Keys are read once, when it is made.

    Raises:
        Misconfigured: a peer's key set cannot be used.
    """

    def __init__(self, settings: Settings, seen_once: SeenOnce) -> None:
        self._authentication = settings.server.authentication
        self._audience = settings.server.base_url
        self._everyone = Caller("test", frozenset(get_args(Role)), settings.region.provider)
        self._seen_once = seen_once
        self._by_certificate = {peer.hsa_id.upper(): peer for peer in settings.peers if peer.hsa_id}
        self._by_token = {
            peer.id: (peer, _keys(f"peers[{number}].jwks", peer.jwks))
            for number, peer in enumerate(settings.peers)
            if peer.jwks is not None
        }

    async def caller(self, scope: Mapping[str, Any], *, now: datetime) -> Caller:
        """
        Who sent the request with this ASGI scope. If it shows both a certificate and a token, both must hold and agree.

        Raises:
            Denied: ``auth.required``, ``auth.refused`` (a NotAuthenticated, with the reason for our log).
        """
        if self._authentication == "none":
            return self._everyone
        certificate = self._certificate(scope) if self._authentication != "token" else None
        token = _authorization(scope) if self._authentication != "mtls" else None
        known = [self._peer_of(certificate)] if certificate is not None else []
        if token is not None:
            known.append(await self._signer_of(token, now))
        if not known:
            raise NotAuthenticated("auth.required", "nothing-shown")
        if len({peer.id for peer in known}) > 1:
            raise _refused("two-peers")
        return Caller(known[0].id, frozenset({known[0].role}), known[0].organisation)

    def _certificate(self, scope: Mapping[str, Any]) -> bytes | None:
        shown: bytes | None = scope.get("extensions", {}).get("tls", {}).get("client_certificate")
        return shown

    def _peer_of(self, certificate: bytes) -> Peer:
        try:
            peer = self._by_certificate.get(peer_identity(certificate).upper())
        except Denied:
            raise _refused("certificate-names-nobody") from None
        if peer is None:
            raise _refused("unknown-certificate")
        return peer

    async def _signer_of(self, authorization: bytes, now: datetime) -> Peer:
        found = _BEARER.fullmatch(authorization.decode("latin-1"))
        if found is None:
            raise _refused("not-a-token")
        header, claims = _object(found[1]), _object(found[2])
        peer, keys = self._by_token.get(_text(claims, "iss"), (None, {}))
        key = keys.get(_text(header, "kid"))
        if peer is None or key is None:
            raise _refused("unknown-key")
        _check_header(header, key)
        _check_signature(authorization[len("Bearer ") :].decode("ascii"), key)
        expires = self._check_claims(claims, peer, now)
        if not await self._seen_once(peer.id, claims["jti"], expires=expires, now=now):
            raise _refused("replayed")
        return peer

    def _check_claims(self, claims: Mapping[str, Any], peer: Peer, now: datetime) -> datetime:
        """When the token ends; RFC 7523 section 3."""
        issued, expires = _instant(claims, "iat"), _instant(claims, "exp")
        starts = _instant(claims, "nbf") if "nbf" in claims else issued
        if claims.get("sub") != peer.id:
            raise _refused("subject")
        if claims.get("aud") not in (self._audience, [self._audience]):
            raise _refused("audience")
        if max(issued, starts) > now + CLOCK_SLACK:
            raise _refused("not-yet")
        if expires <= now:
            raise _refused("expired")
        if not timedelta(0) < expires - issued <= LONGEST_LIFE:
            raise _refused("lives-too-long")
        if _JTI.fullmatch(_text(claims, "jti")) is None:
            raise _refused("jti")
        return expires


def _keys(place: str, path: Path) -> dict[str, ECKey | RSAKey]:
    try:
        return verifying_keys(path)
    except (OSError, ValueError) as error:
        raise Misconfigured(Fault("config.bad-key", place, type(error).__name__)) from None


def _authorization(scope: Mapping[str, Any]) -> bytes | None:
    shown = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(shown) > 1:
        raise _refused("two-tokens")
    return shown[0] if shown else None


def _object(part: str) -> dict[str, Any]:
    """A part of the token as JSON, read strictly: base64url without padding, an object, no key twice."""
    try:
        data = b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        value: dict[str, Any] = json.read(data, limits=_SMALL, require_object=True)
    except (binascii.Error, AdapterError):
        raise _refused("not-a-token") from None
    return value


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _instant(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 253_402_300_800:  # before year 10000; True is no time
        raise _refused("times")
    return datetime.fromtimestamp(value, UTC)


def _check_header(header: Mapping[str, Any], key: ECKey | RSAKey) -> None:
    """Only what we ask for may stand there: a key named, carried or linked to by the token itself is never looked at."""
    kind = _KEY_KINDS.get(_text(header, "alg"))
    if kind is None or not isinstance(key, kind):
        raise _refused("algorithm")
    if not header.keys() <= {"alg", "kid", "typ"} or header.get("typ", "JWT") != "JWT":
        raise _refused("header")


def _check_signature(token: str, key: ECKey | RSAKey) -> None:
    try:
        jws.deserialize_compact(token, key, algorithms=list(_KEY_KINDS))
    except (JoseError, ValueError):
        raise _refused("signature") from None


def _refused(reason: str) -> NotAuthenticated:
    return NotAuthenticated("auth.refused", reason)
