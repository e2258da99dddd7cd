"""A device, a JMAP client, and nodes as processes: pushes arrive, also when who sends them is killed."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, running_service
from posthorn_testkit.push_service import Device, PushService, from_url64

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

CONFIG = local("""
[cluster]
name = "test"
node-id = {number}
secret = "the secret of this whole cluster"
lease-ttl = "4s"
[server]
hostname = "node{number}.example.org"
data = "{folder}/node{number}"
drain-delay = "0s"
[server.listener.jmap]
protocol = "jmap"
bind = "127.0.0.1:0"
allow-plaintext-auth = true
[web-push]
networks = ["127.0.0.0/8"]
ca = "{ca}"
delay = "100ms"
interval = "2s"
[store.postgres.pool]
max-connections = 4
""")
VAPID = "urn:ietf:params:jmap:webpush-vapid"


async def holder(nodes: dict[int, ServiceProcess]) -> int:
    """Which node took the role."""

    def holds(line: dict[str, Any]) -> bool:
        return line["event"] == "role taken" and line.get("role") == "push.send"

    waits = {asyncio.create_task(process.logged(holds)): number for number, process in nodes.items()}
    done, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    return waits[done.pop()]


async def test_pushes_arrive_also_when_who_sends_them_is_killed(
    account: Any, postgres_dsn: str, tmp_path: Path, make_client: Any
) -> None:
    await account("ann@example.org", "correct horse")
    device = Device()
    async with PushService(tmp_path) as service:
        configs = {number: tmp_path / f"node{number}.toml" for number in (1, 2, 3)}
        for number, path in configs.items():
            path.write_text(CONFIG.format(number=number, folder=tmp_path, dsn=postgres_dsn, ca=service.ca))
        async with (
            running_service("posthorn_jmap", configs[1]) as jmap,
            running_service("posthorn_maintenance", configs[2]) as second,
            running_service("posthorn_maintenance", configs[3]) as third,
        ):
            nodes = {2: second, 3: third}
            bind = (await jmap.listening())["bind"][0]
            client = await make_client(f"http://{bind[0]}:{bind[1]}")
            new = {"deviceClientId": "phone", "url": f"{service.url}/ann", "keys": device.keys, "types": ["Email"]}
            _, answer = await client.bare("PushSubscription/set", create={"k": new})
            wire = answer["created"]["k"]["id"]
            greeting = await service.taken(lambda _: True)
            message = greeting.message(device)
            assert message["pushSubscriptionId"] == wire
            key = from_url64(client.session["capabilities"][VAPID]["applicationServerKey"])
            assert greeting.claims(key)["aud"] == service.url
            assert greeting.claims(key)["sub"].startswith("mailto:postmaster@node")
            code = {"verificationCode": message["verificationCode"]}
            _, answer = await client.bare("PushSubscription/set", update={wire: code})
            assert answer["updated"] == {wire: None}

            first = await holder(nodes)
            await pushed(client, service, device)
            await nodes.pop(first).kill()
            await pushed(client, service, device)
            assert await holder(nodes) != first
            assert code["verificationCode"] not in jmap.story() + second.story() + third.story()


async def pushed(client: Any, service: PushService, device: Device) -> None:
    """A message comes in, and the device hears of its state."""
    email = await client.add()
    state = (await client.call("Email/get", ids=[email["id"]]))["state"]
    expected = {"@type": "StateChange", "changed": {client.account: {"Email": state}}}
    found = await service.taken(lambda push: push.message(device) == expected)
    assert found.path == "/ann"
    assert json.dumps(expected) not in str(found.body)
