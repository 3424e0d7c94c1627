"""
The channels by which what is denied could reach a recipient, and the proof that each is closed.

Two worlds that are equal in what a recipient may have and different in what it may not (a value, a length, a count, a
presence) look the same to it, byte by byte. And the proof is proved: for every channel leaks are planted into the gate
(``leak_seeds``) and into the service (``test_leak_channels_service``), and the comparison sees each of them.

JSON and XML of FHIR R4; R5 has its own run when the adapter writes it.
"""

from __future__ import annotations

import importlib
import json as standard_json
import logging
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import strategies
from consent_worlds import OTHER_PROVIDER, actor, block, business, consent, good_consents, person, recipient, signal
from gate_world import FORMS, JUNE, OUTSIDE, SENT, clear, gate, in_form, mapper, put, slow
from hypothesis import given
from hypothesis import strategies as st
from leak_seeds import SEEDS
from leak_worlds import DIFFERENCES, two_interventions, two_plans, worlds
from lxml import etree

from adapter import domain as d
from adapter.consent import gate as module
from adapter.consent import notice as notices
from adapter.consent import policy
from adapter.consent.decide import Reason
from adapter.consent.gate import Cleared
from adapter.consent.notice import Notice
from adapter.dates import Moment
from adapter.mapping import Mapper
from adapter.wire import json, xml

HERE, SERVICE, OUT, DECIDE = (
    "test_leak_channels",
    "test_leak_channels_service",
    "test_every_way_out",
    "test_consent_decide",
)
ALONE = (HERE, "test_two_worlds_that_differ_only_in_what_is_denied_look_the_same")
LISTED = (HERE, "test_a_leak_in_a_place_that_is_not_listed_is_stopped_before_it_leaves")
NOTICE = (HERE, "test_a_notice_tells_that_a_consent_has_ended_and_nothing_of_what_it_said")
READ = (SERVICE, "test_a_reader_cannot_tell_two_worlds_apart_that_differ_in_what_it_may_not_have")
PUSHED = (SERVICE, "test_no_receiver_can_tell_two_worlds_apart_that_differ_in_what_it_may_not_have")

CHANNELS = {
    1: ("narrative in resource, section, contained", ALONE, LISTED),
    2: ("CodeableConcept.text, Coding.display, userSelected, translations", ALONE, LISTED),
    3: ("Reference.display, .identifier, .type, ids that encode content", ALONE, LISTED),
    4: ("contained, also unreferenced", ALONE, LISTED),
    5: ("extensions, modifier and primitive extensions, extension urls, null padding in arrays", ALONE, LISTED),
    6: ("element ids, XML comments, processing instructions, xhtml attributes", ALONE, LISTED),
    7: ("identifiers, assigner, period", ALONE, LISTED),
    8: ("resource ids, fullUrl, Bundle ids, ids derived from content", ALONE, LISTED),
    9: ("meta.versionId, lastUpdated, source, profile, tag, security labels", ALONE, LISTED),
    10: ("Bundle.total, links, empty pages, entry order, scores, etags", ALONE, LISTED, READ),
    11: ("presence or absence, missing or empty, data-absent-reason, array lengths", ALONE, LISTED),
    12: ("attachments, hashes, sizes, titles, Binary", ALONE, LISTED),
    13: ("Provenance, AuditEvent, signatures over unfiltered content", ALONE, LISTED),
    14: ("free text: note, description, input and output, statusReason", ALONE, LISTED),
    15: ("references to denied resources, MessageHeader.focus, _include", ALONE, LISTED, READ),
    16: ("history, vread, patch test, conditional requests", READ),
    17: ("search oracle: sort, _has, chain, _filter, _text, counts by bisection", READ),
    18: ("OperationOutcome text, expressions, exceptions, reason phrases, Location", READ),
    19: ("403, 404, 410 or empty; 409, 412", READ),
    20: ("ETag, Content-Length, compression ratio", ALONE, READ),
    21: ("timing", (HERE, "test_the_gate_takes_the_same_steps_in_both_worlds"), READ),
    22: ("logs, traces, metric labels, tracebacks, URLs in access logs, temporary files", ALONE, READ),
    23: ("retries, dead letters, notifications, batch answers", ALONE, PUSHED, NOTICE),
    24: (
        "caches: other recipient, other purpose, after withdrawal or block",
        (SERVICE, "test_what_was_read_before_is_not_given_after_a_withdrawal_or_a_block_nor_to_another"),
        PUSHED,
    ),
    25: (
        "SOAP headers, file names, multipart names",
        ALONE,
        (SERVICE, "test_a_request_to_a_peer_tells_nothing_but_the_bytes_and_the_ids"),
    ),
    26: ("other patients in the bundle, Patient.link, RelatedPerson", ALONE, LISTED),
    27: (
        "another region's consent or policy",
        (HERE, "test_what_another_provider_holds_changes_nothing"),
        (SERVICE, "test_another_regions_consent_counts_for_nothing_unless_a_leak_is_planted"),
    ),
    28: ("the Consent resource itself: its denials name actors", ALONE, LISTED),
    29: (
        "parser differentials: duplicate keys, NaN, byte order mark, surrogates, depth, XML and JSON",
        (HERE, "test_other_parsers_read_in_the_bytes_what_the_gate_read"),
        LISTED,
    ),
    30: (
        "time: DST, leap day, partial dates, skew, now between decision and send",
        (HERE, "test_neither_the_moment_nor_how_long_a_consent_lasts_is_told"),
        (DECIDE, "test_a_consent_holds_from_the_first_instant_of_its_first_day_through_the_last_of_its_last"),
    ),
    31: ("elements and types nobody has seen yet", ALONE, LISTED),
}
"""What each channel is, and the tests that hold it shut: the table of docs/leak-channels.md."""


