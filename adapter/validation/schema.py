"""
The structure of FHIR resources as JSON Schema 2020-12, made from the definitions.

One schema per resource type, and one for extensions; every shape that it reaches is a ``$defs`` entry. The schema says what a schema can say
exactly: names, cardinalities, JSON types, formats with the calendar, required codes. A resource inside a resource is any
object here and is validated with its own schema. What remains (choices, references, invariants) is in ``invariants.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from jsonschema_rs import Draft202012Validator, RegexOptions

from adapter.definitions import Codes, Definitions, Element

_YEAR: Final = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_LEAP_YEAR: Final = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DAY: Final = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
_TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]{1,9})?"
_ZONE: Final = "(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_PARTIAL: Final = f"{_YEAR}(?:-(?:0[1-9]|1[0-2]))?"
_CHARACTERS: Final = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
_TEXT: Final = rf"{_CHARACTERS}*[^\s\x00-\x1f\ufffe\uffff]{_CHARACTERS}*"
_URI: Final = r"[^\s\x00-\x1f\ufffe\uffff]+"
_UUID: Final = "urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_OID: Final = r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+"


def _up_to(most: str) -> str:
    """A pattern of the whole numbers from 0 to this one, without leading zeros."""
    shorter = f"0|[1-9][0-9]{{0,{len(most) - 2}}}"
    as_long = (
        f"{most[:n]}[{1 if n == 0 else 0}-{int(most[n]) - 1}][0-9]{{{len(most) - n - 1}}}"
        for n in range(len(most))
        if int(most[n]) > (1 if n == 0 else 0)
    )
    return "|".join((shorter, *as_long, most))


FORMATS: Final = {
    "base64Binary": r"\s*(?:(?:[A-Za-z0-9+/]\s*){4})*(?:(?:[A-Za-z0-9+/]\s*){2}(?:=\s*){2}|(?:[A-Za-z0-9+/]\s*){3}=\s*|(?:[A-Za-z0-9+/]\s*){4})",
    "canonical": rf"(?:#|[A-Za-z][A-Za-z0-9+.\-]*:){_URI}",
    "code": r"[^\s\x00-\x1f]+(?: [^\s\x00-\x1f]+)*",
    "date": f"(?:{_PARTIAL}|{_DAY})",
    "dateTime": f"(?:{_PARTIAL}|{_DAY}(?:T{_TIME}{_ZONE})?)",
    "id": r"[A-Za-z0-9\-.]{1,64}",
    "instant": f"{_DAY}T{_TIME}{_ZONE}",
    "integer64": f"(?:-?(?:{_up_to(str(2**63 - 1))})|-{2**63})",
    "markdown": _TEXT,
    "oid": _OID,
    "string": _TEXT,
    "time": _TIME,
    "uri": _URI,
    "url": _URI,
    "uuid": _UUID,
    "xhtml": _TEXT,
}
"""What the text of each primitive type looks like; dates exist in the calendar. FHIR R4 datatypes.html, section 2.24.0.1; R5 datatypes.html, section 2.1.28.0.1."""

_URNS: Final = {
    "allOf": [
        {"if": {"pattern": "^urn:uuid:"}, "then": {"pattern": f"^{_UUID}$"}},
        {"if": {"pattern": "^urn:oid:"}, "then": {"pattern": f"^{_OID}$"}},
    ]
}
"""Also where a type allows any URI, one that says that it is a UUID or an OID has its form. FHIR R4 datatypes.html#uri."""

_NUMBERS: Final[dict[str, dict[str, Any]]] = {
    "boolean": {"type": "boolean"},
    "decimal": {"type": "number"},
    "integer": {"type": "integer"},
    "positiveInt": {"type": "integer", "minimum": 1},
    "unsignedInt": {"type": "integer", "minimum": 0},
}


def validator(schema: dict[str, Any], keywords: Mapping[str, type] | None = None) -> Draft202012Validator:
    """
    A schema, ready to run; ``keywords`` of its own by name. Regular expressions run in linear time: a hostile text cannot make
    them slow.
    """
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return Draft202012Validator(
        whole, pattern_options=RegexOptions(), validate_formats=False, keywords=dict(keywords or {})
    )


def schema_of(known: Definitions, path: str) -> dict[str, Any]:
    """
    The JSON Schema of a resource type or of ``Extension``.

    Only the schema of Extension goes into extensions, which may hold every data type; elsewhere they are any object, so that
    a resource's schema is small and quickly compiled.
    """
    whole = path == "Extension"
    objects = {reached: _object(known, reached, whole) for reached in _reached(known, path, whole)}
    return {
        "$ref": f"#/$defs/{path}",
        "$defs": objects | primitives(known),
    }


def _reached(known: Definitions, path: str, whole: bool) -> list[str]:  # noqa: FBT001  the cache wants plain arguments
    found: set[str] = set()
    waiting = [path, "Element"]
    while waiting:
        shape = known.shape(waiting.pop())
        if shape is not None and shape.path not in found:
            found.add(shape.path)
            inner = [known.shape_of(element) for element in shape.properties.values()]
            waiting += [each.path for each in inner if each is not None and (whole or each.path != "Extension")]
    return sorted(found)


@cache
def primitives(known: Definitions) -> dict[str, Any]:
    """The schemas of all primitive types, by the names under which others refer to them."""
    return {f"primitive:{name}": _primitive(known, name) for name in sorted(known.primitive_types)}


