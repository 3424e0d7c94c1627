"""
The gate: the only maker of what may be sent. Default deny; whatever goes wrong inside, the answer is no.

For one record, one destination and one moment: decide, build the resources from the permitted mapping rows, validate,
write the bytes, read them again and look a last time, seal. It runs at every attempt, never earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from hashlib import blake2b, sha256
from pathlib import Path
from secrets import token_bytes
from traceback import extract_tb
from typing import Any, Final, Literal
from uuid import UUID

from adapter.consent import disclosure, journal_entry, policy
from adapter.consent import notice as notices
from adapter.consent.decide import Decision, Reason, Request, decide
from adapter.consent.disclosure import AllowList, Disclosure
from adapter.consent.explanation import explain, reason_fault
from adapter.consent.handed_over import ForeignConsent
from adapter.consent.inspection import inspect, reread
from adapter.consent.journal_entry import ENTRY, Handout
from adapter.consent.notice import NOTICE, RECEIPT, Notice
from adapter.consent.policy import Recipient, Snapshot
from adapter.consent.rules import Party, Subject
from adapter.consent.seal import Cleared, Contents, Sealer, verify
from adapter.definitions import Release
from adapter.domain import (
    Actor,
    CarePlan,
    Category,
    Consent,
    Intervention,
    Purpose,
    Record,
)
from adapter.errors import AdapterError, Fault
from adapter.mapping import Mapper, Package, Permission, Resource, searchset, transaction
from adapter.sweden import HsaId
from adapter.validation import diagnosis_content, errors, validate
from adapter.wire import json, xml
from adapter.wire.media import Media

__all__ = ["Cleared", "Gate", "Withheld"]

AnswerForm = Literal["resource", "searchset"]
Ids = Callable[[str, str], str]
"""The logical id of a resource, by its type and business key."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Nothing leaves, and why. ``faults`` begins with the reason; ``explanation`` is the sender's canonical JSON."""

    decision: Decision
    destination: str
    request_id: str
    correlation_id: str
    consent_version: int | None
    explanation: bytes
    faults: tuple[Fault, ...]

    @property
    def reason(self) -> Reason:
        return self.decision.reason


class _StoppedError(Exception):
    """After a decision to permit, something was found that stops the send."""

    def __init__(self, reason: Reason, faults: Iterable[Fault]) -> None:
        self.reason, self.faults = reason, tuple(faults)


