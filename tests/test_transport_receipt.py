from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.definitions import definitions
from adapter.errors import catalogue
from adapter.transport.receipt import LONGEST_PAUSE_S, Answer, Receipt, judge
from adapter.wire import json, xml
from tests.peers import outcome, response

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FHIR = "application/fhir+json; charset=utf-8"


def judged(status, resource=None, *, must_echo=True, **changes):
    body = b"" if resource is None else json.write(resource)
    parts = {"content_type": FHIR, "request_id": "r-1", "body": body} | changes
    return judge(Answer(status, **parts), request_id="r-1", must_echo=must_echo, now=NOW)


RETRY_WHATEVER = {408: "peer.slow", 429: "peer.busy", 503: "peer.busy", 504: "peer.slow"}


@pytest.mark.parametrize("status", RETRY_WHATEVER)
@pytest.mark.parametrize("body", [{"request_id": ""}, {"body": b"<html>", "content_type": "text/html"}, {}])
def test_a_peer_or_proxy_that_asks_for_time_gets_it(status, body):
    receipt = judged(status, outcome("throttled"), **body)
    assert (receipt.outcome, receipt.reason) == ("retry", RETRY_WHATEVER[status])


@pytest.mark.parametrize(
    ("status", "issue", "expected"),
    [
        (400, "structure", ("quarantine", "peer.rejected", None)),
        (401, "login", ("refused", "peer.login", None)),
        (403, "forbidden", ("refused", "peer.forbidden", None)),
        (404, "not-found", ("quarantine", "peer.rejected", None)),
        (405, "not-supported", ("quarantine", "peer.rejected", None)),
        (409, "conflict", ("quarantine", "peer.conflict", None)),
        (409, "duplicate", ("duplicate", "", None)),
        (410, "deleted", ("quarantine", "peer.rejected", None)),
        (412, "conflict", ("quarantine", "peer.conflict", None)),
        (413, "too-long", ("quarantine", "peer.rejected", None)),
        (415, "not-supported", ("quarantine", "peer.rejected", None)),
        (422, "business-rule", ("quarantine", "peer.rejected", None)),
        (422, "duplicate", ("quarantine", "peer.rejected", None)),
        (428, "required", ("quarantine", "peer.rejected", None)),
        (500, "exception", ("retry", "peer.error", 3)),
        (501, "not-supported", ("retry", "peer.error", 3)),
        (502, "transient", ("retry", "peer.error", 3)),
    ],
)
def test_the_peers_own_refusal_is_judged_by_its_status(status, issue, expected):
    receipt = judged(status, outcome(issue))
    assert (receipt.outcome, receipt.reason, receipt.at_most) == expected
    assert receipt.issue == issue


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 413, 422, 500, 502])
@pytest.mark.parametrize(
    "strange",
    [
        {"request_id": ""},
        {"request_id": "r-2"},
        {"request_id": "r-1, r-1"},
        {"body": b""},
        {"body": b"<html></html>", "content_type": "text/html"},
        {"content_type": "text/plain"},
        {"content_type": ""},
        {"body": b'{"error":"invalid_token"}', "content_type": "application/json"},
        {"body": json.write({"resourceType": "Patient"})},
        {"body": json.write(outcome("login"))[:-1]},
        {"body": b'{"resourceType":"OperationOutcome","resourceType":"OperationOutcome"}'},
        {"body": b"[]"},
    ],
)
def test_an_answer_that_is_not_the_peers_own_is_a_reason_to_try_again(status, strange):
    receipt = judged(status, outcome("login"), **strange)
    assert (receipt.outcome, receipt.reason, receipt.at_most) == ("retry", "peer.not-the-peer", None)


def test_a_peer_that_does_not_repeat_request_ids_is_believed_where_the_settings_say_so():
    assert judged(200, response("200 OK"), request_id="", must_echo=False).outcome == "delivered"
    assert judged(422, outcome("invalid"), request_id="", must_echo=False).outcome == "quarantine"
    assert judged(200, response("200 OK"), request_id="", must_echo=True).reason == "peer.not-the-peer"


