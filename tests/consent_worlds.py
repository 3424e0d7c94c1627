"""Small worlds that collide: few patients, units, numbers and instants, so that random consents often meet."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from random import Random

from adapter import domain as d
from adapter.consent import disclosure, policy
from adapter.consent.decide import Decision, decide
from adapter.dates import STOCKHOLM, Moment
from adapter.sweden import HsaId, OrganisationNumber

PATIENT = d.PersonIdentity(kind="personnummer", number="191212121212")
OTHER = d.PersonIdentity(kind="personnummer", number="195009072553")
UNIT, OTHER_UNIT = (d.Unit(hsa_id=HsaId(f"TSTNMT2321000016-{tail}")) for tail in ("105N", "1003"))
PROVIDER, OTHER_PROVIDER = (d.Provider(hsa_id=HsaId(f"TSTNMT2321000016-{tail}")) for tail in ("A001", "A002"))
STAFF = d.Professional(
    hsa_id=HsaId("TSTNMT2321000016-105P"), given_names=("Kim",), family_name="Ek", phone="010-123 45 67"
)
NUMBERS = [OrganisationNumber(number) for number in ("2321000024", "2321000032")]
SYSTEM = "urn:oid:1.2.752.129.2.1.2.1"
PURPOSES = {"forsakringskassan": d.Purpose.REHABILITATION_NEED, "patient": d.Purpose.PATIENT_REQUEST}

DAYS = ["2026", "2026-03", "2026-03-28", "2026-03-29", "2026-03-30", "2026-03-29T12:00:00+02:00", "2026-04-02"]
ENDS = ["2026-03-29", "2026-10-25", "2026-03-29T12:00:00+02:00", "2026-12"]
EDGES = ["2026-03-29", "2026-03-30", "2026-10-25", "2026-10-26", "2026-04-01", "2027-01-01"]
NOWS = [
    datetime.fromisoformat(day).replace(tzinfo=STOCKHOLM).astimezone(UTC) + step
    for day in EDGES
    for step in (timedelta(0), -timedelta(microseconds=1), timedelta(hours=12))
] + [
    datetime(2026, 3, 29, 10, tzinfo=UTC),
    datetime(2026, 3, 29, 10, 0, 0, 999999, UTC),
    datetime(2026, 3, 29, 10, 0, 1, tzinfo=UTC),
]


def person(identity=PATIENT, **more):
    return d.Person(identity=identity, **more)


def business(value):
    return d.BusinessId(system=SYSTEM, value=value)


def actor(category="arbetsgivare", number=NUMBERS[0], hsa_id=None):
    return d.Actor(category=category, organisation_number=number, hsa_id=hsa_id)


def consent(kind="interventions", value="c1", **more):
    """A consent given on New Year's Day, unless said otherwise."""
    usual = {
        "id": business(value), "kind": kind, "state": "given", "patient": person(), "unit": UNIT, "provider": PROVIDER,
        "given_on": Moment("2026-01-01"), "form": "oral", "informed_on": Moment("2025"), "informed_by": STAFF, "recorded_by": STAFF,
    }  # fmt: skip
    if more.get("state") == "withdrawn" and "withdrawn" not in more:
        more["withdrawn"] = d.Withdrawal(on=Moment("2026-02-01"), by="patient")
    return d.Consent(**usual | more)


def block(kind="inner", value="b1", **more):
    usual = {
        "id": business(value),
        "kind": kind,
        "patient": person(),
        "provider": PROVIDER,
        "unit": UNIT,
        "set_on": Moment("2026-01-01"),
    }
    return d.Block(**usual | more)


def intervention(**more):
    usual = {
        "id": business("i1"), "kind": "samverkan", "state": "in-progress", "patient": person(), "unit": UNIT, "provider": PROVIDER,
        "performer": STAFF, "authored_on": Moment("2026-03-01"),
    }  # fmt: skip
    return d.Intervention(**usual | more)


def plan(**more):
    usual = {
        "id": business("p1"), "kind": "rehabiliteringsplan", "title": "Plan", "state": "active", "patient": person(), "author": STAFF,
        "unit": UNIT, "provider": PROVIDER, "created_on": Moment("2026-03-01"),
    }  # fmt: skip
    return d.CarePlan(**usual | more)


