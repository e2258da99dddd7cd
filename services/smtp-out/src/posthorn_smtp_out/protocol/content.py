"""The octets of a message as DATA carries them. What leaves here has CRLF line ends only, whatever was stored."""

import re

END = b".\r\n"
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_TLS_REQUIRED_NO = re.compile(rb"(?im)^tls-required[ \t]*:[ \t]*no[ \t]*\r$")
_RETURN_PATH = re.compile(rb"(?i)return-path[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*")


def without_return_path(content: bytes) -> bytes:
    """Drop a leading Return-Path: only final delivery writes one (RFC 5321 4.4)."""
    match = _RETURN_PATH.match(content)
    return content[match.end() :] if match else content


def needs_no_tls(content: bytes) -> bool:
    """Whether the header section, in lines, says "TLS-Required: No" (RFC 8689 4.1)."""
    end = content.find(b"\r\n\r\n")
    return bool(_TLS_REQUIRED_NO.search(content, 0, len(content) if end < 0 else end + 2))


def is_eight_bit(content: bytes) -> bool:
    """Whether any octet has its high bit set."""
    return not content.isascii()


def in_lines(content: bytes) -> bytes:
    """Content in lines that all end with CRLF, the last one too: the octets that are signed and sent.

    A bare CR or LF would let what follows be read as commands by a lax remote: each becomes CRLF.
    """
    ends = content.count(b"\r\n")
    if content.count(b"\r") != ends or content.count(b"\n") != ends:
        content = _BARE.sub(b"\r\n", content)
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    return content


def stuffed(content: bytes) -> bytes:
    """Content in lines with doubled leading dots, but without the end of data (RFC 5321 4.5.2)."""
    content = content.replace(b"\r\n.", b"\r\n..")
    return b"." + content if content.startswith(b".") else content
