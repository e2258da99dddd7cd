"""The bytes between the pool and a worker: one request, one answer, in turn, on the worker's standard input and output.

Request: length of a JSON head (4 octets), the head {"type", "name", "size"}, the document. Answer: a status octet,
length of a text (4 octets), the text in UTF-8. A worker says READY once, when it has taken its limits on itself.
"""

import json
import struct
from enum import IntEnum

HEAD = struct.Struct(">I")
ANSWER = struct.Struct(">BI")
MAX_HEAD = 65_536
READY = b"+"


class Status(IntEnum):
    """What the text of an answer is."""

    TEXT = 0
    UNKNOWN = 1
    """No kind that is read; no text."""
    UNREADABLE = 2
    """The text is the reason."""


def request(content_type: str, filename: str | None, size: int) -> bytes:
    """The octets before a document of `size` octets."""
    name = None if filename is None else filename[-255:]
    head = json.dumps({"type": content_type[:2000], "name": name, "size": size}).encode("ascii")
    return HEAD.pack(len(head)) + head


def answer(status: Status, text: str) -> bytes:
    """The octets of an answer."""
    octets = text.encode("utf-8", "replace")
    return ANSWER.pack(status, len(octets)) + octets
