"""
A small public key infrastructure for tests and demos, and the reading of certificates that peers show.

What it makes has the form that Swedish healthcare knows: a function certificate names its holder by HSA-id in
the subject's ``serialNumber`` (SITHS e-id function certificates). It lives for days, not years, its root is
named as a test root, and nobody but the processes of one demo or test trusts it. Real certificates come from
the region's own issuer; the adapter only reads their files.
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from adapter.errors import Denied, Fault

LIFETIME = timedelta(days=7)
CLOCK_SLACK = timedelta(minutes=5)
"""Certificates hold from this long ago, so that a peer whose clock is behind can use them at once."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Two PEM files: a certificate (with its chain, if any) and its private key (PKCS #8, not encrypted, mode 0600)."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Two JSON files: a private JWK (mode 0600) and the JWK Set that holds only its public half."""

    private: Path
    public_set: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """A test certificate authority in a folder: ``certificate`` is what the others trust."""

    folder: Path
    certificate: Path
    _certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(
        cls, folder: Path, *, name: str = "ca", now: datetime | None = None, lifetime: timedelta = LIFETIME
    ) -> Self:
        """
        Make a new root in ``folder`` (made if absent): ``{name}.pem`` and ``{name}.key``.

        Raises:
            FileExistsError: one of the files is there already; a root is never replaced in silence.
        """
        folder.mkdir(parents=True, exist_ok=True)
        key = _new_key()
        subject = _subject("TEST koord root CA")
        builder = (
            _builder(subject, subject, key, _period(now, lifetime))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
        )
        certificate = builder.sign(key, hashes.SHA384())
        return cls(folder, _save(folder, name, certificate, key).certificate, certificate, key)

    @classmethod
    def load(cls, folder: Path, *, name: str = "ca") -> Self:
        """
        The root that ``create`` made in ``folder``.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file does not hold what it should.
        """
        path = folder / f"{name}.pem"
        key = serialization.load_pem_private_key((folder / f"{name}.key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("not an elliptic curve key")  # noqa: TRY004 - the file's content is wrong, not the caller's type
        return cls(folder, path, x509.load_pem_x509_certificate(path.read_bytes()), key)

    def issue_server(
        self,
        name: str,
        *,
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1"),
        now: datetime | None = None,
        lifetime: timedelta = LIFETIME,
    ) -> Credential:
        """A server certificate for ``hosts`` (DNS names and addresses), written as ``{name}.pem`` and ``{name}.key``."""
        key = _new_key()
        builder = _builder(_subject(hosts[0]), self._certificate.subject, key, _period(now, lifetime)).add_extension(
            x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False
        )
        return self._issue(name, builder, key, ExtendedKeyUsageOID.SERVER_AUTH)

    def issue_client(
        self, name: str, hsa_id: str, *, now: datetime | None = None, lifetime: timedelta = LIFETIME
    ) -> Credential:
        """A client certificate whose subject carries ``hsa_id`` as serialNumber, written as ``{name}.pem`` and ``{name}.key``."""
        key = _new_key()
        builder = _builder(_subject(name, hsa_id), self._certificate.subject, key, _period(now, lifetime))
        return self._issue(name, builder, key, ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(
        self,
        name: str,
        builder: x509.CertificateBuilder,
        key: ec.EllipticCurvePrivateKey,
        purpose: x509.ObjectIdentifier,
    ) -> Credential:
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(authority_key, critical=False)
        )
        return _save(self.folder, name, builder.sign(self._key, hashes.SHA384()), key)


def create_signing_key(folder: Path, name: str) -> SigningKey:
    """
    A new ES384 key for signed bearer tokens: ``{name}.jwk`` (private) and ``{name}.jwks`` (public set).

    The key's id is its RFC 7638 thumbprint, so that two keys never share one.

    Raises:
        FileExistsError: one of the files is there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, auto_kid=True)
    private, public_set = folder / f"{name}.jwk", folder / f"{name}.jwks"
    write_private(private, _json(key.as_dict(private=True)))
    write_private(public_set, _json({"keys": [key.as_dict(private=False)]}))
    return SigningKey(private, public_set)


