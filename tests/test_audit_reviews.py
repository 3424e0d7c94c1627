"""Those who look into the audit log: what they get, that they are logged themselves, and that nothing else comes along."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from audit_world import OPERATOR, OTHER, PATIENT, WORDS, entries, eventful, keys, patient_key, review, signed
from hypothesis import given, settings
from hypothesis import strategies as st
from region import UNIT, region
from store_world import START, World

from adapter.errors import Misconfigured, StoreFault
from adapter.flows import Dispatcher, reviews
from adapter.flows import checkpoints as signing
from adapter.store import audit, checkpoints
from adapter.store.audit import Entry, Query

EVERYTHING = Query()


def in_region(tmp_path, work, **more):
    async def go():
        async with eventful(tmp_path, **more) as adapter:
            return await work(adapter)

    return asyncio.run(go())


def newest(found):
    return found[-1].entry


# The five fields


def test_every_entry_about_a_patient_says_what_where_when_who_and_about_whom(tmp_path):
    """HSLF-FS 2016:40 4 kap. 9 §: action, care unit, time, user and patient."""

    async def work(adapter):
        return await entries(adapter), {patient_key(adapter), patient_key(adapter, OTHER)}

    found, patients = in_region(tmp_path, work)
    families = {each.entry.event for each in found}
    assert families >= {
        "record.accepted",
        "message.delivered",
        "message.refused",
        "record.read",
        "record.searched",
        "message.resent",
        "destination.paused",
    }
    for each in found:
        entry = each.entry
        assert entry.event
        assert entry.who
        assert entry.unit
        assert each.at
        assert entry.event == "destination.paused" or entry.patient_key in patients


def test_a_reader_is_logged_at_its_own_unit_and_we_at_ours(tmp_path):
    found = in_region(tmp_path, entries)
    assert {each.entry.unit for each in found if each.entry.who == "region-b"} == {"TSTNMT2321000131-B000"}
    assert {each.entry.unit for each in found if each.entry.who == "adapter"} == {UNIT}


# Search


def test_a_search_gives_what_was_asked_for_and_is_logged_first(tmp_path):
    async def work(adapter):
        key = patient_key(adapter)
        found = await review(adapter).search(Query(patient_key=key, event="message"), limit=100)
        return found, key, await entries(adapter)

    found, key, log = in_region(tmp_path, work)
    assert {each.entry.event for each in found} == {"message.delivered", "message.refused", "message.resent"}
    assert {each.entry.patient_key for each in found} == {key}
    entry = newest(log)
    assert (entry.event, entry.who, entry.patient_key, entry.unit) == ("audit.searched", OPERATOR, key, UNIT)
    assert json.loads(entry.details) == {"event": "message"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(event="message.refused"), {"message.refused"}),
        (Query(event="mess"), set()),
        (Query(who="region-b", outcome="refused"), {"record.read", "record.searched"}),
        (Query(outcome="refused", event="record"), {"record.read", "record.searched"}),
        (Query(who="nobody"), set()),
    ],
)
def test_a_search_is_narrowed_by_event_family_user_and_outcome(tmp_path, query, expected):
    async def work(adapter):
        return await review(adapter).search(query, limit=100)

    assert {each.entry.event for each in in_region(tmp_path, work)} == expected


def test_a_search_of_a_period_includes_its_ends_and_a_limit_gives_the_newest(tmp_path):
    async def work(adapter):
        log = await entries(adapter)
        since, until = log[2].at, log[-3].at
        among = await review(adapter).search(Query(since=since, until=until), limit=1000)
        last = await review(adapter).search(Query(until=until), limit=2)
        return log, since, until, among, last

    log, since, until, among, last = in_region(tmp_path, work)
    assert among == [each for each in log if since <= each.at <= until]
    assert last == among[-2:]


def test_what_cannot_be_logged_is_not_shown(tmp_path):
    async def work(adapter):
        adapter.store.close()
        with pytest.raises(StoreFault, match="store.closed"):
            await review(adapter).search(Query(), limit=1)

    in_region(tmp_path, work)


# Spot checks


STRATA = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["U1", "U2", None])), max_size=30)


@given(strata=STRATA, n=st.integers(1, 12), seed=st.text(max_size=5))
@settings(max_examples=30)
def test_a_sample_has_every_user_at_every_unit_at_least_n_and_is_drawn_again_by_its_seed(strata, n, seed):
    world = World()
    for who, unit in strata:
        world.do(audit.append, [Entry("record.read", who, patient_key="p", unit=unit)], now=START)
        world.do(audit.append, [Entry("destination.paused", who, unit=unit)], now=START)
    last = 2 * len(strata)
    drawn = world.do(reviews._sample, Query(), last, n, seed)
    assert {(each.entry.who, each.entry.unit) for each in drawn} == set(strata)
    assert len(drawn) == min(len(strata), max(n, len(set(strata))))
    assert all(each.entry.patient_key for each in drawn)
    assert [each.sequence for each in drawn] == sorted({each.sequence for each in drawn})
    world.do(audit.append, [Entry("record.read", "later", patient_key="p")], now=START)
    assert world.do(reviews._sample, Query(), last, n, seed) == drawn
    world.close()


def test_every_entry_is_about_as_likely_to_be_drawn():
    world = World()
    world.do(audit.append, [Entry("record.read", "a", patient_key="p") for _ in range(20)], now=START)
    drawn = Counter(
        each.sequence for seed in range(400) for each in world.do(reviews._sample, Query(), 20, 5, str(seed))
    )
    assert set(drawn) == set(range(1, 21))
    assert max(drawn.values()) < 2 * min(drawn.values())
    world.close()


def test_a_sample_is_logged_with_its_seed_and_its_size(tmp_path):
    async def work(adapter):
        found = await review(adapter).sample(Query(), n=3, seed="2026-11")
        return found, await entries(adapter)

    found, log = in_region(tmp_path, work)
    assert {each.entry.who for each in found} == {"journal", "adapter", "region-b", OPERATOR}
    assert newest(log).event == "audit.sampled"
    assert json.loads(newest(log).details) == {"n": 3, "seed": "2026-11"}


# What a patient is told


def test_an_extract_holds_exactly_the_rows_of_the_patient_and_tells_no_user(tmp_path):
    async def work(adapter):
        log = await entries(adapter)
        told = {number: await review(adapter).of_patient(patient_key(adapter, number)) for number in (PATIENT, OTHER)}
        keys_ = {number: patient_key(adapter, number) for number in told}
        return log, told, keys_, await entries(adapter)

    log, told, keys_, after = in_region(tmp_path, work)
    for number, lines in told.items():
        mine = [each for each in log if each.entry.patient_key == keys_[number]]
        assert [(line.at, line.unit, line.event) for line in lines] == [
            (each.at, each.entry.unit, each.entry.event) for each in mine
        ]
        assert OPERATOR not in repr(lines)
        assert "journal" not in repr(lines)
    assert [each.entry.event for each in after[-2:]] == ["audit.extracted"] * 2
    assert after[-2].entry.patient_key == keys_[PATIENT]


def test_an_extract_names_who_received_and_who_was_refused(tmp_path):
    async def work(adapter):
        return await review(adapter).of_patient(patient_key(adapter))

    told = {(line.event, line.outcome, reviews.recipient(line, "sv")) for line in in_region(tmp_path, work)}
    assert told >= {
        ("record.accepted", "ok", None),
        ("message.delivered", "ok", "arbetsgivare (employer)"),
        ("message.delivered", "ok", "hälso- och sjukvård (region-b)"),
        ("message.refused", "refused", "Arbetsförmedlingen (af)"),
        ("record.read", "ok", "hälso- och sjukvård (region-b)"),
    }


def test_every_event_about_a_patient_is_told_as_what_it_is():
    source = "".join(path.read_text("utf-8") for path in Path(audit.__file__).parents[1].rglob("*.py"))
    written = set(re.findall(r"""Entry\(\s*f?"([a-z]+)[.]""", source)) - {"destination"}
    assert written >= {"record", "message", "changes"}
    assert written <= {name.partition(".")[0] for name in reviews._MEASURES}


