from __future__ import annotations

import time
from datetime import timedelta

import pytest
from store_world import LEASE, OTHER, PERSON, World

from adapter.errors import Conflict, Misconfigured
from adapter.store import audit, destinations, disclosures, outbox, quarantine, records
from adapter.store.destinations import Destination
from adapter.store.outbox import Dead, Refused, Send


@pytest.fixture
def world():
    made = World(Destination("peer", max_inflight=4), Destination("other", max_inflight=2, on_error="skip"))
    yield made
    made.close()


def only(claims):
    [claim] = claims
    return claim


def test_messages_of_one_patient_to_one_destination_go_one_at_a_time_and_in_order(world):
    sent = [world.send() for _ in range(3)]
    seen = []
    for _ in sent:
        claim = only(world.claim())
        assert world.claim() == []
        seen.append(claim.message_id)
        world.attempt(claim, world.delivered())
    assert seen == sent
    assert world.claim() == []


def test_another_patient_or_another_destination_does_not_wait(world):
    world.send(PERSON)
    world.send(OTHER)
    world.send(PERSON, to="other")
    assert len(world.claim()) == 3


def test_a_withdrawal_overtakes_and_is_claimed_first(world):
    world.send(OTHER)
    world.send(PERSON)
    world.later(seconds=1)
    notice = world.send(PERSON, urgent=True)
    claims = world.claim(limit=2)
    assert claims[0].message_id == notice
    assert claims[0].urgent
    assert not claims[1].urgent


def test_a_withdrawal_goes_while_the_ordinary_lane_is_in_flight_or_blocked_by_a_dead_letter(world):
    world.send()
    world.attempt(only(world.claim()), Dead("http.422"))
    world.send()
    assert world.claim() == []
    notice = world.send(urgent=True)
    assert only(world.claim()).message_id == notice


def test_no_more_than_max_inflight_are_claimed_however_often_one_asks(world):
    for number in range(9):
        world.send(f"p|{number}")
    assert [len(world.claim(limit=3)) for _ in range(4)] == [3, 1, 0, 0]
    world.later(seconds=31)
    assert len(world.claim()) == 4


def test_the_destination_with_the_least_under_way_is_served_first(world):
    for number in range(6):
        world.send(f"p|{number}", to="peer")
    assert len(world.claim(limit=2)) == 2
    world.send("p|1", to="other")
    world.send("p|2", to="other")
    assert [claim.destination for claim in world.claim(limit=3)] == ["other", "other", "peer"]


def test_only_names_the_destinations_to_claim_from(world):
    world.send(to="peer")
    world.send(to="other")
    assert [claim.destination for claim in world.claim(only={"other"})] == ["other"]


def test_a_paused_destination_gets_nothing_until_it_is_resumed_and_others_go_on(world):
    world.send(to="peer")
    world.send(to="other")
    world.do(destinations.pause, "peer", who="anna", why="service window", now=world.now)
    assert [claim.destination for claim in world.claim()] == ["other"]
    world.do(destinations.resume, "peer", who="anna", why="done", now=world.now)
    assert [claim.destination for claim in world.claim()] == ["peer"]


def test_a_lease_keeps_others_out_until_it_runs_out(world):
    world.send()
    first = only(world.claim())
    world.now += LEASE - timedelta(microseconds=1)
    assert world.claim() == []
    world.now += timedelta(microseconds=1)
    second = only(world.claim())
    assert (second.message_id, second.fence) == (first.message_id, first.fence + 1)


def test_a_renewed_lease_lasts_longer_and_an_ended_one_cannot_be_renewed(world):
    world.send()
    claim = only(world.claim())
    world.later(seconds=29)
    assert world.do(outbox.renew, claim, now=world.now, lease=LEASE)
    world.later(seconds=29)
    assert world.claim() == []
    world.later(seconds=1)
    assert not world.do(outbox.renew, claim, now=world.now, lease=LEASE)
    only(world.claim())
    assert not world.do(outbox.renew, claim, now=world.now, lease=LEASE)


def test_begin_is_refused_when_the_lease_has_ended_even_if_nobody_took_the_lane(world):
    world.send()
    claim = only(world.claim())
    world.now += LEASE
    assert world.begin(claim).status == "lost"
    assert world.sql("SELECT count(*) FROM attempt") == [(0,)]


