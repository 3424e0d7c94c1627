"""
The notice that a consent no longer holds (GDPR articles 7.3 and 19): one Task, with what it must say and nothing else.

It names the consent, the records that the recipient has been sent on it, and when the order was given: all by business
identifiers that the recipient has seen before. It tells no reason, no person and nothing of what the records say.
``NOTICE`` is the closed list that the last look compares with, written by hand apart from ``bundle``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from adapter.consent.disclosure import AllowList
from adapter.consent.inspection import leaves
from adapter.dates import Moment
from adapter.domain import BusinessId
from adapter.errors import Fault, Invalid
from adapter.mapping import Package, Resource, transaction
from adapter.profiles import EXTENSION

CODE: Final = "samtycke-aterkallat"
"""The code of a notice among kinds of Task (mappings/codes/task-kind.toml)."""
_URN: Final = "urn:ietf:rfc:3986"
_UUID: Final = "urn:uuid:"
_KIND: Final = {"system": "https://koord.example/fhir/CodeSystem/task-kind", "code": CODE}
_INPUT: Final = {"system": "https://koord.example/fhir/CodeSystem/task-input", "code": "sluta-anvanda"}
_NOTICE: Final = f"{EXTENSION}koord-withdrawal-notice"
_RECEIPT: Final = f"{EXTENSION}koord-withdrawal-receipt"
_ANSWERS: Final = frozenset({"accepted", "completed"})

_TRANSACTION: Final = frozenset({"type", "entry.fullUrl", "entry.request.method", "entry.request.url"})
_TASK: Final = frozenset(
    {
        "id",
        "meta.profile",
        "identifier.system",
        "identifier.value",
        "status",
        "intent",
        "code.coding.system",
        "code.coding.code",
    }
)
_VALUES: Final = {
    "Bundle.type": frozenset({"transaction"}),
    "Bundle.entry.request.method": frozenset({"PUT"}),
    "Task.identifier.system": frozenset({"urn:ietf:rfc:3986"}),
    "Task.intent": frozenset({"order"}),
    "Task.code.coding.system": frozenset({"https://koord.example/fhir/CodeSystem/task-kind"}),
    "Task.code.coding.code": frozenset({"samtycke-aterkallat"}),
}
"""What a notice and a receipt have in common: which notice it is."""

NOTICE: Final = AllowList(
    recipient="notice",
    elements={
        "Bundle": _TRANSACTION,
        "Task": _TASK
        | {
            "focus.type",
            "focus.identifier.system",
            "focus.identifier.value",
            "authoredOn",
            "input.type.coding.system",
            "input.type.coding.code",
            "input.valueReference.type",
            "input.valueReference.identifier.system",
            "input.valueReference.identifier.value",
        },
    },
    values=_VALUES
    | {
        "Task.meta.profile": frozenset({"https://koord.example/fhir/StructureDefinition/koord-withdrawal-notice"}),
        "Task.status": frozenset({"requested"}),
        "Task.focus.type": frozenset({"Consent"}),
        "Task.input.type.coding.system": frozenset({"https://koord.example/fhir/CodeSystem/task-input"}),
        "Task.input.type.coding.code": frozenset({"sluta-anvanda"}),
        "Task.input.valueReference.type": frozenset({"Task", "CarePlan", "Consent"}),
    },
)
"""All that may stand in a notice, for every type of recipient."""
RECEIPT: Final = AllowList(
    recipient="receipt",
    elements={"Bundle": _TRANSACTION, "Task": _TASK},
    values=_VALUES
    | {
        "Task.meta.profile": frozenset({"https://koord.example/fhir/StructureDefinition/koord-withdrawal-receipt"}),
        "Task.status": frozenset({"completed"}),
    },
)
"""All that may stand in the word that one has stopped."""


@dataclass(frozen=True, slots=True)
class Notice:
    """
    What a recipient is told. ``id``: a UUID, the Task's logical id and its identifier; ``stop_using``: resource type and
    business id of each record that it got, or may have got; ``ordered_at`` is aware.
    """

    id: str
    consent: BusinessId
    stop_using: tuple[tuple[str, BusinessId], ...]
    ordered_at: datetime


def bundle(notice: Notice) -> Resource:
    """The notice as a transaction of one Task: a repeat does no harm on any server."""
    at = notice.ordered_at.astimezone(UTC).replace(microsecond=0)
    task = {
        **_task(notice.id, "requested", _NOTICE),
        "focus": _logical("Consent", notice.consent),
        "authoredOn": at.isoformat(),
        "input": [
            {"type": {"coding": [dict(_INPUT)]}, "valueReference": _logical(kind, record)}
            for kind, record in notice.stop_using
        ],
    }
    return transaction(Package((task,)))


def receipt(notice_id: str) -> Resource:
    """The word of the one who was told that it has stopped: the notice's Task, completed, as a transaction."""
    return transaction(Package((_task(notice_id, "completed", _RECEIPT),)))


