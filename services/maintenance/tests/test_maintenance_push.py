"""metrics.push: to a real Pushgateway, and to receivers that refuse, are silent, or lead elsewhere."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog

from posthorn_bus import LeaseKeeper, LeaseTimes
from posthorn_maintenance.jobs.job import Progress, Tenure
from posthorn_maintenance.jobs.push import MetricsPush
from posthorn_model.clock import SystemClock
from posthorn_model.errors import Unavailable
from posthorn_node.settings import NodeSettings, PushSettings, load, validate
from posthorn_node.settings.problems import SettingsError
from posthorn_storage import Storage
from posthorn_testkit.pushgateway import Pushgateway

pytestmark = pytest.mark.postgres


async def push(storage: Storage, settings: PushSettings, name: str = "mail") -> Progress:
    keeper = LeaseKeeper(storage.leases, name, SystemClock(), LeaseTimes(ttl=600.0))
    (lease,) = await keeper.acquire([f"role/{name}"])
    tenure = Tenure("metrics.push", lease, structlog.get_logger())
    return await MetricsPush(storage, settings, name).job().step(tenure, "")


@asynccontextmanager
async def receiver(answer: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A receiver that says `answer` to everything (None: nothing, ever); yields its URL and what it was sent."""
    heard: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard


async def test_figures_arrive_and_a_new_holder_replaces_them(
    storage: Storage, pushgateway: Pushgateway, account: Callable[..., Awaitable[object]]
) -> None:
    assert await push(storage, PushSettings(url=pushgateway.url)) == Progress(worked=1)
    assert 'posthorn_cluster_index_tasks{instance="",job="mail",state="waiting"} 0' in pushgateway.metrics()
    await storage.nodes.claim_node(None, "token", 60)
    await push(storage, PushSettings(url=f"{pushgateway.url}/"), name="other")
    found = pushgateway.metrics()
    assert 'posthorn_cluster_index_tasks{instance="",job="other",state="waiting"} 0' in found
    assert found.count('push_failure_time_seconds{instance="",job="mail"} 0') == 1
    assert 'process_cpu_seconds_total{instance="",job="mail"}' not in found


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"username": "ann", "password": "secret"}, b"Basic " + base64.b64encode(b"ann:secret")),
        ({"token": "secret"}, b"Bearer secret"),
    ],
)
async def test_credentials_are_sent_and_told_to_nobody(
    storage: Storage, settings: dict[str, str], expected: bytes
) -> None:
    async with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (url, heard):
        assert await push(storage, PushSettings(url=url, **settings)) == Progress(worked=1)  # type: ignore[arg-type]
    assert heard[0].startswith(b"PUT /metrics/job/mail HTTP/1.1\r\n")
    assert b"Authorization: " + expected in heard[0]
    async with receiver(b"HTTP/1.1 403 no secret of yours\r\nContent-Length: 0\r\n\r\n") as (url, _):
        with pytest.raises(Unavailable, match="answered 403") as refused:
            await push(storage, PushSettings(url=url, token="t0p"))
    assert "t0p" not in refused.value.public
    assert "t0p" not in repr(PushSettings(url=url, token="t0p"))


async def test_a_redirect_is_not_followed(storage: Storage) -> None:
    async with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (elsewhere, stolen):
        moved = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere}/x\r\nContent-Length: 0\r\n\r\n".encode()
        async with receiver(moved) as (url, _):
            with pytest.raises(Unavailable, match="answered 302"):
                await push(storage, PushSettings(url=url, token="secret"))
        assert stolen == []


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 500 + b"\r\n", None]
)
async def test_a_receiver_that_makes_no_sense_or_is_silent_is_a_problem(storage: Storage, answer: bytes | None) -> None:
    async with receiver(answer) as (url, _):
        with pytest.raises(Unavailable, match=url):
            await push(storage, PushSettings(url=url, timeout=0.5))


async def test_nobody_listens(storage: Storage) -> None:
    with pytest.raises(Unavailable, match="refused"):
        await push(storage, PushSettings(url="http://127.0.0.1:1"))


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ('url = "ftp://x"', "http:// or https://"),
        ('url = "pushgateway:9091"', "http:// or https://"),
        ('url = "http://"', "name a host"),
        ('url = "http://x:99999"', "is no URL"),
        ('url = "http://ann:secret@x"', "must hold no password"),
        ('url = "http://x/?token=secret"', "nothing after its path"),
        ('url = "http://x"\nusername = "ann"\ntoken = "secret"', "not both"),
        ('url = "http://x"\njob = "a/b"', "pattern"),
        ('url = "http://x"\ninterval = "10ms"', "greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_meant(tmp_path: Path, table: str, reason: str) -> None:
    path = tmp_path / "node.toml"
    path.write_text(f"[metrics.push]\n{table}\n")
    with pytest.raises(SettingsError) as refused:
        validate(load(path, {}), {"": NodeSettings})
    assert reason in str(refused.value)
    assert "secret" not in str(refused.value)
