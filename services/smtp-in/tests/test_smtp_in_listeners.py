"""What each listener has of its own: limits, times, a certificate, and whose word it takes for a client's address."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from posthorn_node.certificate import self_signed
from posthorn_node.settings import ListenerSettings, ServerSettings
from posthorn_node.settings.certificates import CertificateFiles, ServerTlsSettings
from posthorn_node.stream.reception import Reception
from posthorn_node.tls import TlsContexts
from posthorn_smtp_in.listening import make_reception
from posthorn_smtp_in.settings import SmtpInSettings

HELLO = "S: 220 *\nC: EHLO c\nS: 250-*\n"


def test_a_listener_has_what_its_own_table_says_and_else_what_all_have() -> None:
    common = SmtpInSettings.model_validate(
        {
            "max-message-size": "25MB",
            "limits": {"errors": 7, "recipients": 200},
            "listener": {"own": {"max-message-size": "1MB", "limits": {"errors": 3}, "timeouts": {"command": "1s"}}},
        }
    )
    own = common.at("own")
    assert (own.max_message_size, own.limits.errors, own.limits.recipients) == (1 << 20, 3, 200)
    assert (own.timeouts.command, own.timeouts.content) == (1.0, common.timeouts.content)
    assert common.at("other") is common


Opened = Callable[..., AbstractAsyncContextManager[int]]


@pytest.fixture
def opened() -> Opened:
    """`async with opened(parts, protocol="smtp", ...) as port` runs one more listener."""

    @contextlib.asynccontextmanager
    async def running(parts: Any, **fields: Any) -> AsyncIterator[int]:
        settings = ListenerSettings(**{"name": "own", "protocol": "smtp", "bind": ("127.0.0.1:0",), **fields})
        reception: Reception = make_reception(parts, settings)
        reception.open()
        try:
            yield reception.addresses()[0][1]
        finally:
            await reception.stop()

    return running


@pytest.mark.postgres
async def test_limits_of_one_listener_are_not_those_of_another(start: Any, people: Any) -> None:
    own = {"max_message_size": 65_536, "limits": {"errors": 2, "recipients": 100}}
    service = await start(listener={"lmtp": own})
    hasty = await start(listener={"lmtp": {"timeouts": {"command": 0.2}}})
    async with await service.connect("lmtp") as talk:
        await talk.play(
            "S: 220 *\nC: LHLO c\nS: 250-*250-SIZE 65536|*\nC: MAIL FROM:<e@f.net> SIZE=65537\nS: 552 5.3.4 *\n"
            "C: FROB\nS: 500 *\nS: 421 4.7.0 *\nS:"
        )
    async with await hasty.connect("lmtp") as talk, await hasty.connect("smtp") as patient:
        await patient.play(HELLO)
        await talk.play("S: 220 *\nS: 421 4.4.2 *\nS:")
        await patient.play("C: NOOP\nS: 250 *")
    async with await service.connect("smtp") as talk:
        await talk.play(HELLO + "C: MAIL FROM:<e@f.net> SIZE=65537\nS: 250 *\nC: FROB\nS: 500 *\nC: FROB\nS: 500 *")


@pytest.mark.postgres
async def test_each_listener_shows_its_own_certificate(
    service: Any, people: Any, opened: Opened, tmp_path: Path
) -> None:
    files = {name: self_signed(tmp_path / name, "mx.example.org") for name in ("first", "second")}
    tls = ServerTlsSettings(
        certificates={name: CertificateFiles(certificate=path, private_key=path) for name, path in files.items()}
    )
    contexts = TlsContexts(ServerSettings(hostname="mx.example.org", data=tmp_path, tls=tls))
    parts = replace(service.parts, tls_context=contexts.server_context)
    for name, mode in (("first", "implicit"), ("second", "implicit"), ("first", "starttls"), ("second", "starttls")):
        async with opened(parts, certificate=name, tls=mode) as port:
            client = ssl.create_default_context()
            client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
            at_once = client if mode == "implicit" else None
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=at_once)
            assert (await reader.readline()).startswith(b"220 ")
            if mode == "starttls":
                writer.write(b"EHLO c\r\nSTARTTLS\r\n")
                while not (await reader.readline()).startswith(b"220 "):
                    pass
                await writer.start_tls(client, server_hostname="mx.example.org")
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.transport.abort()
            wanted = x509.load_pem_x509_certificate(files[name].read_bytes())
            assert x509.load_der_x509_certificate(shown).serial_number == wanted.serial_number


@pytest.mark.postgres
@pytest.mark.parametrize("networks", [(), ("10.0.0.0/8", "2001:db8::/32")])
async def test_nobody_else_may_say_where_a_client_comes_from(
    service: Any, people: Any, opened: Opened, networks: tuple[str, ...]
) -> None:
    for header in (
        b"PROXY TCP4 198.51.100.7 127.0.0.1 12345 25\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([198, 51, 100, 7, 127, 0, 0, 1]) + b"\x30\x39\0\x19\r\n",
    ):
        async with opened(service.parts, proxy_networks=networks) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                header + b"EHLO c\r\nMAIL FROM:<e@f.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n.\r\nQUIT\r\n"
            )
            heard = await asyncio.wait_for(reader.read(), 90)
            writer.close()
        assert heard.splitlines()[1].startswith(b"500 ")
        assert b"\r\n354 " in heard
    for stored in await service.inbox(people[0]):
        assert b"198.51.100.7" not in stored
        assert b"([127.0.0.1])" in stored


def test_a_certificate_where_there_is_no_tls_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="needs TLS"):
        ListenerSettings(name="own", protocol="lmtp", bind=("127.0.0.1:0",), tls="none", certificate="mx")
