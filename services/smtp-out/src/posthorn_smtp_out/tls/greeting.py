"""The first words with a host, under the TLS that it must show: strictly, or falling back where that is allowed."""

import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeAlias

from posthorn_mail_auth.dane import Unauthentic, authenticate
from posthorn_model.tls_reports import TlsSession
from posthorn_smtp_out.channel import Channel
from posthorn_smtp_out.remote import Manners, Remote, TlsProblem, client_context, greet
from posthorn_smtp_out.routes import Hop
from posthorn_smtp_out.tls.demand import Demand, Level
from posthorn_smtp_out.tls.faults import Fault
from posthorn_smtp_out.tls.guard import Note

NO_STARTTLS: Final = Fault("starttls-not-supported", "the remote does not offer it")
Again: TypeAlias = Callable[[], Awaitable[Channel]]
"""Makes one more connection to the same hop. Raises ChannelLost."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """`lax` asks for no certificate; `strict` wants one by a known authority for the host's name."""

    lax: ssl.SSLContext
    strict: ssl.SSLContext


def contexts() -> Contexts:
    """Those of a process, with the authorities that the system knows."""
    return Contexts(lax=client_context(verify=False), strict=client_context(verify=True))


class Greeter:
    """One for a process. A hop that nothing is demanded of is spoken to by our manners alone."""

    def __init__(self, using: Contexts | None = None, note: Note | None = None) -> None:
        """None: contexts are made when a hop needs them. `note` is told how each session went, for reports."""
        self._contexts = using
        self._note = note

    async def greet(self, hop: Hop, channel: Channel, again: Again, manners: Manners) -> Remote:
        """Introduce ourselves on a new connection. Raises Unwilling, ChannelLost, ReplyFault; then it is cut."""
        if hop.demand is not None:
            self._contexts = self._contexts or contexts()
            ways = _ways(manners, hop.demand, self._contexts)
        else:
            ways = _falling_back(manners)
        told = partial(self._tell, hop, channel)
        for number, way in enumerate(ways, 1):
            try:
                remote = await greet(channel, hop.host, hop.port, way)
            except TlsProblem as error:
                if number == 1:  # the first way is what was promised; the others are how we put up without
                    told(error.fault)
                if number == len(ways):
                    raise
                channel = await again()
            else:
                if number == 1:
                    told(None if remote.tls else NO_STARTTLS)
                return remote
        raise AssertionError("there is a way at least")

    def _tell(self, hop: Hop, channel: Channel, fault: Fault | None) -> None:
        wanted = hop.demand
        if self._note is None or wanted is None or wanted.policy is None:
            return
        session = TlsSession(wanted.policy)
        if fault is not None:
            session = TlsSession(wanted.policy, fault.result, fault.text, channel.local(), hop.host, hop.address)
        self._note(wanted.site, session)


def _ways(manners: Manners, wanted: Demand, using: Contexts) -> Sequence[Manners]:
    """Our manners towards a host that must show this; the next ones are for when TLS failed with those before."""
    ways = _falling_back(_obeying(manners, wanted, using))
    if wanted.tried:
        return [_obeying(manners, replace(wanted, level=Level.CERTIFICATE), using), *ways]
    return ways


def _falling_back(manners: Manners) -> Sequence[Manners]:
    return [manners, replace(manners, tls="none")] if manners.tls == "opportunistic" else [manners]


def _obeying(manners: Manners, wanted: Demand, using: Contexts) -> Manners:
    """Our manners towards a host that must show this."""
    if wanted.level is Level.NONE:
        return replace(manners, tls="none")
    return replace(
        manners,
        tls="opportunistic" if wanted.level is Level.OPPORTUNISTIC else "required",
        context=using.strict if wanted.level is Level.CERTIFICATE else using.lax,
        because=wanted.because,
        name=wanted.name,
        proof=partial(_prove, wanted) if wanted.level is Level.DANE else None,
    )


def _prove(wanted: Demand, chain: Sequence[bytes]) -> Fault | None:
    """What is wrong with what the server showed, by the TLSA records."""
    try:
        authenticate(chain, wanted.tlsa, wanted.names, datetime.now(UTC))
    except Unauthentic as error:
        return Fault("validation-failure", str(error))
    return None
