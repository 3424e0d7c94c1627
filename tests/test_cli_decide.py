"""``koord decide``: a line for each line, whatever it holds, and what the policy ``koord`` adds."""

from __future__ import annotations

import copy
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from foreign_consents import (
    CLINIC,
    NOW,
    NUMBER,
    PSY,
    RESEARCH,
    TREAT,
    WHY,
    actor,
    consents,
    junk,
    places,
    question,
    r4,
    r5,
)
from hypothesis import given
from hypothesis import strategies as st

from adapter.cli import koord, terminal
from adapter.consent import disclosure
from adapter.consent.decide import Reason
from adapter.consent.questions import LIMITS, answer, decided, read

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "decide.jsonl"
ALL = {"type": "permit"}


@pytest.fixture
def run(monkeypatch, capsysbinary):
    """Run ``koord decide`` in this process: exit code, the answers, and what is said on standard error."""

    def run(*arguments, stdin=b""):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
        code = terminal.run(koord, ["decide", *map(str, arguments)])
        out, err = capsysbinary.readouterr()
        return SimpleNamespace(
            code=code, answers=[json.loads(line) for line in out.splitlines()], out=out, err=err.decode()
        )

    return run


def written(*questions):
    return b"".join(json.dumps(each).encode() + b"\n" for each in questions)


def answered(value):
    return json.loads(answer(json.dumps(value).encode()).line)


# lines


def test_the_examples_are_answered_as_their_ids_say(run):
    ran = run(EXAMPLES)
    assert (ran.code, ran.err) == (0, "")
    asked = [json.loads(line) for line in EXAMPLES.read_text("utf-8").splitlines()]
    assert [each["id"] for each in ran.answers] == [each["id"] for each in asked]
    found = {each["id"]: (each["decision"], each["reason"]) for each in ran.answers}
    assert list(found.values()) == [
        ("permit", "PERMITTED"),
        ("permit", "PERMITTED"),
        ("permit", "PERMITTED"),
        ("deny", "CONSENT_REFUSED"),
        ("deny", "CONSENT_REFUSED"),
        ("permit", "PERMITTED"),
        ("no-consent", "NO_CONSENT"),
        ("no-consent", "NO_CONSENT"),
        ("deny", "CONSENT_UNINTERPRETABLE"),
        ("deny", "CONSENT_UNINTERPRETABLE"),
        ("no-consent", "NO_CONSENT"),
        ("permit", "PERMITTED"),
        ("no-consent", "NO_CONSENT"),
        ("permit", "PERMITTED"),
        ("deny", "CONSENT_REFUSED"),
        ("permit", "PERMITTED"),
        ("no-consent", "CONSENT_FOR_ANOTHER"),
        ("deny", "DIAGNOSIS_CONTENT"),
    ]


def test_what_goes_wrong_in_the_engine_itself_is_a_denial_and_the_next_line_is_answered(run, monkeypatch):
    from adapter.consent import questions

    def broken(asked, decided=questions.decided):
        if asked.subject.name == "Observation/breaks":
            raise RuntimeError("not to be told")
        return decided(asked)

    monkeypatch.setattr(questions, "decided", broken)
    breaks = question(r4(ALL), id="breaks", resource={"resourceType": "Observation", "id": "breaks"})
    ran = run(stdin=written(breaks, question(r4(ALL), id="next")))
    assert [(each["id"], each["decision"], each["reason"]) for each in ran.answers] == [
        ("breaks", "deny", "GATE_ERROR"),
        ("next", "permit", "PERMITTED"),
    ]
    assert ran.code == 1
    assert b"not to be told" not in ran.out


def test_an_answer_tells_why_and_what_could_not_be_read():
    [rule] = answered(question(r4({"actor": [actor()]})))["explanation"]["rules"]
    assert (rule["refusal"], rule["out"], rule["rule"]) == (
        "AMBIGUOUS_BASE",
        "CONSENT_UNINTERPRETABLE",
        "Consent c1 version 1",
    )
    permitted = answered(question(r4({"type": "deny", "provision": [ALL | {"actor": [actor()]}]})))
    assert set(permitted) == {"id", "decision", "reason", "explanation"}
    assert permitted["explanation"]["policy"] == "generic-1"
    [rule] = permitted["explanation"]["rules"]
    assert (rule["says"], rule["out"]) == ("permit", "")
    assert rule["steps"][1] == {
        "answers": {"actor": "yes"}, "effect": "permit", "outcome": "permit", "path": "provision.provision[0]",
    }  # fmt: skip


