"""
The region's own records read into the internal form: consents and spärrar into directives, what is sent into a
subject, and the one it is sent to into a party. What each means in law stands beside its rule; the page is docs/consent.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import blake2b, sha256
from secrets import token_bytes
from typing import Any, Final, Literal, TypeVar

import msgspec

from adapter.consent.decide import Request
from adapter.consent.directives import LAW, Directive, Source, Status
from adapter.consent.disclosure import PATIENT
from adapter.consent.foreign import Reader, consents_in
from adapter.consent.handed_over import ForeignConsent
from adapter.consent.names import Names
from adapter.consent.rulebook import Rulebook, micros
from adapter.consent.rules import (
    NOBODY,
    ActorPattern,
    Coding,
    DataPattern,
    Effect,
    Meaning,
    Party,
    Rule,
    Span,
    Subject,
)
from adapter.dates import Moment
from adapter.definitions import Release
from adapter.domain import (
    Actor,
    ActorCategory,
    Block,
    BlockKind,
    CarePlan,
    Consent,
    ConsentKind,
    ConsentState,
    FkSignal,
    Intervention,
    Lift,
    Offer,
    Period,
    Person,
    PersonIdentity,
    Purpose,
    Record,
    Unit,
    written_record,
)
from adapter.sweden import HsaId, OrganisationNumber, person_key
from adapter.wire import json

_Versioned = TypeVar("_Versioned", Consent, Block)
_PEPPER = token_bytes()
_INSTANT: Final = timedelta(microseconds=1)
_KINDS: Final = frozenset(each.value for each in ConsentKind)
_DISCLOSE: Coding = ("http://terminology.hl7.org/CodeSystem/consentaction", "disclose")


@dataclass(frozen=True, slots=True)
class Recipient:
    """
    Whom a destination belongs to. ``type``: a key of ``mappings/disclosure``. ``hsa_id``: of the organisation or, in
    care, of the unit; ``provider_hsa_id``: its care provider. ``patient``: the one who gets what is about herself.
    ``allows_protected_identity``: an agreed channel for persons with protected identity (OSL 22:1).
    """

    destination: str
    type: str
    organisation_number: OrganisationNumber | None = None
    hsa_id: HsaId | None = None
    provider_hsa_id: HsaId | None = None
    patient: PersonIdentity | None = field(default=None, repr=False)
    allows_protected_identity: bool = False
    format: Literal["json", "xml"] = "json"
    release: Release = "R4"

    @property
    def actor_keys(self) -> frozenset[str]:
        """How mapping rows name this recipient among outside actors."""
        return frozenset("|".join(each) for each in _numbers(self.organisation_number, self.hsa_id))


@dataclass(frozen=True)
class Snapshot:
    """
    The consents and spärrar of one patient as they were read, all in one moment.

    ``consent_version`` is the patient's counter that every consent write and withdrawal raises: the fence. ``foreign``: what
    other systems have told in FHIR R4 or R5, each a Consent, or a Bundle of Consents and what they refer to.
    """

    patient: PersonIdentity = field(repr=False)
    consent_version: int
    consents: tuple[Consent, ...] = field(default=(), repr=False)
    blocks: tuple[Block, ...] = field(default=(), repr=False)
    foreign: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the contents, the same for any order of the records."""
        rows = sorted(msgspec.json.encode(written_record(each), order="sorted") for each in self.consents + self.blocks)
        foreign = sorted(map(json.canonical, self.foreign))
        return sha256(b"\n".join([str(self.consent_version).encode(), *rows, *foreign])).hexdigest()

    @cached_property
    def directives(self) -> Rulebook:
        """Every consent and spärr in its newest version, and what the law says by itself."""
        consents = [_consent(each, twofold=twofold) for each, twofold in _newest(self.consents)]
        blocks = [_block(each) for each, _ in _newest(self.blocks)]
        foreign = [each for document in self.foreign for each in _foreign(document, self.patient)]
        return Rulebook((*consents, *blocks, *foreign, _own_access(_person(self.patient))))

    def is_as_it_was(self, at: datetime, now: datetime) -> bool:
        """Whether nothing that was said begins or ends from the one instant to the other: a decision at ``at`` still stands."""
        times = self.directives.times
        return times.between(micros(at)) == times.between(micros(now))

    @cached_property
    def people(self) -> tuple[Person, ...]:
        """The patient as each record knows the patient: a protection noted on any of them counts."""
        return tuple(each.patient for each in self.consents + self.blocks)


