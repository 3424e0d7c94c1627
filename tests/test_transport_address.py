import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.transport.address import AddressRefusedError, PinnedResolver, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("fd00::1", "private"),
        ("fc00::1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("1.1.1.1", "public"),
        ("193.10.10.10", "public"),
        ("172.32.0.1", "public"),
        ("2a00:801:f0::1", "public"),
        ("::ffff:1.1.1.1", "public"),
        ("169.254.169.254", None),
        ("169.254.0.1", None),
        ("fe80::1", None),
        ("fe80::1%eth0", None),
        ("::ffff:169.254.169.254", None),
        ("0.0.0.0", None),
        ("0.1.2.3", None),
        ("::", None),
        ("255.255.255.255", None),
        ("224.0.0.1", None),
        ("ff02::1", None),
        ("ff0e::1", None),
        ("240.0.0.1", None),
        ("100.64.0.1", None),
        ("192.0.0.1", None),
        ("192.0.2.1", None),
        ("198.18.0.1", None),
        ("198.51.100.1", None),
        ("203.0.113.1", None),
        ("2001:db8::1", None),
        ("64:ff9b::7f00:1", None),
        ("64:ff9b::a9fe:a9fe", None),
        ("64:ff9b:1::1", None),
        ("2002:7f00:1::", None),
        ("2002:a00:1::1", None),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", None),
        ("fec0::1", None),
        ("::7f00:1", None),
        ("100::1", None),
        ("127.1", None),
        ("2130706433", None),
        ("0x7f000001", None),
        ("0177.0.0.1", None),
        ("127.0.0.1 ", None),
        ("１２７.0.0.1", None),
        ("localhost", None),
        ("", None),
    ],
)
def test_every_address_is_in_one_kind_of_network_or_in_none(address, network):
    assert network_of(address) == network


@given(address=st.ip_addresses())
def test_no_address_breaks_it_and_only_global_ones_are_public(address):
    if network_of(str(address)) == "public":
        inner = getattr(address, "ipv4_mapped", None) or address
        assert inner.is_global
        assert not any((inner.is_loopback, inner.is_private, inner.is_link_local, inner.is_multicast))


class Names:
    """A name service whose answers change."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host, port):
        self.asked += 1
        return self.answers.pop(0)


def resolve(resolver):
    return [found["host"] for found in asyncio.run(resolver.resolve("peer.example", 443))]


def test_a_name_is_looked_up_once():
    names = Names(["1.1.1.1", "2a00:801:f0::1"], ["127.0.0.1"])
    resolver = PinnedResolver("public", names)
    assert resolve(resolver) == resolve(resolver) == ["1.1.1.1", "2a00:801:f0::1"]
    assert names.asked == 1


def test_a_name_that_moves_into_another_network_is_refused_when_it_is_looked_up_anew():
    resolver = PinnedResolver("public", Names(["1.1.1.1"], ["169.254.169.254"], ["1.1.1.2"]))
    resolve(resolver)
    resolver.forget()
    with pytest.raises(AddressRefusedError):
        resolve(resolver)
    assert resolve(resolver) == ["1.1.1.2"]


@pytest.mark.parametrize("answers", [["1.1.1.1", "127.0.0.1"], ["10.0.0.1", "1.1.1.1"], [], ["not an address"]])
def test_one_wrong_address_among_right_ones_refuses_them_all(answers):
    with pytest.raises(AddressRefusedError):
        resolve(PinnedResolver("public", Names(answers)))


def test_the_families_of_addresses_are_told():
    found = asyncio.run(PinnedResolver("public", Names(["1.1.1.1", "2a00:801:f0::1"])).resolve("peer.example", 443))
    assert [one["family"] for one in found] == [socket.AF_INET, socket.AF_INET6]


def test_localhost_is_on_loopback():
    assert set(resolve_localhost()) <= {"127.0.0.1", "::1"}


def resolve_localhost():
    return [found["host"] for found in asyncio.run(PinnedResolver("loopback").resolve("localhost", 443))]
