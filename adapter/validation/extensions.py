"""Where an extension may stand (FHIR R4 defining-extensions.html#context), and which parts it may have (extensibility.html#Extension.url)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from adapter.definitions import Definitions
from adapter.profiles import Node


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


def undefined_parts(definition: Node, extension: Mapping[str, Any]) -> Iterator[tuple[str | int, ...]]:
    """
    The steps to each part of an extension whose url is a name that the definition does not give: a relative url is nothing but a
    name from there. Extensions of others, by absolute urls, may stand beside the parts.
    """
    whole, given = definition.children.get("extension"), extension.get("extension")
    if whole is None or whole.max == 0 or not isinstance(given, list):
        return
    defined = {part.children["url"].fixed: part for part in whole.slices.values() if "url" in part.children}
    for index, part in enumerate(given):
        url = part.get("url") if isinstance(part, dict) else None
        if not isinstance(url, str):
            continue
        if url in defined:
            yield from (("extension", index, *steps) for steps in undefined_parts(defined[url], part))
        elif ":" not in url:
            yield "extension", index
