"""The code tables as FHIR terminology."""

# ruff: noqa: INP001  a script beside the data that it writes, not a package
from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def resources(release: str, version: str) -> dict[str, Json]:
    """File name → resource."""
    return {}
