"""``koord send``, ``queue``, ``dead``: hand over records, and see to what is waiting. Every action is audited with who and why."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapter.cli import reading
from adapter.cli.installation import config, operator, settings_of, store_of
from adapter.cli.terminal import OK, Command, Group, put_json, put_rows, say
from adapter.errors import Conflict, Fault, Invalid

if TYPE_CHECKING:
    from adapter.flows import Adapter
    from adapter.settings import Settings
    from adapter.store.quarantine import Attempt, Message
    from adapter.store.records import RecordRef

_json = click.option("--json", "as_json", is_flag=True, help="JSON in place of columns.")
_why = click.option("--why", required=True, help="The reason; it is kept in the audit log.")


@click.command(cls=Command)
@click.argument("file")
@config
@click.option("--to", "destinations", multiple=True, metavar="DESTINATION", help="Send every record in FILE there.")
@click.option("--wait", is_flag=True, help="Deliver what is due now, and show what became of it.")
def send(file: str, config: Path, destinations: tuple[str, ...], *, wait: bool) -> int:
    """
    Store the records in FILE and queue what is to be sent.

    FILE, or - for standard input, is a submission, a record or a list of records. What is printed is durable. With
    --wait it ends with 4 if something did not arrive, else with 5 if the consent gate withheld something.
    """
    import asyncio

    settings, content = settings_of(config), reading.read(file)
    submission = _submission(content, destinations)
    reading.records(content, mode=settings.mode)
    return asyncio.run(_send(settings, submission, wait=wait))


@click.command(cls=Command)
@config
@_json
def queue(config: Path, *, as_json: bool) -> int:
    """Show every destination with what waits for it."""
    from adapter.store import destinations

    with store_of(config) as store:
        overview = store.read(destinations.overview, now=_now()).result()
    rows = [
        {
            "destination": each.destination.id,
            "queued": each.queued,
            "oldest": _time(each.oldest),
            "in_flight": each.in_flight,
            "dead": each.dead,
            "paused": each.paused,
            "breaker": each.breaker,
        }
        for each in overview
    ]
    put_rows(rows, as_json=as_json)
    return OK


@click.group(cls=Group)
def dead() -> None:
    """See to messages that were given up."""


@dead.command("list")
@config
@click.option("--destination", metavar="DESTINATION", help="Only those to this one.")
@_json
def dead_list(config: Path, destination: str | None, *, as_json: bool) -> int:
    """List the dead, the newest first."""
    from adapter.store import quarantine

    with store_of(config) as store:
        found = store.read(quarantine.messages, now=_now(), state="dead", destination=destination).result()
    put_rows([_row(message) for message in found], as_json=as_json)
    return OK


@dead.command("show")
@click.argument("message")
@config
def dead_show(message: str, config: Path) -> int:
    """Show one message with its attempts, as JSON. Any message can be shown, also one that is not dead."""
    from adapter.store import quarantine

    with store_of(config) as store:
        found = store.read(quarantine.message, message, now=_now()).result()
        attempts = store.read(quarantine.attempts, message).result()
    if found is None:
        raise Conflict(Fault("store.unknown-message", "MESSAGE"))
    put_json({**_row(found), "attempts": [_attempt(each) for each in attempts]})
    return OK


@dead.command("release")
@click.argument("message")
@_why
@config
def dead_release(message: str, why: str, config: Path) -> int:
    """Queue a dead message again, as it is. The gate decides anew when it is sent."""
    from adapter.store import quarantine

    with store_of(config) as store:
        store.write(quarantine.release, message, who=operator(), why=why, now=_now()).result()
    put_json({"message": message, "state": "queued"})
    return OK


@dead.command("discard")
@click.argument("message")
@_why
@config
def dead_discard(message: str, why: str, config: Path) -> int:
    """Give up a message for good; those behind it go on."""
    from adapter.store import quarantine

    with store_of(config) as store:
        store.write(quarantine.discard, message, who=operator(), why=why, now=_now()).result()
    put_json({"message": message, "state": "discarded"})
    return OK


def _submission(content: reading.Content, destinations: tuple[str, ...]) -> dict[str, Any]:
    if content.is_fhir:
        raise Invalid(Fault("cli.not-a-submission", line=1, column=1))
    submission = content.value if content.is_submission else {}
    documents = [document for _, document in content.records]
    named = [document.get("id") if isinstance(document, dict) else None for document in documents]
    sends = [{"record": each, "to": list(destinations)} for each in named] if destinations else []
    return {**submission, "records": documents, "send": [*submission.get("send", ()), *sends]}


async def _send(settings: Settings, submission: dict[str, Any], *, wait: bool) -> int:
    from adapter.flows import Adapter, Dispatcher, accept

    adapter = Adapter.open(settings)
    try:
        accepted = await accept(adapter, submission, caller=operator())
        if wait:
            await Dispatcher(adapter, owner=operator()).drain()
            return await _show_outcomes(adapter, accepted.answer)
        put_json(accepted.answer)
    finally:
        await adapter.close()
    return OK


async def _show_outcomes(adapter: Adapter, answer: dict[str, Any]) -> int:
    from adapter.store import quarantine

    rows: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for queued in answer["messages"]:
        message = await adapter.store.read(quarantine.message, queued["id"], now=adapter.clock())
        if message is None:
            continue
        rows.append({**queued, "state": message.state, "reason": message.reason})
        if message.state != "delivered":
            code = "cli.withheld" if message.state in {"withheld", "blocked"} else "cli.not-delivered"
            faults.append(Fault(code, message.message_id, message.reason or "", named=(("state", message.state),)))
    put_json({**answer, "messages": rows})
    say(faults)
    return min((fault.entry.exit for fault in faults), default=OK)


def _row(message: Message) -> dict[str, Any]:
    return {
        "message": message.message_id,
        "destination": message.destination,
        "state": message.state,
        "reason": message.reason,
        "purpose": message.purpose,
        "records": " ".join(_named(ref) for ref in message.records),
        "attempts": message.attempts,
        "created": _time(message.created_at),
        "due": _time(message.due_at),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    shown = {name: value for name, value in asdict(attempt).items() if name != "body_digest"}
    return {**shown, "at": _time(attempt.at), "ended_at": _time(attempt.ended_at)}


def _named(ref: RecordRef) -> str:
    return f"{ref.record_id}/{ref.version}"


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds")


def _now() -> datetime:
    return datetime.now(UTC)
