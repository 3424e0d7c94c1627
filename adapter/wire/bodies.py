"""A resource in a body of any media type that we know: the readers and writers of its form and release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapter.wire import LIMITS, Limits, json, xml
from adapter.wire.media import Media


def read(data: bytes, media: Media, *, limits: Limits = LIMITS) -> dict[str, Any]:
    """
    The resource in a body, as the strict readers give it.

    Raises:
        Unreadable: with the line and column of what is not accepted.
    """
    if media.form == "xml":
        return xml.read(data, limits=limits, release=media.release)
    found: dict[str, Any] = json.read(data, limits=limits, require_object=True)
    return found


def write(resource: Mapping[str, Any], media: Media) -> bytes:
    """A resource as a body."""
    return xml.write(resource, release=media.release) if media.form == "xml" else json.write(resource)
