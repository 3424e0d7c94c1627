"""Hypothesis strategies for records: every kind, every field, only test identities."""

from __future__ import annotations

from datetime import date

from hypothesis import strategies as st

from adapter import domain as d
from adapter.dates import Moment
from adapter.sweden import HsaId, OrganisationNumber

PATIENTS = [
    ("personnummer", "191212121212"),
    ("personnummer", "195009072553"),
    ("personnummer", "200302022389"),
    ("samordningsnummer", "197010632391"),
    ("nationelltReservnummer", "22950606FH20"),
    ("reservnummer.stockholm", "991981000010"),
]
HSA_IDS = ["TSTNMT2321000016-105N", "TSTNMT2321000016-1003", "TSTNMT2321000016-105P", "TSTNMT2321000131-1002"]
ORGANISATIONS = ["2321000016", "2321000024", "2321000032", "2321000131"]

_WORDS = st.sampled_from(["Åsa", "Östen", "Älvkarleö", "möte", "rehab", "Kim", "x", "a b", "é", "—", "<&>\"'"])


def lines():
    return st.lists(_WORDS, min_size=1, max_size=3).map(" ".join)


def texts():
    return st.lists(_WORDS, min_size=1, max_size=4).map("\n".join) | lines()


def identities():
    return st.sampled_from(PATIENTS).map(lambda pair: d.PersonIdentity(kind=pair[0], number=pair[1]))


def days():
    return st.dates(min_value=date(2020, 1, 1), max_value=date(2030, 12, 31)).map(lambda day: Moment(day.isoformat()))


def partial_days():
    return days() | days().map(lambda day: Moment(day[:7])) | days().map(lambda day: Moment(day[:4]))


def times():
    clock = st.tuples(
        st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.sampled_from(["Z", "+01:00", "+02:00", "-05:30"])
    )
    return st.builds(lambda day, at: Moment(f"{day}T{at[0]:02}:{at[1]:02}:{at[2]:02}{at[3]}"), days(), clock)


def moments():
    return partial_days() | times()


def periods():
    def ordered(pair):
        first, second = sorted(pair, key=lambda moment: moment.earliest)
        return first, second

    def told_apart(pair):
        first, second = pair
        return first.earliest <= second.latest and not first.is_part_of(second) and not second.is_part_of(first)

    both = st.tuples(moments(), moments()).map(ordered).filter(told_apart)
    return (
        both.map(lambda p: d.Period(start=p[0], end=p[1]))
        | moments().map(lambda m: d.Period(start=m))
        | moments().map(lambda m: d.Period(end=m))
    )


def optional(strategy):
    return st.none() | strategy


def tuples_of(strategy, max_size=3):
    return st.lists(strategy, max_size=max_size).map(tuple)


def business_ids():
    return st.builds(
        d.BusinessId,
        system=st.sampled_from(["urn:oid:1.2.752.129.2.1.2.1", "https://journal.example/ids"]),
        value=st.from_regex(r"[A-Za-z0-9:-]{1,20}", fullmatch=True),
    )


def persons():
    return st.builds(
        d.Person,
        identity=identities(),
        given_names=tuples_of(lines(), 2),
        family_name=optional(lines()),
        protected=optional(st.sampled_from(d.Protection)),
        deceased=st.sampled_from([None, True, False]),
    )


def hsa_ids():
    return st.sampled_from(HSA_IDS).map(HsaId)


def professionals():
    return st.builds(
        d.Professional,
        hsa_id=hsa_ids(),
        given_names=tuples_of(lines(), 2),
        family_name=optional(lines()),
        phone=optional(st.just("010-123 45 67")),
        email=optional(st.just("koordinator@region.example")),
    )


def units():
    return st.builds(d.Unit, hsa_id=hsa_ids(), name=optional(lines()), phone=optional(st.just("010-765 43 21")))


def organisation_numbers():
    return st.sampled_from(ORGANISATIONS).map(OrganisationNumber)


def providers():
    return st.builds(
        d.Provider, hsa_id=hsa_ids(), organisation_number=optional(organisation_numbers()), name=optional(lines())
    )


def actors(categories=tuple(d.ActorCategory)):
    return st.builds(
        d.Actor,
        category=st.sampled_from(categories),
        organisation_number=organisation_numbers(),
        hsa_id=optional(hsa_ids()),
        name=optional(lines()),
    ) | st.builds(d.Actor, category=st.sampled_from(categories), hsa_id=hsa_ids(), name=optional(lines()))


