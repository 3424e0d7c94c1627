"""JSON Schema validators per resource type, compiled when first asked for, and what they find as faults with FHIRPaths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from jsonschema_rs import Draft202012Validator, ValidationError

from adapter.definitions import Element, Release, definitions
from adapter.errors import Fault, more
from adapter.validation.schema import schema_of, validator

MOST_VALUES: Final = 5_000
"""What has more is looked at in parts: a schema finds all faults before it tells the first, those of hostile input for seconds."""

Steps = tuple[str | int, ...]

_LIKE: Final = 0.75
"""How like an unknown name a known one must be (from 0 to 1, as ``difflib`` measures) to be meant by it."""

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
    """
    Everything that is wrong in the structure of a resource or an Extension that is not valid; ``where`` is its own FHIRPath.
    ``fhir.more`` where what is no list is so large that not all of it was looked at. At least one is an error.
    """
    is_told = False
    for steps, error in _errors(release, path, value):
        place = _Place(release, path, value, where)
        for step in steps:
            place.enter(step)
        yield from [more(place.where, 1)] if error is None else _as_faults(place, error)
        is_told = is_told or error is not None
    if not is_told:
        yield Fault("fhir.type", where, f"{release} structure")


def _errors(release: Release, path: str, value: Any) -> Iterator[tuple[Steps, ValidationError | None]]:
    """What is wrong, each with its place; None: more may be."""
    validator = _validator(release, path)
    if _values(value, MOST_VALUES):
        yield from _all_errors(validator, value)
        return
    large = [name for name, child in value.items() if not _values(child, MOST_VALUES // 100 + 1)]
    lists = [name for name in large if isinstance(value[name], list)]
    objects = {name: inner for name in set(large) - set(lists) if (inner := _inner(release, path, name, is_list=False))}
    rest = value | {name: [None] for name in lists} | {name: {} for name in objects}
    for steps, error in _errors_of_rest(validator, rest):
        if not (steps and (steps[0] in objects or (steps[0] in lists and len(steps) > 1))):
            yield steps, error
    for name, inner in objects.items():
        yield from (((name, *steps), error) for steps, error in _errors(release, inner, value[name]))
    for name in lists:
        yield from _errors_of_list(release, path, name, value[name])


def _all_errors(validator: Draft202012Validator, value: Any) -> Iterator[tuple[Steps, ValidationError]]:
    return ((tuple(error.instance_path), error) for error in validator.iter_errors(value))


def _errors_of_rest(validator: Draft202012Validator, value: Any) -> Iterator[tuple[Steps, ValidationError | None]]:
    """What is not told of a value elsewhere: all, if that is not too much."""
    if _values(value, MOST_VALUES):
        yield from _all_errors(validator, value)
        return
    try:
        validator.validate(value)
    except ValidationError as error:
        yield tuple(error.instance_path), error
        yield (), None


def _errors_of_list(
    release: Release, path: str, name: str, listed: list[Any]
) -> Iterator[tuple[Steps, ValidationError | None]]:
    """What is wrong with the items of a property: as many at a time as are not too much, one that is too much by itself."""
    validator = _validator(release, path)
    for start, items in _parts(listed):
        if _values(items, MOST_VALUES) or _is_any_object(release, path, name):
            found = _all_errors(validator, {name: items})
            inside = ((steps[1], steps[2:], error) for steps, error in found if len(steps) > 1)
            yield from (((name, start + int(index), *steps), error) for index, steps, error in inside)
        elif inner := _inner(release, path, name, is_list=True):
            yield from (((name, start, *steps), error) for steps, error in _errors(release, inner, items[0]))
        else:
            yield (name, start), None


def _parts(listed: list[Any]) -> Iterator[tuple[int, list[Any]]]:
    """A list in parts, each with the number of its first item, none with too many values but what is one item."""
    start, left = 0, MOST_VALUES
    for end in range(len(listed)):
        left = _values(listed[end : end + 1], left)
        if not left and end > start:
            yield start, listed[start:end]
            start, left = end, _values(listed[end : end + 1], MOST_VALUES)
    yield start, listed[start:]


def _inner(release: Release, path: str, name: str, *, is_list: bool) -> str | None:
    """The shape of a property that can be looked at by itself, since its element asks nothing more of it."""
    element = _property(release, path, name)
    inner = definitions(release).shape_of(element) if element else None
    if (
        element is None
        or inner is None
        or element.is_list != is_list
        or (element.binding and element.binding.strength == "required")
    ):
        return None
    return inner.path if (inner.path == "Extension") == (path == "Extension") else None


def _is_any_object(release: Release, path: str, name: str) -> bool:
    """Resources, and a resource's extensions, are looked into elsewhere."""
    element = _property(release, path, name)
    kind = element.type if element else ""
    return kind == "Resource" or (kind == "Extension" and path != "Extension")


def _property(release: Release, path: str, name: str) -> Element | None:
    shape = definitions(release).shape(path)
    return shape.properties.get(name) if shape else None


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
    kind: Any = error.kind  # typed as the union of all kinds, none of whose own fields is on the union
    keyword = kind.name
    code = _CODES.get(keyword, "fhir.type")
    if keyword == "required":
        yield place.missing(kind.property)
    elif keyword == "additionalProperties":
        numbers = {name: number for number, name in enumerate(place.value)}
        yield from (place.unknown(name, numbers[name]) for name in kind.unexpected)
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
        """The rule that is broken: ``R4 Task.status required http://hl7.org/fhir/ValueSet/task-status``, ``R4 dateTime``."""
        element = self.element
        if element is None:
            return f"{self.release} structure"
        match self.code(code):
            case "fhir.code" if element.binding:
                return f"{self.release} {element.path} required {element.binding.value_set}"
            case "fhir.format":
                return f"{self.release} {element.type}"
            case _:
                return f"{self.release} {element.path}"

    def missing(self, name: str) -> Fault:
        element = self.shape.properties.get(name) if self.shape else None
        why = f"{element.path} {element.min}..{element.max or '*'}" if element else "structure"
        return Fault("fhir.missing", where=f"{self.where}.{name}", why=f"{self.release} {why}")

    def unknown(self, name: str, number: int) -> Fault:
        """An unknown name may be anything that a person wrote: only its number is told, and a known one that it is like."""
        nearest = get_close_matches(name[:64], self.shape.properties, n=1, cutoff=_LIKE) if self.shape else []
        why = f"{self.release} {self.shape.path if self.shape else 'structure'}"
        named = (("nearest", nearest[0] if nearest else "-"),)
        return Fault("fhir.unknown-element", self.where, why, named=named, nth=number)


def _child(value: Any, step: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    return value[step] if isinstance(value, list) and isinstance(step, int) and step < len(value) else None
