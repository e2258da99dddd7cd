"""What a client of IMAP, POP3 or ManageSieve is received with. The receiving itself is posthorn_node's."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from posthorn_imap.connection import ClientConnection
from posthorn_imap.managesieve.responses import done
from posthorn_imap.managesieve.session import ManageSieveSession
from posthorn_imap.parts import Listening, Parts
from posthorn_imap.pop3.session import Pop3Session
from posthorn_imap.protocol.responses import bye
from posthorn_imap.session import Session
from posthorn_node.settings import ListenerSettings
from posthorn_node.stream.connection import Connection
from posthorn_node.stream.door import Door, Full
from posthorn_node.stream.reception import Reception, ReceptionFigures, Sockets, Welcome, opened
from posthorn_node.stream.reception import Session as Conversation

_Begin = Callable[[Parts, Listening, ClientConnection, str], Conversation]
_PROTOCOLS: dict[str, tuple[_Begin, bytes]] = {
    "imap": (Session, bye("Too many connections, try again later", b"UNAVAILABLE").line()),
    "pop3": (Pop3Session, b"-ERR [SYS/TEMP] Too many connections, try again later\r\n"),
    "managesieve": (ManageSieveSession, done("BYE", "Too many connections, try again later", "TRYLATER")),
}
"""By the listener's protocol: its session, and what a client hears that is not let in."""
PROTOCOLS = tuple(_PROTOCOLS)


def make_reception(parts: Parts, settings: ListenerSettings, door: Door, sockets: Sockets = opened) -> Reception:
    """The reception of one listener of the settings; it is not open yet."""
    return Reception(settings, welcome(parts, settings, door, sockets))


def welcome(parts: Parts, settings: ListenerSettings, door: Door, sockets: Sockets = opened) -> Welcome:
    """How the clients of one listener are received."""
    if settings.certificate:
        parts = replace(parts, tls_context=partial(parts.tls_context, certificate=settings.certificate))
    begin, refusal = _PROTOCOLS[settings.protocol]
    listening = Listening(
        name=settings.name,
        starttls=settings.tls == "starttls",
        plaintext_auth=settings.allow_plaintext_auth,
        tokens=parts.storage.directory.takes_tokens,
    )
    figures, times = parts.figures, parts.settings.timeouts

    def converse(connection: Connection, address: str) -> Conversation:
        return begin(parts, listening, ClientConnection(connection, times.write), address)

    return Welcome(
        door=door,
        converse=converse,
        refusals={Full.ALL: refusal, Full.ADDRESS: refusal},
        tls_context=parts.tls_context,
        tls_seconds=times.tls,
        figures=ReceptionFigures(
            open=figures.connections.labels(settings.name),
            refused=figures.refused.labels(settings.name),
            bugs=figures.bugs,
        ),
        log=parts.log,
        sockets=sockets,
    )
