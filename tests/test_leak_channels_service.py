"""
The channels that exist only around the gate: totals, histories, searches, errors, statuses, headers, logs, retries, caches.

Two regions with the same keys run the real service. They hold the same of what a caller may have; one of them holds more
that it may not: blocked records, another patient, kinds of record that are not for it, a diagnosis, another's consents. Every
answer is compared as a whole, with the log lines that it left. ``SEEDS`` are leaks planted in the service, each of which the
comparison sees.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from uuid import NAMESPACE_OID, uuid5

import peers
import pytest
import region as r
from fastapi import Response
from leak_seeds import Seed
from service_world import bundle, of_region_b, serving

from adapter import flows
from adapter.consent.gate import Cleared, Gate
from adapter.consent.seal import Contents, Sealer
from adapter.domain import BusinessId
from adapter.errors import Conflict, Denied, Fault
from adapter.flows import Dispatcher, accept
from adapter.service import answers, door, packages, visit
from adapter.transport import rest
from adapter.transport.rest import Rest
from adapter.wire import json as wire_json

pytestmark = pytest.mark.processes

OPEN, CLOSED, NEVER_SEEN = "191212121212", "195009072553", "196101182803"
PERSONNUMMER = "http://electronichealth.se/identifier/personnummer"
OTHER_UNIT = {"hsa_id": "TSTNMT2321000016-A002", "name": "Beroendemottagningen"}
HIDDEN = ("blocked-1", "blocked-2", "f-open", "closed-1", "sparr")
FORMS = ("application/fhir+json", "application/fhir+xml", "application/fhir+json; fhirVersion=5.0")


def plan(value, **more):
    return {
        "record": "CarePlan",
        "id": {"system": r.IDS, "value": value},
        "kind": "rehabiliteringsplan",
        "title": "Plan",
        "state": "active",
        **r.parties(OPEN),
        "author": r.STAFF,
        "created_on": "2026-11-20",
        **more,
    }


def fill(world, *, more):
    """What the caller may have, the same in both; with ``more``, what it may not."""
    common = [
        r.consent("c-open", "interventions", number=OPEN),
        r.intervention("i-open", number=OPEN),
        plan("p-open", **({"diagnoses": [{"code": "F438A", "text": "HEMLIG"}]} if more else {})),
        r.intervention("i-later", number=OPEN),
    ]
    hidden = [
        r.intervention("blocked-1", number=OPEN, unit=OTHER_UNIT),
        r.intervention("blocked-2", number=OPEN, unit=OTHER_UNIT),
        {
            "record": "Block",
            "id": {"system": r.IDS, "value": "sparr"},
            "kind": "inner",
            "patient": r.patient(OPEN),
            "provider": {"hsa_id": r.PROVIDER},
            "unit": OTHER_UNIT,
            "set_on": "2026-11-01",
        },
        r.fk_signal("f-open", number=OPEN),
        r.intervention("closed-1", number=CLOSED),
        r.intervention("closed-2", number=CLOSED),
    ]
    mixed = [*common[:2], *hidden, *common[2:]] if more else common
    answer = world.hand_over(r.submission(*mixed))
    assert answer.status_code == 202, answer.text


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    one, other = (tmp_path_factory.mktemp(name) for name in ("one", "other"))
    r.settings(one)
    for name in ("store.keys", "id.key"):
        shutil.copy(one / name, other / name)
    with serving(one) as first, serving(other) as second:
        fill(first, more=False)
        fill(second, more=True)
        yield first, second


# what is asked


def _id(world, value):
    return world.adapter.record_id("@local", BusinessId(system=r.IDS, value=value))


def probes(world):
    """(caller, method, path, what goes with it): the whole of what a curious caller may try."""
    ids = [_id(world, value) for value in ("never-was", "i-open", *HIDDEN)]
    for caller in ("region-b", "employer", "", "stranger"):
        for form in FORMS if caller in {"region-b", "employer"} else FORMS[:1]:
            headers = {"accept": form, "accept-encoding": "gzip, br", "prefer": "return=representation"}
            yield from ((caller, *asked) for asked in _reads(ids, headers))
    yield from (("region-b", *asked) for asked in (*_histories(ids), *_oracles(), *_writes(), *_others()))


def _reads(ids, headers):
    for resource_type in ("Task", "CarePlan", "Consent"):
        for number in (OPEN, CLOSED, NEVER_SEEN):
            yield "POST", f"/fhir/{resource_type}/_search", {"data": _patient(number), "headers": headers}
    for logical_id in ids:
        yield "GET", f"/fhir/Task/{logical_id}", {"headers": headers}
        yield "GET", f"/fhir/Consent/{logical_id}", {"headers": headers}
        yield "GET", f"/fhir/Task/{logical_id}", {"headers": headers | {"if-none-match": 'W/"1"'}}


def _histories(ids):
    for logical_id in ids:
        for path in ("/_history", "/_history/1", "/$everything"):
            yield "GET", f"/fhir/Task/{logical_id}{path}", {}
        for method in ("DELETE", "PATCH", "HEAD"):
            yield method, f"/fhir/Task/{logical_id}", {}


def _oracles():
    for query in QUERIES:
        yield "POST", f"/fhir/Task/_search?{query}", {"data": _patient(OPEN)}
        yield "POST", "/fhir/Task/_search", {"data": _patient(OPEN) | dict([query.split("=")])}
        yield "GET", f"/fhir/Task?{query}", {}


def _writes():
    """Records of the same name as hidden ones, written by the caller: 201, 409 and 412 tell nothing."""
    for value in HIDDEN[:2]:
        for condition in ({}, {"ifNoneMatch": "*"}, {"ifMatch": 'W/"1"'}):
            body = bundle(of_region_b(r.intervention(value, number=OPEN)))
            body["entry"][0]["request"] |= condition
            yield "POST", "/fhir", {"json": body, "headers": {"content-type": FORMS[0]}}


def _others():
    for path in ("/queue", "/dead", "/records/changes", "/fhir/Patient/1", "/fhir/$export", "/records/closed-1"):
        yield "GET", path, {}


def _patient(number):
    return {"patient:identifier": f"{PERSONNUMMER}|{number}"}


QUERIES = (
    "_summary=count",
    "_count=1",
    "_sort=-authored-on",
    "_has:Provenance:target:agent=x",
    "subject.name=Tolvan",
    "_filter=note co x",
    "_text=HEMLIG",
    "_include=Task:subject",
    "_revinclude=Provenance:target",
    "_total=accurate",
    "_lastUpdated=gt2026-11-20",
    "_elements=note",
)


def told(*worlds):
    """For each probe what was asked, and of each world the answer as a whole with the lines that it left in the log."""
    with logged() as lines:
        for number, asked in enumerate(zip(*map(probes, worlds), strict=True)):
            mine = str(uuid5(NAMESPACE_OID, f"probe {number}"))
            yield asked[0][:3], [_answer(world, lines, mine, *each) for world, each in zip(worlds, asked, strict=True)]


def _answer(world, lines, mine, caller, method, path, more):
    ADAPTER[:] = [world.adapter]
    lines.clear()
    ids = {"x-request-id": mine, "x-correlation-id": mine}
    answer = world.call(caller, method, path, **more | {"headers": more.get("headers", {}) | ids})
    until = time.monotonic() + 5
    while not any("'answered'" in line for line in lines) and time.monotonic() < until:
        time.sleep(0.0005)
    headers = {name: value for name, value in answer.headers.multi_items() if name != "date"}
    return answer.status_code, answer.reason_phrase, headers, answer.content, sorted(lines)


@contextmanager
def logged():
    """What the service writes to the log, without times and threads."""
    lines, usual = [], {*vars(logging.makeLogRecord({})), "ms", "message"}

    class Lines(logging.Handler):
        def emit(self, record):
            own = {name: value for name, value in vars(record).items() if name not in usual}
            lines.append(
                repr((record.name, record.levelname, record.getMessage(), sorted(own.items()), record.exc_text))
            )

    handler, logger = Lines(), logging.getLogger("adapter")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


def test_a_reader_cannot_tell_two_worlds_apart_that_differ_in_what_it_may_not_have(two):
    read, outside = 0, set()
    for (caller, method, path), (one, other) in told(*two):
        assert one == other, (caller, method, path)
        status, _, headers, body, lines = other
        for secret in ("blocked-", "closed-", "F438A", "Beroende", "sparr", CLOSED):
            assert secret not in f"{headers} {body.decode()} {lines}"
        read += caller == "region-b" and status == 200 and b"i-open" in body
        if caller == "employer":
            outside.add((status, body))
    assert read == 2 * len(FORMS)
    assert len(outside) == 2, "JSON and XML: a refusal is the same in both releases"
    assert {status for status, _ in outside} == {403}


# the proof proved: leaks planted in the service

ADAPTER = []


def held():
    """How much the store holds: the secret that these leaks tell."""
    return ADAPTER[-1].store.read(lambda tx: tx.one("SELECT count(*) FROM record WHERE origin = 'local'")[0]).result()


def there(logical_id):
    return (
        ADAPTER[-1]
        .store.read(lambda tx: tx.one("SELECT count(*) FROM record WHERE record_id = :id", id=logical_id)[0])
        .result()
    )


def replaced(owner, name, make):
    """``make(real)`` in the place of a function."""
    return lambda monkeypatch: monkeypatch.setattr(owner, name, make(getattr(owner, name)))


def headed(**headers):
    """Answers to reads with more headers, each made when it is needed."""

    def make(real):
        def from_cleared(cleared, **more):
            response = real(cleared, **more)
            for name, value in headers.items():
                response.headers[name.replace("_", "-")] = value()
            return response

        return from_cleared

    return replaced(answers, "from_cleared", make)


def bodied(change):
    def make(real):
        def from_cleared(cleared, **more):
            real(cleared, **more)
            return Response(change(cleared.body), media_type=cleared.content_type)

        return from_cleared

    return replaced(answers, "from_cleared", make)


def refused(error):
    """What is there and may not be read is refused in another way than what is not there."""

    def make(real):
        async def read_one(adapter, resource_type, logical_id, reader):
            try:
                return await real(adapter, resource_type, logical_id, reader)
            except Denied:
                if await adapter.store.read(
                    lambda tx: tx.one("SELECT 1 FROM record WHERE record_id = :i", i=logical_id)
                ):
                    raise error from None
                raise

        return read_one

    return replaced(flows, "read_one", make)


def _counting(real):
    def allow_parameters(call, *known):
        if "_has:Provenance:target:agent" in call.request.query_params and held() > 5:
            return {}
        return real(call, *known)

    return allow_parameters


def _telling_log(real):
    def enter(about, scope, status, seconds):
        visit.log.info("store holds %s", held())
        real(about, scope, status, seconds)

    return enter


def _raised(real):
    def from_cleared(cleared, **more):
        if held() > 5:
            raise RuntimeError
        return real(cleared, **more)

    return from_cleared


def _entry_for_each(real):
    def write(form, content, **more):
        if content.get("type") == "searchset":
            content = content | {"total": held()}
        return real(form, content, **more)

    return write


def _of_other_regions(real):
    """Whatever says it is a consent counts, whoever wrote it."""

    def snapshot(adapter, record, stored):
        everything = SimpleNamespace(
            consent_version=stored.consent_version,
            records=tuple(replace(version, origin="local") for version in stored.records),
        )
        return real(adapter, record, everything)

    return snapshot


SEEDS = {
    "total of an empty page": Seed(10, replaced(answers, "resource", _entry_for_each)),
    "total": Seed(10, bodied(lambda body: body[:-1] + b',"total":%d}' % held())),
    "included, as many as there are": Seed(15, bodied(lambda body: body + b'{"mode":"include"}' * held())),
    "a condition that is tested": Seed(16, refused(Conflict(Fault("store.stale-version", "Task.version")))),
    "a parameter that is tried": Seed(17, replaced(door.Call, "allow_parameters", _counting)),
    "text of an error": Seed(18, replaced(answers, "operation_outcome", lambda real: lambda faults, language: real(
        [*faults, Fault("exchange.not-found", f"entry[{held()}]")], language
    ))),
    "location": Seed(18, headed(location=lambda: f"/fhir/Task/{held()}")),
    "an exception": Seed(18, replaced(answers, "from_cleared", _raised)),
    "forbidden, not missing": Seed(19, refused(Denied(Fault("exchange.forbidden")))),
    "etag": Seed(20, replaced(packages, "etag", lambda _: lambda version: f'W/"{version + held()}"')),
    "length": Seed(20, bodied(lambda body: body + b" " * held())),
    "log line": Seed(22, replaced(visit, "_enter", _telling_log)),
    "file name": Seed(25, headed(content_disposition=lambda: f'attachment; filename="{held()}.json"')),
    "metric": Seed(22, headed(server_timing=lambda: f"rows;dur={held()}")),
}  # fmt: skip


@pytest.mark.parametrize("leak", SEEDS)
def test_the_comparison_sees_every_leak_planted_in_the_service(two, leak, monkeypatch):
    with monkeypatch.context() as patched:
        SEEDS[leak].plant(patched)
        assert any(one != other for _, (one, other) in told(*two))


def test_another_regions_consent_counts_for_nothing_unless_a_leak_is_planted(two, monkeypatch):
    world = two[0]
    theirs = of_region_b(r.consent("their-refusal", "interventions", number=OPEN) | {"state": "refused"})

    def read():
        return world.call("region-b", "GET", f"/fhir/Task/{_id(world, 'i-open')}").status_code

    assert read() == 200
    assert world.send(bundle(theirs)).status_code == 200
    assert read() == 200
    with monkeypatch.context() as patched:
        replaced(flows.Adapter, "snapshot", _of_other_regions)(patched)
        patched.setattr("adapter.consent.policy._provider", lambda _: "provider")
        assert read() == 404


# what is sent

OUTSIDE = ("employer", "municipality", "fk")
MUNICIPALITY = {"category": "kommun", "organisation_number": "2120000142", "name": "Kommunen"}


def sent(folder, form, secret, plant=None):
    """All that arrives at each outside actor, through faults on the way, and after a withdrawal; what is withheld is there too."""

    async def go():
        destinations = [
            {"url": f"http://127.0.0.1:1/{each['id']}", "network": "loopback", "production": False, "format": form}
            | each
            for each in r.DESTINATIONS
        ]
        async with r.region(folder, destinations=destinations) as adapter:
            if plant:
                plant(adapter)
            queued = r.submission(*_records(secret), i1=["region-b", *OUTSIDE[:2]], f1=["fk"], i2=["employer", "af"])
            for name in OUTSIDE:
                adapter.transport.expect(name, "unreachable", "busy", "lost")
            await accept(adapter, queued, caller="local", correlation_id="case")
            for _ in range(6):
                await Dispatcher(adapter, owner="test").drain()
                adapter.clock.forward(hours=2)
            return {
                name: [(each.correlation_id, each.content_type, each.body) for each in adapter.transport.held(name)]
                for name in (*OUTSIDE, "af")
            }

    return asyncio.run(go())


def _records(secret):
    unheard = {"actor": EMPLOYERS_RIVAL, "contact": secret}
    met = [{"actor": r.EMPLOYER, "contact": "Kim Karlsson"}, {"actor": MUNICIPALITY}, *[unheard] * len(secret)]
    blocked = {
        "record": "Block",
        "id": {"system": r.IDS, "value": "sparr"},
        "kind": "inner",
        "patient": r.patient(OPEN),
        "provider": {"hsa_id": r.PROVIDER},
        "unit": OTHER_UNIT,
        "set_on": "2026-11-01",
    }
    return [
        r.consent("c1", "interventions"),
        r.consent("c2", "collaborate", recipient=r.EMPLOYER),
        r.consent("c3", "collaborate", recipient=MUNICIPALITY),
        r.consent("c4", "inform-fk"),
        r.intervention("i1", note=secret, met=met),
        r.fk_signal("f1"),
        r.intervention("i2", note=secret, unit=OTHER_UNIT),
        blocked,
    ]


EMPLOYERS_RIVAL = {"category": "arbetsgivare", "organisation_number": "2321000032", "name": "Rivalen AB"}


@pytest.fixture
def folders(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    r.settings(tmp_path / "one")
    for name in ("store.keys", "id.key"):
        shutil.copy(tmp_path / "one" / name, tmp_path / "other" / name)
    return tmp_path / "one", tmp_path / "other"


SECRETS = ("HEMLIG", "HEMLIG-OCH-LANG")


@pytest.mark.parametrize("form", ["json", "xml"])
def test_no_receiver_can_tell_two_worlds_apart_that_differ_in_what_it_may_not_have(folders, form):
    one, other = (sent(folder, form, secret) for folder, secret in zip(folders, SECRETS, strict=True))
    assert one == other
    assert {name: len(messages) for name, messages in one.items()} == dict.fromkeys(OUTSIDE, 1) | {"af": 0}


def _notice_of_what_is_withheld(adapter):
    """Somebody thought that a recipient should know that there was something."""
    clear, sealer = adapter.gate.clear, Sealer(b"k" * 32)

    def clearing(record, **named):
        result = clear(record, **named)
        if isinstance(result, Cleared):
            return result
        body = b'{"resourceType":"OperationOutcome","id":"%d"}' % len(record.note or "")
        contents = Contents(
            body, "application/fhir+json", result.destination, named["request_id"], named["correlation_id"],
            named["now"], result.consent_version, (), (), (), b"{}",
        )  # fmt: skip
        return sealer.seal(contents, result.decision)

    adapter.gate.clear = clearing


def _cache_of_bodies(adapter):
    """The bytes of a record are made once, for whoever asks first: the other region."""
    made, real = {}, adapter.gate._body

    def body(content, recipient, records, *decisions):
        named = records[0].id
        made.setdefault(named, wire_json.write({"note": str(records[0])}))
        return made[named] if recipient.type != "vard" else real(content, recipient, records, *decisions)

    adapter.gate._body = body


PUSH_SEEDS = {
    "notice of what is withheld": Seed(23, _notice_of_what_is_withheld),
    "one body for all": Seed(24, _cache_of_bodies),
}


@pytest.mark.parametrize("leak", PUSH_SEEDS)
def test_the_comparison_sees_every_leak_planted_on_the_way_out(folders, leak):
    plant = PUSH_SEEDS[leak].plant
    one, other = (sent(folder, "json", secret, plant) for folder, secret in zip(folders, SECRETS, strict=True))
    assert one != other


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_request_to_a_peer_tells_nothing_but_the_bytes_and_the_ids(tmp_path, form, monkeypatch):
    """Over real TLS: what the gate sealed for the sender alone (consents, records, categories, explanation) is in no header."""
    peers.make_pki(tmp_path)
    kind = f"application/fhir+{form}"
    plain = peers.cleared(content_type=kind)
    telling = _resealed(
        plain, consent_versions=(("c1", 7),), records=(("i1", 3),), categories=("note",), explanation=b"x"
    )

    async def heads():
        peer = peers.Peer(tmp_path)
        await peer.start()
        there = peers.destination(peer.port, tmp_path, format=form)
        async with Rest(peers.region(destinations=[there])) as transport:
            for cleared in (plain, telling):
                assert (await transport.send(cleared)).outcome == "delivered"
        await peer.stop()
        return [
            [line for line in head.split("\r\n") if not line.lower().startswith("traceparent")] for head in peer.heads
        ]

    one, other = asyncio.run(heads())
    assert one == other
    real = rest._Channel._headers
    monkeypatch.setattr(
        rest._Channel,
        "_headers",
        lambda self, cleared: real(self, cleared) | {"X-Consent": str(cleared.consent_versions)},
    )
    one, other = asyncio.run(heads())  # the planted leak
    assert one != other


def _resealed(cleared, **changes):
    fields = {name: getattr(cleared, name) for name in Contents.__dataclass_fields__}
    return peers.SEALER.seal(Contents(**fields | changes), None)


# what was read before


def _answered_before(real):
    """A cache by what was asked, not by who asks and when."""
    kept = {}

    def answer(gate, records, **named):
        key = tuple(record.id for record in records), named["form"], named["reader"].format
        result = real(gate, records, **named)
        if isinstance(result, Cleared):
            kept[key] = result
        return kept.get(key, result)

    return answer


@pytest.mark.parametrize("planted", [False, True])
def test_what_was_read_before_is_not_given_after_a_withdrawal_or_a_block_nor_to_another(tmp_path, planted, monkeypatch):
    if planted:
        replaced(Gate, "answer", _answered_before)(monkeypatch)
    with serving(tmp_path) as world:
        for number, ending in ((OPEN, r.withdrawn), (CLOSED, _blocked)):
            given = r.consent(f"c-{ending.__name__}", "interventions", number=number)
            mine = r.intervention(f"i-{ending.__name__}", unit=OTHER_UNIT, number=number)
            assert world.hand_over(r.submission(given, mine)).status_code == 202
            path = f"/fhir/Task/{_id(world, mine['id']['value'])}"
            assert world.call("region-b", "GET", path).status_code == 200
            assert world.hand_over(r.submission(ending(given))).status_code == 202
            assert world.call("region-b", "GET", path).status_code == (200 if planted else 404)
            assert world.call("employer", "GET", path).status_code == 403


def _blocked(given):
    block = _records("x")[-1]
    return block | {"id": {"system": r.IDS, "value": f"b-{given['id']['value']}"}, "patient": given["patient"]}