def signal(**more):
    usual = {
        "id": business("s1"), "patient": person(), "unit": UNIT, "provider": PROVIDER, "sender": STAFF, "need_may_be_assumed": True,
        "noted_on": Moment("2026-03-01"),
    }  # fmt: skip
    return d.FkSignal(**usual | more)


def recipient(kind="arbetsgivare", **more):
    usual = {"destination": f"to-{kind}", "type": kind, "organisation_number": NUMBERS[0]}
    if kind == "patient":
        usual = {"destination": "to-patient", "type": kind, "patient": PATIENT}
    return policy.Recipient(**usual | more)


def good_consents(to):
    """What is needed to send to this recipient, and nothing more."""
    given = [consent()]
    if to.type == "forsakringskassan":
        given.append(consent("inform-fk", "c2"))
    elif to.type in set(d.ActorCategory) - {"vard"} and (to.organisation_number or to.hsa_id):
        given.append(consent("collaborate", "c2", recipient=actor(to.type, to.organisation_number, to.hsa_id)))
    return given


def record_for(to, **more):
    return signal(**more) if to.type == "forsakringskassan" else intervention(**more)


def decided(to, consents=(), blocks=(), record=None, now=datetime(2026, 6, 1, tzinfo=UTC), purpose=None) -> Decision:
    record = record or record_for(to)
    snapshot = policy.Snapshot(record.patient.identity, 1, tuple(consents), tuple(blocks))
    asked = policy.request(to, purpose or PURPOSES.get(to.type, d.Purpose.COORDINATION), [PROVIDER.hsa_id])
    return decide(snapshot.directives, asked, policy.subject(record, snapshot), now, disclosure.load())


RECIPIENTS = [
    *(recipient(kind) for kind in disclosure.TYPES),
    *(recipient(kind, organisation_number=NUMBERS[1]) for kind in ("arbetsgivare", "kommun")),
    *(
        recipient(kind, organisation_number=None, hsa_id=UNIT.hsa_id)
        for kind in ("arbetsgivare", "kommun", "forsakringskassan")
    ),
    recipient("vard", organisation_number=None, hsa_id=HsaId("TSTNMT2321000016-105n"), provider_hsa_id=PROVIDER.hsa_id),
    recipient("vard", hsa_id=OTHER_UNIT.hsa_id, provider_hsa_id=PROVIDER.hsa_id),
    recipient("vard", hsa_id=OTHER_UNIT.hsa_id, provider_hsa_id=OTHER_PROVIDER.hsa_id, allows_protected_identity=True),
    recipient("patient", patient=OTHER),
    recipient("arbetsgivare", organisation_number=None),
    recipient("granne"),
]


