"""
What the adapter's server says of itself (``GET /fhir/metadata``) as a published CapabilityStatement, for ``make profiles``.

It is what every server of ours says: without the region, the address and the login, which each has by its settings.
"""

# ruff: noqa: INP001  a script beside the data that it writes, not a package
from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final, cast

import terminology

from adapter.service.capability import PUBLISHED, capability_statement
from adapter.settings import Settings

Json = dict[str, Any]

_ANY: Final = cast(
    "Settings",
    SimpleNamespace(
        region=SimpleNamespace(name="region"),
        server=SimpleNamespace(base_url="https://koord.example", authentication="either"),
    ),
)


def resources(release: str) -> dict[str, Json]:
    """File name → resource, for ``r4`` or ``r5``."""
    told = capability_statement(_ANY, "R4" if release == "r4" else "R5")
    (rest,) = told["rest"]
    statement = {
        "resourceType": told["resourceType"],
        "id": PUBLISHED.rpartition("/")[2],
        "url": PUBLISHED,
        "version": terminology.VERSION,
        "name": "KoordServer",
        "title": "A server that takes and gives coordination records",
        "status": "draft",
        "experimental": False,
        "date": told["date"],
        "description": "What holds for every server of this adapter. Outside actors are sent transactions; only care providers read (PDL 5 kap. 4, 6 §§).",
        "kind": "capability",
        "software": {"name": told["software"]["name"]},
        "fhirVersion": told["fhirVersion"],
        "format": told["format"],
        "rest": [rest | {"security": {"cors": rest["security"]["cors"]}}],
    }
    return {f"CapabilityStatement-{statement['id']}.json": statement}
