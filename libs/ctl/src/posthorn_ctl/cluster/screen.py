"""What the person at the terminal sees of a cluster that starts, runs and stops."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from posthorn_ctl.cluster.layout import Endpoint, Layout

_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)


class Screen:
    """Lines on a stream; colours and moving progress on a terminal only.

    `program` is how the reader can call the posthorn command.
    """

    def __init__(self, out: TextIO, program: str = "posthorn") -> None:
        self._out = out
        self._program = program
        self._terminal = out.isatty()
        self._began = time.monotonic()
        self._last = -1
        self._gone = False
        self._colours: dict[str, int] = {}

    def step(self, text: str) -> None:
        """One step of the start is done, or begins."""
        self._line(f"[{time.monotonic() - self._began:5.1f} s] {text}")

    def fetched(self, what: str, done: int, total: int) -> None:
        """How much of a download is there, in bytes; on anything but a terminal in quarters."""
        percent = 100 * done // max(total, 1)
        step = percent if self._terminal else percent // 25
        if step != self._last:
            self._last = step
            self.step(f"{what}: {done >> 20} of {total >> 20} MB ({percent} %)")

    def log(self, name: str, text: str) -> None:
        """One line of one process; long texts keep the name before each line."""
        for line in text.splitlines() or [""]:
            self._line(f"{self._prefix(name)} {line}")

    def table(self, layout: Layout, parts: Sequence[tuple[str, str]]) -> None:
        """Node, service, address, state; one row per listener."""
        rows = [("-", name, address, "ready") for name, address in parts]
        for node in layout.nodes:
            for service in node.services:
                own = [e for e in node.endpoints if e.service == service and e.protocol != "metrics"]
                rows += [(str(node.number), service, shown(e), "ready") for e in own or [node.health(service)]]
        self.rows(rows)

    def rows(self, rows: Sequence[tuple[str, str, str, str]]) -> None:
        """Print node, service, address, state."""
        from rich.console import Console
        from rich.table import Table

        table = Table("node", "service", "address", "state")
        for row in rows:
            table.add_row(*row)
        width = None if self._terminal else 100
        Console(file=self._out, width=width, highlight=False).print(table)

    def welcome(self, accounts: Mapping[str, str], layout: Layout, folder: Path) -> None:
        """The accounts, and three commands to try."""
        if accounts:
            self._line("Accounts (user name and password):")
            for name, password in accounts.items():
                self._line(f"  {name}  {password}")
        found = {e.protocol: e for node in reversed(layout.nodes) for e in node.endpoints}
        self._line("")
        self._line("Try:")
        for command in _suggestions(self._program, found, accounts, folder):
            self._line(f"  {command}")
        self._line("")

    def _prefix(self, name: str) -> str:
        text = f"{name:<18}|"
        if not self._terminal:
            return text
        colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
        return f"\x1b[{colour}m{text}\x1b[0m"

    def _line(self, text: str) -> None:
        if self._gone:
            return
        try:
            self._out.write(text + "\n")
            self._out.flush()
        except OSError:
            # The terminal or pipe is gone: the cluster goes on, its log files are still written.
            self._gone = True


def shown(endpoint: Endpoint) -> str:
    """An address as the table has it."""
    kind = {"implicit": " (TLS)", "starttls": " (STARTTLS)"}.get(endpoint.tls, "")
    return endpoint.url + kind


def _suggestions(program: str, found: Mapping[str, Endpoint], accounts: Mapping[str, str], folder: Path) -> list[str]:
    where = "" if folder == Path("data").absolute() else f" --data {folder}"
    commands = [f"{program} demo{where}"]
    logins = list(accounts.items())
    if "submission" in found and len(logins) > 1:
        (sender, secret), (receiver, _) = logins[:2]
        message = f"From: {sender}\\nTo: {receiver}\\nSubject: Hello\\n\\nHello!\\n"
        place = _curl("smtp", found["submission"])
        envelope = f"--mail-from {sender} --mail-rcpt {receiver} --user '{sender}:{secret}'"
        commands.append(f"printf '{message}' | curl -sS --crlf --upload-file - {envelope} {place}")
    if "imap" in found and logins:
        name, secret = logins[-1]
        commands.append(f"curl -sS --user '{name}:{secret}' '{_curl('imap', found['imap'])}/INBOX;MAILINDEX=1'")
    if len(commands) < 3:
        commands.append(f"{program} account list{where}")
    return commands


def _curl(scheme: str, endpoint: Endpoint) -> str:
    return f"{scheme}://{endpoint.address}"
