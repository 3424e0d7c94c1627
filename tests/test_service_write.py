"""What peers send: taken over as a whole or refused as a whole, answered in the order that was asked, once for each request."""

from __future__ import annotations

import copy
import json

import pytest
import region as r
from hypothesis import given
from hypothesis import strategies as st
from service_world import (
    CANARIES,
    IDS_OF,
    OTHERS_NUMBER,
    alone,
    bundle,
    codes,
    focus_of,
    fresh,
    of_region_b,
    package,
    request_id,
    serving,
)

from adapter.domain import read_record, written_record
from adapter.validation import validate
from adapter.wire import xml

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service")) as world:
        yield world


def received(world):
    """Every record that peers have sent, by business id: the newest version."""
    feed = world.call("journal", "GET", "/records/changes", params={"limit": 1000}).json()["changes"]
    return {change["record"]["id"]["value"]: change for change in feed}


def refused(world, response, before):
    """What every refusal has in common: nothing is left behind, and nobody is named."""
    assert response.headers["content-type"].partition(";")[0] == "application/fhir+json"
    assert CANARIES.search(response.text) is None
    assert world.stored() == before
    return response.status_code, codes(response)[0]


# transactions


def test_a_transaction_is_answered_entry_by_entry_in_order(world):
    sent = package("order")
    answer = world.send(sent)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["resourceType"], told["type"]) == ("Bundle", "transaction-response")
    assert [fault for fault in validate(told) if fault.severity == "error"] == []
    assert len(told["entry"]) == len(sent["entry"])
    for asked, entry in zip(sent["entry"], told["entry"], strict=True):
        where = asked["request"]["url"]
        if where.startswith("Task/"):
            wanted = {"status": "201 Created", "location": f"{where}/_history/1", "etag": 'W/"1"'}
        else:
            wanted = {"status": "200 OK", "location": where}
        assert entry["response"] == wanted


def test_the_local_system_reads_what_the_peer_has_sent_as_the_same_record(world):
    document = of_region_b(r.intervention("same"))
    assert world.send(bundle(document)).status_code == 200
    change = received(world)["same"]
    assert change["record"] == written_record(read_record(document)[0])
    assert (change["from"], change["version"], change["losses"]) == ("region-b", 1, [])


def test_a_transaction_in_xml_is_answered_in_xml(world):
    answer = world.send(xml.write(package("in-xml")), content_type="application/fhir+xml")
    assert answer.headers["content-type"] == "application/fhir+xml"
    assert xml.read(answer.content)["entry"][0]["response"]["status"] == "201 Created"
    assert "in-xml" in received(world)


def test_several_records_of_one_patient_come_in_one_transaction(world):
    first, second = of_region_b(r.intervention("both-1")), of_region_b(r.fk_signal("both-2"))
    answer = world.send(bundle(first, second))
    created = [e["response"] for e in answer.json()["entry"] if e["response"]["status"] == "201 Created"]
    assert len(created) == 2
    assert {"both-1", "both-2"} <= received(world).keys()


def test_what_a_record_cannot_hold_is_named_in_the_answer_and_kept_with_it(world):
    sent = package("lossy")
    focus_of(sent)["description"] = "words that no row reads"
    told = world.send(sent).json()["entry"][0]["response"]
    assert told["outcome"]["issue"][0]["severity"] == "warning"
    assert told["outcome"]["issue"][0]["expression"] == ["Task.description"]
    assert received(world)["lossy"]["losses"] == [{"code": "mapping.lost", "where": "Task.description"}]


def test_a_newer_version_of_a_record_becomes_its_next_version(world):
    world.send(package("grows"))
    answer = world.send(package("grows", version=2, note="more")).json()["entry"][0]["response"]
    assert (answer["status"], answer["etag"]) == ("200 OK", 'W/"2"')


