from __future__ import annotations

import pytest
from store_world import OTHER, World

from adapter.store import disclosures
from adapter.store.disclosures import Disclosure
from adapter.store.outbox import Delivered
from adapter.store.records import RecordRef


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def deliver(world, *consents):
    message = world.send()
    [claim] = world.claim()
    disclosure = Disclosure(
        "SE2321000016-ABCD", claim.records, tuple(RecordRef(*consent) for consent in consents), ("plan", "goal")
    )
    world.attempt(claim, Delivered(disclosure))
    world.later(seconds=1)
    return message


def test_disclosures_of_a_patient_come_in_order_and_only_the_patients(world):
    sent = [deliver(world) for _ in range(3)]
    assert [row.message_id for row in world.do(disclosures.of_patient, world.patient())] == sent
    assert [row.message_id for row in world.do(disclosures.exposures, world.patient())] == sent
    assert world.do(disclosures.of_patient, world.patient(OTHER)) == []
    assert world.do(disclosures.exposures, world.patient(OTHER)) == []


def test_a_disclosure_names_every_consent_that_allowed_it_in_its_version(world):
    deliver(world, ("c1", 1))
    deliver(world, ("c1", 2), ("c2", 1))
    first, second = world.do(disclosures.of_patient, world.patient())
    assert first.disclosure.consents == (RecordRef("c1", 1),)
    assert second.disclosure.consents == (RecordRef("c1", 2), RecordRef("c2", 1))
    assert first.disclosure.categories == ("goal", "plan")


def test_a_notice_that_discloses_nothing_enters_no_disclosure_but_is_an_exposure(world):
    message = world.send(urgent=True)
    [claim] = world.claim()
    world.attempt(claim, Delivered(None))
    assert world.do(disclosures.of_patient, world.patient()) == []
    assert [(row.message_id, row.exposed) for row in world.do(disclosures.exposures, world.patient())] == [
        (message, "yes")
    ]


def test_a_read_that_was_answered_is_entered_without_a_message(world):
    disclosure = Disclosure("SE2321000016-PEER", (RecordRef("plan", 3),), (RecordRef("c1", 1),), ("plan",))
    world.do(
        disclosures.enter,
        disclosure,
        patient_key=world.patient(),
        destination="peer",
        message_id="request-9",
        request_id="request-9",
        purpose="care",
        now=world.now,
    )
    [row] = world.do(disclosures.of_patient, world.patient())
    assert (row.disclosure, row.request_id, row.at) == (disclosure, "request-9", world.now)


def test_what_is_shown_of_a_disclosure_holds_neither_recipient_nor_patient(world):
    deliver(world)
    shown = repr(world.do(disclosures.of_patient, world.patient()))
    assert "SE2321000016" not in shown
    assert world.patient() not in shown