def _task(notice_id: str, status: str, profile: str) -> Resource:
    return {
        "resourceType": "Task",
        "id": notice_id,
        "meta": {"profile": [profile]},
        "identifier": [{"system": _URN, "value": f"{_UUID}{notice_id}"}],
        "status": status,
        "intent": "order",
        "code": {"coding": [dict(_KIND)]},
    }


def task_in(body: Mapping[str, Any]) -> Resource | None:
    """The Task of a notice or of the answer to one, if that is all that a body holds: alone or in a Bundle; else None."""
    found: Any = body
    if body.get("resourceType") == "Bundle":
        entries = body.get("entry")
        if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
            return None
        found = entries[0].get("resource")
    return found if isinstance(found, dict) and is_notice(found) else None


def is_notice(resource: Mapping[str, Any]) -> bool:
    """Whether a resource is a Task with the code of a notice."""
    code = resource.get("code")
    codings = code.get("coding") if isinstance(code, dict) else None
    return (
        resource.get("resourceType") == "Task"
        and isinstance(codings, list)
        and any(
            isinstance(each, dict) and all(each.get(name) == value for name, value in _KIND.items()) for each in codings
        )
    )


def answers(task: Mapping[str, Any]) -> bool:
    """Whether the Task of a notice says that its recipient has stopped using what it names."""
    return task.get("status") in _ANSWERS


def answered(task: Resource) -> Resource:
    """What a recipient answers when it has stopped: the same Task, completed."""
    return {**task, "meta": {"profile": [_RECEIPT]}, "status": "completed"}


def id_in(task: Mapping[str, Any]) -> str:
    """Which notice a Task is about, by its identifier or, without one, its logical id."""
    identifiers = task.get("identifier")
    for each in identifiers if isinstance(identifiers, list) else ():
        if isinstance(each, dict) and each.get("system") == _URN:
            return str(each.get("value", "")).removeprefix(_UUID)
    return str(task.get("id", ""))


def read(task: Resource) -> tuple[Notice, list[Fault]]:
    """
    A notice that a peer has sent, and what it says beyond a notice, by FHIR path, for the answer.

    Raises:
        Invalid: ``exchange.notice``: it does not name the notice, the consent and the records by identifier, or the time.
    """
    try:
        notice = Notice(
            id=_filled(id_in(task)),
            consent=_business(task["focus"]),
            stop_using=tuple(
                (str(each["valueReference"]["type"]), _business(each["valueReference"]))
                for each in task.get("input", ())
            ),
            ordered_at=Moment(task["authoredOn"]).earliest,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid(Fault("exchange.notice", "Task", type(error).__name__)) from None
    known = NOTICE.elements["Task"]
    beyond = {path for path, _ in leaves(dict(task)) if path.partition(".")[2] not in known}
    return notice, [Fault("mapping.lost", path, severity="warning") for path in sorted(beyond)]


def business_id(notice_id: str) -> BusinessId:
    """Under which a notice that was received is kept, by its id."""
    return BusinessId(system=_URN, value=f"{_UUID}{notice_id}")


def document(notice: Notice) -> dict[str, Any]:
    """A notice that was received, as the local system is told of it (docs/api.md)."""
    return {
        "record": "WithdrawalNotice",
        "id": business_id(notice.id).model_dump(),
        "consent": notice.consent.model_dump(),
        "stop_using": [{"type": kind, "id": record.model_dump()} for kind, record in notice.stop_using],
        "ordered_on": notice.ordered_at.isoformat(),
    }


def id_of(document: Mapping[str, Any]) -> str:
    """The id of the notice that a ``document`` is made of."""
    return str(document["id"]["value"]).removeprefix(_UUID)


def named(records: Sequence[tuple[str, BusinessId]]) -> tuple[tuple[str, BusinessId], ...]:
    """Each record once, in an order that does not tell when it was sent."""
    return tuple(sorted(set(records), key=lambda each: (each[0], each[1].system, each[1].value)))


def _logical(kind: str, identifier: BusinessId) -> Resource:
    return {"type": kind, "identifier": {"system": identifier.system, "value": identifier.value}}


def _business(reference: Mapping[str, Any]) -> BusinessId:
    identifier = reference["identifier"]
    return BusinessId(system=identifier["system"], value=identifier["value"])


def _filled(text: str) -> str:
    if not text:
        raise ValueError("no id")
    return text
