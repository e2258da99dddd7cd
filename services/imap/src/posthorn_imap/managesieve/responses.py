"""Responses of ManageSieve as octets (RFC 5804 1.2, 1.3 and 4). Not concerned with when."""

import re
from collections.abc import Sequence

MAX_QUOTED = 1024
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


def string(text: str | bytes) -> bytes:
    """A quoted string where it can be one, else a literal."""
    octets = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if len(octets) > MAX_QUOTED or re.search(rb"[\x00\r\n]", octets):
        return b"{%d}\r\n" % len(octets) + octets
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def line(*strings: str | bytes) -> bytes:
    """Strings with spaces between them."""
    return b" ".join(map(string, strings)) + b"\r\n"


def done(status: str, text: str = "", code: str = "", argument: str | None = None) -> bytes:
    """The last line of an answer: OK, NO or BYE, a response code with its string, a text for people."""
    answer = status.encode("ascii")
    if code:
        answer += b" (" + code.encode("ascii") + (b"" if argument is None else b" " + string(argument)) + b")"
    if text:
        answer += b" " + string(_CONTROLS.sub(" ", text))
    return answer + b"\r\n"


def capabilities(
    *, mechanisms: Sequence[str], extensions: Sequence[str], methods: Sequence[str], redirects: int, starttls: bool,
    owner: str,
) -> bytes:  # fmt: skip
    """What the server can do now (RFC 5804 1.7)."""
    lines = [
        line("IMPLEMENTATION", "Posthorn"),
        line("SASL", " ".join(mechanisms)),
        line("SIEVE", " ".join(extensions)),
        line("NOTIFY", " ".join(methods)),
        line("MAXREDIRECTS", str(redirects)),
        line("UNAUTHENTICATE"),
        line("VERSION", "1.0"),
    ]
    if starttls:
        lines.append(line("STARTTLS"))
    if owner:
        lines.append(line("OWNER", owner))
    return b"".join(lines)
