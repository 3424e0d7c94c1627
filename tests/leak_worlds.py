"""Two worlds: equal in everything that a recipient may have, different in everything that it may not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import strategies
from consent_worlds import (
    NUMBERS,
    OTHER_UNIT,
    actor,
    block,
    business,
    consent,
    good_consents,
    intervention,
    person,
    plan,
    signal,
)
from hypothesis import strategies as st

from adapter import domain as d
from adapter.dates import Moment

# by hand: one difference at a time


@dataclass(frozen=True)
class World:
    """What is asked about. ``secret``: a text that stands for all that is denied, for the seeded leaks to write."""

    record: d.Record
    secret: str
    consents: tuple[d.Consent, ...] = ()
    blocks: tuple[d.Block, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)


DIFFERENCES = {
    "value": (("Hemlig alfa", 2), ("Hemlig beta", 2)),
    "length": (("H", 2), ("H" * 190, 2)),
    "count": (("Hemlig", 0), ("Hemlig", 3)),
    "presence": ((None, 1), ("Hemlig", 1)),
}
"""A text and how many things; of the two worlds, in what the recipient may not have."""


def worlds(kind, difference, *, to):
    """Pairs of worlds for a type of recipient, one for each kind of record that it may get."""
    ones, others = (_worlds(kind, to, *what) for what in DIFFERENCES[difference])
    return list(zip(ones, others, strict=True))


def _worlds(kind, to, text, count):
    secret = f"{text} {count}"
    if kind == "forsakringskassan":
        names = {"given_names": (text,) * count if text else (), "family_name": text}
        told = [signal(patient=person(**names))]
        return [World(each, secret, (*good_consents(to), *_others_consents(text, count))) for each in told]
    if kind == "patient":
        return [World(intervention(), secret, tuple(_others_consents(text, count)), tuple(_blocks(count)))]
    consents = good_consents(to)
    if kind == "vard":
        consents = [
            consent(categories=("identity", "name", "coordinator", "participation", "schedule", "care-provider"))
        ]
    return [
        World(each, secret, (*consents, *_others_consents(text, count)))
        for each in (_intervention(kind, text, count), _plan(kind, text, count))
    ]


def _intervention(kind, text, count):
    unheard = [] if kind == "vard" else [d.Meeting(actor=each, contact=text) for each in _others(kind)] * count
    return intervention(
        note=text,
        outcome=text,
        next_step=text,
        state_reason=text,
        unit=d.Unit(hsa_id=OTHER_UNIT.hsa_id, name=text),
        plan=business("plan-7") if count else None,
        consent=business("c2") if text else None,
        met=(d.Meeting(actor=actor(kind), contact="Bo Ek"), *unheard),
    )


def _plan(kind, text, count):
    heard = d.Activity(text="Möte", state="planned", actor=actor(kind))
    unheard = [d.Activity(text=text or "Stöd", state="planned", actor=each) for each in (*_others(kind), None)]
    return plan(
        title=text or "Plan",
        text=text,
        goals=(d.Goal(text=text or "Mål"),) * count,
        diagnoses=(d.Diagnosis(code="F438A", text=text),) * min(count, 1),
        sick_leave=(d.SickLeave(degree=50, period=d.Period(start=Moment("2026-03-01"))),) * count,
        patient_took_part=bool(text),
        activities=() if kind == "vard" else (heard, *unheard * count),
        unit=d.Unit(hsa_id=OTHER_UNIT.hsa_id, name=text),
    )


def _others(kind):
    """Another kind of actor, and another one of the same kind."""
    return [actor("kommun" if kind != "kommun" else "arbetsgivare", NUMBERS[1]), actor(kind, NUMBERS[1])]


def _others_consents(text, count):
    """What the patient has said about others. It is the sender's to know."""
    for n in range(count):
        more = {"withdrawn": d.Withdrawal(on=Moment("2026-02-01"), by="patient", reason=text)} if text else {}
        state = "withdrawn" if text else "refused"
        yield consent(
            "collaborate", f"other-{n}", state=state, recipient=actor("samordningsforbund", NUMBERS[1]), **more
        )


def _blocks(count):
    return (block(value=f"b{n}") for n in range(count))


# by chance: everything at once


WORDS = st.text(st.sampled_from("abcåäö ÅF4. 1"), min_size=1, max_size=12).map(lambda text: f"x{text}x")


