"""Consents of other systems in a running region: they open, deny, end and are withdrawn as our own, and go nowhere themselves."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import other_systems as o
import pytest
import region as r
from hypothesis import given, settings
from hypothesis import strategies as st
from service_world import bundle, of_region_b
from withdrawal_world import COLLABORATE, INTERVENTIONS, drain, hand_over, listed, told, watched

from adapter.domain import PersonIdentity, Purpose, read_record
from adapter.errors import AdapterError, Conflict, Denied, Invalid
from adapter.flows import Dispatcher, Reader, accept, read_one, receive, search, withdraw
from adapter.flows.preview import preview
from adapter.flows.why import replay, why
from adapter.settings import JOURNAL
from adapter.store import audit, disclosures, quarantine, records, withdrawals
from adapter.sweden import HsaId
from adapter.transport.login import Caller
from adapter.transport.memory import Memory
from adapter.wire import json

RELEASES = ["R4", "R5"]
TOLVAN = PersonIdentity.model_validate({"kind": "personnummer", "number": "191212121212"}, context={"mode": "test"})
PEERS = [
    {
        "id": "region-b",
        "role": "care-provider",
        "hsa_id": "TSTNMT2321000131-J001",
        "organisation": "TSTNMT2321000131-B000",
    }
]
CALLER = Caller("region-b", frozenset({"care-provider"}), HsaId("TSTNMT2321000131-B000"))
MANY = {
    "type": "permit",
    "actor": [o.actor()],
    "provision": [{"type": "deny", "actor": [o.actor(o.REGION_B)]}] * 10_000,
}
OPENED = [INTERVENTIONS, r.intervention()]


def run(story, **more):
    """Play a story in a region of its own; what its receivers hold never tells a Consent's text."""

    async def play(folder):
        async with watched(Path(folder), **more) as adapter:
            told = await story(adapter)
            assert not [each for each in adapter.transport.seen if o.TEXT.encode() in each.body]
            return told

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(play(folder))


async def give(adapter, *consents, records=(), **sends):
    return (await accept(adapter, o.hand(*consents, records=records, **sends), caller="local")).answer


async def states(adapter):
    found = await adapter.store.read(quarantine.messages, now=adapter.clock())
    return {each.destination: (each.state, each.reason) for each in found}


async def verdicts(adapter):
    """Every attempt of every message, decided again from the store."""
    found = []
    for message in await adapter.store.read(quarantine.messages, now=adapter.clock()):
        _, attempts = await why(adapter.store, message.message_id, who="test", now=adapter.clock())
        again = await replay(adapter, message.message_id, [each.attempt.n for each in attempts])
        found += [each.verdict.code for each in again if not message.urgent]
    return found


def refused(submission, before=()):
    """The code with which a submission is refused, and that it left nothing."""

    async def story(adapter):
        for each in before:
            await accept(adapter, each, caller="local")
        rows = await adapter.store.read(_rows)
        with pytest.raises(AdapterError) as error:
            await accept(adapter, submission, caller="local")
        assert await adapter.store.read(_rows) == rows
        return error.value.first

    return run(story)


def _rows(tx):
    return [tx.one(f"SELECT count(*) FROM {table}")[0] for table in ("record", "inbox", "outbox", "audit")]


# it opens


@pytest.mark.parametrize("release", RELEASES)
def test_a_send_is_opened_and_entered_under_the_consents_own_names(release):
    async def story(adapter):
        answer = await give(adapter, o.consent(version=7, release=release), records=OPENED, i1=["employer", "af"])
        await drain(adapter)
        entered = await adapter.store.read(disclosures.of_patient, adapter.patient_key(_record(INTERVENTIONS)))
        kept = [await adapter.store.read(records.get, *ref) for ref in entered[0].disclosure.consents]
        [sent] = [each for each in adapter.transport.seen if not each.task]
        return answer, await states(adapter), sent, kept, await verdicts(adapter)

    answer, found, sent, kept, again = run(story)
    assert answer["consents"] == [
        {"id": {"system": o.SYSTEM, "value": "x-1"}, "opens": "collaborate", "state": "stored"}
    ]
    assert found == {"employer": ("delivered", None), "af": ("withheld", "CONSENT_FOR_ANOTHER")}
    assert sent.consents == {"c-i", "x-1"}
    assert {each.kind for each in kept} == {"Consent", "ForeignConsent"}
    assert again == ["why.identical"] * 2