def test_a_consent_for_another_or_out_of_time_says_nothing():
    anothers = r4(ALL | {"actor": [actor({"reference": "Organization/2"})]})
    over = r4(ALL | {"period": {"end": "2020"}})
    for consent, out in ((anothers, ""), (over, "CONSENT_EXPIRED")):
        [rule] = answered(question(consent))["explanation"]["rules"]
        assert (rule["says"], rule["out"]) == ("nothing", out)
    known = {"identifier": [{"system": "urn:c", "value": "1"}]}
    before, now = (r4(ALL, dateTime=date, **known) for date in ("2026-01-01", "2026-02-01"))
    told = answered(question(before | {"status": "inactive"}, now))["explanation"]["rules"]
    assert sorted(rule["says"] for rule in told) == ["nothing", "permit"], "of one name, and only one of them stands"


def test_in_pcf_flat_every_rule_is_a_step_of_its_own():
    exception = ALL | {"actor": [actor()]}
    told = answered(
        question(
            r4({"type": "deny", "actor": [actor({"reference": "Organization/2"})], "provision": [exception]}),
            dialect="pcf-flat",
        )
    )
    [rule] = told["explanation"]["rules"]
    assert rule["says"] == "permit"
    assert rule["steps"] == [
        {"answers": {"actor": "no"}, "effect": "deny", "outcome": "nothing", "path": "provision"},
        {"answers": {"actor": "yes"}, "effect": "permit", "outcome": "permit", "path": "provision.provision[0]"},
    ]


GOOD = question(r4(ALL))
BAD = {
    "not JSON": b"{",
    "nothing": b"",
    "a key twice": b'{"id":"q","id":"q"}',
    "not an object": b"[]",
    "not UTF-8": b'"\xff"',
    "NaN": b'{"id":NaN}',
    "half a surrogate": b'{"id":"\\ud800"}',
    "too deep": b"[" * 300 + b"]" * 300,
    "no consents": written({name: value for name, value in GOOD.items() if name != "consents"}),
    "no time": written({name: value for name, value in GOOD.items() if name != "now"}),
    "an unknown key": written(GOOD | {"dialct": "tree"}),
    "an unknown key of the recipient": written(question(r4(ALL), recipient={"refrences": []})),
    "an unknown policy": written(GOOD | {"policy": "lenient"}),
    "an unknown dialect": written(GOOD | {"dialect": "flat"}),
    "no time at all": written(GOOD | {"now": "now"}),
    "a time without an offset": written(GOOD | {"now": "2026-06-01T12:00:00"}),
    "a consent that is a word": written(GOOD | {"consents": ["x"]}),
    "consents that are an object": written(GOOD | {"consents": {}}),
    "a truth for an id": written(GOOD | {"id": True}),
    "no patient": written(question(r4(ALL), patient="?")),
    "a contained recipient": written(question(r4(ALL), recipient={"references": ["#x"]})),
    "an identifier without a value": written(question(r4(ALL), recipient={"identifiers": [{"system": "urn:s"}]})),
    "a purpose without a code": written(question(r4(ALL), purpose=[{"system": WHY}])),
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD)
def test_a_line_that_cannot_be_read_is_denied_and_the_next_is_answered(run, line):
    ran = run(stdin=line.rstrip(b"\n") + b"\n" + written(GOOD))
    assert (ran.code, ran.err) == (1, "")
    bad, good = ran.answers
    assert (bad["decision"], bad["reason"], good["decision"]) == ("deny", "UNREADABLE", "permit")
    assert bad["explanation"]["faults"][0]["code"]


def test_an_unreadable_line_is_named_if_its_id_can_be_read_and_its_values_are_not_repeated():
    said = answered(question(r4(ALL), patient="191212121212") | {"policy": "19121212-1212"})
    assert (said["id"], said["reason"]) == ("q", "UNREADABLE")
    assert said["explanation"]["faults"] == [
        {"code": "gate.unreadable", "where": "policy", "why": "missing, unknown or of the wrong type"}
    ]
    assert "1212" not in json.dumps(said)
    assert answered({"id": ["a"]})["id"] is None
    assert answered({"id": 7})["id"] == 7


