"""What leaves the gate, byte by byte: only what the recipient may have, whatever the record holds."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import re
from datetime import datetime
from pathlib import Path

import pytest
import strategies
from consent_worlds import (
    NUMBERS,
    OTHER,
    OTHER_PROVIDER,
    OTHER_UNIT,
    PATIENT,
    PROVIDER,
    UNIT,
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
    signal,
)
from gate_world import (
    FORMS,
    JUNE,
    KEY,
    OUTSIDE,
    SENT,
    add,
    addressed_to,
    clear,
    gate,
    in_form,
    leaking,
    mapper,
    put,
    reason,
    records_for,
    resources,
    sent,
    slow,
)
from hypothesis import given
from hypothesis import strategies as st

from adapter import domain as d
from adapter.consent import disclosure, policy
from adapter.consent import notice as notices
from adapter.consent.decide import Reason
from adapter.consent.explanation import explain_text
from adapter.consent.gate import Cleared, Gate, Withheld, _closed
from adapter.consent.handed_over import ForeignConsent
from adapter.consent.inspection import leaves
from adapter.consent.notice import Notice
from adapter.consent.seal import Contents, Sealer, verify
from adapter.errors import Denied, Misconfigured
from adapter.mapping import Mapper, searchset
from adapter.tables import load
from adapter.wire import json as wire_json
from adapter.wire import xml as wire_xml

# what is cleared


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SENT)
def test_what_is_permitted_leaves_sealed_with_all_that_the_disclosure_entry_needs(kind, form):
    to = recipient(kind, **in_form(form))
    for record in records_for(to):
        cleared = sent(record, to)
        verify(cleared)
        assert cleared.destination == to.destination
        assert (cleared.request_id, cleared.correlation_id, cleared.consent_version) == ("r-1", "c-1", 7)
        assert cleared.content_type == f"application/fhir+{form.replace(' R5', '; fhirVersion=5.0')}"
        assert cleared.records == ((f"{record.id.system}|{record.id.value}", 1),)
        assert {name.rpartition("|")[2] for name, _ in cleared.consent_versions} == {
            c.id.value for c in good_consents(to) if kind != "patient"
        }
        assert set(cleared.categories) <= disclosure.load().of[kind].categories
        assert cleared.decision.permitted
        assert json.loads(cleared.explanation)["decision"] == "permit"


@pytest.mark.parametrize("release", ["R4", "R5"])
@pytest.mark.parametrize("kind", SENT)
@slow
@given(data=st.data())
def test_any_record_gives_only_listed_elements_or_nothing(kind, release, data):
    to, record = data.draw(_questions(kind))
    result = clear(record, dataclasses.replace(to, release=release))
    listed = disclosure.load().of[kind].most(release).elements
    if isinstance(result, Cleared):
        for resource in resources(result):
            assert {path.partition(".")[2] for path, _ in leaves(resource)} <= listed[resource["resourceType"]]
            assert resource.get("meta", {}).get("tag", []) == [
                {"system": s, "code": c} for s, c in disclosure.load().of[kind].marks
            ]
    else:
        assert result.reason in {Reason.DIAGNOSIS_CONTENT, Reason.INVALID_CONTENT, Reason.UNEXPECTED_CONTENT}, (
            result.faults
        )


def _questions(kind):
    """A recipient of the kind, and any record for it that the patient and the provider of these tests stand in."""
    to = recipient(kind, organisation_number=None if kind == "patient" else NUMBERS[0])
    kinds = {
        "forsakringskassan": strategies.fk_signals(),
        "vard": strategies.interventions() | strategies.care_plans() | strategies.consents(),
        "patient": strategies.records(),
    }
    drawn = kinds.get(kind, strategies.interventions() | strategies.care_plans())

    def ours(record):
        names = {"given_names": record.patient.given_names, "family_name": record.patient.family_name}
        return record.model_copy(update={"patient": person(**names), "provider": PROVIDER})

    return drawn.map(lambda record: (to, ours(record)))


def test_logical_ids_are_constant_for_a_destination_differ_between_destinations_and_tell_nothing():
    employer, other = recipient("kommun"), recipient("kommun", destination="elsewhere")
    first, again, elsewhere, other_key = (
        {f"{each['resourceType']}/{each['id']}" for each in resources(cleared)}
        for cleared in (
            sent(intervention(), employer),
            sent(intervention(note="x"), employer, request_id="r-2"),
            sent(intervention(), other),
            sent(intervention(), employer, through=gate(key=b"l" * 32)),
        )
    )
    assert first == again
    assert not first & elsewhere
    assert not first & other_key
    assert all(re.fullmatch(r"[A-Za-z]+/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name) for name in first)


@pytest.mark.parametrize("kind", OUTSIDE)
def test_what_concerns_other_actors_or_none_stays(kind):
    to = recipient(kind)
    for record in addressed_to(to):
        body = sent(record, to).body.decode()
        assert "Hemlig" not in body
        assert "2321000131" not in body
        assert ("Möte på plats" in body) == (record.record == "CarePlan")
        assert ("Bo Ek" in body) == (record.record == "Intervention")


def test_a_municipality_that_employs_the_patient_hears_nothing_of_its_social_services():
    employer = recipient("arbetsgivare")
    social = actor("kommun", NUMBERS[0])
    activities = tuple(
        d.Activity(text=text, state="planned", actor=who)
        for text, who in (("Ekonomiskt stöd", social), ("Prova på", actor()))
    )
    body = sent(plan(activities=activities, participants=(social,)), employer).body.decode()
    assert "Prova på" in body
    assert "Ekonomiskt" not in body
    assert '"kommun"' not in body
    met = intervention(met=(d.Meeting(actor=social, contact="Soc"),), owner=social)
    assert '"kommun"' not in sent(met, employer).body.decode()


@pytest.mark.parametrize("kind", ["arbetsgivare"])
def test_an_employer_gets_name_but_no_number_no_unit_and_no_text(kind):
    record = intervention(
        patient=person(given_names=("Tolvan",), family_name="Tolvansson"),
        unit=d.Unit(hsa_id=UNIT.hsa_id, name="Psykiatriska kliniken"),
        note="Utmattad",
        outcome="Bättre",
        next_step="Nytt möte",
        plan=business("plan-7"),
        consent=business("c2"),
    )
    body = sent(record, recipient(kind)).body.decode()
    assert "Tolvansson" in body
    for hidden in (PATIENT.number, UNIT.hsa_id, "Psykiatriska", "Utmattad", "Bättre", "Nytt möte", "plan-7", '"c2"'):
        assert hidden not in body


def test_a_consent_that_opens_less_sends_less():
    to = recipient("kommun")
    narrow = [
        consent(),
        consent("collaborate", "c2", recipient=actor("kommun"), categories=("activity", "participation")),
    ]
    record = addressed_to(to)[1]
    assert PATIENT.number in sent(record, to).body.decode()
    body = sent(record, to, consents=narrow).body.decode()
    assert "Möte på plats" in body
    assert PATIENT.number not in body
    assert "Kim" not in body


def test_a_reader_in_care_gets_what_may_be_read_and_no_trace_of_the_rest():
    shown, hidden = intervention(), intervention(id=business("i2"), unit=OTHER_UNIT, note="Spärrad uppgift")
    blocked = [block(unit=OTHER_UNIT)]

    def read(records, blocks=blocked):
        snapshot = policy.Snapshot(PATIENT, 1, (consent(),), tuple(blocks))
        asked = {"purpose": d.Purpose.COORDINATION, "request_id": "r", "correlation_id": "c", "form": "searchset"}
        return gate().answer(records, reader=recipient("vard"), snapshot=snapshot, now=JUNE, **asked)

    assert read([shown, hidden]).body == read([shown]).body == read([shown], ()).body
    assert isinstance(read([hidden]), Withheld)
    assert "total" not in json.loads(read([shown]).body)


def read(records, to=None, **more):
    snapshot = policy.Snapshot(PATIENT, 1, (consent(),))
    asked = {"purpose": d.Purpose.COORDINATION, "request_id": "r", "correlation_id": "c", "form": "resource"} | more
    through = asked.pop("through", None) or gate()
    return through.answer(records, reader=to or recipient("vard"), snapshot=snapshot, now=JUNE, **asked)


@pytest.mark.parametrize("form", FORMS)
def test_one_record_is_read_as_its_focus_alone_under_the_id_that_was_asked_for(form):
    name = "6a4f2c0e-0b1b-4c39-9a64-b3f1f8f9e0a1"
    found = read([intervention(met=(d.Meeting(actor=actor()),))], recipient("vard", **in_form(form)), ids=[name])
    seen = (wire_json if "json" in form else wire_xml).read(found.body)
    assert (seen["resourceType"], seen["id"]) == ("Task", name)
    assert seen["for"] == {
        "identifier": {"system": "http://electronichealth.se/identifier/personnummer", "value": PATIENT.number}
    }
    assert "reference" not in json.dumps(seen), "what it refers to is named by identifier"
    entries = wire_json.read(read([intervention()], ids=[name], form="searchset").body)["entry"]
    assert entries[0]["resource"]["id"] == name
    assert name not in {each["resource"]["id"] for each in entries[1:]}


def test_what_may_not_be_read_is_withheld_with_the_first_reason_and_nothing_is_made_of_it():
    made = []
    through = gate(leaking(lambda resources: made.append(resources[0]["resourceType"])))
    hidden = intervention(id=business("i2"), provider=OTHER_PROVIDER)
    refused = read([hidden, signal()], through=through)
    assert (refused.reason, made) == (Reason.WRONG_TENANT, [])
    assert read([signal(), hidden], through=through).reason is Reason.RECORD_NOT_FOR_RECIPIENT
    assert isinstance(read([hidden, intervention()], through=through, form="searchset"), Cleared)
    assert made == ["Task"]
    ill = intervention(id=business("i3"), note="Utmattning F438A")
    assert read([ill]).reason is Reason.DIAGNOSIS_CONTENT
    assert read([ill, hidden]).reason is Reason.DIAGNOSIS_CONTENT
    assert read([hidden, ill]).reason is Reason.WRONG_TENANT


def test_a_record_that_must_not_leave_takes_no_other_with_it():
    ill, well = intervention(id=business("i3"), note="Utmattning F438A"), intervention()
    assert read([ill, well], form="searchset").body == read([well], form="searchset").body


def test_what_only_the_whole_answer_says_stops_it_with_the_first_records_decision(monkeypatch):
    records = [intervention(), intervention(id=business("i2"))]
    assert read(records, form="searchset").decision.subject.name.endswith("|i1 version 1")
    counting = {"searchset": lambda packages, release: searchset(packages, "Task", release) | {"total": len(packages)}}
    monkeypatch.setattr("adapter.consent.gate._FORMS", counting)
    for shown in (records, records[:1]):
        stopped = read(shown, form="searchset")
        assert stopped.reason is Reason.UNEXPECTED_CONTENT
        assert stopped.decision.subject.name.endswith("|i1 version 1")


def test_a_message_to_one_who_may_have_the_number_names_the_patient_by_it():
    def nameless(resources):
        del resources[0]["for"]["identifier"]

    for kind in ("vard", "kommun"):
        assert reason(intervention(), recipient(kind), through=gate(leaking(nameless))) is Reason.INVALID_CONTENT


def test_a_read_that_fails_inside_is_withheld_and_says_where_not_what():
    class Failing(Mapper):
        def to_fhir(self, *_, **__):
            raise RuntimeError("Tolvan")

    for found in (
        read([intervention()], through=gate(Failing(load()))),
        clear(intervention(), recipient(), through=gate(Failing(load()))),
    ):
        assert found.reason is Reason.GATE_ERROR
        assert found.decision.permitted is False
        assert json.loads(found.explanation)["decision"] == "deny"
        assert re.fullmatch(r"RuntimeError, test_consent_gate\.py line [0-9]+", found.faults[0].why)
    assert read([]).reason is Reason.GATE_ERROR


def test_a_reference_out_of_the_package_is_taken_out_and_a_reference_that_is_no_text_is_kept():
    out = put("focus", {"reference": "Task/6a4f2c0e-0b1b-4c39-9a64-b3f1f8f9e0a1"}, "Task")
    assert sent(intervention(), recipient(), through=gate(leaking(out))).body == sent(intervention(), recipient()).body
    several = [{"reference": "CarePlan/x"}, {"reference": "CarePlan/y"}]
    some = sent(intervention(), recipient("vard"), through=gate(leaking(put("basedOn", several, "Task"))))
    assert some.body == sent(intervention(), recipient("vard")).body
    number = {"identifier": {"system": business("p").system, "value": "p"}}
    some = leaking(put("basedOn", [several[0], several[1] | number], "Task"))
    [task] = [
        each for each in resources(sent(intervention(), recipient("vard"), through=gate(some))) if "basedOn" in each
    ]
    assert task["basedOn"] == [number]
    named = consent("collaborate", "c2", recipient=actor("kommun"))
    [told] = [each for each in resources(sent(named, recipient("vard"))) if each["resourceType"] == "Consent"]
    assert told["provision"]["actor"][0]["reference"]["reference"].startswith("Organization/")


def test_the_mark_of_a_resource_hides_nothing_else_that_is_written_beside_it():
    beside = gate(leaking(put("meta", {"versionId": "1"}, "Task")))
    assert reason(intervention(), recipient("kommun"), through=beside) is Reason.UNEXPECTED_CONTENT


def test_a_gate_without_a_key_for_its_seals_makes_one_of_its_own():
    made = [Gate(senders=[PROVIDER.hsa_id], id_key=KEY, mapper=mapper()) for _ in range(2)]
    seals = {sent(intervention(), recipient(), through=each).seal for each in made}
    assert len(seals) == 2
    assert sent(intervention(), recipient()).seal == sent(intervention(), recipient(), through=gate()).seal


# what stops it


DIAGNOSES = ["F43.8A", "Utmattning F438A", "ｆ４３．８", "F43.8\u200bA", "M54.5 ryggvärk", "diagnos: f43.8"]


@pytest.mark.parametrize("text", DIAGNOSES)
@pytest.mark.parametrize("kind", [*OUTSIDE, "vard"])
def test_a_diagnosis_in_any_text_that_would_be_sent_stops_it(kind, text):
    to = recipient(kind)
    mine = actor(kind)
    smuggled = [
        plan(activities=(d.Activity(text=text, state="planned", actor=mine),)),
        intervention(met=(d.Meeting(actor=mine, contact=text),)),
        intervention(patient=person(family_name=text)),
        intervention(provider=d.Provider(hsa_id=PROVIDER.hsa_id, name=text)),
    ]
    for record in smuggled:
        assert reason(record, to) is Reason.DIAGNOSIS_CONTENT
    if kind == "vard":
        assert reason(plan(goals=(d.Goal(text=text),)), to) is Reason.DIAGNOSIS_CONTENT
        assert reason(intervention(note=text), to) is Reason.DIAGNOSIS_CONTENT
    else:
        assert sent(intervention(note=text), to), "a note is not sent at all"


def test_recorded_diagnoses_reach_nobody_but_the_patient():
    record = plan(diagnoses=(d.Diagnosis(code="F438A", text="Utmattningssyndrom"),))
    assert b"F438A" in sent(record, recipient("patient")).body
    for kind in ("vard", *OUTSIDE):
        body = sent(record, recipient(kind)).body
        assert b"F438A" not in body
        assert b"tmattning" not in body


NUMBER_TEXTS = [
    "191212121212", "19121212-1212", "121212-1212", "121212+1212", "1912 12 12 1212", "1212121212", "nr:191212121212.",
    "１９１２１２１２１２１２", "19121212\u200b1212", "1912-12-12-1212", "19500907-2553", "500907 2553", "١٩١٢١٢١٢١٢١٢", "19610973-2393",
]  # fmt: skip


@pytest.mark.parametrize("text", NUMBER_TEXTS)
def test_an_identity_number_in_text_stops_it_however_it_is_written(text):
    for kind in ("arbetsgivare", "kommun"):
        own = kind == "kommun" and not re.search(r"9500907|500907|6109", text)
        mine = actor(kind)
        for record in (
            plan(activities=(d.Activity(text=f"Ring {text} i dag", state="planned", actor=mine),)),
            intervention(met=(d.Meeting(actor=mine, contact=text),)),
        ):
            result = clear(record, recipient(kind))
            assert isinstance(result, Cleared) == own
            if not own:
                assert result.reason is Reason.UNEXPECTED_CONTENT
                assert text not in str(result.faults) + result.explanation.decode()


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-01 10.00–11.30",
        "Möte 20260501 kl 9",
        "010-123 45 67",
        "rum 1212",
        "5560360793",
        "2026-05-01T10:00:00+02:00",
        "070-121 12 12",
    ],
)
def test_dates_times_and_telephone_numbers_pass(text):
    assert sent(plan(activities=(d.Activity(text=text, state="planned", actor=actor()),)), recipient())


def test_the_patients_number_as_number_of_a_case_stops_it_where_identity_is_closed():
    record = intervention(id=d.BusinessId(system="urn:x", value=f"ins-{PATIENT.number}"))
    assert reason(record, recipient()) is Reason.UNEXPECTED_CONTENT
    assert sent(record, recipient("kommun"))


def test_what_is_not_valid_fhir_is_not_sent():
    class Broken(Mapper):
        def to_fhir(self, *args, **kwargs):
            package = super().to_fhir(*args, **kwargs)
            package.resources[0]["status"] = "begun"
            return package

    result = clear(intervention(), recipient(), through=gate(Broken(load())))
    assert result.reason is Reason.INVALID_CONTENT
    assert len(result.faults) > 1


@pytest.mark.parametrize("kind", SENT)
def test_whatever_fails_inside_is_withheld_without_a_word_of_it(kind):
    class Failing(Mapper):
        def to_fhir(self, *_, **__):
            raise RuntimeError("Tolvan Tolvansson 191212121212")

    to = recipient(kind)
    result = clear(record_for(to), to, through=gate(Failing(load())))
    assert (type(result), result.reason) == (Withheld, Reason.GATE_ERROR)
    told = str(result.faults) + result.explanation.decode() + repr(result)
    assert "Tolvan" not in told
    assert PATIENT.number not in told


def test_a_withheld_tells_the_sender_why():
    result = clear(intervention(), recipient(), consents=[consent()])
    assert result.faults[0].code == "gate.no-consent"
    assert result.faults[0].entry.exit == 5
    document = json.loads(result.explanation)
    assert (document["decision"], document["reason"], document["kind"]) == ("deny", "NO_CONSENT", "collaborate")
    assert document["law"] == "OSL 10 kap. 1 §"
    assert document["changes"][0]["code"] == "give-consent"
    assert list(document) == sorted(document)
    assert "nekas (NO_CONSENT)" in explain_text(result.explanation, "sv")


@pytest.mark.parametrize("element", ["code.display", "goal", "note", "unit"])
def test_the_last_look_alone_catches_a_row_whose_category_is_wrong(element):
    """As if a row of the mapping table said `administrative` where it should have said something else."""
    leaks = {
        "code.display": put("businessStatus", {"text": "Hemlig"}, "Task"),
        "goal": add(
            {
                "resourceType": "Goal",
                "id": "g",
                "lifecycleStatus": "active",
                "description": {"text": "x"},
                "subject": {"identifier": {"value": "x"}},
            }
        ),
        "note": put("note", [{"text": "x"}], "Task"),
        "unit": put("telecom", [{"system": "phone", "value": "010"}], "Organization"),
    }
    assert reason(intervention(), recipient(), through=gate(leaking(leaks[element]))) is Reason.UNEXPECTED_CONTENT


def test_an_employer_never_learns_the_unit_not_even_under_a_permitted_path():
    author = {
        "type": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": "author"}
            ]
        },
        "who": {"identifier": {"system": "urn:oid:1.2.752.29.4.19", "value": str(UNIT.hsa_id)}},
    }
    leak = leaking(put("agent", [author], "Provenance"))
    assert reason(intervention(), recipient(), through=gate(leak)) is Reason.UNEXPECTED_CONTENT


def test_an_employer_sees_of_another_identity_number_only_another_random_id():
    record = intervention(patient=person(given_names=("Kim",)))
    same_name = intervention(patient=person(OTHER, given_names=("Kim",)))
    theirs = [each.model_copy(update={"patient": person(OTHER)}) for each in good_consents(recipient())]
    bodies = [sent(record, recipient()), sent(same_name, recipient(), consents=theirs)]
    plain = []
    for cleared in bodies:
        [patient] = [each["id"] for each in resources(cleared) if each["resourceType"] == "Patient"]
        plain.append(cleared.body.replace(patient.encode(), b"PATIENT"))
    assert plain[0] == plain[1]


# Cleared


def test_only_the_gate_makes_a_cleared():
    cleared = sent(intervention(), recipient())
    with pytest.raises(TypeError):
        Cleared()
    with pytest.raises(TypeError):
        Cleared(body=b"{}", destination="d")
    with pytest.raises(TypeError):
        type("Forged", (Cleared,), {})
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps, dataclasses.asdict):
        with pytest.raises(TypeError):
            attempt(cleared)
    with pytest.raises(AttributeError):
        cleared.body = b"{}"
    with pytest.raises(AttributeError):
        del cleared.body
    with pytest.raises(AttributeError):
        cleared.more = 1


@pytest.mark.parametrize("name", [*(field.name for field in dataclasses.fields(Contents)), "digest", "seal", "key_id"])
def test_a_cleared_that_was_changed_by_force_is_not_sent(name):
    cleared = sent(intervention(), recipient())
    old = getattr(cleared, name)
    new = {bytes: b"{}", str: "other", int: 8, tuple: (("other", 1),), datetime: JUNE.replace(year=2027)}[type(old)]
    object.__setattr__(cleared, name, new)
    with pytest.raises(Denied):
        verify(cleared)
    object.__setattr__(cleared, name, old)
    verify(cleared)


def test_what_only_looks_like_a_cleared_is_not_sent():
    empty = object.__new__(Cleared)
    for forged in (empty, b"{}", None, sent(intervention(), recipient()).decision):
        with pytest.raises(Denied) as refused:
            verify(forged)
        assert refused.value.first.code == "gate.not-cleared"


def test_a_seal_by_another_key_is_another_seal():
    one, other = (
        Gate(senders=[PROVIDER.hsa_id], id_key=KEY, mapper=mapper(), seal_key=key) for key in (KEY, b"s" * 32)
    )
    first, second = (sent(intervention(), recipient(), through=each) for each in (one, other))
    assert first.body == second.body
    assert first.seal != second.seal
    object.__setattr__(first, "seal", second.seal)
    with pytest.raises(Denied):
        verify(first)


def test_a_new_request_id_is_sealed_anew_and_only_for_what_was_cleared():
    cleared = sent(intervention(), recipient())
    renamed = gate().renamed(cleared, "r-2")
    verify(renamed)
    assert (renamed.request_id, renamed.body, renamed.digest) == ("r-2", cleared.body, cleared.digest)
    assert renamed.seal != cleared.seal
    with pytest.raises(Denied):
        gate().renamed(object.__new__(Cleared), "r-3")


def test_keys_have_at_least_32_bytes():
    with pytest.raises(ValueError, match="32"):
        Gate(senders=[], id_key=b"k" * 31, mapper=mapper())
    with pytest.raises(ValueError, match="32"):
        Sealer(b"k" * 31)


def test_nothing_that_a_log_may_print_names_the_patient():
    to = recipient()
    record = intervention(patient=person(given_names=("Tolvan",)))
    snapshot = policy.Snapshot(PATIENT, 1, tuple(good_consents(to)), ())
    for thing in (
        sent(record, to),
        clear(record, to, consents=[]),
        snapshot,
        recipient("patient"),
        snapshot.directives,
        policy.subject(record, snapshot),
    ):
        assert PATIENT.number not in repr(thing)
        assert "Tolvan" not in repr(thing)


# receipts for notices, which need no consent


def receipt(to, notice_id="01a1fdfa-4600-79c7-92fa-5ddc2a339259"):
    return gate().receipt(notice_id, destination=to, now=JUNE, request_id="r-1", correlation_id="c-1")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [kind for kind in SENT if kind != "patient"])
def test_a_receipt_goes_by_law_to_anyone_on_the_closed_list_with_the_notices_id_alone(kind, form):
    cleared = receipt(recipient(kind, **in_form(form)))
    verify(cleared)
    assert (cleared.destination, cleared.request_id, cleared.correlation_id) == (f"to-{kind}", "r-1", "c-1")
    assert (cleared.records, cleared.consent_versions, cleared.categories) == ((), (), ())
    assert cleared.cleared_at == JUNE
    [task] = resources(cleared)
    assert (task["id"], task["status"]) == ("01a1fdfa-4600-79c7-92fa-5ddc2a339259", "completed")
    told = json.loads(cleared.explanation)
    assert (told["reason"], told["decision"]) == ("PERMITTED_RECEIPT", "permit")
    assert cleared.decision.subject.kind == "Task"
    assert told["record"] == "Task 01a1fdfa-4600-79c7-92fa-5ddc2a339259"


@pytest.mark.parametrize(
    ("to", "notice_id", "expected"),
    [
        (recipient("granne"), "n-1", Reason.UNKNOWN_RECIPIENT),
        (recipient("kommun", organisation_number=None), "n-1", Reason.UNKNOWN_RECIPIENT),
        (recipient("kommun"), f"n-{PATIENT.number}", Reason.UNEXPECTED_CONTENT),
        (recipient("kommun"), "no id", Reason.INVALID_CONTENT),
        (recipient("kommun"), None, Reason.INVALID_CONTENT),
    ],
)
def test_a_receipt_that_may_not_go_is_withheld(to, notice_id, expected):
    withheld = receipt(to, notice_id)
    assert isinstance(withheld, Withheld)
    assert (withheld.reason, withheld.decision.permitted) == (expected, False)
    assert withheld.faults


def test_a_receipt_that_fails_inside_is_withheld(monkeypatch):
    monkeypatch.setattr(notices, "receipt", lambda _: 1 / 0)
    assert receipt(recipient("kommun")).reason is Reason.GATE_ERROR


# notices


def notified(to, said):
    about = Notice("6a4f2c0e-0b1b-4c39-9a64-b3f1f8f9e0a1", said.id, (("Task", business("i1")),), JUNE)
    asked = {"snapshot": policy.Snapshot(PATIENT, 7), "now": JUNE, "request_id": "r-1", "correlation_id": "c-1"}
    return gate().notice(about, said, destination=to, **asked)


def test_a_notice_is_about_its_consent_and_tells_its_kind_if_that_is_ours():
    theirs = ForeignConsent(business("x-1"), 3, person(), frozenset(), b"", {})
    for said, kind, version in ((consent("inform-fk", version=4), "inform-fk", 4), (theirs, "", 3)):
        cleared = notified(recipient("kommun"), said)
        verify(cleared)
        assert (cleared.decision.kind, cleared.decision.subject.kind) == (kind, "Consent")
        assert cleared.consent_versions == ((said.id.name, version),)
        assert cleared.records == ((said.id.name, version),)
        assert (cleared.consent_version, cleared.categories) == (7, ())


@pytest.mark.parametrize(("kind", "leaves"), [("arbetsgivare", False), ("kommun", True), ("forsakringskassan", True)])
def test_a_notice_whose_ids_tell_the_number_goes_only_to_those_who_may_have_it(kind, leaves):
    result = notified(recipient(kind), consent(value=f"samtycke-{PATIENT.number}"))
    assert isinstance(result, Cleared) is leaves
    assert leaves or result.reason is Reason.UNEXPECTED_CONTENT


# the disclosure tables


def test_the_tables_of_what_may_be_disclosed_are_closed(tmp_path):
    source = {
        path.name: path.read_text("utf-8") for path in Path(disclosure.folder("mappings") / "disclosure").glob("*.toml")
    }
    assert set(source) == {f"{kind}.toml" for kind in disclosure.TYPES}

    def loaded(name, old, new):
        for file, text in source.items():
            (tmp_path / file).write_text(text.replace(old, new) if file == name else text, "utf-8")
        disclosure.load.cache_clear()
        return disclosure.load(tmp_path)

    assert loaded("vard.toml", "", "").version == disclosure.load().version
    for name, old, new in [
        ("vard.toml", 'recipient = "vard"', 'recipient = "kommun"'),
        ("vard.toml", "care = true", 'care = "yes"'),
        ("vard.toml", "care = true", "care = true\nextra = 1"),
        ("vard.toml", 'opened_by = "interventions"', ""),
        ("vard.toml", 'opened_by = "interventions"', 'opened_by = "law"'),
        ("vard.toml", 'opened_by = "interventions"', 'opened_by = "everything"'),
        ("patient.toml", 'opened_by = "law"', 'opened_by = "interventions"'),
        ("vard.toml", '"administrative", ', ""),
        ("vard.toml", '"note",', '"note", "gossip",'),
        ("vard.toml", '"Consent"]', '"Consent", "Diary"]'),
        ("vard.toml", '"coordination"]', '"curiosity"]'),
        ("vard.toml", 'law = "lag (2019:1297) 3 §; lag (2022:913) 3 kap. 1 § 3 a"', 'law = ""'),
        ("vard.toml", "identifier Identifier", "identifier Everything"),
        ("vard.toml", "[elements]", "[elements"),
    ]:
        with pytest.raises(Misconfigured) as refused:
            loaded(name, old, new)
        assert refused.value.first.where == f"disclosure/{name}"
    (tmp_path / "vard.toml").unlink()
    disclosure.load.cache_clear()
    with pytest.raises(Misconfigured):
        disclosure.load(tmp_path)
    disclosure.load.cache_clear()


def test_a_change_of_a_table_changes_the_version_of_the_policy(tmp_path):
    assert re.fullmatch(r"koord-1-[0-9a-f]{16}", disclosure.load().version)
    for path in Path(disclosure.folder("mappings") / "disclosure").glob("*.toml"):
        (tmp_path / path.name).write_text(path.read_text("utf-8"), "utf-8")
    (tmp_path / "kommun.toml").write_text((tmp_path / "kommun.toml").read_text("utf-8") + "\n", "utf-8")
    assert disclosure.load(tmp_path).version != disclosure.load().version


@pytest.mark.parametrize(
    ("shape", "inner"),
    [
        ("Attachment", {"title", "contentType", "url"}),
        ("CodeableConcept", {"coding.system", "coding.code"}),
        ("Coding", {"system", "code"}),
        ("ContactPoint", {"system", "value"}),
        ("HumanName", {"family", "given"}),
        ("Identifier", {"system", "value"}),
        ("Link", {"reference"}),
        ("Logical", {"identifier.system", "identifier.value"}),
        ("Period", {"start", "end"}),
        ("Reference", {"reference", "identifier.system", "identifier.value"}),
    ],
)
def test_a_type_in_a_table_stands_for_what_identifies_and_never_for_text_or_more(tmp_path, shape, inner):
    for path in Path(disclosure.folder("mappings") / "disclosure").glob("*.toml"):
        text = path.read_text("utf-8").replace("[elements]", f'[elements]\nThing = ["plain", "of {shape}"]')
        (tmp_path / path.name).write_text(text, "utf-8")
    elements = disclosure.load(tmp_path).of["kommun"].elements
    assert elements["Thing"] == {"plain", *(f"of.{each}" for each in inner)}


def test_every_type_of_recipient_has_one_usual_purpose():
    usual = {kind: each.usual_purpose for kind, each in disclosure.load().of.items()}
    expected = dict.fromkeys(disclosure.TYPES, "coordination")
    assert usual == expected | {"forsakringskassan": "rehabilitation-need", "patient": "patient-request"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SENT)
def test_every_resource_for_an_outside_actor_and_no_other_is_marked_as_less_than_all(kind, form):
    marks = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}]
    to = recipient(kind, **in_form(form))
    for resource in resources(sent(records_for(to)[0], to)):
        assert resource["meta"].get("tag") == (None if kind in {"vard", "patient"} else marks)
        assert resource["meta"].get("tag") == (None if kind in {"vard", "patient"} else marks)


def test_no_outside_actor_may_get_diagnosis_note_goal_plan_or_sick_leave():
    for kind in ["forsakringskassan", *OUTSIDE]:
        assert not disclosure.load().of[kind].categories & {
            "diagnosis",
            "note",
            "goal",
            "plan",
            "sick-leave",
            "consent",
            "block",
            "protection",
        }
    assert not disclosure.load().of["arbetsgivare"].categories & {"identity", "care-unit"}
    assert d.Category.DIAGNOSIS not in disclosure.load().of["vard"].categories
    assert d.Category.ACTIVITY not in disclosure.load().of["forsakringskassan"].categories


def test_an_extension_whose_reference_leads_out_of_the_package_goes_with_it():
    at, by = (
        {"url": "on", "valueDateTime": "2026-03-01"},
        {"url": "by", "valueReference": {"reference": "Practitioner/p"}},
    )
    consent = {"resourceType": "Consent", "extension": [{"url": "urn:informed", "extension": [at, by]}]}
    assert _closed(consent, {"Practitioner/p"}) == consent
    assert _closed(consent, set()) == consent | {"extension": [{"url": "urn:informed", "extension": [at]}]}
    assert _closed({"resourceType": "Consent", "extension": [{"url": "urn:informed", "extension": [by]}]}, set()) == {
        "resourceType": "Consent"
    }