def signing_key(path: Path) -> ECKey | RSAKey:
    """
    The private JWK in a file: EC P-384 or RSA of 2048 bits or more, with ``kid``.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else. The message names no part of it.
    """
    try:
        key = _signing(json.loads(path.read_bytes()))
    except (JoseError, ValueError, TypeError, LookupError):
        raise ValueError("not a private signing key") from None
    if not key.is_private:
        raise ValueError("not a private key")
    return key


def verifying_keys(path: Path) -> dict[str, ECKey | RSAKey]:
    """
    The public keys of a JWK Set by ``kid``: each EC P-384 or RSA of 2048 bits or more.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else, a private key, two keys of one kid, or nothing.
    """
    try:
        keys = [_signing(jwk) for jwk in json.loads(path.read_bytes())["keys"]]
    except (JoseError, ValueError, TypeError, LookupError):
        raise ValueError("not a set of signing keys") from None
    by_id = {key.kid: key for key in keys if key.kid}
    if not keys or len(by_id) != len(keys) or any(key.is_private for key in keys):
        raise ValueError("not a set of public keys, each with its own kid")
    return by_id


def new_audit_key() -> bytes:
    """A new Ed25519 private key (RFC 8032) that signs what is said of the audit log, as PEM (PKCS 8, not encrypted)."""
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def audit_key(path: Path) -> ed25519.Ed25519PrivateKey:
    """
    The Ed25519 private key in a PEM file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else. The message names no part of it.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not a private key") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")  # noqa: TRY004  the file is wrong, not the caller
    return key


def audit_public_key(path: Path) -> ed25519.Ed25519PublicKey:
    """
    The Ed25519 public key in a PEM file (SubjectPublicKeyInfo).

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a public key") from None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")  # noqa: TRY004  the file is wrong, not the caller
    return key


def peer_identity(der: bytes) -> str:
    """
    The HSA-id of the holder of a certificate (DER): the subject's only serialNumber, as written.

    The caller has verified the chain; this only reads.

    Raises:
        Denied: ``auth.refused``: not a certificate, or not exactly one serialNumber.
    """
    try:
        found = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    except ValueError:
        found = []
    if len(found) != 1 or not isinstance(found[0].value, str):
        raise Denied(Fault("auth.refused", "client certificate", "subject serialNumber"))
    return found[0].value


def write_private(path: Path, content: bytes) -> None:
    """
    Write a new file that only its owner may read (mode 0600 from its first moment).

    Raises:
        FileExistsError: the file is there already.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _signing(jwk: Any) -> ECKey | RSAKey:
    """The kinds of key that ES384 and RS384 need, and no other: a secret among them would invite algorithm confusion."""
    key: ECKey | RSAKey
    if jwk["kty"] == "EC":
        key = ECKey.import_key(jwk)
        strong = key.curve_name == "P-384"
    elif jwk["kty"] == "RSA":
        with warnings.catch_warnings(action="ignore"):  # joserfc warns of short keys; here they are refused
            key = RSAKey.import_key(jwk)
        strong = key.raw_value.key_size >= 2048
    else:
        strong = False
    if not strong or not key.kid:
        raise ValueError("another kind of key")
    return key


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def _subject(common_name: str, serial_number: str | None = None) -> x509.Name:
    parts = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "SE"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "TEST koord"),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    if serial_number is not None:
        parts.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial_number))
    return x509.Name(parts)


def _period(now: datetime | None, lifetime: timedelta) -> tuple[datetime, datetime]:
    start = now or datetime.now(UTC)
    return start - CLOCK_SLACK, start + lifetime


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, period: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(period[0])
        .not_valid_after(period[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _save(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Credential:
    saved = Credential(folder / f"{name}.pem", folder / f"{name}.key")
    pem = serialization.Encoding.PEM
    write_private(saved.key, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    write_private(saved.certificate, certificate.public_bytes(pem))
    return saved


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