def test_care_is_opened_for_sends_and_reads_by_one_alone():
    async def story(adapter):
        await give(adapter, o.consent(kind="interventions", to=o.REGION_B), records=[r.intervention()], i1=["region-b"])
        await drain(adapter)
        found = await search(adapter, "Task", TOLVAN, Reader(CALLER, "q-1"))
        own = await search(adapter, "Consent", TOLVAN, Reader(CALLER, "q-2"))
        return await states(adapter), found, own

    found, answer, own = run(story, peers=PEERS)
    assert found == {"region-b": ("delivered", None)}
    assert answer.cleared.consent_versions == ((f"{o.SYSTEM}|x-1", 1),)
    assert own is None


def test_what_an_identifier_of_a_resource_beside_it_tells_counts_in_every_decision():
    beside = {"resourceType": "Organization", "id": "1", "identifier": [o.EMPLOYER["identifier"]]}
    document = o.consent(to={"reference": "Organization/1"})
    together = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": each} for each in (beside, document)],
    }

    async def story(adapter, handed):
        await give(adapter, handed, records=OPENED, i1=["employer"])
        await drain(adapter)
        return await states(adapter)

    assert run(lambda adapter: story(adapter, together))["employer"][0] == "delivered"
    assert run(lambda adapter: story(adapter, document))["employer"][0] == "withheld"


def test_the_entry_in_the_own_journal_names_it(tmp_path):
    link = {
        "url": "http://127.0.0.1:1/journal",
        "network": "loopback",
        "production": False,
        "required": True,
        "format": "json",
    }

    async def go():
        transport = Memory([*(each["id"] for each in r.DESTINATIONS), JOURNAL])
        async with r.region(tmp_path, transport=transport, journal=link) as adapter:
            await give(adapter, o.consent(version=7), records=OPENED, i1=["employer"])
            await Dispatcher(adapter, owner="test").drain()
            return [json.read(each.body)["entry"][0]["resource"] for each in adapter.transport.held(JOURNAL)]

    told = asyncio.run(go())
    assert [each["status"] for each in told] == ["preparation", "completed"]
    named = {each["identifier"]["value"]: each["extension"][0]["valuePositiveInt"] for each in told[-1]["about"]}
    assert named == {"c-i": 1, "x-1": 7}


# it denies


DENIALS = {
    "a denial": o.denial(),
    "a denial in R5": o.denial(release="R5"),
    "one of another care provider's kind, denying the employer": o.denial(
        organization=[], provision={"type": "permit", "provision": [{"type": "deny", "actor": [o.actor()]}]}
    ),
    "one that cannot be read": o.consent(modifierExtension=[{"url": "urn:x", "valueBoolean": True}]),
    "one of an unknown status": o.consent(status="unknown"),
    "one of neither release": o.consent(grantee=[o.EMPLOYER]),
    "one without a base": o.consent(provision={"actor": [o.actor()]}),
    "one of ten thousand provisions": o.consent(provision=MANY),
}


@pytest.mark.parametrize("name", DENIALS)
def test_what_our_own_consents_open_stays_closed(name):
    async def story(adapter):
        first = await give(adapter, DENIALS[name], records=[COLLABORATE, *OPENED], i1=["employer"])
        await drain(adapter)
        return first["consents"][0]["opens"], await states(adapter), await verdicts(adapter)

    opens, found, again = run(story)
    assert opens is None
    assert found["employer"] in {("withheld", "CONSENT_REFUSED"), ("withheld", "CONSENT_UNINTERPRETABLE")}
    assert again == ["why.identical"]


@pytest.mark.parametrize("name", DENIALS)
def test_what_waits_is_taken_back_and_who_got_something_is_told(name):
    async def story(adapter):
        await hand_over(adapter, COLLABORATE, *OPENED, r.intervention("i2"), i1=["employer"])
        await drain(adapter)
        await hand_over(adapter, i2=["employer"])
        answer = await give(adapter, DENIALS[name])
        await drain(adapter)
        return answer, adapter.transport.notices(), await adapter.store.read(withdrawals.listed)

    answer, notices, [order] = run(story)
    assert (len(answer["blocked"]), told(answer)) == (1, ["employer"])
    assert [each.task["focus"]["identifier"]["value"] for each in notices] == ["c-c"]
    assert order.cause == "withdrawn"


