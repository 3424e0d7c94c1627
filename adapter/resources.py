"""Where the data that ships with the adapter lies: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
_PLACES = {"mappings": "mappings", "profiles": "profiles", "scenarios": "examples/scenarios"}


@cache
def folder(name: str) -> Path:
    """
    The folder of shipped data called ``mappings``, ``profiles`` or ``scenarios``.

    Raises:
        KeyError: no such name.
        FileNotFoundError: the installation is incomplete.
    """
    packed, beside = _PACKAGE / "_data" / name, _PACKAGE.parent / _PLACES[name]
    for place in (packed, beside):
        if place.is_dir():
            return place
    raise FileNotFoundError(str(packed))
