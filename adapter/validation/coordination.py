"""
The rules of coordination that FHIR does not know, by name.

* ``koord-no-diagnosis``: coordination interventions are journalled and told without diagnosis. Guideline of Västra
  Götalandsregionen on coordination interventions (KVÅ GC001, without diagnosis); patientdatalagen (2008:355) 2 kap. 4 §:
  personal data only for what care and its documentation need.
* ``koord-gc001``: an intervention is journalled under KVÅ GC001, whatever its kind. Same guideline; Socialstyrelsen, KVÅ.
* ``koord-subject``: the patient is given both as a reference and by identity number, so that no receiver has to guess.
  Inera's mapping rules for FHIR, GENERAL-006. Only for recipients that may have the number.

Each rule is a function of one resource or Bundle and its release, and gives every place where it is broken.
"""

from __future__ import annotations

import html
import re
import tomllib
import unicodedata
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from typing import Any, Final, Literal

from adapter.definitions import Release
from adapter.errors import Fault
from adapter.resources import folder
from adapter.validation.structure import fhirpath

Json = Mapping[str, Any]
Steps = tuple[str | int, ...]
Place = tuple[Any, str | int] | None
"""A place as its parent and the last step; None for the resource itself."""

MOST_FAULTS: Final = 1_000

INTERVENTION_KIND: Final = "https://koord.example/fhir/CodeSystem/intervention-kind"
INTERVENTION_CODE: Final = "GC001"

_DIAGNOSIS_OID: Final = re.compile(
    r"(?:urn:oid:)?(?:"
    r"1\.2\.752\.116\.1\.1\.1"  # ICD-10-SE and its editions. Source: code systems of Inera's certificate services
    r"|1\.2\.752\.116\.1\.3\.1\.4\.1"  # KSH97-P. Same source
    r"|2\.16\.840\.1\.113883\.6\.(?:3|42|90|103)"  # ICD-10, ICD-9, ICD-10-CM, ICD-9-CM. Source: HL7's OID registry
    r")(?:\.[0-9]+)*",
    re.IGNORECASE,
)
_DIAGNOSIS_NAME: Final = re.compile(
    r"(?<![a-z])(?:icd(?![a-z])|icd-?o|ksh[-_ ]?(?:19)?97|dsm(?![a-z])|icpc)", re.IGNORECASE
)
_HARMLESS_SYSTEM: Final = re.compile(r"https?://(?:terminology\.)?hl7\.org/|https://koord\.example/")
_CONDITION: Final = re.compile(r"(?:^|/)Condition(?:[/?|]|$)")

