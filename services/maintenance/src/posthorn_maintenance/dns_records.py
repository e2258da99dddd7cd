"""TXT records, written by dynamic update (RFC 2136, TSIG of RFC 8945) or by a command. It asks for none."""

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Final, Literal

import dns.asyncquery
import dns.exception
import dns.name
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.update

from posthorn_model.errors import AuthorityRefused, Unavailable
from posthorn_node.settings import DnsSettings, parse_bind

SECONDS: Final = 10.0
COMMAND_SECONDS: Final = 120.0
STRING_OCTETS: Final = 255
"""Most of one string of a TXT record (RFC 1035 3.3.14)."""
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TZ")
"""Of the environment: the rest may hold secrets that are not the command's."""

Record = tuple[str, str]
"""Name and text."""
Verb = Literal["add", "remove"]


LIFETIME: Final = 60
"""Of a record of ACME, in seconds: long enough for the authority, short enough for the next try."""


async def change(
    settings: DnsSettings, verb: Verb, records: Sequence[Record], *, zone: str = "", lifetime: int = LIFETIME
) -> None:
    """Add or remove all of them, which may be there, or gone, already; `zone` where the settings name none.

    Raises AuthorityRefused when DNS does not take it, Unavailable without an answer.
    """
    if settings.command:
        for name, text in records:
            await _run([*settings.command, verb, name, text])
    else:
        await _update(settings, settings.zone or zone, verb, records, lifetime)


async def _update(settings: DnsSettings, zone: str, verb: Verb, records: Sequence[Record], lifetime: int) -> None:
    host, port = parse_bind(settings.server, default_port=53)
    try:
        message = _message(settings, zone, verb, records, lifetime)
        address = await _address(host)
        answer = await dns.asyncquery.tcp(message, address, port=port, timeout=SECONDS)
    except (OSError, dns.exception.Timeout, EOFError) as error:
        raise Unavailable(f"the DNS server {settings.server} does not answer", cause=repr(error)) from error
    except (dns.exception.DNSException, ValueError) as error:
        reason = f"the DNS server {settings.server} does not take the update: {type(error).__name__}"
        raise AuthorityRefused(
            f"{reason}: see dns.key-name and dns.key-secret", dead=False, cause=str(error)
        ) from error
    if answer.rcode() != dns.rcode.NOERROR:
        raise AuthorityRefused(
            f"the DNS server {settings.server} does not take the update of {zone}: {dns.rcode.to_text(answer.rcode())}",
            dead=False,
        )


def _message(
    settings: DnsSettings, zone: str, verb: Verb, records: Sequence[Record], lifetime: int
) -> dns.update.UpdateMessage:
    top = dns.name.from_text(zone)
    keyring = None
    if settings.key_name:
        keyring = dns.tsigkeyring.from_text({settings.key_name: settings.key_secret.get_secret_value()})
    message = dns.update.UpdateMessage(
        top,
        keyring=keyring,
        keyname=dns.name.from_text(settings.key_name) if settings.key_name else None,
        keyalgorithm=dns.name.from_text(settings.key_algorithm),
    )
    for name, text in records:
        owner = dns.name.from_text(name)
        if not owner.is_subdomain(top):
            raise AuthorityRefused(f"{name} is not in the zone {zone}: see dns.zone", dead=False)
        if verb == "add":
            message.add(owner, lifetime, "TXT", _strings(text))
        else:
            message.delete(owner, "TXT", _strings(text))
    return message


def _strings(text: str) -> str:
    """A text in the form of zone files, in as few strings as it takes."""
    return " ".join(f'"{text[at : at + STRING_OCTETS]}"' for at in range(0, len(text), STRING_OCTETS))


async def _address(host: str) -> str:
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return str(found[0][4][0])


async def _run(words: Sequence[str]) -> None:
    """Run the operator's command with verb, name and text of a record. Raises AuthorityRefused, Unavailable."""
    environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environ,
        )
    except OSError as error:
        raise AuthorityRefused(f"dns.command cannot be run: {error.strerror}", dead=False) from error
    assert process.stderr is not None
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            said = await process.stderr.read(2000)
            while await process.stderr.read(65536):
                pass
            code = await process.wait()
    except TimeoutError:
        raise Unavailable(f"dns.command did not end within {COMMAND_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code:
        text = said.decode("utf-8", "replace").strip().replace("\n", " ")[:300]
        raise AuthorityRefused(f"dns.command ended with {code}: {text}", dead=False)