def test_an_older_version_that_comes_late_is_acknowledged_and_ignored(world):
    world.send(package("late", version=5))
    answer = world.send(package("late", version=4, note="older")).json()["entry"][0]["response"]
    assert (answer["status"], answer["etag"]) == ("200 OK", 'W/"1"')
    assert received(world)["late"]["record"]["version"] == 5


def test_one_version_has_one_content(world):
    world.send(package("one"))
    before = world.stored()
    answer = world.send(package("one", note="another note"))
    assert refused(world, answer, before) == (409, "exchange.same-version")


def test_a_transaction_says_which_version_it_changes(world):
    world.send(package("conditional"))
    second = package("conditional", version=2)
    second["entry"][0]["request"]["ifMatch"] = 'W/"7"'
    before = world.stored()
    assert refused(world, world.send(second), before) == (412, "store.stale-version")
    second["entry"][0]["request"]["ifMatch"] = 'W/"1"'
    assert world.send(second).json()["entry"][0]["response"]["etag"] == 'W/"2"'


def test_a_transaction_may_demand_that_a_record_is_new(world):
    sent = package("only-new")
    sent["entry"][0]["request"]["ifNoneMatch"] = "*"
    assert world.send(sent).status_code == 200
    before = world.stored()
    assert refused(world, world.send(sent), before) == (412, "store.stale-version")


def test_a_repeat_without_a_request_id_makes_no_duplicate(world):
    sent = package("repeat")
    world.send(sent)
    before = world.stored()
    answer = world.send(sent).json()["entry"][0]["response"]
    assert (answer["status"], answer["etag"]) == ("200 OK", 'W/"1"')
    assert world.stored()["record"] == before["record"]


def test_the_same_request_again_gets_the_same_answer_and_no_effect(world):
    mine, sent = request_id(), package("again")
    first = world.send(sent, x_request_id=mine)
    before = world.stored()
    second = world.send(sent, x_request_id=mine)
    assert "x-replayed" not in first.headers
    assert second.headers["x-replayed"] == "true"
    assert second.content == first.content
    assert world.stored() == before


def test_the_answer_to_a_request_stays_the_same_when_the_record_has_moved_on(world):
    mine, sent = request_id(), package("moved")
    first = world.send(sent, x_request_id=mine)
    world.send(package("moved", version=2))
    assert world.send(sent, x_request_id=mine).content == first.content


def test_a_request_id_belongs_to_one_body(world):
    mine = request_id()
    world.send(package(), x_request_id=mine)
    before = world.stored()
    answer = world.send(package(), x_request_id=mine)
    assert refused(world, answer, before) == (409, "store.duplicate-request")
    assert answer.json()["issue"][0]["code"] == "duplicate"


def test_two_peers_may_use_the_same_request_id(world):
    mine = request_id()
    assert world.send(package(), x_request_id=mine).status_code == 200
    answer = world.send(package(), x_request_id=mine, caller="clinic")
    assert answer.status_code == 200
    assert "x-replayed" not in answer.headers


# one resource


def one(value, **more):
    return alone(package(value, **more))


def put(world, task, provenance, **headers):
    return world.send(task, method="PUT", path=f"/fhir/Task/{task['id']}", x_provenance=provenance, **headers)


def test_a_resource_alone_is_created_with_its_provenance(world):
    task, provenance = one("alone")
    answer = world.send(task, path="/fhir/Task", x_provenance=provenance)
    assert answer.status_code == 201
    base, _, place = answer.headers["location"].partition("/fhir/")
    assert base == "https://127.0.0.1:8443"
    assert place.startswith("Task/")
    assert place.endswith("/_history/1")
    assert answer.headers["etag"] == 'W/"1"'
    assert received(world)["alone"]["record"]["provider"] == {"hsa_id": IDS_OF["region-b"]}


def plan(value):
    return {
        "record": "CarePlan",
        "id": {"system": r.IDS, "value": value},
        "kind": "rehabiliteringsplan",
        "title": "Plan",
        "state": "active",
        **r.parties(),
        "author": r.STAFF,
        "created_on": "2026-11-20",
    }