_ICD: Final = r"(?:[A-TV-Z][0-9]{2}(?:\.?[0-9X]{1,2}[A-Z]?|\.?[A-Z]|\.-)?|[acf-rtw-z][0-9]{2}(?:\.[0-9][0-9A-Za-z]?)?)"
"""A code of ICD-10's form. In lower case not b, d, e and s, which begin codes of ICF, nor v, which begins week numbers."""
_ICD_CODE: Final = re.compile(_ICD)
_ICD_IN_TEXT: Final = re.compile(rf"(?<![\w.]){_ICD}(?!\w|\.[0-9])")
_MAYBE_ICD: Final = re.compile(r"[A-Za-z][0-9]{2}")
_NO_TEXT: Final = tuple(
    (mark, re.compile(pattern))
    for mark, pattern in (
        ("://", r"(?<![a-z])[a-z][a-z0-9+.-]{0,20}://\S+"),
        ("urn:", r"urn:\S+"),
        ("@", r"(?<![^\s@])[^\s@]{1,64}@[^\s@]{1,255}"),
        ("-", r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"),
        ("SE", r"SE[0-9]{10}-[A-Z0-9]+"),  # HSA-ids
        (".", r"(?<![0-9.])[0-9]{1,20}(?:\.[0-9]{1,20}){3,}"),  # object identifiers
    )
)
"""Identifiers and addresses in prose, each with a mark without which there is none."""
_TAG: Final = re.compile(r"<[^<>]*>")
_SPOKEN: Final = re.compile(r"""\s(?:title|alt|summary|abbr)\s*=\s*("[^"]*"|'[^']*')""")
"""The attributes of XHTML that a reader is shown or told."""

_MEDICAL: Final = frozenset(
    f"{mark}{name}" for mark in ("", "_") for name in ("reasonCode", "reasonReference", "addresses", "diagnosis")
)
_REASONS: Final[Mapping[Release, frozenset[str]]] = {"R4": _MEDICAL, "R5": _MEDICAL | {"reason"}}
"""The elements that give a medical reason. In R4 ``reason`` is another thing: why a Provenance was recorded."""
_LINKS: Final = frozenset({"reference", "type", "url", "fullUrl", "uri", "valueUri", "valueUrl", "valueCanonical"})
_DATA: Final = frozenset({"data", "valueBase64Binary"})
_NO_PROSE: Final = _LINKS | _DATA | {
    "id", "system", "value", "code", "valueCode", "version", "versionId", "lastUpdated", "profile", "source", "line",
    "postalCode", "etag", "hash", "contentType", "resourceType", "valueId", "valueOid", "valueUuid", "valueDateTime",
    "implicitRules", "instantiatesCanonical", "instantiatesUri",
}  # fmt: skip
"""Names whose text is no prose: identifiers and addresses; codes, links and data are looked at in their own way."""


def diagnosis_content(resource: Json, release: Release = "R4") -> list[Fault]:
    """
    Every sign of a diagnosis in a resource or Bundle, at any depth.

    Condition resources and links to them; anything in a code system of diagnoses; a code of ICD-10's form in a system that
    is not HL7's or ours; the elements that give a medical reason (reasonCode, reasonReference, addresses); and prose, also
    in narratives and text attachments, in which a word has ICD-10's form. Identifiers, addresses and dates are no prose.
    """
    found: list[Place] = []
    _gather("", resource, None, found, _REASONS[release])
    why = "koord-no-diagnosis: PDL 2 kap. 4 §; VGR, riktlinje om koordineringsinsatser"
    where = dict.fromkeys(fhirpath(release, resource, _steps(place)) for place in found[:MOST_FAULTS])
    return [Fault("fhir.diagnosis", where=each, why=why) for each in where]


def intervention_code(resource: Json, release: Release = "R4") -> list[Fault]:
    """Tasks that name a kind of intervention but not KVÅ GC001."""
    return [
        Fault(
            "fhir.gc001",
            where=fhirpath(release, resource, (*steps, "code")),
            why="koord-gc001: VGR, riktlinje om koordineringsinsatser; Socialstyrelsen, KVÅ",
        )
        for steps, inner in _resources(resource, ())
        if inner["resourceType"] == "Task" and not _is_coded(inner.get("code"))
    ]


def subject_known(resource: Json, release: Release = "R4") -> list[Fault]:
    """Tasks, care plans and consents whose patient is not given by both reference and identity number."""
    elements = {"Task": "for", "CarePlan": "subject", "Consent": "patient" if release == "R4" else "subject"}
    return [
        Fault(
            "fhir.subject",
            where=fhirpath(release, resource, (*steps, element)),
            why="koord-subject: Inera, GENERAL-006",
        )
        for steps, inner in _resources(resource, ())
        if (element := elements.get(inner["resourceType"])) and not _is_identified(inner.get(element))
    ]


RULES: Final[Mapping[str, Callable[[Json, Release], list[Fault]]]] = {
    "koord-no-diagnosis": diagnosis_content,
    "koord-gc001": intervention_code,
    "koord-subject": subject_known,
}


def _gather(name: str, value: Any, place: Place, found: list[Place], reasons: frozenset[str]) -> None:
    """Adds the places of signs in what stands under a name; the items of a list stand under the list's name."""
    if name in reasons:
        found.append(place)
    elif isinstance(value, str):
        if _tells(name, value):
            found.append(place)
    elif isinstance(value, dict):
        if value.get("resourceType") == "Condition" or _is_diagnosis(value):
            found.append(place)
        for inner, child in value.items():
            _gather(inner, child, (place, inner), found, reasons)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _gather(name, child, (place, index), found, reasons)


def _steps(place: Place) -> Steps:
    return () if place is None else (*_steps(place[0]), place[1])


def _is_diagnosis(value: Json) -> bool:
    """A coding, identifier or quantity of a system of diagnoses, or with a code of ICD-10's form in an unknown one."""
    system, code = value.get("system"), value.get("code")
    judged = _judge(system) if isinstance(system, str) else "by form"
    if judged != "by form":
        return judged == "diagnoses"
    return isinstance(code, str) and _ICD_CODE.fullmatch(_plain(code).strip()) is not None


@lru_cache(maxsize=1_024)
def _judge(system: str) -> Literal["diagnoses", "harmless", "by form"]:
    """What the codes of a system are. One object identifier has been used for KVÅ and for ICD-10: there the form decides."""
    if system.strip() in _kva_systems():
        return "by form"
    if _DIAGNOSIS_OID.fullmatch(system.strip()) or _DIAGNOSIS_NAME.search(system):
        return "diagnoses"
    return "harmless" if _HARMLESS_SYSTEM.match(system) else "by form"


def _tells(name: str, text: str) -> bool:
    if name in _LINKS:
        return _CONDITION.search(text) is not None
    if name in _DATA:
        return _in_prose(_decoded(text))
    if name in _NO_PROSE:
        return False
    if name == "div":
        return any(
            _in_prose(html.unescape(form)) for form in (_TAG.sub("", text), _TAG.sub(" ", text), *_SPOKEN.findall(text))
        )
    return _in_prose(text)


def _in_prose(text: str) -> bool:
    plain = _plain(text)
    if not _MAYBE_ICD.search(plain):
        return False
    for mark, pattern in _NO_TEXT:
        if mark in plain:
            plain = pattern.sub(" ", plain)
    return _ICD_IN_TEXT.search(plain) is not None


def _plain(text: str) -> str:
    """Without what only disguises: full-width letters and digits, invisible characters."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text)
    return "".join(character for character in folded if unicodedata.category(character) != "Cf")


def _decoded(text: str) -> str:
    """The text in base64 data, as far as it is text."""
    try:
        return b64decode(text, validate=False).decode("utf-8")
    except ValueError:
        return ""


def _resources(resource: Any, steps: Steps) -> Iterator[tuple[Steps, Json]]:
    """A resource and those in it, where FHIR lets resources stand: contained, in a Bundle's entries, in Parameters."""
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        return
    yield steps, resource
    for index, inner in enumerate(_list(resource, "contained")):
        yield from _resources(inner, (*steps, "contained", index))
    for name in ("entry", "parameter"):
        for index, item in enumerate(_list(resource, name)):
            if isinstance(item, dict):
                yield from _resources(item.get("resource"), (*steps, name, index, "resource"))


def _list(resource: Json, name: str) -> list[Any]:
    items = resource.get(name)
    return items if isinstance(items, list) else []


def _is_coded(code: Any) -> bool:
    """A concept names no kind of intervention, or GC001 beside it."""
    codings = code.get("coding") if isinstance(code, dict) else None
    listed = [coding for coding in codings if isinstance(coding, dict)] if isinstance(codings, list) else []
    if not any(coding.get("system") == INTERVENTION_KIND for coding in listed):
        return True
    return any(
        coding.get("code") == INTERVENTION_CODE and str(coding.get("system")) in _kva_systems() for coding in listed
    )


def _is_identified(reference: Any) -> bool:
    if not isinstance(reference, dict) or not reference.get("reference"):
        return False
    identifier = reference.get("identifier")
    return isinstance(identifier, dict) and bool(identifier.get("system") and identifier.get("value"))


@cache
def _kva_systems() -> frozenset[str]:
    table = tomllib.loads((folder("mappings") / "codes" / "kva.toml").read_text("utf-8"))
    return frozenset({table["system"], *table["accept_systems"]})