def test_a_lease_holds_to_its_last_microsecond_and_a_waiting_message_can_be_taken_back_from_then_on(world):
    message = world.send()
    claim = only(world.claim())
    world.now += LEASE - timedelta(microseconds=1)
    assert not world.do(outbox.block, message, "consent.withdrawn", now=world.now)
    assert world.do(outbox.renew, claim, now=world.now, lease=timedelta(microseconds=2))
    world.later(microseconds=1)
    assert world.begin(claim).status == "started"
    world.later(microseconds=1)
    assert world.do(outbox.block, message, "consent.withdrawn", now=world.now)


def test_a_message_is_ordinary_unless_it_is_said_to_be_urgent():
    assert not Send("peer", "patient", (), "coordination", "case").urgent


def test_a_late_owner_can_neither_begin_nor_complete_once_another_has_the_lane(world):
    world.send()
    late = only(world.claim())
    late_attempt = world.begin(late).attempt
    world.now += LEASE
    present = only(world.claim())
    assert world.begin(late).status == "lost"
    assert not world.complete(
        late, world.delivered(), late_attempt, entries=[audit.Entry("message.delivered", "adapter")]
    )
    assert world.sql("SELECT (SELECT count(*) FROM disclosure), (SELECT count(*) FROM audit)") == [(0, 0)]
    world.attempt(present, world.delivered())
    assert not world.complete(late, world.retry(), late_attempt)
    assert list(world.states().values()) == ["delivered"]


def test_an_owner_whose_lease_ended_may_still_complete_if_nobody_took_the_lane(world):
    world.send()
    claim = only(world.claim())
    begun = world.begin(claim)
    world.now += 2 * LEASE
    assert world.complete(claim, world.delivered(), begun.attempt)


def test_begin_finds_out_that_the_consents_changed_after_the_decision(world):
    world.consent()
    world.send()
    claim = only(world.claim())
    decided_on = world.do(records.consents, claim.patient_key).consent_version
    world.consent()
    assert world.begin(claim, consent_version=decided_on).status == "stale"
    assert world.sql("SELECT count(*) FROM attempt") == [(0,)]
    assert world.begin(claim, consent_version=decided_on + 1).status == "started"


def test_a_block_fences_like_a_consent_and_other_records_do_not(world):
    world.send()
    claim = only(world.claim())
    world.accept(world.record("plan", kind="CarePlan"))
    assert world.do(records.consent_version, claim.patient_key) == 0
    world.accept(world.record("block", kind="Block"))
    assert world.begin(claim, consent_version=0).status == "stale"


def test_another_patients_consents_do_not_matter(world):
    world.send(PERSON)
    claim = only(world.claim())
    world.consent(OTHER)
    assert world.begin(claim, consent_version=0).status == "started"


def test_what_is_under_way_is_named_until_it_ends_or_its_lease_does(world):
    patient = world.patient()
    message = world.send()
    claim = only(world.claim())
    assert world.do(outbox.under_way, patient, now=world.now) == []
    begun = world.begin(claim)
    [leaving] = world.do(outbox.under_way, patient, now=world.now)
    assert (leaving.message_id, leaving.destination, leaving.request_id) == (message, "peer", claim.request_id)
    assert world.do(outbox.under_way, world.patient(OTHER), now=world.now) == []
    assert world.do(outbox.under_way, patient, now=world.now + LEASE) == []
    assert [row.in_flight for row in world.do(destinations.overview, now=world.now + LEASE)] == [0, 0]
    world.complete(claim, world.retry(), begun.attempt)
    assert world.do(outbox.under_way, patient, now=world.now) == []


def test_the_request_id_stays_over_retries_and_changes_with_the_body(world):
    world.send()
    first = only(world.claim())
    world.attempt(first, world.retry(0), b"one")
    second = only(world.claim())
    assert second.request_id == first.request_id
    assert second.request_id_for(world.keys.fingerprint(b"one"), now=world.now) == first.request_id
    assert second.request_id_for(world.keys.fingerprint(b"two"), now=world.now) != first.request_id
    world.attempt(second, world.retry(0), b"two")
    third = only(world.claim())
    assert third.request_id != first.request_id
    world.attempt(third, world.retry(0), b"two")
    assert only(world.claim()).request_id == third.request_id


