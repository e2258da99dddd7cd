"""SEARCH, SORT and THREAD as values (RFC 9051 6.4.4, RFC 4731, RFC 5182, RFC 5256, RFC 5267, RFC 7377, 9394)."""

from collections.abc import Callable, Mapping

from posthorn_imap.protocol.commands import CancelUpdate, Command, MultiSearch, Partial, Results, Search, Sort, Thread
from posthorn_imap.protocol.cursor import Cursor, SyntaxProblem
from posthorn_imap.protocol.partial import partial_range
from posthorn_imap.protocol.search_keys import Key, numbers_messages, search_keys
from posthorn_imap.protocol.search_sources import Scope, Source, source
from posthorn_imap.protocol.sort_keys import sort_criteria

_RESULTS = frozenset({b"MIN", b"MAX", b"ALL", b"COUNT", b"SAVE", b"PARTIAL", b"UPDATE", b"CONTEXT"})
_ABOUT_CONTEXTS = frozenset({b"UPDATE", b"CONTEXT"})  # the second is a hint that needs nothing here
MAX_TAGS = 100
"""Tags in one CANCELUPDATE."""
_ALGORITHMS = frozenset({b"ORDEREDSUBJECT", b"REFERENCES"})


def _search(cursor: Cursor, *, uid: bool) -> Search:
    cursor.space()
    results = _results(cursor)
    if results is None and b"IMAP4REV2" in cursor.enabled:
        results = Results(frozenset({b"ALL"}))  # RFC 9051 6.4.4: answered by ESEARCH alone
    charset = None
    if cursor.accept(b"CHARSET "):
        if b"UTF8=ACCEPT" in cursor.enabled:
            raise SyntaxProblem("no CHARSET after ENABLE UTF8=ACCEPT")  # RFC 6855 3
        charset = cursor.astring()
        cursor.space()
    return Search(search_keys(cursor, charset), results, uid)


def _sort(cursor: Cursor, *, uid: bool) -> Sort:
    cursor.space()
    results = _results(cursor)
    criteria = sort_criteria(cursor)
    return Sort(criteria, _keys(cursor), results, uid)


def _thread(cursor: Cursor, *, uid: bool) -> Thread:
    cursor.space()
    algorithm = cursor.word()
    if algorithm not in _ALGORITHMS:
        raise SyntaxProblem("unknown threading algorithm")
    return Thread(algorithm, _keys(cursor), uid)


def multi_search(cursor: Cursor) -> MultiSearch:
    """ESEARCH (RFC 7377 2.1). Only what is selected may be searched by sequence numbers, or saved."""
    cursor.space()
    sources: tuple[Source, ...] = (Source(Scope.SELECTED),)
    if cursor.accept(b"IN "):
        sources = tuple(cursor.listed(source))
        cursor.space()
    results = _results(cursor) or Results(frozenset({b"ALL"}))
    if results.update:
        raise SyntaxProblem("UPDATE is for SEARCH and SORT")
    charset = None
    if cursor.accept(b"CHARSET "):
        charset = cursor.astring()
        cursor.space()
    key = search_keys(cursor, charset)
    if any(each.scope is not Scope.SELECTED for each in sources):
        if b"SAVE" in results.words:
            raise SyntaxProblem("SAVE is for the selected mailbox alone")
        if numbers_messages(key):
            raise SyntaxProblem("sequence numbers are for the selected mailbox alone")
    return MultiSearch(sources, key, results)


def cancel_update(cursor: Cursor) -> CancelUpdate:
    tags = []
    while not cursor.at_end():
        cursor.space()
        tags.append(cursor.string())
        if len(tags) > MAX_TAGS:
            raise SyntaxProblem(f"more than {MAX_TAGS} tags")
    if not tags:
        raise SyntaxProblem("missing argument")
    return CancelUpdate(tuple(tags))


def _keys(cursor: Cursor) -> Key:
    """The charset, which SORT and THREAD always name, and the search keys."""
    cursor.space()
    charset = cursor.astring()
    cursor.space()
    return search_keys(cursor, charset)


def _results(cursor: Cursor) -> Results | None:
    """RETURN with its options, and the space after it; nothing in the parentheses asks for ALL (RFC 4731 3.1)."""
    if not cursor.accept(b"RETURN "):
        return None
    options = cursor.listed(_option, least=0)
    cursor.space()
    words = frozenset(word for word, _ in options) or frozenset({b"ALL"})
    partials = [partial for _, partial in options if partial is not None]
    if len(partials) > 1 or (partials and b"ALL" in words):
        raise SyntaxProblem("PARTIAL may stand once, and not beside ALL")  # RFC 9394 3.1
    return Results(words - _ABOUT_CONTEXTS, partials[0] if partials else None, b"UPDATE" in words)


def _option(cursor: Cursor) -> tuple[bytes, Partial | None]:
    word = cursor.word()
    if word not in _RESULTS:
        raise SyntaxProblem("unknown result option")
    if word != b"PARTIAL":
        return word, None
    cursor.space()
    return word, partial_range(cursor)


def search_verbs(*, uid: bool) -> Mapping[str, Callable[[Cursor], Command]]:
    """The readers of these commands, or of their UID forms."""
    return {
        "SEARCH": lambda cursor: _search(cursor, uid=uid),
        "SORT": lambda cursor: _sort(cursor, uid=uid),
        "THREAD": lambda cursor: _thread(cursor, uid=uid),
    }
