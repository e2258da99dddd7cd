"""Where may be pushed to: URLs come from clients, and requests to them leave from inside the network.

So a URL is https, names no user, and leads to a public address, or to one that the operator allows. A name may lead
anywhere at any time: whoever connects judges the address that it connects to, and no other (`allowed`).
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import urlsplit

MAX_URL: Final = 2000
"""Characters."""
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class BadUrl(ValueError):
    """Nothing is pushed to this URL; the text says why, for the client."""


@dataclass(frozen=True, slots=True)
class PushUrl:
    """A URL that may be pushed to."""

    host: str
    """A name, or an address without brackets."""
    port: int
    target: str = field(repr=False)
    """Path and query: what is asked for."""

    @property
    def authority(self) -> str:
        """For the Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """RFC 6454 6.2: whom a signature is for (RFC 8292 2)."""
        return f"https://{self.authority}"


def push_url(url: str, networks: Sequence[Network] = ()) -> PushUrl:
    """Read a URL; a host that is an address must be allowed. Raises BadUrl."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise BadUrl(f"the URL must have at most {MAX_URL} printable ASCII characters, and no space")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadUrl("that is no URL") from None
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme != "https" or not host or len(host) > 253 or port == 0:
        raise BadUrl("the URL must begin with https:// and name a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise BadUrl("the URL must name no user and have no fragment")
    address = _address(host)
    if address is not None and not allowed(address, networks):
        raise BadUrl("the URL leads to an address that is not public")
    if address is None and ("." not in host or host.rpartition(".")[2].isdigit() or "%" in host):
        raise BadUrl("the URL must name a host by its full name")
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return PushUrl(host.lower(), port or 443, target)


def allowed(address: Address, networks: Sequence[Network] = ()) -> bool:
    """Whether may be connected to this address: a public one, or one of `networks`."""
    if any(address in network for network in networks):
        return True
    inner = _inside(address)
    return inner.is_global and not inner.is_multicast and not inner.is_reserved


def _inside(address: Address) -> Address:
    """The IPv4 address that a gateway would make of an IPv6 one (RFC 4291 2.5.5.2, RFC 6052 2.1, RFC 3056 2)."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
