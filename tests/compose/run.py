"""`make compose-test`: compose.yaml for real, from build to nothing left, with the demonstration against it.

Needs a Docker engine with Compose. ARGS names topologies of deploy/topologies, which are started one after the
other, at most MOST containers of a kind; without it compose.yaml stands alone, is scaled and loses a process. Steps are
printed with their times; ends with 1 at the first that fails.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from posthorn_ctl.topology.description import read
from posthorn_ctl.topology.groups import Group, groups_of

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "posthorn-test"
PORTS = ("SMTP_PORT", "SUBMISSION_PORT", "SUBMISSIONS_PORT", "IMAP_PORT", "IMAPS_PORT", "HTTP_PORT", "SINK_PORT")
ACCOUNTS = {"ann@example.org": "ann-correct-horse", "bob@example.org": "bob-battery-staple"}
IMAP_LISTENER = 2143
MOST = int(os.environ.get("POSTHORN_TEST_MOST") or 4)
"""One machine carries the ten nodes of the other topologies, but not the sixty containers of the unified one."""
TOKEN = "token-of-the-test"


Steps = Sequence[tuple[str, Callable[[], object]]]
"""What each does, in words, and the doing of it."""


class Failed(Exception):
    """A step that did not show what it should have shown."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


class Compose:
    """The project under test: compose.yaml with `more` files. Their `groups` are empty without a topology."""

    def __init__(self, groups: Sequence[Group] = (), *more: Path) -> None:
        self.groups = groups
        self._files = (ROOT / "compose.yaml", ROOT / "tests" / "compose" / "override.yaml", *more)
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.environment = {
            **os.environ,
            **{name: str(port) for name, port in self.ports.items()},
            "PUBLIC_URL": f"http://127.0.0.1:{self.ports['HTTP_PORT']}",
            "API_TOKEN": TOKEN,
        }

    def __call__(self, *arguments: str, text: str | None = None) -> str:
        """Run docker compose; returns what it printed. Raises Failed."""
        files = [word for file in self._files for word in ("-f", str(file))]
        command = ["docker", "compose", "-p", PROJECT, *files, *arguments]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        if done.returncode:
            raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
        return done.stdout

    def containers(self, service: str) -> list[str]:
        """Ids of the running containers of a service."""
        return self("ps", "-q", service).split()


def description(ports: Mapping[str, int]) -> dict[str, object]:
    """A cluster behind HAProxy as its clients see it, in the form of cluster.json: one front for every node."""
    kinds = [
        ("smtp-in", "submission", "SUBMISSION_PORT", "starttls"),
        ("imap", "imap", "IMAP_PORT", "starttls"),
        ("jmap", "jmap", "HTTP_PORT", "none"),
        ("dav", "dav", "HTTP_PORT", "none"),
    ]
    endpoints = [
        {
            "node": 1,
            "service": service,
            "protocol": protocol,
            "host": "127.0.0.1",
            "port": ports[port],
            "tls": tls,
            "url": f"http://127.0.0.1:{ports[port]}" if port == "HTTP_PORT" else None,
        }
        for service, protocol, port, tls in kinds
    ]
    return {
        "state": "ready",
        "endpoints": endpoints,
        "accounts": [{"name": name, "password": password} for name, password in ACCOUNTS.items()],
        "sink": {"host": "0.0.0.0", "port": ports["SINK_PORT"], "domain": "outside.test"},
    }


