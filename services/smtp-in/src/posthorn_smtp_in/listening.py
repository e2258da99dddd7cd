"""Listening: what a client of SMTP, submission or LMTP is received with. The receiving itself is posthorn_node's."""

from dataclasses import replace
from functools import partial

from posthorn_node.settings import ListenerSettings
from posthorn_node.stream.connection import Connection
from posthorn_node.stream.door import Full
from posthorn_node.stream.reception import Reception, ReceptionFigures, Sockets, Welcome, opened
from posthorn_smtp_in.judge import Kind
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.replies import reply
from posthorn_smtp_in.session import Session
from posthorn_smtp_in.transaction import Listener

REFUSALS = {
    Full.ALL: reply(421, "4.3.2", "Too many connections, try again later").encode(),
    Full.ADDRESS: reply(421, "4.7.0", "Too many connections from your address, try again later").encode(),
    Full.BANNED: reply(421, "4.7.0", "Connections from your address are refused for now").encode(),
}


def make_reception(parts: Parts, settings: ListenerSettings, sockets: Sockets = opened) -> Reception:
    """The reception of one listener of the settings; it is not open yet."""
    return Reception(settings, welcome(parts, settings, sockets))


def welcome(parts: Parts, settings: ListenerSettings, sockets: Sockets = opened) -> Welcome:
    """How the clients of one listener are received."""
    listener = Listener(
        name=settings.name,
        kind=Kind(settings.protocol),
        starttls=settings.tls == "starttls",
        plaintext_auth=settings.allow_plaintext_auth,
    )
    parts = replace(parts, settings=parts.settings.at(settings.name))
    if settings.certificate:
        parts = replace(parts, tls_context=partial(parts.tls_context, certificate=settings.certificate))
    figures, name = parts.figures, settings.name

    def converse(connection: Connection, address: str) -> Session:
        return Session(parts, listener, connection, address)

    return Welcome(
        door=parts.door,
        converse=converse,
        refusals=REFUSALS,
        tls_context=parts.tls_context,
        tls_seconds=parts.settings.timeouts.tls,
        figures=ReceptionFigures(
            arrived=figures.connections.labels(name),
            open=figures.sessions.labels(name),
            refused=figures.refused.labels(name),
            bugs=figures.bugs,
        ),
        log=parts.log,
        sockets=sockets,
    )
