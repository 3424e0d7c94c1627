"""What is lost: everything that came and that the records, mapped out again, do not give back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from adapter.definitions import Release, definitions
from adapter.errors import Fault
from adapter.mapping.package import Resources


def losses(came: Resources, returned: Resources, release: Release) -> tuple[Fault, ...]:
    """
    Every leaf of ``came`` that ``returned`` does not hold, by path and value. Logical ids and the text of references
    that resolve are left out: they are rebuilt from business identifiers.
    """
    kept = Counter((path, value) for path, _, value in _leaves(returned))
    paths = {path for path, _ in kept}
    faults = []
    for path, where, value in _leaves(came):
        if kept[path, value] > 0:
            kept[path, value] -= 1
        elif _changes_meaning(release, path, value):
            faults.append(Fault("mapping.modifier", where))
        else:
            faults.append(Fault(f"mapping.{'changed' if path in paths else 'lost'}", where, severity="warning"))
    return tuple(faults)


_HARMLESS: Final[Mapping[str, Callable[[str], bool]]] = {
    "active": lambda value: value == "bool:True",
    "doNotPerform": lambda value: value == "bool:False",
    "use": lambda value: value not in {"str:old", "str:temp"},
}
"""Modifier elements that say what would be assumed without them."""


def _changes_meaning(release: Release, path: str, value: str) -> bool:
    """Whether a lost element changes how the rest must be read (FHIR: modifier elements and extensions)."""
    parts = path.split(".")
    if "modifierExtension" in parts or parts[-1] == "implicitRules":
        return True
    harmless = _HARMLESS.get(parts[-1])
    if harmless is not None and harmless(value):
        return False
    known = definitions(release)
    elements = (known.element(".".join(parts[:length])) for length in range(2, len(parts) + 1))
    return any(element is not None and element.is_modifier for element in elements)


def _leaves(resources: Resources) -> Iterator[tuple[str, str, str]]:
    """Each primitive of the resources: path without and with indexes, and its value as text."""
    for resource in resources.all:
        name = str(resource.get("resourceType"))
        inner = {key: value for key, value in resource.items() if key not in {"resourceType", "id"}}
        stack: list[tuple[str, str, Any]] = [(name, name, inner)]
        while stack:
            path, where, value = stack.pop()
            if isinstance(value, dict):
                stack.extend((f"{path}.{key}", f"{where}.{key}", item) for key, item in reversed(value.items()))
            elif isinstance(value, list):
                stack.extend((path, f"{where}[{n}]", item) for n, item in reversed(list(enumerate(value))))
            elif path.endswith(".reference") and isinstance(value, str) and resources.resolve(value):
                yield path, where, "→"
            elif value is not None:
                yield path, where, f"{type(value).__name__}:{value}"