def test_reads_and_searches_are_closed_by_a_denial():
    async def story(adapter):
        await hand_over(adapter, INTERVENTIONS, r.intervention())
        logical_id = adapter.record_id("@local", _record(r.intervention()).id)
        assert await read_one(adapter, "Task", logical_id, Reader(CALLER, "q-1"))
        await give(adapter, o.denial())
        with pytest.raises(Denied) as refused:
            await read_one(adapter, "Task", logical_id, Reader(CALLER, "q-2"))
        return refused.value.first.code, await search(adapter, "Task", TOLVAN, Reader(CALLER, "q-3"))

    assert run(story, peers=PEERS) == ("exchange.not-found", None)


def test_a_denial_of_another_patient_closes_nothing():
    other = {"identifier": {"system": o.PERSONNUMMER, "value": "195009072553"}}

    async def story(adapter):
        await give(adapter, o.denial(patient=other), records=[COLLABORATE, *OPENED], i1=["employer"])
        await drain(adapter)
        return await states(adapter)

    assert run(story) == {"employer": ("delivered", None)}


def test_nobody_who_may_ask_opens_anything_by_what_they_gave_themselves_through_a_proxy():
    proxy = {"reference": "RelatedPerson/1"}
    verified = {"verification": [{"verified": True}]}

    async def story(adapter, givers):
        await give(adapter, o.consent(performer=givers) | verified, records=OPENED, i1=["employer"])
        await drain(adapter)
        return (await states(adapter))["employer"][0]

    assert run(lambda adapter: story(adapter, [proxy])) == "delivered"
    assert run(lambda adapter: story(adapter, [proxy, o.EMPLOYER])) == "withheld"


# it ends


ENDINGS = {
    "inactive": {"status": "inactive"},
    "rejected": {"status": "rejected"},
    "entered in error": {"status": "entered-in-error"},
    "not given yet": {"status": "draft"},
    "another patient's words only": {"performer": [{"reference": "Practitioner/1"}]},
    "unreadable": {"implicitRules": "urn:x"},
    "another kind": {"category": o.denial()["category"]},
    "a denial": {"provision": {"type": "deny"}},
    "a period that is past": {"provision": {"type": "permit", "actor": [o.actor()], "period": {"end": "2026-11-20"}}},
    "another recipient": {"provision": {"type": "permit", "actor": [o.actor(o.REGION_B)]}},
    "another care provider": {"organization": [o.REGION_B]},
    "a later date": {"dateTime": "2027-01-01"},
}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_version_that_opens_less_blocks_what_waits_and_tells_who_got_something(name):
    async def story(adapter):
        await give(adapter, o.consent(), records=[*OPENED, r.intervention("i2")], i1=["employer"])
        await drain(adapter)
        await hand_over(adapter, i2=["employer"])
        document = o.hand(o.later(o.consent(), **ENDINGS[name]))
        mine = "3f1c3cc0-5a5d-4c0c-9f3a-0c1f8a9b0001"
        first = await accept(adapter, document, caller="local", request_id=mine)
        again = await accept(adapter, document, caller="local", request_id=mine)
        await drain(adapter)
        await asyncio.sleep(0)
        return first.answer, again, adapter.transport.notices(), await listed(adapter), await verdicts(adapter)

    answer, again, notices, orders, replayed = run(story)
    assert (again.replayed, again.answer) == (True, answer)
    assert (len(answer["blocked"]), told(answer)) == (1, ["employer"])
    [notice] = notices
    assert notice.task["focus"] == {"type": "Consent", "identifier": {"system": o.SYSTEM, "value": "x-1"}}
    assert answer["leftBefore"][0]["records"] == [{"system": r.IDS, "value": "i1", "version": 1}]
    assert orders == {"employer": ["acknowledged"]}
    assert set(replayed) == {"why.identical"}


def test_a_version_that_opens_as_much_takes_nothing_away():
    async def story(adapter):
        await give(adapter, o.consent(), records=[*OPENED, r.intervention("i2")], i1=["employer"])
        await drain(adapter)
        await hand_over(adapter, i2=["employer"])
        answer = await give(adapter, o.later(o.consent(), dateTime="2026-11-03"))
        await drain(adapter)
        return answer, adapter.transport.notices(), adapter.transport.held("employer")

    answer, notices, held = run(story)
    assert (answer["blocked"], answer["notified"], notices, len(held)) == ([], [], [], 2)


def test_who_got_something_on_our_own_consent_is_not_told_when_another_systems_ends():
    async def story(adapter):
        await give(adapter, o.consent(), records=[COLLABORATE, *OPENED], i1=["region-b"])
        await drain(adapter)
        return await give(adapter, o.later(o.consent(), status="inactive"))

    assert told(run(story)) == []


