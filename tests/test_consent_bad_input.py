"""Bad input at the gate and at the service: never an exception, never a permit, and one answer outwards for every reason within."""

from __future__ import annotations

from collections import Counter

import pytest
import region as r
from consent_worlds import (
    OTHER,
    actor,
    block,
    business,
    consent,
    good_consents,
    intervention,
    person,
    plan,
    recipient,
    record_for,
)
from gate_world import SENT, clear, gate, slow
from hypothesis import given
from hypothesis import strategies as st
from service_world import serving

from adapter.consent.decide import Reason
from adapter.consent.gate import Cleared, Withheld
from adapter.dates import Moment
from adapter.domain import Block, BusinessId, Category, Consent, Diagnosis, Period

JUNK = [
    None,
    "",
    "x",
    0,
    -1,
    1.5,
    float("nan"),
    [],
    {},
    (None,),
    ("x",),
    b"x",
    object(),
    "2026-99-99",
    "\ud800",
    "x" * 100_000,
]
WITHOUT_EFFECT = {
    "record",
    "form",
    "document",
    "representative",
    "recorded_by",
    "informed_by",
    "informed_on",
    "withdrawn",
}
"""Fields of a consent that the decision does not look at while it is given."""


def outcome(record, to, consents, blocks=()):
    found = clear(record, to, consents=consents, blocks=blocks)
    assert isinstance(found, Cleared | Withheld)
    return found if isinstance(found, Cleared) else found.reason


@pytest.mark.parametrize("kind", ["forsakringskassan", "arbetsgivare", "vard"])
@pytest.mark.parametrize("field", sorted({*Consent.model_fields} - WITHOUT_EFFECT))
def test_a_consent_with_junk_in_it_opens_no_more_than_the_whole_one(kind, field):
    to = recipient(kind)
    usual = set(outcome(record_for(to), to, good_consents(to)).categories)
    for junk in JUNK:
        broken = [each.model_copy(update={field: junk}) for each in good_consents(to)]
        found = outcome(record_for(to), to, broken)
        if isinstance(found, Cleared):
            assert set(found.categories) <= usual
            assert field in {
                "attachment",
                "version",
                "id",
                "period",
                "purposes",
                "categories",
                "recipient",
                "unit",
                "given_on",
            }, junk


@pytest.mark.parametrize("field", sorted({*Block.model_fields} - {"record", "patient", "version", "id"}))
def test_a_block_with_junk_in_it_still_blocks(field):
    to = recipient("vard")
    assert outcome(record_for(to), to, [consent()], [block()]) is Reason.BLOCKED_INNER
    for junk in JUNK:
        found = outcome(record_for(to), to, [consent()], [block().model_copy(update={field: junk})])
        assert found in {Reason.BLOCKED_INNER, Reason.BLOCKED_OUTER, Reason.GATE_ERROR}, junk


@pytest.mark.parametrize("kind", SENT)
@slow
@given(data=st.data())
def test_a_record_with_junk_in_it_is_cleared_as_valid_fhir_or_withheld(kind, data):
    to = recipient(kind)
    field = data.draw(st.sampled_from(sorted(type(record_for(to)).model_fields)))
    record = record_for(to).model_copy(update={field: data.draw(st.sampled_from(JUNK))})
    if field == "patient":
        assert isinstance(gate_of_strangers(record, to), Withheld)
    else:
        outcome(record, to, good_consents(to))


def gate_of_strangers(record, to):
    from adapter.consent.policy import Snapshot
    from adapter.domain import Purpose

    return gate().clear(
        record,
        destination=to,
        purpose=Purpose.COORDINATION,
        snapshot=Snapshot(person(OTHER).identity, 1, tuple(good_consents(to))),
        now=Moment("2026-06-01").earliest,
        request_id="r",
        correlation_id="c",
    )


def test_a_thousand_refused_consents_are_a_thousand_denials():
    to = recipient("vard")
    many = [consent(value=f"r{n}", state="refused", recipient=actor("vard")) for n in range(1000)]
    assert outcome(record_for(to), to, [consent(), *many]) is Reason.CONSENT_REFUSED


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: f"{repr(junk)[:20]}")
def test_a_purpose_and_ids_that_are_junk_let_nothing_more_through(junk):
    to = recipient("vard")
    assert isinstance(clear(record_for(to), to, purpose=junk), Withheld)
    for name in ("request_id", "correlation_id"):
        found = clear(record_for(to), to, **{name: junk})
        assert isinstance(found, Cleared | Withheld)


