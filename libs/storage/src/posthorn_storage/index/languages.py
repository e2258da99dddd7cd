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

# NULL: the dictionary knows nothing of it, so it is its own stem; an empty array: a stop word.
LEXIZE = """
SELECT w.language, w.word, ts_lexize((w.language || '_stem')::regdictionary, w.word) AS stems
FROM unnest($1::text[], $2::text[]) AS w (language, word)
"""

Stemmed = Mapping[str, Mapping[str, str]]
"""By language, the stems of the words that have one; a stop word has ""."""


class Stems:
    """Stems of words, asked of the database's dictionaries and kept in memory."""

    def __init__(self, database: Database, settings: SearchSettings) -> None:
        self._database = database
        self.settings = settings
        self._kept: dict[str, dict[str, str]] = {}

    async def of(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, str]]:
        """The stems of words by language, in at most one statement. Raises Unavailable, Overloaded."""
        asked = {
            language: {word for word in words if _has_forms(word)} if language != SIMPLE else set()
            for language, words in wanted.items()
        }
        kept = {language: self._kept.setdefault(language, {}) for language in asked}
        missing = [(language, word) for language, words in asked.items() for word in words.difference(kept[language])]
        if missing:
            arguments = [language for language, _ in missing], [word for _, word in missing]
            for row in await self._database.fetch(LEXIZE, *arguments):
                stems, word = row["stems"], row["word"]
                kept[row["language"]][word] = word if stems is None else stems[0] if stems else ""
        found = {language: {word: kept[language][word] for word in words} for language, words in asked.items()}
        for language, words in kept.items():
            if len(words) > MAX_KEPT:
                self._kept[language] = {}
        return found

    async def of_all(self, words: Collection[str]) -> dict[str, dict[str, str]]:
        """The stems in every language of the settings."""
        return await self.of(dict.fromkeys(self.settings.languages, words))

    async def languages(self, messages: Sequence[tuple[Mapping[str, int], Sequence[str]]]) -> list[str]:
        """The language of each message, given as its words with their counts and the tags of its Content-Language.

        The header says it, else the script or the stop words of the text, else it is the default of the settings.
        """
        frequent = [_frequent(counted) for counted, _ in messages]
        stems = await self.of_all({word for some in frequent for word in some})
        found = zip(frequent, messages, strict=True)
        return [
            self._tagged(tags) or self._by_script(some) or self._by_stop_words(some, stems) for some, (_, tags) in found
        ]

    def _tagged(self, tags: Sequence[str]) -> str | None:
        named = (TAGS.get(tag.lower().partition("-")[0].strip()) for tag in tags)
        return next((language for language in named if language in self.settings.languages), None)

    def _by_script(self, frequent: Mapping[str, int]) -> str | None:
        for first, last, language in BY_SCRIPT:
            count = sum(first <= word[0] <= last for word in frequent)
            if language in self.settings.languages and count * 2 > len(frequent):
                return language
        return None

    def _by_stop_words(self, frequent: Mapping[str, int], stems: Stemmed) -> str:
        best, best_score = self.settings.default_language, (ENOUGH - 1, 0)
        for language in self.settings.languages:
            hits = [count for word, count in frequent.items() if stems[language].get(word) == ""]
            score = (len(hits), sum(hits))
            if len(hits) >= ENOUGH and score > best_score:
                best, best_score = language, score
        return best


def _frequent(counted: Mapping[str, int]) -> dict[str, int]:
    short = {word: count for word, count in counted.items() if len(word) <= LONGEST_STOP_WORD and word.isalpha()}
    return dict(Counter(short).most_common(FREQUENT))


def _has_forms(word: str) -> bool:
    return 1 < len(word) <= MAX_STEMMED and word.isalpha()
