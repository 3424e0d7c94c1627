"""Where a host name may lead: resolved once, every address checked against the kind of network that the settings name, and kept."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from adapter.settings import Network

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host name."""

_PRIVATE: Final = [ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]
_NEVER: Final = [ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10")]
"""NAT64, Teredo and 6to4 hide any IPv4 address inside an IPv6 one; site-local addresses were withdrawn (RFC 3879)."""


class AddressRefusedError(OSError):
    """The name leads somewhere that its destination may not be."""


def network_of(address: str) -> Network | None:
    """
    The kind of network that an IP address is in; None for what nobody sends to: link-local (cloud metadata among it),
    multicast, unspecified, reserved, shared, translated addresses, and text that is no address.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_loopback:
        return "loopback"
    if found.is_multicast or found.is_link_local or any(found in net for net in _NEVER):
        return None
    if any(found in net for net in _PRIVATE):
        return "private"
    return "public" if found.is_global and not found.is_reserved else None


async def lookup(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class PinnedResolver(AbstractResolver):
    """
    Resolves the one host name of a destination, the first time it is asked, and gives the same addresses until ``forget``.

    Raises (from ``resolve``):
        AddressRefusedError: one of the addresses is not in ``network``.
    """

    def __init__(self, network: Network, look_up: Lookup = lookup) -> None:
        self._network = network
        self._look_up = look_up
        self._pinned: list[str] = []

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002  both are given; the connector tries them in turn
    ) -> list[ResolveResult]:
        addresses = self._pinned or await self._look_up(host, port)
        if not addresses or any(network_of(address) != self._network for address in addresses):
            raise AddressRefusedError("an address outside the network that was named")
        self._pinned = addresses
        return [_result(host, address, port) for address in addresses]

    def forget(self) -> None:
        """Nobody answered there: resolve and check anew next time, since a peer may have moved."""
        self._pinned = []

    async def close(self) -> None:
        """Nothing is held open."""


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST
    )
