"""
What the region has said on a peer's notice of withdrawal: that it has stopped, and the urgent message that tells the peer.

One row for each notice: the first word counts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from adapter.store import audit, outbox
from adapter.store.database import Transaction
from adapter.store.instants import micros, new_id
from adapter.store.outbox import Send
from adapter.store.records import Version

PURPOSE: Final = "receipt"
"""Of a message that carries a receipt."""


def say(  # noqa: PLR0913  named by the caller
    tx: Transaction, notice: Version, destination: str, *, by: str, who: str, now: datetime
) -> str:
    """
    Queue the receipt for a notice, once; the id of the message that carries it.

    ``by``: who said so, sealed; ``who``: who wrote it down, for the audit log.

    Raises:
        Misconfigured: ``store.unknown-destination``.
    """
    said = tx.one("SELECT message_id FROM stopped WHERE notice_id = :id", id=notice.record_id)
    if said is not None:
        return str(said[0])
    send = Send(destination, notice.patient_key, (notice.ref,), PURPOSE, new_id(now), urgent=True)
    message_id = outbox.enqueue(tx, send, now=now)
    tx.run(
        "INSERT INTO stopped (notice_id, message_id, said_at, said_by) VALUES (:id, :message_id, :at, :by)",
        id=notice.record_id,
        message_id=message_id,
        at=micros(now),
        by=tx.keys.seal(by.encode(), "stopped", notice.record_id),
    )
    entry = audit.Entry(
        "withdrawal.stopped",
        who,
        notice.record_id,
        patient_key=notice.patient_key or None,
        details=by.encode(),
    )
    audit.append(tx, [entry], now=now)
    return message_id
