"""What care providers read: the gate's bytes or nothing, and what they may not have looks like what is not there."""

from __future__ import annotations

import pytest
import region as r
from service_world import CANARIES, bundle, codes, fresh, of_region_b, request_id, serving

from adapter.domain import BusinessId
from adapter.store import audit
from adapter.validation import validate
from adapter.wire import xml

pytestmark = pytest.mark.processes

PERSONNUMMER = "http://electronichealth.se/identifier/personnummer"
OPEN, CLOSED = "191212121212", "195009072553"
"""One patient has consented to interventions, the other has not."""
NEVER_SEEN = "196101182803"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service")) as world:
        document = r.submission(
            r.consent("c-open", "interventions", number=OPEN),
            r.intervention("i-open", number=OPEN),
            r.fk_signal("f-open", number=OPEN),
            r.intervention("i-closed", number=CLOSED),
        )
        assert world.hand_over(document).status_code == 202
        yield world


def logical_id(world, value):
    return world.adapter.record_id("@local", BusinessId(system=r.IDS, value=value))


def search(world, number, *, caller="region-b", resource_type="Task", system=PERSONNUMMER, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    form = {"patient:identifier": f"{system}|{number}"}
    return world.call(caller, "POST", f"/fhir/{resource_type}/_search", data=form, headers=named)


def read(world, value, *, caller="region-b", resource_type="Task", method="GET", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return world.call(caller, method, f"/fhir/{resource_type}/{logical_id(world, value)}", headers=named)


def seen(response):
    """What an outsider can compare: all but the ids of the call and the time."""
    own = {"x-request-id", "x-correlation-id", "date"}
    return response.status_code, {n: v for n, v in response.headers.items() if n not in own}, response.content


def matches(response):
    return {
        entry["resource"]["identifier"][0]["value"]
        for entry in response.json().get("entry", ())
        if entry["search"]["mode"] == "match"
    }


def test_a_search_gives_a_patients_records_of_one_type(world):
    answer = search(world, OPEN)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/fhir+json"
    assert {"i-open"} <= matches(answer)
    found = answer.json()
    assert (found["type"], "total" in found, "link" in found) == ("searchset", False, False)
    assert [fault for fault in validate(found) if fault.severity == "error"] == []


def test_the_alternative_systems_of_a_number_find_the_same(world):
    other = search(world, OPEN, system="urn:oid:1.2.752.129.2.1.3.1")
    assert matches(other) == matches(search(world, OPEN))


def test_what_a_search_has_found_can_be_read(world):
    for entry in search(world, OPEN).json()["entry"]:
        if entry["search"]["mode"] == "match":
            resource = entry["resource"]
            answer = world.call("region-b", "GET", f"/fhir/Task/{resource['id']}")
            assert answer.status_code == 200
            assert answer.json()["id"] == resource["id"]
            assert answer.json()["identifier"] == resource["identifier"]


def test_a_read_gives_the_resource_and_its_version(world):
    answer = read(world, "i-open")
    assert answer.status_code == 200
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["id"] == logical_id(world, "i-open")
    assert [fault for fault in validate(answer.json()) if fault.severity == "error"] == []


@pytest.mark.parametrize("how", [{"accept": "application/fhir+xml"}, {"accept": "application/xml"}])
def test_reads_and_searches_come_in_xml_too(world, how):
    one, many = read(world, "i-open", **how), search(world, OPEN, **how)
    assert one.headers["content-type"] == many.headers["content-type"] == "application/fhir+xml"
    assert xml.read(one.content)["id"] == logical_id(world, "i-open")
    assert xml.read(many.content)["type"] == "searchset"


def test_what_the_caller_has_already_is_not_sent_again(world):
    for tags in ('W/"1"', '"1"', 'W/"7", W/"1"'):
        answer = read(world, "i-open", if_none_match=tags)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", 'W/"1"')
    assert read(world, "i-open", if_none_match='W/"2"').status_code == 200


def test_a_version_that_may_not_be_read_is_not_confirmed(world):
    answer = read(world, "i-closed", if_none_match='W/"1"')
    assert seen(answer) == seen(read(world, "i-never-was", if_none_match='W/"1"'))
    assert answer.status_code == 404


def test_a_head_is_the_read_without_its_body(world):
    whole, head = read(world, "i-open"), read(world, "i-open", method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == whole.headers["etag"]


NOTHING = [
    ("GET", "/fhir/Task/{i-closed}"),
    ("GET", "/fhir/Task/{i-never-was}"),
    ("GET", "/fhir/Task/{c-open}"),
    ("GET", "/fhir/Task/{peers}"),
    ("GET", "/fhir/Task/x"),
    ("GET", "/fhir/Task/not_an_id"),
    ("GET", "/fhir/Task/%C3%A5"),
]


@pytest.mark.parametrize("form", ["application/fhir+json", "application/fhir+xml"])
def test_what_may_not_be_read_looks_like_what_is_not_there(world, form):
    ids = {name: logical_id(world, name) for name in ("i-closed", "i-never-was", "c-open")}
    ids["peers"] = world.adapter.record_id("region-b", BusinessId(system=r.IDS, value="peers"))
    world.send(bundle(of_region_b(r.intervention("peers", number=OPEN))))
    answers = [
        world.call("region-b", method, path.format_map(ids), headers={"accept": form}) for method, path in NOTHING
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert all(seen(answer) == seen(answers[0]) for answer in answers)
    assert CANARIES.search(answers[0].text) is None


@pytest.mark.parametrize("form", ["application/fhir+json", "application/fhir+xml"])
@pytest.mark.parametrize("resource_type", ["Task", "CarePlan", "Consent"])
def test_a_search_for_what_may_not_be_read_is_a_search_for_nobody(world, form, resource_type):
    closed = search(world, CLOSED, resource_type=resource_type, accept=form)
    nobody = search(world, NEVER_SEEN, resource_type=resource_type, accept=form)
    assert closed.status_code == 200
    assert seen(closed) == seen(nobody)


def test_a_withdrawn_consent_ends_reading_at_once(world):
    number, mine, given = "196101182803", fresh("i"), r.consent(fresh("c"), "interventions", number="196101182803")
    world.hand_over(r.submission(given, r.intervention(mine, number=number)))
    assert read(world, mine).status_code == 200
    world.hand_over(r.submission(r.withdrawn(given)))
    assert seen(read(world, mine)) == seen(read(world, "i-never-was"))
    assert matches(search(world, number)) == set()


def test_a_search_that_finds_nobody_is_logged_as_well(world):
    before = world.stored()
    search(world, "199008252398")
    found = world.adapter.store.read(audit.entries, after=before["audit"]).result()
    logged = [(each.entry.event, each.entry.outcome, each.entry.reason) for each in found]
    assert logged.count(("record.searched", "refused", "exchange.not-found")) == 1


def test_every_read_is_entered_in_the_log_with_what_was_disclosed(world):
    before = world.stored()
    mine = request_id()
    for _ in range(2):  # also a second time under the same id: reads are not replayed
        assert read(world, "i-open", x_request_id=mine).status_code == 200
    after = world.stored()
    assert (after["disclosure"] - before["disclosure"], after["audit"] - before["audit"]) == (2, 2)


def test_what_is_refused_is_logged_and_discloses_nothing(world):
    before = world.stored()
    read(world, "i-closed")
    search(world, CLOSED)
    after = world.stored()
    assert (after["disclosure"] - before["disclosure"], after["audit"] - before["audit"]) == (0, 2)
    last = world.adapter.store.read(audit.entries, after=before["audit"]).result()
    assert {entry.entry.outcome for entry in last} == {"refused"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "exchange.search-parameter"),
        ("identifier=x", "exchange.search-parameter"),
        ("patient=Patient/1", "exchange.search-parameter"),
        ("patient.identifier={system}|{number}", "exchange.search-parameter"),
        ("patient:identifier={system}|{number}&code=x", "exchange.search-parameter"),
        ("patient:identifier={system}|{number}&patient:identifier={system}|{number}", "exchange.search-parameter"),
        ("patient:identifier={system}|{number}&_include=*", "exchange.search-parameter"),
        ("patient:identifier={system}|{number}&_has:Task:x=1", "exchange.search-parameter"),
        ("patient:identifier", "exchange.search-parameter"),
        ("&&&&", "exchange.search-parameter"),
        ("patient:identifier=%ff%fe", "exchange.search-parameter"),
        ("patient:identifier=å", "exchange.search-parameter"),
        ("&".join(["patient:identifier=x"] * 1000), "exchange.search-parameter"),
        ("patient:identifier=", "exchange.search-value"),
        ("patient:identifier={number}", "exchange.search-value"),
        ("patient:identifier=|{number}", "exchange.search-value"),
        ("patient:identifier={system}|", "exchange.search-value"),
        ("patient:identifier={system}|{number}x", "exchange.search-value"),
        ("patient:identifier={system}|{number}%0A", "exchange.search-value"),
        ("patient:identifier={system}|{number},{number}", "exchange.search-value"),
        ("patient:identifier={system}|%EF%BC%91%EF%BC%99{number}", "exchange.search-value"),
        ("patient:identifier=http://example.org|{number}", "exchange.search-value"),
        ("patient:identifier=urn:oid:2.5.4.97|2321000016", "exchange.search-value"),
        ("patient:identifier={system}|199913329999", "exchange.search-value"),
    ],
)
def test_a_search_is_by_one_identity_number_and_nothing_else(world, body, code):
    before = world.stored()
    content = body.format(system=PERSONNUMMER, number=OPEN).encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = world.call("region-b", "POST", "/fhir/Task/_search", content=content, headers=headers)
    assert (answer.status_code, codes(answer)) == (400, [code])
    assert CANARIES.search(answer.text) is None
    assert world.stored() == before


def test_a_search_body_that_is_no_form_is_refused(world):
    answer = world.call("region-b", "POST", "/fhir/Task/_search", json={"patient:identifier": "x"})
    assert (answer.status_code, codes(answer)) == (415, ["exchange.media-type"])


@pytest.mark.parametrize("path", ["/fhir/Task", "/fhir/Task/_search", "/fhir/CarePlan"])
def test_a_search_in_the_address_is_told_how_to_ask(world, path):
    answer = world.call("region-b", "GET", path, params={"patient:identifier": f"{PERSONNUMMER}|{OPEN}"})
    assert (answer.status_code, codes(answer)) == (405, ["exchange.search-by-post"])
    assert answer.headers["allow"] == "POST"
    assert CANARIES.search(answer.text) is None


def test_nothing_but_the_form_is_asked_for_in_an_address(world):
    for path in ("/fhir/Task/_search?_count=1", "/fhir/Task/_search?patient:identifier=x"):
        answer = world.call("region-b", "POST", path, data={"patient:identifier": f"{PERSONNUMMER}|{OPEN}"})
        assert (answer.status_code, codes(answer)) == (400, ["exchange.parameter"])
    for query in ("_summary=true", "_elements=note", "_format=json&x=1"):
        answer = world.call("region-b", "GET", f"/fhir/Task/{logical_id(world, 'i-open')}?{query}")
        assert (answer.status_code, codes(answer)) == (400, ["exchange.parameter"])
