"""
FHIR's media types: the form, and the release in the parameter ``fhirVersion`` (FHIR R5 http.html, section 3.2.0.1.16).

What names no release is R4, which came first here. So R4 is written without the parameter, and R5 with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from adapter.definitions import Release

Form = Literal["json", "xml"]
Version = Literal["4.0", "5.0"]
"""A release as the parameter, and our settings, write it."""

FORMS: Final[Mapping[str, Form]] = MappingProxyType(
    {
        "application/fhir+json": "json",
        "application/json": "json",
        "application/fhir+xml": "xml",
        "application/xml": "xml",
    }
)
RELEASES: Final[Mapping[str, Release]] = MappingProxyType({"4.0": "R4", "4.0.1": "R4", "5.0": "R5", "5.0.0": "R5"})
"""The releases by what ``fhirVersion`` may say."""
WRITTEN: Final = tuple(
    f"application/fhir+{form}{version}"
    for version in ("", "; fhirVersion=4.0", "; fhirVersion=5.0")
    for form in ("json", "xml")
)
"""What can be asked for and sent."""


@dataclass(frozen=True, slots=True)
class Media:
    """The form and the release of a body."""

    form: Form = "json"
    release: Release = "R4"

    def __str__(self) -> str:
        """As a Content-Type has it."""
        return f"application/fhir+{self.form}{'; fhirVersion=5.0' if self.release == 'R5' else ''}"


USUAL: Final = Media()
"""What is meant where nothing is said: JSON of R4."""


def media_type(text: str) -> tuple[str, dict[str, str]]:
    """A media type in lower case, and its parameters."""
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    pairs = (parameter.partition("=") for parameter in parameters)
    return kind, {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def media_of(text: str) -> Media | None:
    """What a Content-Type says that a body is; None if it is no FHIR that we know."""
    kind, parameters = media_type(text)
    form, release = FORMS.get(kind), RELEASES.get(parameters.get("fhirversion", "4.0"))
    return Media(form, release) if form and release else None