def test_a_request_id_never_carries_two_bodies(world):
    world.send()
    world.attempt(only(world.claim()), world.retry(0), b"one")
    claim = only(world.claim())
    with pytest.raises(Conflict, match="store.request-id-reused"):
        world.do(
            outbox.begin,
            claim,
            consent_version=0,
            body_digest=world.keys.fingerprint(b"two"),
            request_id=claim.request_id,
            now=world.now,
        )


def test_after_a_crash_the_message_goes_again_with_the_same_request_id(world):
    message = world.send()
    first = only(world.claim())
    world.begin(first)
    world.now += LEASE
    again = only(world.claim())
    assert (again.message_id, again.request_id, again.tries) == (message, first.request_id, 1)
    world.attempt(again, world.delivered())
    assert [(made.n, made.status, made.exposed) for made in world.do(quarantine.attempts, message)] == [
        (1, "unknown", "perhaps"),
        (2, "delivered", "yes"),
    ]


def test_a_claim_given_back_is_free_at_once(world):
    world.send()
    claim = only(world.claim())
    assert world.do(outbox.give_back, claim)
    again = only(world.claim())
    assert again.tries == 0
    assert not world.do(outbox.give_back, claim)


def test_a_retry_waits_for_its_time_and_the_lane_waits_with_it(world):
    world.send()
    world.send()
    first = only(world.claim())
    world.attempt(first, world.retry(10))
    world.later(seconds=9.999)
    assert world.claim() == []
    world.later(seconds=0.001)
    assert only(world.claim()).message_id == first.message_id


def test_delivered_enters_the_disclosure_and_the_audit_in_the_same_commit(world):
    world.consent(record_id="consent")
    world.accept(world.record("record"))
    [message] = world.accept(
        sends=[Send("peer", world.patient(), (records.RecordRef("record", 1),), "collaborate", "case-7")]
    ).messages
    claim = only(world.claim())
    begun = world.begin(claim)
    with pytest.raises(ValueError, match="something after it"):
        world.do(
            _fails_after, outbox.complete, claim, world.delivered(), attempt=begun.attempt, entries=[], now=world.now
        )
    assert world.states()[message] == "queued"
    assert world.do(disclosures.of_patient, world.patient()) == []
    entry = audit.Entry("message.delivered", "adapter", message, patient_key=world.patient())
    assert world.complete(claim, world.delivered(), begun.attempt, entries=[entry], explanation=b"permitted by consent")
    [entered] = world.do(disclosures.of_patient, world.patient())
    assert (entered.message_id, entered.destination, entered.request_id, entered.purpose) == (
        message,
        "peer",
        claim.request_id,
        "collaborate",
    )
    assert entered.at == world.now
    assert entered.disclosure == world.delivered().disclosure
    assert world.do(audit.entries)[-1].entry == entry
    assert world.do(quarantine.explanation, message, 1) == b"permitted by consent"
    assert world.chain_holds()


def _fails_after(tx, work, *args, **kwargs):
    work(tx, *args, **kwargs)
    raise ValueError("something after it in the same commit")


def test_delivered_without_having_begun_is_a_fault_of_the_caller(world):
    world.send()
    with pytest.raises(ValueError, match="never begun"):
        world.complete(only(world.claim()), world.delivered(), None)


@pytest.mark.parametrize("state", ["withheld", "blocked"])
def test_a_refusal_of_the_gate_is_final_explained_and_exposes_nothing(world, state):
    message = world.send()
    claim = only(world.claim())
    assert world.complete(claim, Refused(state, "consent.none"), None, explanation=b"no consent names the employer")
    assert world.claim() == []
    [attempt] = world.do(quarantine.attempts, message)
    assert (attempt.status, attempt.reason, attempt.exposed, attempt.body_digest) == (state, "consent.none", "no", None)
    assert world.do(quarantine.explanation, message, 1) == b"no consent names the employer"
    assert world.do(quarantine.explanation, message, 2) is None
    seen = world.do(quarantine.message, message, now=world.now)
    assert (seen.state, seen.reason, seen.done_at) == (state, "consent.none", world.now)
    assert world.do(disclosures.exposures, world.patient()) == []


