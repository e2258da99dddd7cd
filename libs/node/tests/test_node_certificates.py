"""Several certificates: which one a client is shown, and what becomes of files that change, break or grow old."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog
import uvloop
from cryptography import x509
from structlog.testing import capture_logs

from posthorn_model.clock import SystemClock
from posthorn_node.certificate_watch import CertificateWatch
from posthorn_node.certificates import Certificate, chooser, parsed
from posthorn_node.errors import TlsError
from posthorn_node.metrics import Metrics
from posthorn_node.settings import CertificateFiles, ServerSettings, ServerTlsSettings
from posthorn_node.tls import TlsContexts
from posthorn_testkit.certificates import certificate_of

PATIENCE = 30


def made(name: str, *names: str, days: float = 90, default: bool = False) -> Certificate:
    return parsed(name, *certificate_of(*names, days=days), default=default)


def written(folder: Path, name: str, pair: tuple[bytes, bytes]) -> CertificateFiles:
    """The pair as two files, which are there as a whole or not at all."""
    for kind, content in zip(("pem", "key"), pair, strict=True):
        draft = folder / "draft"
        draft.write_bytes(content)
        draft.replace(folder / f"{name}.{kind}")
    return CertificateFiles(certificate=folder / f"{name}.pem", private_key=folder / f"{name}.key")


def contexts_for(folder: Path, *, hostname: str = "mx.example.org", **certificates: CertificateFiles) -> TlsContexts:
    return TlsContexts(ServerSettings(hostname=hostname, data=folder, tls=ServerTlsSettings(certificates=certificates)))


async def shown_names(context: ssl.SSLContext, asked: Sequence[str | None]) -> list[list[str]]:
    """The host names of the certificate that a client is shown who asks for each of these."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    found = []
    try:
        for name in asked:
            port = server.sockets[0].getsockname()[1]
            # An address instead of a name is not sent (RFC 6066 3).
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=client, server_hostname=name or "127.0.0.1"
            )
            leaf = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
            writer.close()
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            found.append(names.get_values_for_type(x509.DNSName))
    finally:
        server.close()
    return found


def test_the_very_name_comes_before_a_wildcard_and_that_before_the_default() -> None:
    exact = made("exact", "mail.example.org")
    wild = made("wild", "*.example.org")
    other = made("other", "example.net", default=True)
    found = chooser([exact, wild, other], "mx.example.com")
    assert found.choose("mail.example.org") is exact
    assert found.choose("MAIL.Example.ORG.") is exact
    assert found.choose("imap.example.org") is wild
    assert found.choose("a.imap.example.org") is other  # the star is one label (RFC 9525 6.3)
    assert found.choose("example.org") is other
    assert found.choose("") is other
    assert found.choose(None) is other


def test_of_several_for_a_name_the_one_that_is_valid_longest_is_shown() -> None:
    old, new, older = (made(f"{days}", "mail.example.org", days=days) for days in (30, 60, 1))
    assert chooser([old, new, older], "mail.example.org").choose("mail.example.org") is new
    assert chooser([old, new, older], "mail.example.org").default is new


@pytest.mark.parametrize(
    ("marked", "hostname", "expected"), [("b", "a.test", "b"), ("", "b.test", "b"), ("", "c.test", "a"), ("", "", "a")]
)
def test_the_default_is_marked_or_of_the_host_name_or_the_first(marked: str, hostname: str, expected: str) -> None:
    known = [made(name, f"{name}.test", default=name == marked) for name in ("a", "b")]
    assert chooser(known, hostname).choose("elsewhere.test").name == expected


def test_a_certificate_is_for_the_names_it_is_told_to_be_for() -> None:
    pair = certificate_of("mail.example.org")
    assert parsed("a", *pair).names == {"mail.example.org"}
    assert parsed("a", *pair, names=["Other.example.org"]).names == {"other.example.org"}


