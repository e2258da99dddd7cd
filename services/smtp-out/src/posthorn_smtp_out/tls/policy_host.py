"""Fetches an MTA-STS policy from a domain's policy host by HTTPS (RFC 8461 3.3), within bounds of size and time.

Nothing is asked before the certificate is found good; redirects are not followed, and no proxy or cache is used. The
host may be anywhere: it learns no more than that somebody asks for its policy.
"""

import asyncio
import ssl
from typing import Final

import h11

from posthorn_mail_auth.mta_sts import MAX_POLICY, MalformedPolicy, parse_policy
from posthorn_model.mta_sts import StsPolicy
from posthorn_smtp_out.resolver import NoRoute, Resolver
from posthorn_smtp_out.tls.faults import Fault, Result

MAX_HEAD: Final = 16_384
MOST_ADDRESSES: Final = 3
READ: Final = 16_384


class NoPolicy(Exception):
    """There is no policy to be had; `fault` says why."""

    def __init__(self, result: Result, text: str) -> None:
        self.fault = Fault(result, text)
        super().__init__(text)


class PolicyHosts:
    """One for a process."""

    def __init__(self, resolver: Resolver, context: ssl.SSLContext, *, timeout: float, port: int = 443) -> None:
        """`context` knows the authorities to be believed; `timeout` is in seconds, for everything."""
        self._resolver = resolver
        self._context = context
        self._timeout = timeout
        self._port = port

    async def fetch(self, domain: str) -> StsPolicy:
        """The policy that the domain serves now. Raises NoPolicy."""
        host = f"mta-sts.{domain}"
        try:
            async with asyncio.timeout(self._timeout):
                body = await self._get(host)
        except TimeoutError:
            raise NoPolicy("sts-policy-fetch-error", f"{host} does not answer within {self._timeout:g} s") from None
        except NoRoute as error:
            raise NoPolicy("sts-policy-fetch-error", error.reply.text) from None
        except ssl.SSLCertVerificationError as error:
            text = f"the certificate of {host} is refused: {error.verify_message}"
            raise NoPolicy("sts-webpki-invalid", text) from None
        except (OSError, h11.RemoteProtocolError) as error:
            raise NoPolicy("sts-policy-fetch-error", f"{host}: {error}"[:300]) from None
        try:
            return parse_policy(body)
        except MalformedPolicy as error:
            raise NoPolicy("sts-policy-invalid", f"{host}: {error}") from None

    async def _get(self, host: str) -> bytes:
        addresses = (await self._resolver.addresses(host)).found[:MOST_ADDRESSES]
        problem: OSError = OSError("no address")
        for address in addresses:
            try:
                reader, writer = await asyncio.open_connection(
                    address, self._port, ssl=self._context, server_hostname=host
                )
            except ssl.SSLError:
                raise
            except OSError as error:
                problem = error
                continue
            try:
                return await _exchange(reader, writer, host)
            finally:
                writer.transport.abort()
        raise problem


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> bytes:
    """One request and its answer's body. Raises OSError, h11.RemoteProtocolError."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    fields = [("Host", host), ("Accept", "text/plain"), ("User-Agent", "Posthorn"), ("Connection", "close")]
    request = h11.Request(method="GET", target="/.well-known/mta-sts.txt", headers=fields)
    writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    body, answered = bytearray(), False
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ))
        elif isinstance(event, h11.Response):
            _judge(event)
            answered = True
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_POLICY:
                raise OSError("the policy is longer than 64 kB")
        elif isinstance(event, h11.EndOfMessage) and answered:
            return bytes(body)
        elif not isinstance(event, h11.InformationalResponse):
            raise OSError("the connection was closed before the answer was whole")


def _judge(response: h11.Response) -> None:
    """RFC 8461 3.3: 200 alone is an answer, and text alone is a policy."""
    if response.status_code != 200:
        raise OSError(f"the answer is {response.status_code}")
    kind = dict(response.headers).get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"text/plain":
        raise OSError("the answer is not text/plain")
