"""
In which form and release a body came, in which form, release and language the answer is wanted (FHIR R4 http.html, section
3.1.0.1.10-11; R5 http.html, section 3.2.0.1.16).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from fastapi import Request

from adapter.definitions import Release
from adapter.errors import Fault, Invalid, Language
from adapter.wire.media import FORMS, RELEASES, USUAL, Form, Media, media_of, media_type

_NAMED: Final[Mapping[str, Form]] = MappingProxyType({**FORMS, "json": "json", "xml": "xml"})
_QUALITY: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?", re.ASCII)


def media_asked(request: Request) -> Media:
    """
    The form and release that ``_format`` or else Accept asks for; what they leave open is as the body came, else JSON and R4.

    Raises:
        Invalid: ``exchange.not-acceptable``.
    """
    formats = request.query_params.getlist("_format")
    if formats:
        # An unescaped plus sign in an address reads as a space: application/fhir+xml.
        found = _named(formats[0], _usual(request)) if len(formats) == 1 else None
    else:
        found = _accepted(",".join(request.headers.getlist("accept")), _usual(request))
    if found is None:
        raise Invalid(Fault("exchange.not-acceptable", "_format" if formats else "Accept"))
    return found


def media_of_errors(request: Request) -> Media:
    """As ``media_asked``; JSON of R4 where that cannot be given."""
    try:
        return media_asked(request)
    except Invalid:
        return USUAL


def media_sent(request: Request, *, only_json: bool = False) -> Media:
    """
    The form and release of the body.

    Raises:
        Invalid: ``exchange.media-type``.
    """
    text = request.headers.get("content-type", "")
    media = media_of(text)
    readable = media_type(text)[1].get("charset", "utf-8") == "utf-8"
    if media is None or not readable or (only_json and media.form != "json"):
        known = "application/json" if only_json else "application/fhir+json, application/fhir+xml"
        raise Invalid(Fault("exchange.media-type", "Content-Type", named=(("known", known),)))
    return media


def require_form_data(request: Request) -> None:
    """
    The body is what a form sends.

    Raises:
        Invalid: ``exchange.media-type``.
    """
    known = "application/x-www-form-urlencoded"
    if media_type(request.headers.get("content-type", ""))[0] != known:
        raise Invalid(Fault("exchange.media-type", "Content-Type", named=(("known", known),)))


def language_asked(request: Request) -> Language:
    """Swedish if the caller puts it first, else English."""
    first = request.headers.get("accept-language", "").partition(",")[0]
    return "sv" if first.strip().lower().startswith("sv") else "en"


def _usual(request: Request) -> Media:
    return media_of(request.headers.get("content-type", "")) or USUAL


def _named(text: str, usual: Media) -> Media | None:
    kind, parameters = media_type(text)
    form, release = _NAMED.get(kind.replace(" ", "+")), _release(parameters, usual)
    return Media(form, release) if form and release else None


def _accepted(accept: str, usual: Media) -> Media | None:
    """What is wanted most; of equals the first. None: none that there is (RFC 9110, section 12.5.1)."""
    best, most = None, 0.0
    for media, quality in _ranges(accept or "*/*", usual):
        if quality > most:
            best, most = media, quality
    return best


def _ranges(accept: str, usual: Media) -> Iterator[tuple[Media, float]]:
    for each in accept.split(","):
        kind, parameters = media_type(each)
        form = usual.form if kind in {"*/*", "application/*"} else FORMS.get(kind)
        quality, release = parameters.get("q", "1"), _release(parameters, usual)
        if form and release and _QUALITY.fullmatch(quality):
            yield Media(form, release), float(quality)


def _release(parameters: Mapping[str, str], usual: Media) -> Release | None:
    return RELEASES.get(parameters["fhirversion"]) if "fhirversion" in parameters else usual.release
