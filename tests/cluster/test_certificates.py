"""Two nodes of real processes and a real authority: both show what it gives, on every protocol, without a restart."""

import imaplib
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from posthorn_ctl.embedded import ports
from posthorn_testkit.acme_servers import ZONE, Authority
from posthorn_testkit.cluster import PROGRAM, posthorn, until

pytestmark = [pytest.mark.postgres, pytest.mark.cluster]
DOMAIN = f"mail.{ZONE}"
SETTINGS = """
[cluster]
name = "certificates"
node-id = {node}
secret = "the secret that both nodes share"
[server]
hostname = "node{node}.{zone}"
data = "{folder}/data{node}"
[server.listener.smtp]
protocol = "smtp"
bind = "127.0.0.1:{smtp}"
[server.listener.imaps]
protocol = "imap"
bind = "127.0.0.1:{imaps}"
tls = "implicit"
[server.listener.https]
protocol = "jmap"
bind = ["127.0.0.1:{https}", "127.0.0.1:{authority_port}"]
tls = "implicit"
reuse-port = true
[acme.mine]
directory = "{directory}"
ca = "{ca}"
domains = ["{domain}"]
challenge = "tls-alpn-01"
terms-agreed = true
[maintenance]
acme-interval = "1s"
[metrics]
enable = false
[storage]
blob = "fs"
[store.fs]
type = "fs"
path = "{folder}/blobs"
[store.postgres]
type = "postgresql"
dsn = "{dsn}"
pool.max-connections = 4
"""


class Node:
    """A node's settings, and where it listens."""

    def __init__(self, number: int, folder: Path, dsn: str, authority: Authority) -> None:
        self.smtp, self.imaps, self.https = ports.free_ports(3)
        self.config = folder / f"node{number}.toml"
        self.log = folder / f"node{number}.log"
        self.config.write_text(
            SETTINGS.format(
                node=number,
                zone=ZONE,
                folder=folder,
                smtp=self.smtp,
                imaps=self.imaps,
                https=self.https,
                authority_port=authority.tls_port,
                directory=authority.directory,
                ca=authority.ca,
                domain=DOMAIN,
                dsn=dsn,
            )
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("POSTHORN_")}
        words = [str(PROGRAM), "node", "--services", "smtp-in,imap,jmap,maintenance", "--config", str(self.config)]
        with self.log.open("wb") as log:
            process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=environ)
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(60) == 0

    def shown(self, trust: ssl.SSLContext) -> set[int]:
        """The serial numbers of the certificates that its listeners show for DOMAIN; 0 for one that is not trusted."""
        return {self._serial(port, trust, plain=port == self.smtp) for port in (self.smtp, self.imaps, self.https)}

    def _serial(self, port: int, trust: ssl.SSLContext, *, plain: bool) -> int:
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as connection:
                if plain:
                    connection.recv(1000)
                    connection.sendall(b"EHLO client\r\n")
                    connection.recv(1000)
                    connection.sendall(b"STARTTLS\r\n")
                    connection.recv(1000)
                with trust.wrap_socket(connection, server_hostname=DOMAIN) as secure:
                    shown = secure.getpeercert(binary_form=True)
        except OSError:  # not trusted, or not there yet
            return 0
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number


def test_both_nodes_show_what_an_authority_gives_and_renews(
    postgres_dsn: str, acme_authority: Authority, tmp_path: Path
) -> None:
    nodes = [Node(number, tmp_path, postgres_dsn, acme_authority) for number in (1, 2)]
    trust = ssl.create_default_context(cadata=acme_authority.root().decode())

    seen: set[int] = set()

    def show_another_than(before: int = 0) -> bool:
        """Whether all listeners show the same certificate of the authority, which is another one; it is `seen`."""
        seen.clear()
        seen.update(serial for node in nodes for serial in node.shown(trust))
        return len(seen) == 1 and not seen & {0, before}

    with nodes[0].running(), nodes[1].running():
        until("both nodes show a certificate of the authority", show_another_than, 90)
        (first,) = seen
        with imaplib.IMAP4_SSL("127.0.0.1", nodes[1].imaps, ssl_context=ssl._create_unverified_context()) as session:
            renewed = posthorn("certificate", "renew", "mine", "--config", str(nodes[1].config))
            assert renewed.returncode == 0, renewed.stderr
            until("both nodes show another one", lambda: show_another_than(first), 60)
            assert session.noop()[0] == "OK"
