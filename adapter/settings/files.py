"""The files that the settings name: looked into before anything starts."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from adapter.certs import audit_key, signing_key, verifying_keys
from adapter.errors import Fault, Misconfigured
from adapter.settings.model import Settings


def check_files(settings: Settings) -> None:
    """
    Look into every file that the settings name: it is there, private keys are readable by us alone, certificates
    match their keys, key sets hold public signing keys.

    Raises:
        Misconfigured: every fault found.
    """
    faults = tuple(_file_faults(settings))
    if faults:
        raise Misconfigured(faults)


def _file_faults(settings: Settings) -> Iterator[Fault]:
    yield from _secret("store.key_file", settings.store.key_file)
    yield from _secret("store.id_key_file", settings.store.id_key_file)
    if settings.audit is not None:
        yield from _audit_key("audit.key_file", settings.audit.key_file)
    if (tls := settings.server.tls) is not None:
        yield from _pair("server.tls", tls.certificate, tls.key)
        yield from _authorities("server.tls.ca", tls.ca)
    for place, link in settings.links.values():
        if link.tls.certificate is not None and link.tls.key is not None:
            yield from _pair(f"{place}.tls", link.tls.certificate, link.tls.key)
        yield from _authorities(f"{place}.tls.ca", link.tls.ca)
        if link.token is not None:
            yield from _private_jwk(f"{place}.token.key", link.token.key)
    for number, peer in enumerate(settings.peers):
        yield from _public_jwks(f"peers[{number}].jwks", peer.jwks)
    for number, overlay in enumerate(settings.overlays):
        if not overlay.is_file():
            yield Fault("config.file-missing", f"overlays[{number}]")


def _secret(place: str, path: Path) -> Iterator[Fault]:
    """Secrets are for our eyes only: a mode that lets the group or others in is refused."""
    try:
        mode = path.stat().st_mode
    except OSError:
        yield Fault("config.file-missing", place)
        return
    if mode & 0o077:
        yield Fault("config.file-exposed", place)


def _audit_key(place: str, path: Path) -> Iterator[Fault]:
    secret = tuple(_secret(place, path))
    yield from secret
    if not secret:
        try:
            audit_key(path)
        except (OSError, ValueError):
            yield Fault("config.bad-key", place, "a private Ed25519 key in PEM, not encrypted")


def _pair(place: str, certificate: Path, key: Path) -> Iterator[Fault]:
    secret = tuple(_secret(f"{place}.key", key))
    yield from secret
    if not certificate.is_file():
        yield Fault("config.file-missing", f"{place}.certificate")
    elif not secret:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key)
        except (ssl.SSLError, OSError):
            yield Fault("config.bad-certificate", f"{place}.certificate", "a PEM certificate that belongs to its key")


def _authorities(place: str, path: Path | None) -> Iterator[Fault]:
    if path is None:
        return
    try:
        x509.load_pem_x509_certificates(path.read_bytes())
    except OSError:
        yield Fault("config.file-missing", place)
    except ValueError:
        yield Fault("config.bad-certificate", place, "PEM certificates")


def _private_jwk(place: str, path: Path) -> Iterator[Fault]:
    secret = tuple(_secret(place, path))
    yield from secret
    if not secret:
        try:
            signing_key(path)
        except (OSError, ValueError):
            yield Fault("config.bad-key", place, "a private JWK with kid: EC P-384 or RSA of 2048 bits or more")


def _public_jwks(place: str, path: Path | None) -> Iterator[Fault]:
    if path is None:
        return
    try:
        verifying_keys(path)
    except OSError:
        yield Fault("config.file-missing", place)
    except ValueError:
        yield Fault(
            "config.bad-key",
            place,
            "a JWK Set of public keys, each with its own kid: EC P-384 or RSA of 2048 bits or more",
        )