def request(recipient: Recipient, purpose: Purpose, senders: Iterable[HsaId]) -> Request:
    """The question that a send asks."""
    numbers = frozenset(_numbers(recipient.organisation_number, recipient.hsa_id))
    if recipient.type == PATIENT:
        numbers = frozenset({(PATIENT, _person(recipient.patient))} if recipient.patient else ())
    provider = recipient.provider_hsa_id
    return Request(
        recipient=Party(
            kind=recipient.type,
            identifiers=numbers,
            groups=frozenset({_provider(provider)} if provider else ()),
        ),
        purposes=(("", purpose.value),),
        senders=frozenset(_provider(each) for each in senders),
        action=_DISCLOSE,
        allows_protected=recipient.allows_protected_identity,
    )


def subject(record: Record, snapshot: Snapshot) -> Subject:
    """What the rules look at in a record. Its dates are one span over all of them: a spärr that overlaps any, blocks."""
    people = (record.patient, *snapshot.people)
    provider = record.provider.hsa_id
    author = _unit(record.unit.hsa_id) if record.unit else _any_unit(provider)
    same = _person(record.patient.identity) == _person(snapshot.patient)
    return Subject(
        kind=record.record,
        patient=_person(record.patient.identity) if same else "",
        name=f"{record.record} {record.id.name} version {record.version}",
        custodian=_provider(record.provider.hsa_id),
        instances=frozenset({frozenset({record.id.name})}),
        authors=frozenset({frozenset({_provider(provider), author})}),
        dates=Span.around(_dates(record)),
        protected=any(person.protected for person in people),
        deceased=any(person.deceased for person in people),
    )


def named(consent: Consent | ForeignConsent) -> Subject:
    """A consent that something is said about: its name, and nothing of what it says."""
    return Subject("Consent", "", f"Consent {consent.id.name} version {consent.version}")


def opens(said: Consent | Block | ForeignConsent, at: datetime | None = None) -> str:
    """The kind of what a consent opens; nothing for a spärr, and for one that opens nothing or is over at an aware time."""
    for each in _active(said):
        end = each.rule.period.end if each.rule.period else None
        over = at is not None and end is not None and end < at
        if each.kind in _KINDS and not each.refusal and not over and _permits(each.rule):
            return each.kind
    return ""


def closes(said: Consent | ForeignConsent) -> str | None:
    """The kind of the consents that its words are about; None if those of another system may close what any of them opens."""
    if isinstance(said, Consent):
        return said.kind
    return None if any(each.refusal or _denies(each.rule) for each in _active(said)) else opens(said)


def stays_until(said: Consent | Block | ForeignConsent, since: datetime) -> datetime | None:
    """
    The last instant, from an aware time on, before any of what it says begins or ends to hold by the clock; None: it stays
    as it is.
    """
    spans = [span for each in _active(said) for span in (*_spans(each.rule), Span(each.dated.start))]
    ends = [span.end for span in spans if span.end is not None and span.end >= since]
    starts = [span.start - _INSTANT for span in spans if span.start is not None and span.start > since]
    return min([*ends, *starts], default=None)


def _active(said: Consent | Block | ForeignConsent) -> list[Directive]:
    """What one consent or spärr says by itself, unless it is proposed or withdrawn."""
    match said:
        case Consent():
            found = [_consent(said, twofold=False)]
        case Block():
            found = [_block(said)]
        case ForeignConsent():
            found = list(_foreign(said.document, said.patient.identity))
    return [each for each in found if each.status is Status.ACTIVE]


def _permits(rule: Rule) -> bool:
    """Whether any of its rules permits something to somebody else than the patient."""
    theirs = {each.kind for each in rule.actors} != {PATIENT}
    return (rule.effect is Effect.PERMIT and theirs) or any(map(_permits, rule.children))


def _denies(rule: Rule) -> bool:
    return rule.effect is Effect.DENY or any(map(_denies, rule.children))


def _spans(rule: Rule) -> Iterator[Span]:
    """The periods of a rule and of all within it."""
    if rule.period is not None:
        yield rule.period
    for child in rule.children:
        yield from _spans(child)


def _foreign(document: Mapping[str, Any], patient: PersonIdentity) -> Iterator[Directive]:
    """
    Another system's consents: the patient is known by identity number, the custodian by HSA-id. What they deny, they do not
    deny the patient.
    """
    consents, resolver = consents_in(document)
    kind, _, number = person_key(patient.kind, patient.number).partition("|")
    reader = Reader(Names(identifiers=frozenset({(kind, number)})), _person(patient), resolver, custodian=_custodian)
    for consent in consents:
        for directive in reader.read_as_ours(consent):
            yield replace(directive, rule=_but_not_to(_own(_person(patient)), directive.rule))


