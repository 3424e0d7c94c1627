"""A store's tables in memory, without threads or files: operations are functions of a transaction, so they run on this too."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from adapter.store import Keys, Transaction, audit, destinations, inbox, outbox, records, schema
from adapter.store.disclosures import Disclosure

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=30)
PERSON = "http://electronichealth.se/identifier/personnummer|191212121212"
OTHER = "http://electronichealth.se/identifier/personnummer|195009072553"


def some_keys(seed: int = 1) -> Keys:
    return Keys(index=bytes([seed]) * 32, bodies=[bytes([seed + 100]) * 32])


class World:
    """One store and one clock; every call of ``do`` is a commit, or nothing if it raises."""

    def __init__(self, *declared: destinations.Destination) -> None:
        self.keys = some_keys()
        self.now = START
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA foreign_keys = ON")
        for statement in schema.statements():
            self.connection.execute(statement)
        self._requests = 0
        self.do(destinations.declare, list(declared) or [destinations.Destination("peer")], now=self.now)

    def close(self) -> None:
        self.connection.close()

    def do(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.connection.execute("BEGIN")
        try:
            result = work(Transaction(self.connection, self.keys), *args, **kwargs)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return result

    def sql(self, statement: str, *values: Any) -> list[Any]:
        return self.connection.execute(statement, values).fetchall()

    def later(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now

    def patient(self, identity: str = PERSON) -> str:
        return self.keys.patient_key(identity)

    def arrival(self, request_id: str | None = None, body: bytes = b"body", **more: Any) -> inbox.Arrival:
        if request_id is None:
            self._requests += 1
            request_id = f"request-{self._requests}"
        return inbox.Arrival("local", request_id, self.keys.fingerprint(body), "local", **more)

    def accept(
        self,
        *new: records.NewRecord,
        sends: Any = (),
        arrival: inbox.Arrival | None = None,
        entries: Any = (),
    ) -> inbox.Accepted:
        return self.do(
            inbox.accept,
            arrival or self.arrival(),
            records=list(new),
            sends=list(sends),
            entries=list(entries),
            respond=lambda stored, messages: repr((stored, messages)).encode(),
            now=self.now,
        )

    def record(
        self, record_id: str, body: bytes = b"{}", *, kind: str = "Intervention", identity: str = PERSON, **more: Any
    ) -> records.NewRecord:
        return records.NewRecord(record_id, kind, self.patient(identity), body, **more)

    def send(
        self, identity: str = PERSON, *, to: str = "peer", record_id: str | None = None, urgent: bool = False
    ) -> str:
        """Accept one record and queue it; the message id."""
        record = self.record(record_id or f"record-{self._requests}", b"%d" % self._requests, identity=identity)
        accepted = self.accept(
            record,
            sends=[outbox.Send(to, record.patient_key, (record.record_id,), "coordination", "case", urgent=urgent)],
        )
        return accepted.messages[0]

    def consent(self, identity: str = PERSON, record_id: str = "consent") -> None:
        """A new version of a consent: the patient's consent version rises."""
        self._requests += 1
        self.accept(self.record(record_id, b"consent %d" % self._requests, kind="Consent", identity=identity))

    def claim(self, limit: int = 100, **more: Any) -> list[outbox.Claim]:
        return self.do(outbox.claim, owner="worker", now=self.now, lease=LEASE, limit=limit, **more)

    def begin(self, claim: outbox.Claim, body: bytes = b"bytes", *, consent_version: int | None = None) -> outbox.Begun:
        digest = self.keys.fingerprint(body)
        if consent_version is None:
            consent_version = self.do(records.consent_version, claim.patient_key)
        request_id = claim.request_id_for(digest, now=self.now)
        return self.do(
            outbox.begin,
            claim,
            consent_version=consent_version,
            body_digest=digest,
            request_id=request_id,
            now=self.now,
        )

    def complete(self, claim: outbox.Claim, outcome: outbox.Outcome, attempt: int | None = None, **more: Any) -> bool:
        return self.do(
            outbox.complete, claim, outcome, attempt=attempt, entries=more.pop("entries", ()), now=self.now, **more
        )

    def attempt(self, claim: outbox.Claim, outcome: outbox.Outcome, body: bytes = b"bytes") -> None:
        """Begin and complete; both must succeed."""
        begun = self.begin(claim, body)
        assert begun.status == "started"
        assert self.complete(claim, outcome, begun.attempt)

    def delivered(self) -> outbox.Delivered:
        return outbox.Delivered(
            Disclosure(
                "SE2321000016-ABCD", (records.RecordRef("record", 1),), (records.RecordRef("consent", 1),), ("plan",)
            )
        )

    def retry(self, seconds: float = 10, **more: Any) -> outbox.Retry:
        return outbox.Retry(self.now + timedelta(seconds=seconds), "http.503", **more)

    def states(self) -> dict[str, str]:
        return dict(self.sql("SELECT message_id, state FROM outbox"))

    def chain_holds(self) -> bool:
        return self.do(audit.verify_chain).breaks == ()
