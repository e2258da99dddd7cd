"""PushSubscription over HTTP (RFC 8620 7.2): what is taken, what is never shown, and the key in the session."""

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from posthorn_jmap.methods.push_subscription import MADE_IN_AN_HOUR
from posthorn_model.events import Control
from posthorn_storage import AccountRecord, Storage, StorageSettings

pytestmark = pytest.mark.postgres

URL = "https://push.example.net/endpoint"
VAPID = "urn:ietf:params:jmap:webpush-vapid"


@pytest.fixture
def storage_settings(storage_settings: StorageSettings) -> StorageSettings:
    return replace(storage_settings, secrets=("the secret of all nodes",))


def url64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def point() -> bytes:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def subscription(**more: Any) -> dict[str, Any]:
    keys = {"p256dh": url64(point()), "auth": url64(b"a" * 16)}
    return {"deviceClientId": "device 1", "url": URL, "keys": keys, "types": None, **more}


async def push_set(jmap: Any, **arguments: Any) -> dict[str, Any]:
    answered, found = await jmap.bare("PushSubscription/set", **arguments)
    assert answered == "PushSubscription/set", found
    assert not {"accountId", "oldState", "newState"} & set(found)
    return dict(found)


async def push_get(jmap: Any, **arguments: Any) -> dict[str, Any]:
    answered, found = await jmap.bare("PushSubscription/get", **arguments)
    assert answered == "PushSubscription/get", found
    assert set(found) == {"list", "notFound"}
    return dict(found)


async def made(jmap: Any, **more: Any) -> str:
    created = (await push_set(jmap, create={"k": subscription(**more)}))["created"]
    return str(created["k"]["id"])


async def code_of(storage: Storage, wire: str) -> str:
    """What the push service was sent."""
    code: str = await storage._database.fetchval("SELECT code FROM push_subscription WHERE id = $1", int(wire[1:]))
    return code


async def test_a_subscription_from_its_making_to_its_end(jmap: Any, served: Any, storage: Storage) -> None:
    answer = await push_set(jmap, create={"k": subscription(types=["Email", "Mailbox"])})
    created = answer["created"]["k"]
    assert set(created) == {"id", "expires"}
    wire = created["id"]
    expected = {"id": wire, "deviceClientId": "device 1", "verificationCode": None, "types": ["Email", "Mailbox"]}
    assert await push_get(jmap) == {"list": [{**expected, "expires": created["expires"]}], "notFound": []}
    found = await push_get(jmap, ids=[wire, "p999"], properties=["types"])
    assert found == {"list": [{"id": wire, "types": ["Email", "Mailbox"]}], "notFound": ["p999"]}

    assert served.events[-1] == Control("push-wanted", {"account": int(jmap.account[1:])})
    served.events.clear()
    wrong = await push_set(jmap, update={wire: {"verificationCode": "a guess"}})
    assert wrong["notUpdated"][wire]["type"] == "invalidProperties"
    assert served.events == []
    code = await code_of(storage, wire)
    assert (await push_set(jmap, update={wire: {"verificationCode": code}}))["updated"] == {wire: None}
    assert (await push_get(jmap))["list"][0]["verificationCode"] == code

    late = (datetime.now(UTC) + timedelta(days=100)).strftime("%Y-%m-%dT%H:%M:%SZ")
    clamped = (await push_set(jmap, update={wire: {"expires": late, "types": None}}))["updated"][wire]["expires"]
    assert clamped < late
    soon = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (await push_set(jmap, update={wire: {"expires": soon}}))["updated"] == {wire: None}
    shown = (await push_get(jmap))["list"][0]
    assert (shown["expires"], shown["types"], shown["verificationCode"]) == (soon, None, code)

    gone = await push_set(jmap, destroy=[wire, "p999", "x"])
    assert gone["destroyed"] == [wire]
    assert {key: error["type"] for key, error in gone["notDestroyed"].items()} == {"p999": "notFound", "x": "notFound"}
    assert (await push_get(jmap))["list"] == []


async def test_secrets_are_never_shown(jmap: Any) -> None:
    wire = await made(jmap)
    for name in ("url", "keys"):
        answered, found = await jmap.bare("PushSubscription/get", ids=[wire], properties=["id", name])
        assert (answered, found["type"]) == ("error", "forbidden")
    assert URL not in json.dumps(await push_get(jmap))