@pytest.mark.parametrize("status", [200, 201, 207])
def test_only_an_answer_to_a_transaction_means_delivered(status):
    assert judged(status, response("200 OK", "201 Created", "204")) == Receipt("delivered", "", status, echoed=True)


@pytest.mark.parametrize(
    "resource",
    [
        None,
        outcome("informational"),
        {"resourceType": "Bundle"},
        {"resourceType": "Bundle", "type": "batch-response", "entry": []},
        {"resourceType": "Bundle", "type": "searchset"},
        {"resourceType": "Parameters"},
    ],
)
@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_other_success_is_no_acknowledgement(status, resource):
    assert judged(status, resource).reason == "peer.garbage"


@pytest.mark.parametrize(
    "entries",
    [
        [{"response": {"status": "200"}}, {"response": {"status": "422 Unprocessable"}}],
        [{"response": {"status": "500"}}],
        [{"response": {"status": "2"}}, {"response": {"status": 200}}],
        [{"response": {}}],
        [{}],
        [None],
        "all",
        None,
    ],
)
def test_a_transaction_with_a_failed_or_silent_entry_goes_to_a_human(entries):
    resource = {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
    receipt = judged(200, resource)
    assert (receipt.outcome, receipt.reason) == ("quarantine", "peer.entry-failed")


def test_answers_in_xml_are_read_as_well():
    body = xml.write(outcome("duplicate"))
    assert judged(409, body=body, content_type="application/fhir+xml").outcome == "duplicate"
    assert judged(409, body=body, content_type="application/fhir+json").reason == "peer.not-the-peer"
    body = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + body
    assert judged(409, body=body, content_type="application/fhir+xml").reason == "peer.not-the-peer"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("999999999999999999999", LONGEST_PAUSE_S),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        (format_datetime(NOW + timedelta(days=400), usegmt=True), LONGEST_PAUSE_S),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("٣", None),
        ("Fri, 99 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert judged(503, outcome("throttled"), retry_after=header).retry_after_s == seconds


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_an_answer(status):
    assert judged(status, response("200 OK")).reason == "peer.redirect"


def test_what_a_peer_writes_is_kept_only_as_codes_of_fhir():
    told = outcome("191212121212") | {"text": {"div": "Tolvan"}}
    assert "1912" not in repr(judged(422, told)) + repr(judged(500, told))
    assert judged(422, told).issue == ""


ISSUES = sorted(definitions("R4").codes("http://hl7.org/fhir/ValueSet/issue-type").all)
RESOURCES = st.one_of(
    st.none(),
    st.builds(outcome, st.sampled_from(ISSUES)),
    st.builds(response, st.sampled_from(["200", "201 Created", "404", "500 x", ""])),
    st.recursive(
        st.none() | st.integers(0, 9) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["resourceType", "type", "entry", "issue"]), inner)
        ),
        max_leaves=8,
    ),
)


@given(
    status=st.integers(100, 599),
    resource=RESOURCES,
    request_id=st.sampled_from(["r-1", "", "other"]),
    content_type=st.sampled_from([FHIR, "application/json", "text/html", "", "application/fhir+xml"]),
)
def test_every_answer_is_judged_and_only_a_true_acknowledgement_ends_the_sending(
    status, resource, request_id, content_type
):
    receipt = judged(status, resource, request_id=request_id, content_type=content_type)
    if receipt.outcome in {"delivered", "duplicate", "refused", "quarantine"}:
        assert receipt.echoed
        assert isinstance(resource, dict)
        assert content_type in {FHIR, "application/json"}
    if receipt.outcome == "delivered":
        assert resource["type"] == "transaction-response"
        assert 100 <= status < 300
    if receipt.reason:
        assert catalogue(receipt.reason)
    assert receipt.exposed


@given(
    body=st.binary(max_size=200),
    content_type=st.sampled_from([FHIR, "application/fhir+xml"]),
    status=st.integers(200, 599),
)
def test_noise_breaks_nothing_and_acknowledges_nothing(body, content_type, status):
    assert judged(status, body=body, content_type=content_type).outcome == "retry"
