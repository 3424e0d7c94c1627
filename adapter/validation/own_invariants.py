"""
The invariants of our profiles (``koord-*`` in profiles/fsh) as functions, compiled by hand from their FHIRPath.

Each takes the JSON object of the element on which the profile states the invariant, and says whether it holds, in R4 and R5.
As in ``adapter.validation.invariants`` they never fail on an object of a wrong shape, which is reported elsewhere.
``koord-no-diagnosis`` and ``koord-gc001`` are the part of those rules that FHIRPath can tell; what stands in prose is looked
for by ``adapter.validation.coordination``. What every intervention is asked is stated as JSON Schema (``SAID``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from adapter.validation.invariants import Holds, Json, has, objects
from adapter.validation.schema import validator

_EXTENSION: Final = "https://koord.example/fhir/StructureDefinition/"
_DIAGNOSES: Final = (
    "https://www.icd10.se",
    "http://hl7.org/fhir/sid/icd-",
    "http://hl7.org/fhir/sid/icpc-",
    "urn:oid:1.2.752.116.1.1.1.",
    "urn:oid:1.2.752.116.1.3.1.4.1",
)
"""How the names of systems of diagnoses begin."""
_DIAGNOSES_OF_HL7: Final = frozenset(f"urn:oid:2.16.840.1.113883.6.{arc}" for arc in (3, 42, 90, 103))
_ALSO_KVA: Final = "urn:oid:1.2.752.116.1.1.1.1.1"
"""An object identifier that has been used for KVÅ and for ICD-10."""
_KVA: Final = (
    "urn:oid:1.2.752.116.1.3.2.1.4",
    "https://www.socialstyrelsen.se/statistik-och-data/klassifikationer-och-koder/kva/",
    _ALSO_KVA,
)
_KIND: Final = f"{_EXTENSION.removesuffix('StructureDefinition/')}CodeSystem/intervention-kind"
_SNOMED: Final = "http://snomed.info/sct"
_ACTS: Final = {"416409005": "2008355", "416308001": "2022913"}
"""Inner and outer spärr, and the number of the act in its address."""
_DAY: Final = 10
_SECOND: Final = 19
"""Characters of a date to the day, and to the second."""
_NUMBERS_OF_PERSONS: Final = ("http://electronichealth.se/identifier/", "urn:oid:1.2.752.129.2.1.3.")


def _extensions(value: Json, url: str) -> Iterator[Json]:
    return (each for each in objects(value, "extension") if each.get("url") == url)


def _ours(value: Json, name: str) -> Iterator[Json]:
    return _extensions(value, _EXTENSION + name)


def _descendants(value: Any) -> list[Json]:
    """Every object in a value, at any depth, in no order."""
    found: list[Json] = []
    waiting = [value] if isinstance(value, dict | list) else []
    while waiting:
        inner = waiting.pop()
        for child in inner.values() if isinstance(inner, dict) else inner:
            if isinstance(child, dict):
                found.append(child)
                waiting.append(child)
            elif isinstance(child, list):
                waiting.append(child)
    return found


def _is_of_diagnoses(system: Any) -> bool:
    if not isinstance(system, str) or system == _ALSO_KVA:
        return False
    return system.startswith(_DIAGNOSES) or system in _DIAGNOSES_OF_HL7


def _diagnoses(resource: Json) -> int:
    """How much in a resource is coded in a system of diagnoses."""
    return sum(_is_of_diagnoses(each.get("system")) for each in _descendants(resource))


def _leads_to_no_condition(resource: Json) -> bool:
    return not any(
        each.get("type") == "Condition" or _is_of_condition(each.get("reference")) for each in _descendants(resource)
    ) and not any(each.get("resourceType") == "Condition" for each in objects(resource, "contained"))


def _is_of_condition(reference: Any) -> bool:
    return isinstance(reference, str) and (reference.startswith("Condition/") or "/Condition/" in reference)


_NOT_CONDITION: Final = {"properties": {"resourceType": {"not": {"const": "Condition"}}}}
_NO_SIGN: Final = {
    "properties": {
        "system": {"$ref": "#/$defs/value", "not": {"$ref": "#/$defs/diagnoses"}},
        "reference": {"$ref": "#/$defs/value", "not": {"type": "string", "pattern": "(?:^|/)Condition/"}},
        "type": {"$ref": "#/$defs/value", "not": {"const": "Condition"}},
    },
    "additionalProperties": {"$ref": "#/$defs/value"},
    "items": {"$ref": "#/$defs/value"},
}
"""A value without anything coded in a system of diagnoses, or a link to a Condition, at any depth."""
_NO_DIAGNOSIS: Final = {
    "$id": "urn:koord:no-diagnosis",
    "properties": {
        "contained": {"$ref": "#/$defs/value", **_NOT_CONDITION, "items": _NOT_CONDITION},
    },
    "additionalProperties": {"$ref": "#/$defs/value"},
    "$defs": {
        "value": _NO_SIGN,
        "diagnoses": {
            "type": "string",
            "anyOf": [
                {"pattern": f"^(?:{'|'.join(map(re.escape, _DIAGNOSES))})"},
                {"enum": sorted(_DIAGNOSES_OF_HL7)},
            ],
            "not": {"const": _ALSO_KVA},
        },
    },
}
"""As ``_diagnoses`` and ``_leads_to_no_condition``."""


def _plan_diagnosis(plan: Json) -> bool:
    codes = [
        coding.get("system")
        for diagnosis in _ours(plan, "diagnosis")
        for code in _extensions(diagnosis, "code")
        for coding in objects(code, "valueCoding")
    ]
    in_their_place = sum(isinstance(each, str) and each.startswith(_DIAGNOSES[0]) for each in codes)
    return _diagnoses(plan) == in_their_place and _leads_to_no_condition(plan)


def _has_coding(**asked: str | tuple[str, ...]) -> dict[str, Any]:
    """The schema of a Task one of whose codes is as asked: name → constant, or all that it may be."""
    coding = {
        "type": "object",
        "required": [*asked],
        "properties": {name: {"enum": [each] if isinstance(each, str) else [*each]} for name, each in asked.items()},
    }
    codings = {"type": "array", "contains": coding}
    code = {"type": "object", "required": ["coding"], "properties": {"coding": codings}}
    return {"required": ["code"], "properties": {"code": code}}


_GC001: Final = {"if": _has_coding(system=_KIND), "then": _has_coding(system=_KVA, code="GC001")}
_SUBJECT_GIVEN: Final = {
    "anyOf": [{"required": [mark + name]} for name in ("reference", "identifier") for mark in ("", "_")]
}


def _offer_answer(task: Json) -> bool:
    return (task.get("status") in ("accepted", "rejected")) == any(_ours(task, "answered-on"))


def _informed_first(consent: Json) -> bool:
    given = consent.get("dateTime", consent.get("date"))
    told = (on.get("valueDateTime") for informed in _ours(consent, "informed") for on in _extensions(informed, "on"))
    return not any(_is_later(each, given) for each in told)


def _is_later(one: Any, other: Any) -> bool:
    """Of two dates of one precision, or two times of one zone, the first is the later; of others that is not known."""
    if not isinstance(one, str) or not isinstance(other, str) or len(one) != len(other):
        return False
    return (len(one) <= _DAY or one[_SECOND:] == other[_SECOND:]) and one > other


def _withdrawn_inactive(consent: Json) -> bool:
    return consent.get("status") == "inactive" or not any(_ours(consent, "withdrawn"))


def _withdrawn_by(consent: Json) -> bool:
    by_another = any(
        who.get("code") == "representative"
        for withdrawn in _ours(consent, "withdrawn")
        for by in _extensions(withdrawn, "by")
        for who in objects(by, "valueCoding")
    )
    return not by_another or has(consent, "performer", "grantor")


def _block_act(block: Json) -> bool:
    kinds = [
        coding.get("code")
        for category in objects(block, "category")
        for coding in objects(category, "coding")
        if coding.get("system") == _SNOMED
    ]
    acts = [policy.get("uri") for policy in objects(block, "policy")]
    acts += [basis.get("url") for basis in objects(block, "policyBasis")]
    return all(
        any(isinstance(act, str) and number in act for act in acts) for kind, number in _ACTS.items() if kind in kinds
    )


def _sick_leave_degree(extension: Json) -> bool:
    degrees = (each["valueInteger"] for each in _extensions(extension, "degree") if "valueInteger" in each)
    return all(degree in (25, 50, 75, 100) for degree in degrees)


def _no_condition(bundle: Json) -> bool:
    return not any(
        resource.get("resourceType") == "Condition"
        for entry in objects(bundle, "entry")
        for resource in objects(entry, "resource")
    )


def _entry_request(entry: Json) -> bool:
    named = {str(resource.get("id", "")) for resource in objects(entry, "resource")} or {""}
    return not has(entry, "request") or any(
        request.get("method") == "POST" or (request.get("method") == "PUT" and _ends(request.get("url"), named))
        for request in objects(entry, "request")
    )


def _ends(url: Any, names: Iterable[str]) -> bool:
    return isinstance(url, str) and any(url.endswith(f"/{name}") for name in names)


def _audit_refusal(event: Json) -> bool:
    refused = any(
        each.get("system") == "http://dicom.nema.org/resources/ontology/DCM" and each.get("code") == "110113"
        for each in objects(event, "type")
    )
    return not refused or not (has(event, "purposeOfEvent") or any(_told(each) for each in objects(event, "entity")))


def _told(entity: Json) -> bool:
    """Whether an entity other than the patient says which one it is."""
    other = any(each.get("code", "1") != "1" for each in objects(entity, "type"))
    return other and any(has(what, "identifier", "reference") for what in objects(entity, "what"))


def _audit_number(event: Json) -> bool:
    systems = (each.get("system") for each in _descendants(event))
    return not any(isinstance(system, str) and system.startswith(_NUMBERS_OF_PERSONS) for system in systems)


SAID: Final[Mapping[str, dict[str, Any]]] = {
    "koord-subject-given": _SUBJECT_GIVEN,
    "koord-no-diagnosis": _NO_DIAGNOSIS,
    "koord-gc001": _GC001,
}
"""Those that are asked of every intervention, as JSON Schema; what is no object breaks none."""


def _holds(schema: dict[str, Any]) -> Holds:
    return validator(schema).is_valid


OWN: Final[Mapping[str, Holds]] = {
    **{key: _holds(schema) for key, schema in SAID.items()},
    "koord-plan-diagnosis": _plan_diagnosis,
    "koord-offer-answer": _offer_answer,
    "koord-informed-first": _informed_first,
    "koord-withdrawn-inactive": _withdrawn_inactive,
    "koord-withdrawn-by": _withdrawn_by,
    "koord-block-act": _block_act,
    "koord-sick-leave-degree": _sick_leave_degree,
    "koord-no-condition": _no_condition,
    "koord-entry-request": _entry_request,
    "koord-audit-refusal": _audit_refusal,
    "koord-audit-number": _audit_number,
}
"""Key → whether it holds for the element on which a profile states it."""