# what a recipient sees


STAGES = ("decision", "_package", "_written")


@contextmanager
def watched(monkeypatch):
    """The log lines and the steps of the gate, while the block runs."""
    lines, steps = [], []

    class Lines(logging.Handler):
        def emit(self, record):
            extra = set(vars(record)) - set(vars(logging.makeLogRecord({})))
            lines.append((record.name, record.getMessage(), *((name, getattr(record, name)) for name in sorted(extra))))

    def counted(name, step):
        def stepping(*args, **named):
            steps.append(name)
            return step(*args, **named)

        return stepping

    handler, root = Lines(), logging.getLogger("adapter")
    with monkeypatch.context() as patched:
        for name in ("validate", "inspect", "reread", "decide"):
            patched.setattr(module, name, counted(name, getattr(module, name)))
        for name in STAGES:
            patched.setattr(module.Gate, name, counted(name, getattr(module.Gate, name)))
        root.addHandler(handler)
        level, _ = root.level, root.setLevel(logging.DEBUG)
        try:
            yield lines, steps
        finally:
            root.removeHandler(handler)
            root.setLevel(level)


def seen(monkeypatch, world, to, plant=None):
    """All that leaves with a message, or None; what the log holds of it; and the steps that were taken."""
    with monkeypatch.context() as patched, watched(patched) as (lines, steps):
        made = plant(patched, world.secret) if plant else gate()
        result = clear(world.record, to, consents=world.consents, blocks=world.blocks, through=made)
    if not isinstance(result, Cleared):
        return None, lines, steps
    headers = result.content_type, result.destination, result.request_id, result.correlation_id
    return (*headers, result.body), lines, steps


@pytest.mark.parametrize("difference", DIFFERENCES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SENT)
def test_two_worlds_that_differ_only_in_what_is_denied_look_the_same(kind, form, difference, monkeypatch):
    to = recipient(kind, **in_form(form))
    for one, other in worlds(kind, difference, to=to):
        assert one != other
        first, second = seen(monkeypatch, one, to), seen(monkeypatch, other, to)
        assert first[0] is not None
        assert first == second


@pytest.mark.parametrize("kind", SENT)
def test_the_gate_takes_the_same_steps_in_both_worlds(kind, monkeypatch):
    """No number of milliseconds is promised: what is denied is taken out before the work begins, so the work is the same."""
    to = recipient(kind)
    for difference in DIFFERENCES:
        for one, other in worlds(kind, difference, to=to):
            assert seen(monkeypatch, one, to)[2] == seen(monkeypatch, other, to)[2]


# by chance


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", OUTSIDE)
@slow
@given(data=st.data())
def test_outside_actors_cannot_tell_apart_two_worlds_that_differ_in_what_they_may_not_know(kind, form, data):
    one, other = data.draw(two_interventions(kind) | two_plans(kind))
    to = recipient(kind, **in_form(form))
    _assert_same(clear(one, to), clear(other, to))


@pytest.mark.parametrize("form", FORMS)
@slow
@given(data=st.data())
def test_forsakringskassan_cannot_tell_apart_two_worlds_that_differ_in_what_it_may_not_know(form, data):
    """The patient's name, protection aside, and everything in the consents but which ones they are."""
    to = recipient("forsakringskassan", **in_form(form))
    common = {
        "sender": data.draw(strategies.professionals()),
        "noted_on": data.draw(strategies.days()),
        "consent": business("c2"),
    }
    results = []
    for _ in range(2):
        hidden = person(
            given_names=data.draw(strategies.tuples_of(strategies.lines(), 2)),
            family_name=data.draw(strategies.optional(strategies.lines())),
        )
        extra = consent(
            "collaborate",
            "c3",
            recipient=actor(data.draw(st.sampled_from(["kommun", "arbetsgivare"]))),
            state=data.draw(st.sampled_from(["given", "withdrawn", "refused"])),
        )
        given_consents = [
            each.model_copy(update={"form": data.draw(st.sampled_from(d.ConsentForm)), "patient": hidden})
            for each in good_consents(to)
        ]
        results.append(
            clear(
                signal(**common, patient=hidden),
                to,
                consents=[*given_consents, *data.draw(st.sampled_from([[], [extra]]))],
            )
        )
    _assert_same(*results)