def test_every_measure_is_told_in_both_languages():
    for event in [*(name.partition(" ")[0] for name in reviews._MEASURES), "something.new"]:
        for outcome in ("ok", "refused"):
            assert reviews.measure(event, outcome, "sv") != reviews.measure(event, outcome, "en")
    assert reviews.measure("record.read", "refused", "en") != reviews.measure("record.read", "ok", "en")


# Export


def exported(review_, query=EVERYTHING, form="jsonl"):
    lines = []

    async def go():
        return await review_.export(lines.append, query, form)

    return go, lines


def test_an_export_proves_itself_to_whoever_has_the_public_key(tmp_path):
    async def work(adapter):
        go, lines = exported(review(adapter))
        count = await go()
        found = await adapter.store.read(checkpoints.verify, keys(tmp_path))
        return count, lines, found

    count, lines, found = in_region(tmp_path, work)
    offline = checkpoints.verify_export(lines, keys(tmp_path))
    assert (offline.rows, offline.proved, offline.breaks) == (count, count, ())
    assert (offline.head, found.breaks) == (found.head, ())
    assert json.loads(lines[-2])["event"] == "audit.exported"
    assert checkpoints.from_line(lines[-1]).rows == count
    assert checkpoints.kept(tmp_path / "checkpoints.jsonl") == ([checkpoints.from_line(lines[-1])], [])


@pytest.mark.parametrize("form", ["jsonl", "fhir"])
def test_an_export_holds_no_number_of_a_person_and_no_words_of_one(tmp_path, form):
    async def work(adapter):
        go, lines = exported(review(adapter), form=form)
        await go()
        return b"".join(lines).decode()

    text = in_region(tmp_path, work)
    for secret in (PATIENT, OTHER, WORDS, "Tolvan", "HEMLIG", "Kim Karlsson"):
        assert secret not in text


