"""
A region whose every send is watched from the outside: what left, to whom, on which consents, and which notices went.

What it tells is read off the bytes that were given to the transport, never off the store.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass

import region as r

from adapter.consent import notice
from adapter.consent.seal import verify
from adapter.domain import BusinessId
from adapter.flows import Dispatcher, accept
from adapter.store import withdrawals
from adapter.transport.memory import Memory
from adapter.wire import json, xml

INTERVENTIONS = r.consent("c-i", "interventions")
COLLABORATE = r.consent("c-c", "collaborate", recipient=r.EMPLOYER)
MUNICIPALITY = {"category": "kommun", "organisation_number": "2120000142", "name": "Kommunen"}


@dataclass(frozen=True)
class Seen:
    """One call of the transport. ``exposed``: bytes may have arrived. ``task``: the notice in it, if it is one."""

    destination: str
    consents: frozenset[str]
    exposed: bool
    request_id: str
    task: dict | None
    body: bytes


class Watched(Memory):
    """
    Receivers in memory. Every send is noted as it begins, by the consents that it rests on (a notice: none), and when it has
    ended. ``holding``: what the next ones wait for on their way.
    """

    def __init__(self, destinations):
        super().__init__(destinations)
        self.seen: list[Seen] = []
        self.begun: list[frozenset[str]] = []
        self.holding: deque = deque()

    async def send(self, cleared):
        verify(cleared)
        consents = frozenset(name.rpartition("|")[2] for name, _ in cleared.consent_versions)
        task = notice.task_in((xml.read if cleared.content_type.endswith("xml") else json.read)(cleared.body))
        self.begun.append(frozenset() if task else consents)
        if self.holding:
            await self.holding.popleft().wait()
        receipt = await super().send(cleared)
        exposed = receipt.exposed
        self.seen.append(Seen(cleared.destination, consents, exposed, cleared.request_id, task, cleared.body))
        return receipt

    def notices(self, destination=None):
        """The notices that arrived, each once."""
        found = {each.task["id"]: each for each in self.seen if each.task and each.exposed}
        return [each for each in found.values() if destination in {None, each.destination}]

    def got(self, consent):
        """Who may have got something on a consent."""
        return {each.destination for each in self.seen if each.exposed and not each.task and consent in each.consents}


@asynccontextmanager
async def watched(folder, **more):
    clock = more.pop("clock", None) or r.Clock()
    configured = r.settings(folder, **more)
    transport = Watched([d.id for d in configured.destinations])
    async with r.region(folder, clock=clock, transport=transport, **more) as adapter:
        yield adapter


async def hand_over(adapter, *documents, **sends):
    return (await accept(adapter, r.submission(*documents, **sends), caller="local")).answer


async def drain(adapter):
    await Dispatcher(adapter, owner="test").drain()


async def sent(adapter, *documents, **sends):
    answer = await hand_over(adapter, *documents, **sends)
    await drain(adapter)
    return answer


async def listed(adapter):
    """Every order: destination → its states."""
    now = adapter.clock()
    found = {}
    for each in await adapter.store.read(withdrawals.listed):
        found.setdefault(each.destination, []).append(each.state(now))
    return found


def told(answer):
    return sorted(each["to"] for each in answer["notified"])


def business(value):
    return BusinessId(system=r.IDS, value=value)
