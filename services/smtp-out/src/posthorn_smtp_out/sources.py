"""Sources: the addresses that connections leave from, and the names that are said in EHLO. Chosen, never guessed."""

import ipaddress
import random
from collections.abc import Mapping
from dataclasses import dataclass

from posthorn_smtp_out.routes import Destination, Hop


@dataclass(frozen=True, slots=True)
class Source:
    """One pool of addresses under one name; without addresses the system chooses."""

    name: str
    hello: str
    addresses: tuple[str, ...] = ()

    def local(self, remote: str) -> str | None:
        """An address of the family of `remote`, any of several; None: as the system chooses."""
        return random.choice(self._towards(remote)) if self.addresses else None  # noqa: S311  to share the load

    def reaches(self, hop: Hop) -> bool:
        """Whether there is an address of the hop's family."""
        return not self.addresses or bool(self._towards(hop.address))

    def _towards(self, remote: str) -> list[str]:
        family = ipaddress.ip_address(remote.partition("%")[0]).version
        return [each for each in self.addresses if ipaddress.ip_address(each).version == family]


class Sources:
    """All sources of the settings. `usual` is the name of the one for whatever has none; "": the system's choice."""

    def __init__(self, hello: str, named: Mapping[str, Source], domains: Mapping[str, str], usual: str = "") -> None:
        """`domains`: names of sources by domains of senders."""
        self._named = {"": Source("", hello), **named}
        self._domains = domains
        self._usual = usual

    def chosen(self, destination: Destination, sender: str) -> Source:
        """The relay's, else that of the sender's domain, else the usual one. A sender "" has no domain."""
        if destination.relay is not None and destination.relay.source:
            return self._named[destination.relay.source]
        return self._named[self._domains.get(sender.rpartition("@")[2].lower(), self._usual)]
