"""
What the receivers hold, compared with what the scenarios say: delivered and the same, or kept back and nowhere.

Nothing here believes the sender. Whether something arrived, what was left out of it and whether a canary is in it is read
from the bytes that the receivers hold.
"""

from __future__ import annotations

import html
import re
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from adapter.consent.inspection import leaves
from adapter.demo.cast import release_of
from adapter.demo.playing import Notified, Played, Sent
from adapter.demo.scenario import Expectation, Notice, Outcome, normalised
from adapter.domain import Category, Record, read_record
from adapter.errors import AdapterError
from adapter.mapping import Mapper, Permission, Traced
from adapter.wire import json, xml

Bundle = dict[str, Any]
Value = tuple[str, str]
"""A path without indexes, and what stands there."""


@dataclass(frozen=True, slots=True)
class Held:
    """
    One message that a receiver holds, once however often it came: its request id, its body, and what came around it. A
    receiver's messages are in the order in which they came.
    """

    request_id: str
    body: bytes
    around: bytes = b""

    def bundle(self) -> Bundle:
        """
        The Bundle in the body.

        Raises:
            Unreadable: it is not what our own strict readers take.
        """
        if self.body.lstrip()[:1] == b"<":
            return xml.read(self.body)
        return dict(json.read(self.body, require_object=True))


