"""The real API server of Kubernetes over Debian's etcd: it judges objects as a cluster would, and runs none of them.

Building it takes some minutes of two cores, once; so it is for a make target and not for every run of the tests.
"""

import json
import re
import secrets
import shutil
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from posthorn_ctl.embedded import ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.go_programs import go_module, run_go
from posthorn_testkit.kubernetes import KUBERNETES, service_monitor
from posthorn_testkit.programs import cache_folder, folder_of_server, listening

START_SECONDS = 90.0
PLURALS = {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"}
"""Where it is not the kind in small letters and an s."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A running server; whoever has `token` may do everything."""

    url: str
    token: str

    def ready(self) -> bool:
        """Whether it says so itself."""
        with suppress(OSError):
            return self._call("GET", "/readyz")[0] == 200
        return False

    def refusal(self, found: dict[str, Any]) -> str:
        """Why the server would not take an object (a dry run, unknown fields refused); empty when it would."""
        name, space = found["metadata"]["name"], found["metadata"].get("namespace", "default")
        path = f"{_place(found['apiVersion'])}/namespaces/{space}/{_plural(found['kind'])}/{name}"
        query = "fieldManager=test&fieldValidation=Strict&dryRun=All"
        status, said = self._call("PATCH", f"{path}?{query}", found, "application/apply-patch+yaml")
        return "" if status in (200, 201) else f"{found['kind']} {name}: {status} {said}"

    def learn(self, definition: dict[str, Any]) -> None:
        """Add a kind by its CustomResourceDefinition; returns when objects of it can be judged."""
        status, said = self._call("POST", f"{_place(definition['apiVersion'])}/customresourcedefinitions", definition)
        assert status == 201, said
        spec = definition["spec"]
        path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/namespaces/default/{spec['names']['plural']}"
        deadline = time.monotonic() + START_SECONDS
        while self._call("GET", path)[0] != 200:
            assert time.monotonic() < deadline, f"{spec['names']['kind']} did not become known"
            time.sleep(0.2)

    def _call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        # Its certificate is its own, made at the start, on loopback.
        context = ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return answer.status, ""
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            with suppress(ValueError):
                said = json.loads(said).get("message", said)
            return error.code, said


def api_server_program() -> Path:
    """The program, built on the first call. Raises PartError when it cannot be built."""
    program = cache_folder() / "bin" / f"kube-apiserver-{KUBERNETES[1]}"
    if program.is_file():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    module, version = KUBERNETES
    with tempfile.TemporaryDirectory(dir=program.parent) as private:
        folder = Path(private)
        (folder / "go.mod").write_text(_module_file(go_module(module, version) / "go.mod", version))
        (folder / "server.go").write_text(f'package server\n\nimport _ "{module}/pkg/apis/core"\n')
        flags = {"GOFLAGS": "-trimpath -mod=mod"}
        run_go(
            "build", "-ldflags", "-s -w", "-o", "server", f"{module}/cmd/kube-apiserver", folder=folder, environ=flags
        )
        (folder / "server").replace(program)
    return program


def _module_file(original: Path, version: str) -> str:
    """A module that needs Kubernetes: what lies beside it in its own repository is a module of its own elsewhere."""
    staged = re.findall(r"^\t(k8s\.io/[a-z-]+) => \./staging", original.read_text(), re.MULTILINE)
    go = re.search(r"^go \S+$", original.read_text(), re.MULTILINE)
    beside = version.replace("v1.", "v0.", 1)
    lines = [f"replace {name} => {name} {beside}" for name in staged]
    return "\n".join(["module server", go[0] if go else "", f"require {KUBERNETES[0]} {version}", *lines, ""])


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """A running server that knows ServiceMonitor too, without objects. Raises PartError."""
    program, etcd = api_server_program(), shutil.which("etcd")
    if etcd is None:
        raise PartError("etcd is not installed (Debian's package etcd-server)")
    with folder_of_server("kubernetes") as folder:
        store, peers, port = ports.free_ports(3)
        token, key = secrets.token_hex(16), folder / "accounts.key"
        key.write_bytes(_private_key())
        (folder / "tokens.csv").write_text(f'{token},test,test,"system:masters"\n')
        stores = [
            f"--listen-client-urls=http://{ports.LOOPBACK}:{store}",
            f"--listen-peer-urls=http://{ports.LOOPBACK}:{peers}",
        ]
        stores += [f"--advertise-client-urls=http://{ports.LOOPBACK}:{store}", f"--data-dir={folder / 'etcd'}"]
        options = [
            f"--etcd-servers=http://{ports.LOOPBACK}:{store}",
            f"--bind-address={ports.LOOPBACK}",
            f"--secure-port={port}",
            f"--cert-dir={folder}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--disable-admission-plugins=ServiceAccount",
        ]
        with (
            listening([etcd, *stores], store, folder, log="etcd.log"),
            listening([str(program), *options], port, folder),
        ):
            server = ApiServer(f"https://{ports.LOOPBACK}:{port}", token)
            deadline = time.monotonic() + START_SECONDS
            while not server.ready():
                if time.monotonic() > deadline:
                    raise PartError(f"the API server did not become ready: {(folder / 'log').read_text()[-500:]}")
                time.sleep(0.2)
            server.learn(service_monitor())
            yield server


def _place(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _plural(kind: str) -> str:
    return PLURALS.get(kind, kind.lower() + "s")


def _private_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
