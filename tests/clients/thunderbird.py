"""Thunderbird without a screen, told what to do over Marionette: scripts in its own chrome, as its own tests have.

A packet is a length in digits, a colon and JSON: `[0, id, command, parameters]`, answered by `[1, id, error, result]`.
"""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.clients.program import program

SECONDS = 90
START_SECONDS = 120
PREFERENCES = {
    "marionette.port": 0,  # any; it writes which into the profile
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mailnews.start_page.enabled": False,
    "mail.spotlight.firstRunDone": True,
    "mail.rights.version": 1,
    "mail.biff.play_sound": False,
    "mail.biff.show_alert": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
    # All messages of all folders are kept here, as soon as they are seen.
    "mail.server.default.autosync_offline_stores": True,
    "mail.server.default.offline_download": True,
}
PRELUDE = """
const done = arguments[arguments.length - 1];
const {MailServices} = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.allServers.find(each => each.type == "imap");
const folder = name => name == "INBOX"
  ? server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox) : server.rootFolder.getChildNamed(name);
const messages = name => [...folder(name).messages];
const pick = (name, subjects) => messages(name).filter(each => subjects.includes(each.subject));
const until = async condition => {
  while (!condition()) await new Promise(next => setTimeout(next, 50));
};
(async () => {
%s
})().then(done, error => done({failed: String(error) + error.stack}));
"""


class Marionette:
    """A conversation with a running Thunderbird."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=2 * SECONDS)
        self._input = self._socket.makefile("rb")
        self._count = 0
        self._read()
        self._call("WebDriver:NewSession")
        self._call("Marionette:SetContext", value="chrome")
        self._call("WebDriver:SetTimeouts", script=SECONDS * 1000)

    def run(self, script: str, *values: object) -> Any:
        """Run the body of an asynchronous function, which sees `values` as `given`, and return what it returns.

        Raises AssertionError when it fails.
        """
        words = {"script": PRELUDE % script, "args": list(values), "sandbox": "system", "newSandbox": True}
        found = self._call("WebDriver:ExecuteAsyncScript", **words)["value"]
        assert not (isinstance(found, dict) and "failed" in found), found
        return found

    def quit(self) -> None:
        self._call("Marionette:Quit", flags=["eForceQuit"])
        self._input.close()
        self._socket.close()

    def _read(self) -> Any:
        length = b""
        while (octet := self._input.read(1)) != b":":
            assert octet, "Thunderbird is gone"
            length += octet
        return json.loads(self._input.read(int(length)))

    def _call(self, command: str, **parameters: object) -> Any:
        self._count += 1
        packet = json.dumps([0, self._count, command, parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(packet), packet))
        _, _, error, result = self._read()
        assert error is None, (command, error["error"], error["message"])
        return result


@contextmanager
def running(home: Path) -> Iterator[Marionette]:
    """Thunderbird with an empty profile in `home`/profile, ended with the block."""
    path, profile = program("thunderbird"), home / "profile"
    profile.mkdir()
    text = "".join(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items())
    (profile / "user.js").write_text(text)
    words = ["--headless", "--no-remote", "--marionette", "-remote-allow-system-access", "--profile", str(profile)]
    environ = {"HOME": str(home), "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "MOZ_CRASHREPORTER_DISABLE": "1"}
    with (home / "thunderbird.log").open("wb") as log:
        process = subprocess.Popen([path, *words], env=environ, cwd=home, stdout=log, stderr=log)
        try:
            marionette = Marionette(_port(profile / "MarionetteActivePort"))
            yield marionette
            marionette.quit()
            process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()


def _port(file: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, "Thunderbird does not listen"
        time.sleep(0.1)
    return int(file.read_text())
