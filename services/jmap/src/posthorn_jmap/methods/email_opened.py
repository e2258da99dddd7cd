"""One message that is being looked at: what is stored beside it, and its octets only when they are asked for."""

from dataclasses import dataclass, field, replace

from posthorn_jmap.protocol import ids
from posthorn_mail_format.headers import MAX_HEADER_BYTES, Field, header_end, iterate
from posthorn_mail_format.part import Part
from posthorn_mail_format.text import decode_text, has_encoding_problem
from posthorn_model.ids import AccountId, BlobKey
from posthorn_model.mail import MessageSummary
from posthorn_storage.blob_store import BlobStore
from posthorn_storage.mail import StoredMessage

HEAD = 16_384
"""Octets read at first for a header section; longer ones take a second look."""
_DECODABLE = ("base64", "quoted-printable")


@dataclass(slots=True)
class Opened:
    """A message in a blob, `size` octets from `start`. What was not read of the stored message is None."""

    blobs: BlobStore
    account: AccountId
    key: BlobKey
    start: int
    size: int
    listing: bytes | None
    structure: bytes | None
    kept: bytes | None
    preview: str | None
    has_attachment: bool | None
    _root: Part | None = None
    _fields: list[Field] | None = None
    _part_fields: dict[int, list[Field]] = field(default_factory=dict)

    @property
    def root(self) -> Part:
        """The part tree."""
        if self._root is None:
            self._root = Part.load(self.structure or b"")
        return self._root

    def blob_of(self, part: Part) -> str:
        """The blob id of a leaf's content."""
        encoding = part.encoding if part.encoding in _DECODABLE else ""
        return ids.BlobRef(self.key, self.start + part.body_start, part.size, encoding).wire()

    async def read(self, start: int, length: int) -> bytes:
        """Octets of the message. Raises BlobNotFound, Unavailable."""
        octets = max(min(length, self.size - start), 0)
        return await self.blobs.read_range(self.account, self.key, self.start + start, octets)

    async def fields(self) -> list[Field]:
        """All header fields, from the blob."""
        if self._fields is None:
            raw = await self.read(0, HEAD)
            ended = raw[: header_end(raw, 0, len(raw))].endswith((b"\n\n", b"\n\r\n"))
            if not ended and self.size > HEAD:
                raw = await self.read(0, MAX_HEADER_BYTES)
            self._fields = list(iterate(raw))
        return self._fields

    async def kept_fields(self) -> list[Field]:
        """The header fields kept with the message; all of them where those are too many to be kept."""
        return list(iterate(self.kept)) if self.kept else await self.fields()

    async def part_fields(self, part: Part) -> list[Field]:
        """The header fields of a part."""
        if part.header_start not in self._part_fields:
            raw = await self.read(part.header_start, min(part.body_start - part.header_start, MAX_HEADER_BYTES))
            self._part_fields[part.header_start] = list(iterate(raw))
        return self._part_fields[part.header_start]

    async def text(self, part: Part, limit: int) -> tuple[str, bool, bool]:
        """A text part's content in at most `limit` octets of UTF-8; whether it was cut, and whether it is damaged."""
        # Twice the octets for charsets that take more of them than UTF-8; up to four times in quoted-printable.
        octets = 2 * limit + 8
        raw = await self.read(part.body_start, min(part.size, 4 * octets + 1024))
        whole = len(raw) >= part.size
        here = replace(part, header_start=0, body_start=0, body_end=len(raw))
        text = decode_text(raw, here, octets)
        shown, cut = _cut(text, limit, html=part.subtype == "html")
        return shown, cut or not whole or part.decoded_size > octets, whole and has_encoding_problem(raw, here)


def opened(blobs: BlobStore, account: AccountId, message: StoredMessage) -> Opened:
    """A stored message."""
    return Opened(
        blobs,
        account,
        message.blob,
        0,
        message.size,
        message.listing,
        message.structure,
        message.headers,
        message.preview,
        message.has_attachment,
    )


def opened_blob(blobs: BlobStore, account: AccountId, reference: ids.BlobRef, summary: MessageSummary) -> Opened:
    """A message that is a blob, or octets of one."""
    return Opened(
        blobs,
        account,
        reference.key,
        reference.start,
        summary.size,
        summary.listing,
        summary.structure,
        summary.headers,
        summary.preview,
        summary.has_attachment,
    )


def _cut(text: str, limit: int, *, html: bool) -> tuple[str, bool]:
    """Cut to octets of UTF-8, never inside a character, nor inside a tag (RFC 8621 4.2)."""
    octets = text.encode("utf-8", "replace")
    if len(octets) <= limit:
        return text, False
    shown = octets[:limit].decode("utf-8", "ignore")
    if html and shown.rfind("<") > shown.rfind(">"):
        shown = shown[: shown.rfind("<")]
    return shown, True
