"""Asks DNS for TXT records, without a cache: what is asked for has just been written."""

from collections.abc import Sequence

from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_model.errors import Unavailable
from posthorn_model.resolving import Outcome
from posthorn_node.settings import ResolverSettings, parse_bind


class TxtLookup:
    """Over the servers of [resolver], or the system's."""

    def __init__(self, settings: ResolverSettings) -> None:
        self._servers = [parse_bind(text, default_port=53) for text in settings.servers]
        self._timeout = settings.timeout

    async def texts(self, name: str) -> Sequence[str]:
        """The TXT records of a name, each in one piece; none when there are none. Raises Unavailable."""
        answer = await DnsResolver(self._servers, timeout=self._timeout).texts(name)
        if answer.outcome is Outcome.FAILED:
            raise Unavailable(f"DNS does not answer for {name}")
        return [text.decode("ascii", "replace") for text in answer.records]
