"""
Encryption at rest and keyed hashes.

Bodies are sealed with AES-256-GCM (NIST SP 800-38D, random 96-bit nonces). The associated data is the row that a body
belongs to, so a ciphertext moved to another row does not open. Every key of the ring opens; the newest seals. A key's id
is computed from the key, so ids cannot be mixed up. One key seals at most 2³² bodies: add a key long before that.

Hashes of personal things (identity numbers, bodies) are HMAC-SHA256: without the key they cannot be found by trying.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import tomllib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapter.errors import Fault, Misconfigured, StoreFault

KEY_BYTES = 32
_ID = 8
_NONCE = 12
_CHECK = b"koord store"
_HEADER = """\
# The keys of one koord store. Without this file nothing in the store can be read: keep a copy in a safe place.
# index: keyed hashes (patients, digests, audit chain); it never changes.
# bodies: all of them open, the last one seals.
"""


class Keys:
    """The key ring of one store. Shows nothing of itself in ``repr``."""

    def __init__(self, *, index: bytes, bodies: Sequence[bytes]) -> None:
        """
        Raises:
            ValueError: no body key, or a key that is not 32 bytes.
        """
        if not bodies or any(len(key) != KEY_BYTES for key in (index, *bodies)):
            raise ValueError(f"one index key and at least one body key, each of {KEY_BYTES} bytes")
        self._ciphers = {_id_of(key): AESGCM(key) for key in bodies}
        self._newest = _id_of(bodies[-1])
        self._patients = hmac.digest(index, b"patients", "sha256")
        self._digests = hmac.digest(index, b"digests", "sha256")
        self._audit = hmac.digest(index, b"audit", "sha256")

    def __repr__(self) -> str:
        return f"<Keys: {len(self._ciphers)} body keys>"

    def patient_key(self, identity: str) -> str:
        """The patient's key in the store: 64 hexadecimal digits. ``identity`` is the canonical ``system|value``."""
        return hmac.digest(self._patients, identity.encode(), "sha256").hex()

    def fingerprint(self, data: bytes) -> bytes:
        """The keyed digest (32 bytes) by which the store tells two bodies apart."""
        return hmac.digest(self._digests, data, "sha256")

    def chain(self, previous: bytes, row: bytes) -> bytes:
        """The hash of an audit row that follows the one whose hash is ``previous``."""
        return hmac.digest(self._audit, previous + row, "sha256")

    def seal(self, body: bytes, *place: str | int) -> bytes:
        """Encrypt a body for the row that ``place`` names: key id, nonce, ciphertext with tag."""
        nonce = os.urandom(_NONCE)
        return self._newest + nonce + self._ciphers[self._newest].encrypt(nonce, body, _bound_to(place))

    def open(self, sealed: bytes, *place: str | int) -> bytes:
        """
        The body that was sealed for ``place``.

        Raises:
            StoreFault: ``store.unknown-key``, or ``store.tampered`` (changed, or moved from another row).
        """
        cipher = self._ciphers.get(sealed[:_ID])
        if cipher is None:
            raise StoreFault(Fault("store.unknown-key", where=str(place[0])))
        try:
            return cipher.decrypt(sealed[_ID : _ID + _NONCE], sealed[_ID + _NONCE :], _bound_to(place))
        except (InvalidTag, ValueError) as error:
            raise StoreFault(Fault("store.tampered", where=str(place[0]))) from error

    def checks(self) -> tuple[bytes, bytes]:
        """What a new store keeps, so that it can tell these keys from others: (sealed text, keyed hash)."""
        return self.seal(_CHECK, "store_info"), self.fingerprint(_CHECK)

    def fit(self, body_check: bytes, index_check: bytes) -> bool:
        """Whether a store with these checks was made with these keys (newer body keys may have been added)."""
        try:
            opened = self.open(body_check, "store_info")
        except StoreFault:
            return False
        return opened == _CHECK and hmac.compare_digest(index_check, self.fingerprint(_CHECK))


def make_key_file(path: Path) -> None:
    """
    Write new keys, for the owner's eyes only (mode 0600).

    Raises:
        Misconfigured: ``store.key-file-exists`` (keys are never overwritten), ``store.key-file-unwritable``.
    """
    _write_new(path, _file_text(secrets.token_bytes(KEY_BYTES), [secrets.token_bytes(KEY_BYTES)]))


def load_keys(path: Path) -> Keys:
    """
    Read a key file.

    Raises:
        Misconfigured: ``store.key-file-missing``, ``store.key-file-exposed`` (others than the owner may read or write
            it), ``store.key-file-malformed``.
    """
    index, bodies = _read(path)
    return Keys(index=index, bodies=bodies)


def add_body_key(path: Path) -> None:
    """
    Add a body key; from the next start it seals, and the older ones still open. The file is replaced in one step.

    Raises:
        Misconfigured: as ``load_keys``; ``store.key-file-unwritable``.
    """
    index, bodies = _read(path)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    _write_new(beside, _file_text(index, [*bodies, secrets.token_bytes(KEY_BYTES)]))
    beside.replace(path)


def _id_of(key: bytes) -> bytes:
    return sha256(b"koord body key" + key).digest()[:_ID]


def _bound_to(place: tuple[str | int, ...]) -> bytes:
    return "\0".join(map(str, place)).encode()


def _file_text(index: bytes, bodies: list[bytes]) -> str:
    listed = "".join(f'  "{b64encode(key).decode()}",\n' for key in bodies)
    return f'{_HEADER}index = "{b64encode(index).decode()}"\nbodies = [\n{listed}]\n'


def _write_new(path: Path, text: str) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise _unfit("exists", path) from None
    except OSError as error:
        raise _unfit("unwritable", path) from error


def _read(path: Path) -> tuple[bytes, list[bytes]]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except OSError as error:
        raise _unfit("missing", path) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _unfit("exposed", path)
    try:
        listed = tomllib.loads(content.decode("ascii"))
        index, bodies = (
            b64decode(listed["index"], validate=True),
            [b64decode(key, validate=True) for key in listed["bodies"]],
        )
        Keys(index=index, bodies=bodies)
    except (ValueError, KeyError, TypeError):
        raise _unfit("malformed", path) from None  # the parser's error quotes the line: a key
    return index, bodies


def _unfit(what: str, path: Path) -> Misconfigured:
    return Misconfigured(Fault(f"store.key-file-{what}", where="keys", named=(("path", str(path)),)))
