"""What the decision says: the law's rules one by one, and the laws that hold for all of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from consent_worlds import (
    NOWS,
    NUMBERS,
    OTHER,
    OTHER_PROVIDER,
    OTHER_UNIT,
    PATIENT,
    PROVIDER,
    RECIPIENTS,
    STAFF,
    UNIT,
    Pools,
    actor,
    block,
    business,
    cases,
    consent,
    decided,
    good_consents,
    intervention,
    person,
    plan,
    recipient,
    record_for,
    signal,
)
from hypothesis import given
from hypothesis import strategies as st
from rule_trees import random_question, random_rule, said

from adapter import domain as d
from adapter.consent import disclosure, policy
from adapter.consent.decide import Reason, Request, decide, generic
from adapter.consent.directives import Source, Status
from adapter.consent.explanation import changes, explain, explain_text, law
from adapter.consent.rules import ActorPattern, DataPattern, Dialect, Effect, Meaning, Rule, Span
from adapter.dates import STOCKHOLM, Moment
from adapter.errors import Fault

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
POOLS = Pools(5)
OUTSIDE = [recipient(kind) for kind in ("arbetsgivare", "arbetsformedlingen", "kommun", "samordningsforbund")]
SENT = [*OUTSIDE, recipient("forsakringskassan"), recipient("vard")]
EMPLOYER, CARE, FK = OUTSIDE[0], SENT[-1], SENT[-2]

consent_lists = st.lists(st.sampled_from(POOLS.consents), max_size=4)
block_lists = st.lists(st.sampled_from(POOLS.blocks), max_size=2)
recipients = st.sampled_from(RECIPIENTS)
instants = st.sampled_from(NOWS)
helped = st.booleans()


def ids(values):
    return [getattr(value, "type", value) for value in values]


def start_of(day):
    return datetime.fromisoformat(day).replace(tzinfo=STOCKHOLM).astimezone(UTC)


# what each recipient needs


@pytest.mark.parametrize("to", SENT, ids=ids(SENT))
def test_with_exactly_what_the_law_asks_for_it_is_permitted(to):
    decision = decided(to, good_consents(to))
    assert (decision.reason, decision.permitted) == (Reason.PERMITTED, True)
    assert decision.categories == disclosure.load().of[to.type].categories
    assert {name.rpartition("|")[2] for name, _ in decision.consents} == {each.id.value for each in good_consents(to)}


@pytest.mark.parametrize("to", SENT, ids=ids(SENT))
def test_without_any_one_of_them_it_is_withheld(to):
    needed = good_consents(to)
    for left_out in needed:
        decision = decided(to, [each for each in needed if each is not left_out])
        assert (decision.permitted, decision.reason, decision.kind) == (False, Reason.NO_CONSENT, left_out.kind)
        assert decision.categories == frozenset()
        assert decision.consents == ()


@pytest.mark.parametrize("to", SENT, ids=ids(SENT))
@pytest.mark.parametrize("kind", d.ConsentKind)
def test_one_kind_of_consent_never_stands_in_for_another(to, kind):
    more = {"recipient": actor(to.type, to.organisation_number)} if kind == "collaborate" else {}
    permitted = decided(to, [consent(kind, **more)]).permitted
    assert permitted == (to.type == "vard" and kind == "interventions")


@pytest.mark.parametrize("to", SENT, ids=ids(SENT))
def test_shared_records_opens_nothing_and_closes_nothing(to):
    named = actor(to.type, to.organisation_number)
    for state in ("given", "refused", "withdrawn"):
        extra = consent("shared-records", "c3", state=state, recipient=named)
        assert not decided(to, [extra]).permitted
        assert decided(to, [*good_consents(to), extra]).permitted


def test_fk_is_told_only_of_a_patient_who_is_given_interventions():
    assert decided(FK, [consent("inform-fk", "c2")]).kind == "interventions"
    assert decided(FK, [consent("interventions", "c1")]).kind == "inform-fk"


def test_the_consent_for_interventions_is_presupposed_whatever_it_opens_in_care():
    """Its recipient, purposes and categories are about the exchange in care; for others it only has to stand."""
    narrow = consent(recipient=actor("vard", NUMBERS[1]), purposes=("patient-request",), categories=("note",))
    assert (
        decided(EMPLOYER, [narrow, *good_consents(EMPLOYER)[1:]]).categories
        == disclosure.load().of["arbetsgivare"].categories
    )
    assert not decided(CARE, [narrow]).permitted


def test_the_patient_gets_what_is_about_the_patient_by_law_and_nobody_elses():
    decision = decided(recipient("patient"))
    assert (decision.reason, decision.consents) == (Reason.PERMITTED_BY_LAW, ())
    assert d.Category.DIAGNOSIS in decision.categories
    assert decided(recipient("patient", patient=OTHER)).reason is Reason.WRONG_PATIENT
    no = [consent(state="refused"), consent("shared-records", "c2", state="refused")]
    assert decided(recipient("patient"), no, [block(), block("outer", "b2")]).permitted


# hard prohibitions


def test_a_recipient_outside_the_closed_list_gets_nothing():
    assert decided(recipient("granne"), good_consents(EMPLOYER)).reason is Reason.UNKNOWN_RECIPIENT
    assert (
        decided(recipient("arbetsgivare", organisation_number=None), good_consents(EMPLOYER)).reason
        is Reason.UNKNOWN_RECIPIENT
    )
    assert decided(recipient("patient", patient=None)).reason is Reason.UNKNOWN_RECIPIENT


def test_an_actor_is_known_by_number_never_by_category_alone():
    same_kind = recipient("arbetsgivare", organisation_number=NUMBERS[1])
    decision = decided(same_kind, good_consents(EMPLOYER))
    assert (decision.permitted, decision.reason) == (False, Reason.CONSENT_FOR_ANOTHER)


def test_a_municipality_as_employer_is_not_its_social_services():
    assert not decided(recipient("kommun"), good_consents(EMPLOYER)).permitted
    assert decided(recipient("kommun"), good_consents(recipient("kommun"))).permitted


RECORDS = {
    "Intervention": intervention(),
    "CarePlan": plan(),
    "FkSignal": signal(),
    "Consent": consent(value="c9"),
    "Block": block(value="b9"),
}
RECORDS["Offer"] = d.Offer(
    id=business("o1"), patient=person(), unit=UNIT, provider=PROVIDER, offered_by=STAFF, offered_on="2026-03-01", answer="undecided"
)  # fmt: skip
MAY_GET = {
    "forsakringskassan": {"FkSignal"},
    "vard": {"Intervention", "CarePlan", "Consent"},
    "patient": set(RECORDS),
} | {to.type: {"Intervention", "CarePlan"} for to in OUTSIDE}


@pytest.mark.parametrize("kind", disclosure.TYPES)
@pytest.mark.parametrize("record", RECORDS)
def test_each_recipient_gets_only_the_records_that_are_for_it(kind, record):
    to = recipient(kind)
    decision = decided(to, good_consents(to), record=RECORDS[record])
    assert decision.permitted == (record in MAY_GET[kind])
    if not decision.permitted:
        assert decision.reason is Reason.RECORD_NOT_FOR_RECIPIENT


@pytest.mark.parametrize("kind", disclosure.TYPES)
@pytest.mark.parametrize("purpose", d.Purpose)
def test_each_recipient_is_told_only_for_its_purpose(kind, purpose):
    expected = {"forsakringskassan": "rehabilitation-need", "patient": "patient-request"}.get(kind, "coordination")
    to = recipient(kind)
    decision = decided(to, good_consents(to), purpose=purpose)
    assert decision.permitted == (purpose == expected)
    if not decision.permitted:
        assert decision.reason is Reason.PURPOSE_NOT_FOR_RECIPIENT


@pytest.mark.parametrize("to", SENT, ids=ids(SENT))
@pytest.mark.parametrize("where", ["record", "consent", "block"])
def test_protected_identity_stops_everything_but_an_agreed_channel_in_care(to, where):
    hidden = person(protected="sekretessmarkering")
    consents = [*good_consents(to), *([consent("shared-records", "c5", patient=hidden)] if where == "consent" else [])]
    blocks = [block(value="b5", patient=hidden, unit=OTHER_UNIT)] if where == "block" else []
    record = record_for(to, patient=hidden) if where == "record" else record_for(to)
    assert decided(to, consents, blocks, record).reason is Reason.PROTECTED_IDENTITY
    agreed = recipient(to.type, allows_protected_identity=True)
    assert decided(agreed, consents, blocks, record).permitted == (to.type == "vard")


@pytest.mark.parametrize("to", [*SENT, recipient("patient")], ids=ids([*SENT, "patient"]))
def test_nothing_is_sent_about_someone_who_has_died(to):
    assert (
        decided(to, good_consents(to), record=record_for(to, patient=person(deceased=True))).reason is Reason.DECEASED
    )


def test_a_record_of_another_care_provider_is_not_ours_to_send():
    record = intervention(provider=OTHER_PROVIDER)
    assert decided(CARE, [consent(provider=OTHER_PROVIDER)], record=record).reason is Reason.WRONG_TENANT


def test_a_consent_that_another_care_provider_took_opens_nothing_here():
    decision = decided(CARE, [consent(provider=OTHER_PROVIDER)])
    assert (decision.permitted, decision.reason) == (False, Reason.WRONG_TENANT)


def test_another_patients_consent_opens_nothing():
    decision = decided(CARE, [consent(patient=person(OTHER))])
    assert (decision.permitted, decision.reason) == (False, Reason.WRONG_PATIENT)


def test_consents_read_for_another_patient_than_the_records_stop_it():
    snapshot = policy.Snapshot(OTHER, 1, (consent(patient=person(OTHER)),))
    asked = policy.request(CARE, d.Purpose.COORDINATION, [PROVIDER.hsa_id])
    decision = decide(snapshot.directives, asked, policy.subject(intervention(), snapshot), JUNE, disclosure.load())
    assert decision.reason is Reason.WRONG_PATIENT


def test_one_person_is_the_same_however_the_number_is_written():
    dashed, plain = (
        d.PersonIdentity(kind="nationelltReservnummer", number=number) for number in ("22950606-FH20", "22950606FH20")
    )
    record = intervention(patient=person(dashed))
    assert decided(CARE, [consent(patient=person(plain))], record=record).permitted


# time


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2026-05-05", "2028-02-29"])
def test_a_consent_holds_from_the_first_instant_of_its_first_day_through_the_last_of_its_last(day):
    """Also on the days of 23 and 25 hours."""
    held = [consent(period=d.Period(start=Moment(day), end=Moment(day)))]
    first = start_of(day)
    after = start_of((datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat())
    assert after - first == timedelta(hours={"2026-03-29": 23, "2026-10-25": 25}.get(day, 24))
    assert decided(CARE, held, now=first - MOMENT).reason is Reason.CONSENT_NOT_YET
    assert decided(CARE, held, now=first).permitted
    assert decided(CARE, held, now=after - MOMENT).permitted
    assert decided(CARE, held, now=after).reason is Reason.CONSENT_EXPIRED


def test_a_time_with_seconds_holds_through_its_second():
    end = [consent(period=d.Period(end=Moment("2026-05-05T12:00:00+02:00")))]
    noon = datetime(2026, 5, 5, 10, tzinfo=UTC)
    assert decided(CARE, end, now=noon + timedelta(seconds=1) - MOMENT).permitted
    assert decided(CARE, end, now=noon + timedelta(seconds=1)).reason is Reason.CONSENT_EXPIRED


@pytest.mark.parametrize(
    ("given_on", "first"), [("2026-05-05", "2026-05-05"), ("2026-05", "2026-05-01"), ("2027", "2027-01-01")]
)
def test_a_consent_dated_later_than_now_is_not_given_yet(given_on, first):
    later = [consent(given_on=Moment(given_on))]
    assert decided(CARE, later, now=start_of(first) - MOMENT).reason is Reason.CONSENT_NOT_YET
    assert decided(CARE, later, now=start_of(first)).permitted


def test_a_withdrawal_takes_effect_at_once_whatever_day_it_names():
    for day in ("2026-01-01", "2026-06-01", "2030-01-01"):
        withdrawn = consent(state="withdrawn", withdrawn=d.Withdrawal(on=Moment(day), by="patient"))
        assert decided(CARE, [withdrawn]).reason is Reason.CONSENT_WITHDRAWN


def test_a_consent_entered_in_error_never_was():
    assert decided(CARE, [consent(state="entered-in-error")]).reason is Reason.CONSENT_ENTERED_IN_ERROR
    older = consent(value="c2", given_on="2025-06-01")
    assert decided(CARE, [consent(state="entered-in-error"), older]).permitted


# versions, and the newest of its line


def test_only_the_newest_version_of_a_consent_speaks():
    given, withdrawn = consent(version=1), consent(version=2, state="withdrawn")
    assert decided(CARE, [given, withdrawn]).reason is Reason.CONSENT_WITHDRAWN
    assert decided(CARE, [consent(version=3), withdrawn]).permitted


def test_two_contents_of_one_version_are_believed_by_nobody():
    twofold = [consent(), consent(categories=("note",))]
    assert decided(CARE, twofold).reason is Reason.CONSENT_UNINTERPRETABLE
    assert decided(CARE, [consent(), consent()]).permitted


def test_a_newer_consent_of_the_same_line_replaces_the_older():
    wide, narrow = consent(value="c1"), consent(value="c2", given_on="2026-02-01", categories=("schedule",))
    assert decided(CARE, [wide, narrow]).categories == {d.Category.ADMINISTRATIVE, d.Category.SCHEDULE}
    assert decided(CARE, [narrow.model_copy(update={"given_on": Moment("2025-12-01")}), wide]).categories > {
        d.Category.NOTE
    }


@pytest.mark.parametrize(
    "newer",
    [
        {"state": "withdrawn", "given_on": "2025-06-01", "withdrawn": {"on": "2026-03-01", "by": "patient"}},
        {"given_on": "2026-03-01", "period": {"end": "2026-04-01"}},
        {"given_on": "2026-03-01", "purposes": ("patient-request",)},
    ],
    ids=["withdrawn", "expired", "other purpose"],
)
def test_what_the_patient_said_last_is_not_undone_by_what_was_said_before(newer):
    assert not decided(CARE, [consent(value="c1"), consent(value="c2", **newer)]).permitted


def test_a_consent_that_is_given_anew_after_a_withdrawal_holds():
    withdrawn = consent(value="c1", state="withdrawn", withdrawn=d.Withdrawal(on=Moment("2026-03-01"), by="patient"))
    assert decided(CARE, [withdrawn, consent(value="c2", given_on="2026-03-02")]).permitted
    same_day = decided(CARE, [withdrawn, consent(value="c2", given_on="2026-03-01")])
    assert same_day.reason is Reason.CONSENT_WITHDRAWN, "the dates do not tell which was last"
    second_time = consent(value="c2", given_on="2026-03-01T15:00:00+01:00")
    by_the_clock = withdrawn.model_copy(
        update={"withdrawn": d.Withdrawal(on=Moment("2026-03-01T14:00:00+01:00"), by="patient")}
    )
    assert decided(CARE, [by_the_clock, second_time]).permitted


def test_where_dates_cannot_tell_which_is_newer_only_what_both_open_is_open():
    one, other = (
        consent(value="c1", categories=("note", "schedule")),
        consent(value="c2", categories=("schedule", "plan")),
    )
    assert decided(CARE, [one, other]).categories == {d.Category.ADMINISTRATIVE, d.Category.SCHEDULE}


def test_a_consent_that_is_replaced_is_not_among_those_that_allowed_it():
    older, newer = consent(value="c1"), consent(value="c2", given_on="2026-01-02")
    assert decided(CARE, [older, newer]).consents == ((f"{newer.id.system}|c2", 1),)
    assert len(decided(CARE, [older, newer.model_copy(update={"given_on": older.given_on})]).consents) == 2


def test_two_words_at_one_instant_are_not_told_apart():
    instant = Moment("2026-03-01T12:00:00.000000+01:00")
    withdrawn = consent(value="c1", state="withdrawn", withdrawn=d.Withdrawal(on=instant, by="patient"))
    assert decided(CARE, [withdrawn, consent(value="c2", given_on=instant)]).reason is Reason.CONSENT_WITHDRAWN
    assert (
        len(decided(CARE, [consent(value="c1", given_on=instant), consent(value="c2", given_on=instant)]).consents) == 2
    )
    after = Moment("2026-03-01T12:00:00.000001+01:00")
    assert decided(CARE, [withdrawn, consent(value="c2", given_on=after)]).permitted


def test_the_nearest_of_several_is_the_one_given_last():
    period = d.Period(end=Moment("2026-05-01"))
    expired = [
        consent(value=value, given_on=day, period=period) for value, day in (("c1", "2026-01-01"), ("c2", "2026-02-01"))
    ]
    [(_, named)] = changes(decided(CARE, expired))
    assert named["rule"].endswith("|c2 version 1")


def test_a_consent_renewed_in_advance_leaves_the_present_one_in_force():
    present = consent(value="c1", period=d.Period(end=Moment("2026-06-30")))
    coming = consent(value="c2", given_on="2026-05-20", period=d.Period(start=Moment("2026-07-01")))
    assert decided(CARE, [present, coming], now=JUNE).permitted
    assert decided(CARE, [present, coming], now=start_of("2026-07-01")).permitted


def test_withdrawing_the_general_consent_also_ends_those_for_one_recipient():
    special = consent(value="c1", recipient=actor("vard", NUMBERS[0]))
    general = consent(value="c2", state="withdrawn")
    assert decided(CARE, [special]).permitted
    assert decided(CARE, [special, general]).reason is Reason.CONSENT_WITHDRAWN


def test_a_consent_that_may_be_replaced_by_one_for_part_of_its_line_does_not_hold():
    both = actor("arbetsgivare", NUMBERS[0], UNIT.hsa_id)
    older = consent("collaborate", "c2", recipient=both)
    newer = consent("collaborate", "c3", recipient=actor("arbetsgivare", None, UNIT.hsa_id), given_on="2026-02-01")
    assert decided(EMPLOYER, [consent(), older, newer]).reason is Reason.CONSENT_REPLACED


# consents that cannot be read


def foreign(refusal="", **more):
    """A consent of another system, in the internal form."""
    [made] = [each for each in policy.Snapshot(PATIENT, 1, (consent(),)).directives if each.kind == "interventions"]
    return replace(made, **{"id": "foreign", "refusal": refusal, "line": frozenset({"its own"})} | more)


def decided_with(directives, to=CARE):
    snapshot = policy.Snapshot(PATIENT, 1, (consent(),))
    asked = policy.request(to, d.Purpose.COORDINATION, [PROVIDER.hsa_id])
    return decide(
        [*snapshot.directives, *directives], asked, policy.subject(intervention(), snapshot), JUNE, disclosure.load()
    )


LATER = {"dated": Span(JUNE + MOMENT, JUNE + MOMENT)}
PAST = {"rule": Rule(Effect.PERMIT, period=Span(end=JUNE - MOMENT))}


def test_an_active_consent_that_cannot_be_read_may_hold_a_denial():
    assert decided_with([foreign()]).permitted
    for refusal in ("UNKNOWN_STATUS", "MODIFIER_EXTENSION", "IMPLICIT_RULES"):
        decision = decided_with([foreign(refusal)])
        assert (decision.permitted, decision.reason) == (False, Reason.CONSENT_UNINTERPRETABLE)
        assert [code for code, _ in changes(decision)] == ["repair-consent"]
        for out in ({"status": Status.WITHDRAWN}, {"status": Status.ENTERED_IN_ERROR}, {"patient": "another"}):
            assert decided_with([foreign(refusal, **out)]).permitted


def test_what_may_change_the_meaning_of_everything_stops_even_out_of_time():
    for when in (LATER, PAST):
        assert decided_with([foreign("UNKNOWN_STATUS", **when)]).permitted
        for refusal in ("MODIFIER_EXTENSION", "IMPLICIT_RULES"):
            assert decided_with([foreign(refusal, **when)]).reason is Reason.CONSENT_UNINTERPRETABLE


def test_a_consent_without_a_date_may_be_newer_than_any_other():
    undated = {"dated": Span(), "line": frozenset()}
    assert decided_with([foreign(**undated)]).permitted
    assert decided_with([foreign(**undated, status=Status.WITHDRAWN)]).reason is Reason.CONSENT_WITHDRAWN


def test_a_denial_nested_in_a_permission_is_a_denial():
    """As foreign consents have them: everything but one thing."""
    inner = Rule(Effect.DENY, actors=(ActorPattern("vard"),))
    assert decided_with([foreign(rule=Rule(Effect.PERMIT, children=(inner,)))]).reason is Reason.CONSENT_REFUSED
    elsewhere = Rule(Effect.DENY, actors=(ActorPattern("kommun"),))
    assert decided_with([foreign(rule=Rule(Effect.PERMIT, children=(elsewhere,)))]).permitted


def test_a_permission_that_does_not_select_the_record_does_not_open():
    other = Rule(Effect.PERMIT, data=(DataPattern(Meaning.AUTHORED_BY, frozenset({"unit|ELSEWHERE"})),))
    snapshot = policy.Snapshot(PATIENT, 1)
    asked = policy.request(CARE, d.Purpose.COORDINATION, [PROVIDER.hsa_id])
    decision = decide([foreign(rule=other)], asked, policy.subject(intervention(), snapshot), JUNE, disclosure.load())
    assert decision.reason is Reason.CONSENT_OTHER_CONTENT
    assert [code for code, _ in changes(decision)] == ["give-consent"]


def test_every_requested_purpose_needs_a_permission_of_its_own():
    snapshot = policy.Snapshot(
        PATIENT, 1, (consent(purposes=("coordination",)), consent(value="c2", given_on="2025-12-31"))
    )
    asked = policy.request(CARE, d.Purpose.COORDINATION, [PROVIDER.hsa_id])
    policy_table = disclosure.load()
    both = replace(policy_table.of["vard"], purposes=frozenset({d.Purpose.COORDINATION, d.Purpose.PATIENT_REQUEST}))
    wider = replace(policy_table, of={**policy_table.of, "vard": both})
    two = replace(asked, purposes=(("", "coordination"), ("", "patient-request")))
    subject = policy.subject(intervention(), snapshot)
    assert decide(snapshot.directives, asked, subject, JUNE, wider).permitted
    assert decide(snapshot.directives, two, subject, JUNE, wider).reason is Reason.CONSENT_OTHER_PURPOSE
    unlimited = policy.Snapshot(PATIENT, 1, (consent(),))
    assert decide(unlimited.directives, two, subject, JUNE, wider).permitted
    none_stated = replace(asked, purposes=())
    assert decide(unlimited.directives, none_stated, subject, JUNE, wider).permitted
    assert not decide(snapshot.directives, none_stated, subject, JUNE, wider).permitted


# refusals


def test_a_refusal_closes_what_it_speaks_of_however_old_it_is():
    old = consent("collaborate", "c3", state="refused", recipient=actor(), given_on="2025-06-01")
    assert decided(EMPLOYER, [*good_consents(EMPLOYER), old]).reason is Reason.CONSENT_REFUSED
    assert decided(OUTSIDE[1], [*good_consents(OUTSIDE[1]), old]).permitted, "another recipient"


def test_a_refusal_ends_with_its_period_or_a_new_version():
    refused = {"kind": "collaborate", "value": "c3", "recipient": actor()}
    ended = consent(**refused, state="refused", given_on="2025-06-01", period=d.Period(end=Moment("2026-05-31")))
    assert decided(EMPLOYER, [*good_consents(EMPLOYER), ended]).permitted
    last_word = ended.model_copy(update={"given_on": Moment("2026-01-02")})
    assert decided(EMPLOYER, [*good_consents(EMPLOYER), last_word]).permitted
    assert (
        decided(EMPLOYER, [*good_consents(EMPLOYER), last_word], now=start_of("2026-05-31")).reason
        is Reason.CONSENT_REFUSED
    )
    changed = [consent(**refused, state="refused"), consent(**refused, version=2)]
    assert decided(EMPLOYER, [*good_consents(EMPLOYER)[:1], *changed]).permitted


@pytest.mark.parametrize("to", SENT, ids=ids(SENT))
def test_a_patient_who_refuses_interventions_is_not_exchanged_about(to):
    no = consent(value="c3", state="refused", given_on="2025-06-01")
    assert decided(to, [*good_consents(to), no]).reason is Reason.CONSENT_REFUSED


def test_a_refusal_of_some_categories_closes_these():
    no = consent("collaborate", "c3", state="refused", recipient=actor(), categories=("activity", "plan"))
    decision = decided(EMPLOYER, [*good_consents(EMPLOYER), no])
    assert d.Category.ACTIVITY not in decision.categories
    assert (d.Category.ACTIVITY, f"Consent {business('c3').system}|c3 version 1") in decision.withheld
    everything = no.model_copy(update={"categories": (d.Category.ADMINISTRATIVE,)})
    assert decided(EMPLOYER, [*good_consents(EMPLOYER), everything]).reason is Reason.CONSENT_REFUSED


def test_a_refusal_that_names_the_recipient_by_another_kind_of_number_may_be_about_it():
    no = consent("collaborate", "c3", state="refused", recipient=actor("arbetsgivare", None, UNIT.hsa_id))
    assert decided(EMPLOYER, [*good_consents(EMPLOYER), no]).reason is Reason.CONSENT_REFUSED


# what a consent opens


def test_a_consent_narrows_what_the_recipient_type_may_get_and_never_widens_it():
    opened = consent("collaborate", "c2", recipient=actor(), categories=("activity", "note", "identity"))
    decision = decided(EMPLOYER, [consent(), opened])
    assert decision.categories == {d.Category.ADMINISTRATIVE, d.Category.ACTIVITY}
    withheld = dict(decision.withheld)
    assert withheld[d.Category.NOTE] == "disclosure/arbetsgivare"
    assert withheld[d.Category.NAME] == f"Consent {business('c2').system}|c2 version 1"
    assert set(withheld) | decision.categories == set(d.Category)
    assert decision.categories.isdisjoint(withheld)


def test_what_several_consents_narrow_is_told_by_all_their_names():
    narrow = [
        consent("collaborate", f"c{n}", recipient=actor(), categories=(category,), given_on="2026-02-01")
        for n, category in ((2, "activity"), (3, "plan"))
    ]
    closed = dict(decided(EMPLOYER, [consent(), *narrow]).withheld)[d.Category.NAME]
    assert closed == ", ".join(f"Consent {business(name).system}|{name} version 1" for name in ("c2", "c3"))
    unlimited = [consent(value="c1", categories=("note",)), consent(value="c2")]
    assert dict(decided(CARE, unlimited).withheld)[d.Category.PLAN] == f"Consent {business('c1').system}|c1 version 1"


def test_a_consent_for_other_purposes_does_not_open():
    other = consent(purposes=("patient-request",))
    assert decided(CARE, [other]).reason is Reason.CONSENT_OTHER_PURPOSE
    assert decided(CARE, [consent(purposes=("patient-request", "coordination"))]).permitted


def test_hsa_ids_are_compared_without_regard_to_case():
    small = recipient("arbetsgivare", organisation_number=None, hsa_id=d.HsaId("TSTNMT2321000016-105n"))
    assert decided(
        small, good_consents(recipient("arbetsgivare", organisation_number=None, hsa_id=UNIT.hsa_id))
    ).permitted


# spärr

OWN = recipient("vard", hsa_id=UNIT.hsa_id, provider_hsa_id=PROVIDER.hsa_id)
SISTER = recipient("vard", hsa_id=OTHER_UNIT.hsa_id, provider_hsa_id=PROVIDER.hsa_id)
ABROAD = recipient("vard", hsa_id=OTHER_UNIT.hsa_id, provider_hsa_id=OTHER_PROVIDER.hsa_id)


@pytest.mark.parametrize(
    ("kind", "to", "reason"),
    [
        ("inner", OWN, Reason.PERMITTED),
        ("inner", SISTER, Reason.BLOCKED_INNER),
        ("inner", ABROAD, Reason.BLOCKED_INNER),
        ("inner", CARE, Reason.BLOCKED_INNER),
        ("outer", OWN, Reason.PERMITTED),
        ("outer", SISTER, Reason.PERMITTED),
        ("outer", ABROAD, Reason.BLOCKED_OUTER),
        ("outer", CARE, Reason.BLOCKED_OUTER),
        *((kind, to, Reason[f"BLOCKED_{kind.upper()}"]) for kind in ("inner", "outer") for to in [*OUTSIDE, FK]),
    ],
)
def test_a_block_stops_everybody_outside_the_unit_or_the_provider(kind, to, reason):
    assert decided(to, good_consents(to), [block(kind)]).reason is reason


def test_a_block_of_another_unit_or_provider_does_not_stop():
    assert decided(CARE, [consent()], [block(unit=OTHER_UNIT)]).permitted
    assert decided(CARE, [consent()], [block("outer", provider=OTHER_PROVIDER)]).permitted


def test_an_inner_block_without_a_unit_stops_all_units_of_its_provider():
    assert decided(OWN, [consent()], [block(unit=None)]).reason is Reason.BLOCKED_INNER
    assert decided(CARE, [consent()], [block(unit=None, provider=OTHER_PROVIDER)]).permitted


def test_an_employer_with_the_units_number_is_not_inside_it():
    to = recipient("arbetsgivare", organisation_number=NUMBERS[0], hsa_id=UNIT.hsa_id, provider_hsa_id=PROVIDER.hsa_id)
    for kind in ("inner", "outer"):
        lifted = block(kind, lifts=(d.Lift(unit=UNIT, period=d.Period(start=Moment("2026"))),))
        assert not decided(to, good_consents(to), [lifted]).permitted


@pytest.mark.parametrize(
    ("authored", "period", "stopped"),
    [
        ("2026-03-01", {"start": "2026-03-01", "end": "2026-03-01"}, True),
        ("2026-03-01", {"end": "2026-02-28"}, False),
        ("2026-03-01", {"start": "2026-03-02"}, False),
        ("2026-03", {"start": "2026-03-31"}, True),
        ("2026-03", {"start": "2026-04-01"}, False),
        ("2026-03-01", None, True),
    ],
)
def test_a_block_stops_what_overlaps_its_period(authored, period, stopped):
    record = intervention(authored_on=authored)
    found = decided(CARE, [consent()], [block(information_period=period and d.Period(**period))], record)
    assert found.permitted != stopped


def test_any_date_in_a_record_can_fall_under_a_block():
    covered = [block(information_period=d.Period(start=Moment("2026-08-01"), end=Moment("2026-08-31")))]
    august = d.Period(start=Moment("2026-08-10"), end=Moment("2026-08-11"))
    clear = [intervention(), plan()]
    under = [
        intervention(planned=august),
        intervention(performed=august),
        plan(period=august),
        plan(sick_leave=(d.SickLeave(degree=50, period=august),)),
        plan(activities=(d.Activity(text="x", state="planned", planned=august),)),
        plan(follow_ups=(Moment("2026-08-15"),)),
        plan(period=d.Period(start=Moment("2026-01-01"))),
        intervention(authored_on="2026-09-01", performed=d.Period(end=Moment("2026-09-02"))),
    ]
    assert all(decided(CARE, [consent()], covered, record).permitted for record in clear)
    assert not any(decided(CARE, [consent()], covered, record).permitted for record in under)


def test_a_block_holds_from_the_day_it_is_set():
    set_on = [block(set_on="2026-05-05")]
    assert decided(CARE, [consent()], set_on, now=start_of("2026-05-05") - MOMENT).permitted
    assert decided(CARE, [consent()], set_on, now=start_of("2026-05-05")).reason is Reason.BLOCKED_INNER


@pytest.mark.parametrize("kind", d.BlockKind)
def test_a_lift_opens_for_its_unit_in_its_period_and_for_nobody_else(kind):
    lift = d.Lift(unit=OTHER_UNIT, period=d.Period(start=Moment("2026-05-05"), end=Moment("2026-05-05")))
    lifted = [block(kind, lifts=(lift,))]
    first, after = start_of("2026-05-05"), start_of("2026-05-06")
    times = [first - MOMENT, first, after - MOMENT, after]
    assert [decided(ABROAD, [consent()], lifted, now=now).permitted for now in times] == [False, True, True, False]
    assert not decided(CARE, [consent()], lifted, now=first).permitted
    assert not decided(ABROAD, [], lifted, now=first).permitted, "a lift is no consent"


def test_a_lift_for_one_professional_opens_no_send():
    lift = d.Lift(unit=OTHER_UNIT, professional=STAFF, period=d.Period(start=Moment("2026-01-01")))
    assert not decided(ABROAD, [consent()], [block(lifts=(lift,))]).permitted


def test_one_lift_that_holds_is_enough_and_a_second_block_still_stops():
    past, present = (
        d.Lift(unit=OTHER_UNIT, period=d.Period(**period))
        for period in ({"end": "2026-01-31"}, {"start": "2026-05-01"})
    )
    assert decided(ABROAD, [consent()], [block(lifts=(past, present))]).permitted
    assert not decided(ABROAD, [consent()], [block(lifts=(past, present)), block(value="b2")]).permitted


def test_no_consent_lifts_a_block():
    everything = [
        consent(),
        consent("shared-records", "c2"),
        consent("collaborate", "c3", recipient=actor("vard", NUMBERS[0])),
    ]
    assert decided(CARE, everything, [block()]).reason is Reason.BLOCKED_INNER


def test_another_patients_block_does_not_stop():
    assert decided(CARE, [consent()], [block(patient=person(OTHER))]).permitted


# laws


def lets_more(one, other):
    """Whether ``one`` lets anything through that ``other`` does not."""
    return one.permitted and (not other.permitted or not one.categories <= other.categories)


def drawn(data):
    to = data.draw(recipients)
    consents = data.draw(consent_lists) + (good_consents(to) if data.draw(helped) else [])
    record = record_for(to) if data.draw(helped) else data.draw(st.sampled_from(POOLS.records))
    return to, consents, data.draw(block_lists), record, data.draw(instants)


@given(data=st.data())
def test_another_denial_never_lets_more_through(data):
    to, consents, blocks, record, now = drawn(data)
    before = decided(to, consents, blocks, record, now)
    refusal = data.draw(st.sampled_from([each for each in POOLS.consents if each.state == "refused"]))
    more_blocks = [*blocks, data.draw(st.sampled_from(POOLS.blocks)).model_copy(update={"id": business("b9")})]
    refusal = refusal.model_copy(update={"id": business("c9")})
    assert not lets_more(decided(to, [*consents, refusal], blocks, record, now), before)
    assert not lets_more(decided(to, consents, more_blocks, record, now), before)


@given(data=st.data())
def test_withdrawing_a_consent_never_lets_more_through(data):
    to, consents, blocks, record, now = drawn(data)
    if not consents:
        return
    place = data.draw(st.integers(0, len(consents) - 1))
    gone = consents[place]
    if any(each.id == gone.id and each.version >= gone.version for each in consents if each is not gone):
        return
    day = data.draw(st.sampled_from(["2020", "2026-03-29", "2026-03", "2030-01-01"]))
    withdrawn = gone.model_copy(
        update={
            "state": d.ConsentState.WITHDRAWN,
            "version": gone.version + 1,
            "withdrawn": d.Withdrawal(on=Moment(day), by="patient"),
        }
    )
    if gone.state in {"refused", "entered-in-error"}:
        return
    before = decided(to, consents, blocks, record, now)
    assert not lets_more(decided(to, [*consents, withdrawn], blocks, record, now), before)


@given(data=st.data())
def test_taking_a_consent_away_never_lets_more_through_unless_it_had_replaced_another_or_said_no(data):
    to, consents, blocks, record, now = drawn(data)
    kinds = [each.kind for each in consents]
    alone = [
        each
        for each in consents
        if kinds.count(each.kind) == 1 and each.state != "refused" and [c.id for c in consents].count(each.id) == 1
    ]
    before = decided(to, consents, blocks, record, now)
    for gone in alone:
        hidden = gone.patient.protected or gone.patient.deceased
        assert hidden or not lets_more(
            decided(to, [each for each in consents if each is not gone], blocks, record, now), before
        )


@given(data=st.data())
def test_the_order_of_consents_and_blocks_never_matters(data):
    to, consents, blocks, record, now = drawn(data)
    before = decided(to, consents, blocks, record, now)
    after = decided(to, data.draw(st.permutations(consents)), data.draw(st.permutations(blocks)), record, now)
    assert (after.permitted, after.reason, after.categories) == (before.permitted, before.reason, before.categories)
    assert explain(after) == explain(before)


@given(data=st.data())
def test_a_consent_for_one_recipient_says_nothing_about_another(data):
    to, consents, blocks, record, now = drawn(data)
    other = actor(data.draw(st.sampled_from(d.ActorCategory)), "5560360793")
    more = consent("collaborate", "c9", recipient=other)
    before, after = (decided(to, each, blocks, record, now) for each in (consents, [*consents, more]))
    assert (after.permitted, after.categories) == (before.permitted, before.categories)


@given(data=st.data())
def test_other_patients_consents_and_blocks_change_nothing(data):
    to, consents, blocks, record, now = drawn(data)
    if record.patient.identity != PATIENT:
        return
    theirs = data.draw(st.sampled_from(POOLS.consents)).model_copy(
        update={"patient": person(OTHER), "id": business("c9")}
    )
    block_of_theirs = data.draw(st.sampled_from(POOLS.blocks)).model_copy(
        update={"patient": person(OTHER), "id": business("b9")}
    )
    before, after = (
        decided(to, more_consents, more_blocks, record, now)
        for more_consents, more_blocks in ((consents, blocks), ([*consents, theirs], [*blocks, block_of_theirs]))
    )
    assert (after.permitted, after.categories) == (before.permitted, before.categories)


@given(data=st.data())
def test_less_lift_never_lets_more_through(data):
    to, consents, blocks, record, now = drawn(data)
    shut = [each.model_copy(update={"lifts": each.lifts[1:]}) for each in blocks]
    assert not lets_more(decided(to, consents, shut, record, now), decided(to, consents, blocks, record, now))


@given(data=st.data())
def test_what_is_opened_is_never_more_than_the_recipient_type_may_get(data):
    to, consents, blocks, record, now = drawn(data)
    decision = decided(to, consents, blocks, record, now)
    if decision.permitted:
        assert d.Category.ADMINISTRATIVE in decision.categories
        assert decision.categories <= disclosure.load().of[to.type].categories
        assert decision.consents or to.type == "patient"
    else:
        assert decision.categories == frozenset()


def test_a_decision_with_broken_input_is_no_and_not_an_exception():
    asked = policy.request(CARE, d.Purpose.COORDINATION, [PROVIDER.hsa_id])
    snapshot = policy.Snapshot(PATIENT, 1)
    subject = policy.subject(intervention(), snapshot)
    for decision in (decide([None], asked, subject, JUNE, disclosure.load()), generic([None], asked, subject, JUNE)):
        assert (decision.permitted, decision.reason) == (False, Reason.GATE_ERROR)
    naive = decide(
        policy.Snapshot(PATIENT, 1, (consent(),)).directives,
        asked,
        subject,
        JUNE.replace(tzinfo=None),
        disclosure.load(),
    )
    assert naive.reason is Reason.GATE_ERROR


@given(st.data())
def test_one_more_forbidding_leaf_or_one_less_permitting_leaf_never_lets_more_through(data):
    chance = Random(data.draw(st.integers(0, 10**9)))
    rule, asked = random_rule(chance, 2), random_question(chance)
    order = [Effect.DENY, None, Effect.PERMIT]
    for dialect in Dialect:
        before = order.index(said([rule], asked, dialect)[0])
        node = rule
        while node.get("children") and chance.random() < 0.6:
            node = chance.choice(node["children"])
        children = node.get("children", [])
        node["children"] = [*children, {"effect": Effect.DENY}]
        assert order.index(said([rule], asked, dialect)[0]) <= before
        node["children"] = [each for each in children if each["effect"] != Effect.PERMIT or each.get("children")]
        assert order.index(said([rule], asked, dialect)[0]) <= before
        node["children"] = chance.sample(children, len(children))
        assert order.index(said([rule], asked, dialect)[0]) == before


# the explanation


@given(data=st.data())
def test_an_explanation_is_the_same_bytes_for_the_same_input_and_names_no_person(data):
    to, consents, blocks, record, now = drawn(data)
    one, other = (explain(decided(to, consents, blocks, record, now), snapshot="s", destination="d") for _ in range(2))
    assert one == other
    text = one.decode() + explain_text(one, "sv") + explain_text(one, "en")
    assert PATIENT.number not in text
    assert OTHER.number not in text


def test_an_explanation_says_which_rule_did_what():
    no_name = consent("collaborate", "c2", recipient=actor(number=NUMBERS[1]))
    decision = decided(
        EMPLOYER,
        [consent(period=d.Period(end=Moment("2026-05-31"))), no_name],
        [block(unit=OTHER_UNIT)],
        now=start_of("2026-06-02"),
    )
    text = explain_text(explain(decision, snapshot="0123456789abcdef0", destination="d"), "en")
    assert "CONSENT_EXPIRED" in text
    assert "The consent `interventions` has passed its last day. [lag (2019:1297) 3 §]" in text
    assert "provision permits: recipient no" in text
    assert "It would be permitted if all of this were so:" in text
    assert "|c1 version 1 holds at 2026-06-01T22:00:00+00:00. [lag (2019:1297) 3 §]" in text
    assert "|c2 version 1 names arbetsgivare orgnr|2321000024. [OSL 10 kap. 1 §]" in text


def test_every_reason_has_its_sentences_in_both_languages():
    assert all(
        Fault(reason.code).says(language) and Fault(reason.code).do(language)
        for reason in Reason
        for language in ("sv", "en")
    )
    assert law(Reason.NO_CONSENT, "inform-fk") == "lag (2019:1297) 4 §"
    assert law(Reason.BLOCKED_INNER, "inner") == "PDL 4 kap. 4 §"


def test_the_changes_that_an_explanation_names_turn_the_denial():
    turned = 0
    for consents, blocks, record, to, purpose, now in cases(2500, seed=11):
        decision = decided(to, consents, blocks, record, now, purpose)
        needed = list(changes(decision))
        if decision.permitted or not needed or _speaks_later(consents, now):
            continue
        after = decided(to, *_changed(needed, list(consents), list(blocks), to, record, now), record, now, purpose)
        assert after.permitted, (needed, after.reason, to, consents, blocks, record, now)
        turned += 1
    assert turned > 100


def _speaks_later(consents, now):
    """Something said on a day or in a month that is not over: a consent given now may not be the last word."""
    return any(each.given_on.latest >= now or (each.withdrawn and each.withdrawn.on.latest >= now) for each in consents)


def _changed(needed, consents, blocks, to, record, now):
    """The consents and blocks after each named change was made in the smallest way."""
    spoken = Moment(now.isoformat())
    common = {"patient": record.patient, "provider": record.provider, "given_on": spoken}
    for number, (code, named) in enumerate(needed):
        rule = named.get("rule", "")
        match code:
            case "give-consent" | "hold-consent":
                whom = actor(to.type, to.organisation_number, to.hsa_id) if named["kind"] == "collaborate" else None
                consents.append(consent(named["kind"], f"new{number}", recipient=whom, **common))
            case "end-refusal" | "repair-consent":
                consents = [each for each in consents if not _is_a_version_of(each, rule)]
            case "end-block":
                blocks = [each for each in blocks if not _is_a_version_of(each, rule)]
            case "lift-block":
                lift = (
                    d.Lift(unit=d.Unit(hsa_id=to.hsa_id), period=d.Period(start=Moment("2020"))) if to.hsa_id else None
                )
                blocks = [
                    each.model_copy(update={"lifts": (lift,)}) if lift and _is(each, rule) else each for each in blocks
                ]
                blocks = [each for each in blocks if lift or not _is_a_version_of(each, rule)]
            case _:
                whom = actor(to.type, to.organisation_number, to.hsa_id)
                update = {
                    "name-recipient": {"recipient": whom},
                    "hold-now": {"period": None, "given_on": spoken},
                    "cover-purpose": {"purposes": ()},
                }[code]
                consents = [each.model_copy(update=update) if _is(each, rule) else each for each in consents]
    return consents, blocks


def _is_a_version_of(record, rule):
    return rule.startswith(f"{record.record} {record.id.system}|{record.id.value} version ")


def _is(record, rule):
    return rule == f"{record.record} {record.id.system}|{record.id.value} version {record.version}"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"period": d.Period(start=Moment("2027"))}, "hold-now"),
        ({"period": d.Period(end=Moment("2026-05"))}, "hold-now"),
        ({"purposes": (d.Purpose.REHABILITATION_NEED,)}, "cover-purpose"),
        ({"recipient": actor(number=NUMBERS[1])}, "name-recipient"),
        ({"recipient": actor(number=NUMBERS[1]), "period": d.Period(end=Moment("2026-05"))}, "give-consent"),
        ({"purposes": (d.Purpose.REHABILITATION_NEED,), "period": d.Period(end=Moment("2026-05"))}, "give-consent"),
    ],
)
def test_a_consent_is_to_be_mended_only_if_one_thing_is_wrong_with_it(wrong, code):
    decision = decided(EMPLOYER, [consent(), consent("collaborate", "c2", **{"recipient": actor()} | wrong)])
    assert [code for code, _ in changes(decision)] == [code]


def test_an_explanation_tells_a_consent_that_opens_from_one_that_only_has_to_stand():
    told = json.loads(explain(decided(EMPLOYER, [*good_consents(EMPLOYER), consent("inform-fk", "c3")])))
    assert {rule["kind"]: rule["says"] for rule in told["rules"]} == {
        "interventions": "stands",
        "collaborate": "permit",
        "inform-fk": "nothing",
    }


def test_the_law_stands_among_the_reasons_only_where_it_opens():
    to_patient, to_care = (decided(recipient(kind), good_consents(recipient(kind))) for kind in ("patient", "vard"))
    told = [{found.directive.source for found in each.findings} for each in (to_patient, to_care)]
    assert [Source.LAW in sources for sources in told] == [True, False]


def test_protected_data_go_only_where_a_request_says_that_it_is_allowed():
    asked = policy.request(CARE, d.Purpose.COORDINATION, [PROVIDER.hsa_id])
    unsaid = Request(asked.recipient, asked.purposes, asked.senders, asked.action)
    record = record_for(CARE)
    snapshot = policy.Snapshot(record.patient.identity, 1, tuple(good_consents(CARE)))
    about = replace(policy.subject(record, snapshot), protected=True)
    decision = decide(snapshot.directives, unsaid, about, JUNE, disclosure.load())
    assert decision.reason is Reason.PROTECTED_IDENTITY
