"""
The code tables (``mappings/codes``) and the fault catalogue (``adapter/messages``) as FHIR terminology, for ``make profiles``.

* CodeSystem: every table whose system is ours, and ``fault``, the codes that our OperationOutcomes carry.
* ValueSet: every table whose codes belong to a system, with all that is read: both are called as the table is.
* ConceptMap ``record-<table>``: from record values to codes, where these differ or a code has aliases. The record's values have
  a CodeSystem of the same id.
* NamingSystem: every identifier system, and every code system that is known by more than one URI.
"""

# ruff: noqa: INP001  a script beside the data that it writes, not a package
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Final

from adapter.errors import Fault, codes
from adapter.tables import CANONICAL, CodeTable, code_tables
from adapter.transport.outcome import FAULT_SYSTEM, operation_outcome

Json = dict[str, Any]

VERSION: Final = version("koord-adapter")
"""The version of what is published is the product's."""
WRITTEN_ON: Final = "2026-11-22"
"""When a NamingSystem last changed in meaning; FHIR requires it."""
_URIS: Final = "urn:ietf:rfc:3986"
_OID: Final = "urn:oid:"
_IN_R5: Final = "-r5"
_IDENTIFIERS: Final = "identifiers"
_PLACE: Final = re.compile(r"\{[a-z_]+\}")


def resources(release: str) -> dict[str, Json]:
    """File name → resource, for ``r4`` or ``r5``. The same in both but for what the releases call things."""
    tables = _tables(release)
    made = [
        *_code_systems(tables.values()),
        *(_value_set(table.name, table.title, table.systems, table) for table in tables.values() if table.systems[0]),
        *(_concept_map(table, release) for table in tables.values() if _is_translated(table)),
        *(_naming_system(row, release) for row in tables[_IDENTIFIERS].rows),
        *(_named_code_system(table, release) for table in tables.values() if table.systems[1:]),
        _value_set("fault", "Faults", (FAULT_SYSTEM,)),
    ]
    return {f"{resource['resourceType']}-{resource['id']}.json": resource for resource in made}


def _tables(release: str) -> dict[str, CodeTable]:
    """The code tables of a release: where R5 has its own (``<table>-r5``), that stands for the table."""
    tables = dict(code_tables())
    for name in [name for name in tables if name.endswith(_IN_R5)]:
        own = tables.pop(name)
        if release == "r5":
            plain = name.removesuffix(_IN_R5)
            tables[plain] = replace(own, name=plain)
    return tables


def _head(kind: str, name: str, title: str) -> Json:
    return {
        "resourceType": kind,
        "id": name,
        "url": f"{CANONICAL}/{kind}/{name}",
        "version": VERSION,
        "name": "".join(part[0].upper() + part[1:] for part in re.split("[-.]", name)),
        "title": title,
        "status": "draft",
        "experimental": False,
    }


def _code_systems(tables: Iterable[CodeTable]) -> Iterator[Json]:
    for table in tables:
        if table.systems[0].startswith(CANONICAL):
            yield _code_system(table.name, table.title, (_concept(row["code"], row) for row in table.rows))
        if _is_translated(table):
            title = f"{table.title}: the value in the record"
            yield _code_system(_of_record(table), title, (_concept(row["key"], row) for row in table.rows))
    yield _code_system("fault", "Faults", map(_fault, codes()))


def _code_system(name: str, title: str, concepts: Iterable[Json]) -> Json:
    listed = list(concepts)
    head = _head("CodeSystem", name, title) | {"language": "en", "caseSensitive": True, "content": "complete"}
    described = {"code": "source", "description": "The law or standard that it comes from", "type": "string"}
    properties = {"property": [described]} if any("property" in each for each in listed) else {}
    return head | {"count": len(listed)} | properties | {"concept": listed}


def _concept(code: str, row: Mapping[str, Any]) -> Json:
    said = {"code": code, "display": row["en"], "designation": [{"language": "sv", "value": row["sv"]}]}
    return said | {"property": [{"code": "source", "valueString": row["source"]}]}


def _fault(code: str) -> Json:
    """A row of the catalogue under the code that it has in an OperationOutcome; what a text quotes is left out."""
    fault = Fault(code)
    coding = operation_outcome([fault])["issue"][0]["details"]["coding"][0]
    english, swedish = (_PLACE.sub("…", fault.entry.says[language]) for language in ("en", "sv"))
    return {"code": coding["code"], "display": english, "designation": [{"language": "sv", "value": swedish}]}


def _value_set(name: str, title: str, systems: Iterable[str], table: CodeTable | None = None) -> Json:
    """All codes of a system of ours or of an open table; of others those that the table reads."""
    listed = table and not table.is_open and not table.systems[0].startswith(CANONICAL)
    concepts = {"concept": [{"code": code} for code in sorted(table.read)]} if table and listed else {}
    return _head("ValueSet", name, title) | {"compose": {"include": [{"system": each} | concepts for each in systems]}}


def _is_translated(table: CodeTable) -> bool:
    return any(row["key"] != row["code"] or "accept" in row for row in table.rows)


def _of_record(table: CodeTable) -> str:
    return f"record-{table.name}"


def _concept_map(table: CodeTable, release: str) -> Json:
    name = _of_record(table)
    elements = [{"code": row["key"], "target": list(_targets(table, row, release))} for row in table.rows]
    group = {
        "source": f"{CANONICAL}/CodeSystem/{name}",
        "target": table.systems[0] or _URIS,
        "element": elements,
    }
    return _head("ConceptMap", name, f"{table.title}: from the record to FHIR") | {"group": [group]}


def _targets(table: CodeTable, row: Mapping[str, Any], release: str) -> Iterator[Json]:
    """What is written, then what is read as the same."""
    wider = table.one_way or row.get("wider", False)
    if release == "r4":
        relation = {"equivalence": "wider" if wider else "equivalent"}
    else:
        relation = {"relationship": "source-is-narrower-than-target" if wider else "equivalent"}
    for code in (row["code"], *row.get("accept", ())):
        yield {"code": code} | relation


def _naming_system(row: Mapping[str, Any], release: str) -> Json:
    usage = f"Form: {row['pattern']}" + (f" ({row['note']})" if "note" in row else "")
    title = f"{row['sv']} ({row['en']})" if row["sv"] != row["en"] else row["sv"]
    naming = _naming(f"identifier-{row['key'].replace('.', '-').lower()}", title, "identifier", release)
    return naming | {"usage": usage, "uniqueId": _unique((row["code"], *row.get("accept", ())))}


def _named_code_system(table: CodeTable, release: str) -> Json:
    return _naming(f"codes-{table.name}", table.title, "codesystem", release) | {"uniqueId": _unique(table.systems)}


def _naming(name: str, title: str, kind: str, release: str) -> Json:
    head = _head("NamingSystem", name, title)
    if release == "r4":  # has neither a URL nor a title of its own
        head = {key: value for key, value in head.items() if key not in {"url", "version", "title", "experimental"}}
    return head | {"kind": kind, "date": WRITTEN_ON, "description": title}


def _unique(uris: Iterable[str]) -> list[Json]:
    """The first is written, the others are read."""
    return [
        {"type": "oid" if uri.startswith(_OID) else "uri", "value": uri.removeprefix(_OID), "preferred": n == 0}
        for n, uri in enumerate(uris)
    ]