class Gate:
    """
    One tenant's gate. ``senders``: HSA-ids of the care providers it sends for. ``id_key`` (32 bytes or more): logical ids
    are keyed by it for each destination, so that they tell nothing and two recipients cannot compare them. ``seal_key``:
    random if left out, since nothing cleared outlives the process.
    """

    def __init__(
        self,
        *,
        senders: Iterable[HsaId],
        id_key: bytes,
        mapper: Mapper,
        seal_key: bytes | None = None,
    ) -> None:
        if len(id_key) < 32:
            raise ValueError("an id key has at least 32 bytes")
        self._senders = tuple(senders)
        self._id_key = sha256(id_key).digest()
        self._mapper = mapper
        self._sealer = Sealer(seal_key or token_bytes())
        self._policy = disclosure.load()

    def clear(  # noqa: PLR0913  named by the caller
        self,
        record: Record,
        *,
        destination: Recipient,
        purpose: Purpose,
        snapshot: Snapshot,
        now: datetime,
        request_id: str,
        correlation_id: str,
    ) -> Cleared | Withheld:
        """
        Decide and, if it may leave, make the bytes. Never raises: what fails inside is withheld, ``GATE_ERROR``.

        ``now`` is aware. ``request_id`` and ``correlation_id`` go with the message as they are.
        """
        attempt = _Attempt(destination, snapshot, now, request_id, correlation_id)
        try:
            decision = self.decision(record, destination, purpose, snapshot, now)
            if not decision.permitted:
                return attempt.withheld(decision)
            try:
                package = self._package(record, destination, decision)
                body = self._body(transaction(package), destination, [record], decision)
            except _StoppedError as stopped:
                return attempt.stopped(decision, stopped)
            return self._sealer.seal(attempt.contents([record], body, [decision]), decision)
        except Exception as error:  # noqa: BLE001  whatever is wrong, the answer is no
            return attempt.failed(error)

    def answer(  # noqa: PLR0913  named by the caller
        self,
        records: Sequence[Record],
        *,
        ids: Sequence[str] = (),
        reader: Recipient,
        purpose: Purpose,
        snapshot: Snapshot,
        now: datetime,
        request_id: str,
        correlation_id: str,
        form: AnswerForm,
    ) -> Cleared | Withheld:
        """
        What a reader may have of one patient's records, each decided on its own, as one body: the one ``resource``, or a
        ``searchset`` with what the records refer to. ``ids``: the logical id of each record, under which it can be read
        again. A record that may not be read leaves no trace; if none may, the answer is withheld. Never raises.
        """
        attempt = _Attempt(reader, snapshot, now, request_id, correlation_id)
        try:
            kept: list[tuple[Record, Decision, Package]] = []
            withheld: list[Withheld] = []
            for record, logical_id in zip(records, ids or [""] * len(records), strict=True):
                decision = self.decision(record, reader, purpose, snapshot, now)
                try:
                    if not decision.permitted:
                        withheld.append(attempt.withheld(decision))
                        continue
                    package = self._package(record, reader, decision, logical_id)
                    # Looked at alone first, so that one that must not leave takes no other with it.
                    self._body(transaction(package), reader, [record], decision)
                    kept.append((record, decision, package))
                except _StoppedError as stopped:
                    withheld.append(attempt.stopped(decision, stopped))
            if not kept:
                return withheld[0]
            shown, decisions = [record for record, _, _ in kept], [decision for _, decision, _ in kept]
            packages = [package for _, _, package in kept]
            try:
                body = self._body(_FORMS[form](packages, reader.release), reader, shown, *decisions)
            except _StoppedError as stopped:
                return attempt.stopped(decisions[0], stopped)
            return self._sealer.seal(attempt.contents(shown, body, decisions), decisions[0])
        except Exception as error:  # noqa: BLE001  whatever is wrong, the answer is no
            return attempt.failed(error)

    def notice(  # noqa: PLR0913  named by the caller
        self,
        notice: Notice,
        consent: Consent | ForeignConsent,
        *,
        destination: Recipient,
        snapshot: Snapshot,
        now: datetime,
        request_id: str,
        correlation_id: str,
    ) -> Cleared | Withheld:
        """
        The notice that ``consent`` no longer holds, for one who has been sent something on it. It is permitted by law,
        whatever else the recipient may have now, and holds what ``adapter.consent.notice`` lists. Never raises.
        """
        attempt = _Attempt(destination, snapshot, now, request_id, correlation_id)
        try:
            kind = consent.kind if isinstance(consent, Consent) else ""
            about = ((consent.id.name, consent.version),)
            decision = self._by_law(Reason.PERMITTED_NOTICE, policy.named(consent), destination, now, kind, about)
            if not decision.permitted:
                return attempt.withheld(decision)
            try:
                body = self._notice_body(notices.bundle(notice), destination, consent)
            except _StoppedError as stopped:
                return attempt.stopped(decision, stopped)
            return self._sealer.seal(attempt.contents([consent], body, [decision]), decision)
        except Exception as error:  # noqa: BLE001  whatever is wrong, the answer is no
            return attempt.failed(error)

    def receipt(
        self, notice_id: str, *, destination: Recipient, now: datetime, request_id: str, correlation_id: str
    ) -> Cleared | Withheld:
        """
        The word to the peer that sent a notice, that what it names is not used any more. It is permitted by law, and holds
        what ``notice.RECEIPT`` lists. Never raises.
        """
        attempt = _Attempt(destination, None, now, request_id, correlation_id)
        try:
            decision = self._by_law(
                Reason.PERMITTED_RECEIPT, Subject("Task", "", f"Task {notice_id}"), destination, now
            )
            if not decision.permitted:
                return attempt.withheld(decision)
            try:
                body, seen = self._written(notices.receipt(notice_id), destination, ())
                _refuse_unexpected(seen, RECEIPT, frozenset(), "")
            except _StoppedError as stopped:
                return attempt.stopped(decision, stopped)
            return self._sealer.seal(attempt.contents((), body, [decision]), decision)
        except Exception as error:  # noqa: BLE001  whatever is wrong, the answer is no
            return attempt.failed(error)

    def entry(  # noqa: PLR0913  named by the caller
        self,
        handout: Handout,
        status: journal_entry.Status,
        *,
        at: datetime | None,
        journal: Recipient,
        now: datetime,
        request_id: str,
        correlation_id: str,
    ) -> Cleared | Withheld:
        """
        The entry in the sending provider's own ``journal`` of what is or was handed out, ``at`` the time if it was. It is
        demanded by law, and holds what ``adapter.consent.journal_entry`` lists. Never raises.
        """
        attempt = _Attempt(journal, None, now, request_id, correlation_id)
        try:
            decision = self._own_entry(handout, journal, now)
            if not decision.permitted:
                return attempt.withheld(decision)
            try:
                logical_id = self._ids(journal.destination)("Communication", handout.message_id)
                made = journal_entry.bundle(handout, status, at, logical_id)
                body, seen = self._written(made, journal, ())
                _refuse_unexpected(seen, ENTRY, journal_entry.CATEGORIES, handout.patient.number)
            except _StoppedError as stopped:
                return attempt.stopped(decision, stopped)
            records = tuple((record.name, version) for _, record, version in handout.records)
            return self._sealer.seal(replace(attempt.contents((), body, [decision]), records=records), decision)
        except Exception as error:  # noqa: BLE001  whatever is wrong, the answer is no
            return attempt.failed(error)

    def renamed(self, cleared: Cleared, request_id: str) -> Cleared:
        """
        The same disclosure under a new request id, for a peer that has seen other bytes under the old one.

        Raises:
            Denied: it is not the gate's (``gate.not-cleared``).
        """
        verify(cleared)
        contents = Contents(**{field.name: getattr(cleared, field.name) for field in fields(Contents)})
        return self._sealer.seal(replace(contents, request_id=request_id), cleared.decision)

    def decision(
        self, record: Record, recipient: Recipient, purpose: Purpose, snapshot: Snapshot, now: datetime
    ) -> Decision:
        """What ``clear`` decides, without making anything of it: for what a change of consents takes away."""
        request = policy.request(recipient, purpose, self._senders)
        return decide(snapshot.directives, request, policy.subject(record, snapshot), now, self._policy)

    def _by_law(  # noqa: PLR0913, PLR0917  what a decision is made of
        self,
        reason: Reason,
        subject: Subject,
        recipient: Recipient,
        now: datetime,
        kind: str = "",
        about: tuple[tuple[str, int], ...] = (),
    ) -> Decision:
        """Notices and receipts need no consent: they are permitted to everyone on the closed list of recipients."""
        request = replace(policy.request(recipient, Purpose.COORDINATION, self._senders), purposes=())
        if recipient.type not in self._policy.of or not request.recipient.identifiers:
            return Decision(False, Reason.UNKNOWN_RECIPIENT, request, subject, now, self._policy.version, kind)
        return Decision(True, reason, request, subject, now, self._policy.version, kind, consents=about)

    def _own_entry(self, handout: Handout, journal: Recipient, now: datetime) -> Decision:
        """An entry needs no consent: the provider that answers for what is handed out writes in its own journal."""
        request = replace(policy.request(journal, Purpose.COORDINATION, self._senders), purposes=())
        subject = Subject("Communication", "", f"Communication {handout.message_id}")
        own = any(handout.provider.same(each) for each in self._senders)
        reason = Reason.PERMITTED_JOURNAL_ENTRY if own else Reason.WRONG_TENANT
        categories = journal_entry.CATEGORIES if own else frozenset[Category]()
        return Decision(own, reason, request, subject, now, self._policy.version, categories=categories)

    def _body(self, made: Resource, recipient: Recipient, records: Sequence[Record], *decisions: Decision) -> bytes:
        """The bytes of what was made only of what is permitted: validated, written, read again and looked at."""
        permitted = frozenset.intersection(*(frozenset(decision.categories) for decision in decisions))
        # A resource alone has nothing to refer to, and names the patient by number only.
        named_twice = Category.IDENTITY in permitted and made["resourceType"] == "Bundle"
        body, seen = self._written(made, recipient, ("koord-gc001", *(["koord-subject"] if named_twice else [])))
        _refuse_diagnoses(seen, permitted, recipient.release)
        most = self._policy.of[recipient.type].most(recipient.release)
        _refuse_unexpected(seen, most, permitted, records[0].patient.identity.number)
        return body

    def _notice_body(self, made: Resource, recipient: Recipient, consent: Consent | ForeignConsent) -> bytes:
        """As ``_body``, against the list of notices. A number in an id is no news to those who may have it."""
        body, seen = self._written(made, recipient, ())
        permitted = self._policy.of[recipient.type].categories & {Category.IDENTITY}
        _refuse_unexpected(seen, NOTICE, permitted, consent.patient.identity.number)
        return body

    def _written(self, made: Resource, recipient: Recipient, rules: Sequence[str]) -> tuple[bytes, dict[str, Any]]:
        """The bytes of what follows FHIR and the rules, and what a receiver reads in them."""
        release = recipient.release
        invalid = errors(validate(made, release, rules=rules))
        if invalid:
            raise _StoppedError(Reason.INVALID_CONTENT, invalid)
        try:
            body = json.write(made) if recipient.format == "json" else xml.write(made, release=release)
            return body, reread(body, recipient.format, release)
        except AdapterError as error:
            raise _StoppedError(Reason.INVALID_CONTENT, error.faults) from None

    def _package(self, record: Record, recipient: Recipient, decision: Decision, logical_id: str = "") -> Package:
        most = self._policy.of[recipient.type]
        addressed = _addressed(record, recipient) if most.addressed else record
        permission = Permission(decision.categories, recipient.actor_keys if most.addressed else None)
        ids = self._ids(recipient.destination)
        if logical_id:
            ids = self._but(ids, record, logical_id)
        package = self._mapper.of(recipient.release).to_fhir(addressed, permission=permission, ids=ids)
        inside = _names(package.resources)
        return Package(tuple(_marked(_closed(each, inside), most) for each in package.resources))

    def _ids(self, destination: str) -> Ids:
        """Logical ids for one destination: constant over retries, without a trace of the business key."""

        def keyed(resource_type: str, business_key: str) -> str:
            text = f"{destination}|{resource_type}|{business_key}".encode()
            return str(UUID(bytes=blake2b(text, key=self._id_key, digest_size=16).digest(), version=5))

        return keyed

    def _but(self, ids: Ids, record: Record, logical_id: str) -> Ids:
        """The same ids, with the given one for what the record is about."""
        focus = (self._mapper.tables.records[record.record].focus, record.id.name)
        return lambda *named: logical_id if named == focus else ids(*named)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What both outcomes carry. ``snapshot``: None where no consent is asked."""

    destination: Recipient
    snapshot: Snapshot | None
    now: datetime
    request_id: str
    correlation_id: str

    def contents(
        self, records: Sequence[Record | ForeignConsent], body: bytes, decisions: Sequence[Decision]
    ) -> Contents:
        return Contents(
            body=body,
            content_type=str(Media(self.destination.format, self.destination.release)),
            destination=self.destination.destination,
            request_id=self.request_id,
            correlation_id=self.correlation_id,
            cleared_at=self.now,
            consent_version=self._consent_version,
            consent_versions=tuple(dict.fromkeys(consent for each in decisions for consent in each.consents)),
            records=tuple((record.id.name, record.version) for record in records),
            categories=tuple(sorted({category for each in decisions for category in each.categories})),
            explanation=b"\n".join(self._explanation(decision) for decision in decisions),
        )

    def withheld(self, decision: Decision, faults: tuple[Fault, ...] = ()) -> Withheld:
        return Withheld(
            decision=decision,
            destination=self.destination.destination,
            request_id=self.request_id,
            correlation_id=self.correlation_id,
            consent_version=self._consent_version,
            explanation=self._explanation(decision, faults),
            faults=(reason_fault(decision), *faults),
        )

    def stopped(self, decision: Decision, stopped: _StoppedError) -> Withheld:
        return self.withheld(decision.stopped(stopped.reason), stopped.faults)

    def failed(self, error: Exception) -> Withheld:
        """The gate itself failed: what kind of error and where in the code, nothing of what it was looking at."""
        nobody, nothing = Request(Party(), (), frozenset()), Subject("", "")
        decision = Decision(False, Reason.GATE_ERROR, nobody, nothing, self.now, "")
        return Withheld(
            decision,
            self.destination.destination,
            self.request_id,
            self.correlation_id,
            self._consent_version,
            explain(decision),
            (replace(reason_fault(decision), why=f"{type(error).__name__}, {_place(error)}"),),
        )

    @property
    def _consent_version(self) -> int | None:
        return self.snapshot.consent_version if self.snapshot else None

    def _explanation(self, decision: Decision, faults: tuple[Fault, ...] = ()) -> bytes:
        digest = self.snapshot.digest if self.snapshot else ""
        return explain(decision, snapshot=digest, destination=self.destination.destination, faults=faults)


def _place(error: Exception) -> str:
    """File and line of the innermost frame."""
    frames = extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""


def _resource(packages: Sequence[Package], _: Release) -> Resource:
    """The focus of the one package, alone: what it refers to is named by identifier."""
    focus = packages[0].resources[0]
    alone: Resource = _closed(focus, _names([focus]))
    return alone


def _searchset(packages: Sequence[Package], release: Release) -> Resource:
    """What was searched for is the type of what was found."""
    return searchset(packages, packages[0].resources[0]["resourceType"], release)


_FORMS: Final[Mapping[AnswerForm, Callable[[Sequence[Package], Release], Resource]]] = {
    "resource": _resource,
    "searchset": _searchset,
}


def _names(resources: Iterable[Resource]) -> set[str]:
    return {f"{each['resourceType']}/{each['id']}" for each in resources}


def _refuse_diagnoses(seen: Resource, permitted: frozenset[Category], release: Release) -> None:
    """A diagnosis in coordination messages is a hard prohibition (PDL-003), wherever it hides."""
    if Category.DIAGNOSIS in permitted:
        return
    found = diagnosis_content(seen, release)
    if found:
        raise _StoppedError(Reason.DIAGNOSIS_CONTENT, found)


def _refuse_unexpected(seen: dict[str, Any], most: AllowList, permitted: frozenset[Category], number: str) -> None:
    unexpected = inspect(seen, most, permitted, number)
    if unexpected:
        raise _StoppedError(Reason.UNEXPECTED_CONTENT, unexpected)


def _addressed(record: Record, recipient: Recipient) -> Record:
    """
    The record without what is about outside actors in another role than the recipient's: a municipality that employs the
    patient does not hear what is planned with its social services. The mapping rows leave out other organisations.
    """

    def concerns(actor: Actor | None) -> bool:
        return actor is not None and actor.category.value == recipient.type

    match record:
        case CarePlan():
            return record.model_copy(
                update={
                    "activities": tuple(each for each in record.activities if concerns(each.actor)),
                    "participants": tuple(each for each in record.participants if concerns(each)),
                }
            )
        case Intervention():
            met = tuple(each for each in record.met if concerns(each.actor))
            return record.model_copy(update={"met": met, "owner": record.owner if concerns(record.owner) else None})
        case _:
            return record


def _closed(node: Any, inside: set[str]) -> Any:
    """
    The same, without references that lead out of the package; one that is also logical keeps its identifier, and an extension
    of which only the url is left goes too.
    """
    if isinstance(node, dict):
        closed = {
            name: _closed(value, inside) for name, value in node.items() if name != "reference" or _leads(value, inside)
        }
        kept = {name: value for name, value in closed.items() if value not in ({}, [])}
        return kept if kept.keys() != {"url"} or len(node) == 1 else {}
    if isinstance(node, list):
        return [item for item in (_closed(item, inside) for item in node) if item not in ({}, [])]
    return node


def _leads(value: Any, inside: set[str]) -> bool:
    return not isinstance(value, str) or value in inside


def _marked(resource: Mapping[str, Any], most: Disclosure) -> dict[str, Any]:
    """The marks of the recipient type stand on every resource, always: they tell that less may be there, never whether."""
    tags = [{"system": system, "code": code} for system, code in most.marks]
    meta: dict[str, Any] = {**resource.get("meta", {}), **({"tag": tags} if tags else {})}
    return {**resource, **({"meta": meta} if meta else {})}
