"""One Consent of another system as it is read, element by element, before anything is decided on it."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from foreign_consents import ACT, CLINIC, PSY, WHY, actor, junk, r4, r5
from hypothesis import given
from hypothesis import strategies as st

from adapter.consent import foreign
from adapter.consent.directives import Source, Status
from adapter.consent.foreign import DeniesOnly, Reader, consents_in, our_purpose, patient_of
from adapter.consent.names import Names, Resolver, asked
from adapter.consent.provisions import Refusal
from adapter.consent.rules import NOBODY, Dialect, Effect, Party, Rule, Span
from adapter.tables import load

PERMIT, DENY = {"type": "permit"}, {"type": "deny"}
PERSON, SSN = "http://electronichealth.se/identifier/personnummer", "urn:ssn"
TOLVAN = {"system": PERSON, "value": "191212121212"}
OTHERS = {"system": PERSON, "value": "195009072553"}
HSA = {"system": "urn:oid:1.2.752.29.4.19", "value": "TSTNMT2321000016-A000"}
KINDS, SCOPES = load().codes["consent-kind"], load().codes["consent-scope"]
ACTS = sorted(load().codes["consent-policy"].keys.values())
PATIENT = Names(asked("Patient/x"), frozenset({("personnummer", TOLVAN["value"])}))
RESOLVER = Resolver(
    {
        "RelatedPerson/1": {"resourceType": "RelatedPerson", "id": "1"},
        "Patient/y": {"resourceType": "Patient", "id": "y", "identifier": [TOLVAN]},
    }
)


def custodian(names):
    return next((value for system, value in names.identifiers if system == "hsaid"), "")


GENERIC = Reader(PATIENT, "token", RESOLVER, recipient=Party(references=asked("RelatedPerson/asks")))
OURS = replace(GENERIC, custodian=custodian)


def read(consent, reader=GENERIC):
    return reader.read(consent)


def refusal(consent, reader=GENERIC):
    return read(consent, reader).refusal


def kind(*codes):
    return [{"coding": [{"system": KINDS.systems[0], "code": code}]} for code in codes]


def scope(code="patient-privacy"):
    return {"coding": [{"system": SCOPES.systems[0], "code": code}]}


def told(provision=None, **more):
    usual = {"category": kind("collaborate"), "organization": [{"identifier": HSA}], "scope": scope()}
    return r4(provision or PERMIT | {"actor": [actor()]}, **usual | more)


def without(consent, *names):
    return {name: value for name, value in consent.items() if name not in names}


ANY = {
    "meta": {"versionId": "3"},
    "language": "sv",
    "text": {"status": "generated"},
    "contained": [{"resourceType": "Patient", "id": "p"}],
    "identifier": [{"system": "urn:l", "value": "7"}],
    "category": [{"coding": [PSY]}],
    "sourceAttachment": {"title": "x"},
    "sourceReference": {"reference": "DocumentReference/1"},
    "verification": [{"verified": True}],
    "extension": [{"url": "urn:x"}],
}
FULL = {
    "R4": r4(PERMIT, **ANY)
    | {
        "scope": scope(),
        "performer": [{"reference": "Patient/x"}],
        "organization": [CLINIC],
        "policy": [{"authority": "urn:a"}, {"uri": ACTS[0]}],
        "policyRule": {"coding": [{"system": ACT, "code": "OPTIN"}], "text": "x"},
    },
    "R5": r5("permit", **ANY)
    | {
        "period": {"start": "2026"},
        "grantor": [{"reference": "Patient/x"}],
        "grantee": [CLINIC],
        "manager": [CLINIC],
        "controller": [CLINIC],
        "regulatoryBasis": [{"text": "x"}],
        "policyBasis": {"url": ACTS[0]},
        "policyText": [{"reference": "DocumentReference/1"}],
    },
}


# what may stand in one


@pytest.mark.parametrize("form", FULL)
def test_every_element_of_a_release_may_stand_in_a_consent_and_no_other(form):
    directive = read(FULL[form])
    assert (directive.refusal, directive.id, directive.version) == ("", "urn:l|7", 3)
    assert (directive.source, directive.status, directive.patient) == (Source.CONSENT, Status.ACTIVE, "token")
    for more in ({"odd": 1}, {"language": None}, {"_odd": {}}):
        assert refusal(FULL[form] | more) == Refusal.MALFORMED


def test_a_consent_that_has_an_element_of_each_release_is_of_none():
    r4_only = set(FULL["R4"]) - set(ANY) - set(FULL["R5"])
    r5_only = set(FULL["R5"]) - set(ANY) - set(FULL["R4"])
    assert r4_only == {"scope", "patient", "dateTime", "performer", "organization", "policy", "policyRule", "provision"}
    bare = {"resourceType": "Consent", "id": "c1", "status": "active"}
    for one in r4_only - {"provision"}:
        for other in r5_only:
            for named in (one, f"_{one}"):
                assert foreign_form(bare | {named: FULL["R4"][one], other: FULL["R5"][other]}) is None
    for name in r4_only:
        assert foreign_form(bare | {name: FULL["R4"][name]}) == "R4"
    for name in r5_only:
        assert foreign_form(bare | {f"_{name}": {}}) == "R5"
    assert foreign_form(bare | {"provision": [{}]}) == "R5"
    assert foreign_form(bare) is foreign_form(bare | {"provision": "x"}) is None


def foreign_form(consent):
    """The release that a Consent is taken for, by the code of a status that only one of them has."""
    known = {code: read(consent | {"status": code}).status for code in ("proposed", "not-done")}
    return {Status.PROPOSED: "R4", Status.WITHDRAWN: "R5"}.get(
        known["proposed"] if known["proposed"] is Status.PROPOSED else known["not-done"]
    )


STATUSES = {
    "active": (Status.ACTIVE, Status.ACTIVE),
    "inactive": (Status.WITHDRAWN, Status.WITHDRAWN),
    "draft": (Status.PROPOSED, Status.PROPOSED),
    "entered-in-error": (Status.ENTERED_IN_ERROR, Status.ENTERED_IN_ERROR),
    "rejected": (Status.WITHDRAWN, None),
    "proposed": (Status.PROPOSED, None),
    "not-done": (None, Status.WITHDRAWN),
    "unknown": (None, None),
    "": (None, None),
}


@pytest.mark.parametrize("code", STATUSES)
def test_a_status_is_of_its_release_and_one_that_is_not_counts_as_active_and_unread(code):
    for made, expected in zip((r4(PERMIT), r5("permit")), STATUSES[code], strict=True):
        directive = read(made | {"status": code})
        assert directive.status is (expected or Status.ACTIVE)
        assert directive.refusal == ("" if expected else Refusal.UNKNOWN_STATUS)


@pytest.mark.parametrize("odd", [None, 1, ["active"], {}])
def test_a_status_that_is_no_code_is_unknown(odd):
    directive = read(r4(PERMIT) | {"status": odd})
    assert (directive.status, directive.refusal) == (Status.ACTIVE, Refusal.UNKNOWN_STATUS)


def test_of_a_consent_of_no_release_the_shared_statuses_are_known():
    bare = {"resourceType": "Consent", "status": "inactive"}
    assert read(bare).status is Status.WITHDRAWN
    assert read(bare | {"status": "rejected"}).status is Status.ACTIVE


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"modifierExtension": []}, Refusal.MODIFIER_EXTENSION),
        ({"meta": {"modifierExtension": []}}, Refusal.MODIFIER_EXTENSION),
        ({"category": [{"coding": [PSY, {"modifierExtension": []}]}]}, Refusal.MODIFIER_EXTENSION),
        ({"implicitRules": "urn:x"}, Refusal.IMPLICIT_RULES),
        ({"_implicitRules": {}}, Refusal.IMPLICIT_RULES),
        ({"modifierExtension": [], "implicitRules": "urn:x"}, Refusal.MODIFIER_EXTENSION),
        ({"implicitRules": "urn:x", "status": "?"}, Refusal.IMPLICIT_RULES),
        ({"contained": [{"resourceType": "X", "modifierExtension": [], "implicitRules": "urn:x"}]}, ""),
    ],
    ids=str,
)
def test_what_may_change_the_meaning_of_the_rest_is_refused_first_wherever_it_stands(more, code):
    assert refusal(r4(PERMIT, **more)) == code


def test_what_is_larger_than_any_body_may_be_is_not_searched_to_its_end(monkeypatch):
    made = r4(PERMIT, category=[{"coding": [PSY]}] * 20)
    nodes = 1 + len(list(nodes_in(made)))
    monkeypatch.setattr(foreign, "LIMITS", replace(foreign.LIMITS, nodes=nodes))
    assert refusal(made) == ""
    monkeypatch.setattr(foreign, "LIMITS", replace(foreign.LIMITS, nodes=nodes - 1))
    assert refusal(made) == Refusal.MALFORMED


def nodes_in(node):
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield inner
        yield from nodes_in(inner)


def places(node, path=()):
    yield path
    for step, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(value, (*path, step))


@pytest.mark.parametrize("form", FULL)
@given(data=st.data())
def test_what_is_odd_in_a_consent_is_refused_where_it_stands_and_the_rest_of_it_is_told(form, data):
    made = dict(FULL[form])
    if form == "R4":
        reference = {"reference": {"reference": "Observation/1"}, "meaning": "related"}
        made["provision"] = PERMIT | {"actor": [actor()], "data": [reference], "code": [{"coding": [PSY]}]}
        made["provision"] |= {"purpose": [PSY], "period": {"start": "2026"}, "provision": [DENY]}
    made = copy.deepcopy(made)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([each for each in places(made) if each and each != ("status",)]))
        holder = made
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = copy.deepcopy(data.draw(junk | st.sampled_from([[], {}, [[]], [{}]])))
    for reader in (GENERIC, OURS):
        assert read(made | {"status": "inactive"}, reader).status is Status.WITHDRAWN
        assert read(made | {"status": "active"}, reader).id != "?"


@pytest.mark.parametrize("odd", [None, 7, "x", [], [r4(PERMIT)]])
def test_what_is_no_object_is_a_denial_of_the_one_who_is_asked_about(odd):
    directive = read(odd)
    assert (directive.refusal, directive.rule, directive.patient) == (Refusal.MALFORMED, Rule(Effect.DENY), "token")
    assert (directive.id, directive.version, directive.status, directive.kind) == ("?", 1, Status.ACTIVE, "")
    assert directive.dated == Span()


def test_the_first_thing_that_is_odd_is_told():
    assert refusal(r4({}, identifier=[{}])) == Refusal.MALFORMED
    assert refusal(r4({}, policy=[{"uri": "urn:x"}])) == Refusal.UNKNOWN_POLICY
    assert refusal(r4({}, patient={}, dateTime="soon")) == Refusal.MALFORMED
    assert refusal(r4({}, dateTime="soon")) == Refusal.UNPARSABLE_DATE


def test_a_refused_consent_tells_whose_it_is_when_it_holds_and_nothing_that_opens():
    made = told({"type": "perhaps", "period": {"start": "2026"}}, identifier=[{"system": "urn:l", "value": "7"}])
    directive = read(made, OURS)
    start = datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert directive.rule == Rule(Effect.DENY, period=Span(start, None))
    assert directive.dated == Span(
        datetime(2026, 1, 14, 23, tzinfo=UTC), datetime(2026, 1, 15, 22, 59, 59, 999999, UTC)
    )
    assert (directive.refusal, directive.kind, directive.custodian) == (Refusal.AMBIGUOUS_BASE, "", "")
    assert directive.line == {"urn:l|7"}
    assert read(made | {"patient": {"identifier": OTHERS}}).patient == ""


# whose it is


@pytest.mark.parametrize(
    ("patient", "token", "denies_only"),
    [
        ({"reference": "Patient/x"}, "token", False),
        ({"identifier": TOLVAN}, "token", False),
        ({"reference": "Patient/y"}, "token", False),
        ({"reference": "Patient/y", "identifier": {"system": SSN, "value": "1"}}, "token", False),
        ({"reference": "#p"}, "token", False),
        ({"reference": "Patient/z"}, "", False),
        ({"identifier": OTHERS}, "", False),
        ({"reference": "#o"}, "", False),
        ({"reference": "urn:uuid:1"}, "token", True),
        ({"identifier": {"system": SSN, "value": "1"}}, "token", True),
    ],
    ids=str,
)
def test_a_consent_is_the_patients_anothers_or_may_be_the_patients(patient, token, denies_only):
    inside = [
        {"resourceType": "Patient", "id": "p", "identifier": [TOLVAN]},
        {"resourceType": "Patient", "id": "o", "identifier": OTHERS},
        "x",
    ]
    for made in (r4(PERMIT, patient=patient, contained=inside), r5("permit", subject=patient, contained=inside)):
        directive = read(made)
        assert (directive.refusal, directive.patient) == ("", token)
        if token:
            assert directive.kind == (DeniesOnly.NO_KNOWN_PATIENT if denies_only else "")


@pytest.mark.parametrize(
    ("patient", "code"),
    [
        ({"reference": "Patient/x", "identifier": OTHERS}, Refusal.PATIENT_AMBIGUOUS),
        ({"reference": "Patient/x", "identifier": TOLVAN}, ""),
        ({"reference": "Patient/x", "identifier": {"system": SSN, "value": "1"}}, ""),
        ({"reference": "#lost"}, Refusal.MALFORMED),
        ({"reference": "#lost", "identifier": TOLVAN}, Refusal.MALFORMED),
        ({"reference": "#p"}, Refusal.MALFORMED),
        ({"reference": "Patient/x", "identifier": {}}, Refusal.MALFORMED),
        ({"reference": "no", "identifier": TOLVAN}, Refusal.MALFORMED),
        ({"display": "Tolvan"}, Refusal.MALFORMED),
        ({}, Refusal.MALFORMED),
        ([], Refusal.MALFORMED),
        (None, Refusal.MALFORMED),
        ("Patient/x", Refusal.MALFORMED),
    ],
    ids=str,
)
def test_a_patient_that_cannot_be_told_or_contradicts_itself_is_refused(patient, code):
    inside = [{"resourceType": "Patient", "id": "p"}]
    assert refusal(r4(PERMIT, patient=patient, contained=inside)) == code
    assert refusal(r5("permit", subject=patient, contained=inside)) == code


def test_a_consent_without_a_patient_is_refused():
    assert refusal(without(r4(PERMIT), "patient")) == Refusal.MALFORMED
    assert refusal(without(r5("permit"), "subject")) == Refusal.MALFORMED


def test_every_name_of_the_patient_is_told_wherever_it_can_be_read():
    for element in ("patient", "subject"):
        names = patient_of({element: {"reference": "Patient/y"}}, RESOLVER)
        assert names.identifiers == {("personnummer", TOLVAN["value"])}
        assert names.references >= {"Patient/y"}
    both = patient_of({"patient": {"identifier": TOLVAN}, "subject": {"identifier": OTHERS}}, RESOLVER)
    assert {value for _, value in both.identifiers} == {TOLVAN["value"], OTHERS["value"]}
    inside = {"contained": [{"id": "p", "identifier": [TOLVAN]}], "patient": {"reference": "#p"}}
    assert patient_of(inside, RESOLVER).identifiers == {("personnummer", TOLVAN["value"])}
    assert patient_of({}, RESOLVER) == patient_of({"patient": 5}, RESOLVER) == Names()


# when it is given, and when it holds


def test_a_consent_is_dated_by_the_element_of_its_release():
    day = Span(datetime(2026, 5, 1, 10, tzinfo=UTC), datetime(2026, 5, 1, 10, 0, 0, 999999, UTC))
    assert read(r4(PERMIT, dateTime="2026-05-01T10:00:00Z")).dated == day
    assert read(r5("permit", date="2026-05-01T10:00:00Z")).dated == day
    oldest = Span(*[datetime.min.replace(tzinfo=UTC)] * 2)
    assert read(without(r4(PERMIT), "dateTime")).dated == read(without(r5("permit"), "date")).dated == oldest
    for odd in ("", None, 2026, "soon"):
        assert (read(r4(PERMIT, dateTime=odd)).dated, refusal(r5("permit", date=odd))) == (
            Span(),
            Refusal.UNPARSABLE_DATE,
        )
    for made, name in ((r4(PERMIT), "dateTime"), (r5("permit"), "date")):
        assert refusal(without(made, name) | {f"_{name}": {"id": "1"}}) == Refusal.UNPARSABLE_DATE


def test_the_root_has_the_period_of_its_release():
    start = Span(datetime(2025, 12, 31, 23, tzinfo=UTC), None)
    assert read(r4(PERMIT | {"period": {"start": "2026"}})).rule.period == start
    assert read(r5("permit", period={"start": "2026"})).rule.period == start
    assert read(r5("permit", {"period": {"start": "2026"}})).rule.period is None
    unread = read(r5("permit", {"odd": 1}, period={"start": "2026"}))
    assert (unread.refusal, unread.rule) == (Refusal.MALFORMED, Rule(Effect.DENY, period=start))
    assert refusal(r5("permit", period={})) == Refusal.UNPARSABLE_PERIOD


def test_a_mixture_of_releases_may_have_been_given_at_either_of_its_dates():
    first, then = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    for one, other in ((first, then), (then, first)):
        mixed = read(r4(PERMIT, dateTime=one.isoformat(), date=other.isoformat()))
        assert (mixed.refusal, mixed.dated.start) == (Refusal.UNKNOWN_RELEASE, first)
        assert mixed.dated.end >= then
    assert read(r4(PERMIT, dateTime="2026-01-01T00:00:00Z", _date={"id": "d"})).dated.start == first


def test_a_mixture_of_releases_may_hold_whenever_either_of_its_periods_does():
    first, then = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-31T00:00:00.0Z"}, {"start": "2026-03-01T00:00:00Z"}
    for inner, outer in ((first, then), (then, first)):
        mixed = read(r4(PERMIT | {"period": inner}) | {"period": outer})
        assert mixed.refusal == Refusal.UNKNOWN_RELEASE
        assert mixed.rule == Rule(Effect.DENY, period=Span(datetime(2026, 1, 1, tzinfo=UTC), None))
    for odd in ("x", None, [{"period": then}]):
        assert read(r4(PERMIT) | {"period": first, "provision": odd}).rule.period.end.month == 1


# the policies that it rests on


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"policy": [{"uri": ACTS[0]}]}, ""),
        ({"policy": [{"authority": "urn:a"}]}, ""),
        ({"policy": [{"uri": ACTS[0]}, {"uri": "urn:x"}]}, Refusal.UNKNOWN_POLICY),
        ({"policy": [{"uri": [ACTS[0]]}]}, Refusal.UNKNOWN_POLICY),
        ({"policy": [{"url": ACTS[0]}]}, Refusal.MALFORMED),
        ({"policy": [{"reference": {}}]}, Refusal.MALFORMED),
        ({"policy": ["x"]}, Refusal.MALFORMED),
        ({"policy": []}, Refusal.MALFORMED),
        ({"policyRule": {}}, ""),
        ({"policyRule": {"text": "x"}}, ""),
        ({"policyRule": {"coding": []}}, Refusal.MALFORMED),
        ({"policyRule": {"odd": 1}}, Refusal.MALFORMED),
        ({"policyRule": []}, Refusal.MALFORMED),
        ({"policyRule": {"coding": [{"system": ACT, "code": "OPTIN"}]}}, ""),
        ({"policyRule": {"coding": [{"system": ACT, "code": "OPTOUT"}]}}, Refusal.AMBIGUOUS_BASE),
        ({"policyRule": {"coding": [{"code": "OPTOUT"}]}}, Refusal.AMBIGUOUS_BASE),
        ({"policyRule": {"coding": [{"system": "urn:other", "code": "OPTOUT"}]}}, ""),
        ({"policyRule": {"coding": [{"system": ACT, "code": "EMRGONLY"}]}}, ""),
    ],
    ids=str,
)
def test_a_policy_is_one_of_the_acts_and_none_contradicts_the_root_in_r4(more, code):
    assert refusal(r4(PERMIT, **more)) == code


@pytest.mark.parametrize(
    ("basis", "code"),
    [
        ({"url": ACTS[0]}, ""),
        ({"url": "urn:x"}, Refusal.UNKNOWN_POLICY),
        ({"url": {}}, Refusal.UNKNOWN_POLICY),
        ({"reference": CLINIC}, Refusal.UNKNOWN_POLICY),
        ({"reference": CLINIC, "url": ACTS[0]}, Refusal.UNKNOWN_POLICY),
        ({"uri": ACTS[0]}, Refusal.MALFORMED),
        ({"authority": "urn:a"}, Refusal.MALFORMED),
        ([{"url": ACTS[0]}], Refusal.MALFORMED),
    ],
    ids=str,
)
def test_a_policy_is_one_of_the_acts_in_r5(basis, code):
    assert refusal(r5("permit", policyBasis=basis)) == code


# what it opens


@pytest.mark.parametrize("given", ["interventions", "inform-fk", "collaborate", "shared-records"])
def test_a_consent_of_one_known_kind_scope_and_custodian_is_of_its_kind(given):
    code = KINDS.keys[given]
    directive = read(told(category=kind(code)), OURS)
    assert (directive.kind, directive.custodian, directive.refusal) == (given, HSA["value"], "")
    assert read(told(category=[*kind(code), {"coding": [PSY]}, *kind(code)]), OURS).kind == given


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"category": kind("collaborate", "interventions")}, DeniesOnly.NO_KNOWN_KIND),
        ({"category": kind("collaborate", "other")}, DeniesOnly.NO_KNOWN_KIND),
        ({"category": kind("other")}, DeniesOnly.NO_KNOWN_KIND),
        ({"category": [{"coding": [{"code": "collaborate"}]}]}, DeniesOnly.NO_KNOWN_KIND),
        ({"category": [{"coding": [PSY]}]}, DeniesOnly.NO_KNOWN_KIND),
        ({"scope": scope("research")}, DeniesOnly.OTHER_SCOPE),
        ({"scope": {"coding": [{"system": "urn:s", "code": "patient-privacy"}]}}, DeniesOnly.OTHER_SCOPE),
        ({"scope": {"text": "x"}}, DeniesOnly.OTHER_SCOPE),
        ({"organization": [CLINIC]}, DeniesOnly.NO_KNOWN_CUSTODIAN),
        ({"performer": [CLINIC]}, DeniesOnly.NOT_BY_THE_PATIENT),
        ({"performer": [CLINIC], "scope": scope("research"), "category": kind("other")}, DeniesOnly.NOT_BY_THE_PATIENT),
        ({"scope": scope("research"), "category": kind("other")}, DeniesOnly.OTHER_SCOPE),
        ({"category": kind("other"), "organization": [CLINIC]}, DeniesOnly.NO_KNOWN_KIND),
        ({"patient": {"reference": "urn:uuid:1"}, "scope": scope("research")}, DeniesOnly.NO_KNOWN_PATIENT),
    ],
    ids=str,
)
def test_a_consent_that_lacks_something_denies_only_and_says_what_it_lacks(more, expected):
    assert read(told(**more), OURS).kind == expected
    expects = {DeniesOnly.NOT_BY_THE_PATIENT, DeniesOnly.NO_KNOWN_PATIENT} & {expected}
    assert read(told(**more)).kind == "".join(expects)


def test_the_kinds_that_only_deny_are_no_kinds_of_ours_and_keep_their_names():
    names = [
        "no-known-patient",
        "not-by-the-patient",
        "no-known-kind",
        "other-scope",
        "no-known-custodian",
        "for-everyone",
    ]
    assert [each.value for each in DeniesOnly] == names
    assert not set(names) & set(KINDS.keys)


def test_without_a_scope_or_category_in_r5_the_rest_decides():
    assert read(without(told(), "scope"), OURS).kind == "collaborate"
    assert read(without(told(), "category"), OURS).kind == DeniesOnly.NO_KNOWN_KIND
    for element in ("controller", "manager"):
        made = r5("permit", grantee=[CLINIC], category=kind("collaborate"), **{element: [{"identifier": HSA}]})
        assert (read(made, OURS).kind, read(made, OURS).custodian) == ("collaborate", HSA["value"])
    for element in ("organization", "controller", "manager"):
        base = r4(PERMIT) if element == "organization" else r5("permit")
        for odd in ([], {}, None, "x"):
            assert refusal(base | {element: odd}, OURS) == Refusal.MALFORMED


RELATED = {"reference": "RelatedPerson/1"}


@pytest.mark.parametrize(
    ("givers", "verified", "is_patients"),
    [
        ([], [], True),
        ([], [False], True),
        ([{"reference": "Patient/x"}], [], True),
        ([{"reference": "Patient/y"}], [], True),
        ([CLINIC, {"reference": "Patient/x"}], [False], True),
        ([{"reference": "#p"}], [], True),
        ([{"reference": "urn:uuid:1"}], [], False),
        ([CLINIC], [True], False),
        ([RELATED], [], False),
        ([RELATED], [True], True),
        ([RELATED], [True, True], True),
        ([RELATED], [True, False], False),
        ([RELATED, CLINIC], [True], True),
        ([{"type": "RelatedPerson", "identifier": {"system": SSN, "value": "1"}}], [True], True),
        ([{"type": "Practitioner", "identifier": {"system": SSN, "value": "1"}}], [True], False),
        ([{"reference": "RelatedPerson/asks"}], [True], False),
        ([RELATED, {"reference": "RelatedPerson/asks"}], [True], False),
        ([{"reference": "RelatedPerson/asks"}, {"reference": "Patient/x"}], [True], True),
    ],
    ids=str,
)
def test_a_consent_is_given_by_the_patient_or_by_a_proxy_whom_all_verifications_confirm(givers, verified, is_patients):
    more = {"verification": [{"verified": each} for each in verified]} if verified else {}
    more["contained"] = [{"resourceType": "Patient", "id": "p", "identifier": [TOLVAN]}]
    for made in (
        r4(PERMIT, **more) | ({"performer": givers} if givers else {}),
        r5("permit", **more) | ({"grantor": givers} if givers else {}),
    ):
        assert (read(made).refusal, read(made).kind) == ("", "" if is_patients else DeniesOnly.NOT_BY_THE_PATIENT)


def test_where_nobody_can_tell_who_asks_no_organisation_gives_a_consent_beside_a_proxy():
    unknown, verified = replace(GENERIC, recipient=None), [{"verified": True}]
    for givers, expected in (([RELATED], ""), ([RELATED, CLINIC], DeniesOnly.NOT_BY_THE_PATIENT)):
        assert read(r4(PERMIT, performer=givers, verification=verified), unknown).kind == expected


@pytest.mark.parametrize(
    "more",
    [
        *({"performer": odd} for odd in ([], {}, None, "x", [{}], ["x"], [None], [{"reference": "Patient/x"}, {}])),
        *({"verification": odd} for odd in ([], {}, None, "x", [{}], ["x"], [{"verified": 1}], [{"verified": None}])),
        {"verification": [{"verified": True}, {"verifiedWith": CLINIC}]},
    ],
    ids=str,
)
def test_who_gave_it_and_who_confirmed_it_must_be_readable(more):
    assert refusal(r4(PERMIT, **more)) == Refusal.MALFORMED


# what it is called


def test_consents_of_one_identifier_are_of_one_line_and_one_without_has_its_own():
    numbers = [{"system": "urn:b", "value": "1"}, {"value": "0"}, {"system": "urn:a", "value": "2"}]
    directive = read(r4(PERMIT, identifier=numbers))
    assert directive.line == {"urn:b|1", "|0", "urn:a|2"}
    assert directive.id == "|0"
    assert read(r4(PERMIT, identifier=numbers[::2])).id == "urn:a|2"
    [own] = read(r4(PERMIT)).line
    assert own.startswith("sha256:")
    assert len(own) == len("sha256:") + 16
    assert {own} == read(r4(PERMIT)).line != read(r4(DENY)).line


def test_a_consent_without_a_name_is_called_by_its_digest():
    for odd in ({}, {"id": ""}, {"id": 5}, {"id": TOLVAN["value"]}):
        made = without(r4(PERMIT), "id") | odd
        assert {read(made).id} == read(made).line


def test_one_that_is_too_deep_to_name_is_named_so():
    endless = r4(PERMIT)
    endless["contained"] = [endless]
    directive = read(without(endless, "id") | {"contained": [endless]})
    assert directive.id == "too deep to name"


@pytest.mark.parametrize(
    ("meta", "version"),
    [
        ({"versionId": "7"}, 7),
        ({"versionId": "999999999"}, 999_999_999),
        ({"versionId": "1000000000"}, 1),
        ({"versionId": ""}, 1),
        ({"versionId": "1.5"}, 1),
        ({"versionId": "٣"}, 1),
        ({"versionId": "²"}, 1),
        ({"versionId": 7}, 1),
        ({"versionId": None}, 1),
        ({}, 1),
        ([], 1),
    ],
    ids=str,
)
def test_a_version_is_a_number_of_at_most_nine_digits(meta, version):
    assert read(r4(PERMIT, meta=meta)).version == version


# as the policy koord reads it


def test_a_purpose_of_ours_is_written_in_our_words_at_any_depth():
    table = load().codes["purpose"]
    ours = {"system": table.systems[0], "code": table.keys["coordination"]}
    theirs = {"system": WHY, "code": "HRESCH"}
    assert our_purpose((ours["system"], ours["code"])) == ("", "coordination")
    for other in ((ours["system"], "other"), ("urn:s", ours["code"])):
        assert our_purpose(other) == other
    inner = DENY | {"purpose": [theirs, ours]}
    [directive] = OURS.read_as_ours(told(PERMIT | {"actor": [actor()], "purpose": [ours], "provision": [inner]}))
    assert directive.rule.purposes == {("", "coordination")}
    assert directive.rule.children[0].purposes == {("", "coordination"), (WHY, "HRESCH")}


def effects(rule):
    """What a rule says to whom: nobody, those whom it names, or (without a list) everyone."""
    to = "nobody" if rule.actors == (NOBODY,) else "named" if rule.actors else "all"
    return (rule.effect.value, to, *map(effects, rule.children))


NAMED = {"actor": [actor()]}


@pytest.mark.parametrize(
    ("provision", "tree", "flat"),
    [
        (PERMIT, ("permit", "nobody"), ("permit", "nobody")),
        (DENY, ("deny", "all"), ("deny", "all")),
        (PERMIT | NAMED, ("permit", "named"), ("permit", "named")),
        (DENY | NAMED, ("deny", "named"), ("deny", "named")),
        (
            PERMIT | NAMED | {"provision": [PERMIT, DENY]},
            ("permit", "named", ("permit", "all"), ("deny", "all")),
            ("permit", "named", ("permit", "nobody"), ("deny", "all")),
        ),
        (
            DENY | NAMED | {"provision": [PERMIT | {"provision": [PERMIT]}]},
            ("deny", "named", ("permit", "nobody", ("permit", "nobody"))),
            ("deny", "named", ("permit", "nobody", ("permit", "nobody"))),
        ),
        (
            PERMIT | {"provision": [PERMIT, PERMIT | NAMED]},
            ("permit", "nobody", ("permit", "nobody"), ("permit", "named")),
            ("permit", "nobody", ("permit", "nobody"), ("permit", "named")),
        ),
        (
            PERMIT | NAMED | {"provision": [DENY | {"provision": [PERMIT]}]},
            ("permit", "named", ("deny", "all", ("permit", "nobody"))),
            ("permit", "named", ("deny", "all", ("permit", "nobody"))),
        ),
    ],
    ids=str,
)
def test_a_permission_that_names_nobody_itself_or_in_one_that_it_narrows_is_for_nobody(provision, tree, flat):
    for dialect, expected in ((Dialect.TREE, tree), (Dialect.PCF_FLAT, flat)):
        *rest, last = replace(OURS, dialect=dialect).read_as_ours(told(provision))
        assert effects(last.rule) == expected
        assert last.kind == "collaborate"
        assert bool(rest) is ("nobody" in repr(expected))
        for each in rest:  # what it denies, read as it was written
            assert each.kind == DeniesOnly.FOR_EVERYONE
            assert "nobody" not in repr(effects(each.rule))
        assert {each.dialect for each in (*rest, last)} == {dialect}


# a Bundle of them


def test_a_bundle_holds_consents_and_what_they_refer_to():
    clinic = {"resourceType": "Organization", "id": "1", "identifier": [HSA]}
    entries = [
        {"resource": r4(PERMIT)},
        {"resource": clinic, "fullUrl": "https://a.example/fhir/Organization/1"},
        {"resource": r4(DENY, id="c2")},
        {"resource": {"resourceType": "Organization", "id": "2"}},
    ]
    consents, resolver = consents_in({"resourceType": "Bundle", "entry": entries})
    assert consents == [r4(PERMIT), r4(DENY, id="c2")]
    assert resolver({"Organization/1"}) == resolver({"https://a.example/fhir/Organization/1"}) == clinic
    assert resolver({"Organization/2"}) == entries[3]["resource"]
    assert resolver({"Consent/c1"}) is None
    assert consents_in({"resourceType": "Bundle"})[0] == []
    alone, nothing = consents_in(r4(PERMIT))
    assert (alone, nothing({"Organization/1"})) == ([r4(PERMIT)], None)


def test_what_is_read_is_not_changed():
    for made in (FULL["R4"], FULL["R5"], told()):
        before = copy.deepcopy(made)
        OURS.read_as_ours(made)
        assert made == before


def test_the_reader_shows_no_name_of_the_patient():
    assert TOLVAN["value"] not in repr(GENERIC)