@pytest.mark.parametrize("left_out", ["now", "policy", "consents", "request"])
def test_what_is_missing_is_named(left_out):
    line = {name: value for name, value in question().items() if name != left_out}
    [fault] = json.loads(answer(json.dumps(line).encode()).line)["explanation"]["faults"]
    assert fault["where"] == left_out


def test_a_line_that_is_too_long_is_passed_over(run):
    long = b'{"id":"' + b"x" * (2 * LIMITS.size) + b'"}\n'
    ran = run(stdin=written(GOOD) + long + written(GOOD))
    assert [each["reason"] for each in ran.answers] == ["PERMITTED", "UNREADABLE", "PERMITTED"]


def test_an_empty_input_has_no_answers_and_the_last_line_needs_no_end(run):
    assert (run().code, run().out) == (0, b"")
    assert [each["decision"] for each in run(stdin=written(GOOD).rstrip(b"\n")).answers] == ["permit"]
    assert [each["decision"] for each in run(stdin=written(GOOD).replace(b"\n", b"\r\n")).answers] == ["permit"]


def test_a_file_that_is_not_there_is_a_usage_error(run):
    ran = run("no-such-file")
    assert (ran.code, ran.out) == (2, b"")
    assert "cli.no-such-file" in ran.err


@pytest.mark.processes
def test_each_line_is_answered_before_the_next_one_comes():
    process = subprocess.Popen(
        [sys.executable, "-m", "adapter.cli", "decide"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    with process:
        for name in ("first", "second"):
            process.stdin.write(written(GOOD | {"id": name}))
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == name
        process.stdin.close()
        assert process.wait(30) == 0


def test_consents_that_are_too_many_or_too_deep_are_told_as_such():
    deep = ALL
    for _ in range(40):
        deep = ALL | {"provision": [deep]}
    for consent, code in ((r4(ALL | {"provision": [ALL] * 10_000}), "TOO_MANY_PROVISIONS"), (r4(deep), "TOO_DEEP")):
        assert answered(question(consent))["explanation"]["rules"][0]["refusal"] == code


@given(st.data())
def test_no_line_raises_and_none_but_a_readable_one_permits(data):
    policy = data.draw(st.sampled_from(["generic", "koord"]))
    line = copy.deepcopy(question(*data.draw(st.lists(consents(), max_size=1)), policy=policy))
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(list(places(line))[1:]))
        holder = line
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = data.draw(junk)
    text = json.dumps(line).encode()
    said, is_read = answer(text)
    document = json.loads(said)
    assert document["reason"] != "GATE_ERROR"
    assert is_read == (document["reason"] != "UNREADABLE")
    assert (document["decision"] == "permit") == document["reason"].startswith("PERMITTED")
    assert answer(text).line == said


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_at_all_are_answered(line):
    assert json.loads(answer(line).line)["decision"] == "deny"


def test_the_same_question_gives_the_same_bytes_whatever_order_its_consents_have():
    one, two = r4({"type": "deny"}, id="c1"), r5("permit", id="c2")
    assert answer(written(question(one, two))).line == answer(written(question(two, one))).line


# policy koord


KIND = "https://koord.example/fhir/CodeSystem/consent-kind"
COC = {"system": WHY, "code": "COC"}
PROVIDER = {"system": "urn:oid:1.2.752.29.4.19", "value": "TSTNMT2321000016-A001"}
TASK = {
    "resourceType": "Task",
    "id": "t1",
    "for": {"reference": "Patient/x"},
    "code": {"coding": [{"system": "https://koord.example/fhir/CodeSystem/intervention-kind", "code": "samverkan"}]},
}
EMPLOYER = actor({"identifier": NUMBER})


def ours(kind, value, provision=None, **more):
    usual = {
        "id": value,
        "category": [{"coding": [{"system": KIND, "code": kind}]}],
        "organization": [{"identifier": PROVIDER}],
    }
    return r4(provision or ALL, **usual | more)


def asked_by(*given, kind="arbetsgivare", **more):
    usual = {
        "recipient": {"references": [], "identifiers": [NUMBER], "type": kind},
        "purpose": [COC],
        "tenant": [PROVIDER],
    }
    return question(*given, **{"policy": "koord", "resource": TASK} | usual | more)


def outcome(*given, **more):
    return decided(read(asked_by(*given, **more)))[0].reason


INTERVENTIONS, COLLABORATE = ours("interventions", "c1"), ours("collaborate", "c2", ALL | {"actor": [EMPLOYER]})
BOTH = (INTERVENTIONS, COLLABORATE)


def test_what_the_law_asks_for_in_foreign_form_is_permitted():
    decision = decided(read(asked_by(*BOTH)))[0]
    assert decision.reason is Reason.PERMITTED
    assert decision.categories == disclosure.load().of["arbetsgivare"].categories
    assert outcome(INTERVENTIONS) is Reason.NO_CONSENT
    assert outcome(COLLABORATE) is Reason.NO_CONSENT


def test_what_cannot_be_read_may_be_a_later_word_of_any_kind():
    known = {"identifier": [{"system": "urn:c", "value": "1"}]}
    given = COLLABORATE | known
    over = {"status": "inactive", "dateTime": "2026-02-01"} | known
    assert outcome(INTERVENTIONS, given) is Reason.PERMITTED
    assert outcome(INTERVENTIONS, given, ours("inform-fk", "c3", **over)) is Reason.PERMITTED
    assert outcome(INTERVENTIONS, given, ours("inform-fk", "c3", onlyIf="full moon", **over)) is Reason.CONSENT_REPLACED


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"kind": "granne"}, Reason.UNKNOWN_RECIPIENT),
        ({"kind": None}, Reason.UNKNOWN_RECIPIENT),
        ({"tenant": None}, Reason.WRONG_TENANT),
        ({"resource": None}, Reason.RECORD_NOT_FOR_RECIPIENT),
        ({"resource": {"resourceType": "Observation", "id": "o"}}, Reason.RECORD_NOT_FOR_RECIPIENT),
        ({"purpose": [TREAT]}, Reason.PURPOSE_NOT_FOR_RECIPIENT),
        ({"resource": TASK | {"for": {"reference": "Patient/y"}}}, Reason.WRONG_PATIENT),
        ({"resource": TASK | {"note": [{"text": "F43.8"}]}}, Reason.DIAGNOSIS_CONTENT),
        ({"resource": TASK | {"reasonReference": {"reference": "Condition/1"}}}, Reason.DIAGNOSIS_CONTENT),
    ],
)
def test_prohibitions_come_before_every_consent(more, expected):
    assert outcome(*BOTH, **more) is expected
    denial = ours("collaborate", "c9", {"type": "deny"})
    assert outcome(*BOTH, denial, **more) is expected
    assert outcome(**more) is expected