def test_a_record_that_a_resource_contains_needs_its_own_provenance_too(world):
    both = bundle(of_region_b(r.intervention("outer")), of_region_b(plan("inner")))
    whole = json.dumps([entry["resource"] for entry in both["entry"]])
    for entry in both["entry"][1:]:
        name = entry["request"]["url"]
        whole = whole.replace(f'"{name}"', f'"#{name.partition("/")[2]}"')
    task, *others = json.loads(whole.replace(f'"{both["entry"][0]["request"]["url"]}"', '"#"'))
    provenances = [each for each in others if each["resourceType"] == "Provenance"]
    assert len(provenances) == 2
    before = world.stored()
    (of_the_task,) = [each for each in provenances if each["target"][0]["reference"] == "#"]
    alone_inside = task | {"contained": [each for each in others if each not in provenances or each is of_the_task]}
    assert refused(world, world.send(alone_inside, path="/fhir/Task"), before) == (400, "record.required")
    answer = world.send(task | {"contained": others}, path="/fhir/Task")
    assert answer.status_code == 201
    assert answer.headers["location"].partition("/fhir/")[2].startswith("Task/")
    assert {"outer", "inner"} <= received(world).keys()


def test_without_provenance_nobody_knows_whose_a_resource_is(world):
    task, _ = one("nobodys")
    before = world.stored()
    status, code = refused(world, world.send(task, path="/fhir/Task"), before)
    assert (status, code) == (400, "record.required")


def test_a_write_is_answered_without_the_content(world):
    for preference, is_told in [
        ("return=minimal", False),
        ("return=representation", True),
        ("respond-async, return=OperationOutcome", True),
    ]:
        task, provenance = one(fresh("answer"))
        answer = world.send(task, path="/fhir/Task", x_provenance=provenance, prefer=preference)
        assert answer.status_code == 201
        assert (answer.content != b"") == is_told
        if is_told:
            assert codes(answer) == ["exchange.stored"]


def test_what_is_lost_of_one_resource_is_told_even_to_who_wants_little(world):
    task, provenance = one("lossy-alone")
    task["description"] = "words that no row reads"
    answer = world.send(task, path="/fhir/Task", x_provenance=provenance, prefer="return=minimal")
    assert answer.status_code == 201
    assert codes(answer) == ["mapping.lost"]


def test_a_record_is_created_once(world):
    task, provenance = one("twice")
    world.send(task, path="/fhir/Task", x_provenance=provenance)
    before = world.stored()
    again = world.send(task, path="/fhir/Task", x_provenance=provenance)
    assert refused(world, again, before) == (409, "exchange.exists")
    assert again.json()["issue"][0]["code"] == "conflict"


def test_an_update_that_is_sent_again_is_answered_again(world):
    task, provenance = one("again-alone")
    mine = request_id()
    first = put(world, task, provenance, x_request_id=mine)
    second = put(world, task, provenance, x_request_id=mine)
    assert (first.status_code, second.status_code, second.headers["x-replayed"]) == (201, 201, "true")
    assert second.headers["location"] == first.headers["location"]


def test_an_update_names_the_version_that_it_changes(world):
    task, provenance = one("known")
    first = put(world, task, provenance)
    assert (first.status_code, first.headers["etag"]) == (201, 'W/"1"')
    assert first.headers["location"].endswith(f"/fhir/Task/{task['id']}/_history/1")

    newer, provenance = one("known", version=2)
    before = world.stored()
    assert refused(world, put(world, newer, provenance), before) == (428, "exchange.version-required")
    assert refused(world, put(world, newer, provenance, if_match='W/"9"'), before) == (412, "store.stale-version")
    assert refused(world, put(world, newer, provenance, if_none_match="*"), before) == (412, "store.stale-version")
    second = put(world, newer, provenance, if_match='W/"1"')
    assert (second.status_code, second.headers["etag"]) == (200, 'W/"2"')


