"""Signatures: which sequences of three characters the stored texts of a message can hold.

A substring of a text has all its own sequences in it. A message whose signature lacks one of them is ruled out without
a look at its texts; the others are looked through, so that a signature changes how long a search takes and never what
it finds. Each sequence is one bit of many: signatures are small, and a few bits that others set do no harm.
"""

import zlib
from collections.abc import Iterable
from itertools import chain
from struct import unpack_from
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
    found: set[bytes] = set()
    for text in texts:
        found.update(_grams(text))
    bits = MIN_BITS
    while bits < BITS_EACH * len(found):
        bits *= 2
    if bits > MAX_BITS:
        return None
    set_bits = bytearray(b"0") * bits
    for place in map(zlib.crc32, found):
        set_bits[~(place % bits)] = ord("1")
    return int(set_bits, 2).to_bytes(bits // 8, "little")


def _grams(text: str) -> Iterable[bytes]:
    """Every sequence of a text, encoded, and some of them more than once."""
    if not text.isascii():
        return {_encoded(text[at : at + LENGTH]) for at in range(len(text) - LENGTH + 1)}
    # Each character is an octet: those that begin at every third one, three times. Cutting them one by one is slower.
    data = text.encode()
    counts = [(at, (len(data) - at) // LENGTH) for at in range(min(LENGTH, len(data)))]
    return chain.from_iterable(unpack_from(f"{LENGTH}s" * count, data, at) for at, count in counts)


def sought(needle: str) -> list[int]:
    """The places of a folded needle's sequences, spread over it; each modulo the bits of a signature. None: []."""
    grams = list(dict.fromkeys(needle[at : at + LENGTH] for at in range(len(needle) - LENGTH + 1)))
    step = max(1, len(grams) // MOST_SOUGHT)
    return [zlib.crc32(_encoded(gram)) for gram in grams[::step][:MOST_SOUGHT]]


def _encoded(gram: str) -> bytes:
    return gram.encode("utf-8", "surrogatepass")
