"""What every transport does, real or in memory: one suite for all of them."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from adapter.consent.seal import Cleared
from adapter.errors import Denied, catalogue
from adapter.transport.memory import _RECEIPTS, Memory, Situation
from adapter.transport.rest import Rest
from tests.peers import Peer, cleared, destination, make_pki, region

pytestmark = pytest.mark.processes

SITUATIONS = list(Situation.__args__)


class InMemory:
    content_type = "application/fhir+json"

    @asynccontextmanager
    async def open(self):
        self.transport = Memory(["fk"])
        yield self

    async def send(self, message, situation=None):
        if situation:
            self.transport.expect("fk", situation)
        return await self.transport.send(message)

    @property
    def held(self):
        return {arrived.request_id: arrived.body for arrived in self.transport.held("fk")}


class OverTls:
    def __init__(self, folder, kind):
        self.folder = folder
        self.kind = kind
        self.content_type = f"application/fhir+{kind}"

    @asynccontextmanager
    async def open(self):
        self.peer = Peer(self.folder)
        await self.peer.start()
        async with Rest(
            region(destinations=[destination(self.peer.port, self.folder, format=self.kind)])
        ) as self.transport:
            yield self
        await self.peer.stop()

    async def send(self, message, situation=None):
        async with self.peer.while_(situation):
            return await self.transport.send(message)

    @property
    def held(self):
        return self.peer.held


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    make_pki(folder)
    return folder


@pytest.fixture(params=["memory", "rest json", "rest xml"])
def way(request, folder):
    return InMemory() if request.param == "memory" else OverTls(folder, request.param.split()[1])


def using(way, test):
    async def main():
        async with way.open():
            return await test(way)

    return asyncio.run(main())


def message(way, number=1, body=b'{"resourceType":"Bundle"}'):
    return cleared(body, request_id=f"r-{number}", content_type=way.content_type)


def test_a_message_arrives_byte_by_byte(way):
    async def test(way):
        receipt = await way.send(message(way, body='{ "å" : 1.00 }\n'.encode()))
        assert (receipt.outcome, receipt.status, receipt.reason, receipt.exposed) == ("delivered", 200, "", True)
        assert way.held == {"r-1": '{ "å" : 1.00 }\n'.encode()}

    using(way, test)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_trouble_is_told_the_same_by_all_and_costs_no_message(way, situation):
    async def test(way):
        receipt = await way.send(message(way), situation)
        assert receipt == _RECEIPTS[situation]
        again = await way.send(message(way))
        assert again.outcome == "delivered"
        assert way.held == {"r-1": message(way).body}

    using(way, test)


def test_a_lost_acknowledgement_has_no_second_effect(way):
    async def test(way):
        receipts = [await way.send(message(way), situation) for situation in ("lost", "lost", None, None)]
        assert [receipt.outcome for receipt in receipts] == ["retry", "retry", "delivered", "delivered"]
        assert len(way.held) == 1

    using(way, test)


def test_another_body_under_the_same_request_id_counts_as_delivered_before(way):
    async def test(way):
        await way.send(message(way))
        receipt = await way.send(message(way, body=b'{"resourceType":"Bundle","id":"other"}'))
        assert (receipt.outcome, receipt.status, receipt.issue) == ("duplicate", 409, "duplicate")
        assert way.held == {"r-1": message(way).body}

    using(way, test)


def test_nothing_goes_where_the_settings_name_nobody(way):
    async def test(way):
        receipt = await way.send(cleared(destination="kommun"))
        assert (receipt.outcome, receipt.reason, receipt.exposed) == ("refused", "config.no-such-destination", False)
        assert way.held == {}

    using(way, test)


def forged_by_change(way):
    sealed = message(way)
    object.__setattr__(sealed, "body", b"something else")
    return sealed


def forged_destination(way):
    sealed = cleared(destination="kommun")
    object.__setattr__(sealed, "destination", "fk")
    return sealed


def forged_from_nothing(way):
    sealed = object.__new__(Cleared)
    for name in ("body", "content_type", "destination", "request_id", "correlation_id", "digest", "seal", "key_id"):
        object.__setattr__(sealed, name, getattr(message(way), name))
    return sealed


def looks_alike(way):
    return type(
        "Cleared", (), {name: getattr(message(way), name) for name in ("body", "destination", "request_id", "seal")}
    )()


@pytest.mark.parametrize("forge", [forged_by_change, forged_destination, forged_from_nothing, looks_alike])
def test_what_the_gate_did_not_make_is_not_sent(way, forge):
    async def test(way):
        with pytest.raises(Denied):
            await way.send(forge(way))
        assert way.held == {}

    using(way, test)


def test_whatever_goes_wrong_each_message_arrives_once_and_in_order(way):
    """Sent until the receipt says so, one after the other, as the dispatcher does for a lane."""
    chance = random.Random(7)
    quick = [situation for situation in SITUATIONS if situation not in {"hang", "drip", "certificate", "too-large"}]

    async def test(way):
        for number in range(20):
            while (
                await way.send(message(way, number), chance.choice([*quick, None, None, None]))
            ).outcome != "delivered":
                pass
        assert list(way.held) == [f"r-{number}" for number in range(20)]

    using(way, test)


def test_every_reason_is_in_the_catalogue():
    for receipt in _RECEIPTS.values():
        assert catalogue(receipt.reason)