def test_a_key_beside_the_chain_in_one_file_does_not_go_with_the_chain() -> None:
    chain, key = certificate_of("mail.example.org")
    found = parsed("a", key + chain, key + chain)
    assert (found.chain, found.key) == (chain, key)
    assert b"PRIVATE" not in found.chain
    assert "PRIVATE" not in repr(found)


def test_what_cannot_be_used_is_told_without_the_key() -> None:
    chain, key = certificate_of("mail.example.org")
    for bad_chain, bad_key, reason in (
        (b"nothing", key, "no certificate in PEM form"),
        (chain, b"nothing", "no private key in PEM form"),
        (chain, certificate_of("x")[1], "not the one of the certificate"),
        (chain + b" " * (1 << 20), key, "larger than"),
        (chain * 21, key, "more than 20"),
    ):
        with pytest.raises(TlsError, match=reason):
            parsed("a", bad_chain, bad_key)
    assert key.decode() not in repr(parsed("a", chain, key))


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_listener_shows_the_certificate_of_the_name_that_is_asked_for(tmp_path: Path, loop: object) -> None:
    files = {
        "one": written(tmp_path, "one", certificate_of("one.example.org")),
        "wild": written(tmp_path, "wild", certificate_of("*.example.net", rsa_key=True)),
        "own": written(tmp_path, "own", certificate_of("mx.example.org")),
    }
    contexts = contexts_for(tmp_path, **files)
    asked = ["one.example.org", "a.example.net", "unknown.test", None]
    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        for alpn in ((), ("http/1.1",)):
            found = runner.run(shown_names(contexts.server_context(alpn), asked))
            assert found == [["one.example.org"], ["*.example.net"], ["mx.example.org"], ["mx.example.org"]]


async def test_another_kind_of_key_reaches_a_listener_that_is_open(tmp_path: Path) -> None:
    files = written(tmp_path, "one", certificate_of("old.example.org", rsa_key=True))
    contexts = contexts_for(tmp_path, one=files)
    context = contexts.server_context()
    assert await shown_names(context, [None]) == [["old.example.org"]]
    written(tmp_path, "one", certificate_of("new.example.org"))
    contexts.reload()
    assert await shown_names(context, [None]) == [["new.example.org"]]


async def test_a_session_is_resumed_after_a_certificate_was_replaced(tmp_path: Path) -> None:
    files = written(tmp_path, "one", certificate_of("one.example.org"))
    contexts = contexts_for(tmp_path, one=files)
    server = await asyncio.start_server(
        lambda _reader, writer: writer.write(b"hello"), "127.0.0.1", 0, ssl=contexts.server_context()
    )
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    port = server.sockets[0].getsockname()[1]

    def talk(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
            client.wrap_socket(plain, server_hostname="one.example.org", session=session) as secure,
        ):
            assert secure.recv(5) == b"hello"  # the ticket has come with it (RFC 8446 4.6.1)
            return secure.session, secure.session_reused

    session, reused = await asyncio.to_thread(talk, None)
    assert not reused
    written(tmp_path, "one", certificate_of("one.example.org"))
    contexts.reload()
    assert (await asyncio.to_thread(talk, session))[1]
    server.close()


async def test_one_broken_pair_keeps_its_old_certificate_and_the_others_are_new(tmp_path: Path) -> None:
    files = {name: written(tmp_path, name, certificate_of(f"{name}.test")) for name in ("a", "b")}
    contexts = contexts_for(tmp_path, **files)
    context = contexts.server_context()
    before = {each.name: each for each in contexts.served}
    written(tmp_path, "a", certificate_of("a.test", "new.test"))
    (tmp_path / "b.key").write_bytes(b"-----BEGIN NOTHING")
    with pytest.raises(TlsError, match=r"cannot use .*b\.pem and .*b\.key for TLS: there is no private key"):
        contexts.reload()
    after = {each.name: each for each in contexts.served}
    assert after["b"] is before["b"]
    assert await shown_names(context, ["new.test", "b.test"]) == [["a.test", "new.test"], ["b.test"]]


