"""
The invariants of other people's profiles, run as FHIRPath by fhirpathrs. Ours are compiled by hand (``own_invariants.py``).

The evaluator knows JSON and the names of primitive choices, but no types of FHIR. What it would judge wrongly for that
reason is not run, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Final

from adapter.definitions import Definitions

_EXTENSION: Final = re.compile(r"\bextension\(('[^']*')\)")
_COMPLEX_TYPE: Final = re.compile(r"(?:\bofType\(|\bas\(|\bis\(|\b(?:as|is)\s)\s*(?:FHIR\.)?[A-Z]\w*")
"""A question for a type that is not primitive."""

Runs = Callable[[Any, Any], bool | None]
"""An element and its resource → whether the invariant holds; None if that cannot be told here."""


def runs(known: Definitions, expression: str) -> Runs:
    """A FHIRPath expression as a function. An empty answer does not hold, as in HL7's own validators."""
    if _COMPLEX_TYPE.search(expression):
        return lambda value, resource: None  # noqa: ARG005  the same face as the others
    prepared = _EXTENSION.sub(r"extension.where(url=\1)", expression)
    return lambda value, resource: _evaluated(known, prepared, value, resource)


def _evaluated(known: Definitions, expression: str, value: Any, resource: Any) -> bool | None:
    from fhirpathrs import evaluate  # noqa: PLC0415  only for other people's profiles

    names = _choices(known)
    whole = _plain(resource, names)
    try:
        found = evaluate(expression, _plain(value, names), {"resource": whole, "rootResource": whole})
    except (RuntimeError, TypeError, ValueError):
        return None
    return found not in (False, None, [], [False])


@cache
def _choices(known: Definitions) -> Mapping[str, str]:
    """The JSON names of choices that are not primitive, with their FHIRPath names: ``valueCoding`` → ``value``."""
    shapes = [shape for name in known.types if (shape := known.shape(name))]
    inner = [known.shape_of(element) for shape in shapes for element in shape.elements]
    return {
        name: element.base_name
        for shape in (*shapes, *(each for each in inner if each))
        for name, element in shape.properties.items()
        if element.choice and not known.is_primitive(element.type)
    }


def _plain(value: Any, names: Mapping[str, str]) -> Any:
    """As the evaluator wants it: choices under their FHIRPath names, numbers that are not exact decimals."""
    if isinstance(value, dict):
        return {names.get(name, name): _plain(inner, names) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, names) for inner in value]
    return float(value) if isinstance(value, Decimal) else value