def inspect(container: str, form: str) -> str:
    """One value of a container."""
    command = ["docker", "inspect", "-f", form, container]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def until(what: str, condition: Callable[[], bool], seconds: float = 90.0) -> None:
    """Wait for a condition. Raises Failed."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.5)


def make_accounts(compose: Compose) -> None:
    """A domain and two accounts, by the command in the maintenance image."""
    compose("exec", "-T", "maintenance", "posthorn", "domain", "add", "example.org")
    lines = "".join(f"{name} {password}\n" for name, password in ACCOUNTS.items())
    compose("exec", "-T", "maintenance", "posthorn", "account", "add", "--from", "-", text=lines)


def run_demo(ports: Mapping[str, int]) -> None:
    """The demonstration through HAProxy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cluster.json"
        path.write_text(json.dumps(description(ports)))
        done = subprocess.run(
            [str(Path(sys.executable).parent / "posthorn"), "demo", "--cluster-json", str(path)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    print(done.stdout, end="")
    if done.returncode:
        raise Failed(f"the demonstration failed: {done.stderr}")


def established(container: str) -> int:
    """IMAP connections that a container holds."""
    command = ["docker", "exec", container, "cat", "/proc/net/tcp"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in text.splitlines()[1:]]
    return sum(row[1].endswith(f":{IMAP_LISTENER:04X}") and row[3] == "01" for row in rows)


def see_clients(compose: Compose) -> None:
    """What was said through HAProxy so far was said by its clients, not by HAProxy."""
    front = inspect(compose.containers("haproxy")[0], "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    seen: dict[str, set[str]] = {}
    for service in ("smtp-in", "imap"):
        lines = compose("logs", "--no-log-prefix", service).splitlines()
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        seen[service] = {entry["remote"] for entry in entries if "remote" in entry}
    if not seen["smtp-in"] or front in set().union(*seen.values()):
        raise Failed(f"clients are seen as {seen}; HAProxy is {front}")


def scale_imap(compose: Compose) -> None:
    """Three imap containers; new connections through HAProxy reach all of them."""
    compose("up", "-d", "--no-recreate", "--wait", "--scale", "imap=3", "imap")
    containers = compose.containers("imap")
    if len(containers) != 3:
        raise Failed(f"{len(containers)} imap containers run, not 3")

    def spread() -> bool:
        with ExitStack() as stack:
            for _ in range(9):
                connection = socket.create_connection(("127.0.0.1", compose.ports["IMAP_PORT"]), timeout=10)
                stack.enter_context(connection)
                if not connection.recv(200).startswith(b"* OK"):
                    return False
            return all(established(container) for container in containers)

    until("every imap container serves connections that came through HAProxy", spread)


def kill_process(compose: Compose) -> None:
    """SIGKILL for the main process of a container; Docker starts it again and it becomes healthy."""
    container = compose.containers("imap")[0]
    before = int(inspect(container, "{{.RestartCount}}"))
    os.kill(int(inspect(container, "{{.State.Pid}}")), signal.SIGKILL)
    until("the killed container was started again", lambda: int(inspect(container, "{{.RestartCount}}")) > before)
    until("the killed container is healthy", lambda: inspect(container, "{{.State.Health.Status}}") == "healthy")


def check_topology(compose: Compose) -> None:
    """What runs is what the topology describes, by the node table."""
    pools = [
        f'[[pool]]\nname = "{group.name}"\nservices = ["{group.service}"]\nregion = "{group.region}"\n'
        f"replicas = {min(group.replicas, MOST)}\n"
        for group in compose.groups
    ]
    text = 'name = "running"\n' + "".join(pools)
    words = ("posthorn", "topology", "check", "/dev/stdin", "--containers")
    print(compose("exec", "-T", "maintenance", *words, text=text), end="")


def start_topology(compose: Compose) -> None:
    """Everything up and healthy, as many of each as there should be but no more than MOST."""
    many = [group for group in compose.groups if group.replicas > MOST]
    scale = [word for group in many for word in ("--scale", f"{group.name}={MOST}")]
    compose("up", "-d", "--wait", "--wait-timeout", "400", *scale)


def tear_down(compose: Compose) -> None:
    """Stop everything; no container, volume or network of the project is left."""
    compose("down", "-v", "--remove-orphans", "--timeout", "30")
    label = f"label=com.docker.compose.project={PROJECT}"
    for kind, command in {
        "container": ["ps", "-aq"],
        "volume": ["volume", "ls", "-q"],
        "network": ["network", "ls", "-q"],
    }.items():
        left = subprocess.run(
            ["docker", *command, "--filter", label], capture_output=True, text=True, check=True
        ).stdout
        if left.strip():
            raise Failed(f"a {kind} is left: {left}")


def run_topology(name: str) -> int:
    """One topology from its file to nothing left."""
    place = ROOT / "deploy" / "topologies" / name
    groups = groups_of(read(place / "topology.toml"))
    with tempfile.TemporaryDirectory() as folder:
        senders = Path(folder) / "senders.yaml"
        relay = {"POSTHORN__SMTP_OUT__RELAY": "host.docker.internal:${SINK_PORT}"}
        own = {group.name: {"environment": relay} for group in groups if group.service == "smtp-out"}
        senders.write_text(json.dumps({"services": own}))
        compose = Compose(groups, place / "compose" / "compose.yaml", senders)
        return run(
            compose,
            [
                (f"{name}: images built", lambda: compose("build")),
                ("everything is up and healthy", lambda: start_topology(compose)),
                ("what runs is what is described", lambda: check_topology(compose)),
                ("domain and accounts added", lambda: make_accounts(compose)),
                ("demonstration passed", lambda: run_demo(compose.ports)),
                ("clients are seen with addresses of their own", lambda: see_clients(compose)),
            ],
        )


def main() -> int:
    """Run what the arguments name."""
    if sys.argv[1:]:
        return max(run_topology(name) for name in sys.argv[1:])
    compose = Compose()
    steps: list[tuple[str, Callable[[], object]]] = [
        ("images built", lambda: compose("build")),
        ("everything is up and healthy", lambda: compose("up", "-d", "--wait", "--wait-timeout", "240")),
        ("domain and accounts added", lambda: make_accounts(compose)),
        ("demonstration passed", lambda: run_demo(compose.ports)),
        ("clients are seen with addresses of their own", lambda: see_clients(compose)),
        ("imap scaled to 3 behind HAProxy", lambda: scale_imap(compose)),
        ("a killed process was started again", lambda: kill_process(compose)),
        ("demonstration passed again", lambda: run_demo(compose.ports)),
    ]
    return run(compose, steps)


def run(compose: Compose, steps: Steps) -> int:
    """Run the steps in their order and tear down, whatever happens; returns the exit code."""

    def logs() -> str:
        words = ["docker", "compose", "-p", PROJECT, "logs", "--tail", "30"]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout[-12_000:]

    return carry_out("compose-test", steps, logs, lambda: tear_down(compose))


def carry_out(name: str, steps: Steps, state: Callable[[], str], end: Callable[[], None]) -> int:
    """Take the steps, printing each with its time, show the `state` at the first that fails, and `end` in any case.

    Returns the exit code.
    """
    code = 0
    try:
        for text, step in steps:
            begun = time.monotonic()
            step()
            print(f"{time.monotonic() - begun:7.1f} s  {text}", flush=True)
    except (Failed, subprocess.SubprocessError, OSError) as error:
        print(f"{name} failed: {error}", file=sys.stderr)
        print(state(), file=sys.stderr)
        code = 1
    begun = time.monotonic()
    try:
        end()
        print(f"{time.monotonic() - begun:7.1f} s  torn down, nothing left")
    except Failed as error:
        print(f"{name} failed: {error}", file=sys.stderr)
        code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
