"""Arguments of the commands on URLs that lend rights (RFC 4467 9). Whether a URL is any good is found out later."""

from collections.abc import Callable, Mapping

from posthorn_imap.protocol.commands import Command
from posthorn_imap.protocol.cursor import Cursor, SyntaxProblem
from posthorn_imap.protocol.mailbox_grammar import mailbox
from posthorn_imap.protocol.url_access import MECHANISM, GenUrlAuth, ResetKey, UrlFetch

MAX_URLS = 64
"""In one command."""


def _mechanism(cursor: Cursor) -> None:
    cursor.space()
    if cursor.word() != MECHANISM:
        raise SyntaxProblem("the only mechanism is INTERNAL")


def _gen_url_auth(cursor: Cursor) -> GenUrlAuth:
    urls: list[bytes] = []
    while not cursor.at_end() or not urls:
        urls.append(_url(cursor))
        _mechanism(cursor)
    return GenUrlAuth(_few(urls))


def _reset_key(cursor: Cursor) -> ResetKey:
    if cursor.at_end():
        return ResetKey(None)
    name = mailbox(cursor)
    while not cursor.at_end():
        _mechanism(cursor)
    return ResetKey(name)


def _url_fetch(cursor: Cursor) -> UrlFetch:
    urls: list[bytes] = []
    while not cursor.at_end() or not urls:
        urls.append(_url(cursor))
    return UrlFetch(_few(urls))


def _url(cursor: Cursor) -> bytes:
    cursor.space()
    return cursor.astring()


def _few(urls: list[bytes]) -> tuple[bytes, ...]:
    if len(urls) > MAX_URLS:
        raise SyntaxProblem(f"more than {MAX_URLS} URLs")
    return tuple(urls)


URL_COMMANDS: Mapping[str, Callable[[Cursor], Command]] = {
    "GENURLAUTH": _gen_url_auth,
    "RESETKEY": _reset_key,
    "URLFETCH": _url_fetch,
}
