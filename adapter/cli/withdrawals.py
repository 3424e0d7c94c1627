"""``koord withdrawals``: who was to be told that a consent no longer holds, who has answered, and who must be called."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapter.cli.installation import config, operator, store_of
from adapter.cli.terminal import FINDINGS, OK, Group, put_json, put_rows

if TYPE_CHECKING:
    from adapter.store.withdrawals import Withdrawal

_json = click.option("--json", "as_json", is_flag=True, help="JSON in place of columns.")
_TO_CALL = ("overdue", "undeliverable")


@click.group("withdrawals", cls=Group, invoke_without_command=True)
@config
@_json
@click.pass_context
def withdrawals_(context: click.Context, config: Path, *, as_json: bool) -> int:
    """
    Show who was told that a consent no longer holds.

    Without a command all of them, the oldest first, each queued, delivered, acknowledged, overdue or undeliverable.
    """
    if context.invoked_subcommand is None:
        _show(_listed(config, only_open=False), as_json=as_json)
    return OK


@withdrawals_.command("overdue")
@config
@_json
def overdue(config: Path, *, as_json: bool) -> int:
    """List those that nobody has answered in 24 hours or that cannot be delivered. Ends with 1 if there is any."""
    now = _now()
    found = [each for each in _listed(config, only_open=True) if each.state(now) in _TO_CALL]
    _show(found, as_json=as_json)
    return FINDINGS if found else OK


@withdrawals_.command("receipt")
@click.argument("withdrawal")
@click.option("--by", required=True, metavar="NAME", help="Who said so at the recipient; kept encrypted.")
@config
def receipt(withdrawal: str, by: str, config: Path) -> int:
    """Record that a recipient has said, by telephone or letter, that it has stopped using what it got."""
    from adapter.store import withdrawals

    now = _now()
    with store_of(config) as store:
        found = store.write(withdrawals.receipt, withdrawal, by=by, who=operator(), now=now).result()
    put_json(_row(found, now))
    return OK


def _listed(path: Path, *, only_open: bool) -> list[Withdrawal]:
    from adapter.store import withdrawals

    with store_of(path) as store:
        return store.read(withdrawals.listed, only_open=only_open).result()


def _show(found: list[Withdrawal], *, as_json: bool) -> None:
    now = _now()
    put_rows([_row(each, now) for each in found], as_json=as_json)


def _row(order: Withdrawal, now: datetime) -> dict[str, Any]:
    return {
        "withdrawal": order.id,
        "destination": order.destination,
        "cause": order.cause,
        "state": order.state(now),
        "reason": order.reason,
        "ordered": _time(order.created_at),
        "delivered": _time(order.delivered_at),
        "receipt": _time(order.receipt_at),
        "message": order.message_id,
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds")


def _now() -> datetime:
    return datetime.now(UTC)
