"""Encoded words in header fields (RFC 2047, with the language suffix of RFC 2231 5): decoding and encoding.

Broken words stay as they are. Words split inside a character are joined before they are decoded, because many senders
do that although RFC 2047 5 forbids it.
"""

import binascii
import re

from posthorn_mail_format.charsets import clean, codec_name, decode

_WORD = re.compile(r"=\?([^?\s*]{1,60})(?:\*[^?\s]{0,60})?\?([bBqQ])\?([^?]*)\?=")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")
_HEX_PAIR = re.compile(rb"=([0-9A-Fa-f]{2})")
_PLAIN = re.compile(r"[\x20-\x7e]*")
_WORD_PAYLOAD = 42
"""Octets of UTF-8 in one encoded word: 42 make 56 characters of base64 and 68 in all, below RFC 2047's 75."""


def decode_words(text: str) -> str:
    """Return `text` with its encoded words decoded; white space between two encoded words disappears.

    `text` may hold surrogate escapes (raw bytes that are not UTF-8); they are decoded as Windows-1252.
    """
    if "=?" not in text:
        return text_of(text)
    pieces: list[str] = []
    run: list[bytes] = []
    run_charset = ""
    position = 0
    for match in _WORD.finditer(text):
        payload = _payload(match[2], match[3])
        if payload is None or codec_name(match[1]) is None:
            continue
        between = text[position : match.start()]
        charset = match[1].lower()
        joined = bool(run) and not between.strip()
        if run and not (joined and charset == run_charset):
            pieces.append(decode(b"".join(run), run_charset))
            run = []
        if not joined:
            pieces.append(text_of(between))
        run.append(payload)
        run_charset = charset
        position = match.end()
    if run:
        pieces.append(decode(b"".join(run), run_charset))
    pieces.append(text_of(text[position:]))
    return "".join(pieces)


def encode_words(text: str) -> list[str]:
    """Return `text` as encoded words in UTF-8 and base64, each at most 75 characters, split between characters."""
    words: list[str] = []
    chunk = b""
    for character in clean(text):
        octets = character.encode()
        if len(chunk) + len(octets) > _WORD_PAYLOAD:
            words.append(_word(chunk))
            chunk = b""
        chunk += octets
    if chunk:
        words.append(_word(chunk))
    return words


def needs_encoding(text: str) -> bool:
    """Whether `text` cannot stand in a header field as it is: not printable ASCII, or looks like an encoded word."""
    return "=?" in text or _PLAIN.fullmatch(text) is None


def text_of(raw: str) -> str:
    """Return a raw header text (UTF-8 with surrogate escapes) as clean text."""
    if raw.isascii():
        return clean(raw)
    return decode(raw.encode("utf-8", "surrogateescape"), None)


def _word(octets: bytes) -> str:
    return f"=?UTF-8?B?{binascii.b2a_base64(octets, newline=False).decode('ascii')}?="


def _payload(encoding: str, encoded: str) -> bytes | None:
    if encoding in "bB":
        return _base64(encoded)
    octets = encoded.replace("_", " ").encode("utf-8", "surrogateescape")
    return _HEX_PAIR.sub(lambda match: bytes((int(match[1], 16),)), octets)


def _base64(encoded: str) -> bytes | None:
    letters = _NOT_BASE64.sub("", encoded)
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    if encoded and not letters:
        return None
    return binascii.a2b_base64(letters + "=" * (-len(letters) % 4))
