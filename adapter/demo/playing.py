"""Play a scenario as the local system does: hand over, pause, resume, wait; and note how each message ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, Protocol

from adapter.demo.scenario import Scenario, Step

State = Literal["queued", "delivered", "withheld", "blocked", "dead"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a message ended, or "queued" if it has not. ``request_id``: under which its recipient would know it."""

    state: State
    reason: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Notified:
    """A notice that a consent no longer holds, by its id and that of its message. ``acknowledged``: its recipient has stopped."""

    recipient: str
    id: str
    message: str
    ended: Ended | None = None
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class HandedOver:
    """
    The answer to a submission: the messages it became, in the order of ``send``, or the code of its refusal. ``notified``:
    who is told that a consent no longer holds.
    """

    messages: tuple[str, ...] = ()
    refused: str = ""
    notified: tuple[Notified, ...] = ()


class LocalSystem(Protocol):
    """What a region's own system can do with its adapter."""

    async def submit(self, document: dict[str, Any]) -> HandedOver: ...

    async def pause(self, recipient: str) -> None: ...

    async def resume(self, recipient: str) -> None: ...

    async def ended(self, messages: Sequence[str]) -> Mapping[str, Ended]:
        """Wait until they have ended, as long as that makes sense; then say how."""
        ...

    async def acknowledged(self) -> frozenset[str]:
        """The notices, by id, whose recipients have said that they stopped."""
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
    """A scenario that was played at ``now``: all that it sent, in order, and who was told that a consent no longer holds."""

    scenario: Scenario
    now: datetime
    sent: tuple[Sent, ...]
    notified: tuple[Notified, ...] = ()


async def play(scenario: Scenario, system: LocalSystem, now: datetime) -> Played:
    """Take every step; at the end, wait until all messages have ended."""
    course = _Course(scenario, system, now)
    for step in scenario.steps:
        await course.take(step)
    ends = await course.ended()
    acknowledged = await system.acknowledged() if course.notified else frozenset[str]()
    return Played(
        scenario,
        now,
        tuple(replace(each, ended=ends.get(each.message)) for each in course.sent),
        tuple(
            replace(each, ended=ends.get(each.message), acknowledged=each.id in acknowledged)
            for each in course.notified
        ),
    )


@dataclass
class _Course:
    """A scenario while it is played, with all that came of the steps before."""

    scenario: Scenario
    system: LocalSystem
    now: datetime
    records: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    notified: list[Notified] = field(default_factory=list)

    async def take(self, step: Step) -> None:
        if step.pause:
            await self.system.pause(step.pause)
        elif step.resume:
            await self.system.resume(step.resume)
        elif step.wait:
            await self.ended()
        elif step.submit:
            await self._submit(self.scenario.submission(step.submit, self.now))

    async def ended(self) -> Mapping[str, Ended]:
        """How everything ended that was accepted so far."""
        messages = [*(each.message for each in self.sent), *(each.message for each in self.notified)]
        return await self.system.ended([message for message in messages if message])

    async def _submit(self, document: dict[str, Any]) -> None:
        self.records |= {_key(record["id"]): record for record in document["records"]}
        answer = await self.system.submit(document)
        wanted = list(_wanted(document, self.records))
        self.notified += answer.notified
        if answer.refused:
            self.sent += [Sent(recipient, record, refused=answer.refused) for recipient, record in wanted]
        else:
            messages = zip(wanted, answer.messages, strict=True)
            self.sent += [Sent(recipient, record, message) for (recipient, record), message in messages]


def _wanted(
    document: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each recipient with the record that it is to get, in the order in which messages are answered."""
    for delivery in document.get("send", ()):
        for recipient in delivery["to"]:
            yield recipient, records[_key(delivery["record"])]


def _key(business_id: Mapping[str, str]) -> str:
    return f"{business_id['system']}|{business_id['value']}"
