"""
The tables. Times are microseconds since the epoch (see ``instants``); truth values are 0 or 1; sealed columns say so.

``patient_key`` and every digest are keyed hashes: an identity number or its plain hash stands in no column.
The SQL elsewhere in this package is written by hand, in the dialect that SQLite and PostgreSQL share.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

SCHEMA_VERSION = 2
"""Raised by every release that adds a table, a column or an index. Nothing is ever taken away or given another meaning."""

_number = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
_metadata = MetaData()


def _table(
    name: str,
    *parts: Column[object] | UniqueConstraint | CheckConstraint | Index,
    clustered: bool = False,
    autoincrement: bool = False,
) -> Table:
    """``clustered``: small rows that lie in their key's own tree, one page to write instead of two."""
    return Table(
        name, _metadata, *parts, sqlite_strict=True, sqlite_with_rowid=not clustered, sqlite_autoincrement=autoincrement
    )


def _one_of(column: str, *values: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})")


def _text(name: str, *, null: bool = False, key: bool = False) -> Column[object]:
    return Column(name, Text, nullable=null, primary_key=key)


def _whole(name: str, *, null: bool = False, key: bool = False) -> Column[object]:
    return Column(name, _number, nullable=null, primary_key=key)


def _bytes(name: str, *, null: bool = False) -> Column[object]:
    return Column(name, LargeBinary, nullable=null)


def _points_at(name: str, target: str, kind: type[Text] | BigInteger = _number, *, key: bool = False) -> Column[object]:
    return Column(name, kind, ForeignKey(target), nullable=False, primary_key=key)


# One row: which schema this is, and which keys belong to it.
_table("store_info", _whole("id", key=True), _whole("schema_version"), _bytes("body_check"), _bytes("index_check"))

# consent_version rises with every new version of a consent or block of the patient: an attempt to send is fenced by it.
_table("patient", _text("patient_key", key=True), _whole("consent_version"), clustered=True)

# Every version of every record, never deleted. sequence is the order of commits: the change feed.
_table(
    "record",
    _whole("sequence", key=True),
    _text("record_id"),
    _whole("version"),
    _whole("newest"),
    _text("kind"),
    _text("patient_key"),
    _text("source"),
    _text("request_id"),
    _text("origin"),
    _whole("received_at"),
    _bytes("digest"),
    _bytes("body"),  # sealed
    UniqueConstraint("record_id", "version"),
    _one_of("origin", "local", "peer"),
    autoincrement=True,
)

# What has been asked of us, by whom, and what we answered. original and loss: what a peer sent, and what we could not map.
_table(
    "inbox",
    _text("source", key=True),
    _text("request_id", key=True),
    _bytes("digest"),
    _whole("received_at"),
    _bytes("response"),  # sealed
    _bytes("original", null=True),  # sealed
    _bytes("loss", null=True),  # sealed
)

_table(
    "token_seen", Column("token", LargeBinary, primary_key=True), _whole("expires"), Index("token_expiry", "expires")
)

_table(
    "destination",
    _text("id", key=True),
    _whole("max_inflight"),
    _text("on_error"),
    _whole("paused"),
    _whole("fails"),
    _text("recent"),
    _whole("open_until", null=True),
    _one_of("on_error", "block", "skip"),
)

# One queue of one patient to one destination; withdrawals (urgent) have their own, so that nothing holds them up.
# head_seq NULL: nothing is queued. due_at NULL with a head: the head is a dead letter that blocks.
_table(
    "lane",
    _whole("id", key=True),
    _points_at("destination", "destination.id", Text),
    _text("patient_key"),
    _whole("urgent"),
    _whole("tail_seq"),
    _whole("head_seq", null=True),
    _whole("due_at", null=True),
    _text("lease_owner", null=True),
    _whole("lease_until", null=True),
    _whole("leased_seq", null=True),
    _whole("fence"),
    UniqueConstraint("patient_key", "destination", "urgent"),
)

