"""Where a text has what was looked for, to be shown to people. A reader's help: it may mark a form too many."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from posthorn_storage.index.languages import Stems
from posthorn_storage.index.terms import terms
from posthorn_storage.index.words import folded, plain, runs, spans

LONGEST_ENDING: Final = 4
"""Letters that a word may have behind its stem."""
SHORTEST_STEM: Final = 3


class Marker:
    """Finds the words of some terms. Made by `marker`."""

    def __init__(self, exact: frozenset[str], beginnings: tuple[str, ...], stems: tuple[str, ...], dense: str) -> None:
        self._exact = exact
        self._beginnings = beginnings
        self._stems = stems
        self._dense = re.compile(dense, re.IGNORECASE) if dense else None

    def places(self, text: str) -> list[tuple[int, int]]:
        """Start and end of what is to be marked, ascending and apart."""
        found = [(start, end) for start, end, word in spans(text) if self._holds(word)]
        if self._dense is not None:
            found += [match.span() for match in self._dense.finditer(text)]
            found.sort()
        apart: list[tuple[int, int]] = []
        for start, end in found:
            if not apart or start >= apart[-1][1]:
                apart.append((start, end))
        return apart

    def _holds(self, word: str) -> bool:
        bare = plain(word)
        return (
            word in self._exact
            or bare in self._exact
            or word.startswith(self._beginnings)
            or (bare.startswith(self._stems) and any(_is_form(bare, stem) for stem in self._stems))
        )


def _is_form(word: str, stem: str) -> bool:
    return word.startswith(stem) and len(word) <= len(stem) + LONGEST_ENDING


async def marker(stems: Stems, texts: Iterable[str]) -> Marker | None:
    """What marks the words of texts as they are read by a search; None when they hold nothing. Raises TooMany."""
    exact: set[str] = set()
    beginnings: set[str] = set()
    loose: set[str] = set()
    signs: set[str] = set()
    for text in texts:
        sought = terms(text)
        if not sought and text.strip():
            signs.add(text.strip())
        signs.update(run for run, dense in runs(folded(text)) if dense)
        for term in sought:
            exact.update(term.words)
            if term.prefix:
                beginnings.add(term.words[-1])
            if term.loose:
                loose.update((term.words[0], plain(term.words[0])))
    if not exact and not signs:
        return None
    forms = (await stems.of_all(loose)).values()
    # The last letter of a stem may be another one than the word's ("happi"): such stems mark without it.
    dense = "|".join(sorted(map(re.escape, signs), key=len, reverse=True))
    return Marker(frozenset(exact | loose), tuple(beginnings), tuple(sorted(_starts(forms))), dense)


def _starts(forms: Iterable[Mapping[str, str]]) -> set[str]:
    found = set()
    for stems in forms:
        for word, stem in stems.items():
            start = plain(stem) if plain(word).startswith(plain(stem)) else plain(stem)[:-1]
            if len(start) >= SHORTEST_STEM:
                found.add(start)
    return found
