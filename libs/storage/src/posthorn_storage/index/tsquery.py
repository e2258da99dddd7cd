"""Terms as PostgreSQL's tsquery, put together from words that posthorn_storage.index.words has cut, nothing else.

No text of anybody's is handed to a parser of queries: a word holds letters, digits and accents, and stands in quotes.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from posthorn_model.ids import AccountId
from posthorn_storage.index.port import Wanted
from posthorn_storage.index.terms import Term
from posthorn_storage.index.vector import LETTERS, exact_key, form_key
from posthorn_storage.index.words import plain
from posthorn_storage.mail.search import TextField

Forms = Mapping[str, Mapping[str, str]]
"""Stems of the words that are looked for, by language."""

_BODY: Final = "CD"
"""Weights of what RFC 8621 4.4.1 calls the body: text parts, and attachments that could be read."""


def tsquery(account: AccountId, wanted: Wanted, forms: Forms) -> str:
    """The query that all terms of `wanted` are found by."""
    letter = LETTERS.get(wanted.field, "")
    weights = _BODY if wanted.field is TextField.BODY else ""
    return " & ".join(f"({_term(account, letter, weights, term, forms)})" for term in wanted.terms)


def _term(account: AccountId, letter: str, weights: str, term: Term, forms: Forms) -> str:
    if term.loose:
        keys = dict.fromkeys(_loose(account, letter, term.words[0], forms))
        return " | ".join(_quoted(key, weights) for key in keys)
    last = len(term.words) - 1
    parts = [
        _quoted(exact_key(account, letter, word), f"*{weights}" if term.prefix and number == last else weights)
        for number, word in enumerate(term.words)
    ]
    if term.prefix and not last:
        parts.append(_quoted(form_key(account, letter, None, plain(term.words[0])), f"*{weights}"))
        return " | ".join(parts)
    return " <-> ".join(parts)


def _loose(account: AccountId, letter: str, word: str, forms: Forms) -> Iterable[str]:
    """Every key under which a message may have the word, or another form of it.

    A form that a message has as a word of its own is not kept twice, so each form is looked for as a word, too.
    """
    bare = plain(word)
    yield exact_key(account, letter, word)
    yield exact_key(account, letter, bare)
    yield form_key(account, letter, None, bare)
    for language, stems in forms.items():
        stem = stems.get(word)
        if stem:
            yield exact_key(account, letter, stem)
            yield form_key(account, letter, language, stem)


def _quoted(key: str, marks: str) -> str:
    return f"'{key}':{marks}" if marks else f"'{key}'"
