"""
The last look: the final bytes, read anew and compared with what the recipient type may get, apart from how they were made.

It knows neither records nor mapping rows. An element that is not on the hand-written list, a reference that leads out of
the package, text shaped like an identity number, or a sign of a diagnosis stops the send.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from adapter.consent.disclosure import AllowList
from adapter.definitions import Release
from adapter.domain import Category
from adapter.errors import Fault, Unreadable
from adapter.sweden import luhn
from adapter.tables import CANONICAL, EXTENSION
from adapter.wire import json, xml

Form = Literal["json", "xml"]
Leaf = tuple[str, Any]
"""The path of a primitive, without indexes, and its value."""


def reread(body: bytes, form: Form, release: Release) -> dict[str, Any]:
    """
    What a receiver will read in the bytes.

    Raises:
        Unreadable: our own strict reader does not take them, or they hold more than what is read in them: comments,
            processing instructions, namespaces, spaces, escapes, all that readers pass over.
    """
    if form == "json":
        seen = dict(json.read(body, require_object=True))
        again = json.write(seen)
    else:
        seen = xml.read(body, release=release)
        again = xml.write(seen, release=release)
    if again != body:
        raise Unreadable(Fault("gate.unexpected-content", str(seen["resourceType"]), "more than what is read"))
    return seen


def inspect(seen: dict[str, Any], allowed: AllowList, permitted: frozenset[Category], own_number: str) -> list[Fault]:
    """
    Everything in a Bundle, or in one resource, that this recipient type may not get; empty if nothing is. Places are paths, never values.

    ``permitted``: the categories that the decision opened. ``own_number``: the patient's identity number, which may stand
    somewhere only if the identity is permitted; empty if the patient is not known.
    """
    parts = _parts(seen)
    resources = parts if len(parts) == 1 else parts[1:]
    package = _Package(
        allowed,
        ids=frozenset(f"{each.get('resourceType')}/{each.get('id')}" for each in resources),
        own=_spellings(_bare(own_number)),
        identity=Category.IDENTITY in permitted,
    )
    found = [leaf for part in parts for leaf in leaves(part)]
    texts = dict.fromkeys(leaf for leaf in found if isinstance(leaf[1], str))  # the same many times over
    looked_at = [*texts, *(leaf for leaf in found if not isinstance(leaf[1], str))]
    return [
        Fault("gate.unexpected-content", path, why)
        for path, value in looked_at
        if (why := package.unexpected(path, value))
    ]


def _parts(seen: dict[str, Any]) -> list[dict[str, Any]]:
    """The resources of a Bundle, before them what stands around them; or the one resource."""
    if seen.get("resourceType") != "Bundle":
        return [seen]
    entries = seen.get("entry", ())
    around = [{name: value for name, value in entry.items() if name != "resource"} for entry in entries]
    return [seen | {"entry": around} if around else seen, *(entry.get("resource", {}) for entry in entries)]


def leaves(resource: dict[str, Any]) -> Iterator[Leaf]:
    """
    Every primitive of a resource, also empty objects, empty lists and nulls, which carry their presence. One of our
    extensions is written ``extension:name``, any other by its whole url.
    """
    kind = resource.get("resourceType")
    yield from _leaves({name: value for name, value in resource.items() if name != "resourceType"}, str(kind))


def _leaves(node: Any, path: str) -> Iterator[Leaf]:
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from _leaves(value, f"{path}.{name}")
    elif isinstance(node, list) and node:
        for item in node:
            if path.endswith(".extension") and isinstance(item, dict) and "url" in item:
                inner = {name: value for name, value in item.items() if name != "url"}
                yield from _leaves(inner, f"{path}{_extension(item['url'], nested='.extension:' in path)}")
            else:
                yield from _leaves(item, path)
    else:
        yield path, node


def _extension(url: object, *, nested: bool) -> str:
    name = str(url)
    if nested and name.isidentifier():
        return f":{name}"
    if not nested and name.startswith(EXTENSION):
        return f":{name.removeprefix(EXTENSION)}"
    return f"({name})"


@dataclass(frozen=True, slots=True)
class _Package:
    """What is known of the whole while its leaves are looked at."""

    allowed: AllowList
    ids: frozenset[str]
    own: tuple[str, ...]
    identity: bool

    def unexpected(self, path: str, value: Any) -> str:
        """Why this may not stand here, or nothing."""
        kind, _, inner = path.partition(".")
        if inner not in self.allowed.elements.get(kind, ()):
            return f"not among the elements for {self.allowed.recipient}"
        if value is None or value in ({}, []):
            return "an element without a value"
        if path in self.allowed.values and value not in self.allowed.values[path]:
            return f"not among the values for {self.allowed.recipient}"
        if inner.endswith(_LINKS):  # and if it leads to one of them, it holds nothing but that one's id
            return "" if str(value).removeprefix(f"{CANONICAL}/") in self.ids else "a reference out of the package"
        if isinstance(value, str) and self._tells_a_number(kind, inner, value):
            return "an identity number"
        return ""

    def _tells_a_number(self, kind: str, inner: str, value: str) -> bool:
        """Text with the patient's number, or shaped like anyone's, outside the places that are for it."""
        if (inner == "identifier.value" and kind == "Patient") or inner in _OF_THE_PATIENT:
            return not self.identity or _bare(value) not in self.own[:1]
        if (len(value) < _SHORTEST and value.isascii()) or _UUID.fullmatch(value):
            return False
        text = _plain(_UUID.sub("", value))
        bare = _bare(text)
        if not self.identity and any(number in bare for number in self.own):
            return True
        if len(bare) < 10 or inner.endswith(_NUMBERS):
            return False
        shaped = (_bare(found.group()) for found in _SHAPED.finditer(text))
        return any(luhn(number[-10:]) and number not in self.own for number in shaped)


def _spellings(number: str) -> tuple[str, ...]:
    """The patient's number, and without the century; none if it is not known."""
    return (number, number[2:])[: 1 + number.isdigit()] if number else ()


_SHORTEST = 10
"""Signs of the shortest identity number. Other alphabets have signs that stand for several digits, so only ASCII counts."""
_LINKS = ("reference", "request.url", "fullUrl")
_OF_THE_PATIENT = {f"{name}.identifier.value" for name in ("for", "subject", "patient")}
_NUMBERS = ("identifier.value", "telecom.value")
"""Numbers of cases and telephones may happen to look like a person's, and representatives have their own."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_SIGNS = re.compile(r"[^0-9A-Z]", re.ASCII)
_SHAPED = re.compile(
    r"(?<![0-9])(?:(?:18|19|20)?[0-9]{2})[-./ ]?(?:0[1-9]|1[0-2])[-./ ]?(?:0[1-9]|[1-9][0-9])[-+ ]?[0-9]{4}(?![0-9])",
    re.ASCII,
)
"""Ten or twelve digits that begin with a day of birth (day + 60 included); with a right check digit it is a number."""


def _bare(text: str) -> str:
    return _SIGNS.sub("", text.upper())


def _plain(text: str) -> str:
    """Wide, circled and other digits as ASCII; marks and invisible signs left out."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text)
    return "".join(
        str(unicodedata.digit(sign, sign)) for sign in folded if unicodedata.category(sign) not in {"Cf", "Mn"}
    )
