"""What CAPABILITY lists: exactly what works in the session's state (RFC 9051 7.2.2)."""

from collections.abc import Iterable, Sequence

ALWAYS = ("IMAP4rev1", "IMAP4rev2", "LITERAL+", "SASL-IR", "ID", "ENABLE")
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
    "SORT",
    "SORT=DISPLAY",
    "ESORT",
    "PARTIAL",
    "CONTEXT=SEARCH",
    "CONTEXT=SORT",
    "MULTISEARCH",
    "INPROGRESS",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "WITHIN",
    "CONDSTORE",
    "QRESYNC",
    "OBJECTID",
    "PREVIEW",
    "SAVEDATE",
    "COMPRESS=DEFLATE",
    "MULTIAPPEND",
    "CATENATE",
    "REPLACE",
    "UNAUTHENTICATE",
    "BINARY",
    "UTF8=ACCEPT",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "METADATA",
    "LIST-METADATA",
    "NOTIFY",
    "ACL",
    "RIGHTS=kxte",
    "LIST-MYRIGHTS",
    "UIDONLY",
    "URLAUTH",
)


def capabilities(
    *,
    starttls: bool,
    mechanisms: Sequence[str],
    logged_in: bool,
    append_limit: int,
    messages: int,
    saved_messages: int,
    jmap: bool,
) -> Iterable[str]:
    """`starttls`: TLS can still begin; `mechanisms`: of AUTHENTICATE, none while nobody may log in.

    `messages`, `saved_messages`: in one command (RFC 9738), 0 for any number. `jmap`: it is known where the same mail
    is served by JMAP.
    """
    yield from ALWAYS
    if logged_in:
        yield from AFTER_LOGIN
        yield f"APPENDLIMIT={append_limit}"
        if messages:
            yield f"MESSAGELIMIT={messages}"
        elif saved_messages:
            yield f"SAVELIMIT={saved_messages}"
        if jmap:
            yield "JMAPACCESS"
        return
    if starttls:
        yield "STARTTLS"
    if not mechanisms:
        yield "LOGINDISABLED"
    yield from (f"AUTH={mechanism}" for mechanism in mechanisms)
