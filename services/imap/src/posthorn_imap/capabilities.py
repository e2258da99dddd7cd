"""What CAPABILITY lists: exactly what works in the session's state (RFC 9051 7.2.2)."""

from collections.abc import Iterable

ALWAYS = ("IMAP4rev1", "LITERAL+", "SASL-IR", "ID", "ENABLE")
AFTER_LOGIN = (
    "IDLE",
    "NAMESPACE",
    "CHILDREN",
    "UIDPLUS",
    "MOVE",
    "UNSELECT",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "STATUS=SIZE",
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "CONDSTORE",
    "QRESYNC",
    "OBJECTID",
    "PREVIEW",
)


def capabilities(*, starttls: bool, login: bool, logged_in: bool, append_limit: int) -> Iterable[str]:
    """`starttls`: TLS can still begin; `login`: passwords may be sent now."""
    yield from ALWAYS
    if logged_in:
        yield from AFTER_LOGIN
        yield f"APPENDLIMIT={append_limit}"
        return
    if starttls:
        yield "STARTTLS"
    yield "AUTH=PLAIN" if login else "LOGINDISABLED"