def _primitive(known: Definitions, name: str) -> dict[str, Any]:
    text = {"type": "string", "pattern": f"^{FORMATS[name]}$"} if name in FORMATS else {}
    urns = _URNS if name in {"canonical", "uri", "url"} else {}
    return {**known.limits(name), **text, **urns, **_NUMBERS.get(name, {})}


@cache
def _object(known: Definitions, path: str, whole: bool) -> dict[str, Any]:  # noqa: FBT001  the cache wants plain arguments
    """An object of this shape: known names only, what is required, and something besides its id (ele-1)."""
    shape = known.shape(path)
    if shape is None:
        raise ValueError(f"{path} has no shape")
    properties: dict[str, Any] = {}
    for element in shape.properties.values():
        properties[element.name] = _listed(element, _value(known, element, whole=whole))
        if known.has_companion(element):
            properties["_" + element.name] = _listed(element, {"$ref": "#/$defs/Element"})
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "minProperties": 1,
    }
    coded = [e.name for e in shape.properties.values() if known.has_companion(e) and not _may_be_absent(known, e)]
    if coded:
        schema["dependentRequired"] = {f"_{name}": [name] for name in coded}
    is_resource = path in known.resource_types
    if is_resource:
        properties["resourceType"] = {"const": path}
    elif path != "Element":  # whose id may stand beside a value
        schema["dependentSchemas"] = {"id": {"minProperties": 2}}
    required = [element for element in shape.elements if element.min and not element.is_choice]
    plain = [element.name for element in required if not _may_be_absent(known, element)]
    if plain or is_resource:
        schema["required"] = plain + ["resourceType"] * is_resource
    either = list(_either(element.name for element in required if _may_be_absent(known, element)))
    if either:
        schema["allOf"] = either
    return schema


def _may_be_absent(known: Definitions, element: Element) -> bool:
    """An extension may say why there is no value; not where the value must be one of certain codes."""
    bound = element.binding is not None and element.binding.strength == "required"
    return known.has_companion(element) and not bound


def _either(names: Iterator[str]) -> Iterator[dict[str, Any]]:
    """A required primitive may have extensions in place of its value."""
    for name in names:
        yield {"if": {"not": {"required": ["_" + name]}}, "then": {"required": [name]}}


def _listed(element: Element, schema: dict[str, Any]) -> dict[str, Any]:
    if not element.is_list:
        return schema
    if "enum" in schema:
        schema = {"enum": [*schema["enum"], None]}
    elif (
        schema.get("$ref", "").startswith("#/$defs/primitive:")
        or schema.get("$ref") == "#/$defs/Element"
        or "pattern" in schema
    ):
        schema = {"if": {"not": {"type": "null"}}, "then": schema}
    listed = {"type": "array", "minItems": 1, "items": schema}
    return listed if element.max is None else listed | {"maxItems": element.max}


def _value(known: Definitions, element: Element, *, whole: bool) -> dict[str, Any]:
    if element.type == "Resource" or (element.type == "Extension" and not whole):
        return {"type": "object"}
    shape = known.shape_of(element)
    if shape is None:
        return primitive_value(known, element)
    schema = {"$ref": f"#/$defs/{shape.path}"}
    required = element.binding is not None and element.binding.strength == "required"
    return {"allOf": [schema, _bound_object(known, element)]} if required else schema


def primitive_value(known: Definitions, element: Element) -> dict[str, Any]:
    """The value of a primitive: one of the codes that are required, or what its type allows (one of ``primitives``)."""
    if element.binding is not None and element.binding.strength == "required":
        return _bound_code(_codes(known, element))
    return {"$ref": f"#/$defs/primitive:{element.type}"}


def _bound_code(codes: Codes) -> dict[str, Any]:
    if codes.patterns:
        return {"type": "string", "pattern": f"^(?:{'|'.join(codes.patterns.values())})$"}
    return {"enum": sorted(codes.all)}


def _bound_object(known: Definitions, element: Element) -> dict[str, Any]:
    """What holds a coding of the value set: itself, in its list, or in the concept that it may have."""
    codes = _codes(known, element)
    parts = [Codes(by_system={system: listed}) for system, listed in codes.by_system.items()]
    parts += [Codes(patterns={system: pattern}) for system, pattern in codes.patterns.items()]
    codings = [
        {"properties": {"system": {"const": system}, "code": _bound_code(part)}, "required": ["system", "code"]}
        for part in parts
        for system in (*part.by_system, *part.patterns)
    ]
    coding: dict[str, Any] = {"anyOf": codings}
    concept = {"required": ["coding"], "properties": {"coding": {"contains": coding}}}
    forms = {
        "Coding": coding,
        "Quantity": coding,
        "CodeableConcept": concept,
        "CodeableReference": {"properties": {"concept": concept}},
    }
    if element.type not in forms:
        raise ValueError(f"{element.path}: a {element.type} has no code that a value set could require")
    # So that what is told is the element, not the parts of it that could be otherwise.
    return {"not": {"not": forms[element.type]}}


def _codes(known: Definitions, element: Element) -> Codes:
    if element.binding is None:
        raise ValueError(f"{element.path} has no binding")
    return known.codes(element.binding.value_set)