def test_an_export_of_a_period_can_be_verified_as_a_part(tmp_path):
    async def work(adapter):
        log = await entries(adapter)
        await signing.sign(adapter.store, adapter.settings, adapter.clock)
        go, lines = exported(review(adapter), Query(since=log[4].at, until=log[-1].at))
        return await go(), lines, [each for each in log if log[4].at <= each.at <= log[-1].at]

    count, lines, wanted = in_region(tmp_path, work)
    assert count >= len(wanted)
    assert checkpoints.verify_export(lines, keys(tmp_path), part=True).breaks == ()


def test_without_a_key_an_export_has_no_checkpoints_and_holds_by_its_links(tmp_path):
    async def work():
        async with region(tmp_path) as adapter:
            await adapter.store.write(audit.append, [Entry("record.read", "peer")] * 3, now=adapter.clock())
            go, lines = exported(review(adapter))
            await go()
            with pytest.raises(Misconfigured, match="config.missing"):
                await signing.sign(adapter.store, adapter.settings, adapter.clock)
            return lines

    found = checkpoints.verify_export(asyncio.run(work()), {})
    assert (found.rows, found.proved, found.breaks) == (4, 0, ())


# Signing at intervals


def kept(folder):
    path = folder / "checkpoints.jsonl"
    return checkpoints.kept(path)[0] if path.exists() else []


async def until(true):
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came")


def test_a_dispatcher_signs_when_there_are_enough_rows_and_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(signing, "_LOOK_S", 0.01)

    async def work():
        async with region(tmp_path, **signed(tmp_path, every_rows=3)) as adapter:
            running = asyncio.create_task(Dispatcher(adapter, owner="test").run())
            await adapter.store.write(audit.append, [Entry("record.read", "peer")] * 2, now=adapter.clock())
            await asyncio.sleep(0.1)
            early = kept(tmp_path)
            await adapter.store.write(audit.append, [Entry("record.read", "peer")], now=adapter.clock())
            await until(lambda: kept(tmp_path))
            await adapter.store.write(audit.append, [Entry("record.read", "peer")], now=adapter.clock())
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            return early, await adapter.store.read(checkpoints.verify, keys(tmp_path), elsewhere=kept(tmp_path))

    early, found = asyncio.run(work())
    assert early == []
    assert [each.rows for each in kept(tmp_path)] == [3, 4]
    assert (found.proved, found.breaks) == (4, ())


def test_few_rows_are_signed_when_they_have_waited_long_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(signing, "_LOOK_S", 0.01)

    async def work():
        async with region(tmp_path, **signed(tmp_path, every_minutes=5)) as adapter:
            await adapter.store.write(audit.append, [Entry("record.read", "peer")], now=adapter.clock())
            running = asyncio.create_task(signing.sign_regularly(adapter.store, adapter.settings, adapter.clock))
            adapter.clock.forward(minutes=4)
            await asyncio.sleep(0.05)
            early = kept(tmp_path)
            adapter.clock.forward(minutes=1)
            await until(lambda: kept(tmp_path))
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            return early

    assert asyncio.run(work()) == []
    assert len(kept(tmp_path)) == 1


def test_a_file_that_cannot_be_written_stops_nothing_and_gets_the_checkpoint_later(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(signing, "_LOOK_S", 0.01)
    (tmp_path / "checkpoints.jsonl").mkdir()

    async def work():
        async with region(tmp_path, **signed(tmp_path, every_rows=1)) as adapter:
            running = asyncio.create_task(signing.sign_regularly(adapter.store, adapter.settings, adapter.clock))
            await adapter.store.write(audit.append, [Entry("record.read", "peer")], now=adapter.clock())
            await until(lambda: "checkpoint failed: store.unreadable" in caplog.text)
            (tmp_path / "checkpoints.jsonl").rmdir()
            await adapter.store.write(audit.append, [Entry("record.read", "peer")], now=adapter.clock())
            await until(lambda: len(kept(tmp_path)) == 2)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(work())
    assert [each.rows for each in kept(tmp_path)] == [1, 2]


def test_several_processes_of_one_installation_sign_each_row_once(tmp_path):
    async def work():
        async with region(tmp_path, **signed(tmp_path)) as adapter:
            for _ in range(5):
                new = [Entry("record.read", "peer")] * random.Random(4).randint(1, 5)
                await adapter.store.write(audit.append, new, now=adapter.clock())
                await asyncio.gather(*(signing.sign(adapter.store, adapter.settings, adapter.clock) for _ in range(6)))
            return await adapter.store.read(checkpoints.verify, keys(tmp_path), elsewhere=kept(tmp_path))

    found = asyncio.run(work())
    assert found.breaks == ()
    assert found.proved == found.rows
    assert [each.number for each in kept(tmp_path)] == [1, 2, 3, 4, 5]
