"""``koord why``: why a message left or did not, as the gate explained it, and whether it says the same when it is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from adapter.cli.installation import config, operator, settings_of, store_of
from adapter.cli.terminal import OK, Command, finished, language, put, put_json, say
from adapter.errors import Fault

if TYPE_CHECKING:
    from adapter.flows.why import Explained, Replayed
    from adapter.store.quarantine import Attempt, Message

_WORDS: Final = {
    "en": {
        "attempt": "Attempt {n}, {at}: {status}. Bytes left: {exposed}.",
        "none": "  No explanation is stored with this attempt.",
        "started": "under way", "unknown": "broken off", "delivered": "delivered", "retry": "failed, tried again",
        "withheld": "withheld", "blocked": "taken back", "dead": "given up",
        "no": "no", "perhaps": "perhaps", "yes": "yes",
    },
    "sv": {
        "attempt": "Försök {n}, {at}: {status}. Något lämnades ut: {exposed}.",
        "none": "  Ingen förklaring är lagrad med försöket.",
        "started": "pågår", "unknown": "avbrutet", "delivered": "levererat", "retry": "misslyckat, försöks igen",
        "withheld": "hållet inne", "blocked": "återkallat", "dead": "uppgivet",
        "no": "nej", "perhaps": "kanske", "yes": "ja",
    },
}  # fmt: skip


@click.command("why", cls=Command)
@click.argument("message")
@config
@click.option("--all", "every", is_flag=True, help="Every attempt, the latest first; only the latest if left out.")
@click.option("--replay", is_flag=True, help="Decide again from what is stored, and compare.")
@click.option("--json", "as_json", is_flag=True, help="JSON in place of text.")
def why_(message: str, config: Path, *, every: bool, replay: bool, as_json: bool) -> int:
    """
    Show why a message was sent or withheld.

    MESSAGE is its id, as `koord queue` and `koord send` print it. That the explanation was read is entered in the audit
    log. Nothing is sent. With --replay it ends with 1 if other rules hold now, 6 if what is stored gives another answer.
    """
    from adapter.flows.why import why

    with store_of(config) as store:
        found, attempts = finished(why(store, message, who=operator(), now=datetime.now(UTC)))
    chosen = attempts if every else attempts[:1]
    replayed = finished(_replay(config, message, [each.attempt.n for each in chosen])) if replay else ()
    if as_json:
        put_json(_document(found, chosen, replayed))
    else:
        put(_text(chosen, replayed))
    faults = [each.verdict for each in replayed if each.verdict.severity == "error"]
    say(faults, source=message)
    return max((fault.entry.exit for fault in faults), default=OK)


async def _replay(config: Path, message: str, attempts: Sequence[int]) -> tuple[Replayed, ...]:
    from adapter.flows import Adapter
    from adapter.flows.why import replay
    from adapter.transport.memory import Memory

    adapter = Adapter.open(settings_of(config), transport=Memory(()))
    try:
        return await replay(adapter, message, attempts)
    finally:
        await adapter.close()


def _text(attempts: Sequence[Explained], replayed: Sequence[Replayed]) -> str:
    from adapter.consent.explanation import explain_text

    if not attempts:
        return Fault("why.no-attempt").says(language())
    words = _WORDS[language()]
    verdicts = {each.attempt.n: each for each in replayed}
    lines: list[str] = []
    for each in attempts:
        lines.append(_heading(each.attempt))
        again = verdicts.get(each.attempt.n)
        explanation = each.explanation or (again.explanation if again else None)
        lines.append(explain_text(explanation, language()) if explanation else words["none"])
        lines += [f"  {again.verdict.says(language())}"] if again and again.verdict.severity != "error" else []
    return "\n".join(lines)


def _heading(attempt: Attempt) -> str:
    words = _WORDS[language()]
    reason = f" ({attempt.reason})" if attempt.reason else ""
    return words["attempt"].format(
        n=attempt.n,
        at=attempt.at.astimezone(UTC).isoformat(timespec="seconds"),
        status=words[attempt.status] + reason,
        exposed=words[attempt.exposed],
    )


def _document(message: Message, attempts: Sequence[Explained], replayed: Sequence[Replayed]) -> dict[str, Any]:
    verdicts = {each.attempt.n: each for each in replayed}
    return {
        "message": message.message_id,
        "destination": message.destination,
        "state": message.state,
        "reason": message.reason,
        "attempts": [_row(each, verdicts.get(each.attempt.n)) for each in attempts],
    }


def _row(explained: Explained, replayed: Replayed | None) -> dict[str, Any]:
    attempt = explained.attempt
    row = {
        "n": attempt.n,
        "at": attempt.at.isoformat(),
        "ended_at": attempt.ended_at.isoformat() if attempt.ended_at else None,
        "status": attempt.status,
        "reason": attempt.reason,
        "exposed": attempt.exposed,
        "explanation": _read(explained.explanation),
    }
    if replayed is None:
        return row
    again = {"code": replayed.verdict.code, "differs": replayed.verdict.why, "explanation": _read(replayed.explanation)}
    return {**row, "replay": again}


def _read(explanation: bytes | None) -> Any:
    from adapter.wire import json

    return None if explanation is None else json.read(explanation)
