"""clamd's protocol (clamd(8)): sessions of numbered answers, and content in chunks by INSTREAM.

A session (IDSESSION) carries one scan after another; clamd ends it after an error.
"""

import re
from dataclasses import dataclass

from posthorn_smtp_in.filters.protocol.problems import BadAnswer

BEGIN = b"zIDSESSION\0"
SCAN = b"zINSTREAM\0"
END = b"\0\0\0\0"
"""Behind the last chunk."""
MAX_ANSWER = 1024

_ANSWER = re.compile(rb"([0-9]{1,9}): (?:stream: )?([^\0]*)")
_NAME = re.compile(r"[^\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class ScanAnswer:
    """What clamd found. `infection` is the name of a signature, "" when clean; `problem` says why it cannot tell."""

    number: int
    """Of the command in its session, from 1."""
    infection: str = ""
    problem: str = ""


def chunk(data: bytes) -> bytes:
    """Content, not empty and below 4 GiB, as one chunk."""
    return len(data).to_bytes(4, "big") + data


def read_answer(data: bytes | bytearray) -> ScanAnswer | None:
    """The answer to one scan out of all octets that came since it was asked; None while there is more to come.

    Raises BadAnswer.
    """
    end = data.find(b"\0")
    if end < 0 or end > MAX_ANSWER:
        if len(data) > MAX_ANSWER:
            raise BadAnswer("clamd's answer is too long")
        return None
    if end != len(data) - 1:
        raise BadAnswer("clamd said more than one answer")
    line = bytes(data[:end])
    match = _ANSWER.fullmatch(line)
    if match is None:
        # Errors about the session itself have no number: "INSTREAM size limit exceeded. ERROR".
        return ScanAnswer(0, problem=_words(line))
    number, words = int(match[1]), _words(match[2])
    if words == "OK":
        return ScanAnswer(number)
    if words.endswith(" FOUND"):
        return ScanAnswer(number, infection=_NAME.sub("_", words.removesuffix(" FOUND").strip())[:128] or "unnamed")
    return ScanAnswer(number, problem=words)


def _words(raw: bytes) -> str:
    return raw.decode("ascii", "replace").strip() or "nothing"
