"""Banned networks as a process knows them, asked for each client before anything is said to it. It reads nothing."""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Bans:
    """`allowed` are networks that no ban is for; `refused` is called for each client that is kept out."""

    def __init__(
        self, monotonic: Callable[[], float], allowed: Sequence[str] = (), refused: Callable[[], None] = lambda: None
    ) -> None:
        self._monotonic = monotonic
        self.allow(allowed)
        self._refused = refused
        self._ends: dict[tuple[int, int], dict[int, float]] = {}
        """By version and length of the prefix, then by the network's address: a look-up for each length there is."""

    def allow(self, networks: Sequence[str]) -> None:
        """No ban is for these, and no others."""
        self._allowed = tuple(ipaddress.ip_network(network) for network in networks)

    def replace(self, bans: Iterable[tuple[Network, float]]) -> None:
        """These and no others; each with its end by the monotonic clock, infinity for none."""
        ends: dict[tuple[int, int], dict[int, float]] = {}
        for network, end in bans:
            ends.setdefault((network.version, network.prefixlen), {})[int(network.network_address)] = end
        self._ends = ends

    def hold(self, text: str) -> bool:
        """Whether the client at this address is kept out; what is no address never is."""
        address = _address(text) if self._ends else None
        if address is None or not self._is_banned(address):
            return False
        if any(address in network for network in self._allowed):
            return False
        self._refused()
        return True

    @property
    def count(self) -> int:
        """How many are in force."""
        now = self._monotonic()
        return sum(end > now for ends in self._ends.values() for end in ends.values())

    def _is_banned(self, address: Address) -> bool:
        number, now = int(address), self._monotonic()
        for (version, length), ends in self._ends.items():
            host_bits = address.max_prefixlen - length
            if version == address.version and ends.get(number >> host_bits << host_bits, 0.0) > now:
                return True
        return False


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address
