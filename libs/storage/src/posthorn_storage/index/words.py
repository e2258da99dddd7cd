"""How a text is cut into words. The index and every query cut alike, so that they cannot disagree; nothing else does.

A word is a run of letters and digits, in compatibility form and without case. Scripts that are written without spaces
(Chinese, Japanese, Korean, Thai and their like) have no words to be seen without a dictionary: a run of them becomes
its pairs of neighbouring characters and its last character.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

MAX_WORD: Final = 64
"""Longer words are cut off here, in the index as in a query."""

_DENSE: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u3100-\u312f\u3131-\u318e"
    "\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS: Final = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff\u200c\u200d"
)
"""What is no letter by itself and yet is inside of words: accents and vowel signs."""
_WORD: Final = re.compile(rf"([{_DENSE}]+)|[^\W_{_DENSE}](?:[^\W_{_DENSE}]|[{_MARKS}])*")
_ASCII_WORD: Final = re.compile(r"[a-z0-9]+")
"""All that _WORD finds in folded text of ASCII, several times as fast."""
_PLAIN: Final = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})


def folded(text: str) -> str:
    """The form in which words are compared: compatibility characters and case do not count."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def runs(text: str) -> Iterator[tuple[str, bool]]:
    """Each run of letters of a folded text, and whether its script has no spaces."""
    for match in _WORD.finditer(text):
        yield match[0], match[1] is not None


def words(text: str) -> list[str]:
    """The words of a text, in their order."""
    if text.isascii():
        return [word[:MAX_WORD] for word in _ASCII_WORD.findall(folded(text))]
    found: list[str] = []
    for run, dense in runs(folded(text)):
        if dense:
            found += pairs(run)
            found.append(run[-1])
        else:
            found.append(run[:MAX_WORD])
    return found


def pairs(run: str) -> Iterator[str]:
    """The neighbouring characters of a run without spaces; none of a single character."""
    return map("".join, pairwise(run))


def spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and folded form of each run of letters in a text as it is, for marking it."""
    for match in _WORD.finditer(text):
        yield match.start(), match.end(), folded(match[0])


def plain(word: str) -> str:
    """A folded word without its accents."""
    if word.isascii():
        return word
    parts = unicodedata.normalize("NFKD", word.translate(_PLAIN))
    return "".join(letter for letter in parts if not unicodedata.combining(letter)) or word