@dataclass(frozen=True, slots=True)
class Row:
    """
    One scenario for one recipient. ``received``: the recipient holds something of it; ``left_out`` as in ``Expectation``,
    for what it holds; ``problems``: what is not as the scenario says; ``notice`` as in ``Expectation``.
    """

    scenario: str
    recipient: str
    outcome: Outcome
    reason: str
    received: bool
    left_out: tuple[str, ...]
    problems: tuple[str, ...]
    notice: Notice = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    ``lost``: messages accepted that their recipient does not hold and that were not kept for a reason. ``leaked``: canaries
    found at recipients, and messages that nobody sent there. ``entered``: messages that the sender's journal says were sent, of
    ``to_enter`` that were.
    """

    rows: tuple[Row, ...]
    lost: int
    leaked: int
    problems: tuple[str, ...]
    entered: int = 0
    to_enter: int = 0

    @property
    def good(self) -> bool:
        """Everything is as the scenarios say. What is lost or leaked is among the problems."""
        return not self.problems


def judge(
    played: Sequence[Played],
    held: Mapping[str, Sequence[Held]],
    mapper: Mapper,
    entries: Mapping[str, str] | None = None,
) -> Verdict:
    """
    Judge the scenarios that were played by all that each recipient holds after them, and by the ``entries`` of the sender's
    journal, if it has one: its last word about each message.
    """
    rows = tuple(
        _row(one, expected, held.get(expected.recipient, ()), mapper)
        for one in played
        for expected in one.scenario.expectations
    )
    lost = [
        f"{one.scenario.name}: lost on the way to {each.recipient}"
        for one in played
        for each in one.sent
        if _is_lost(each, held.get(each.recipient, ()))
    ]
    leaks = [leak for recipient, messages in held.items() for leak in _leaks(recipient, messages, played)]
    told = [f"{row.scenario}, {row.recipient}: {problem}" for row in rows for problem in row.problems]
    sent, entered = delivered(played), {message for message, said in (entries or {}).items() if said == "completed"}
    wrong = [] if entries is None else [f"the journal is wrong about a message ({each})" for each in sent ^ entered]
    problems = (*lost, *leaks, *told, *_surprises(played), *wrong)
    return Verdict(rows, len(lost), len(leaks), problems, len(entered), 0 if entries is None else len(sent))


def delivered(played: Sequence[Played]) -> set[str]:
    """The ids of the messages that were delivered, as their sender says."""
    return {each.message for one in played for each in one.sent if each.ended and each.ended.state == "delivered"}


def last_words(held: Sequence[Held]) -> dict[str, str]:
    """What a journal says in the end about each message, by its id."""
    told: dict[str, str] = {}
    for message in held:
        for entry in message.bundle()["entry"]:
            communication = entry["resource"]
            told[communication["identifier"][0]["value"].removeprefix("urn:uuid:")] = communication["status"]
    return told


def left_out_of(record: Record, bundle: Bundle, mapper: Mapper) -> frozenset[Category]:
    """
    The categories of a record that a Bundle made of it does not tell in full.

    A value needs a category if it disappears when that category alone is closed. What is missing because of one category
    is not held against another: the patient's number in a goal is gone with the goal.
    """
    told = set(_values([entry["resource"] for entry in bundle.get("entry", ())]))
    lineage: list[Traced] = []
    missing = set(_values(mapper.to_fhir(record, trace=lineage).resources)) - told
    everything = frozenset(Category)
    needs: dict[Value, set[Category]] = {value: set() for value in missing}
    for category in {Category(line.category) for line in lineage} - {Category.ADMINISTRATIVE}:
        without = mapper.to_fhir(record, permission=Permission(everything - {category})).resources
        for value in missing - set(_values(without)):
            needs[value].add(category)
    left_out: set[Category] = set()
    for categories in sorted(needs.values(), key=len):
        if not categories & left_out:
            left_out |= categories
    return frozenset(left_out)


def readings(message: Held) -> frozenset[str]:
    """
    Every text that somebody could read in a message, in lower case: as it came, and behind escapes of JSON, XML or URLs and
    base64, three deep.
    """
    found = {(message.around + b"\n" + message.body).decode("utf-8", "replace")}
    layer = set(found)
    for _ in range(_DEPTH):
        layer = {reading for text in layer for reading in _unwrapped(text)} - found
        found |= layer
    return frozenset(text.casefold() for text in found)


def _row(played: Played, expected: Expectation, held: Sequence[Held], mapper: Mapper) -> Row:
    sent = [each for each in played.sent if each.recipient == expected.recipient]
    ends = [_end(each) for each in sent]
    wished = (expected.outcome, expected.reason)
    outcome, reason = next((end for end in ends if end != wished), wished if ends else ("refused", "not-sent"))
    by_id = {_request_id(each): each for each in sent}
    arrived = [(by_id[message.request_id], message) for message in held if message.request_id in by_id]
    left_out: set[Category] = set()
    problems: list[str] = []
    bundles: list[Bundle] = []
    for each, message in arrived:
        try:
            bundles.append(message.bundle())
        except AdapterError as error:
            problems.append(f"holds what cannot be read ({error.first.code})")
            continue
        in_release = mapper.of(release_of(expected.recipient))
        left_out |= left_out_of(read_record(dict(each.record), mode="test")[0], bundles[-1], in_release)
    if (outcome, reason) != wished:
        problems.append(f"{_words(outcome, reason)}, expected {_words(*wished)}")
    if expected.outcome == "delivered" and left_out != expected.left_out:
        problems.append(f"left out: {_list(left_out)}, expected: {_list(expected.left_out)}")
    if [normalised(bundle) for bundle in bundles] != played.scenario.expected(expected.recipient, played.now):
        problems.append(f"holds something else than expected/{expected.recipient}.json")
    notice = _notice(played, expected.recipient, {message.request_id for message in held})
    if _REACHED.index(notice) < _REACHED.index(expected.notice) or (notice and not expected.notice):
        problems.append(f"notice of withdrawal: {notice or 'none'}, expected: {expected.notice or 'none'}")
    return Row(
        played.scenario.name,
        expected.recipient,
        outcome,
        reason,
        bool(arrived),
        tuple(sorted(left_out)),
        tuple(problems),
        notice,
    )


def _notice(played: Played, recipient: str, held: Collection[str]) -> Notice:
    """How far the notices to a recipient have come, all of them: what it does not hold counts for nothing."""
    told = [each for each in played.notified if each.recipient == recipient]
    if not told or not all(_request_id(each) in held for each in told):
        return ""
    return "acknowledged" if all(each.acknowledged for each in told) else "delivered"


def _end(sent: Sent) -> tuple[Outcome, str]:
    """How it ended for its sender. A dead letter, and what still waits, count as refused, with their reason."""
    if sent.refused or sent.ended is None:
        return "refused", sent.refused or "unknown"
    match sent.ended.state:
        case "delivered":
            return "delivered", ""
        case "withheld" | "blocked":
            return "withheld", sent.ended.reason
        case state:
            return "refused", sent.ended.reason or state


def _is_lost(sent: Sent, held: Sequence[Held]) -> bool:
    if sent.refused or (sent.ended and sent.ended.state in {"withheld", "blocked"}):
        return False
    return _request_id(sent) not in {message.request_id for message in held}


def _leaks(recipient: str, held: Sequence[Held], played: Sequence[Played]) -> Iterator[str]:
    known = {_request_id(each) for one in played for each in one.sent if _end(each)[0] == "delivered"}
    known |= {_request_id(each) for one in played for each in one.notified if each.recipient == recipient}
    texts = [readings(message) for message in held]
    yield from (f"{recipient} holds a message that nobody sent" for message in held if message.request_id not in known)
    for one in played:
        for expected in one.scenario.expectations:
            for number, canary in enumerate(expected.canaries if expected.recipient == recipient else ()):
                found = sum(any(canary.casefold() in text for text in readable) for readable in texts)
                yield from [f"{one.scenario.name}: {recipient} holds canary {number + 1}"] * found


def _surprises(played: Sequence[Played]) -> Iterator[str]:
    for one in played:
        foreseen = {expected.recipient for expected in one.scenario.expectations}
        yield from (
            f"{one.scenario.name}: says nothing about {recipient}"
            for recipient in (*(each.recipient for each in one.sent), *(each.recipient for each in one.notified))
            if recipient not in foreseen
        )


def _request_id(sent: Sent | Notified) -> str:
    return sent.ended.request_id if sent.ended else ""


def _values(resources: Sequence[Mapping[str, Any]]) -> Iterator[Value]:
    """Every value with its path, but for the ids, which differ from one adapter to another."""
    for resource in resources:
        yield from (
            (path, str(value)) for path, value in leaves(dict(resource)) if not path.endswith((".id", ".reference"))
        )


def _words(outcome: str, reason: str) -> str:
    return f"{outcome} ({reason})" if reason else outcome


def _list(categories: set[Category] | frozenset[Category]) -> str:
    return ", ".join(sorted(categories)) or "nothing"


_REACHED: Final[tuple[Notice, ...]] = ("", "delivered", "acknowledged")
"""How far a notice can come; further than a scenario expects is well."""
_DEPTH: Final = 3
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}", re.ASCII)
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})", re.ASCII)


def _unwrapped(text: str) -> Iterator[str]:
    yield html.unescape(text)
    yield unquote(text)
    units = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text).replace("\\/", "/")
    yield units.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    runs = [run.rstrip("=").replace("-", "+").replace("_", "/") for run in _BASE64.findall(text)]
    yield "\n".join(_decoded(run[start:]) for run in runs for start in range(4))


def _decoded(base64: str) -> str:
    whole = base64[: len(base64) // 4 * 4]
    rest = base64[len(whole) :] if len(base64) % 4 > 1 else ""
    return b64decode(whole + rest + "=" * (-len(rest) % 4)).decode("utf-8", "replace")
