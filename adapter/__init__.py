"""
Coordination interventions as records, and as FHIR.

    from adapter import Mapper, from_models, load_tables, read_record, to_models

    record, warnings = read_record(document)
    mapper = Mapper(load_tables())
    models = to_models(mapper.to_fhir(record))
    assert mapper.from_fhir(from_models(models)).records == (record,)

What is here is public; modules are loaded when a name of theirs is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from adapter.dates import Moment
    from adapter.domain import (
        Achievement,
        Activity,
        ActivityState,
        Actor,
        ActorCategory,
        Attachment,
        Block,
        BlockKind,
        BusinessId,
        BusinessState,
        CarePlan,
        Category,
        Channel,
        Consent,
        ConsentForm,
        ConsentKind,
        ConsentState,
        Diagnosis,
        FkSignal,
        Goal,
        Intervention,
        InterventionKind,
        Lift,
        Meeting,
        Offer,
        OfferAnswer,
        Period,
        Person,
        PersonIdentity,
        PlanKind,
        PlanState,
        Professional,
        Protection,
        Provider,
        Purpose,
        Record,
        Relation,
        Representative,
        SickLeave,
        TaskState,
        Unit,
        Withdrawal,
        WithdrawnBy,
        read_record,
        written_record,
    )
    from adapter.errors import (
        AdapterError,
        Conflict,
        Denied,
        Fault,
        Invalid,
        Misconfigured,
        PeerFault,
        StoreFault,
        Unmappable,
        Unreadable,
    )
    from adapter.mapping import Mapper, Package, Reading, collection, transaction
    from adapter.models import Model, from_models, to_models
    from adapter.sweden import HsaId, OrganisationNumber
    from adapter.tables import Tables
    from adapter.tables import load as load_tables
    from adapter.validation import validate

__all__ = [
    "Achievement",
    "Activity",
    "ActivityState",
    "Actor",
    "ActorCategory",
    "AdapterError",
    "Attachment",
    "Block",
    "BlockKind",
    "BusinessId",
    "BusinessState",
    "CarePlan",
    "Category",
    "Channel",
    "Conflict",
    "Consent",
    "ConsentForm",
    "ConsentKind",
    "ConsentState",
    "Denied",
    "Diagnosis",
    "Fault",
    "FkSignal",
    "Goal",
    "HsaId",
    "Intervention",
    "InterventionKind",
    "Invalid",
    "Lift",
    "Mapper",
    "Meeting",
    "Misconfigured",
    "Model",
    "Moment",
    "Offer",
    "OfferAnswer",
    "OrganisationNumber",
    "Package",
    "PeerFault",
    "Period",
    "Person",
    "PersonIdentity",
    "PlanKind",
    "PlanState",
    "Professional",
    "Protection",
    "Provider",
    "Purpose",
    "Reading",
    "Record",
    "Relation",
    "Representative",
    "SickLeave",
    "StoreFault",
    "Tables",
    "TaskState",
    "Unit",
    "Unmappable",
    "Unreadable",
    "Withdrawal",
    "WithdrawnBy",
    "collection",
    "from_models",
    "load_tables",
    "read_record",
    "to_models",
    "transaction",
    "validate",
    "written_record",
]

_ELSEWHERE: Final = {
    "AdapterError": "adapter.errors",
    "Conflict": "adapter.errors",
    "Denied": "adapter.errors",
    "Fault": "adapter.errors",
    "HsaId": "adapter.sweden",
    "Invalid": "adapter.errors",
    "Mapper": "adapter.mapping",
    "Misconfigured": "adapter.errors",
    "Model": "adapter.models",
    "Moment": "adapter.dates",
    "OrganisationNumber": "adapter.sweden",
    "Package": "adapter.mapping",
    "PeerFault": "adapter.errors",
    "Reading": "adapter.mapping",
    "StoreFault": "adapter.errors",
    "Tables": "adapter.tables",
    "Unmappable": "adapter.errors",
    "Unreadable": "adapter.errors",
    "collection": "adapter.mapping",
    "from_models": "adapter.models",
    "load_tables": "adapter.tables:load",
    "to_models": "adapter.models",
    "transaction": "adapter.mapping",
    "validate": "adapter.validation",
}
"""The module of each public name that is not one of the records' (``adapter.domain``)."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'adapter' has no attribute {name!r}")
        module, _, original = _ELSEWHERE.get(name, "adapter.domain").partition(":")
        value = getattr(import_module(module), original or name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
