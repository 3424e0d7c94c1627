"""Play a scenario as the local system does: hand over, pause, resume, wait; and note how each message ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from adapter.demo.scenario import Scenario, Step

State = Literal["queued", "delivered", "withheld", "blocked", "dead"]


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The answer to a submission: the messages it became, in the order of ``send``, or the code of its refusal."""

    messages: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a message ended, or "queued" if it has not. ``request_id``: under which its recipient would know it."""

    state: State
    reason: str
    request_id: str


class LocalSystem(Protocol):
    """What a region's own system can do with its adapter."""

    async def submit(self, document: dict[str, Any]) -> HandedOver: ...

    async def pause(self, recipient: str) -> None: ...

    async def resume(self, recipient: str) -> None: ...

    async def ended(self, messages: Sequence[str]) -> Mapping[str, Ended]:
        """Wait until they have ended, as long as that makes sense; then say how."""
        ...


@dataclass(frozen=True, slots=True)
class Sent:
    """One record for one recipient, and what became of it. A submission that was refused has no message."""

    recipient: str
    record: Mapping[str, Any] = field(repr=False)
    message: str = ""
    refused: str = ""
    ended: Ended | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """A scenario that was played at ``now``: all that it sent, in order."""

    scenario: Scenario
    now: datetime
    sent: tuple[Sent, ...]


async def play(scenario: Scenario, system: LocalSystem, now: datetime) -> Played:
    """Take every step; at the end, wait until all messages have ended."""
    records: dict[str, Mapping[str, Any]] = {}
    sent: list[Sent] = []
    for step in scenario.steps:
        sent += await _take(step, scenario, system, now, records, sent)
    ends = await system.ended([each.message for each in sent if each.message])
    return Played(
        scenario,
        now,
        tuple(Sent(each.recipient, each.record, each.message, each.refused, ends.get(each.message)) for each in sent),
    )


async def _take(  # noqa: PLR0913, PLR0917  one step, with all that was before it
    step: Step,
    scenario: Scenario,
    system: LocalSystem,
    now: datetime,
    records: dict[str, Mapping[str, Any]],
    before: Sequence[Sent],
) -> Sequence[Sent]:
    if step.pause:
        await system.pause(step.pause)
    elif step.resume:
        await system.resume(step.resume)
    elif step.wait:
        await system.ended([each.message for each in before if each.message])
    elif step.submit:
        document = scenario.submission(step.submit, now)
        records |= {_key(record["id"]): record for record in document["records"]}
        answer = await system.submit(document)
        wanted = list(_wanted(document, records))
        if answer.refused:
            return [Sent(recipient, record, refused=answer.refused) for recipient, record in wanted]
        return [
            Sent(recipient, record, message)
            for (recipient, record), message in zip(wanted, answer.messages, strict=True)
        ]
    return ()


def _wanted(
    document: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each recipient with the record that it is to get, in the order in which messages are answered."""
    for delivery in document.get("send", ()):
        for recipient in delivery["to"]:
            yield recipient, records[_key(delivery["record"])]


def _key(business_id: Mapping[str, str]) -> str:
    return f"{business_id['system']}|{business_id['value']}"