class Pools:
    """Many consents, spärrar and records over the small alphabets, made once."""

    def __init__(self, seed: int) -> None:
        chance = Random(seed)
        self.consents = [self._consent(chance) for _ in range(700)]
        self.blocks = [self._block(chance) for _ in range(150)]
        self.records = [self._record(chance) for _ in range(120)]

    def _consent(self, chance):
        kind = chance.choice([*d.ConsentKind, *d.ConsentKind, "interventions", "collaborate", "collaborate"])
        state = chance.choice(["given", "given", "given", "withdrawn", "refused", "entered-in-error"])
        named = None
        if kind == "collaborate" or chance.random() < 0.25:
            category = (
                "forsakringskassan"
                if kind == "inform-fk"
                else chance.choice(["arbetsgivare", "arbetsgivare", "kommun", "vard"])
            )
            number = chance.choice([*NUMBERS, None])
            named = actor(category, number, UNIT.hsa_id if number is None else chance.choice([None, OTHER_UNIT.hsa_id]))
        more = {"withdrawn": d.Withdrawal(on=Moment(chance.choice(DAYS)), by="patient")} if state == "withdrawn" else {}
        return consent(
            kind,
            chance.choice(["c1", "c2", "c3", "c4", "c5"]),
            version=chance.randint(1, 2),
            state=state,
            patient=self._person(chance),
            provider=OTHER_PROVIDER if chance.random() < 0.06 else PROVIDER,
            given_on=Moment(chance.choice(DAYS)),
            recipient=named,
            purposes=tuple(chance.sample(list(d.Purpose), chance.choice([0, 0, 0, 1, 2]))),
            categories=tuple(chance.sample(list(d.Category), chance.choice([0, 0, 0, 2, 5]))),
            period=self._period(chance),
            **more,
        )

    def _block(self, chance):
        lifts = tuple(
            d.Lift(
                unit=chance.choice([UNIT, OTHER_UNIT]),
                professional=chance.choice([None, None, STAFF]),
                period=self._period(chance, always=True),
            )
            for _ in range(chance.choice([0, 0, 1, 2]))
        )
        return block(
            chance.choice(["inner", "outer"]),
            chance.choice(["b1", "b2"]),
            version=chance.randint(1, 2),
            patient=self._person(chance),
            provider=chance.choice([PROVIDER, OTHER_PROVIDER]),
            unit=chance.choice([UNIT, OTHER_UNIT, None]),
            set_on=Moment(chance.choice(DAYS)),
            information_period=self._period(chance),
            lifts=lifts,
        )

    def _record(self, chance):
        """One in ten has lost its unit on the way, as no record that was checked has."""
        record = self._whole_record(chance)
        return record.model_copy(update={"unit": None}) if chance.random() < 0.1 else record

    def _whole_record(self, chance):
        who = self._person(chance)
        where = {
            "unit": chance.choice([UNIT, UNIT, OTHER_UNIT]),
            "provider": OTHER_PROVIDER if chance.random() < 0.05 else PROVIDER,
        }
        when = Moment(chance.choice(DAYS))
        match chance.randrange(5):
            case 0 | 1:
                return intervention(
                    patient=who, **where, authored_on=when, planned=self._period(chance), performed=self._period(chance)
                )
            case 2:
                sick_leave = tuple(
                    d.SickLeave(degree=50, period=self._period(chance, always=True)) for _ in range(chance.randrange(2))
                )
                activities = tuple(
                    d.Activity(text="möte", state="planned", planned=self._period(chance))
                    for _ in range(chance.randrange(2))
                )
                follow_ups = tuple(Moment(chance.choice(DAYS)) for _ in range(chance.randrange(2)))
                return plan(
                    patient=who,
                    **where,
                    created_on=when,
                    period=self._period(chance),
                    sick_leave=sick_leave,
                    activities=activities,
                    follow_ups=follow_ups,
                )
            case 3:
                return signal(patient=who, **where, noted_on=when)
            case _:
                return consent(value="c9", patient=who, **where, given_on=when)

    @staticmethod
    def _person(chance):
        luck = chance.random()
        if luck < 0.04:
            return person(OTHER)
        if luck < 0.06:
            return person(protected="sekretessmarkering")
        return person(deceased=True) if luck < 0.07 else person()

    @staticmethod
    def _period(chance, *, always=False):
        start, end = chance.choice([None, *DAYS]), chance.choice([None, *ENDS])
        start, end = (Moment(start) if start else None), (Moment(end) if end else None)
        if start and end and (start.earliest > end.latest or start.is_part_of(end) or end.is_part_of(start)):
            end = None
        if always and not start and not end:
            end = Moment(ENDS[1])
        return d.Period(start=start, end=end) if (start or end) and (always or chance.random() < 0.5) else None


def cases(count: int, seed: int):
    """Random questions: (consents, blocks, record, recipient, purpose, now). Half of them would be permitted but for chance."""
    pools, chance = Pools(seed), Random(seed)
    good = [good_consents(to) for to in RECIPIENTS]
    for _ in itertools.repeat(None, count):
        place = chance.randrange(len(RECIPIENTS))
        to = RECIPIENTS[place]
        helpful = chance.random() < 0.7
        consents = (good[place] if helpful else []) + chance.sample(pools.consents, chance.choice([0, 0, 1, 1, 2, 4]))
        blocks = chance.sample(pools.blocks, chance.choice([0, 0, 0, 1, 2]))
        record = record_for(to) if helpful and chance.random() < 0.5 else chance.choice(pools.records)
        usual = PURPOSES.get(to.type, d.Purpose.COORDINATION)
        purpose = usual if chance.random() < 0.95 else chance.choice(list(d.Purpose))
        chance.shuffle(consents)
        yield tuple(consents), tuple(blocks), record, to, purpose, chance.choice(NOWS)
