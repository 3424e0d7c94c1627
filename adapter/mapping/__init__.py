"""
Records to FHIR and back, by the rows of the tables and nothing else.

Outwards, a resource is *constructed*: an element stands in it only if a row wrote it, and a row writes only if its
category is permitted. Inwards, what the rows understood is mapped out again and compared with what came: every
element that does not come back the same is named in the loss report.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from adapter.dates import Moment
from adapter.definitions import Release
from adapter.domain import Record, read_record, written_record
from adapter.errors import Fault, Invalid, Unmappable
from adapter.mapping.inward import Inward
from adapter.mapping.losses import losses
from adapter.mapping.outward import Outward, values_at
from adapter.mapping.package import (
    Ids,
    Package,
    Permission,
    Resource,
    Resources,
    Traced,
    actor_keys,
    collection,
    public_ids,
    searchset,
    transaction,
)
from adapter.sweden import Mode
from adapter.tables import Tables

__all__ = [
    "Mapper",
    "Package",
    "Permission",
    "Reading",
    "Resource",
    "Traced",
    "actor_keys",
    "collection",
    "public_ids",
    "searchset",
    "transaction",
]


@dataclass(frozen=True, slots=True)
class Reading:
    """The records that resources held, and what the records cannot give back (``mapping.lost``, ``mapping.changed``)."""

    records: tuple[Record, ...]
    losses: tuple[Fault, ...]
    warnings: tuple[Fault, ...] = ()


class Mapper:
    """
    Both directions for the tables of one release, and with ``others``, which gives the tables of a release, the way to the other
    releases (``of``). Holds no state between calls.
    """

    def __init__(self, tables: Tables, others: Callable[[Release], Tables] | None = None) -> None:
        self.tables, self._others = tables, others

    def of(self, release: Release) -> Mapper:
        """
        The same for a release.

        Raises:
            Unmappable: it was made without its tables (``mapping.no-release``).
            Misconfigured: they are wrong.
        """
        if release == self.tables.release:
            return self
        if self._others is None:
            raise Unmappable(Fault("mapping.no-release", "", release))
        return Mapper(self._others(release), self._others)

    def to_fhir(
        self,
        record: Record,
        *,
        permission: Permission | None = None,
        ids: Ids = public_ids,
        trace: list[Traced] | None = None,
    ) -> Package:
        """
        The package of resources for a record; with ``permission``, only what it permits. Without, everything.
        ``trace`` is filled with the lineage of every value, written or withheld.

        Raises:
            Unmappable: a value has no code.
        """
        return self.to_fhir_together([record], permission=permission, ids=ids, trace=trace)

    def to_fhir_together(
        self,
        records: Iterable[Record],
        *,
        permission: Permission | None = None,
        ids: Ids = public_ids,
        trace: list[Traced] | None = None,
    ) -> Package:
        """
        As ``to_fhir``, for several records in one package: their own resources first, in order; a party that several
        name stands in it once.
        """
        writing = Outward(self.tables, permission, ids, trace)
        for record in records:
            writing.record(self.tables.records[record.record], written_record(record))
        return Package((*writing.own, *writing.parties))

    def narrowed(self, record: Record) -> tuple[Fault, ...]:
        """What of a record this release cannot hold: a time where it has only a day (``mapping.narrowed``, at the record's field)."""
        document = written_record(record)
        return tuple(
            Fault("mapping.narrowed", row.field_text, row.why, severity="warning")
            for row in self.tables.records[record.record].fields
            if row.convert is not None and any(Moment(value).is_time for value in values_at(document, row.field))
        )

    def from_fhir(
        self, body: Resource | Sequence[Resource], *, mode: Mode = "production", today: date | None = None
    ) -> Reading:
        """
        Every record that a Bundle, a resource or several hold. They may refer to each other by ``Type/id`` or by the
        ``fullUrl`` of their entries; the focus of a record is a Task, CarePlan or Consent that a table recognises.

        Raises:
            Unmappable: no record, an unrecognised focus, an unknown code, or an element that changes the meaning of what
                it stands in (modifier) and that no row reads.
            Invalid: the record so read is not one; places are FHIR paths.
        """
        came = Resources.of(body)
        reading = Inward(self.tables, came)
        records: list[Record] = []
        warnings: list[Fault] = []
        for table, document, places in reading.documents():
            try:
                record, noted = read_record({"record": table.name, **document}, mode=mode, today=today)
            except Invalid as error:
                raise Invalid([_placed(fault, places) for fault in error.faults]) from None
            records.append(record)
            warnings.extend(noted)
        if not records:
            raise Unmappable(Fault("mapping.no-record", "Bundle", "Task, CarePlan or Consent with a coding of ours"))
        returned = [resource for record in records for resource in self.to_fhir(record).resources]
        lost = losses(came, Resources.of(returned), self.tables.release)
        refused = [loss for loss in lost if loss.severity == "error"]
        if refused:
            raise Unmappable(refused)
        return Reading(tuple(records), lost, tuple(warnings))


def _placed(fault: Fault, places: Mapping[str, str]) -> Fault:
    """The same fault at the FHIR path that the field is read from."""
    plain = re.sub(r"\[[0-9]+\]", "[]", fault.where)
    path = next(
        (path for field_path, path in places.items() if field_path == plain or field_path.startswith(plain + ".")), None
    )
    return Fault(fault.code, f"{path} ({fault.where})" if path else fault.where, fault.why, severity=fault.severity)
