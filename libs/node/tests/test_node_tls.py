"""Certificates: made when none is named, read again without a restart, refused in words when they do not fit."""

import asyncio
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from posthorn_node.certificate import self_signed
from posthorn_node.errors import TlsError
from posthorn_node.settings import ServerSettings, ServerTlsSettings
from posthorn_node.tls import TlsContexts


async def shown_certificate(context: ssl.SSLContext, trusted: Path | None = None) -> x509.Certificate:
    """The certificate a client is shown, over a real connection; checked against `trusted` for "mx.example.org"."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    client = ssl.create_default_context(cafile=trusted)
    if trusted is None:
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    try:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="mx.example.org")
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(shown)
    finally:
        server.close()


def server(tmp_path: Path, **tls: Path) -> ServerSettings:
    return ServerSettings(hostname="mx.example.org", data=tmp_path, tls=ServerTlsSettings(**tls))


async def test_self_signed_certificate_serves_its_host_name(tmp_path: Path) -> None:
    context = TlsContexts(server(tmp_path)).server_context()
    certificate = await shown_certificate(context, trusted=tmp_path / "tls" / "self-signed.pem")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mx.example.org", "localhost"]


def test_self_signed_file_is_private_and_kept(tmp_path: Path) -> None:
    path = self_signed(tmp_path, "mx.example.org")
    first = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert self_signed(tmp_path, "mx.example.org").read_bytes() == first
    assert self_signed(tmp_path, "mx2.example.org").read_bytes() != first


def test_damaged_self_signed_file_is_made_anew(tmp_path: Path) -> None:
    path = self_signed(tmp_path, "mx.example.org")
    path.write_bytes(b"not a certificate")
    assert b"BEGIN CERTIFICATE" in self_signed(tmp_path, "mx.example.org").read_bytes()


async def test_several_processes_of_a_node_share_one(tmp_path: Path) -> None:
    found = await asyncio.gather(*(asyncio.to_thread(self_signed, tmp_path, "mx.example.org") for _ in range(8)))
    assert len({path.read_bytes() for path in found}) == 1


async def test_reload_shows_the_new_certificate_to_new_connections(tmp_path: Path) -> None:
    first = self_signed(tmp_path / "first", "mx.example.org")
    named = tmp_path / "named.pem"
    named.write_bytes(first.read_bytes())
    contexts = TlsContexts(server(tmp_path, certificate=named, private_key=named))
    plain, http = contexts.server_context(), contexts.server_context(("http/1.1",))
    before = await shown_certificate(plain)
    named.write_bytes(self_signed(tmp_path / "second", "mx.example.org").read_bytes())
    contexts.reload()
    after = await shown_certificate(plain)
    assert after.serial_number != before.serial_number
    assert (await shown_certificate(http)).serial_number == after.serial_number
    assert contexts.server_context() is plain


async def test_reload_of_a_bad_certificate_keeps_the_old_one(tmp_path: Path) -> None:
    pem = self_signed(tmp_path / "first", "mx.example.org").read_bytes()
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(pem)
    key.write_bytes(pem)
    contexts = TlsContexts(server(tmp_path, certificate=certificate, private_key=key))
    context = contexts.server_context()
    before = await shown_certificate(context)
    other = self_signed(tmp_path / "second", "mx.example.org").read_bytes()
    certificate.write_bytes(other[other.index(b"-----BEGIN CERTIFICATE") :])
    with pytest.raises(TlsError, match=r"cannot use .*cert\.pem and .*key\.pem for TLS"):
        contexts.reload()
    assert (await shown_certificate(context)).serial_number == before.serial_number


def test_missing_certificate_is_told_with_its_path(tmp_path: Path) -> None:
    contexts = TlsContexts(server(tmp_path, certificate=tmp_path / "none.pem", private_key=tmp_path / "none.key"))
    with pytest.raises(TlsError, match=r"cannot read .*none\.pem: No such file"):
        contexts.server_context()


def test_data_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(TlsError, match=r"make server\.data a folder that this user may write"):
        TlsContexts(server(blocked)).server_context()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_data_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(TlsError, match="Permission denied"):
        TlsContexts(server(tmp_path)).server_context()