def _but_not_to(own: Rule, rule: Rule) -> Rule:
    children = tuple(_but_not_to(own, child) for child in rule.children)
    return replace(rule, children=(*children, own) if rule.effect is Effect.DENY else children)


def _custodian(names: Names) -> str:
    numbers = [value for system, value in names.identifiers if system == "hsaid"]
    return _provider(numbers[0]) if len(numbers) == 1 else ""


def _consent(consent: Consent, *, twofold: bool) -> Directive:
    """A consent given permits, one refused denies, for the recipients, purposes and time it speaks of."""
    return Directive(
        source=Source.CONSENT,
        id=consent.id.name,
        version=consent.version,
        kind=consent.kind.value,
        patient=_person(consent.patient.identity),
        custodian=_provider(consent.provider.hsa_id),
        status=_STATUS[consent.state],
        dated=_spoken(consent),
        line=_line(consent),
        categories=frozenset(consent.categories) or None,
        refusal="TWO_CONTENTS_OF_ONE_VERSION" if twofold else "",
        rule=_refusal_rule(consent) if consent.state is ConsentState.REFUSED else _permission_rule(consent),
    )


_STATUS = {
    ConsentState.GIVEN: Status.ACTIVE,
    ConsentState.REFUSED: Status.ACTIVE,
    ConsentState.WITHDRAWN: Status.WITHDRAWN,
    ConsentState.ENTERED_IN_ERROR: Status.ENTERED_IN_ERROR,
}


def _spoken(consent: Consent) -> Span:
    """When the patient last spoke about this: gave, refused or withdrew it, whichever came last."""
    spoken = [consent.given_on, *([consent.withdrawn.on] if consent.withdrawn else [])]
    return Span(max(each.earliest for each in spoken), max(each.latest for each in spoken))


def _permission_rule(consent: Consent) -> Rule:
    return Rule(
        Effect.PERMIT,
        period=_period(consent.period),
        actors=_recipients(consent),
        purposes=frozenset(("", purpose.value) for purpose in consent.purposes),
    )


def _refusal_rule(consent: Consent) -> Rule:
    """
    A refusal closes what the consent would have opened; without interventions (3 §) nothing of them may be exchanged at all.
    The patient's own access is nobody's to refuse.
    """
    everyone = consent.kind is ConsentKind.INTERVENTIONS and consent.recipient is None
    return Rule(
        Effect.DENY,
        period=_period(consent.period),
        actors=() if everyone else _recipients(consent),
        purposes=frozenset(("", purpose.value) for purpose in consent.purposes),
        children=(_own(_person(consent.patient.identity)),),
    )


def _recipients(consent: Consent) -> tuple[ActorPattern, ...]:
    """
    Whom a consent opens for: care (3 §), Försäkringskassan (4 §), or the one actor that is named. ``shared-records`` lets
    others' records be read and opens no send (lag 2022:913 3:7): it names nobody.
    """
    match consent.kind:
        case ConsentKind.SHARED_RECORDS:
            return (NOBODY,)
        case ConsentKind.INTERVENTIONS if consent.recipient is None:
            return (ActorPattern(kind=ActorCategory.VARD.value),)
        case ConsentKind.INFORM_FK if consent.recipient is None:
            return (ActorPattern(kind=ActorCategory.FORSAKRINGSKASSAN.value),)
        case _:
            return (_named(consent.recipient) if consent.recipient else NOBODY,)


def _named(actor: Actor) -> ActorPattern:
    """The actor in the role it was named in: a municipality as employer is not its social services."""
    return ActorPattern(
        kind=actor.category.value, identifiers=frozenset(_numbers(actor.organisation_number, actor.hsa_id))
    )


def _block(block: Block) -> Directive:
    """
    A spärr denies what its unit (inner) or provider (outer) wrote to everybody outside. Inside, and where a lift holds
    for the recipient's unit, it is silent. An inner one that names no unit blocks all units of its provider; what of the
    provider names no unit may be of the blocked one, and is blocked.
    """
    inner, provider = block.kind is BlockKind.INNER, block.provider.hsa_id
    if inner and block.unit is not None:
        blocked = frozenset({_unit(block.unit.hsa_id), _any_unit(provider)})
        inside = _care_unit(block.unit)
    else:
        blocked = frozenset({_provider(provider)})
        inside = NOBODY if inner else ActorPattern(ActorCategory.VARD.value, references=blocked)
    rule = Rule(
        Effect.DENY,
        data=(DataPattern(Meaning.AUTHORED_BY, blocked),),
        data_period=_period(block.information_period),
        children=(
            Rule(Effect.PERMIT, actors=(inside,)),
            *(_lift(lift) for lift in block.lifts),
            _own(_person(block.patient.identity)),
        ),
    )
    return Directive(
        source=Source.BLOCK,
        id=block.id.name,
        version=block.version,
        kind=block.kind.value,
        patient=_person(block.patient.identity),
        dated=_moment(block.set_on),
        rule=rule,
    )


