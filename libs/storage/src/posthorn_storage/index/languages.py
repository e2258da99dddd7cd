"""Languages: which there are, the forms of their words by PostgreSQL's own dictionaries, and which one a text is in.

A dictionary tells of a word its stem, or that it is one of those that say nothing (stop words). The latter also tell
languages apart: the text is in the one most of whose stop words it holds. Answers are kept in memory, within bounds.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from posthorn_storage.database import Database
from posthorn_storage.settings import SearchSettings

SIMPLE: Final = "simple"
"""No language: words as they stand."""

TAGS: Final[Mapping[str, str]] = {
    "ar": "arabic", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish", "fi": "finnish",
    "fr": "french", "ga": "irish", "hu": "hungarian", "id": "indonesian", "it": "italian", "lt": "lithuanian",
    "nb": "norwegian", "nl": "dutch", "nn": "norwegian", "no": "norwegian", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sv": "swedish", "tr": "turkish",
}  # fmt: skip
"""Primary language tags (RFC 5646) and the names that PostgreSQL 15 has for the languages."""
BY_SCRIPT: Final = (("\u0370", "\u03ff", "greek"), ("\u0400", "\u04ff", "russian"), ("\u0600", "\u06ff", "arabic"))
"""Scripts that one language here has for itself: first and last letter."""

FREQUENT: Final = 60
"""Words of a text that tell its language: the most frequent short ones."""
LONGEST_STOP_WORD: Final = 10
ENOUGH: Final = 2
"""Different stop words that must be found."""
MAX_STEMMED: Final = 40
"""Longer words have no other forms."""
MAX_KEPT: Final = 50_000
"""Words of one language that are kept in memory."""

# A word without an entry in the dictionary of its language is its own stem; an empty array is a stop word.
LEXIZE = """
SELECT w.word, ts_lexize($1::regdictionary, w.word) AS stems FROM unnest($2::text[]) AS w (word)
"""


class Stems:
    """Stems of words, asked of the database's dictionaries and kept in memory."""

    def __init__(self, database: Database, settings: SearchSettings) -> None:
        self._database = database
        self.settings = settings
        self._kept: dict[str, dict[str, str]] = {name: {} for name in settings.languages if name != SIMPLE}

    async def of(self, language: str, words: Collection[str]) -> dict[str, str]:
        """The stems of those words that have one of their own; a stop word has "". Raises Unavailable, Overloaded."""
        kept = self._kept.setdefault(language, {}) if language != SIMPLE else {}
        asked = {word for word in words if _has_forms(word)} if language != SIMPLE else set()
        missing = sorted(asked.difference(kept))
        if missing:
            fresh = {
                row["word"]: row["stems"][0] if row["stems"] else "" if row["stems"] is not None else row["word"]
                for row in await self._database.fetch(LEXIZE, f"{language}_stem", missing)
            }
            if len(kept) + len(fresh) > MAX_KEPT:
                kept = {word: kept[word] for word in asked.difference(fresh)}
            kept.update(fresh)
            self._kept[language] = dict(list(kept.items())[-MAX_KEPT:])
        return {word: kept[word] for word in asked}

    async def language(self, counted: Mapping[str, int], tags: Sequence[str]) -> str:
        """The language of a text: as its Content-Language says, else by its script or stop words, else the default.

        `counted` are its words and how often it has each; `tags` those of the header field.
        """
        for tag in tags:
            named = TAGS.get(tag.lower().partition("-")[0].strip())
            if named in self.settings.languages:
                return named
        short = {word: count for word, count in counted.items() if len(word) <= LONGEST_STOP_WORD and word.isalpha()}
        frequent = dict(Counter(short).most_common(FREQUENT))
        found = Counter(_script(word) for word in frequent)
        script, count = found.most_common(1)[0] if found else (None, 0)
        if script in self.settings.languages and count * 2 > len(frequent):
            return script
        return await self._by_stop_words(frequent)

    async def _by_stop_words(self, frequent: Mapping[str, int]) -> str:
        best, best_score = self.settings.default_language, (ENOUGH - 1, 0)
        for language in self.settings.languages:
            stems = await self.of(language, frequent)
            hits = [word for word, stem in stems.items() if not stem]
            score = (len(hits), sum(frequent[word] for word in hits))
            if score > best_score and len(hits) >= ENOUGH:
                best, best_score = language, score
        return best


def _has_forms(word: str) -> bool:
    return 1 < len(word) <= MAX_STEMMED and word.isalpha()


def _script(word: str) -> str | None:
    return next((language for first, last, language in BY_SCRIPT if first <= word[0] <= last), None)