PERIODS = {
    "its own": {"type": "permit", "actor": [o.actor()], "period": {"end": "2026-11-25T12:00:00Z"}},
    "a provision's": {
        "type": "permit",
        "actor": [o.actor()],
        "provision": [{"type": "deny", "actor": [o.actor()], "period": {"start": "2026-11-25T12:00:01Z"}}],
    },
}


@pytest.mark.parametrize("name", PERIODS)
def test_the_clock_ends_it_as_a_withdrawal_does(name):
    async def story(adapter):
        await give(adapter, o.consent(provision=PERIODS[name]), records=OPENED, i1=["employer"])
        await drain(adapter)
        seen = []
        for days in (0, 3, 2, 30):
            adapter.clock.forward(days=days)
            await withdraw.sweep(adapter)
            await drain(adapter)
            seen.append([each.task["focus"]["identifier"]["value"] for each in adapter.transport.notices()])
        [order] = await adapter.store.read(withdrawals.listed)
        return seen, order.cause

    assert run(story) == ([[], [], ["x-1"], ["x-1"]], "expired")


def test_a_denial_that_begins_later_takes_back_and_tells_when_it_begins():
    denial = o.denial(provision={"type": "deny", "period": {"start": "2026-11-25T12:00:00Z", "end": "2026-12-01"}})

    async def story(adapter):
        answer = await give(adapter, denial, records=[COLLABORATE, *OPENED, r.intervention("i2")], i1=["employer"])
        await drain(adapter)
        adapter.clock.forward(days=5)
        await hand_over(adapter, i2=["employer"])
        await withdraw.sweep(adapter)
        await drain(adapter)
        return answer["notified"], await listed(adapter), await states(adapter)

    before, orders, found = run(story)
    assert (before, orders) == ([], {"employer": ["acknowledged"]})
    assert found["employer"][0] in {"withheld", "delivered"}


def test_a_consent_that_is_given_again_opens_again_and_the_old_notice_stands():
    async def story(adapter):
        await give(adapter, o.consent(), records=OPENED, i1=["employer"])
        await drain(adapter)
        ended = o.later(o.consent(), status="inactive")
        await give(adapter, ended)
        await give(adapter, o.later(ended, status="active"), records=[r.intervention("i2")], i2=["employer"])
        await drain(adapter)
        return len(adapter.transport.held("employer")), await listed(adapter), await verdicts(adapter)

    held, orders, again = run(story)
    assert (held, orders) == (3, {"employer": ["acknowledged"]})
    assert again == ["why.identical"] * 2


# versions and names


def test_the_same_again_changes_nothing():
    async def story(adapter):
        first, again = [await give(adapter, o.consent()) for _ in range(2)]
        return first["consents"][0]["state"], again["consents"][0]["state"], len(await adapter.store.read(_all))

    assert run(story) == ("stored", "unchanged", 1)


def _all(tx):
    return tx.all("SELECT record_id FROM record")