_table(
    "outbox",
    _whole("id", key=True),
    _points_at("lane_id", "lane.id"),
    _whole("seq"),
    _text("destination"),
    _text("message_id"),
    _text("request_id"),
    _text("correlation_id"),
    _text("purpose"),
    _text("records"),  # JSON: [[record id, version], …]
    _text("state"),
    _text("reason", null=True),
    _whole("attempts"),  # all of them
    _whole("tries"),  # since it was queued or released
    _bytes("body_digest", null=True),  # of the last attempt that began
    _whole("created_at"),
    _whole("queued_at"),  # created, or released
    _whole("done_at", null=True),
    UniqueConstraint("lane_id", "seq"),
    UniqueConstraint("message_id"),
    _one_of("state", "queued", "delivered", "withheld", "blocked", "dead", "discarded"),
)

# exposed: whether bytes of this attempt reached the recipient. "perhaps" from the moment it begins.
_table(
    "attempt",
    _points_at("outbox_id", "outbox.id", key=True),
    _whole("n", key=True),
    _whole("at"),
    _whole("ended_at", null=True),
    _text("status"),
    _text("reason", null=True),
    _text("exposed"),
    _whole("consent_version", null=True),
    _text("request_id"),
    _bytes("body_digest", null=True),
    _bytes("explanation", null=True),  # sealed
    _bytes("basis", null=True),  # sealed; came with version 2
    _one_of("status", "started", "unknown", "delivered", "retry", "withheld", "blocked", "dead"),
    _one_of("exposed", "no", "perhaps", "yes"),
)

_table(
    "disclosure",
    _text("id", key=True),
    _whole("at"),
    _text("patient_key"),
    _text("destination"),
    _text("message_id"),
    _text("request_id"),
    _text("purpose"),
    _text("categories"),  # JSON list
    _bytes("recipient"),  # sealed: an employer's organisation number can be a person's
    Index("disclosure_of_patient", "patient_key"),
)

_table(
    "disclosure_ref",
    _points_at("disclosure_id", "disclosure.id", Text, key=True),
    _text("role", key=True),
    _text("record_id", key=True),
    _whole("version", key=True),
    _one_of("role", "record", "consent"),
    Index("disclosure_by_ref", "record_id", "role"),
    clustered=True,
)

# unit came with version 2: last, as in a store that got it afterwards.
_table(
    "audit",
    _whole("sequence", key=True),
    _whole("at"),
    _text("event"),
    _text("who"),
    _text("what"),
    _text("patient_key", null=True),
    _text("outcome"),
    _text("reason"),
    _bytes("details", null=True),  # sealed
    _bytes("previous"),
    _bytes("hash"),
    _text("unit", null=True),
    Index("audit_by_time", "at"),
)

# Signed statements about the audit log, which then had so many rows. content: SHA-256 of the lines of rows from first on.
_table(
    "audit_checkpoint",
    _whole("number", key=True),
    _whole("at"),
    _whole("first"),
    _whole("rows"),
    _bytes("head"),
    _bytes("content"),
    _bytes("previous"),
    _text("key_id"),
    _bytes("signature"),
)

# Who is told that a consent no longer holds. message_id NULL: nobody can deliver it. by_: the consent version that made it so.
_table(
    "withdrawal",
    _text("id", key=True),
    _text("cause"),
    _text("patient_key"),
    _text("consent_id"),
    _whole("consent_version"),
    _text("by_id"),
    _whole("by_version"),
    _text("destination"),
    _text("records"),  # JSON: [[record id, version], …]
    _text("message_id", null=True),
    _whole("created_at"),
    _whole("delivered_at", null=True),
    _whole("alarmed_at", null=True),
    _whole("receipt_at", null=True),
    _bytes("receipt_by", null=True),  # sealed: a person's name
    _whole("escalated_at", null=True),
    UniqueConstraint("consent_id", "by_id", "by_version", "cause", "destination"),
    Index("withdrawal_of_message", "message_id"),
    Index("withdrawal_of_patient", "patient_key"),
    _one_of("cause", "withdrawn", "narrowed", "expired"),
)