def _lift(lift: Lift) -> Rule:
    """A lift for one unit holds in its period. One for a single professional opens no send: a system is not that person."""
    return Rule(
        Effect.PERMIT, period=_period(lift.period), actors=(NOBODY if lift.professional else _care_unit(lift.unit),)
    )


def _care_unit(unit: Unit) -> ActorPattern:
    return ActorPattern(ActorCategory.VARD.value, identifiers=frozenset(_numbers(None, unit.hsa_id)))


def _own_access(patient: str) -> Directive:
    """Secrecy for a person does not hold against that person (OSL 12 kap. 1 §): a named rule, not the lack of one."""
    return Directive(
        source=Source.LAW,
        id="OSL 12 kap. 1 §",
        version=1,
        kind=LAW,
        patient=patient,
        dated=Span(),
        rule=_own(patient),
    )


def _own(patient: str) -> Rule:
    identifiers = frozenset({(PATIENT, patient)})
    return Rule(Effect.PERMIT, actors=(ActorPattern(kind=PATIENT, identifiers=identifiers),))


def _newest(records: Iterable[_Versioned]) -> Iterator[tuple[_Versioned, bool]]:
    """The newest version of each record, and whether two contents claim to be it: then neither can be trusted."""
    versions: dict[str, list[_Versioned]] = defaultdict(list)
    for record in records:
        versions[record.id.name].append(record)
    for same in versions.values():
        last = max(record.version for record in same)
        newest = [record for record in same if record.version == last]
        if len(newest) > 1:
            newest = sorted(set(newest), key=lambda record: record.model_dump_json())
        yield from ((record, len(newest) > 1) for record in newest)


def _dates(record: Record) -> Iterator[Span]:
    """When the information in a record arose or holds."""
    match record:
        case Intervention():
            yield _moment(record.authored_on)
            yield from _periods(record.planned, record.performed)
        case CarePlan():
            yield _moment(record.created_on)
            yield from _periods(record.period)
            yield from (_span(each.period) for each in record.sick_leave)
            yield from _periods(*(each.planned for each in record.activities))
            yield from (_moment(each) for each in record.follow_ups)
        case Consent():
            yield _moment(record.given_on)
        case FkSignal():
            yield _moment(record.noted_on)
        case Offer():
            yield _moment(record.offered_on)
        case Block():
            yield _moment(record.set_on)


def _periods(*periods: Period | None) -> Iterator[Span]:
    yield from (_span(period) for period in periods if period is not None)


def _span(period: Period) -> Span:
    start, end = period.start, period.end
    return Span(start.earliest if start else None, end.latest if end else None)


def _period(period: Period | None) -> Span | None:
    return _span(period) if period else None


def _moment(moment: Moment) -> Span:
    return Span(moment.earliest, moment.latest)


def _numbers(organisation: OrganisationNumber | None, hsa_id: HsaId | None) -> Iterator[Coding]:
    if organisation is not None:
        yield "orgnr", organisation
    if hsa_id is not None:
        yield "hsaid", hsa_id.upper()


def _line(consent: Consent) -> frozenset[str]:
    """The recipient that a consent speaks of, in its role. A refusal replaces nothing: it denies for as long as it holds."""
    if consent.state is ConsentState.REFUSED:
        return frozenset({f"refusal {consent.id.name}"})
    if (actor := consent.recipient) is None:
        return frozenset()
    numbers = _numbers(actor.organisation_number, actor.hsa_id)
    return frozenset(f"{actor.category}|{system}|{value}" for system, value in numbers)


def _person(identity: PersonIdentity) -> str:
    """A token for one person in this process: equal for equal numbers, and telling nobody which."""
    return blake2b(person_key(identity.kind, identity.number).encode(), key=_PEPPER).hexdigest()


def _unit(hsa_id: str) -> str:
    return f"unit|{hsa_id.upper()}"


def _any_unit(provider: str) -> str:
    """The author of what names its provider but no unit."""
    return f"any unit of|{provider.upper()}"


def _provider(hsa_id: str) -> str:
    return f"provider|{hsa_id.upper()}"
