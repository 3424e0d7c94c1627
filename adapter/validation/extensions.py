"""Where an extension may stand. FHIR R4 defining-extensions.html#context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from adapter.definitions import Definitions


@lru_cache(maxsize=4_096)
def may_stand(contexts: tuple[tuple[str, str], ...], known: Definitions, parent: tuple[str, ...]) -> bool:
    """
    One of the contexts of an extension's definition allows its parent: a resource type and the FHIRPath names below it.

    A context of kind ``element`` is a path or a type, also one that the parent's type is made from; ``Element`` is every place,
    resources among them, as HL7 itself uses it. Contexts of the kinds ``extension`` (which only asks that there is one around) and
    ``fhirpath`` (not run here) allow more than they say.
    """
    paths = set(_paths(known, parent))
    return any(
        expression in paths if kind == "element" else kind == "fhirpath" or "extension" in parent[-1:]
        for kind, expression in contexts
    )


def _paths(known: Definitions, parent: Sequence[str]) -> Iterator[str]:
    """All that the parent may be called: its path, its types, and what these are made from."""
    path = ".".join(parent)
    yield path
    yield "Element"
    if len(parent) == 1:
        yield from known.lineage(path)
        return
    element = known.element(path) or known.element(f"{path}[x]")
    if element is None:
        return
    yield element.path
    yield element.content
    for kind in element.types:
        yield from known.lineage(kind.code)
