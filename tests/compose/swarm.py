"""`make swarm-test`: the stack of a topology on a real swarm of one machine, with the demonstration against it.

Needs a Docker engine. It becomes a manager for the time of the test where it is none. One container of each service (of
imap two), then three of imap; all of them are replaced one after the other, as an upgrade does, while a client logs
in all the time, which may have to try once more and never twice. ARGS names a topology; `paired` without it.
"""

import imaplib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.compose.run import ACCOUNTS, PORTS, ROOT, TOKEN, Failed, Steps, carry_out, free_ports, run_demo, until

from posthorn_ctl.topology.description import read
from posthorn_ctl.topology.groups import groups_of

STACK = "posthorn-swarm-test"
SECRETS = ("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "CLUSTER_SECRET")
GATEWAY = ("network", "inspect", "docker_gwbridge", "-f", "{{(index .IPAM.Config 0).Gateway}}")
"""Where containers of a swarm reach this machine."""
KAFKA = "chmod u+w /opt/kafka/config/* && exec /etc/kafka/docker/run"
"""What starts the broker, also where the image's configuration may not be written over."""
IMAP, SCALED = 2, 3
"""Containers of imap, at first and later."""
START_SECONDS = 300.0
TRIES = 2


def docker(*arguments: str, text: str | None = None, environ: dict[str, str] | None = None) -> str:
    """Run docker; returns what it printed. Raises Failed."""
    done = subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        env=os.environ | (environ or {}),
        input=text,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode:
        raise Failed(
            f"docker {' '.join(arguments)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}"
        )
    return done.stdout


@contextmanager
def manager() -> Iterator[None]:
    """This machine is the manager of a swarm while the block runs."""
    if docker("info", "-f", "{{.Swarm.LocalNodeState}}").strip() == "active":
        yield
        return
    docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    try:
        yield
    finally:
        docker("swarm", "leave", "--force")


class Stack:
    """The stack under test."""

    def __init__(self, topology: str) -> None:
        self.place = ROOT / "deploy" / "topologies" / topology
        self.groups = groups_of(read(self.place / "topology.toml"))
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))

    def deploy(self) -> None:
        """The stack's file, with fewer containers and mail to elsewhere for the demonstration's sink."""
        services: dict[str, dict[str, object]] = {}
        for group in self.groups:
            services[group.name] = {"deploy": {"replicas": IMAP if group.service == "imap" else 1}}
            if group.service == "smtp-out":
                relay = f"{docker(*GATEWAY).strip()}:{self.ports['SINK_PORT']}"
                services[group.name]["environment"] = {"POSTHORN__SMTP_OUT__RELAY": relay}
        services["kafka"] = {"entrypoint": ["sh", "-c", KAFKA]}
        environ = {name: str(port) for name, port in self.ports.items()} | dict.fromkeys(SECRETS, "only-for-this-test")
        environ |= {"API_TOKEN": TOKEN, "MAIL_HOSTNAME": "mail.example.org"}
        environ |= {"PUBLIC_URL": f"http://127.0.0.1:{self.ports['HTTP_PORT']}"}
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as more:
            more.write(json.dumps({"version": "3.13", "services": services}))
            more.flush()
            files = ("-c", str(self.place / "swarm" / "stack.yaml"), "-c", more.name)
            docker("stack", "deploy", "--resolve-image", "never", "--detach=true", *files, STACK, environ=environ)

    def containers(self, service: str) -> list[str]:
        """Ids of the running containers of a service that are healthy, or have nothing that asks."""
        label = f"label=com.docker.swarm.service.name={STACK}_{service}"
        found = docker("ps", "--filter", label, "--format", "{{.ID}} {{.Status}}").splitlines()
        return [line.split()[0] for line in found if "starting)" not in line and "unhealthy" not in line]

    def wait(self) -> None:
        """Until each service has as many as it should have."""

        def complete() -> bool:
            wanted = {group.name: IMAP if group.service == "imap" else 1 for group in self.groups} | {"haproxy": 1}
            return all(len(self.containers(name)) == count for name, count in wanted.items())

        until("every container runs and is healthy", complete, START_SECONDS)

    def maintain(self, *words: str, text: str | None = None) -> str:
        """A command in a container of maintenance."""
        (container, *_) = self.containers(next(g.name for g in self.groups if g.service == "maintenance"))
        return docker("exec", "-i", container, "posthorn", *words, text=text)

    def make_accounts(self) -> None:
        self.maintain("domain", "add", "example.org")
        lines = "".join(f"{name} {password}\n" for name, password in ACCOUNTS.items())
        self.maintain("account", "add", "--from", "-", text=lines)

    def check(self) -> None:
        """What runs is what is described, by the node table."""
        pools = [
            f'[[pool]]\nname = "{group.name}"\nservices = ["{group.service}"]\nregion = "{group.region}"\n'
            f"replicas = {IMAP if group.service == 'imap' else 1}\n"
            for group in self.groups
        ]
        words = ("topology", "check", "/dev/stdin", "--containers")
        print(self.maintain(*words, text='name = "running"\n' + "".join(pools)), end="")

    def scale(self) -> None:
        name = next(group.name for group in self.groups if group.service == "imap")
        docker("service", "scale", f"{STACK}_{name}={SCALED}")
        self.whole(name)

    def whole(self, name: str) -> list[str]:
        """Wait until as many containers of imap as there should be run, and none that is being replaced."""
        until(f"{SCALED} containers of imap run", lambda: len(self.containers(name)) == SCALED, START_SECONDS)
        return self.containers(name)

    def roll(self) -> None:
        """Every imap and smtp-in is replaced by a new one. Raises Failed when a client had to try more than twice."""
        with Caller(self.ports["IMAP_PORT"]) as caller:
            for group in self.groups:
                if group.service in ("imap", "smtp-in"):
                    docker("service", "update", "--force", "--detach=false", "--quiet", f"{STACK}_{group.name}")
        print(f"{caller.calls} logins meanwhile, {caller.breaks} of them at the second try")

    def kill(self) -> None:
        """SIGKILL for the main process of a container: another one takes its place."""
        name = next(group.name for group in self.groups if group.service == "imap")
        killed = self.whole(name)[0]
        os.kill(int(docker("inspect", "-f", "{{.State.Pid}}", killed)), signal.SIGKILL)
        until("the killed container is gone", lambda: killed not in self.containers(name))
        self.whole(name)

    def state(self) -> str:
        """Its tasks, with what went wrong."""
        with suppress(Failed):
            return docker("stack", "ps", "--no-trunc", STACK)[-8000:]
        return ""

    def end(self) -> None:
        """Remove it; no container, volume or network of it is left."""
        docker("stack", "rm", STACK)
        label = f"label=com.docker.stack.namespace={STACK}"
        until("its containers are gone", lambda: not docker("ps", "-aq", "--filter", label).strip())
        volumes = docker("volume", "ls", "-q", "--filter", label).split()
        if volumes:
            docker("volume", "rm", *volumes)
        until("its networks are gone", lambda: not docker("network", "ls", "-q", "--filter", label).strip())


