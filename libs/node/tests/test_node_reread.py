"""Settings that are read again: what differs, what may change, and a process that is told to look."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from posthorn_node.settings import NodeSettings, parse, validate
from posthorn_node.settings.comparison import all_but, compared, concerns, names

SAMPLE = Path(__file__).with_name("node_sample_service.py")
STORES = '[store."postgres"]\ntype = "postgresql"\ndsn = "postgresql://p@h/d"\n[store."fs"]\ntype = "fs"\npath = "/b"\n'
PATIENCE = 60


def settings(text: str = "") -> NodeSettings:
    found: NodeSettings = validate(parse((STORES + text).encode(), Path("node.toml"), {}), {"": NodeSettings})[""]
    return found


def listeners(*binds: str, most: int = 10) -> str:
    return "".join(
        f'[server.listener.l{number}]\nprotocol = "imap"\nbind = "{bind}"\nmax-connections = {most}\n'
        for number, bind in enumerate(binds)
    )


def test_what_may_change_is_taken_and_what_may_not_is_named() -> None:
    old = settings('[server]\nhostname = "a"\n[log]\nlevel = "info"\n[auth.throttle]\ndelay = "1s"')
    new = settings('[server]\nhostname = "b"\n[log]\nlevel = "debug"\n[auth.throttle]\ndelay = "2s"')
    found = compared(old, new, ["log.level", "auth"])
    assert names(found.taken) == ["auth.throttle.delay", "log.level"]
    assert names(found.kept) == ["server.hostname"]
    assert (found.settings.log.level, found.settings.server.hostname) == ("debug", "a")
    assert found.settings.auth == new.auth
    assert old.log.level == "info"


def test_tables_of_free_names_change_as_a_whole_or_key_by_key() -> None:
    old, new = settings(listeners("*:1", "*:2")), settings(listeners("*:1", "*:3", "*:4", most=20))
    found = compared(old, new, ["server.listener.*.max-connections"])
    assert names(found.kept) == ["server.listener.l2", "server.listener.l1.bind"]
    assert names(found.taken) == ["server.listener.l0.max-connections", "server.listener.l1.max-connections"]
    assert [(each.bind, each.max_connections) for each in found.settings.server.listener.values()] == [
        (("*:1",), 20),
        (("*:2",), 20),
    ]
    whole = compared(old, new, ["server.listener"])
    assert whole.settings == new
    assert "server.listener.l2" in names(whole.taken)
    assert whole.kept == ()


def test_nothing_differs() -> None:
    found = compared(settings(), settings(), ["log"])
    assert (found.settings, found.taken, found.kept) == (settings(), (), ())


def test_patterns() -> None:
    assert concerns(("server", "listener", "x", "bind"), "server.listener.*.bind")
    assert concerns(("smtp-in", "limits", "errors"), "smtp-in.limits")
    assert not concerns(("smtp-in", "limits"), "smtp-in.limits.errors")
    assert not concerns(("smtp-in", "limits-of-others"), "smtp-in.limits")
    assert "metrics.bind" in all_but("metrics", type(settings().metrics), "enable")
    assert "metrics.enable" not in all_but("metrics", type(settings().metrics), "enable")


class Sample:
    """The sample service, its settings file and its log."""

    def __init__(self, process: asyncio.subprocess.Process, path: Path) -> None:
        self.process = process
        self.path = path

    async def event(self, name: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            assert self.process.stdout is not None
            while line := await self.process.stdout.readline():
                found: dict[str, Any] = json.loads(line)
                if found["event"] == name:
                    return found
        raise AssertionError(f"ended before {name!r}")

    def read_again(self, text: str) -> None:
        self.path.write_text(text)
        self.process.send_signal(signal.SIGHUP)


@pytest_asyncio.fixture
async def sample(tmp_path: Path) -> AsyncIterator[Sample]:
    path = tmp_path / "node.toml"
    path.write_text(file(tmp_path))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POSTHORN_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SAMPLE), "--config", str(path), stdout=asyncio.subprocess.PIPE, env=environ
    )
    yield Sample(process, path)
    if process.returncode is None:
        process.kill()
        await process.communicate()


def file(folder: Path, *, level: str = "info", hostname: str = "a", mode: str = "plain", delay: str = "0s") -> str:
    return (
        f'[server]\nhostname = "{hostname}"\ndata = "{folder}"\ndrain-delay = "{delay}"\n[log]\nlevel = "{level}"\n'
        f'[metrics]\nbind = "127.0.0.1:0"\n[imap]\nmode = "{mode}"\n'
    )


async def test_a_process_takes_what_it_can_tells_the_rest_and_survives_a_broken_file(
    sample: Sample, tmp_path: Path
) -> None:
    await sample.event("ready")
    sample.read_again(file(tmp_path, hostname="b", mode="tls", delay="1h", level="warning"))
    # What changed is an "info" line, which the level just taken hides; what is left is a warning.
    assert (await sample.event("settings changed that need a restart"))["keys"] == ["server.hostname", "imap.mode"]
    sample.read_again("[server]\nhostnam = 1\n")
    refused = await sample.event("settings kept as they were")
    assert len(refused["problems"]) == 1
    assert "server.hostnam: is not a known key (did you mean hostname?)" in refused["problems"][0]
    sample.read_again(file(tmp_path, delay="1h", level="debug"))
    assert (await sample.event("settings read again"))["changed"] == ["log.level"]
    sample.process.send_signal(signal.SIGTERM)
    assert (await sample.event("unready, still open"))["seconds"] == 3600
    sample.process.send_signal(signal.SIGTERM)
    assert await sample.process.wait() == 0
