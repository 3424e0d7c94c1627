"""
Who takes part in the demo, and their settings: region A, which sends, and all that it may send to.

Organisation numbers of the two authorities are their own; the others are made up and hold their check digit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes
from typing import Any, Final, Literal

from adapter.certs import Credential, write_private
from adapter.definitions import Release
from adapter.store import make_key_file
from adapter.wire.media import RELEASES, Version

PROVIDER_A: Final = "TSTNMT2321000016-A000"
PROVIDER_B: Final = "TSTNMT2321000131-B000"
LOCAL_SYSTEM: Final = "TSTNMT2321000016-J001"
"""HSA-id in the certificate of region A's own coordination system: it hands over records, and looks what was received."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """A destination of region A. ``adapter``: it runs this adapter too; the others are stand-ins (``adapter.mock``)."""

    id: str
    type: str
    organisation_number: str | None = None
    hsa_id: str | None = None
    allows_protected_identity: bool = False
    format: Literal["json", "xml"] = "json"
    fhir_version: Version = "4.0"
    adapter: bool = False


RECEIVERS: Final = (
    Receiver("region-b", "vard", hsa_id=PROVIDER_B, adapter=True),
    Receiver("care-unit", "vard", hsa_id="TSTNMT2321000016-A002", allows_protected_identity=True),
    Receiver("fk", "forsakringskassan", "2021005521"),
    Receiver("fk-r5", "forsakringskassan", "2021005521", fhir_version="5.0"),
    Receiver("employer", "arbetsgivare", "5566778899"),
    Receiver("af", "arbetsformedlingen", "2021002114"),
    Receiver("municipality", "kommun", "2120009994", format="xml"),
    Receiver("samordningsforbund", "samordningsforbund", "2220009993"),
)


def release_of(recipient: str) -> Release:
    """The release of FHIR that a receiver reads; R4 if it is not one of ours."""
    return next((RELEASES[receiver.fhir_version] for receiver in RECEIVERS if receiver.id == recipient), "R4")


JOURNAL: Final = "journal"
"""Region A's own journal system, a stand-in: every disclosure is entered there."""


def server(host: str, port: int, credential: Credential, ca: Path) -> dict[str, Any]:
    """How an adapter is reached: over mutual TLS."""
    return {
        "host": host,
        "port": port,
        "base_url": f"https://{host}:{port}",
        "authentication": "mtls",
        "tls": {"certificate": str(credential.certificate), "key": str(credential.key), "ca": str(ca)},
    }


def sender_settings(
    folder: Path, urls: Mapping[str, str], credential: Credential, ca: Path, reached: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Region A's settings. ``urls``: the FHIR base of each receiver and of the journal, by id; ``credential``: what it shows
    them; ``reached``: its own ``server``.
    """
    return {
        "mode": "test",
        "region": {
            "name": "Region A",
            "provider": PROVIDER_A,
            "unit": "TSTNMT2321000016-A001",
            "organisation_number": "2321000016",
            "source_system": "TSTNMT2321000016-S001",
        },
        "store": _store(folder),
        "server": dict(reached),
        "destinations": [_destination(receiver, urls[receiver.id], credential, ca) for receiver in RECEIVERS],
        "journal": {"required": True, **_link(urls[JOURNAL], credential, ca)},
        "peers": [{"id": "local-system", "role": "local-system", "hsa_id": LOCAL_SYSTEM, "organisation": PROVIDER_A}],
    }


def receiver_settings(folder: Path, reached: Mapping[str, Any]) -> dict[str, Any]:
    """Region B's settings: it sends to nobody, takes from region A, and lets its own system look."""
    return {
        "mode": "test",
        "region": {
            "name": "Region B",
            "provider": PROVIDER_B,
            "unit": "TSTNMT2321000131-B001",
            "organisation_number": "2321000131",
            "source_system": "TSTNMT2321000131-S001",
        },
        "store": _store(folder),
        "server": dict(reached),
        "peers": [
            {"id": "region-a", "role": "care-provider", "hsa_id": PROVIDER_A, "organisation": PROVIDER_A},
            {"id": "local-system", "role": "local-system", "hsa_id": LOCAL_SYSTEM, "organisation": PROVIDER_B},
        ],
    }


def make_keys(folder: Path) -> None:
    """The secrets that both settings name."""
    folder.mkdir(parents=True, exist_ok=True)
    make_key_file(folder / "store.keys")
    write_private(folder / "id.key", token_bytes(32))


def as_toml(settings: Mapping[str, Any]) -> str:
    """Settings as the text of a ``koord.toml``."""
    return "\n".join(_lines(settings, "")) + "\n"


def _store(folder: Path) -> dict[str, str]:
    return {
        "path": str(folder / "koord.sqlite"),
        "key_file": str(folder / "store.keys"),
        "id_key_file": str(folder / "id.key"),
    }


def _destination(receiver: Receiver, url: str, credential: Credential, ca: Path) -> dict[str, Any]:
    told = {
        "id": receiver.id,
        "recipient": receiver.type,
        "organisation_number": receiver.organisation_number,
        "hsa_id": receiver.hsa_id,
        "allows_protected_identity": receiver.allows_protected_identity,
        "format": receiver.format,
        "fhir_version": receiver.fhir_version,
        **_link(url, credential, ca),
    }
    return {name: value for name, value in told.items() if value is not None}


def _link(url: str, credential: Credential, ca: Path) -> dict[str, Any]:
    return {
        "url": url,
        "network": "loopback",
        "production": False,
        "tls": {"ca": str(ca), "certificate": str(credential.certificate), "key": str(credential.key)},
    }


def _lines(table: Mapping[str, Any], above: str) -> Iterator[str]:
    """Plain values first, then tables: in TOML what follows a table belongs to it. JSON's strings are TOML's."""
    for name, value in table.items():
        if not isinstance(value, dict | list):
            yield f"{name} = {json.dumps(value, ensure_ascii=False)}"
    for name, value in table.items():
        path = f"{above}{name}"
        if isinstance(value, dict):
            yield f"[{path}]"
            yield from _lines(value, f"{path}.")
        for item in value if isinstance(value, list) else ():
            yield f"[[{path}]]"
            yield from _lines(item, f"{path}.")
