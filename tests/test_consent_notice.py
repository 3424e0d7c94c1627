"""A notice by itself: what it says, what is read of one that a peer wrote, and the list that it is held to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from consent_worlds import SYSTEM, business
from hypothesis import given
from hypothesis import strategies as st

from adapter.consent import notice
from adapter.consent.inspection import inspect, leaves
from adapter.consent.notice import NOTICE, RECEIPT, Notice
from adapter.errors import Invalid
from adapter.tables import load

ID = "01a1fdfa-4600-79c7-92fa-5ddc2a339259"
KIND = {"system": "https://koord.example/fhir/CodeSystem/task-kind", "code": "samtycke-aterkallat"}
NUMBER = "191212121212"
RECORDS = (("CarePlan", business("p1")), ("Consent", business("c2")), ("Task", business("i1")))
TOLD = Notice(ID, business("c1"), RECORDS, datetime(2026, 11, 21, 12, tzinfo=UTC))
ODD = [None, "", "x", 1, [], [None], ["x"], {}, {"system": SYSTEM}]

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
names = st.text("abc.0123-", min_size=1, max_size=12).map(business)
notices = st.builds(
    Notice,
    st.uuids().map(str),
    names,
    st.lists(st.tuples(st.sampled_from(["Task", "CarePlan", "Consent"]), names), min_size=1, max_size=4).map(tuple),
    st.tuples(st.integers(0, 4 * 10**15), zones).map(lambda at: datetime.fromtimestamp(at[0] / 10**6, at[1])),
)


def logical(kind, record):
    return {"type": kind, "identifier": {"system": record.system, "value": record.value}}


def task_of(told):
    return notice.bundle(told)["entry"][0]["resource"]


def changed(told, name, value):
    return task_of(told) | {name: value}


# what is written


@given(notices)
def test_a_notice_is_one_task_with_what_it_must_say_and_nothing_else(told):
    at = told.ordered_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
    task = {
        "resourceType": "Task",
        "id": told.id,
        "meta": {"profile": ["https://koord.example/fhir/StructureDefinition/koord-withdrawal-notice"]},
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{told.id}"}],
        "status": "requested",
        "intent": "order",
        "code": {"coding": [KIND]},
        "focus": logical("Consent", told.consent),
        "authoredOn": at,
        "input": [
            {
                "type": {
                    "coding": [
                        {"system": "https://koord.example/fhir/CodeSystem/task-input", "code": "sluta-anvanda"},
                    ]
                },
                "valueReference": logical(kind, record),
            }
            for kind, record in told.stop_using
        ],
    }
    entry = {
        "fullUrl": f"https://koord.example/fhir/Task/{told.id}",
        "resource": task,
        "request": {"method": "PUT", "url": f"Task/{told.id}"},
    }
    assert notice.bundle(told) == {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}


def test_two_notices_share_nothing_that_one_of_them_could_change():
    task_of(TOLD)["code"]["coding"][0]["code"] = "x"
    task_of(TOLD)["input"][0]["type"]["coding"][0]["code"] = "x"
    assert notice.is_notice(task_of(TOLD))
    assert task_of(TOLD)["input"][0]["type"]["coding"][0]["code"] == "sluta-anvanda"


def test_the_codes_of_a_notice_are_those_of_the_tables():
    codes, task = load().codes, task_of(TOLD)
    for table, coding in (("task-kind", task["code"]), ("task-input", task["input"][0]["type"])):
        assert coding["coding"][0]["system"] == codes[table].systems[0]
        assert coding["coding"][0]["code"] in codes[table].keys
    assert KIND["code"] == notice.CODE


@given(st.lists(st.sampled_from([*RECORDS, ("Task", business("i0")), ("Task", business("p1"))])), st.randoms())
def test_each_record_is_named_once_in_an_order_that_does_not_tell_when_it_was_sent(records, chance):
    once = notice.named(records)
    assert sorted(once, key=repr) == sorted(set(records), key=repr)
    chance.shuffle(records)
    assert notice.named(records) == once
    assert [(kind, record.value) for kind, record in once] == sorted((kind, record.value) for kind, record in once)


def test_records_of_one_value_are_in_the_order_of_their_systems():
    records = [("Task", business("i1").model_copy(update={"system": system})) for system in ("b:b", "a:a", "c:c")]
    assert [record.system for _, record in notice.named(records)] == ["a:a", "b:b", "c:c"]


# the list that it is held to


def test_everything_that_is_made_is_on_the_list_and_everything_on_the_list_is_made():
    made = notice.bundle(TOLD)
    assert {path.removeprefix("Task.") for path, _ in leaves(task_of(TOLD))} == NOTICE.elements["Task"]
    around = [{name: each[name] for name in ("fullUrl", "request")} for each in made["entry"]]
    assert {path.removeprefix("Bundle.") for path, _ in leaves(made | {"entry": around})} == NOTICE.elements["Bundle"]
    assert set(NOTICE.elements) == {"Bundle", "Task"}


@given(notices)
def test_the_last_look_has_nothing_against_a_notice(told):
    assert inspect(notice.bundle(told), NOTICE, frozenset(), NUMBER) == []


def test_the_word_that_one_has_stopped_is_the_notices_task_completed_and_nothing_else():
    made = notice.receipt(ID)
    [entry] = made["entry"]
    kept = ("resourceType", "id", "identifier", "intent", "code")
    assert entry["resource"] == {name: task_of(TOLD)[name] for name in kept} | {
        "meta": {"profile": ["https://koord.example/fhir/StructureDefinition/koord-withdrawal-receipt"]},
        "status": "completed",
    }
    assert entry["request"] == {"method": "PUT", "url": f"Task/{ID}"}
    assert notice.answers(entry["resource"])
    assert notice.id_in(entry["resource"]) == ID
    assert inspect(made, RECEIPT, frozenset(), "") == []
    assert {path.removeprefix("Task.") for path, _ in leaves(entry["resource"])} == RECEIPT.elements["Task"]
    assert RECEIPT.elements["Bundle"] == NOTICE.elements["Bundle"]
    assert set(RECEIPT.elements) == {"Bundle", "Task"}


@pytest.mark.parametrize("path", [*sorted(RECEIPT.elements["Task"] - {"id", "identifier.value"}), "type", "method"])
def test_what_is_not_its_id_has_one_value_in_a_receipt(path):
    made = notice.receipt(ID)
    put(made, path, "else")
    assert [each.why for each in inspect(made, RECEIPT, frozenset(), "")] == ["not among the values for receipt"]


def put(made, path, value):
    """Write a value into the Task, or into what stands around it."""
    around = {"type": made, "method": made["entry"][0]["request"]}
    node, (*way, last) = around.get(path, made["entry"][0]["resource"]), path.split(".")
    for step in way:
        node = node[step][0] if isinstance(node[step], list) else node[step]
    node[last] = value


FREE = {"id", "authoredOn", *(f"{each}.value" for each in ("identifier", "focus.identifier"))} | {
    "focus.identifier.system",
    "input.valueReference.identifier.system",
    "input.valueReference.identifier.value",
}


@pytest.mark.parametrize("path", sorted(NOTICE.elements["Task"] - FREE))
def test_what_is_not_an_id_or_the_time_has_one_of_a_few_values(path):
    made = notice.bundle(TOLD)
    put(made, path, "else")
    [fault] = inspect(made, NOTICE, frozenset(), NUMBER)
    assert (fault.where, fault.why) == (f"Task.{path}", "not among the values for notice")


@pytest.mark.parametrize(("place", "value"), [("type", "batch"), ("method", "POST")])
def test_a_notice_is_a_transaction_that_puts(place, value):
    made = notice.bundle(TOLD)
    put(made, place, value)
    assert [fault.why for fault in inspect(made, NOTICE, frozenset(), NUMBER)] == ["not among the values for notice"]


# what is read


@given(notices)
def test_what_was_written_is_read_again_to_the_second(told):
    read, beyond = notice.read(task_of(told))
    assert (read, beyond) == (
        Notice(told.id, told.consent, told.stop_using, told.ordered_at.replace(microsecond=0)),
        [],
    )
    assert read.ordered_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2026-11-21", datetime(2026, 11, 20, 23, tzinfo=UTC)),
        ("2026-07", datetime(2026, 6, 30, 22, tzinfo=UTC)),
        ("2026-11-21T12:00:00+01:00", datetime(2026, 11, 21, 11, tzinfo=UTC)),
    ],
)
def test_the_time_of_a_peers_notice_is_read_in_swedish_time_wherever_it_is_read(written, at, monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    assert notice.read(changed(TOLD, "authoredOn", written))[0].ordered_at == at


def test_a_notice_of_no_records_is_one():
    task = {name: value for name, value in task_of(TOLD).items() if name != "input"}
    assert notice.read(task)[0].stop_using == ()


@pytest.mark.parametrize("name", ["identifier", "focus", "authoredOn", "input"])
@pytest.mark.parametrize("odd", ODD)
def test_one_that_does_not_name_what_it_is_about_is_refused_with_the_kind_of_error_alone(name, odd):
    task = changed(TOLD, name, odd) | {"id": ""}
    if name == "input" and odd in ("", [], {}):
        task["id"] = ID
        assert notice.read(task)[0].stop_using == ()
        return
    with pytest.raises(Invalid) as refused:
        notice.read(task)
    fault = refused.value.first
    assert (fault.code, fault.where) == ("exchange.notice", "Task")
    assert fault.why in {"KeyError", "TypeError", "ValueError", "ValidationError"}


@pytest.mark.parametrize("left_out", ["focus", "authoredOn"])
def test_one_that_lacks_what_it_is_about_or_the_time_is_refused(left_out):
    with pytest.raises(Invalid):
        notice.read({name: value for name, value in task_of(TOLD).items() if name != left_out})


def test_what_it_says_beyond_a_notice_is_named_by_path_once_in_order():
    more = task_of(TOLD) | {"note": [{"text": "a"}, {"text": "b"}], "description": "HEMLIG"}
    _, beyond = notice.read(more)
    assert [(each.code, each.where, each.severity) for each in beyond] == [
        ("mapping.lost", "Task.description", "warning"),
        ("mapping.lost", "Task.note.text", "warning"),
    ]
    assert "HEMLIG" not in repr(beyond)


@pytest.mark.parametrize(
    "identifiers",
    [
        [{"system": "urn:ietf:rfc:3986", "value": "urn:uuid:theirs"}],
        [{"system": "http://peer.example/ids", "value": "7"}, {"system": "urn:ietf:rfc:3986", "value": "theirs"}],
        ["x", None, {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:theirs"}],
    ],
)
def test_a_notice_is_known_by_its_identifier_before_its_id(identifiers):
    assert notice.id_in({"id": "42", "identifier": identifiers}) == "theirs"


@pytest.mark.parametrize("identifiers", [None, [], "x", {}, ["x"], [{"system": "http://peer.example", "value": "7"}]])
def test_a_notice_without_such_an_identifier_is_known_by_its_id(identifiers):
    assert notice.id_in({"id": "42", "identifier": identifiers}) == "42"
    assert notice.id_in({"identifier": identifiers}) == ""
    assert notice.id_in({"id": "42"}) == "42"


def test_an_identifier_without_a_value_names_nothing():
    assert notice.id_in({"id": "42", "identifier": [{"system": "urn:ietf:rfc:3986"}]}) == ""


# which Tasks are notices


@pytest.mark.parametrize(
    "resource",
    [
        task_of(TOLD),
        {"resourceType": "Task", "code": {"coding": [KIND]}},
        {"resourceType": "Task", "code": {"coding": ["x", {"code": "other"}, KIND | {"display": "Återkallat"}]}},
    ],
)
def test_a_task_with_the_code_of_a_notice_is_one(resource):
    assert notice.is_notice(resource) is True
    assert notice.task_in(resource) is resource
    assert notice.task_in({"resourceType": "Bundle", "entry": [{"resource": resource}]}) is resource


@pytest.mark.parametrize(
    "resource",
    [
        {},
        {"resourceType": "Task"},
        {"resourceType": "Communication", "code": {"coding": [KIND]}},
        {"code": {"coding": [KIND]}},
        *({"resourceType": "Task", "code": odd} for odd in ODD),
        *({"resourceType": "Task", "code": {"coding": odd}} for odd in ODD),
        *({"resourceType": "Task", "code": {"coding": [KIND | {name: "other"}]}} for name in KIND),
        *({"resourceType": "Task", "code": {"coding": [{name: KIND[name]}]}} for name in KIND),
    ],
)
def test_nothing_else_is_a_notice(resource):
    assert notice.is_notice(resource) is False
    assert notice.task_in(resource) is None
    assert notice.task_in({"resourceType": "Bundle", "entry": [{"resource": resource}]}) is None


@pytest.mark.parametrize(
    "entries",
    [
        None,
        [],
        "x",
        {},
        ["x"],
        [{}],
        [{"resource": None}],
        [{"resource": [task_of(TOLD)]}],
        [{"resource": task_of(TOLD)}] * 2,
    ],
)
def test_a_bundle_that_holds_anything_but_one_notice_holds_none(entries):
    assert notice.task_in({"resourceType": "Bundle", "entry": entries}) is None
    assert notice.task_in({"resourceType": "Bundle"}) is None


# the answer to one


def test_only_who_accepts_or_has_completed_has_stopped():
    statuses = ["accepted", "completed", "requested", "received", "rejected", "in-progress", "failed", "", None]
    assert [status for status in statuses if notice.answers({"status": status})] == ["accepted", "completed"]
    assert not notice.answers({})


def test_the_answer_is_the_same_task_completed():
    answered = notice.answered(task_of(TOLD))
    receipt = {"profile": ["https://koord.example/fhir/StructureDefinition/koord-withdrawal-receipt"]}
    assert answered == changed(TOLD, "status", "completed") | {"meta": receipt}
    assert notice.answers(answered)
    assert not notice.answers(task_of(TOLD))


def test_the_local_system_is_told_which_notice_which_consent_which_records_and_when():
    assert notice.document(TOLD) == {
        "record": "WithdrawalNotice",
        "id": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{ID}"},
        "consent": {"system": SYSTEM, "value": "c1"},
        "stop_using": [{"type": kind, "id": {"system": SYSTEM, "value": record.value}} for kind, record in RECORDS],
        "ordered_on": "2026-11-21T12:00:00+00:00",
    }
    assert notice.id_of(notice.document(TOLD)) == ID
