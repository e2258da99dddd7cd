"""The text of one document while it is gathered, and what it has cost."""

import time

from posthorn_mail_format.charsets import clean
from posthorn_text_extract.errors import Unreadable
from posthorn_text_extract.limits import Limits


class Enough(Exception):
    """A soft limit is reached: what has been gathered is the text."""


class Reading:
    """Gathers pieces of text within `limits`; each method raises Enough when a limit is reached."""

    __slots__ = ("_deadline", "_left", "_pieces", "_unpacked", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._pieces: list[str] = []
        self._left = limits.characters
        self._unpacked = limits.expanded_octets
        self._deadline = time.monotonic() + limits.seconds

    def add(self, text: str) -> None:
        """Take a piece of text as it is."""
        if len(text) >= self._left:
            self._pieces.append(text[: self._left])
            self._left = 0
            raise Enough
        self._pieces.append(text)
        self._left -= len(text)

    @property
    def left(self) -> int:
        """Characters that can still be taken."""
        return self._left

    def unpacked(self, octets: int) -> None:
        """Count what came out of a compressed member."""
        self._unpacked -= octets
        if self._unpacked < 0:
            raise Enough
        self.check_time()

    def check_time(self) -> None:
        """Call between steps of bounded size."""
        if time.monotonic() > self._deadline:
            raise Enough

    def text(self) -> str:
        """The text so far, without NUL and lone surrogates."""
        return clean("".join(self._pieces)).strip()

    def after_limit(self) -> str:
        """The text when a limit ended the reading; nothing found within the limits is Unreadable."""
        found = self.text()
        if not found:
            raise Unreadable("the document takes more than the limits allow")
        return found