@st.composite
def consents(draw):
    kind = draw(st.sampled_from(d.ConsentKind))
    state = draw(st.sampled_from(d.ConsentState))
    only_fk = (d.ActorCategory.FORSAKRINGSKASSAN,)
    recipients = {
        d.ConsentKind.COLLABORATE: actors(),
        d.ConsentKind.INFORM_FK: optional(actors(only_fk)),
    }.get(kind, optional(actors()))
    representative = draw(
        optional(st.builds(d.Representative, identity=identities(), relation=st.sampled_from(d.Relation)))
    )
    by = st.sampled_from(d.WithdrawnBy) if representative else st.just(d.WithdrawnBy.PATIENT)
    withdrawn = None
    if state is d.ConsentState.WITHDRAWN:
        withdrawn = draw(st.builds(d.Withdrawal, on=moments(), by=by, reason=optional(texts())))
    informed, given = sorted((draw(moments()), draw(moments())), key=lambda moment: moment.earliest)
    return d.Consent(
        id=draw(business_ids()),
        version=draw(st.integers(1, 9)),
        kind=kind,
        state=state,
        patient=draw(persons()),
        unit=draw(units()),
        provider=draw(providers()),
        given_on=given,
        form=draw(st.sampled_from(d.ConsentForm)),
        informed_on=informed,
        informed_by=draw(professionals()),
        recorded_by=draw(professionals()),
        recipient=draw(recipients),
        purposes=draw(st.lists(st.sampled_from(d.Purpose), unique=True, max_size=2).map(tuple)),
        categories=draw(st.lists(st.sampled_from(d.Category), unique=True, max_size=4).map(tuple)),
        period=draw(optional(periods())),
        withdrawn=withdrawn,
        representative=representative,
        attachment=draw(
            optional(
                st.just(
                    d.Attachment(
                        title="Samtycke",
                        content_type="application/pdf",
                        url="urn:uuid:6a4f2c0e-0b1b-4c39-9a64-b3f1f8f9e0a1",
                    )
                )
            )
        ),
    )


def blocks():
    lifts = st.builds(d.Lift, unit=units(), professional=optional(professionals()), period=periods())
    return st.builds(
        d.Block,
        id=business_ids(),
        version=st.integers(1, 9),
        kind=st.sampled_from(d.BlockKind),
        patient=persons(),
        provider=providers(),
        unit=optional(units()),
        set_on=moments(),
        information_period=optional(periods()),
        lifts=tuples_of(lifts, 2),
    )


def care_plans():
    goals = st.builds(
        d.Goal, text=texts(), target_date=optional(partial_days()), achievement=optional(st.sampled_from(d.Achievement))
    )
    activities = st.builds(
        d.Activity,
        text=texts(),
        state=st.sampled_from(d.ActivityState),
        actor=optional(actors()),
        planned=optional(periods()),
        intervention=optional(business_ids()),
    )
    return st.builds(
        d.CarePlan,
        id=business_ids(),
        version=st.integers(1, 9),
        kind=st.sampled_from(d.PlanKind),
        title=lines(),
        state=st.sampled_from(d.PlanState),
        patient=persons(),
        author=professionals(),
        unit=units(),
        provider=providers(),
        created_on=moments(),
        period=optional(periods()),
        sick_leave=tuples_of(st.builds(d.SickLeave, degree=st.sampled_from([25, 50, 75, 100]), period=periods()), 2),
        goals=tuples_of(goals),
        activities=tuples_of(activities),
        participants=tuples_of(actors(), 2),
        follow_ups=tuples_of(moments(), 2),
        patient_took_part=st.sampled_from([None, True, False]),
        text=optional(texts()),
        diagnoses=tuples_of(
            st.builds(d.Diagnosis, code=st.sampled_from(["F438A", "M54.5"]), text=optional(lines())), 2
        ),
    )


def interventions():
    return st.builds(
        d.Intervention,
        id=business_ids(),
        version=st.integers(1, 9),
        kind=st.sampled_from(d.InterventionKind),
        state=st.sampled_from(d.TaskState),
        business_state=optional(st.sampled_from(d.BusinessState)),
        state_reason=texts(),
        sequence=st.integers(1, 99),
        patient=persons(),
        unit=units(),
        provider=providers(),
        performer=professionals(),
        owner=optional(actors()),
        authored_on=moments(),
        met=tuples_of(st.builds(d.Meeting, actor=actors(), contact=optional(lines()))),
        channel=optional(st.sampled_from(d.Channel)),
        planned=optional(periods()),
        performed=optional(periods()),
        plan=optional(business_ids()),
        consent=optional(business_ids()),
        note=optional(texts()),
        outcome=optional(texts()),
        next_step=optional(texts()),
    )


def fk_signals():
    return st.builds(
        d.FkSignal,
        id=business_ids(),
        version=st.integers(1, 9),
        patient=persons(),
        unit=units(),
        provider=providers(),
        sender=professionals(),
        need_may_be_assumed=st.just(value=True),
        contact_wished=optional(st.sampled_from(d.Channel)),
        noted_on=moments(),
        consent=optional(business_ids()),
        consent_given_on=optional(moments()),
    )


@st.composite
def offers(draw):
    answer = draw(st.sampled_from(d.OfferAnswer))
    return d.Offer(
        id=draw(business_ids()),
        version=draw(st.integers(1, 9)),
        patient=draw(persons()),
        unit=draw(units()),
        provider=draw(providers()),
        offered_by=draw(professionals()),
        offered_on=draw(moments()),
        answer=answer,
        answered_on=None if answer is d.OfferAnswer.UNDECIDED else draw(moments()),
        reason=draw(optional(texts())),
    )


def records():
    return interventions() | consents() | blocks() | care_plans() | fk_signals() | offers()


KINDS = {
    "Intervention": interventions,
    "Consent": consents,
    "Block": blocks,
    "CarePlan": care_plans,
    "FkSignal": fk_signals,
    "Offer": offers,
}
"""The strategy of every record kind."""