async def test_a_changed_file_is_noticed_and_a_broken_one_is_told(tmp_path: Path) -> None:
    contexts = contexts_for(tmp_path, one=written(tmp_path, "one", certificate_of("old.test")))
    context = contexts.server_context()
    metrics = Metrics()
    with capture_logs() as logs:
        watch = CertificateWatch(contexts, metrics, structlog.get_logger(), SystemClock())
        task = asyncio.create_task(watch.keep(0.02))
        try:
            async with asyncio.timeout(PATIENCE):
                await told(logs, [], metrics, contexts)
                (tmp_path / "one.pem").write_bytes(b"broken")
                await told(logs, ["certificates kept as they were"], metrics, contexts)
                assert await shown_names(context, [None]) == [["old.test"]]
                written(tmp_path, "one", certificate_of("new.test", days=30))
                while await shown_names(context, [None]) != [["new.test"]]:  # noqa: ASYNC110 - a client is not told
                    await asyncio.sleep(0.02)
        finally:
            task.cancel()
    expires = metrics.registry.get_sample_value("posthorn_tls_certificate_not_after_seconds", {"name": "one"})
    assert expires == contexts.served[0].not_after
    assert [each["log_level"] for each in logs if each["event"] == "certificates kept as they were"][:1] == ["error"]


async def told(logs: list[dict[str, object]], events: list[str], metrics: Metrics, contexts: TlsContexts) -> None:
    """Return when the log has these events and the metric is there."""
    while not (  # noqa: ASYNC110 - neither tells anybody
        all(any(each["event"] == event for each in logs) for event in events)
        and b"tls_certificate_not_after_seconds{" in metrics.exposition()
    ):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("days", "age", "event", "level"),
    [
        (90, 80, "certificate expires soon", "warning"),
        (6, 5.5, "certificate expires soon", "warning"),
        (90, 91, "certificate has expired", "error"),
        (90, 30, None, None),
        (6, 1, None, None),
    ],
)
def test_the_end_of_a_certificate_is_warned_of(
    tmp_path: Path, days: float, age: float, event: str | None, level: str | None
) -> None:
    contexts = contexts_for(tmp_path, one=written(tmp_path, "one", certificate_of("a.test", days=days, age=age)))
    contexts.server_context()
    with capture_logs() as logs:
        watch = CertificateWatch(contexts, Metrics(), structlog.get_logger(), SystemClock())
        watch.warn()
        watch.warn()  # a day has not gone by: it is said once
    found = [(each["event"], each["log_level"], each["certificate"]) for each in logs]
    assert found == ([(event, level, "one")] if event else [])


async def test_stored_certificates_stand_beside_those_from_files_and_can_go_again(tmp_path: Path) -> None:
    contexts = contexts_for(tmp_path, one=written(tmp_path, "one", certificate_of("one.test")))
    context = contexts.server_context()
    contexts.store([made("stored", "stored.test")])
    assert await shown_names(context, ["stored.test", "one.test"]) == [["stored.test"], ["one.test"]]
    contexts.store([])
    assert await shown_names(context, ["stored.test", "one.test"]) == [["one.test"], ["one.test"]]


async def test_a_stored_certificate_takes_the_place_of_the_self_signed_one(tmp_path: Path) -> None:
    contexts = contexts_for(tmp_path)
    context = contexts.server_context()
    assert await shown_names(context, [None]) == [["mx.example.org", "localhost"]]
    contexts.store([made("stored", "other.test")])
    assert await shown_names(context, [None]) == [["other.test"]]


def test_a_process_without_tls_reads_nothing(tmp_path: Path) -> None:
    contexts = contexts_for(tmp_path, one=CertificateFiles(certificate=Path("/none"), private_key=Path("/none")))
    contexts.reload()
    contexts.store([made("stored", "stored.test")])
    assert contexts.served == ()
    assert contexts.signature() == ()
    assert list(tmp_path.iterdir()) == []
