"""A small authoritative DNS server over UDP and TCP, with real packets, for tests of routing and of checks."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

Records = Mapping[str, Mapping[str, Sequence[str]]]
"""{"example.org": {"MX": ["10 mx.example.org."], "A": ["192.0.2.1"]}}; a name with {"RCODE": ["SERVFAIL"]} fails.

Other ways to misbehave, for a name: {"SILENT": []} is never answered, {"TRUNCATED": []} is answered over TCP only,
{"LIE": []} is answered as if something else had been asked, {"GARBAGE": []} with octets that are no message. A key
"TXT!" (any type with a "!") fails with SERVFAIL for that type alone, "TXT?" is silent for it.

With `secure`, answers have the AD bit for who asks for it, as if a resolver had validated them; but not those on a name
with {"INSECURE": []}, nor those on a type with "MX-": [].
"""
TTL = 60
UDP_SIZE = 512
"""Octets, where the query does not say what its sender takes (RFC 1035 4.2.1)."""


class DnsServer:
    """Use as `async with DnsServer(records) as server`; then `server.address` is "127.0.0.1:port".

    Names that no record speaks of get NXDOMAIN. `queries` remembers what was asked: (name, type).
    """

    def __init__(self, records: Records, *, secure: bool = False) -> None:
        self.secure = secure
        self.records: dict[str, dict[str, list[str]]] = {}
        self.queries: list[tuple[str, str]] = []
        self.silent = False
        """Answer nothing at all, as a server that is down."""
        self.port = 0
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        for name, kinds in records.items():
            self.put(name, kinds)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def put(self, name: str, kinds: Mapping[str, Sequence[str]]) -> None:
        """Set all records of a name."""
        self.records[name.rstrip(".").lower()] = {kind: list(values) for kind, values in kinds.items()}

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._stream, "127.0.0.1", 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=("127.0.0.1", self.port)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()

    def answer(self, packet: bytes, *, stream: bool = False) -> bytes | None:
        """The response to one query in wire format; None for what is no query, and while silent."""
        if self.silent:
            return None
        try:
            query = dns.message.from_wire(packet)
        except dns.exception.DNSException:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            response.set_rcode(dns.rcode.REFUSED)
            return response.to_wire()
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        name = question.name.to_text(omit_final_dot=True).lower()
        self.queries.append((name, kind))
        known = self.records.get(name, {})
        if "SILENT" in known or f"{kind}?" in known:
            return None
        if "GARBAGE" in known:
            return packet[:2] + b"\xff" * 40
        if self.secure and query.flags & dns.flags.AD:  # RFC 6840 5.7
            response.flags |= dns.flags.AD
        self._fill(response, question.name, name, kind)
        if "LIE" in known:
            response.question = [
                dns.rrset.RRset(dns.name.from_text("elsewhere.test."), question.rdclass, question.rdtype)
            ]
        wire = response.to_wire(max_size=65_535)
        taken = max(UDP_SIZE, query.payload)
        if not stream and ("TRUNCATED" in known or len(wire) > taken):
            short = dns.message.make_response(query)
            short.flags |= dns.flags.AA | dns.flags.TC
            return short.to_wire()
        return wire

    def _fill(self, response: dns.message.Message, owner: dns.name.Name, name: str, kind: str, depth: int = 0) -> None:
        known = self.records.get(name)
        if known is not None and ("INSECURE" in known or f"{kind}-" in known):
            response.flags &= ~dns.flags.AD
        if known is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif "RCODE" in known:
            response.set_rcode(dns.rcode.from_text(known["RCODE"][0]))
        elif f"{kind}!" in known:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif "CNAME" in known and kind != "CNAME" and depth < 20:
            target = known["CNAME"][0]
            response.answer.append(dns.rrset.from_text(owner, TTL, dns.rdataclass.IN, "CNAME", target))
            self._fill(response, dns.name.from_text(target), target.rstrip(".").lower(), kind, depth + 1)
        elif values := known.get(kind):
            response.answer.append(dns.rrset.from_text(owner, TTL, dns.rdataclass.IN, kind, *values))

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                response = self.answer(await reader.readexactly(size), stream=True)
                if response is not None:
                    writer.write(len(response).to_bytes(2, "big") + response)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        response = self._server.answer(data)
        if response is not None and self._transport is not None:
            self._transport.sendto(response, addr)