class Caller:
    """Logs in by IMAP through the balancer all the time, as somebody who tries once more and then complains."""

    def __init__(self, port: int) -> None:
        self.calls = 0
        self.breaks = 0
        self._port = port
        self._problem: Exception | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Caller":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        if self._problem is not None:
            raise Failed(f"a client failed {TRIES} times: {self._problem!r}")

    def _run(self) -> None:
        name, password = next(iter(ACCOUNTS.items()))
        while not self._ending.wait(0.2):
            for number in range(1, TRIES + 1):
                try:
                    with imaplib.IMAP4("127.0.0.1", self._port, timeout=15) as client:
                        client.starttls()
                        client.login(name, password)
                        client.select("INBOX")
                    break
                except (OSError, imaplib.IMAP4.error) as error:
                    self.breaks += 1
                    if number == TRIES:
                        self._problem = error
                        return
            self.calls += 1


def main() -> int:
    """Run it, printing steps with their times; 1 at the first that fails."""
    stack = Stack(sys.argv[1] if sys.argv[1:] else "paired")
    steps: Steps = [
        ("images built", lambda: docker("compose", "-f", "compose.yaml", "build", "--quiet")),
        ("stack deployed", stack.deploy),
        ("every container runs and is healthy", stack.wait),
        ("domain and accounts added", stack.make_accounts),
        ("what runs is what is described", stack.check),
        ("demonstration passed", lambda: run_demo(stack.ports)),
        ("imap scaled to 3", stack.scale),
        ("imap and smtp-in replaced under load", stack.roll),
        ("a killed container was replaced", stack.kill),
        ("demonstration passed again", lambda: run_demo(stack.ports)),
    ]
    with manager():
        return carry_out("swarm-test", steps, stack.state, stack.end)


if __name__ == "__main__":
    sys.exit(main())
