"""
What came of a send: the port, its receipt, and how an answer over HTTP is judged.

The judge is pure. What it leans on: an answer counts only if it is the peer's own (a FHIR resource, and our X-Request-Id
repeated); anything else is a machine on the way, and trying again is harmless since the request id stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Final, Literal, Protocol, get_args

from adapter.consent import notice
from adapter.consent.seal import Cleared
from adapter.definitions import Release, definitions
from adapter.errors import AdapterError
from adapter.wire import Limits, bodies
from adapter.wire.media import media_of

Outcome = Literal["delivered", "duplicate", "retry", "refused", "quarantine"]

LARGEST_ANSWER: Final = 1_000_000
"""Bytes. Answers are asked for without content (``Prefer: return=minimal``)."""
LONGEST_PAUSE_S: Final = 86_400.0
TRIES_AFTER_ERROR: Final = 3

_LIMITS: Final = Limits(size=LARGEST_ANSWER)


@dataclass(frozen=True, slots=True)
class Receipt:
    """
    ``outcome``: delivered; duplicate (the peer has had it before: as good as delivered); retry; refused (the peer will not
    have us, or there is no such destination: agreements or settings must change, not the message); quarantine (the peer
    will not have this message).

    ``reason`` is a stable code, empty when delivered; ``issue`` the peer's own code from FHIR's list, if it gave one;
    ``status`` the HTTP status. ``at_most``: give up after so many attempts with this reason. ``exposed``: bytes may have
    reached someone (False only if it is certain that none did). ``echoed``: our request id came back. ``stopped``: the notices that the peer answers it
    has stopped using everything of, by id.
    """

    outcome: Outcome
    reason: str = ""
    status: int | None = None
    issue: str = ""
    retry_after_s: float | None = None
    at_most: int | None = None
    exposed: bool = True
    echoed: bool = False
    stopped: frozenset[str] = frozenset()

    @property
    def peer_failed(self) -> bool:
        """Whether this counts against the destination's health."""
        return self.outcome == "retry"


class Transport(Protocol):
    """A way out. It takes nothing but what the gate has cleared."""

    async def send(self, cleared: Cleared) -> Receipt:
        """
        One attempt. Never raises for what a peer or the network does.

        Raises:
            Denied: the gate did not make this, or it was changed (``gate.not-cleared``). Nothing was sent.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response, read to its end: ``body`` at most ``LARGEST_ANSWER`` bytes, header values or empty strings."""

    status: int
    body: bytes = b""
    content_type: str = ""
    request_id: str = ""
    retry_after: str = ""


def judge(answer: Answer, *, request_id: str, must_echo: bool, now: datetime) -> Receipt:
    """What an answer to our transaction means. ``must_echo``: the peer is known to repeat request ids."""
    status, echoed = answer.status, answer.request_id == request_id
    if status in _PAUSES:
        wait = _wait(answer.retry_after, now)
        return Receipt("retry", _PAUSES[status], status, retry_after_s=wait, echoed=echoed)
    if 300 <= status < 400:
        return Receipt("retry", "peer.redirect", status, echoed=echoed)
    resource = _resource(answer)
    if (must_echo and not echoed) or (resource is None and status >= 300):
        return Receipt("retry", "peer.not-the-peer", status, echoed=echoed)
    if status < 300:
        return _judge_success(status, resource, echoed=echoed)
    if resource is None or resource.get("resourceType") != "OperationOutcome":
        return Receipt("retry", "peer.not-the-peer", status, echoed=echoed)
    return _judge_refusal(status, _issues(resource), echoed=echoed)


_PAUSES: Final[Mapping[int, str]] = {408: "peer.slow", 429: "peer.busy", 503: "peer.busy", 504: "peer.slow"}


def _judge_success(status: int, resource: Mapping[str, Any] | None, *, echoed: bool) -> Receipt:
    """A transaction holds as a whole or not at all, so an answer with a failed entry is not one that we may trust."""
    if resource is None or resource.get("resourceType") != "Bundle" or resource.get("type") != "transaction-response":
        return Receipt("retry", "peer.garbage", status, echoed=echoed)
    entries = resource.get("entry")
    if not isinstance(entries, list) or not all(_entry_succeeded(entry) for entry in entries):
        return Receipt("quarantine", "peer.entry-failed", status, echoed=echoed)
    return Receipt("delivered", "", status, echoed=echoed, stopped=frozenset(_stopped(entries)))


def _stopped(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        task = entry.get("resource")
        if isinstance(task, dict) and notice.is_notice(task) and notice.answers(task):
            yield notice.id_in(task)


def _judge_refusal(status: int, issues: tuple[str, ...], *, echoed: bool) -> Receipt:
    issue = issues[0] if issues else ""
    if status == 409 and "duplicate" in issues:
        return Receipt("duplicate", "", status, "duplicate", echoed=echoed)
    if status >= 500:
        return Receipt("retry", "peer.error", status, issue, at_most=TRIES_AFTER_ERROR, echoed=echoed)
    if status in {401, 403}:
        return Receipt("refused", "peer.login" if status == 401 else "peer.forbidden", status, issue, echoed=echoed)
    return Receipt(
        "quarantine", "peer.conflict" if status in {409, 412} else "peer.rejected", status, issue, echoed=echoed
    )


def _resource(answer: Answer) -> dict[str, Any] | None:
    """The FHIR resource in the body, or None: a middlebox's page, half a body, nothing."""
    media = media_of(answer.content_type)
    if media is None:
        return None
    try:
        value = bodies.read(answer.body, media, limits=_LIMITS)
    except AdapterError:
        return None
    return value if isinstance(value.get("resourceType"), str) else None


def _entry_succeeded(entry: Any) -> bool:
    response = entry.get("response") if isinstance(entry, dict) else None
    status = response.get("status") if isinstance(response, dict) else None
    return isinstance(status, str) and status[:1] == "2" and status[:3].isdecimal()


def _issues(outcome: Mapping[str, Any]) -> tuple[str, ...]:
    """The issue codes that are in FHIR's list. Whatever else a peer writes may name a person, and stays out."""
    issues = outcome.get("issue")
    found = [issue.get("code") for issue in issues if isinstance(issue, dict)] if isinstance(issues, list) else []
    return tuple(code for code in found if isinstance(code, str) and code in _issue_codes())


@cache
def _issue_codes() -> frozenset[str]:
    """Of all releases: R5 has added two."""
    every = (definitions(release).codes("http://hl7.org/fhir/ValueSet/issue-type").all for release in get_args(Release))
    return frozenset().union(*every)


def _wait(retry_after: str, now: datetime) -> float | None:
    """Seconds, from a number of them or a date (RFC 9110 10.2.3); at most a day."""
    if retry_after.isascii() and retry_after.isdecimal():
        return min(float(retry_after[:9]), LONGEST_PAUSE_S)
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    until = until.replace(tzinfo=UTC) if until.tzinfo is None else until
    return min(max((until - now).total_seconds(), 0.0), LONGEST_PAUSE_S)
