"""Answers the conditions of a search that ask for words: by the index, all in one look, before the search itself."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from posthorn_model.errors import TooMany
from posthorn_model.ids import AccountId
from posthorn_storage.index.port import SearchIndex, Wanted
from posthorn_storage.index.terms import terms
from posthorn_storage.mail import search
from posthorn_storage.mail.search import Condition, SearchQuery

MAX_MATCHES: Final = 32
"""Different conditions of one search that ask for words."""


async def resolved(index: SearchIndex, account: AccountId, query: SearchQuery) -> SearchQuery:
    """The same query with every Matches answered. Raises TooMany, Unavailable, Overloaded.

    A text without a word (signs alone) is looked for as it stands.
    """
    asked = list(dict.fromkeys(_matches(query.where)))
    if len(asked) > MAX_MATCHES:
        raise TooMany("the search asks for too many texts")
    if not asked:
        return query
    answers: dict[search.Matches, Condition] = {}
    wanted: dict[search.Matches, Wanted] = {}
    for one in asked:
        sought = terms(one.text)
        if sought:
            wanted[one] = Wanted(one.field, sought)
        else:
            answers[one] = search.Contains(one.field, one.text.strip())
    if wanted:
        for one, found in zip(wanted, await index.matching(account, list(wanted.values())), strict=True):
            answers[one] = search.MessageIds(tuple(found))
    return replace(query, where=_answered(query.where, answers))


def _matches(where: Condition) -> Iterator[search.Matches]:
    match where:
        case search.And(parts) | search.Or(parts):
            for part in parts:
                yield from _matches(part)
        case search.Not(part):
            yield from _matches(part)
        case search.Matches():
            yield where


def _answered(where: Condition, answers: Mapping[search.Matches, Condition]) -> Condition:
    match where:
        case search.And(parts) | search.Or(parts):
            return replace(where, parts=tuple(_answered(part, answers) for part in parts))
        case search.Not(part):
            return search.Not(_answered(part, answers))
        case search.Matches():
            return answers[where]
    return where
