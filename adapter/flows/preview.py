"""What a recipient would get, from files alone: the same gate, opened for one look and with keys that nobody keeps. Nothing is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from secrets import token_bytes
from typing import Any
from uuid import uuid4

from adapter.consent import disclosure
from adapter.consent.gate import Cleared, Gate, Withheld
from adapter.consent.policy import Recipient, Snapshot
from adapter.domain import Block, Consent, Purpose, Record
from adapter.mapping import Mapper
from adapter.sweden import person_key


def preview(  # noqa: PLR0913  named by the caller
    record: Record,
    *,
    recipient: Recipient,
    consents: Iterable[Consent | Block],
    at: datetime,
    mapper: Mapper,
    purpose: Purpose | None = None,
    foreign: Iterable[Mapping[str, Any]] = (),
) -> Cleared | Withheld:
    """
    What the gate would let the recipient have of a record at an aware time, with these consents and spärrar.

    The record's own care provider counts as the sender. ``purpose``: the usual one of the recipient's type if left out.
    ``foreign``: Consents of other systems, as in ``Snapshot``.
    """
    patient = person_key(record.patient.identity.kind, record.patient.identity.number)
    own = [each for each in consents if person_key(each.patient.identity.kind, each.patient.identity.number) == patient]
    gate = Gate(senders=[record.provider.hsa_id], id_key=token_bytes(32), mapper=mapper)
    return gate.clear(
        record,
        destination=recipient,
        purpose=purpose or disclosure.load().of[recipient.type].usual_purpose,
        snapshot=Snapshot(
            patient=record.patient.identity,
            consent_version=1,
            consents=tuple(each for each in own if isinstance(each, Consent)),
            blocks=tuple(each for each in own if isinstance(each, Block)),
            foreign=tuple(foreign),
        ),
        now=at,
        request_id=str(uuid4()),
        correlation_id=str(uuid4()),
    )
