"""
Swedish identity numbers, HSA-ids and organisation numbers, each parsed here and nowhere else.

Systems, object identifiers, patterns and their sources are data: ``mappings/codes/identifiers.toml``.
A check digit that is wrong refuses the number in production and warns in test mode, since some of the
published Swedish test persons have one.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Literal

from adapter.resources import folder
from adapter.values import Value

Mode = Literal["test", "production"]


@dataclass(frozen=True, slots=True)
class IdentifierSystem:
    """
    One row of ``identifiers.toml``: ``uri`` as FHIR ``Identifier.system``; ``accept`` other URIs for the same
    numbers; ``pattern`` of the value; ``dated``: how the first eight digits are read as a day of birth;
    ``luhn``: whether the last ten digits end in a check digit; ``person``: whether it identifies people.
    """

    key: str
    uri: str
    accept: tuple[str, ...]
    pattern: re.Pattern[str]
    dated: Literal["", "birth", "birth+60"]
    luhn: bool
    person: bool


@cache
def identifier_systems() -> dict[str, IdentifierSystem]:
    """The identifier systems by key."""
    table = tomllib.loads((folder("mappings") / "codes" / "identifiers.toml").read_text("utf-8"))
    return {
        row["key"]: IdentifierSystem(
            key=row["key"],
            uri=row["code"],
            accept=tuple(row.get("accept", ())),
            pattern=re.compile(row["pattern"], re.ASCII),
            dated=row.get("dated", ""),
            luhn=row.get("luhn", False),
            person=row.get("person", False),
        )
        for row in table["code"]
    }


def check_person_number(
    kind: str, number: str, *, mode: Mode = "production", today: date | None = None
) -> tuple[str, ...]:
    """
    Check an identity number of a person: shape, calendar, not in the future, check digit.

    Returns the warnings (codes) that test mode lets pass. ``today`` defaults to the machine's date.

    Raises:
        ValueError: the number is not one of its kind. The message never holds the number.
    """
    system = identifier_systems().get(kind)
    if system is None or not system.person:
        raise ValueError("not a kind of identity number that is known here")
    if system.pattern.fullmatch(number) is None:
        raise ValueError(f"not the form of a {kind}")
    if system.dated:
        _check_birth(number, system.dated, today or date.today())  # noqa: DTZ011  a day of birth is local
    if system.luhn and not luhn(number[-10:]):
        if mode == "production":
            raise ValueError(f"the check digit of the {kind} is wrong")
        return ("check-digit",)
    return ()


def person_key(kind: str, number: str) -> str:
    """One spelling per person number, to compare and to hash: ``kind|NUMBER`` without dash, in capitals."""
    return f"{kind}|{number.replace('-', '').upper()}"


def luhn(digits: str) -> bool:
    """Whether ASCII digits end in their Luhn check digit (ISO/IEC 7812-1 annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = (ord(digit) - 48) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


class HsaId(Value):
    """An HSA-id: country, organisation number, dash, local part; at most 31 characters. Compare with ``same``."""

    pattern = re.compile(r"(?=.{1,31}$)(?:SE|TSTNMT)(?:16)?[0-9]{10}-[A-Za-z0-9]+", re.ASCII)
    says = "an HSA-id"

    def same(self, other: str) -> bool:
        return self.upper() == other.upper()

    @property
    def is_test(self) -> bool:
        return self.startswith("TSTNMT")


class OrganisationNumber(Value):
    """A Swedish organisation number: ten digits without dash, Luhn."""

    pattern = re.compile(r"[0-9]{10}", re.ASCII)
    says = "an organisation number of ten digits"

    @classmethod
    def check(cls, text: str) -> None:
        if not luhn(text):
            raise ValueError("the check digit of the organisation number is wrong")


def _check_birth(number: str, dated: str, today: date) -> None:
    year, month, day = int(number[:4]), int(number[4:6]), int(number[6:8])
    try:
        born = date(year, month, day - 60 if dated == "birth+60" else day)
    except ValueError:
        raise ValueError("no such day of birth in the calendar") from None
    if born > today:
        raise ValueError("a day of birth that has not come")
