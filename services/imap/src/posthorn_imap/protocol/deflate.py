"""The DEFLATE layer of a connection (RFC 4978, RFC 1951): octets in, octets out, a bounded number at a time."""

import zlib

MAX_TAKEN = 65536
"""Octets that one `take` may give, whatever a client packs into a few."""
_LEVEL = 3
# 64 KiB of state for what is sent: half of what zlib takes by default, for a percent of the effect.
_SENT_WINDOW, _MEMORY = -13, 6
_TAKEN_WINDOW = -15


class DeflateProblem(Exception):
    """The client's compressed stream cannot be read any further."""


class Deflate:
    """Both directions of one connection."""

    def __init__(self) -> None:
        self._packer = zlib.compressobj(_LEVEL, wbits=_SENT_WINDOW, memLevel=_MEMORY)
        self._unpacker = zlib.decompressobj(_TAKEN_WINDOW)
        self._packed = b""
        self._more = False
        """The unpacker may hold octets that did not fit."""

    def pack(self, data: bytes | bytearray) -> bytes:
        """Compressed octets that the client can read to the end of `data`."""
        return self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)

    def feed(self, packed: bytes) -> None:
        """Note what the client sent."""
        self._packed += packed

    def take(self) -> bytes:
        """The next octets the client meant, at most MAX_TAKEN; b"" until more is fed. Raises DeflateProblem."""
        if not (self._packed or self._more):
            return b""
        if self._unpacker.eof:
            raise DeflateProblem("octets after the end of the compressed stream")
        try:
            data = self._unpacker.decompress(self._packed, MAX_TAKEN)
        except zlib.error as error:
            raise DeflateProblem("the compressed stream is broken") from error
        self._packed = self._unpacker.unconsumed_tail or self._unpacker.unused_data
        self._more = len(data) == MAX_TAKEN and not self._unpacker.eof
        return data
