"""One consent, spärr or statute, whatever it was read from, in the form that a decision is made on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from adapter.consent.rules import Dialect, Rule, Span
from adapter.domain import Category

LAW = "law"
"""The kind of a directive that a statute, not a consent, makes."""


class Source(StrEnum):
    CONSENT = "Consent"
    BLOCK = "Block"
    LAW = "law"


class Status(StrEnum):
    """A PROPOSED one is not given yet, whatever date it names."""

    PROPOSED = "proposed"
    ACTIVE = "active"
    WITHDRAWN = "withdrawn"
    ENTERED_IN_ERROR = "entered-in-error"


@dataclass(frozen=True, slots=True)
class Directive:
    """
    One consent, spärr or statute in the internal form.

    ``dated``: when it was given or, withdrawn, when that was. ``line``: the recipients it speaks of, empty for all of
    its kind; of one line the newest is the only source of permission. ``custodian``: the care provider, empty where it
    does not matter. ``categories``: what it opens or closes, None for everything. ``refusal``: why it cannot be read.
    """

    source: Source
    id: str
    version: int
    kind: str
    patient: str
    rule: Rule
    dated: Span
    custodian: str = ""
    status: Status = Status.ACTIVE
    line: frozenset[str] = frozenset()
    categories: frozenset[Category] | None = None
    dialect: Dialect = Dialect.TREE
    refusal: str = ""

    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.source.value} {self.id} version {self.version}")

    @property
    def spoken(self) -> tuple[datetime, str]:
        """Later ones are nearer to what the patient wants now; the name settles what dates cannot."""
        return self.dated.end or datetime.max.replace(tzinfo=UTC), self.name
