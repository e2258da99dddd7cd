"""The form in which PostgreSQL keeps the words of a message: a tsvector whose every word begins with its account.

A word is kept as `account=word` with its places, whose weights tell where it stands: A subject, B addresses, C
attachments, D body. Subject and addresses are kept once more under a letter of their own, `accountS=word`. Other forms
of a word (its stem in the message's language, itself without accents) are kept as `account~language:form`, with one
place for each weight. An account's number is in lower-case hexadecimal: capital letters, "=" and "~" end it.

The account in front makes each account a dictionary of its own: a look-up meets no entry of another one, not even by a
prefix of a common word (decision 0012).
"""

from collections.abc import Iterable, Mapping
from typing import Final

from posthorn_model.ids import AccountId
from posthorn_storage.index.languages import TAGS
from posthorn_storage.index.port import Texts
from posthorn_storage.index.words import plain, words
from posthorn_storage.mail.search import TextField

VERSION: Final = 1
"""Of what is described here."""
MAX_BYTES: Final = 700_000
"""Of one message's words with their places; PostgreSQL takes a megabyte. Words beyond are left out."""
MAX_PLACE: Final = 16_383
MAX_PLACES: Final = 255
"""PostgreSQL's limits: a phrase is found where its words stand within them."""
GAP: Final = 8
"""Places between two texts, so that no phrase goes from one into the other."""

LETTERS: Final[Mapping[TextField, str]] = {
    TextField.SUBJECT: "S",
    TextField.FROM: "F",
    TextField.TO: "T",
    TextField.CC: "C",
    TextField.BCC: "B",
}
"""Fields that have words of their own."""
_MARKS: Final = {"A": "1A", "B": "2B", "C": "3C", "D": "4D"}
_CODES: Final = {language: tag for tag, language in sorted(TAGS.items(), reverse=True)}


def exact_key(account: AccountId, letter: str, word: str) -> str:
    """A word as it stands, in any field ("") or in that of a letter."""
    return f"{account:x}{letter}={word}"


def form_key(account: AccountId, letter: str, language: str | None, form: str) -> str:
    """Another form of a word; without a language it is the word without its accents."""
    return f"{account:x}{letter}~{_CODES[language] if language else ''}:{form}"


class Vector:
    """A tsvector in the making."""

    def __init__(self, account: AccountId, language: str, stems: Mapping[str, str]) -> None:
        self._account = account
        self._language = language
        self._stems = stems
        self._entries: dict[str, list[str]] = {}
        self._bytes = 0
        self._place = 0

    def add(self, field: TextField | None, weight: str, found: Iterable[str]) -> None:
        """Take in the words of one field; None for attachments."""
        letter = "" if field is None else LETTERS.get(field, "")
        self._place += GAP
        seen: dict[str, list[str]] = {}
        for number, word in enumerate(found, 1):
            self._place += 1
            places = seen.get(word)
            if places is None:
                places = self._take(word, letter, weight, number)
                if places is not None and not letter:
                    seen[word] = places
            elif self._place <= MAX_PLACE and len(places) < MAX_PLACES:
                # Most words of a long text: all its forms are in, and it has one more place.
                self._bytes += 2
                places.append(f"{self._place}{weight}")

    def _take(self, word: str, letter: str, weight: str, number: int) -> list[str] | None:
        """A word and its forms; returns the places of the word as it stands, None when it is left out."""
        places = self._put(exact_key(self._account, "", word), f"{self._place}{weight}", self._place)
        if letter:
            self._put(exact_key(self._account, letter, word), str(number), number)
        for language, form in self._forms(word):
            self._put(form_key(self._account, "", language, form), _MARKS[weight], 0)
            if letter:
                self._put(form_key(self._account, letter, language, form), "1", 0)
        return places

    def _forms(self, word: str) -> Iterable[tuple[str | None, str]]:
        stem = self._stems.get(word)
        if stem and stem != word:
            yield self._language, stem
        bare = plain(word)
        if bare != word:
            yield None, bare

    def _put(self, key: str, place: str, number: int) -> list[str] | None:
        """Returns the places of the key; None when there is no room for it."""
        places = self._entries.get(key)
        if places is None:
            size = len(key.encode()) + 8
            if self._bytes + size > MAX_BYTES:
                return None
            self._bytes += size
            places = self._entries[key] = [place]
        elif place not in places[:4] and (
            (number <= MAX_PLACE and len(places) < MAX_PLACES) or places[-1][-1] != place[-1]
        ):
            # Behind PostgreSQL's limits a word has one more place for each weight, to be found by it.
            self._bytes += 2
            places.append(place)
        return places

    def text(self) -> str:
        """As PostgreSQL reads it. Words hold neither quotes nor backslashes."""
        return " ".join(f"'{key}':{','.join(places)}" for key, places in self._entries.items())


def vector(account: AccountId, texts: Texts, language: str, stems: Mapping[str, str]) -> str:
    """The words of a message, those of the subject first: what is left out is from the end of long texts."""
    made = Vector(account, language, stems)
    made.add(TextField.SUBJECT, "A", words(texts.subject))
    made.add(TextField.FROM, "B", words(texts.from_))
    made.add(TextField.TO, "B", words(texts.to))
    made.add(TextField.CC, "B", words(texts.cc))
    made.add(TextField.BCC, "B", words(texts.bcc))
    made.add(TextField.BODY, "D", words(texts.body))
    made.add(None, "C", words(texts.attachments))
    return made.text()
