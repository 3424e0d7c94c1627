"""In which form a body came, in which form and language the answer is wanted (FHIR R4 http.html, section 3.1.0.1.10-11)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, Literal

from fastapi import Request

from adapter.errors import Fault, Invalid, Language

Form = Literal["json", "xml"]

FORMS: Final[Mapping[str, Form]] = MappingProxyType(
    {
        "application/fhir+json": "json",
        "application/json": "json",
        "application/fhir+xml": "xml",
        "application/xml": "xml",
    }
)
WRITTEN: Final[Mapping[Form, str]] = MappingProxyType({"json": "application/fhir+json", "xml": "application/fhir+xml"})
"""How the answer's Content-Type names its form."""

_NAMED: Final[Mapping[str, Form]] = MappingProxyType({**FORMS, "json": "json", "xml": "xml"})
_QUALITY: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?", re.ASCII)
_RELEASES: Final = frozenset({"", "4.0", "4.0.1"})


def form_asked(request: Request) -> Form:
    """
    The form that ``_format`` or else Accept asks for; with neither, the one that the body came in, else JSON.

    Raises:
        Invalid: ``exchange.not-acceptable``.
    """
    formats = request.query_params.getlist("_format")
    if formats:
        # An unescaped plus sign in an address reads as a space: application/fhir+xml.
        found = _NAMED.get(formats[0].replace(" ", "+").lower()) if len(formats) == 1 else None
    else:
        found = _accepted(",".join(request.headers.getlist("accept")), _usual(request))
    if found is None:
        raise Invalid(Fault("exchange.not-acceptable", "_format" if formats else "Accept"))
    return found


def form_of_errors(request: Request) -> Form:
    """As ``form_asked``; JSON where that cannot be given."""
    try:
        return form_asked(request)
    except Invalid:
        return "json"


def form_sent(request: Request, *, only_json: bool = False) -> Form:
    """
    The form of the body.

    Raises:
        Invalid: ``exchange.media-type``.
    """
    kind, parameters = _media_type(request.headers.get("content-type", ""))
    form = FORMS.get(kind)
    readable = parameters.get("charset", "utf-8") == "utf-8" and parameters.get("fhirversion", "") in _RELEASES
    if form is None or not readable or (only_json and form != "json"):
        known = "application/json" if only_json else "application/fhir+json, application/fhir+xml"
        raise Invalid(Fault("exchange.media-type", "Content-Type", named=(("known", known),)))
    return form


def require_form_data(request: Request) -> None:
    """
    The body is what a form sends.

    Raises:
        Invalid: ``exchange.media-type``.
    """
    known = "application/x-www-form-urlencoded"
    if _media_type(request.headers.get("content-type", ""))[0] != known:
        raise Invalid(Fault("exchange.media-type", "Content-Type", named=(("known", known),)))


def language_asked(request: Request) -> Language:
    """Swedish if the caller puts it first, else English."""
    first = request.headers.get("accept-language", "").partition(",")[0]
    return "sv" if first.strip().lower().startswith("sv") else "en"


def _usual(request: Request) -> Form:
    return FORMS.get(_media_type(request.headers.get("content-type", ""))[0], "json")


def _accepted(accept: str, usual: Form) -> Form | None:
    """The form that is wanted most; of equals the first. None: none that there is (RFC 9110, section 12.5.1)."""
    best, most = None, 0.0
    for form, quality in _ranges(accept or "*/*", usual):
        if quality > most:
            best, most = form, quality
    return best


def _ranges(accept: str, usual: Form) -> Iterator[tuple[Form, float]]:
    for each in accept.split(","):
        kind, parameters = _media_type(each)
        form = usual if kind in {"*/*", "application/*"} else FORMS.get(kind)
        quality = parameters.get("q", "1")
        if form and parameters.get("fhirversion", "") in _RELEASES and _QUALITY.fullmatch(quality):
            yield form, float(quality)


def _media_type(text: str) -> tuple[str, dict[str, str]]:
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    pairs = (parameter.partition("=") for parameter in parameters)
    return kind, {name.strip(): value.strip().strip('"') for name, _, value in pairs}
