"""
The mapping tables: read from ``mappings/``, checked against the records and against FHIR's definitions, printed as pages.

One row says which record field stands at which FHIR path, how it is coded, what kind of information it is, and on
which source. Everything else is driven by the rows: both directions, the loss report, the disclosure filter, the docs.
Loading fails on the first start with a table that is wrong; nothing is mapped by a table that was not checked.

Paths are written as in FHIR's element ids: ``Task.extension:met[].extension:actor.valueReference``. ``[]`` repeats
together with the ``[]`` of the field; ``:name`` is a slice, ``extension:name`` the adapter's own extension of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path as File
from typing import get_args

from adapter.definitions import Release, definitions
from adapter.errors import Fault, Misconfigured
from adapter.profiles import CANONICAL, EXTENSION
from adapter.resources import folder
from adapter.tables.model import CodeTable, Path, Row, Step, Table, Tables
from adapter.tables.pages import pages
from adapter.tables.reading import Loader

__all__ = [
    "CANONICAL",
    "EXTENSION",
    "CodeTable",
    "Path",
    "Row",
    "Step",
    "Table",
    "Tables",
    "code_tables",
    "load",
    "pages",
]


@cache
def load(release: Release = "R4", overlays: tuple[File, ...] = (), root: File | None = None) -> Tables:
    """
    Read and check every table.

    ``overlays``: files of a region that change or add codes (``[[code]] table, key, code`` and ``[[system]] table,
    system``); codes that are not in our systems need a system of the region's own. ``root``: another folder of tables, for tests.

    Raises:
        Misconfigured: every fault found, each with file and row.
    """
    return Loader(definitions(release), root or folder("mappings"), overlays).load()


@cache
def load_every(overlays: tuple[File, ...] = (), root: File | None = None) -> Mapping[Release, Tables]:
    """
    The tables of every release that is spoken, for what must not find out later that those of one are wrong.

    Raises:
        Misconfigured: every fault found in any of them, each once.
    """
    found: dict[Release, Tables] = {}
    faults: list[Fault] = []
    for release in get_args(Release):
        try:
            found[release] = load(release, overlays, root)
        except Misconfigured as error:
            faults += error.faults
    if faults:
        raise Misconfigured(dict.fromkeys(faults))
    return found


def code_tables() -> Mapping[str, CodeTable]:
    """
    The shipped code tables alone, by name: what is published is made from them, so they are not held to it.

    Raises:
        Misconfigured: codes and values do not pair, or a code has no source.
    """
    return Loader(definitions(), folder("mappings"), ()).code_tables()
