"""Strict values: text that is only made when it is right, and knows what it is."""

from __future__ import annotations

import re
from typing import ClassVar, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


class Value(str):
    """
    A string that matches ``pattern`` as a whole, in ASCII.

    Raises:
        ValueError: it does not. The message names the kind of value, never the value.
    """

    __slots__ = ()
    pattern: ClassVar[re.Pattern[str]]
    says: ClassVar[str]

    def __new__(cls, text: str) -> Self:
        if cls.pattern.fullmatch(text) is None:
            raise ValueError(f"not {cls.says}")
        cls.check(text)
        return super().__new__(cls, text)

    @classmethod
    def check(cls, text: str) -> None:
        """What the pattern cannot tell: calendar, check digit. Raises ValueError."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: type, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(strict=True))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | {"pattern": f"^(?:{cls.pattern.pattern})$", "description": cls.says}