@st.composite
def two_interventions(draw, kind):
    """Interventions that differ in everything that this type of recipient may not get."""
    mine = actor(kind)
    common = {
        "state": draw(st.sampled_from(["in-progress", "completed"])),
        "authored_on": draw(strategies.days()),
        "performer": draw(strategies.professionals()),
        "performed": draw(strategies.optional(strategies.periods())),
        "channel": draw(strategies.optional(st.sampled_from(d.Channel))),
        "owner": draw(st.sampled_from([None, mine])),
    }
    heard = draw(
        st.lists(st.builds(d.Meeting, actor=st.just(mine), contact=strategies.optional(st.just("Bo Ek"))), max_size=2)
    )
    return tuple(
        intervention(**common, met=_mixed(draw, heard, _unheard_meetings(kind)), **_hidden(draw, intervention=True))
        for _ in range(2)
    )


@st.composite
def two_plans(draw, kind):
    mine = actor(kind)
    common = {
        "kind": draw(st.sampled_from(d.PlanKind)),
        "created_on": draw(strategies.days()),
        "author": draw(strategies.professionals()),
        "period": draw(strategies.optional(strategies.periods())),
        "follow_ups": draw(strategies.tuples_of(strategies.days(), 2)),
    }
    heard = draw(
        st.lists(st.builds(d.Activity, text=st.just("Möte"), state=st.just("planned"), actor=st.just(mine)), max_size=2)
    )
    taking_part = draw(st.sampled_from([(), (mine,)]))
    worlds = []
    for _ in range(2):
        activities = [
            each.model_copy(update={"intervention": draw(strategies.optional(strategies.business_ids()))})
            for each in _mixed(draw, heard, _unheard_activities(kind))
        ]
        worlds.append(
            plan(
                **common,
                title=draw(WORDS),
                text=draw(strategies.optional(WORDS)),
                goals=draw(strategies.tuples_of(st.builds(d.Goal, text=WORDS))),
                sick_leave=draw(
                    strategies.tuples_of(
                        st.builds(d.SickLeave, degree=st.sampled_from([25, 100]), period=strategies.periods()), 2
                    )
                ),
                diagnoses=draw(strategies.tuples_of(st.just(d.Diagnosis(code="F438A", text="Utmattning")), 1)),
                patient_took_part=draw(st.sampled_from([None, True, False])),
                participants=_mixed(draw, taking_part, _other_actors(kind)),
                activities=tuple(activities),
                **_hidden(draw),
            )
        )
    return tuple(worlds)


def _hidden(draw, *, intervention=False):
    unit = d.Unit(
        hsa_id=draw(strategies.hsa_ids()), name=draw(WORDS), phone=draw(strategies.optional(st.just("010-1")))
    )
    if not intervention:
        return {"unit": unit}
    texts = {name: draw(strategies.optional(WORDS)) for name in ("note", "outcome", "next_step", "state_reason")}
    refs = {name: draw(strategies.optional(strategies.business_ids())) for name in ("plan", "consent")}
    return {"unit": unit, **texts, **refs}


def _other_actors(kind):
    return st.builds(
        lambda category, number, hsa: d.Actor(category=category, organisation_number=number, hsa_id=hsa, name="Annan"),
        st.sampled_from([each for each in d.ActorCategory if each != kind]),
        st.sampled_from([*NUMBERS, d.OrganisationNumber("2321000131")]),
        strategies.optional(strategies.hsa_ids()),
    ) | st.just(actor(kind, NUMBERS[1]))


def _unheard_meetings(kind):
    return st.builds(d.Meeting, actor=_other_actors(kind), contact=strategies.optional(WORDS))


def _unheard_activities(kind):
    return st.builds(
        d.Activity,
        text=WORDS,
        state=st.sampled_from(d.ActivityState),
        actor=strategies.optional(_other_actors(kind)),
        planned=strategies.optional(strategies.periods()),
    )


def _mixed(draw, heard, unheard):
    """The permitted items in their order, others anywhere between them."""
    mixed = list(draw(st.lists(unheard, max_size=3)))
    places = sorted(draw(st.lists(st.integers(0, len(mixed)), min_size=len(heard), max_size=len(heard))))
    for shift, (place, item) in enumerate(zip(places, heard, strict=True)):
        mixed.insert(place + shift, item)
    return tuple(mixed)