HIDDEN = {"system": "http://hl7.se/fhir/ig/base/CodeSystem/SecurityLabel", "code": "sekretessmarkering"}


@pytest.mark.parametrize(
    "more",
    [
        {"labels": [HIDDEN]},
        {"resource": TASK | {"meta": {"security": [HIDDEN]}}},
        {"actors": {"Patient/x": {"resourceType": "Patient", "meta": {"security": [HIDDEN]}}}},
    ],
    ids=["request", "resource", "patient"],
)
def test_a_protected_identity_counts_wherever_it_is_noted(more):
    assert outcome(*BOTH, **more) is Reason.PROTECTED_IDENTITY


@pytest.mark.parametrize("of", [{"deceasedBoolean": True}, {"deceasedDateTime": "2026-01"}])
def test_nothing_is_told_of_someone_who_has_died(of):
    assert outcome(*BOTH, actors={"Patient/x": {"resourceType": "Patient", **of}}) is Reason.DECEASED


@pytest.mark.parametrize(
    "spoiled",
    [
        {"category": []},
        {"category": [{"coding": [{"system": KIND, "code": "everything"}]}]},
        {"category": [{"coding": [{"system": KIND, "code": code} for code in ("collaborate", "inform-fk")]}]},
        {"scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]}},
        {"organization": [{"identifier": PROVIDER | {"value": "TSTNMT2321000016-B001"}}]},
        {"organization": [{"display": "The region"}]},
        {"performer": [{"identifier": NUMBER}]},
        {"provision": ALL},
        {"provision": ALL | {"actor": [actor({"identifier": NUMBER | {"value": "2321000024"}})]}},
    ],
    ids=["no category", "unknown kind", "two kinds", "research", "another provider's", "custodian unknown", "own word", "everyone", "another"],
)  # fmt: skip
def test_a_consent_opens_only_if_all_of_it_is_known(spoiled):
    assert outcome(INTERVENTIONS, COLLABORATE | spoiled) is not Reason.PERMITTED


def test_the_denial_of_a_consent_that_opens_nothing_holds():
    for spoiled in (
        {},
        {"organization": [{"display": "x"}]},
        {"performer": [CLINIC]},
        {"category": [{"coding": [PSY]}]},
    ):
        assert outcome(*BOTH, ours("collaborate", "c9", {"type": "deny"}, **spoiled)) is Reason.CONSENT_REFUSED
    elsewhere = {"organization": [{"identifier": PROVIDER | {"value": "TSTNMT2321000016-B001"}}]}
    assert outcome(*BOTH, ours("collaborate", "c9", {"type": "deny"}, **elsewhere)) is Reason.CONSENT_REFUSED
    assert outcome(*BOTH, ours("collaborate", "c9", {"type": "deny", "purpose": [RESEARCH]})) is Reason.PERMITTED


def test_a_consent_in_r5_opens_as_one_in_r4():
    modern = r5("deny", {"actor": [EMPLOYER], "purpose": [COC]}, id="c2", controller=[{"identifier": PROVIDER}])
    assert outcome(INTERVENTIONS, modern | {"category": COLLABORATE["category"]}) is Reason.PERMITTED


@given(st.data())
def test_koord_never_permits_what_generic_denies(data):
    """Consents that mostly would open, spoiled in the ways in which the two policies differ."""
    kinds, tenants = (
        st.sampled_from(["interventions", "collaborate"]),
        st.sampled_from([PROVIDER, PROVIDER | {"value": "TSTNMT2321000016-B001"}]),
    )
    lines = st.sampled_from([None, "a"])
    others = [
        ours(
            data.draw(kinds), f"c{n}", data.draw(st.sampled_from([ALL, ALL | {"actor": [EMPLOYER]}, {"type": "deny", "purpose": [RESEARCH]}, {"type": "deny", "actor": [EMPLOYER]}])),
            organization=[{"identifier": data.draw(tenants)}], dateTime=data.draw(st.sampled_from(["2025", "2026-02"])),
            **({"identifier": [{"system": "urn:l", "value": "a"}]} if data.draw(lines) else {}),
        )
        for n in range(data.draw(st.integers(0, 3)))
    ]  # fmt: skip
    line = asked_by(*BOTH, *others)
    koords, generics = (decided(read(line | {"policy": policy}))[0] for policy in ("koord", "generic"))
    assert generics.permitted or not koords.permitted


def test_under_generic_a_type_and_a_tenant_are_accepted_and_not_looked_at():
    assert outcome(r4(ALL), policy="generic", now=NOW) is Reason.PERMITTED


# koord filter


def test_filter_takes_consents_of_other_systems_beside_our_own_in_fhir(monkeypatch, capsysbinary, tmp_path):
    number = {"system": "http://electronichealth.se/identifier/personnummer", "value": "191212121212"}
    custodian = [{"identifier": PROVIDER | {"value": "TSTNMT2321000016-A000"}}]
    patient = {"patient": {"identifier": number}, "organization": custodian, "dateTime": "2025-01-01"}
    employer = actor({"identifier": NUMBER | {"value": "5560160680"}})
    terminal.run(koord, ["map", str(ROOT / "examples" / "consents.json")])
    own = json.loads(capsysbinary.readouterr().out)["entry"]
    collaborate = ours("collaborate", "c2", ALL | {"actor": [employer]}, **patient)

    def filtered(*entries):
        file = tmp_path / "consents.json"
        file.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": list(entries)}))
        arguments = [
            "examples/intervention.json",
            "--consents",
            file,
            "--at",
            "2025-03-10",
            "--to",
            "arbetsgivare:5560160680",
        ]
        monkeypatch.chdir(ROOT)
        code = terminal.run(koord, ["filter", *map(str, arguments)])
        out, err = capsysbinary.readouterr()
        return code, bool(out), err.decode()

    foreign = {"resource": collaborate}
    assert filtered(*own)[0] == 5
    assert filtered(*own, foreign) == (0, True, "")
    assert filtered(foreign)[0] == 5
    assert filtered({"resource": ours("interventions", "c1", **patient)}, foreign) == (0, True, "")
    code, out, err = filtered(*own, foreign, {"resource": r4({}, patient={"identifier": number}, dateTime="2025")})
    assert (code, out, "gate.consent-uninterpretable" in err) == (5, False, True)