def test_an_update_of_what_is_not_there_is_stale(world):
    task, provenance = one("not-there")
    before = world.stored()
    assert refused(world, put(world, task, provenance, if_match='W/"1"'), before) == (412, "store.stale-version")


@pytest.mark.parametrize(
    "headers",
    [
        {"if_match": "1"},
        {"if_match": "*"},
        {"if_match": 'W/"1", W/"2"'},
        {"if_match": 'W/"0"'},
        {"if_match": 'W/"১"'.encode()},
        {"if_match": 'W/"99999999999999999999"'},
        {"if_match": 'W/"1"', "if_none_match": "*"},
        {"if_none_match": 'W/"1"'},
    ],
)
def test_a_condition_is_one_version_as_it_was_told(world, headers):
    task, provenance = one(fresh("etag"))
    before = world.stored()
    assert refused(world, put(world, task, provenance, **headers), before) == (400, "exchange.etag")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("{}", "exchange.provenance"),
        ('{"resourceType":"Patient"}', "exchange.provenance"),
        ('{"resourceType":"Provenance","target":[{"reference":"Task/other"}]}', "exchange.provenance"),
        ("[]", "wire.not-an-object"),
        ("191212121212", "wire.not-an-object"),
        ('{"a":1,"a":2}', "wire.duplicate-key"),
        ("<Provenance/>", "wire.json"),
        ('{"resourceType":"Provenance","reason":"å"}'.encode(), "exchange.provenance"),
    ],
)
def test_a_provenance_header_is_one_provenance_without_target(world, header, code):
    task, _ = one(fresh("header"))
    before = world.stored()
    assert refused(world, world.send(task, path="/fhir/Task", x_provenance=header), before) == (400, code)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/fhir/CarePlan", "exchange.other-type"),
        ("PUT", "/fhir/Consent/{id}", "exchange.other-type"),
        ("PUT", "/fhir/Task/another-id", "exchange.other-id"),
        ("PUT", "/fhir/Task/not_an_id", "exchange.other-id"),
        ("PUT", "/fhir/Task/191212121212%20", "exchange.other-id"),
        ("PUT", f"/fhir/Task/{'a' * 65}", "exchange.other-id"),
        ("POST", "/fhir/Task?identifier=x|1", "exchange.parameter"),
        ("PUT", "/fhir/Task/{id}?upsert=true", "exchange.parameter"),
        ("POST", "/fhir?_format=json&_format=json", "exchange.parameter"),
        ("POST", "/fhir/Patient", "exchange.unsupported-type"),
        ("PUT", "/fhir/AuditEvent/1", "exchange.unsupported-type"),
    ],
)
def test_address_and_resource_agree(world, method, path, code):
    task, provenance = one(fresh("place"))
    before = world.stored()
    answer = world.send(task, method=method, path=path.format(id=task["id"]), x_provenance=provenance)
    status = 404 if code == "exchange.unsupported-type" else 400
    assert refused(world, answer, before) == (status, code)


def test_a_conditional_create_is_refused_and_no_duplicate(world):
    task, provenance = one("conditional-create")
    before = world.stored()
    answer = world.send(task, path="/fhir/Task", x_provenance=provenance, if_none_exist="identifier=x")
    assert refused(world, answer, before) == (400, "exchange.conditional")


# refusals: nothing is stored, and nobody is named

