"""
``holds``: a keyword of our JSON Schemas for the rules that no schema can say. Its value is the number of a function, which is
asked of the Python value while the schema runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jsonschema_rs import Draft202012Validator

from adapter.validation.schema import validator
from adapter.validation.slicing import Json


class Functions:
    """The functions that one schema calls."""

    def __init__(self) -> None:
        self._all: list[Callable[[Any], bool]] = []

    def call(self, holds: Callable[[Any], bool]) -> Json:
        """The schema of the values of which this is true."""
        self._all.append(holds)
        return {"holds": len(self._all) - 1}

    def validator(self, schema: Json) -> Draft202012Validator:
        """The schema, ready to run."""
        functions = self._all

        class Keyword:
            def __init__(self, _parent: Any, number: int, _path: Any) -> None:
                self.holds = functions[number]

            def validate(self, value: Any) -> None:
                if not self.holds(value):
                    raise ValueError

        return validator(schema, {"holds": Keyword})