# The word that a peer's notice is obeyed, and the message that tells the peer. notice_id: the record that the notice is kept as.
_table(
    "stopped",
    _text("notice_id", key=True),
    _text("message_id"),
    _whole("said_at"),
    _bytes("said_by"),  # sealed: a person's name
)

# When consents end by themselves, as far as they have been looked through (sequence); an end that was seen to is far away.
_table(
    "consent_end",
    _text("record_id", key=True),
    _whole("version"),
    _whole("sequence"),
    _text("patient_key"),
    _whole("ends"),
    Index("consent_end_due", "ends"),
    Index("consent_end_read", "sequence"),
)

# What the region's own journal system is to say of a message, and the version of it that the journal has acknowledged.
# told: the journal knows, or may know, of the message. due_at NULL: acknowledged, or for the message's own attempt to deliver.
_table(
    "journal_entry",
    _text("message_id", key=True),
    _text("patient_key"),
    _text("correlation_id"),
    _bytes("handout"),  # sealed
    _text("status"),
    _whole("version"),
    _whole("acknowledged"),
    _whole("at", null=True),
    _whole("told"),
    _whole("tries"),
    _whole("written_at"),
    _whole("due_at", null=True),
    _whole("lease_until", null=True),
    _one_of("status", "preparation", "completed", "not-done", "unknown"),
)

# Partial indexes, one per question of the dispatcher; plain ones for people who look.
_lane = _metadata.tables["lane"].c
_due = _lane.due_at.is_not(None)
_leased = _lane.lease_until.is_not(None)
Index("lane_due", _lane.destination, _lane.urgent, _lane.due_at, sqlite_where=_due, postgresql_where=_due)
Index("lane_leased", _lane.destination, _lane.lease_until, sqlite_where=_leased, postgresql_where=_leased)
_record = _metadata.tables["record"].c
_newest = _record.newest == literal_column("1")
Index("record_by_origin", _record.origin, _record.sequence)
Index("record_of_patient", _record.patient_key, _record.kind, sqlite_where=_newest, postgresql_where=_newest)
_outbox = _metadata.tables["outbox"].c
Index("outbox_by_state", _outbox.state, _outbox.destination, _outbox.id)
_withdrawal = _metadata.tables["withdrawal"].c
_unanswered = _withdrawal.receipt_at.is_(None)
Index("withdrawal_open", _withdrawal.created_at, sqlite_where=_unanswered, postgresql_where=_unanswered)
_entry = _metadata.tables["journal_entry"].c
_untold = _entry.due_at.is_not(None)
Index("journal_entry_due", _entry.due_at, sqlite_where=_untold, postgresql_where=_untold)
_audit = _metadata.tables["audit"].c
_of_somebody = _audit.patient_key.is_not(None)
Index(
    "audit_of_patient",
    _audit.patient_key,
    _audit.sequence,
    sqlite_where=_of_somebody,
    postgresql_where=_of_somebody,
)


def statements(present: Mapping[str, Container[str]] | None = None) -> list[str]:
    """
    The DDL that makes a SQLite database a store of this version, in order: the tables, columns and indexes that it lacks.

    ``present``: the tables and indexes that are there, each with its columns. A column that is added to a table that is
    there takes NULL.
    """
    there = present or {}
    dialect = sqlite.dialect()
    made: list[CreateTable | CreateIndex | str] = []
    for table in _metadata.sorted_tables:
        if table.name not in there:
            made.append(CreateTable(table))
        else:
            columns = (column for column in table.columns if column.name not in there[table.name])
            made += [
                f"ALTER TABLE {table.name} ADD COLUMN {CreateColumn(column).compile(dialect=dialect)}"
                for column in columns
            ]
        made += [
            CreateIndex(index)
            for index in sorted(table.indexes, key=lambda one: str(one.name))
            if index.name not in there
        ]
    return [each if isinstance(each, str) else str(each.compile(dialect=dialect)) for each in made]
