"""The invariants of our own profiles as functions, by key. Each takes the JSON object of the element that states it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapter.validation.invariants import Holds

OWN: Final[Mapping[str, Holds]] = {}
