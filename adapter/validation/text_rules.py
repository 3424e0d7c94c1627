"""
Rules that FHIR states in its text and gives no key: one row per type. Each takes the JSON object of the type.

They hold in R4 and R5; HL7's own validators keep them too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from adapter.validation.invariants import Holds, Json, objects

ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
"""A URI with a scheme."""
_FULL_URL_OPTIONAL: Final = frozenset({"transaction", "transaction-response", "batch", "batch-response"})
_PAGES: Final = ("first", "previous", "next", "last")
SERVER: Final = re.compile(r"https?://\S*")
RESTFUL: Final = re.compile(rf"(?P<base>{SERVER.pattern})/[A-Z][A-Za-z]+/[A-Za-z0-9.-]{{1,64}}")
"""The address of a resource on a server."""


def _absolute(value: object) -> bool:
    return not isinstance(value, str) or ABSOLUTE.fullmatch(value) is not None


def _absolute_system(o: Json) -> bool:
    return _absolute(o.get("system"))


def _identifier_system(o: Json) -> bool:
    """The system is absolute, and so is the value where that is a URI."""
    return _absolute_system(o) and (o.get("system") != "urn:ietf:rfc:3986" or _absolute(o.get("value")))


def _size_of_data(o: Json) -> bool:
    """The size is not below zero, which R5's type of it allows, and that of the data before base 64, where both are there."""
    data, size = o.get("data"), o.get("size")
    if isinstance(size, str) and size.startswith("-"):
        return False
    if not isinstance(data, str) or not str(size).isdecimal():
        return True
    letters = len("".join(data.split()).rstrip("="))
    return int(str(size)) == letters * 3 // 4


def _ids_once(o: Json) -> bool:
    """No two elements of a resource have the same id; its own id and those of resources inside it are not theirs."""
    ids: list[str] = []
    waiting: list[Any] = [*o.values()]
    for value in waiting:  # it grows on the way
        kind = type(value)  # a quarter of the time of isinstance(), and asked of every value
        if kind is list:
            waiting.extend(value)
        elif kind is dict and "resourceType" not in value:
            waiting.extend(value.values())
            if "id" in value:
                ids.append(str(value["id"]))
    return len(set(ids)) == len(ids)


def _contained_once(o: Json) -> bool:
    ids = [each.get("id") for each in objects(o, "contained")]
    return len(set(map(str, ids))) == len(ids)


def _labels_once(o: Json) -> bool:
    told = [(str(each.get("system")), str(each.get("code"))) for each in objects(o, "security")]
    return len(set(told)) == len(told)


def _entries_located(o: Json) -> bool:
    if str(o.get("type")) in _FULL_URL_OPTIONAL:
        return True
    return all("fullUrl" in entry for entry in objects(o, "entry") if "resource" in entry)


def _linked_once(o: Json) -> bool:
    """Only a search and a history come in pages; each link to a page, and to itself, is there once."""
    told = [link.get("relation") for link in objects(o, "link")]
    if o.get("type") in ("searchset", "history"):
        return all(told.count(relation) <= 1 for relation in ("self", *_PAGES))
    return not any(relation in _PAGES for relation in told)


def _entry_is_itself(o: Json) -> bool:
    """A RESTful fullUrl ends in the type and id of its resource."""
    url = o.get("fullUrl")
    if not isinstance(url, str) or not RESTFUL.fullmatch(url):
        return True
    return all(
        "id" not in inner or url.endswith(f"/{inner.get('resourceType')}/{inner['id']}")
        for inner in objects(o, "resource")
    )


TEXT_RULES: Final[Mapping[str, tuple[tuple[str, Holds], ...]]] = {
    "Attachment": (("datatypes.html#Attachment.size", _size_of_data),),
    "Bundle": (("bundle.html#bundle-unique", _entries_located), ("http.html#paging", _linked_once)),
    "Bundle.entry": (("bundle.html#fullUrl", _entry_is_itself),),
    "Coding": (("datatypes.html#Coding.system", _absolute_system),),
    "DomainResource": (("references.html#contained", _contained_once),),
    "Identifier": (("datatypes.html#Identifier.system", _identifier_system),),
    "Meta": (("resource.html#Meta", _labels_once),),
    "Quantity": (("datatypes.html#Quantity.system", _absolute_system),),
    "Resource": (("element.html#id", _ids_once),),
}
"""Shape → page of the specification and what must hold; a rule of Resource or DomainResource holds for every resource made from it."""
