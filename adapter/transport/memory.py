"""
The shipped twin of the real transports: receivers in memory that behave as peers do, and misbehave when asked.

It passes the same contract suite as the others (tests/test_transport_contract.py), so what is tested or measured with it
holds for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from adapter.consent import notice
from adapter.consent.seal import Cleared, verify
from adapter.transport.receipt import TRIES_AFTER_ERROR, Receipt
from adapter.wire import bodies
from adapter.wire.media import USUAL, media_of

Situation = Literal[
    "unreachable",
    "certificate",
    "reset",
    "hang",
    "drip",
    "cut",
    "lost",
    "garbage",
    "no-acknowledgement",
    "not-the-peer",
    "too-large",
    "redirect",
    "busy",
    "error",
    "login",
    "forbidden",
    "conflict",
    "rejected",
    "entry-failed",
]
"""
What happens to a send. ``lost``: received and stored, and the connection closed without an answer. ``cut``, ``drip``: an
answer that breaks off, or never ends. ``busy``: 503 and Retry-After: 7. The others are named as the reason they lead to.
"""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a receiver holds of one message: the bytes exactly as they came."""

    request_id: str
    correlation_id: str
    content_type: str
    body: bytes
    digest: str


@dataclass(slots=True)
class _Receiver:
    held: dict[str, Arrived] = field(default_factory=dict)
    coming: deque[Situation] = field(default_factory=deque)


class Memory:
    """Receivers by destination id. ``expect`` says what happens to the next sends, in order; after that they are received."""

    def __init__(self, destinations: Iterable[str]) -> None:
        self._receivers = {destination: _Receiver() for destination in destinations}

    def expect(self, destination: str, *situations: Situation) -> None:
        self._receivers[destination].coming.extend(situations)

    def held(self, destination: str) -> tuple[Arrived, ...]:
        """What the receiver holds, each message once, in the order of arrival."""
        return tuple(self._receivers[destination].held.values())

    async def aclose(self) -> None:
        """What the receivers hold stays."""

    async def send(self, cleared: Cleared) -> Receipt:
        verify(cleared)
        receiver = self._receivers.get(cleared.destination)
        if receiver is None:
            return Receipt("refused", "config.no-such-destination", exposed=False)
        situation = receiver.coming.popleft() if receiver.coming else None
        if situation is not None and situation != "lost":
            return _RECEIPTS[situation]
        receipt = _receive(receiver, cleared)
        return _RECEIPTS["lost"] if situation == "lost" else receipt


def _receive(receiver: _Receiver, cleared: Cleared) -> Receipt:
    before = receiver.held.get(cleared.request_id)
    if before is not None and before.digest != cleared.digest:
        return Receipt("duplicate", "", 409, "duplicate", echoed=True)
    if before is None:
        receiver.held[cleared.request_id] = Arrived(
            cleared.request_id, cleared.correlation_id, cleared.content_type, cleared.body, cleared.digest
        )
    return Receipt("delivered", "", 200, echoed=True, stopped=_stopped(cleared))


def _stopped(cleared: Cleared) -> frozenset[str]:
    """A receiver that is told to stop using something does, and says so."""
    if notice.CODE.encode() not in cleared.body:
        return frozenset()
    task = notice.task_in(bodies.read(cleared.body, media_of(cleared.content_type) or USUAL))
    return frozenset() if task is None else frozenset({notice.id_in(task)})


_RECEIPTS: Final[Mapping[Situation, Receipt]] = {
    "unreachable": Receipt("retry", "peer.unreachable", exposed=False),
    "certificate": Receipt("retry", "peer.certificate", exposed=False),
    "reset": Receipt("retry", "peer.connection-lost"),
    "hang": Receipt("retry", "peer.timeout"),
    "drip": Receipt("retry", "peer.timeout"),
    "cut": Receipt("retry", "peer.connection-lost"),
    "lost": Receipt("retry", "peer.connection-lost"),
    "garbage": Receipt("retry", "peer.garbage"),
    "no-acknowledgement": Receipt("retry", "peer.garbage", 200, echoed=True),
    "not-the-peer": Receipt("retry", "peer.not-the-peer", 502),
    "too-large": Receipt("retry", "peer.answer-too-large"),
    "redirect": Receipt("retry", "peer.redirect", 307, echoed=True),
    "busy": Receipt("retry", "peer.busy", 503, retry_after_s=7.0, echoed=True),
    "error": Receipt("retry", "peer.error", 500, "exception", at_most=TRIES_AFTER_ERROR, echoed=True),
    "login": Receipt("refused", "peer.login", 401, "login", echoed=True),
    "forbidden": Receipt("refused", "peer.forbidden", 403, "forbidden", echoed=True),
    "conflict": Receipt("quarantine", "peer.conflict", 412, "conflict", echoed=True),
    "rejected": Receipt("quarantine", "peer.rejected", 422, "business-rule", echoed=True),
    "entry-failed": Receipt("quarantine", "peer.entry-failed", 200, echoed=True),
}
