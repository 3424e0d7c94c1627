"""Every disclosure is entered in the region's own journal before it leaves and when it has left; what cannot be entered is not sent."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from datetime import datetime

import pytest
import region as r
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.cli import koord, terminal
from adapter.demo.cast import as_toml
from adapter.errors import Misconfigured
from adapter.flows import Dispatcher, accept, dispatch
from adapter.settings import JOURNAL, check_files
from adapter.store import disclosures, journal, outbox, quarantine
from adapter.transport.memory import Memory
from adapter.transport.receipt import Receipt
from adapter.wire import xml

INTERVENTIONS = r.consent("c-a", "interventions")
COLLABORATE = r.consent("c-c", "collaborate", recipient=r.EMPLOYER)
INFORM_FK = r.consent("c-b", "inform-fk")
LINK = {"url": "http://127.0.0.1:1/journal", "network": "loopback", "production": False}
NAMES = [each["id"] for each in r.DESTINATIONS]
SEVERAL = r.submission(
    INTERVENTIONS,
    COLLABORATE,
    INFORM_FK,
    r.intervention("i1"),
    r.intervention("i2"),
    r.fk_signal("f1"),
    i1=["employer", "region-b"],
    i2=["employer"],
    f1=["fk"],
)


@asynccontextmanager
async def region(folder, *, required=True, form="json", transport=None, **more):
    transport = transport or Memory([*NAMES, JOURNAL])
    link = LINK | {"required": required, "format": form}
    async with r.region(folder, transport=transport, journal=link, **more) as adapter:
        yield adapter


def run(folder, work, **more):
    async def go():
        async with region(folder, **more) as adapter:
            return await work(adapter)

    return asyncio.run(go())


async def sent(adapter, *submissions):
    for document in submissions:
        await accept(adapter, document, caller="local")
    await Dispatcher(adapter, owner="test").drain()
    return await messages(adapter)


async def messages(adapter):
    found = await adapter.store.read(quarantine.messages, now=adapter.clock())
    return {each.message_id: each for each in found}


def entries(adapter):
    """What the journal holds: of each message the words about it, the oldest first."""
    told = {}
    for arrived in adapter.transport.held(JOURNAL):
        bundle = xml.read(arrived.body) if arrived.content_type.endswith("xml") else json.loads(arrived.body)
        (entry,) = bundle["entry"]
        communication = entry["resource"]
        message = communication["identifier"][0]["value"].removeprefix("urn:uuid:")
        assert entry["request"] == {"method": "PUT", "url": f"Communication/{communication['id']}"}
        told.setdefault(message, []).append(communication)
    return told


def held(adapter):
    return {name: adapter.transport.held(name) for name in NAMES}


def statuses(adapter):
    return {message: [each["status"] for each in told] for message, told in entries(adapter).items()}


# the good day


@pytest.mark.parametrize("form", ["json", "xml"])
def test_every_delivered_message_has_one_entry_announced_before_and_completed_after(tmp_path, form):
    async def work(adapter):
        found = await sent(adapter, SEVERAL)
        assert {each.state for each in found.values()} == {"delivered"}
        assert statuses(adapter) == {message: ["preparation", "completed"] for message in found}
        ids = Counter(told["id"] for each in entries(adapter).values() for told in each)
        assert set(ids.values()) == {2}
        return len(found), len(await adapter.store.read(disclosures.of_patient, _patient(adapter)))

    assert run(tmp_path, work, form=form) == (4, 4)


def test_what_ends_while_the_dispatcher_looks_for_more_is_entered_before_all_is_said_to_be_done(tmp_path, monkeypatch):
    """Between the look for entries and the look for messages everything that is under way ends."""

    async def work(adapter):
        dispatcher = Dispatcher(adapter, owner="test")
        due = dispatch.journal.due

        async def then_all_ends(*asked):
            found = await due(*asked)
            await asyncio.gather(*dispatcher._tasks)
            return found

        monkeypatch.setattr(dispatch.journal, "due", then_all_ends)
        # Nothing opens a send to the municipality: it ends at once, while the other is under way.
        one = r.submission(INTERVENTIONS, COLLABORATE, r.intervention("i1"), i1=["employer", "municipality"])
        await accept(adapter, one, caller="local")
        await dispatcher.drain()
        return list(statuses(adapter).values())

    assert run(tmp_path, work) == [["preparation", "completed"]]


def _patient(adapter):
    return adapter.patient_key(_record(INTERVENTIONS))


def test_an_entry_says_to_whom_and_when_and_what_on_which_consents_and_no_more(tmp_path):
    async def work(adapter):
        found = await sent(adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]))
        ((message, (_, entry)),) = entries(adapter).items()
        assert message in found
        (disclosed,) = await adapter.store.read(disclosures.of_patient, _patient(adapter))
        return entry, disclosed

    entry, disclosed = run(tmp_path, work)
    version = "https://koord.example/fhir/StructureDefinition/version"
    assert entry["subject"] == {
        "type": "Patient",
        "identifier": {"system": "http://electronichealth.se/identifier/personnummer", "value": "191212121212"},
    }
    assert entry["recipient"] == [
        {"type": "Organization", "identifier": {"system": "urn:oid:2.5.4.97", "value": "2321000131"}}
    ]
    assert entry["sender"]["identifier"]["value"] == r.PROVIDER
    assert entry["extension"][0]["valueReference"]["identifier"]["value"] == r.UNIT
    assert datetime.fromisoformat(entry["sent"]) == disclosed.at == r.NOW
    assert entry["payload"] == [
        {
            "extension": [{"url": version, "valuePositiveInt": 1}],
            "contentReference": {"type": "Task", "identifier": {"system": r.IDS, "value": "i1"}},
        }
    ]
    assert sorted(
        (each["identifier"]["value"], each["extension"][0]["valuePositiveInt"]) for each in entry["about"]
    ) == [("c-a", 1), ("c-c", 1)]
    assert {each["coding"][0]["code"] for each in entry["category"]} == set(disclosed.disclosure.categories)
    assert set(entry) == {
        *(
            "resourceType",
            "meta",
            "id",
            "extension",
            "identifier",
            "status",
            "category",
            "subject",
            "about",
            "sent",
            "recipient",
        ),
        *("sender", "payload"),
    }
    for secret in ("Kim Karlsson", "HEMLIG", "Tolvan", "Psykiatri", "Karin"):
        assert secret not in json.dumps(entry)


def _record(document):
    from adapter.domain import read_record

    return read_record(document)[0]


def test_what_is_withheld_or_stays_within_the_care_provider_is_not_entered(tmp_path):
    inside = {"id": "own-unit", "recipient": "vard", "hsa_id": "TSTNMT2321000016-A002", "provider": r.PROVIDER}
    destinations = [{**LINK, **each} for each in [inside, r.DESTINATIONS[2]]]

    async def work(adapter):
        found = await sent(adapter, r.submission(INTERVENTIONS, r.intervention(), i1=["own-unit", "employer"]))
        return {each.destination: each.state for each in found.values()}, statuses(adapter)

    transport = Memory(["own-unit", "employer", JOURNAL])
    told = run(tmp_path, work, destinations=destinations, transport=transport)
    assert told == ({"own-unit": "delivered", "employer": "withheld"}, {})


def test_without_a_journal_nothing_but_the_disclosures_is_entered(tmp_path):
    async def go():
        async with r.region(tmp_path, transport=Memory([*NAMES, JOURNAL])) as adapter:
            await sent(adapter, SEVERAL)
            waiting = await adapter.store.read(journal.waiting)
            return len(await adapter.store.read(disclosures.of_patient, _patient(adapter))), statuses(adapter), waiting

    assert asyncio.run(go()) == (4, {}, journal.Waiting(0, None))


# the bad day


@pytest.mark.parametrize(
    "fault", ["unreachable", "hang", "busy", "error", "rejected", "login", "garbage", "certificate"]
)
def test_while_the_journal_does_not_take_the_entry_nothing_leaves_at_all_and_then_all_leaves(tmp_path, fault):
    async def work(adapter):
        adapter.transport.expect(JOURNAL, *[fault] * 400)
        found = await sent(adapter, SEVERAL)
        for _ in range(10):
            assert not any(held(adapter).values())
            assert {each.state for each in found.values()} == {"queued"}
            heads = [each.reason for each in found.values() if each.due_at is not None]  # others wait behind these
            assert set(heads) == {"journal.refused" if fault in {"rejected", "login"} else "journal.unreachable"}
            assert {each.attempts for each in found.values()} == {0}
            adapter.clock.forward(hours=10)
            found = await sent(adapter)
        adapter.transport._receivers[JOURNAL].coming.clear()
        for _ in range(6):
            adapter.clock.forward(minutes=15)
            found = await sent(adapter)
        assert {(each.state, each.reason, each.attempts) for each in found.values()} == {("delivered", None, 1)}
        assert statuses(adapter) == {message: ["preparation", "completed"] for message in found}
        overview = {each.destination.id: each.breaker for each in await _overview(adapter)}
        assert {overview[name] for name in NAMES} == {"closed"}

    run(tmp_path, work)


async def _overview(adapter):
    from adapter.store import destinations

    return await adapter.store.read(destinations.overview, now=adapter.clock())


def test_a_journal_that_is_down_when_the_message_has_left_gets_the_entry_later_and_the_message_is_delivered(tmp_path):
    async def work(adapter):
        adapter.transport.send = _down_after(adapter.transport.send, 1)
        found = await sent(adapter, r.submission(INTERVENTIONS, r.intervention(), i1=["region-b"]))
        state = [each.state for each in found.values()], statuses(adapter)
        waiting = await adapter.store.read(journal.waiting)
        for _ in range(8):
            adapter.clock.forward(minutes=6)
            await sent(adapter)
        return state, waiting.entries, statuses(adapter), await adapter.store.read(journal.waiting)

    (states, told), waiting, after, nothing = run(tmp_path, work)
    assert states == ["delivered"]
    assert list(told.values()) == [["preparation"]]
    assert waiting == 1
    assert list(after.values()) == [["preparation", "completed"]]
    assert nothing.entries == 0


def _down_after(send, good, *, bad=5):
    """A transport whose journal takes so many entries, then none for a while."""
    calls = 0

    async def sending(cleared):
        nonlocal calls
        if cleared.destination == JOURNAL:
            calls += 1
            if good < calls <= good + bad:
                return Receipt("retry", "peer.unreachable", exposed=False)
        return await send(cleared)

    return sending


@pytest.mark.parametrize(("fault", "status"), [("unreachable", "not-done"), ("hang", "unknown"), ("lost", "unknown")])
def test_what_was_announced_and_then_stopped_is_entered_as_not_done_or_unknown(tmp_path, fault, status):
    async def work(adapter):
        adapter.transport.expect("employer", fault)
        await sent(adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]))
        adapter.clock.forward(minutes=16)
        found = await sent(adapter, r.submission(r.withdrawn(COLLABORATE)))
        return [each.state for each in found.values() if each.purpose == "coordination"], entries(adapter)

    states, told = run(tmp_path, work)
    assert states == ["blocked"]
    ((first, last),) = told.values()
    assert (first["status"], last["status"]) == ("preparation", status)
    assert ("sent" in last) == (status == "unknown")


@pytest.mark.parametrize("state", ["dead", "discarded", "blocked"])
def test_however_a_message_ends_its_entry_says_so_and_a_released_one_is_entered_anew(tmp_path, state):
    async def work(adapter):
        fault = "rejected" if state == "dead" else "unreachable"
        adapter.transport.expect("employer", fault)
        (message,) = await sent(adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]))
        now = adapter.clock()
        if state == "discarded":
            await adapter.store.write(quarantine.discard, message, who="test", why="test", now=now)
        if state == "blocked":
            assert await adapter.store.write(outbox.block, message, "CONSENT_WITHDRAWN", now=now)
        await sent(adapter)
        stopped = statuses(adapter)[message]
        if state == "dead":
            await adapter.store.write(quarantine.release, message, who="test", why="test", now=now)
            adapter.clock.forward(minutes=1)
            await sent(adapter)
        return stopped, statuses(adapter)[message]

    stopped, after = run(tmp_path, work)
    assert stopped == ["preparation", "unknown" if state == "dead" else "not-done"]
    assert after == [*stopped, *(["preparation", "completed"] if state == "dead" else [])]


def test_a_release_waits_until_the_journal_knows_how_the_message_ended_before(tmp_path):
    async def work(adapter):
        adapter.transport.send = _down_after(adapter.transport.send, 1, bad=2)
        adapter.transport.expect("employer", "rejected")
        (message,) = await sent(adapter, r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"]))
        await adapter.store.write(quarantine.release, message, who="test", why="test", now=adapter.clock())
        at_once = await sent(adapter)
        for _ in range(4):
            adapter.clock.forward(minutes=6)
            found = await sent(adapter)
        return at_once[message].state, found[message].state, statuses(adapter)[message]

    assert run(tmp_path, work) == (
        "queued",
        "delivered",
        ["preparation", "unknown", "preparation", "completed"],
    )


def test_where_the_entry_is_not_required_nothing_waits_for_the_journal_and_everything_is_entered_when_it_answers(
    tmp_path,
):
    async def work(adapter):
        adapter.transport.expect(JOURNAL, *["unreachable"] * 5)
        adapter.transport.expect("fk", "unreachable")
        found = await sent(adapter, SEVERAL)
        at_once = Counter(each.state for each in found.values())
        for _ in range(8):
            adapter.clock.forward(minutes=16)
            found = await sent(adapter)
        return at_once, Counter(each.state for each in found.values()), Counter(map(str, statuses(adapter).values()))

    at_once, after, told = run(tmp_path, work, required=False)
    assert at_once == {"delivered": 3, "queued": 1}
    assert after == {"delivered": 4}
    assert told == {"['completed']": 4}


# crashes


@pytest.mark.parametrize("point", ["entering", "entered", "sending", "sent", "concluding", "concluded"])
def test_a_crash_at_any_point_loses_no_entry_and_no_message_and_doubles_none(tmp_path, point):
    """Killed just before or just after the first entry, the message, or the last entry; then started again."""
    transport = Memory([*NAMES, JOURNAL])
    submitted = r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer"])
    clock = r.Clock()

    async def killed():
        async with region(tmp_path, transport=transport, clock=clock) as adapter:
            adapter.transport = _Killed(transport, point)
            await accept(adapter, submitted, caller="local")
            dispatcher = Dispatcher(adapter, owner="test")
            for _ in range(3):
                await dispatcher.once()
                await asyncio.gather(*dispatcher._tasks, return_exceptions=True)

    async def after():
        async with region(tmp_path, transport=transport, clock=clock) as adapter:
            clock.forward(minutes=5)
            found = await sent(adapter)
            return [each.state for each in found.values()], statuses(adapter), held(adapter)["employer"]

    asyncio.run(killed())
    states, told, arrived = asyncio.run(after())
    assert states == ["delivered"]
    assert [*told.values()] == [["preparation", "completed"]]
    assert len(arrived) == 1


class _Killed:
    """Ends the task that sends, as a kill does, and every one after it."""

    def __init__(self, transport, point):
        self.transport, self.point, self.dead = transport, point, False
        self.held = transport.held

    async def aclose(self):
        pass

    async def send(self, cleared):
        before, after = {
            "preparation": ("entering", "entered"),
            "completed": ("concluding", "concluded"),
            "": ("sending", "sent"),
        }[_status(cleared)]
        if self.dead or self.point == before:
            self.dead = True
            raise asyncio.CancelledError
        receipt = await self.transport.send(cleared)
        if self.point == after:
            self.dead = True
            raise asyncio.CancelledError
        return receipt


def _status(cleared):
    if cleared.destination != JOURNAL:
        return ""
    return json.loads(cleared.body)["entry"][0]["resource"]["status"]


_FAULTS = ["", "", "unreachable", "hang", "lost", "busy", "rejected", "garbage"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    required=st.booleans(),
    journal_faults=st.lists(st.sampled_from(_FAULTS), max_size=8),
    peer_faults=st.lists(st.sampled_from(_FAULTS), max_size=5),
    steps=st.lists(st.sampled_from(["send", "again", "withdraw", "release", "discard"]), max_size=6),
)
def test_whatever_fails_the_journal_and_the_recipients_end_up_telling_the_same(
    tmp_path_factory, required, journal_faults, peer_faults, steps
):
    """No byte of a message without its entry (where it is required); in the end exactly one last word about each, and a true one."""

    async def work(adapter):
        adapter.transport = _Watched(adapter.transport, required=required)
        inner = adapter.transport.transport
        inner.expect(JOURNAL, *[each for each in journal_faults if each])
        inner.expect("employer", *[each for each in peer_faults if each])
        await accept(adapter, r.submission(INTERVENTIONS, COLLABORATE), caller="local")
        for number, step in enumerate(steps):
            if step == "send":
                name = f"i{number}"
                await sent(adapter, r.submission(r.intervention(name), **{name: ["employer"]}))
            elif step == "withdraw" and number == len(steps) - 1:
                await sent(adapter, r.submission(r.withdrawn(COLLABORATE)))
            elif step in {"release", "discard"}:
                act = quarantine.release if step == "release" else quarantine.discard
                for each in [each for each in (await messages(adapter)).values() if each.state == "dead"]:
                    await adapter.store.write(act, each.message_id, who="t", why="t", now=adapter.clock())
                await sent(adapter)
            else:
                adapter.clock.forward(minutes=7)
                await sent(adapter)
        for _ in range(40):
            adapter.clock.forward(minutes=20)
            found = await sent(adapter)
        assert (await adapter.store.read(journal.waiting)).entries == 0
        told = statuses(adapter)
        arrived = {
            json.loads(each.body)["entry"][0]["resource"]["id"]
            for each in inner.held("employer")
            if b"samtycke-aterkallat" not in each.body
        }
        for message, each in found.items():
            if each.purpose != "coordination" or each.state == "queued":  # behind a dead one
                continue
            last = told.get(message, ["nothing"])[-1]
            expected = {"delivered": {"completed"}}.get(each.state, {"not-done", "unknown", "nothing"})
            assert last in expected, (each.state, told.get(message))
        assert len(arrived) <= sum(each[-1] in {"completed", "unknown"} for each in told.values())

    run(tmp_path_factory.mktemp("region"), work, required=required)


class _Watched:
    """Sees that each message's entry has been acknowledged before the message leaves."""

    def __init__(self, transport, *, required):
        self.transport, self.required, self.entered = transport, required, set()
        self.held = transport.held

    async def aclose(self):
        pass

    async def send(self, cleared):
        if cleared.destination == JOURNAL:
            receipt = await self.transport.send(cleared)
            if receipt.outcome in {"delivered", "duplicate"}:
                self.entered |= set(cleared.records)
            return receipt
        urgent = cleared.decision.reason == "PERMITTED_NOTICE"
        assert urgent or not self.required or set(cleared.records) <= self.entered
        return await self.transport.send(cleared)


