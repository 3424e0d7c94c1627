"""What is mapped: resources, what may be mapped out, and the Bundles that packages travel in."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

from adapter.definitions import Release
from adapter.domain import Category
from adapter.tables import CANONICAL

Document: TypeAlias = dict[str, Any]
Resource: TypeAlias = dict[str, Any]
Ids: TypeAlias = Callable[[str, str], str]
Indexes: TypeAlias = tuple[int, ...]

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, CANONICAL)


def public_ids(resource_type: str, business_key: str) -> str:
    """
    A logical id that anyone can compute again (UUIDv5). For files and tests: it can be guessed back from an identity
    number, so the gate uses keyed ids instead.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{resource_type}|{business_key}"))


@dataclass(frozen=True, slots=True)
class Permission:
    """
    What may be mapped out: rows of these categories. With ``only_for``, what is about an outside actor is mapped only
    if the actor has one of these keys (``actor_keys``); None means every actor.
    """

    categories: frozenset[Category]
    only_for: frozenset[str] | None = None


def actor_keys(organisation_number: str | None, hsa_id: str | None) -> frozenset[str]:
    """The keys by which an outside actor is compared."""
    keys = {f"orgnr|{organisation_number}" if organisation_number else "", f"hsaid|{hsa_id.upper()}" if hsa_id else ""}
    return frozenset(keys - {""})


@dataclass(frozen=True, slots=True)
class Traced:
    """One line of lineage: which row carried which field where, and whether it was permitted."""

    row: str
    field: str
    path: str
    category: str
    written: bool


@dataclass(frozen=True, slots=True)
class Package:
    """The resources of one record or several, the focus first. References inside it are ``Type/id``."""

    resources: tuple[Resource, ...]


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources, and each by the names that references use for it."""

    all: tuple[Resource, ...]
    named: Mapping[str, Resource]

    @classmethod
    def of(cls, body: Resource | Sequence[Resource]) -> Self:
        entries: Iterable[Resource] = [body] if isinstance(body, dict) else body
        urls: dict[str, Resource] = {}
        if isinstance(body, dict) and body.get("resourceType") == "Bundle":
            filled = [entry for entry in body.get("entry", ()) if "resource" in entry]
            entries = [entry["resource"] for entry in filled]
            urls = {entry["fullUrl"]: entry["resource"] for entry in filled if "fullUrl" in entry}
        found = tuple(entries)
        return cls(found, {**{_name(each): each for each in found if "id" in each}, **urls})

    def resolve(self, reference: str) -> Resource | None:
        """The resource that a reference leads to: by full url, or relative, absolute or with a version by ``Type/id``."""
        plain = reference.partition("/_history/")[0]
        return self.named.get(plain) or self.named.get("/".join(plain.split("/")[-2:]))


def transaction(package: Package) -> Resource:
    """The package as a transaction Bundle of ``PUT Type/id``: a repeat does no harm on any server."""
    return _bundle(
        "transaction", package, lambda r: {"request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}}
    )


def collection(package: Package) -> Resource:
    """The package as a collection Bundle, for files and for people."""
    return _bundle("collection", package, lambda _: {})


def searchset(packages: Sequence[Package], resource_type: str, release: Release) -> Resource:
    """
    The packages as the answer to a search for a type: each focus a match, what they refer to included, each resource once
    (the newest package's, if they differ). Without a total: it would count what is not shown. R5 asks what was searched
    for (bdl-18): the type, since the rest of the question is a person's number.
    """
    matches = {_name(package.resources[0]) for package in packages}
    resources = {_name(resource): resource for package in packages for resource in package.resources}
    merged = Package(tuple(sorted(resources.values(), key=lambda resource: _name(resource) not in matches)))
    made = _bundle("searchset", merged, lambda r: {"search": {"mode": "match" if _name(r) in matches else "include"}})
    if not merged.resources:
        del made["entry"]
    return made | {"link": [{"relation": "self", "url": f"{CANONICAL}/{resource_type}"}]} if release == "R5" else made


def _name(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _bundle(kind: str, package: Package, extra: Callable[[Resource], Mapping[str, Any]]) -> Resource:
    # A relative reference resolves against the fullUrl of its entry, so the fullUrl is of the form base/Type/id.
    entries = [
        {"fullUrl": f"{CANONICAL}/{r['resourceType']}/{r['id']}", "resource": r, **extra(r)} for r in package.resources
    ]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}
