"""Hot blobs of one process in memory, whole or in pieces; the least recently used goes first. Content never changes."""

from collections import OrderedDict

from posthorn_model.ids import BlobKey

CacheKey = BlobKey | tuple[BlobKey, int]
"""A blob, or a piece of it by its number."""


class BlobCache:
    """Holds at most `limit` bytes; nothing larger than a quarter of it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: OrderedDict[CacheKey, bytes] = OrderedDict()
        self._bytes = 0

    def find(self, key: CacheKey) -> bytes | None:
        """The content, now the most recently used."""
        data = self._held.get(key)
        if data is not None:
            self._held.move_to_end(key)
        return data

    def add(self, key: CacheKey, data: bytes) -> None:
        """Remember content that was read."""
        if len(data) > self._limit // 4 or key in self._held:
            return
        self._held[key] = data
        self._bytes += len(data)
        while self._bytes > self._limit:
            self._bytes -= len(self._held.popitem(last=False)[1])