# at the service

NUMBERS = ["191212121212", "195009072553", "196101182803", "200302022389"]
WORLDS = {
    "no consent": ((), {}),
    "withdrawn": ((r.withdrawn(r.consent("c1", "interventions"), on="2026-11-20T12:00:00Z"),), {}),
    "refused": ((r.consent("c2", "interventions", state="refused"),), {}),
    "expired": ((r.consent("c3", "interventions", period={"end": "2026-11-20"}),), {}),
    "not yet": ((r.consent("c4", "interventions", period={"start": "2027-01-01"}),), {}),
    "for another": (
        (r.consent("c5", "interventions", recipient={"category": "vard", "hsa_id": "TSTNMT2321000016-1003"}),),
        {},
    ),
    "other purpose": ((r.consent("c6", "interventions", purposes=["patient-request"]),), {}),
    "dead": ((r.consent("c7", "interventions"),), {"patient": r.patient(deceased=True)}),
    "protected": ((r.consent("c8", "interventions"),), {"patient": r.patient(protected="sekretessmarkering")}),
    "diagnosis": ((r.consent("c9", "interventions"),), {"note": "F43.8A"}),
    "a number in a text": ((r.consent("c10", "interventions"),), {"note": "195009072553"}),
}
"""Why a record may not be read: what is told is the same."""


@pytest.mark.processes
def test_every_reason_within_gives_the_same_answer_outwards(tmp_path, monkeypatch):
    answers = Counter()
    for number, (consents, more) in enumerate(WORLDS.values()):
        with serving(_folder(tmp_path, number)) as world:
            document = r.submission(*consents, r.intervention("i", **more))
            assert world.hand_over(document).status_code == 202
            _ask(world, answers)
    with serving(_folder(tmp_path, len(WORLDS))) as world:
        assert world.hand_over(r.submission(r.consent("c", "interventions"), r.intervention("i"))).status_code == 202
        monkeypatch.setattr(world.adapter.gate, "_package", lambda *_: 1 / 0)
        _ask(world, answers)
    assert set(answers.values()) == {len(WORLDS) + 1}
    assert len(answers) == 4  # a read and a search, in two forms


def _folder(tmp_path, number):
    (tmp_path / str(number)).mkdir()
    return tmp_path / str(number)


def _ask(world, answers):
    for form in ("application/fhir+json", "application/fhir+xml"):
        ids = {"accept": form, "x-request-id": FIXED, "x-correlation-id": FIXED}
        logical_id = world.adapter.record_id("@local", BusinessId(system=r.IDS, value="i"))
        asked = {"patient:identifier": "http://electronichealth.se/identifier/personnummer|191212121212"}
        for answer in (
            world.call("region-b", "GET", f"/fhir/Task/{logical_id}", headers=ids),
            world.call("region-b", "POST", "/fhir/Task/_search", data=asked, headers=ids),
        ):
            headers = tuple((name, value) for name, value in answer.headers.multi_items() if name != "date")
            answers[answer.status_code, headers, answer.content] += 1


FIXED = "6a4f2c0e-0b1b-4c39-9a64-b3f1f8f9e0a1"


def test_what_is_sent_and_what_is_withheld_differ_in_nothing_but_the_sending():
    """An outside actor hears of no reason: there is nothing that could be sent instead."""
    to = recipient()
    for consents in (
        [],
        [consent()],
        [consent(state="refused")],
        [consent(), consent("collaborate", "c2", state="withdrawn", recipient=actor())],
    ):
        found = clear(plan(diagnoses=(Diagnosis(code="F438A"),), id=business("p9")), to, consents=consents)
        assert isinstance(found, Withheld)
        assert not hasattr(found, "body")
    narrow = consent(
        "collaborate", "c2", recipient=actor(), categories=(Category.NAME,), period=Period(start=Moment("2026"))
    )
    assert isinstance(clear(intervention(), to, consents=[consent(), narrow]), Cleared)
