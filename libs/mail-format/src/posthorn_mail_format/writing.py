"""Header fields and bodies to bytes: folding, encoded words, RFC 2231 parameters, transfer encodings.

Nothing that is handed in can add a line, a field or a part of its own: line ends are refused or encoded.
"""

import binascii
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from posthorn_mail_format.addresses import parse_mailbox
from posthorn_mail_format.charsets import clean
from posthorn_mail_format.encoded_words import encode_words, needs_encoding
from posthorn_model.errors import InvalidAddress, InvalidContent

LINE = 76
MAX_LINE = 998
_LONG_WORD = 900

_NAME = re.compile(r"[!-9;-~]{1,76}\Z")
_LINE_END = re.compile(r"[\r\n\0]")
_FOLDED = re.compile(r"\r\n(?=[ \t]+\S)")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+(?: [A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+)*\Z")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]+\Z")
_UNSAFE_ADDRESS = re.compile(r"[\s\x00-\x1f<>,;:()\[\]\"\\]")
_UNSAFE_ID = re.compile(r"[\s\x00-\x1f<>]")
_ANY_LINE_END = re.compile(rb"\r\n?|\n")
_SEGMENT = 54


def field(name: str, value: str) -> bytes:
    """Return one header field with CRLF, folded at spaces to 76 columns (RFC 5322 2.2.3).

    `value` is a finished value (see the functions below); folding in it is kept. Raises InvalidContent for a broken
    name and for line ends that are not folding.
    """
    if not _NAME.match(name):
        raise InvalidContent("that is not a header field name", name=name[:100])
    value = clean(value.replace("\r\n", "\n").replace("\n", "\r\n")).strip(" \t\r\n") if value else ""
    if _LINE_END.search(_FOLDED.sub("", value)):
        raise InvalidContent("a header field value holds a line end", name=name)
    lines: list[str] = []
    for number, given in enumerate(value.split("\r\n")):
        lines += _fold(f"{name}: {given}" if number == 0 else given)
    return "\r\n".join(lines).encode() + b"\r\n"


def text_value(text: str) -> str:
    """Return an unstructured text as a value: encoded words where it is not short printable ASCII (RFC 2047)."""
    text = _LINE_END.sub(" ", text)
    if needs_encoding(text) or any(len(word) > _LONG_WORD for word in text.split(" ")):
        return " ".join(encode_words(text))
    return text


def address_value(name: str | None, email: str) -> str:
    """Return one mailbox, `"Name" <local@domain>`. Raises InvalidAddress when it could not be read back as one."""
    email = email.strip()
    try:
        parse_mailbox(email, smtputf8=True)
    except InvalidAddress:
        if not email or _UNSAFE_ADDRESS.search(email):
            raise
    return f"{phrase(name)} <{email}>" if name and name.strip() else email


def addresses_value(addresses: Sequence[Mapping[str, str | None]]) -> str:
    """Return JMAP addresses ({"name", "email"}) as a value (RFC 8621 4.1.2.3)."""
    return ", ".join(address_value(one.get("name"), one.get("email") or "") for one in addresses)


def group_value(name: str, addresses: Sequence[Mapping[str, str | None]]) -> str:
    """Return a named group as a value (RFC 5322 3.4)."""
    members = addresses_value(addresses)
    return f"{phrase(name)}: {members};" if members else f"{phrase(name)}:;"


def phrase(name: str) -> str:
    """Return a display name as atoms, a quoted string or encoded words."""
    name = _LINE_END.sub(" ", name).strip()
    if needs_encoding(name):
        return " ".join(encode_words(name))
    if _ATOMS.match(name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def ids_value(ids: Sequence[str]) -> str:
    """Return message ids (without brackets) as a value. Raises InvalidContent for one that cannot be an id."""
    for one in ids:
        if not one or _UNSAFE_ID.search(one):
            raise InvalidContent("that is not a message id", id=one[:100])
    return " ".join(f"<{one}>" for one in ids)


def urls_value(urls: Sequence[str]) -> str:
    """Return URLs as the value of a List-* field (RFC 2369). Raises InvalidContent for one with white space or <>."""
    for one in urls:
        if not one or _UNSAFE_ID.search(one):
            raise InvalidContent("that is not a URL", url=one[:100])
    return ", ".join(f"<{one}>" for one in urls)


def parameters_value(value: str, parameters: Mapping[str, str]) -> str:
    """Return `value; name=...` with RFC 2231 where a parameter is not short printable ASCII."""
    pieces = [value]
    for name, text in parameters.items():
        pieces += _parameter(name, clean(_LINE_END.sub(" ", text)))
    return "; ".join(pieces)


def canonical(text: bytes) -> bytes:
    """Return text with CRLF line ends, whatever it had."""
    return _ANY_LINE_END.sub(b"\r\n", text)


def encode_text(text: bytes) -> tuple[str, bytes]:
    """Return (Content-Transfer-Encoding, encoded body) for text: the most readable encoding that is safe anywhere."""
    text = canonical(text)
    if text.isascii() and b"\0" not in text and max(map(len, text.split(b"\r\n"))) <= MAX_LINE:
        return "7bit", text
    high = len(text) - len(text.translate(None, bytes(range(128, 256))))
    if high * 6 > len(text) or b"\0" in text:
        return "base64", encode_base64(text)
    encoded = binascii.b2a_qp(text.replace(b"\r\n", b"\n"), istext=True)
    return "quoted-printable", encoded.replace(b"\n", b"\r\n")


def encode_base64(octets: bytes) -> bytes:
    """Return base64 in lines of 76 characters with CRLF between them (RFC 2045 6.8)."""
    encoded = binascii.b2a_base64(octets, newline=False)
    return b"\r\n".join(encoded[start : start + LINE] for start in range(0, len(encoded), LINE))


def _fold(line: str) -> list[str]:
    """Break a line at single spaces so that each is at most 76 characters where its words allow it."""
    if len(line) <= LINE:
        return [line]
    lines: list[str] = []
    current = ""
    for index, word in enumerate(line.split(" ")):
        # Never before the first word of the value, and never so that a line holds white space alone.
        if index > 1 and word and current.strip() and len(current) + 1 + len(word) > LINE:
            lines.append(current)
            current = " " + word
        else:
            current = f"{current} {word}" if index else word
    return [*lines, current]


def _parameter(name: str, text: str) -> list[str]:
    if text.isascii() and text.isprintable() and len(text) <= _SEGMENT and "=?" not in text:
        if _TOKEN.match(text):
            return [f"{name}={text}"]
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return [f'{name}="{escaped}"']
    octets = quote(text, safe="")
    if len(octets) <= _SEGMENT:
        return [f"{name}*=utf-8''{octets}"]
    segments: list[str] = []
    while octets:
        cut = min(_SEGMENT, len(octets))
        # A percent triple is not torn apart (RFC 2231 4.1 reads each segment by itself).
        while cut < len(octets) and "%" in octets[cut - 2 : cut]:
            cut -= 1
        segments.append(octets[:cut])
        octets = octets[cut:]
    return [f"{name}*{index}*={segment}" for index, segment in enumerate(["utf-8''" + segments[0], *segments[1:]])]