def _assert_same(one, other):
    assert isinstance(one, Cleared), one.faults
    assert isinstance(other, Cleared), other.faults
    for name in (
        "body",
        "content_type",
        "destination",
        "request_id",
        "correlation_id",
        "digest",
        "categories",
        "records",
    ):
        assert getattr(one, name) == getattr(other, name)


# other providers, parsers and moments


def _foreign(state, to):
    """What another care provider has noted about the same patient."""
    named = {"recipient": actor(to.type, to.organisation_number)} if to.type in set(d.ActorCategory) else {}
    return [
        consent("interventions", "x1", state=state, provider=OTHER_PROVIDER),
        consent("interventions", "x2", state=state, provider=OTHER_PROVIDER, **named),
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SENT)
def test_what_another_provider_holds_changes_nothing(kind, form, monkeypatch):
    to = recipient(kind, **in_form(form))
    for world, _ in worlds(kind, "value", to=to):
        bare = clear(world.record, to, consents=world.consents)
        for state in ("given", "refused", "withdrawn"):
            theirs = _foreign(state, to)
            blocked = [block("outer", "y", provider=OTHER_PROVIDER)]
            _assert_same(bare, clear(world.record, to, consents=[*world.consents, *theirs], blocks=blocked))
            assert to.type == "patient" or not isinstance(clear(world.record, to, consents=theirs), Cleared)
    with monkeypatch.context() as patched:  # the seeded leak: whose consent it is, is not looked at
        patched.setattr(policy, "_provider", lambda _: "provider")
        found = clear(world.record, to, consents=[*world.consents, *_foreign("refused", to)])
        assert kind == "patient" or not isinstance(found, Cleared)


@pytest.mark.parametrize("release", ["R4", "R5"])
@pytest.mark.parametrize("kind", SENT)
def test_other_parsers_read_in_the_bytes_what_the_gate_read(kind, release):
    for world, _ in worlds(kind, "value", to=recipient(kind)):
        as_json, as_xml = (
            clear(world.record, recipient(kind, format=form, release=release), consents=world.consents).body
            for form in ("json", "xml")
        )
        read = json.read(as_json)
        assert xml.read(as_xml, release=release) == read
        assert standard_json.loads(as_json, object_pairs_hook=_once, parse_constant=pytest.fail) == read
        tree = etree.fromstring(as_xml)
        assert not "".join(tree.itertext()).strip()
        assert {node.attrib.keys()[0] for node in tree.iter() if node.attrib} <= {"value", "url"}
        assert all(isinstance(node.tag, str) and node.tag.startswith("{http://hl7.org/fhir}") for node in tree.iter())


def _once(pairs):
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SENT)
def test_neither_the_moment_nor_how_long_a_consent_lasts_is_told(kind, form):
    to = recipient(kind, **in_form(form))
    for world, _ in worlds(kind, "value", to=to):
        found = []
        for end, at in (("2026-12-31", JUNE), ("2030", JUNE), ("2026-10-25", datetime(2026, 10, 25, 22, tzinfo=UTC))):
            period = d.Period(start=Moment("2026-01-01"), end=Moment(end))
            lasting = [each.model_copy(update={"period": period}) for each in world.consents]
            found.append(clear(world.record, to, consents=lasting, now=at))
        _assert_same(found[0], found[1])
        _assert_same(found[0], found[2])


# notices


def notified(to, world):
    """The notice that a consent has been withdrawn, sent to one who has been sent something on it."""
    ended = consent(
        "collaborate",
        "c2",
        state="withdrawn",
        patient=person(family_name=world.secret),
        recipient=actor("kommun"),
        withdrawn=d.Withdrawal(on=Moment("2026-02-01"), by="patient", reason=world.secret),
    )
    asked = {"destination": to, "now": JUNE, "request_id": "r-1", "correlation_id": "c-1"}
    about = Notice("6a4f2c0e-0b1b-4c39-9a64-b3f1f8f9e0a1", business("c2"), (("Task", business("i1")),), JUNE)
    snapshot = policy.Snapshot(ended.patient.identity, 7, (*world.consents, ended), world.blocks)
    return gate().notice(about, ended, snapshot=snapshot, **asked)


