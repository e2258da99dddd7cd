"""The address of a client, as checks compare it."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address


@lru_cache(maxsize=4096)
def client_address(text: str) -> Address:
    """An address; one of IPv4 that is written as one of IPv6 (RFC 4291 2.5.5.2) is of IPv4. Raises ValueError."""
    found = ip_address(text)
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
