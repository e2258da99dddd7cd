"""A real ACME server (Pebble) and the name server it asks (BIND), which takes dynamic updates."""

import base64
import json
import secrets
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from posthorn_ctl.embedded import ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.go_programs import go_program
from posthorn_testkit.programs import folder_of_server, listening

PEBBLE_PROGRAM = ("github.com/letsencrypt/pebble/v2/cmd/pebble", "v2.10.1")
ZONE = "example.test"
EAB_KID = "kid-1"


@dataclass(frozen=True, slots=True)
class NameServer:
    """BIND, authoritative for ZONE, every name of which leads to 127.0.0.1; it takes updates signed with the key."""

    port: int
    key_name: str
    key_secret: str
    """In base64."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A running Pebble. It looks at http-01 on `http_port`, at tls-alpn-01 on `tls_port`, of whatever host."""

    directory: str
    ca: Path
    """PEM file of the authority that its own certificate is from."""
    management: str
    http_port: int
    tls_port: int
    eab_key: str
    process: "subprocess.Popen[bytes]"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def root(self) -> bytes:
        """The certificate, in PEM, that those it gives are trusted by."""
        with urllib.request.urlopen(f"{self.management}/roots/0", timeout=10, context=_no_check()) as answer:
            found: bytes = answer.read()
        return found

    def status(self, serial: int) -> str:
        """What it thinks of a certificate: "Valid" or "Revoked"."""
        url = f"{self.management}/cert-status-by-serial/{serial:x}"
        with urllib.request.urlopen(url, timeout=10, context=_no_check()) as answer:
            return str(json.load(answer)["Status"])

    def advise(self, chain: str, start: str, end: str) -> None:
        """Have it advise to renew a certificate in this window (RFC 9773)."""
        window = json.dumps({"suggestedWindow": {"start": start, "end": end}})
        body = json.dumps({"Certificate": chain, "ARIResponse": window}).encode()
        request = urllib.request.Request(f"{self.management}/set-renewal-info/", body)
        with urllib.request.urlopen(request, timeout=10, context=_no_check()):
            pass


def _no_check() -> ssl.SSLContext:
    return ssl._create_unverified_context()


@contextmanager
def name_server() -> Iterator[NameServer]:
    """A running name server. Raises PartError."""
    program = shutil.which("named") or "/usr/sbin/named"
    if not Path(program).is_file():
        raise PartError("no name server: apt-get install bind9")
    with folder_of_server("named") as folder:
        port = ports.free_ports(1)[0]
        server = NameServer(port, "updates", base64.b64encode(secrets.token_bytes(32)).decode())
        folder.chmod(0o777)
        (folder / "zone").write_text(
            f"$TTL 1\n@ IN SOA ns.{ZONE}. admin.{ZONE}. 1 60 60 60 1\n@ IN NS ns.{ZONE}.\n"
            "@ IN A 127.0.0.1\n* IN A 127.0.0.1\n"
        )
        (folder / "named.conf").write_text(
            f"""
            key "{server.key_name}" {{ algorithm hmac-sha256; secret "{server.key_secret}"; }};
            options {{
                directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
                pid-file none; session-keyfile none; recursion no; dnssec-validation no; notify no;
            }};
            controls {{ }};
            zone "{ZONE}" {{ type primary; file "zone"; allow-update {{ key "{server.key_name}"; }}; }};
            """
        )
        with listening([program, "-f", "-c", str(folder / "named.conf")], port, folder):
            yield server


@contextmanager
def authority(names: NameServer, *, external_accounts: bool = False) -> Iterator[Authority]:
    """A running Pebble, which asks `names`. Raises PartError."""
    program = go_program(*PEBBLE_PROGRAM)
    with folder_of_server("pebble") as folder:
        api, management, http, tls = ports.free_ports(4)
        chain, key = _own_certificate()
        (folder / "cert.pem").write_bytes(chain)
        (folder / "key.pem").write_bytes(key)
        eab_key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        settings = {
            "listenAddress": f"127.0.0.1:{api}",
            "managementListenAddress": f"127.0.0.1:{management}",
            "certificate": "cert.pem",
            "privateKey": "key.pem",
            "httpPort": http,
            "tlsPort": tls,
            "externalAccountBindingRequired": external_accounts,
            "externalAccountMACKeys": {EAB_KID: eab_key},
            "domainBlocklist": [f"blocked.{ZONE}"],
            "retryAfter": {"authz": 1, "order": 1},
            "keyAlgorithm": "ecdsa",
            "profiles": {"default": {"description": "ninety days", "validityPeriod": 7776000}},
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
        words = [str(program), "-config", "pebble.json", "-strict", "-dnsserver", f"127.0.0.1:{names.port}"]
        environ = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "20", "PEBBLE_AUTHZREUSE": "0"}
        with listening(words, api, folder, environ=environ) as process:
            yield Authority(
                directory=f"https://127.0.0.1:{api}/dir",
                ca=folder / "cert.pem",
                management=f"https://127.0.0.1:{management}",
                http_port=http,
                tls_port=tls,
                eab_key=eab_key,
                process=process,
            )


def _own_certificate() -> tuple[bytes, bytes]:
    from posthorn_testkit.certificates import certificate

    chain, key = certificate()
    return chain.encode(), key.encode()
