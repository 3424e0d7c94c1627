"""
What an answer can be: what the gate has cleared, a FHIR resource of our own that is about no patient, or a JSON document.

``from_cleared`` is the only way for FHIR content about a patient to leave over HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import Request, Response

from adapter.consent.seal import Cleared, verify
from adapter.errors import AdapterError, Fault
from adapter.service.negotiation import language_asked, media_of_errors
from adapter.transport.outcome import operation_outcome
from adapter.wire import bodies, json
from adapter.wire.media import Media

RETRY_AFTER_S: Final = 2


def from_cleared(cleared: Cleared, *, etag: str = "") -> Response:
    """
    The gate's bytes as they are.

    Raises:
        Denied: the gate did not make this (``gate.not-cleared``).
    """
    verify(cleared)
    return Response(cleared.body, media_type=cleared.content_type, headers={"ETag": etag} if etag else None)


def resource(
    media: Media, content: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A resource that holds nothing about a patient: a receipt, a capability statement, an OperationOutcome."""
    return Response(bodies.write(content, media), status, headers, str(media))


def document(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON for the local system."""
    return Response(json.write(content), status, headers, "application/json")


def outcome(
    request: Request, status: int, faults: Iterable[Fault], *, headers: Mapping[str, str] | None = None
) -> Response:
    """The faults as an OperationOutcome, in the form and language that the caller asks for."""
    language = language_asked(request)
    told = {"Content-Language": language, **(headers or {})}
    return resource(media_of_errors(request), operation_outcome(faults, language), status=status, headers=told)


def refusal(request: Request, error: AdapterError) -> Response:
    """An error on its way out. Every route's errors pass here, and have one shape."""
    headers = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return outcome(request, error.status, error.faults, headers=headers)