DEEP = b'{"resourceType":"Bundle","x":' * 70 + b"1" + b"}" * 70
MALFORMED_JSON = {
    "nothing": (b"", "wire.json"),
    "a word": (b"hello", "wire.json"),
    "half": (b'{"resourceType":"Bundle"', "wire.json"),
    "two": (b"{}{}", "wire.trailing"),
    "a list": (b"[]", "wire.not-an-object"),
    "a number": (b"191212121212", "wire.not-an-object"),
    "null": (b"null", "wire.not-an-object"),
    "a key twice": (b'{"resourceType":"Bundle","id":"191212121212","id":"b"}', "wire.duplicate-key"),
    "NaN": (b'{"resourceType":"Bundle","total":NaN}', "wire.constant"),
    "a huge number": (b'{"resourceType":"Bundle","total":1e99999}', "wire.number"),
    "a mark before it": (b'\xef\xbb\xbf{"resourceType":"Bundle"}', "wire.bom"),
    "UTF-16": ('{"resourceType":"Bundle"}'.encode("utf-16-le"), "wire.json"),
    "Latin-1": ('{"resourceType":"Bundle","id":"å"}'.encode("latin-1"), "wire.encoding"),
    "half a pair": (b'{"resourceType":"Bundle","id":"\\ud800"}', "wire.surrogate"),
    "too deep": (DEEP, "wire.depth"),
    "a comment": (b'{"resourceType":"Bundle"/* 191212121212 */}', "wire.json"),
    "a trailing comma": (b'{"resourceType":"Bundle",}', "wire.json"),
    "XML": (b'<Bundle xmlns="http://hl7.org/fhir"/>', "wire.json"),
}


@pytest.mark.parametrize("name", MALFORMED_JSON)
def test_malformed_json_is_refused(world, name):
    body, code = MALFORMED_JSON[name]
    before = world.stored()
    assert refused(world, world.send(body), before) == (400, code)


FHIR = 'xmlns="http://hl7.org/fhir"'
MALFORMED_XML = {
    "nothing": ("", "wire.xml"),
    "half": (f"<Bundle {FHIR}>", "wire.xml"),
    "two": (f"<Bundle {FHIR}/><Bundle {FHIR}/>", "wire.xml"),
    "a doctype": (f"<!DOCTYPE Bundle><Bundle {FHIR}/>", "wire.doctype"),
    "an entity": (
        f'<!DOCTYPE a [<!ENTITY b "191212121212">]><Bundle {FHIR}><id value="&b;"/></Bundle>',
        "wire.doctype",
    ),
    "a file": (
        f'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><Bundle {FHIR}><id value="&b;"/></Bundle>',
        "wire.doctype",
    ),
    "an instruction": (f'<?xml-stylesheet href="x"?><Bundle {FHIR}/>', "wire.instruction"),
    "no namespace": ("<Bundle/>", "wire.namespace"),
    "another namespace": ('<Bundle xmlns="urn:hl7-org:v3"/>', "wire.namespace"),
    "an unknown element": (f"<Bundle {FHIR}><patient191212121212/></Bundle>", "wire.unknown-element"),
    "an unknown attribute": (f'<Bundle {FHIR} note="191212121212"/>', "wire.unknown-attribute"),
    "text": (f"<Bundle {FHIR}>191212121212</Bundle>", "wire.text"),
    "the wrong order": (f'<Bundle {FHIR}><type value="transaction"/><id value="a"/></Bundle>', "wire.order"),
    "an element twice": (f'<Bundle {FHIR}><id value="a"/><id value="b"/></Bundle>', "wire.repeated"),
    "JSON": ('{"resourceType":"Bundle"}', "wire.xml"),
}


@pytest.mark.parametrize("name", MALFORMED_XML)
def test_malformed_xml_is_refused(world, name):
    body, code = MALFORMED_XML[name]
    before = world.stored()
    answer = world.send(body.encode(), content_type="application/fhir+xml", accept="application/fhir+json")
    assert refused(world, answer, before) == (400, code)


@given(st.binary(max_size=200), st.sampled_from(["application/fhir+json", "application/fhir+xml"]))
def test_no_bytes_make_the_server_fail(world, body, content_type):
    before = world.stored()
    answer = world.send(body, content_type=content_type, accept="application/fhir+json")
    assert 400 <= answer.status_code < 500
    assert codes(answer)
    assert world.stored() == before


def places(node, path=()):
    """Every place in a JSON value."""
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in items:
        yield from places(value, (*path, name))


