"""
Cleared: bytes that the gate has let through, for one destination, at one moment. Nothing else is ever sent.

Ordinary code cannot make, subclass, copy, pickle or change one, and the seal over all of it tells a transport that the gate
made it: a queue holds references to records, never cleared bytes, and each attempt passes the gate anew.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, fields
from datetime import datetime
from hashlib import sha256
from typing import Final, NoReturn, Self, final

from adapter.consent.decide import Decision
from adapter.errors import Denied, Fault

Versioned = tuple[str, int]
"""The id of a record, ``system|value``, and its version."""


@dataclass(frozen=True, slots=True)
class Contents:
    """
    What is sealed. ``records`` and ``consent_versions`` are what the bytes tell and what allowed it; ``consent_version`` is the
    patient's counter that the decision was made on; ``explanation`` is the sender's canonical JSON.
    """

    body: bytes
    content_type: str
    destination: str
    request_id: str
    correlation_id: str
    cleared_at: datetime
    consent_version: int | None
    consent_versions: tuple[Versioned, ...]
    records: tuple[Versioned, ...]
    categories: tuple[str, ...]
    explanation: bytes


_FIELDS: Final = tuple(field.name for field in fields(Contents))


@final
class Cleared:
    """
    A sealed disclosure: the fields of ``Contents``, ``digest`` (SHA-256 of the body, hexadecimal), ``decision`` and the
    ``seal`` (HMAC-SHA256, hexadecimal). Only ``Sealer`` makes one.
    """

    __slots__ = (*_FIELDS, "decision", "digest", "key_id", "seal")

    body: bytes
    content_type: str
    destination: str
    request_id: str
    correlation_id: str
    cleared_at: datetime
    consent_version: int | None
    consent_versions: tuple[Versioned, ...]
    records: tuple[Versioned, ...]
    categories: tuple[str, ...]
    explanation: bytes
    decision: Decision
    digest: str
    key_id: str
    seal: str

    def __new__(cls, *_: object, **__: object) -> Self:
        raise TypeError("only the gate makes a Cleared")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Cleared has no subclasses")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Cleared does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Cleared does not change")

    def __copy__(self) -> NoReturn:
        raise TypeError("a Cleared is not copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a Cleared is not copied")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Cleared is not stored: send it, or clear it anew")

    def __repr__(self) -> str:
        return f"<Cleared for {self.destination}, {len(self.body)} bytes>"


class Sealer:
    """
    Makes Cleared with one key (at least 32 bytes). The gate holds it; nobody else does.

    Raises:
        ValueError: the key is too short.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("a seal key has at least 32 bytes")
        self._key_id = sha256(b"koord seal key" + key).hexdigest()[:16]
        _KEYS[self._key_id] = key

    def seal(self, contents: Contents, decision: Decision) -> Cleared:
        cleared: Cleared = object.__new__(Cleared)
        for name in _FIELDS:
            object.__setattr__(cleared, name, getattr(contents, name))
        object.__setattr__(cleared, "decision", decision)
        object.__setattr__(cleared, "digest", sha256(contents.body).hexdigest())
        object.__setattr__(cleared, "key_id", self._key_id)
        object.__setattr__(cleared, "seal", _mac(_KEYS[self._key_id], cleared))
        return cleared


def verify(cleared: object) -> None:
    """
    Whether this is what the gate sealed, unchanged. Every transport calls it before the first byte.

    Raises:
        Denied: it is not (``gate.not-cleared``).
    """
    if not isinstance(cleared, Cleared) or not _is_whole(cleared):
        raise Denied(Fault("gate.not-cleared", "transport"))


_KEYS: Final[dict[str, bytes]] = {}
"""The keys of this process's gates, by id. A Cleared never leaves the process, so neither does what verifies it."""


def _is_whole(cleared: Cleared) -> bool:
    try:
        same_body = cleared.digest == sha256(cleared.body).hexdigest()
        return same_body and hmac.compare_digest(cleared.seal, _mac(_KEYS[cleared.key_id], cleared))
    except (AttributeError, KeyError, TypeError):
        return False


def _mac(key: bytes, cleared: Cleared) -> str:
    """HMAC-SHA256 over every field with its length in front, so that no two contents have the same text."""
    mac = hmac.new(key, digestmod="sha256")
    for name in _FIELDS:
        value = getattr(cleared, name)
        part = value if isinstance(value, bytes) else repr(value).encode()
        mac.update(f"{name} {len(part)} ".encode())
        mac.update(part)
    return mac.hexdigest()
