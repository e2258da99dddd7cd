"""What a milter is told: the steps of an SMTP session as packets, each with the macros that go ahead of it."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from posthorn_smtp_in.filters.protocol.milter_packets import MacroStage, Options, Packet, Part

ABORT = Packet(b"A").encode()
QUIT = Packet(b"Q").encode()
QUIT_NEXT = Packet(b"K").encode()
"""The session is over, and the connection stays for another one; for milters of version 6."""
QUIT_NEXT_SINCE = 6

USUAL_MACROS: Mapping[MacroStage, tuple[str, ...]] = {
    MacroStage.CONNECT: ("j", "_", "{daemon_name}", "{client_addr}", "{client_name}", "v"),
    MacroStage.HELO: ("{tls_version}", "{cipher}"),
    MacroStage.MAIL: ("i", "{auth_authen}", "{mail_addr}"),
    MacroStage.RCPT: ("i", "{rcpt_addr}"),
    MacroStage.DATA: ("i",),
    MacroStage.EOH: ("i",),
    MacroStage.END: ("i",),
}
"""For a milter that does not choose."""


@dataclass(frozen=True, slots=True)
class Told:
    """One command; `unwanted` and `mute` are the parts that leave out it, or its answer."""

    packet: Packet
    unwanted: Part
    mute: Part
    stage: MacroStage | None = None

    def wanted(self, options: Options) -> bool:
        """Whether a milter wants to hear it."""
        if self.packet.kind == b"T" and options.version < 4:
            return False
        return not self.unwanted & options.parts

    def answered(self, options: Options) -> bool:
        """Whether a milter answers it."""
        return not self.mute & options.parts

    def encode(self, options: Options, macros: Mapping[str, str]) -> bytes:
        """Its octets, behind those macros that the milter asks for and that have a value."""
        ahead = b""
        if self.stage is not None:
            names = options.macros.get(self.stage, USUAL_MACROS[self.stage])
            pairs = [(name, macros.get(name.strip("{}"), "")) for name in names]
            data = b"".join(_text(name) + _text(value) for name, value in pairs if value)
            ahead = Packet(b"D", self.packet.kind + data).encode()
        return ahead + self.packet.encode()


def connect(address: str) -> Told:
    """A client has come from an IP address; "" is no address at all."""
    name = f"[{address}]" if address else "localhost"
    family = b"U"
    if address:
        family = b"6" if ipaddress.ip_address(address).version == 6 else b"4"
    rest = b"" if family == b"U" else (0).to_bytes(2, "big") + _text(address)
    return Told(Packet(b"C", _text(name) + family + rest), Part.NO_CONNECT, Part.MUTE_CONNECT, MacroStage.CONNECT)


def helo(name: str) -> Told:
    """The client's name for itself."""
    return Told(Packet(b"H", _text(name)), Part.NO_HELO, Part.MUTE_HELO, MacroStage.HELO)


def mail(sender: str, parameters: Sequence[str]) -> Told:
    """MAIL with its parameters."""
    data = b"".join(map(_text, (f"<{sender}>", *parameters)))
    return Told(Packet(b"M", data), Part.NO_MAIL, Part.MUTE_MAIL, MacroStage.MAIL)


def rcpt(recipient: str, parameters: Sequence[str]) -> Told:
    """RCPT with its parameters."""
    data = b"".join(map(_text, (f"<{recipient}>", *parameters)))
    return Told(Packet(b"R", data), Part.NO_RCPT, Part.MUTE_RCPT, MacroStage.RCPT)


DATA = Told(Packet(b"T"), Part.NO_DATA, Part.MUTE_DATA, MacroStage.DATA)
EOH = Told(Packet(b"N"), Part.NO_EOH, Part.MUTE_EOH, MacroStage.EOH)
END = Told(Packet(b"E"), Part(0), Part(0), MacroStage.END)


def header(field: bytes, options: Options) -> Told:
    """One field, with its line end."""
    name, _, value = field.partition(b":")
    value = value.removesuffix(b"\r\n").replace(b"\r\n", b"\n")
    if not options.parts & Part.LEADING_SPACE:
        value = value.lstrip(b" \t")
    data = _octets(name.rstrip(b" \t")) + _octets(value)
    return Told(Packet(b"L", data), Part.NO_HEADER, Part.MUTE_HEADER)


def body(piece: bytes) -> Told:
    """A piece of the body, of at most 65,535 octets."""
    return Told(Packet(b"B", piece), Part.NO_BODY, Part.MUTE_BODY)


def headers(fields: Iterable[bytes], options: Options) -> list[Told]:
    """All fields and their end."""
    return [*(header(field, options) for field in fields), EOH]


def _text(text: str) -> bytes:
    return _octets(text.encode("utf-8", "surrogateescape"))


def _octets(data: bytes) -> bytes:
    return data.replace(b"\0", b"") + b"\0"
