"""Signatures: which sequences of three characters the stored texts of a message can hold.

A substring of a text has all its own sequences in it. A message whose signature lacks one of them is ruled out without
a look at its texts; the others are looked through, so that a signature changes how long a search takes and never what
it finds. Each sequence is one bit of many: signatures are small, and a few bits that others set do no harm.
"""

import zlib
from collections.abc import Iterable
from typing import Final

LENGTH: Final = 3
"""Characters of a sequence; shorter needles rule nothing out."""
MIN_BITS: Final = 512
MAX_BITS: Final = 32_768
BITS_EACH: Final = 2
"""For a sequence, at least: then less than four in ten bits are set."""
MOST_SOUGHT: Final = 8
"""Sequences of a needle that are looked for."""


def signature(texts: Iterable[str]) -> bytes | None:
    """The signature of folded texts, as PostgreSQL's get_bit reads it; None when they hold too much for one."""
    found = {text[at : at + LENGTH] for text in texts for at in range(len(text) - LENGTH + 1)}
    bits = MIN_BITS
    while bits < BITS_EACH * len(found):
        bits *= 2
    if bits > MAX_BITS:
        return None
    made = bytearray(bits // 8)
    for gram in found:
        place = _place(gram) % bits
        made[place >> 3] |= 1 << (place & 7)
    return bytes(made)


def sought(needle: str) -> list[int]:
    """The places of a folded needle's sequences, spread over it; each modulo the bits of a signature. None: []."""
    grams = list(dict.fromkeys(needle[at : at + LENGTH] for at in range(len(needle) - LENGTH + 1)))
    step = max(1, len(grams) // MOST_SOUGHT)
    return [_place(gram) for gram in grams[::step][:MOST_SOUGHT]]


def _place(gram: str) -> int:
    return zlib.crc32(gram.encode("utf-8", "surrogatepass"))
