"""Who may send to other domains through this server without a login: clients of networks that the settings name."""

import ipaddress

from posthorn_smtp_in.judge import Kind
from posthorn_smtp_in.settings import RelaySettings


def may_relay(settings: RelaySettings, kind: Kind, address: str) -> bool:
    """Whether a client at `address` (IPv4 or IPv6; "" for a local socket) may. Never over LMTP (RFC 2033 1)."""
    if kind is Kind.LMTP or not settings.networks:
        return False
    try:
        client = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    return any(client in ipaddress.ip_network(network) for network in settings.networks)