def test_what_may_have_left_is_remembered_even_if_it_was_never_acknowledged(world):
    first = world.send()
    world.attempt(only(world.claim()), world.retry(0))
    world.complete(only(world.claim()), Refused("withheld", "consent.withdrawn"), None)
    second = world.send()
    world.attempt(only(world.claim()), world.delivered())
    third = world.send()
    world.attempt(only(world.claim()), world.retry(0, exposed=False))
    exposed = {row.message_id: row.exposed for row in world.do(disclosures.exposures, world.patient())}
    assert exposed == {first: "perhaps", second: "yes"}
    assert third not in exposed


def test_a_dead_letter_blocks_its_lane_or_is_skipped_as_the_destination_says(world):
    for to in ("peer", "other"):
        world.send(to=to)
        world.send(to=to)
    for claim in world.claim():
        world.attempt(claim, Dead("http.422"))
    assert [claim.destination for claim in world.claim()] == ["other"]


def test_a_destination_that_changes_from_block_to_skip_frees_its_lanes(world):
    world.send()
    following = world.send()
    world.attempt(only(world.claim()), Dead("http.422"))
    assert world.claim() == []
    world.do(destinations.declare, [Destination("peer", on_error="skip")], now=world.now)
    assert only(world.claim()).message_id == following


def test_a_withdrawal_takes_back_what_waits_and_leaves_what_flies(world):
    flying, waiting = world.send(), world.send()
    claim = only(world.claim())
    assert [(row.message_id, row.in_flight) for row in world.do(outbox.waiting, world.patient(), now=world.now)] == [
        (flying, True),
        (waiting, False),
    ]
    assert not world.do(outbox.block, flying, "consent.withdrawn", now=world.now)
    assert world.do(outbox.block, waiting, "consent.withdrawn", now=world.now)
    assert not world.do(outbox.block, waiting, "consent.withdrawn", now=world.now)
    world.attempt(claim, world.delivered())
    assert world.claim() == []
    assert world.states() == {flying: "delivered", waiting: "blocked"}


def test_a_message_to_a_destination_nobody_declared_is_refused_and_nothing_is_stored(world):
    with pytest.raises(Misconfigured, match="store.unknown-destination"):
        world.send(to="stranger")
    assert world.sql(
        "SELECT (SELECT count(*) FROM record), (SELECT count(*) FROM inbox), (SELECT count(*) FROM outbox)"
    ) == [(0, 0, 0)]


def test_a_message_of_a_record_nobody_stored_is_refused(world):
    with pytest.raises(Conflict, match="store.unknown-record"):
        world.accept(sends=[Send("peer", world.patient(), ("absent",), "coordination", "case")])


def test_a_record_named_by_its_id_goes_in_the_version_of_the_accept(world):
    world.accept(world.record("plan", b"1"))
    world.accept(sends=[Send("peer", world.patient(), ("plan",), "coordination", "case")])
    world.accept(world.record("plan", b"2"))
    assert only(world.claim()).records == (records.RecordRef("plan", 1),)


def test_a_claim_among_20_000_lanes_costs_about_what_it_costs_among_few(world):
    def took() -> float:
        best = 1.0
        for _ in range(7):
            began = time.perf_counter()
            claims = world.claim(limit=4)
            best = min(best, time.perf_counter() - began)
            assert len(claims) == 4
            for claim in claims:
                world.do(outbox.give_back, claim)
        return best

    for number in range(20):
        world.send(f"p|{number}")
    few = took()
    world.connection.execute("BEGIN")
    world.connection.execute(
        """
        WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 20000)
        INSERT INTO lane (destination, patient_key, urgent, tail_seq, head_seq, due_at, fence)
        SELECT CASE WHEN n % 2 THEN 'peer' ELSE 'other' END, 'k' || n, 0, 1, 1, :at + n % 3 * 1000000000, 0 FROM many
        """,
        {"at": world.sql("SELECT max(due_at) FROM lane")[0][0]},
    )
    world.connection.execute(
        """
        INSERT INTO outbox (lane_id, seq, destination, message_id, request_id, correlation_id, purpose, records, state,
                            attempts, tries, created_at, queued_at)
        SELECT id, 1, destination, 'm' || id, 'r', 'c', 'p', '[]', 'queued', 0, 0, 0, 0 FROM lane WHERE patient_key LIKE 'k%'
        """
    )
    world.connection.execute("COMMIT")
    assert took() < 10 * few
