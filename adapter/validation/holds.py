"""
``holds``: a keyword of our JSON Schemas for the rules that no schema can say. Its value names a rule, which is asked of the
Python value while the schema runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from adapter.definitions import Release
from adapter.validation.invariants import INVARIANTS, Holds
from adapter.validation.own_invariants import OWN
from adapter.validation.text_rules import TEXT_RULES

WHOLE: Final = {"holds": "whole"}
"""Not a whole number written as a decimal: FHIR R4 datatypes.html#integer."""


def _name(*parts: str) -> str:
    return " ".join(parts)


def _named() -> Iterator[tuple[str, Holds]]:
    for release, rules in INVARIANTS.items():
        for (owner, key), holds in rules.items():
            yield _name(release, owner, key), holds
    for owner, told in TEXT_RULES.items():
        for index, (rule, holds) in enumerate(told):
            yield _name(owner, rule, str(index)), holds
    for key, holds in OWN.items():
        yield key, holds
    yield WHOLE["holds"], lambda value: not isinstance(value, Decimal)


_RULES: Final[Mapping[str, Any]] = dict(_named())


def invariant(release: Release, owner: str, key: str) -> dict[str, str]:
    """FHIR's invariant, stated on a type or an element."""
    return {"holds": _name(release, owner, key)}


def text_rule(owner: str, asked: str) -> list[dict[str, str]]:
    """What a place in FHIR's text says of a type."""
    told = enumerate(TEXT_RULES[owner])
    return [{"holds": _name(owner, rule, str(index))} for index, (rule, _) in told if rule == asked]


def own(key: str) -> dict[str, str]:
    """An invariant of our profiles."""
    return {"holds": key}


class _Keyword:
    def __init__(self, _parent: Any, name: str, _path: Any) -> None:
        self._holds = _RULES[name]

    def validate(self, value: Any) -> None:
        """
        Raises:
            ValueError: the rule does not hold.
        """
        if not self._holds(value):
            raise ValueError


KEYWORDS: Final[Mapping[str, type]] = {"holds": _Keyword}
