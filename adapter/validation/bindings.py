"""Whether a coded value is in a value set, by type of element. FHIR R4 terminologies.html#4.1."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from adapter.definitions import Codes
from adapter.errors import Severity


class Systems(Protocol):
    def system(self, url: str) -> frozenset[str] | None:
        """Every code of a code system; None where they are not all known."""


@dataclass(frozen=True)
class Bound:
    """What an element is bound to; ``codes`` is None where the value set's codes are not known here."""

    strength: str
    value_set: str
    codes: Codes | None
    known: Systems

    def judge(self, value: Any) -> tuple[str, Severity] | None:
        """
        The stable code and severity of what is wrong with a coded value; None if nothing is.

        Required: one of its codings is in the set. Extensible: one is, or a warning tells that none is, since the set may lack
        the meaning. Either way a coding of a system that is known whole has a code, and one of the system's.
        """
        codings = _codings(value)
        if any(self._is_false(coding) for coding in codings):
            return "fhir.code-unknown", "error"
        if self.codes is None:
            return ("fhir.value-set-unknown", "warning") if codings else None
        if isinstance(value, str):
            return None if value in self.codes.all or _is_open(self.codes, value) else self._refusal()
        if any(fits(self.codes, coding) for coding in codings):
            return None
        return self._refusal() if codings or self.strength == "required" else None

    def _is_false(self, coding: Mapping[str, Any]) -> bool:
        system, code = coding.get("system"), coding.get("code")
        whole = self.known.system(system) if isinstance(system, str) else None
        if whole is None:
            return False
        return "_code" not in coding if code is None else str(code) not in whole

    def _refusal(self) -> tuple[str, Severity]:
        return ("fhir.code", "error") if self.strength == "required" else ("fhir.code-extensible", "warning")


def fits(codes: Codes, coding: Mapping[str, Any]) -> bool:
    """A coding's code is in the set for its system."""
    system, code = coding.get("system"), coding.get("code")
    if not isinstance(system, str) or not isinstance(code, str):
        return False
    if system in codes.patterns:
        return _compiled(codes.patterns[system]).fullmatch(code) is not None
    return code in codes.by_system.get(system, ())


def _is_open(codes: Codes, code: str) -> bool:
    return any(_compiled(pattern).fullmatch(code) for pattern in codes.patterns.values())


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _codings(value: Any) -> list[Mapping[str, Any]]:
    return list(_found(value))


def _found(value: Any) -> Iterator[Mapping[str, Any]]:
    """The codings of a CodeableConcept or CodeableReference, or a Coding or Quantity itself."""
    if not isinstance(value, dict):
        return
    if "concept" in value:
        yield from _found(value["concept"])
    elif isinstance(value.get("coding"), list):
        yield from (coding for coding in value["coding"] if isinstance(coding, dict))
    elif "code" in value or "system" in value:
        yield value