# where it is configured


def test_a_journal_must_say_whether_it_is_required(tmp_path):
    from pydantic import ValidationError

    with pytest.raises((Misconfigured, ValidationError)):
        r.settings(tmp_path, journal=LINK)


@pytest.mark.parametrize(
    ("changes", "code", "place"),
    [
        ({"required": True, "production": True}, "config.production-in-test", "journal.production"),
        ({"required": True, "url": "http://journal.example/"}, "config.tls-required", "journal.url"),
        ({"required": True, "tls": {"key": "a.key"}}, "config.missing", "journal.tls"),
    ],
)
def test_a_journal_is_held_to_the_rules_of_a_destination(tmp_path, changes, code, place):
    with pytest.raises(Misconfigured) as caught:
        r.settings(tmp_path, journal=LINK | changes)
    assert (code, place) in {(fault.code, fault.where) for fault in caught.value.faults}


def test_the_files_of_a_journal_are_looked_into(tmp_path):
    link = LINK | {"required": True, "tls": {"ca": "none.pem", "certificate": "none.pem", "key": "none.key"}}
    with pytest.raises(Misconfigured) as caught:
        check_files(r.settings(tmp_path, journal=link))
    assert {fault.where for fault in caught.value.faults} >= {"journal.tls.ca", "journal.tls.key"}


def test_doctor_tells_whether_there_is_a_journal_and_what_waits_for_it(tmp_path, capsysbinary):
    def told(**more):
        (tmp_path / "koord.toml").write_text(
            as_toml(r.settings(tmp_path, **more).model_dump(mode="json", exclude_none=True)), "utf-8"
        )
        terminal.run(koord, ["doctor", "--json", "--config", str(tmp_path / "koord.toml")])
        rows = json.loads(capsysbinary.readouterr().out)
        return {(row["where"], row["code"]) for row in rows if "journal" in row["where"]}, rows

    async def work(adapter):
        adapter.transport.send = _down_after(adapter.transport.send, 1)
        await sent(adapter, r.submission(INTERVENTIONS, r.intervention(), i1=["region-b"]))

    assert told(destinations=[])[0] == {("journal", "doctor.journal-none")}
    run(tmp_path, work)
    found, rows = told(destinations=[], journal=LINK | {"required": True})
    assert found == {("journal", "doctor.entries-waiting"), (JOURNAL, "peer.unreachable")}
    (waiting,) = [row["says"] for row in rows if row["code"] == "doctor.entries-waiting"]
    assert "not acknowledged 1 entries" in waiting