async def test_other_users_see_nothing_of_it(
    jmap: Any, served: Any, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    wire = await made(jmap)
    await account("bob@example.org", "correct horse")
    bob = await served.client("bob@example.org")
    assert await push_get(bob, ids=[wire]) == {"list": [], "notFound": [wire]}
    answer = await push_set(bob, update={wire: {"types": []}}, destroy=[wire])
    assert answer["notUpdated"][wire]["type"] == answer["notDestroyed"][wire]["type"] == "notFound"
    assert len((await push_get(jmap))["list"]) == 1


async def test_it_is_of_no_account_and_has_no_state(jmap: Any) -> None:
    for method in ("PushSubscription/get", "PushSubscription/set"):
        for arguments in ({"accountId": jmap.account}, {"ifInState": "1"}):
            answered, found = await jmap.bare(method, **arguments)
            assert (answered, found["type"]) == ("error", "invalidArguments")


PAST = "2020-01-01T00:00:00Z"
BAD = [
    ({"url": "http://push.example.net/"}, "url"),
    ({"url": "https://127.0.0.1/x"}, "url"),
    ({"url": "https://[::ffff:192.168.0.1]/"}, "url"),
    ({"url": "https://intranet/"}, "url"),
    ({"url": 7}, "url"),
    ({"deviceClientId": ""}, "deviceClientId"),
    ({"deviceClientId": "x" * 300}, "deviceClientId"),
    ({"deviceClientId": "a\0b"}, "deviceClientId"),
    ({"keys": {"p256dh": "AAAA", "auth": url64(b"a" * 16)}}, "keys"),
    ({"keys": {"p256dh": url64(b"\x04" + b"x" * 64), "auth": url64(b"a" * 16)}}, "keys"),
    ({"keys": {"p256dh": url64(point()), "auth": url64(b"a" * 15)}}, "keys"),
    ({"keys": {"p256dh": url64(point()), "auth": "!" * 22}}, "keys"),
    ({"keys": {"p256dh": url64(point())}}, "keys"),
    ({"keys": []}, "keys"),
    ({"types": "Email"}, "types"),
    ({"types": ["Email", 1]}, "types"),
    ({"types": ["x"] * 200}, "types"),
    ({"expires": PAST}, "expires"),
    ({"expires": "tomorrow"}, "expires"),
    ({"verificationCode": "x"}, "verificationCode"),
    ({"id": "p1"}, "id"),
]


async def test_what_cannot_be_subscribed_to(jmap: Any) -> None:
    create = {str(number): subscription(**bad) for number, (bad, _) in enumerate(BAD)}
    answer = await push_set(jmap, create=create)
    assert answer["created"] is None
    found = {number: (error["type"], error["properties"]) for number, error in answer["notCreated"].items()}
    assert found == {str(number): ("invalidProperties", [name]) for number, (_, name) in enumerate(BAD)}


async def test_what_cannot_be_changed(jmap: Any) -> None:
    wire = await made(jmap)
    for change in (
        {"url": URL},
        {"keys": None},
        {"deviceClientId": "other"},
        {"id": "p2"},
        {"x": 1},
        {"expires": PAST},
    ):
        answer = await push_set(jmap, update={wire: change})
        assert answer["notUpdated"][wire]["type"] == "invalidProperties", change
    same = await push_set(jmap, update={wire: {"deviceClientId": "device 1", "id": wire}})
    assert same["updated"] == {wire: None}


async def test_there_is_a_limit_for_how_many_and_for_how_often(jmap: Any) -> None:
    create = {str(number): subscription() for number in range(22)}
    answer = await push_set(jmap, create=create)
    assert len(answer["created"]) == 20
    assert {error["type"] for error in answer["notCreated"].values()} == {"overQuota"}
    await push_set(jmap, destroy=[item["id"] for item in answer["created"].values()])
    create = {str(number): subscription(keys=None) for number in range(MADE_IN_AN_HOUR)}
    kinds = {error["type"] for error in (await push_set(jmap, create=create))["notCreated"].values()}
    assert kinds == {"overQuota", "rateLimit"}


async def test_the_session_shows_the_key_that_pushes_are_signed_with(jmap: Any, storage: Storage) -> None:
    key = jmap.session["capabilities"][VAPID]["applicationServerKey"]
    assert key == url64((await storage.push.vapid_key()).public)
    reply = await jmap.post({"using": [VAPID], "methodCalls": []})
    assert (reply.status, reply.json["sessionState"]) == (200, jmap.session["state"])
