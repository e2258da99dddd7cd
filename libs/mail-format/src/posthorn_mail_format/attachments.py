"""The leaves of a message that are not its text, decoded one by one: what an indexer reads documents from.

The text parts that `summary.search_text` reads are left out, and everything stays within given limits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from posthorn_mail_format.part import Part
from posthorn_mail_format.text import decode_bytes

MAX_ATTACHMENTS = 100
MAX_OCTETS = 67_108_864


@dataclass(frozen=True, slots=True)
class Attachment:
    """One leaf with its decoded octets."""

    position: int
    """Its place among all parts of the message in their order, from 0 (`Part.walk`): unique also inside messages."""
    media_type: str
    name: str | None
    charset: str | None
    data: bytes

    @property
    def content_type(self) -> str:
        """The media type, with the charset where the part has one."""
        if self.charset is None or not self.charset.isascii() or '"' in self.charset or "\\" in self.charset:
            return self.media_type
        return f'{self.media_type}; charset="{self.charset}"'


def is_searched(part: Part) -> bool:
    """Whether the text of a part is in the search text of its message."""
    return part.type == "text" and not part.children


def _any_kind(_media_type: str, _name: str | None) -> bool:
    return True


def attachments(
    data: bytes,
    root: Part,
    *,
    wanted: Callable[[str, str | None], bool] = _any_kind,
    count: int = MAX_ATTACHMENTS,
    octets: int = MAX_OCTETS,
) -> Iterator[Attachment]:
    """Yield the leaves that are not searched text, those of messages inside included, in the order of the message.

    `data` is the whole message, `root` its tree (scan(data), or Part.load of the stored structure). Only parts for
    which `wanted(media type, file name)` says so are decoded; at most `count`, of at most `octets` decoded in all: the
    first that would go beyond is left out, smaller ones after it are not. Never raises.
    """
    left = octets
    for position, part in enumerate(root.walk()):
        if part.children or part.message is not None or part.size == 0 or is_searched(part):
            continue
        if count <= 0:
            return
        name = part.name
        if part.decoded_size > left or not wanted(part.media_type, name):
            continue
        decoded = decode_bytes(data, part, left)
        left -= len(decoded)
        count -= 1
        yield Attachment(position, part.media_type, name, part.charset, decoded)
