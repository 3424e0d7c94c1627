"""JSON Schema validators per resource type, compiled when first asked for, and what they find as faults with FHIRPaths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from jsonschema_rs import Draft202012Validator, ValidationError

from adapter.definitions import Element, Release, definitions
from adapter.errors import Fault
from adapter.validation.schema import schema_of, validator

MOST_VALUES: Final = 5_000
"""A resource with more is told its first fault of structure only: finding all of a hostile one would take seconds."""

MOST_NAMES: Final = 20
"""Unknown names of one object; they all have the same place."""

_CODES: Final = {
    "additionalProperties": "fhir.unknown-element",
    "const": "fhir.type",
    "enum": "fhir.code",
    "maxItems": "fhir.too-many",
    "maxLength": "fhir.format",
    "maximum": "fhir.format",
    "minItems": "fhir.empty",
    "minProperties": "fhir.empty",
    "minimum": "fhir.format",
    "not": "fhir.code",
    "pattern": "fhir.format",
    "required": "fhir.missing",
}


def is_valid(release: Release, path: str, value: Any) -> bool:
    """The structure of a resource or an Extension is right; resources, and a resource's extensions, are not looked into."""
    return bool(_validator(release, path).is_valid(value))


def faults(release: Release, path: str, value: Any, where: str) -> Iterator[Fault]:
    """Everything that is wrong in the structure of a resource or an Extension; ``where`` is its own FHIRPath."""
    validator = _validator(release, path)
    errors = validator.iter_errors(value) if _values(value, MOST_VALUES) else _first_error(validator, value)
    for error in errors:
        yield from _as_faults(_Place(release, path, value, where), error)


def _first_error(validator: Draft202012Validator, resource: Any) -> Iterator[ValidationError]:
    try:
        validator.validate(resource)
    except ValidationError as error:
        yield error


def _values(value: Any, left: int) -> int:
    """What is left of a budget after counting the values of a resource, those of resources inside it left out; 0 if none."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    left = max(left - len(children), 0)
    for child in children:
        if left and not (isinstance(child, dict) and "resourceType" in child):
            left = _values(child, left)
    return left


@cache
def _validator(release: Release, path: str) -> Draft202012Validator:
    return validator(schema_of(definitions(release), path))


def fhirpath(release: Release, resource: Any, steps: Iterable[str | int]) -> str:
    """The FHIRPath of a place given by JSON names and indexes; it ends where the definitions know nothing more."""
    name = _type(release, resource)
    place = _Place(release, name, resource, name)
    for step in steps:
        place.enter(step)
    return place.where


def _as_faults(place: _Place, error: ValidationError) -> Iterator[Fault]:
    for step in error.instance_path:
        place.enter(step)
    kind: Any = error.kind  # typed as the union of all kinds, none of whose own fields is on the union
    keyword = kind.name
    code = _CODES.get(keyword, "fhir.type")
    if keyword == "required":
        yield place.missing(kind.property)
    elif keyword == "additionalProperties":
        for name in kind.unexpected[:MOST_NAMES]:
            yield place.unknown(name)
    elif code == "fhir.empty":
        yield Fault(code, where=place.where, why=f"{place.release} ele-1")
    else:
        yield Fault(place.code(code), where=place.where, why=place.rule(code))


def _type(release: Release, resource: Any) -> str:
    name = resource.get("resourceType") if isinstance(resource, dict) else None
    return name if isinstance(name, str) and name in definitions(release).resource_types else ""


class _Place:
    """A place in a resource: its FHIRPath, its value, and what the definitions say is there."""

    def __init__(self, release: Release, path: str, value: Any, where: str) -> None:
        self.release = release
        self.value = value
        self.where = where
        self.shape = definitions(release).shape(path)
        self.element: Element | None = None

    def enter(self, step: str | int) -> None:
        self.value = _child(self.value, step)
        if isinstance(step, str):
            self._enter_property(step)
        elif self.element is not None and self.element.is_list:
            self.where += f"[{step}]"
        if self.element is not None and self.element.type == "Resource":
            self.shape = definitions(self.release).shape(_type(self.release, self.value))

    def _enter_property(self, name: str) -> None:
        known = definitions(self.release)
        self.element = self.shape.properties.get(name.removeprefix("_")) if self.shape else None
        self.shape = None
        if self.element is not None:
            self.where += f".{self.element.base_name}"
            self.shape = known.shape("Element") if name.startswith("_") else known.shape_of(self.element)

    def code(self, code: str) -> str:
        """A code of an open code system is held by a pattern, and is still a code."""
        binding = self.element.binding if self.element else None
        return "fhir.code" if code == "fhir.format" and binding and binding.strength == "required" else code

    def rule(self, code: str) -> str:
        """The rule that is broken: ``R4 Task.status required binding``, ``R4 dateTime``."""
        if self.element is None:
            return f"{self.release} structure"
        what = {"fhir.code": f"{self.element.path} required binding", "fhir.format": self.element.type}
        return f"{self.release} {what.get(self.code(code), self.element.path)}"

    def missing(self, name: str) -> Fault:
        element = self.shape.properties.get(name) if self.shape else None
        why = f"{element.path} {element.min}..{element.max or '*'}" if element else "structure"
        return Fault("fhir.missing", where=f"{self.where}.{name}", why=f"{self.release} {why}")

    def unknown(self, name: str) -> Fault:
        """An unknown name may be anything that a person wrote: only the nearest known one is told."""
        nearest = get_close_matches(name[:64], self.shape.properties, n=1, cutoff=0) if self.shape else []
        why = f"{self.release} {self.shape.path if self.shape else 'structure'}"
        return Fault(
            "fhir.unknown-element", where=self.where, why=why, named=(("nearest", nearest[0] if nearest else "-"),)
        )


def _child(value: Any, step: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    return value[step] if isinstance(value, list) and isinstance(step, int) and step < len(value) else None