@pytest.mark.parametrize("difference", DIFFERENCES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [kind for kind in SENT if kind != "patient"])
def test_a_notice_tells_that_a_consent_has_ended_and_nothing_of_what_it_said(kind, form, difference):
    to = recipient(kind, **in_form(form))
    one, other = worlds(kind, difference, to=to)[0]
    _assert_same(notified(to, one), notified(to, other))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["description", "for", "focus.display", "note", "reasonCode", "meta"])
def test_a_notice_that_says_more_is_stopped(place, form, monkeypatch):
    to = recipient(**in_form(form))
    world, _ = worlds(to.type, "value", to=to)[0]
    made, values = notices.bundle, {"for": {"identifier": {"value": "191212121212"}}, "meta": {"versionId": "1"}}
    values |= {"note": [{"text": world.secret}], "reasonCode": {"text": world.secret}}

    def telling(notice):
        bundle = made(notice)
        put(place, values.get(place, world.secret), "Task")([each["resource"] for each in bundle["entry"]])
        return bundle

    assert isinstance(notified(to, world), Cleared)
    monkeypatch.setattr(notices, "bundle", telling)
    assert notified(to, world).reason in {Reason.UNEXPECTED_CONTENT, Reason.INVALID_CONTENT}


def test_a_notice_goes_to_nobody_who_is_not_on_the_closed_list_and_fails_closed(monkeypatch):
    world, _ = worlds("kommun", "value", to=recipient("kommun"))[0]
    for nobody in (recipient("granne"), recipient("kommun", organisation_number=None)):
        assert notified(nobody, world).reason is Reason.UNKNOWN_RECIPIENT
    monkeypatch.setattr(notices, "bundle", lambda _: 1 / 0)
    assert notified(recipient("kommun"), world).reason is Reason.GATE_ERROR


# the proof proved: leaks planted in the gate


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SENT)
@pytest.mark.parametrize("leak", SEEDS)
def test_the_comparison_sees_every_planted_leak(leak, kind, form, monkeypatch):
    """With all that could stop them asleep. What cannot be written in XML at all does not leave."""
    monkeypatch.setattr(module, "inspect", lambda *_: [])
    monkeypatch.setattr(module, "validate", lambda *_, **__: [])
    monkeypatch.setattr(module, "_refuse_diagnoses", lambda *_: None)
    monkeypatch.setattr(module, "_closed", lambda node, _: node)
    monkeypatch.setattr(module, "reread", lambda *_: {"resourceType": "Basic"})
    to = recipient(kind, **in_form(form))
    one, other = worlds(kind, "value", to=to)[0]
    first, second = (seen(monkeypatch, world, to, SEEDS[leak].plant) for world in (one, other))
    assert first != second or ("xml" in form and first[0] is None and second[0] is None)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["forsakringskassan", *OUTSIDE])
@pytest.mark.parametrize("leak", [name for name, seed in SEEDS.items() if not seed.listed])
def test_a_leak_in_a_place_that_is_not_listed_is_stopped_before_it_leaves(leak, kind, form, monkeypatch):
    to = recipient(kind, **in_form(form))
    one, _ = worlds(kind, "value", to=to)[0]
    with monkeypatch.context() as patched:
        found = clear(one.record, to, consents=one.consents, through=SEEDS[leak].plant(patched, one.secret))
    if isinstance(found, Cleared):  # references to what is not in the package are taken out before the last look
        assert found.body == clear(one.record, to, consents=one.consents).body
    else:
        assert found.reason in {Reason.UNEXPECTED_CONTENT, Reason.INVALID_CONTENT, Reason.DIAGNOSIS_CONTENT}


@pytest.mark.parametrize("kind", SENT)
def test_an_exception_that_quotes_what_it_read_tells_nothing(kind):
    class Quoting(Mapper):
        def to_fhir(self, record, **_):
            raise RuntimeError(str(record))

    to = recipient(kind)
    one, _ = worlds(kind, "value", to=to)[0]
    result = clear(one.record, to, consents=one.consents, through=gate(Quoting(mapper().tables)))
    assert result.reason is Reason.GATE_ERROR
    assert "Hemlig" not in repr(result) + str(result.faults) + result.explanation.decode()


# the table


def test_every_channel_has_its_tests_and_a_planted_leak():
    assert list(CHANNELS) == list(range(1, 32))
    modules = {name: importlib.import_module(name) for name in (HERE, SERVICE, DECIDE)}
    page = (Path(__file__).parent.parent / "docs" / "leak-channels.md").read_text("utf-8")
    service = modules[SERVICE]
    planted = {seed.channel for seeds in (SEEDS, service.SEEDS, service.PUSH_SEEDS) for seed in seeds.values()}
    for number, (words, *tests) in CHANNELS.items():
        assert f"| {number} | {words} |" in page
        assert tests
        assert all(callable(getattr(modules[module], test)) for module, test in tests), number
    # of 27 the leak is planted where it is tested
    assert planted | {27} == set(CHANNELS)