WHOLE = package("mutated")
VALUES = st.sampled_from(
    [None, True, 0, -1, 1.5, "", " ", "191212121212", "x" * 5000, [], {}, [None], {"a": {}}, "#x", "Task/x"]
)


@given(st.lists(st.tuples(st.sampled_from(list(places(WHOLE))[1:]), VALUES), min_size=1, max_size=3))
def test_no_change_to_a_package_makes_the_server_fail_or_name_the_patient(world, changes):
    sent = copy.deepcopy(WHOLE)
    for path, value in changes:
        node = sent
        try:
            for step in path[:-1]:
                node = node[step]
            node[path[-1]] = copy.deepcopy(value)
        except (LookupError, TypeError):
            continue  # an earlier change took the place away
    before = world.stored()
    answer = world.send(sent)
    assert answer.status_code < 500
    if answer.status_code >= 400:
        assert refused(world, answer, before)


def changed(path, value):
    """A transaction with one value changed at a path like ``entry.0.request.url``; ``...`` takes it away."""

    def change(sent):
        *above, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        node = sent
        for step in above:
            node = node[step]
        if value is ...:
            del node[last]
        else:
            node[last] = value

    return change


TASK = "entry.0.resource"
REFUSED = {
    "an unknown field": (changed(f"{TASK}.favourite", "blue"), 400),
    "an unknown status": (changed(f"{TASK}.status", "banana"), 400),
    "no status": (changed(f"{TASK}.status", ...), 400),
    "a status that is a number": (changed(f"{TASK}.status", 7), 400),
    "a list where one stands": (changed(f"{TASK}.status", ["requested"]), 400),
    "a date that is none": (changed(f"{TASK}.authoredOn", "2026-02-30"), 400),
    "an empty text": (changed(f"{TASK}.description", ""), 400),
    "null": (changed(f"{TASK}.description", None), 400),
    "an empty object": (changed(f"{TASK}.for", {}), 400),
    "an unknown type": (changed(TASK, {"resourceType": "Taskk", "id": "a"}), 400),
    "no type": (changed(f"{TASK}.resourceType", ...), 400),
    "a code of another list": (changed(f"{TASK}.code.coding.0.code", "banana"), 422),
    "no code of ours": (changed(f"{TASK}.code", {"coding": [{"system": "http://example.org", "code": "x"}]}), 400),
    "a modifier that nobody knows": (
        changed(f"{TASK}.modifierExtension", [{"url": "http://example.org/not", "valueBoolean": True}]),
        422,
    ),
    "implicit rules": (changed(f"{TASK}.implicitRules", "http://example.org/rules"), 422),
    "no patient": (changed(f"{TASK}.for", ...), 400),
    "batch": (changed("type", "batch"), 400),
    "message": (changed("type", "message"), 400),
    "collection": (changed("type", "collection"), 400),
    "no type of Bundle": (changed("type", ...), 400),
    "no Bundle": (changed("resourceType", "Parameters"), 400),
    "entries that are no list": (changed("entry", {"resource": {}}), 400),
    "an entry that is no object": (changed("entry.0", "191212121212"), 400),
    "an entry without request": (changed("entry.0.request", ...), 400),
    "an entry without resource": (changed(TASK, ...), 400),
    "a read inside": (changed("entry.0.request.method", "GET"), 400),
    "a deletion inside": (changed("entry.0.request.method", "DELETE"), 400),
    "a patch inside": (changed("entry.0.request.method", "PATCH"), 400),
    "another type in the url": (changed("entry.0.request.url", "CarePlan/a"), 400),
    "another id in the url": (changed("entry.0.request.url", "Task/another"), 400),
    "a search in the url": (changed("entry.0.request.url", "Task?identifier=191212121212"), 400),
    "an absolute url": (changed("entry.0.request.url", "https://other.example/Task/a"), 400),
    "an id that is none": (changed(f"{TASK}.id", "not an id"), 400),
    "a conditional create": (changed("entry.0.request.ifNoneExist", "identifier=x"), 400),
    "a condition that is none": (changed("entry.0.request.ifMatch", "1"), 400),
    "a condition on a part": (changed("entry.2.request.ifMatch", 'W/"1"'), 400),
    "nothing": (changed("entry", []), 400),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("form", ["application/fhir+json", "application/json"])
def test_a_transaction_that_is_wrong_anywhere_leaves_nothing(world, name, form):
    change, status = REFUSED[name]
    sent = copy.deepcopy(package(fresh("wrong")))
    change(sent)
    before = world.stored()
    answer = world.send(sent, content_type=form)
    found, _ = refused(world, answer, before)
    assert found in {status, 422}
    assert all(issue["diagnostics"] for issue in answer.json()["issue"])


def test_every_fault_of_the_entries_is_told_at_once(world):
    sent = package(fresh("many"))
    sent["entry"][0]["request"]["method"] = "GET"
    sent["entry"][1]["request"]["url"] = "Patient/x"
    answer = world.send(sent)
    assert [issue["expression"] for issue in answer.json()["issue"]] == [
        ["Bundle.entry[0].request"],
        ["Bundle.entry[1].request"],
    ]


def test_one_package_is_about_one_patient(world):
    sent = bundle(of_region_b(r.intervention(fresh())), of_region_b(r.intervention(fresh(), number=OTHERS_NUMBER)))
    before = world.stored()
    assert refused(world, world.send(sent), before) == (422, "exchange.several-patients")


def block(**more):
    return {
        "record": "Block",
        "id": {"system": r.IDS, "value": fresh("block")},
        "kind": "outer",
        "patient": r.patient(),
        "provider": {"hsa_id": IDS_OF["region-b"]},
        "set_on": "2026-11-01",
        **more,
    }


@pytest.mark.parametrize(
    "document",
    [
        r.intervention("ours"),
        r.consent("ours", "interventions"),
        block(),
        block(provider={"hsa_id": r.PROVIDER}),
        r.consent("theirs", "interventions") | {"provider": {"hsa_id": "TSTNMT2321000024-C000"}},
    ],
    ids=["our record", "our consent", "their block", "our block", "a third provider's consent"],
)
def test_a_peer_writes_in_no_other_name(world, document):
    before = world.stored()
    assert refused(world, world.send(bundle(document)), before) == (403, "exchange.not-yours")


def test_a_peers_consent_is_kept_and_opens_nothing(world):
    number = "196101182803"
    world.hand_over(r.submission(r.intervention("guarded", number=number)))
    world.send(bundle(of_region_b(r.consent("opened", "interventions", number=number))))
    form = {"patient:identifier": f"http://electronichealth.se/identifier/personnummer|{number}"}
    answer = world.call("region-b", "POST", "/fhir/Task/_search", data=form)
    assert answer.json() == {"resourceType": "Bundle", "type": "searchset"}
    assert "opened" in received(world)


def test_a_body_over_the_limit_is_refused(world):
    before = world.stored()
    answer = world.send(b'{"x":"' + b"1" * 1_000_000 + b'"}')
    assert answer.status_code == 413
    assert codes(answer) == ["server.too-large"]
    assert world.stored() == before


def test_a_compressed_body_is_refused(world):
    before = world.stored()
    answer = world.send(b"\x1f\x8b\x08", content_encoding="gzip")
    assert (answer.status_code, codes(answer)) == (415, ["server.encoded"])
    assert world.stored() == before


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/json; charset=latin-1",
        "application/fhir+json; fhirVersion=3.0",
        "application/fhir+json; fhirVersion=",
        "application/x-ndjson",
    ],
)
def test_a_body_says_what_it_is(world, content_type):
    before = world.stored()
    assert refused(world, world.send(package(), content_type=content_type), before) == (415, "exchange.media-type")
