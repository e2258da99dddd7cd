"""What somebody who looks for a text asks for (RFC 8621 4.4.1), as terms that must all be found.

Text in quotes is a phrase: these very words, in this order. Everything else is cut at white space; each piece is a
word, found in its other forms too, or the beginning of one when it ends with "*". A piece of several words (an address,
a file name) is a phrase. Nothing of it reaches the database but words cut by posthorn_storage.index.words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from posthorn_model.errors import TooMany
from posthorn_storage.index.words import MAX_WORD, folded, pairs, runs

MAX_TEXT: Final = 2_000
"""Characters of one text."""
MAX_WORDS: Final = 256
"""Words of one text."""

_PIECE: Final = re.compile(r"""(?<!\S)(["'])((?:\\.|(?!\1)[^\\])*)\1(?!\S)|(\S+)""", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\([\"'\\])")


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand one after the other."""

    words: tuple[str, ...]
    prefix: bool = False
    """Whether the last word may go on."""
    loose: bool = False
    """Whether other forms of the word count; only of single words."""


def terms(text: str) -> tuple[Term, ...]:
    """The terms of a text; none when there is no word in it. Raises TooMany."""
    if len(text) > MAX_TEXT:
        raise TooMany(f"a text to look for has at most {MAX_TEXT} characters")
    found = tuple(term for term in _terms(text))
    if sum(len(term.words) for term in found) > MAX_WORDS:
        raise TooMany(f"a text to look for has at most {MAX_WORDS} words")
    return tuple(dict.fromkeys(found))


def _terms(text: str) -> Iterator[Term]:
    for match in _PIECE.finditer(text):
        if match[1] is not None:
            yield from _of(_ESCAPED.sub(r"\1", match[2]), prefix=False, exact=True)
        else:
            piece = match[3]
            yield from _of(piece, prefix=piece.endswith("*") and len(piece) > 1, exact=False)


def _of(piece: str, *, prefix: bool, exact: bool) -> Iterator[Term]:
    cut = list(runs(folded(piece)))
    if not cut:
        return
    found: list[str] = []
    for number, (run, dense) in enumerate(cut):
        last = number == len(cut) - 1
        if not dense:
            found.append(run[:MAX_WORD])
        elif len(run) > 1:
            found.extend(pairs(run))
            if not last:
                found.append(run[-1])
        else:
            found.append(run)
    _, dense = cut[-1]
    # Of a script without spaces any run of characters is found wherever it stands: one alone begins a pair.
    goes_on = (dense and len(cut[-1][0]) == 1) or (prefix and not dense)
    yield Term(tuple(found), goes_on, loose=not exact and len(found) == 1 and not goes_on and not dense)