CONFLICTS = {
    "an older version": (o.consent(), [o.hand(o.consent(version=2))], "exchange.older-version"),
    "another content": (o.consent(language="sv"), [o.hand(o.consent())], "exchange.same-version"),
    "another patient": (
        o.consent(version=2, patient={"identifier": {"system": o.PERSONNUMMER, "value": "195009072553"}}),
        [o.hand(o.consent())],
        "store.record-moved",
    ),
    "another first identifier": (
        o.consent(version=2, identifier=[{"system": "urn:a", "value": "1"}, *o.consent()["identifier"]]),
        [o.hand(o.consent())],
        "exchange.other-consent",
    ),
    "the name of one of our own": (
        o.consent(version=2, identifier=[{"system": r.IDS, "value": "c-i"}]),
        [r.submission(INTERVENTIONS)],
        "store.record-moved",
    ),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_versions_only_rise_and_an_identifier_is_of_one_consent(name):
    document, before, code = CONFLICTS[name]
    assert refused(o.hand(document), before).code == code


def test_in_one_submission_versions_rise_too_and_the_last_one_counts():
    older, newer = o.consent(), o.consent(version=2, status="inactive")
    assert refused(o.hand(newer, older)).code == "exchange.older-version"
    other = o.consent("x-0", identifier=[{"system": o.SYSTEM, "value": value} for value in ("x-0", "x-1")])
    assert refused(o.hand(older, other)).code == "exchange.other-consent"

    async def story(adapter):
        await give(adapter, older, newer, records=OPENED, i1=["employer"])
        await drain(adapter)
        return await states(adapter)

    assert run(story) == {"employer": ("withheld", "CONSENT_WITHDRAWN")}


def test_one_bad_consent_leaves_nothing_of_a_submission():
    fault = refused(o.hand(o.consent(), o.consent("x-2", patient={}), records=OPENED, i1=["employer"]))
    assert (fault.code, fault.where) == ("exchange.consent-patient", "consents[1].Consent.patient")
    assert isinstance(fault.entry.status, int)


def test_versions_that_are_handed_over_at_the_same_time_never_go_back():
    versions = [o.consent(version=n, status="inactive" if n == 9 else "active") for n in range(1, 10)]

    async def story(adapter):
        async def one(document):
            try:
                await give(adapter, document)
            except Conflict as conflict:
                assert conflict.first.code == "exchange.older-version"

        await asyncio.gather(*(one(each) for each in [*versions[::2], *versions[1::2]]))
        await hand_over(adapter, *OPENED, i1=["employer"])
        await drain(adapter)
        return await states(adapter)

    assert run(story) == {"employer": ("withheld", "CONSENT_WITHDRAWN")}


# it goes nowhere


def test_it_cannot_be_sent():
    mine = {"record": {"system": o.SYSTEM, "value": "x-1"}, "to": ["region-b"]}
    for before in ([], [o.hand(o.consent())]):
        fault = refused(o.hand(o.consent()) | {"send": [mine]}, before)
        assert (fault.code, fault.where) == ("exchange.unknown-record", "send[0].record")


def test_it_cannot_be_read_searched_for_or_found_in_the_feed():
    async def story(adapter):
        await give(adapter, o.consent(kind="interventions", to=o.REGION_B), records=[INTERVENTIONS, r.intervention()])
        (key,) = {row[0] for row in await adapter.store.read(_ids_of_foreign)}
        with pytest.raises(Denied) as refused:
            await read_one(adapter, "Consent", key, Reader(CALLER, "q-1"))
        found = await search(adapter, "Consent", TOLVAN, Reader(CALLER, "q-2"))
        fed = await adapter.store.read(records.changes, 0, 100, origin="peer")
        return refused.value.first.code, found.cleared.body, fed

    code, body, fed = run(story, peers=PEERS)
    assert (code, fed) == ("exchange.not-found", [])
    assert o.SYSTEM.encode() not in body


def _ids_of_foreign(tx):
    return tx.all("SELECT record_id FROM record WHERE kind = 'ForeignConsent'")


# a peer's


PEER_SENDS = {
    "R4 of a kind of ours": o.consent(kind="interventions", to=o.REGION_B),
    "R4 of no kind of ours": o.denial(),
    "R5": o.consent(kind="interventions", to=o.REGION_B, release="R5"),
    "in the peer's own name": o.consent(kind="interventions", to=o.REGION_B, organization=[o.REGION_B]),
}


@pytest.mark.parametrize("name", PEER_SENDS)
def test_a_peer_hands_over_none_and_opens_nothing(name):
    async def story(adapter):
        await hand_over(adapter, r.intervention())
        rows = await adapter.store.read(_rows)
        for body in (PEER_SENDS[name], _transaction(PEER_SENDS[name])):
            with pytest.raises(AdapterError):
                await receive(adapter, body, original=b"{}", caller=CALLER)
        return rows == await adapter.store.read(_rows), await search(adapter, "Task", TOLVAN, Reader(CALLER, "q-1"))

    assert run(story, peers=PEERS) == (True, None)


def _transaction(resource):
    entry = {"fullUrl": "urn:uuid:6f1c3cc0-5a5d-4c0c-9f3a-0c1f8a9b0001", "resource": resource}
    request = {"method": "PUT", "url": f"Consent/{resource['id']}"}
    return {"resourceType": "Bundle", "type": "transaction", "entry": [entry | {"request": request}]}


def test_what_a_peer_wrote_as_its_own_consent_is_no_voice_here():
    async def story(adapter):
        theirs = of_region_b(r.consent("c-theirs", "interventions"))
        await receive(adapter, bundle(theirs), original=b"{}", caller=CALLER)
        await hand_over(adapter, r.intervention(), i1=["region-b"])
        await drain(adapter)
        return await states(adapter)

    assert run(story, peers=PEERS) == {"region-b": ("withheld", "NO_CONSENT")}


# the log


def test_what_is_taken_over_is_logged_as_every_record_and_tells_nothing_of_itself():
    async def story(adapter):
        await give(adapter, o.consent())
        return [each.entry for each in await adapter.store.read(audit.entries)]

    [entry] = run(story)
    assert (entry.event, entry.who, entry.outcome) == ("record.accepted", "local", "ok")
    assert "x-1" not in str(entry)


# the example


def test_the_example_is_taken_over_and_opens_and_denies_what_it_says():
    example = json.read((Path(__file__).parent.parent / "examples" / "other-systems.json").read_bytes())

    async def story(adapter):
        answer = (await accept(adapter, example, caller="local")).answer
        own = r.consent(
            "c-af", "collaborate", recipient={"category": "arbetsformedlingen", "organisation_number": "2021002114"}
        )
        await hand_over(adapter, own, *OPENED, i1=["employer", "af"])
        await drain(adapter)
        return [each["opens"] for each in answer["consents"]], await states(adapter)

    assert run(story) == (
        ["collaborate", None],
        {"employer": ("delivered", None), "af": ("withheld", "CONSENT_REFUSED")},
    )


# any order


POOL = [
    o.consent(),
    o.consent("x-2", to=o.REGION_B, kind="interventions", release="R5"),
    o.consent("x-3", dateTime="2026-11-10"),
    o.denial(),
    o.denial("x-5", provision={"type": "permit", "provision": [{"type": "deny", "actor": [o.actor()]}]}),
    o.consent("x-6", modifierExtension=[{"url": "urn:x"}]),
]
STATUSES = ["active", "active", "inactive", "entered-in-error", "draft"]
writes = st.lists(st.tuples(st.integers(0, len(POOL) - 1), st.sampled_from(STATUSES)), max_size=6)


@settings(max_examples=15, deadline=None)
@given(writes)
def test_the_store_decides_as_the_newest_versions_do_without_it(writes):
    async def story(adapter):
        await hand_over(adapter, INTERVENTIONS, COLLABORATE, r.intervention())
        newest, versions = {}, {}
        for number, status in writes:
            versions[number] = versions.get(number, 0) + 1
            newest[number] = POOL[number] | {"status": status, "meta": {"versionId": str(versions[number])}}
            await give(adapter, newest[number])
        record = _record(r.intervention())
        stored = await adapter.store.read(records.consents, adapter.patient_key(record))
        snapshot = adapter.snapshot(record, stored)
        own = [_record(INTERVENTIONS), _record(COLLABORATE)]
        for name in ("employer", "region-b", "af"):
            to = adapter.recipients[name]
            here = adapter.gate.decision(record, to, Purpose.COORDINATION, snapshot, adapter.clock())
            alone = preview(
                record, recipient=to, consents=own, at=adapter.clock(), mapper=adapter.mapper, foreign=newest.values()
            ).decision
            assert (here.permitted, here.reason, here.categories) == (alone.permitted, alone.reason, alone.categories)
            assert here.consents == alone.consents

    run(story)


@settings(max_examples=15, deadline=None)
@given(writes)
def test_after_any_writes_who_holds_something_that_is_closed_has_been_told(writes):
    async def story(adapter):
        await give(adapter, o.consent(), records=OPENED, i1=["employer"])
        await drain(adapter)
        versions = {0: 1}
        for number, status in writes:
            versions[number] = versions.get(number, 0) + 1
            await give(adapter, POOL[number] | {"status": status, "meta": {"versionId": str(versions[number])}})
        await hand_over(adapter, r.intervention("i2"), i2=["employer"])
        await drain(adapter)
        found = await adapter.store.read(quarantine.messages, now=adapter.clock())
        [last] = [each for each in found if not each.urgent and each.state != "delivered"] or [None]
        return last, await verdicts(adapter), await listed(adapter)

    last, again, orders = run(story)
    assert set(again) == {"why.identical"}
    if last is not None:
        assert (last.state, "employer" in orders) == ("withheld", True)


def _record(document):
    return read_record(document, mode="test")[0]


def test_faults_of_what_is_refused_tell_no_person():
    with pytest.raises(Invalid) as error:
        run(
            lambda adapter: give(adapter, o.consent(identifier=[]), o.consent(patient={"display": "Tolvan Tolvansson"}))
        )
    assert "Tolvan" not in str(error.value)
