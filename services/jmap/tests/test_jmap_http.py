"""The service over HTTP: session, login, limits, problem documents, uploads, downloads, events. Connections live on."""

import asyncio
import base64
import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from posthorn_jmap.protocol.session import CAPABILITIES
from posthorn_jmap.registry import METHODS
from posthorn_mail_format import summarize
from posthorn_model.errors import AuthenticationFailed
from posthorn_model.events import ChangeKind
from posthorn_model.mail import NewMessage

pytestmark = pytest.mark.postgres

USING = sorted(CAPABILITIES)
METHOD_NAMES = {
    "Core": ["echo"],
    "Blob": ["copy"],
    "PushSubscription": ["get", "set"],
    "Mailbox": ["get", "changes", "query", "queryChanges", "set"],
    "Thread": ["get", "changes"],
    "Email": ["get", "changes", "query", "queryChanges", "set", "copy", "import", "parse"],
    "SearchSnippet": ["get"],
    "Identity": ["get", "changes", "set"],
    "EmailSubmission": ["get", "changes", "query", "queryChanges", "set"],
}


def test_every_method_of_the_capabilities_is_registered() -> None:
    assert set(METHODS) == {f"{kind}/{verb}" for kind, verbs in METHOD_NAMES.items() for verb in verbs}
    assert {capability for capability, _ in METHODS.values()} == CAPABILITIES


async def test_the_session_object(jmap: Any) -> None:
    session = jmap.session
    assert set(session) == {
        "capabilities",
        "accounts",
        "primaryAccounts",
        "username",
        "apiUrl",
        "downloadUrl",
        "uploadUrl",
        "eventSourceUrl",
        "state",
    }
    assert set(session["capabilities"]) == CAPABILITIES
    assert session["username"] == "ann@example.org"
    (account,) = session["accounts"].values()
    assert (account["name"], account["isPersonal"], account["isReadOnly"]) == ("ann@example.org", True, False)
    mail = account["accountCapabilities"]["urn:ietf:params:jmap:mail"]
    assert "receivedAt" in mail["emailQuerySortOptions"]
    for name, variables in (
        ("apiUrl", []),
        ("downloadUrl", ["accountId", "blobId", "name", "type"]),
        ("uploadUrl", ["accountId"]),
        ("eventSourceUrl", ["types", "closeafter", "ping"]),
    ):
        assert session[name].startswith(jmap.base + "/")
        assert re.findall(r"\{(\w+)\}", session[name]) == variables
    answer = (await jmap.post({"using": USING, "methodCalls": []})).json
    assert answer == {"methodResponses": [], "sessionState": session["state"]}


async def test_methods_errors_and_created_ids(jmap: Any) -> None:
    answers = await jmap.calls(
        ("Core/echo", {"hello": [1, {"x": None}]}),
        ("Core/unknown", {}),
        ("Mailbox/get", {"accountId": "a999999"}),
        ("Mailbox/get", {"accountId": None}),
        ("Mailbox/get", {"ids": "m1"}),
        ("Mailbox/get", {"colour": "blue"}),
        ("Mailbox/get", {"properties": ["colour"]}),
        ("Mailbox/set", {"create": {"k": {"name": "Made"}}}),
        ("Mailbox/get", {"ids": ["#k"], "properties": ["name"]}),
        ("Mailbox/get", {"#ids": {"resultOf": "c8", "name": "Mailbox/get", "path": "/list/*/id"}}),
        createdIds={},
    )
    assert answers[0][1]["hello"] == [1, {"x": None}]
    kinds = [(name, arguments.get("type")) for name, arguments, _ in answers[1:7]]
    assert kinds == [("error", "unknownMethod"), ("error", "accountNotFound"), *[("error", "invalidArguments")] * 4]
    assert answers[8][1]["list"][0]["name"] == "Made"
    assert answers[9][1]["list"][0]["name"] == "Made"
    assert [call for _, _, call in answers] == [f"c{number}" for number in range(10)]

    named = [["Mailbox/get", {"accountId": jmap.account, "ids": ["#old"]}, "c"]]
    made = answers[8][1]["list"][0]["id"]
    reply = (await jmap.post({"using": USING, "methodCalls": named, "createdIds": {"old": made}})).json
    assert reply["createdIds"] == {"old": made}
    assert reply["methodResponses"][0][1]["list"][0]["id"] == made
    core_only = {"using": ["urn:ietf:params:jmap:core"], "methodCalls": named}
    assert (await jmap.post(core_only)).json["methodResponses"] == [["error", {"type": "unknownMethod"}, "c"]]


async def test_bad_requests_get_problems_and_the_connection_lives(jmap: Any) -> None:
    base = {"using": USING, "methodCalls": []}
    for payload, status, kind, limit in (
        (b"{not json", 400, "urn:ietf:params:jmap:error:notJSON", None),
        (b'{"using":[],"using":[]}', 400, "urn:ietf:params:jmap:error:notJSON", None),
        (b"[1]", 400, "urn:ietf:params:jmap:error:notRequest", None),
        ({**base, "using": ["urn:x"]}, 400, "urn:ietf:params:jmap:error:unknownCapability", None),
        ({**base, "methodCalls": [["Core/echo", {}, "c"]] * 33}, 400, "urn:ietf:params:jmap:error:limit",
         "maxCallsInRequest"),
    ):  # fmt: skip
        reply = await jmap.post(payload)
        assert reply.status == status
        assert reply.headers["content-type"] == "application/problem+json"
        assert (reply.json["type"], reply.json["status"], reply.json.get("limit")) == (kind, status, limit)
    reply = await jmap.post(base, content_type="text/plain")
    assert (reply.status, reply.json["type"]) == (400, "urn:ietf:params:jmap:error:notJSON")
    assert (await jmap.request("GET", "/jmap/nothing")).status == 404
    assert (await jmap.request("GET", "/elsewhere")).status == 404
    assert (await jmap.request("DELETE", "/jmap/api/")).status == 404
    assert (await jmap.request("GET", "/jmap/eventsource/?ping=soon")).status == 400
    assert (await jmap.post(base)).status == 200
    assert jmap.connected == 1


async def test_a_bug_is_told_with_a_reference_only(jmap: Any, served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(type(served.storage.mail), "mailboxes", broken)
    ((name, error, _),) = await jmap.calls(("Mailbox/get", {}))
    assert (name, error["type"]) == ("error", "serverFail")
    assert "secret" not in str(error)
    monkeypatch.setattr(type(served.storage.blobs), "may_read", broken)
    reply = await jmap.download("b" + "0" * 64)
    assert (reply.status, "reference" in reply.json["detail"]) == (500, True)
    assert b"secret" not in reply.body
    assert (await jmap.post({"using": USING, "methodCalls": []})).status == 200


async def test_who_may_log_in(served: Any, jmap: Any) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic ???"},
        {"Authorization": "Basic " + base64.b64encode(b"ann@example.org:wrong").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"nobody@example.org:correct horse").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()},
    ):
        reader, writer = await asyncio.open_connection(*urlsplit(served.base).netloc.split(":"))
        lines = ["GET /.well-known/jmap HTTP/1.1", "Host: x", *(f"{name}: {text}" for name, text in headers.items())]
        for _ in range(2):
            writer.write("\r\n".join([*lines, "", ""]).encode())
            async with asyncio.timeout(30):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(re.search(r"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
                await reader.readexactly(length)
            assert head.startswith("HTTP/1.1 401 ")
            assert "www-authenticate: Basic realm=" in head.lower().replace("basic", "Basic")
        writer.close()
    assert (await jmap.request("GET", "/jmap/session")).status == 200


class OneToken:
    """Judges tokens: knows one of Ann's."""

    async def owner(self, token: str) -> str:
        if token != "ann.s.token":
            raise AuthenticationFailed
        return "ann@example.org"


async def test_a_bearer_token_is_a_login_where_somebody_judges_it(served: Any, jmap: Any) -> None:
    async def status(token: str) -> bytes:
        reader, writer = await asyncio.open_connection(*urlsplit(served.base).netloc.split(":"))
        writer.write(f"GET /jmap/session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        async with asyncio.timeout(30):
            line = await reader.readline()
        writer.close()
        return line.split()[1]

    assert await status("ann.s.token") == b"401"
    served.storage.directory.take_tokens(OneToken())
    assert [await status(token) for token in ("ann.s.token", "another")] == [b"200", b"401"]


async def test_when_too_many_logins_failed_the_right_password_is_not_judged(
    jmap: Any, account: Any, lock_out: Any
) -> None:
    await account("bob@example.org", jmap.password)
    await lock_out("bob@example.org")
    jmap.address = "bob@example.org"
    refused = await jmap.request("GET", "/jmap/session")
    assert refused.status == 429
    assert refused.json["detail"] == "too many failed logins, try again later"
    assert 0 < int(refused.headers["retry-after"]) <= 72


async def test_uploads_and_downloads(serve: Any, jmap: Any, account: Any) -> None:
    data = bytes(range(256)) * 300
    made = await jmap.upload(data, "image/png; x=y")
    assert made == {"accountId": jmap.account, "blobId": made["blobId"], "type": "image/png; x=y", "size": len(data)}
    found = await jmap.download(made["blobId"], "../Übung\r\n.png", "image/png")
    assert (found.status, found.body, found.headers["content-type"]) == (200, data, "image/png")
    assert found.headers["content-disposition"] == "attachment; filename*=UTF-8''..%2F%C3%9Cbung%0D%0A.png"
    assert found.headers["x-content-type-options"] == "nosniff"
    part = await jmap.download(f"{made['blobId']}-10-5-n")
    assert part.body == data[10:15]
    assert (await jmap.download("b" + "0" * 64)).status == 404
    assert (await jmap.download("nonsense")).status == 404
    assert (await jmap.download(made["blobId"], media_type="no type")).status == 400
    other_account = jmap.session["uploadUrl"].replace("{accountId}", "a999999")
    assert (await jmap.request("POST", other_account, b"x", "text/plain")).status == 404

    await account("eve@example.org", "correct horse")
    server = await serve(max_size_upload=1000)
    eve = await server.client("eve@example.org")
    assert (await eve.download(made["blobId"])).status == 404
    stolen = f"/jmap/download/{jmap.account}/{made['blobId']}/x"
    assert (await eve.request("GET", stolen)).status == 404
    url = eve.session["uploadUrl"].replace("{accountId}", eve.account)
    large = await eve.request("POST", url, b"x" * 1001, "text/plain")
    assert (large.status, large.json["limit"]) == (413, "maxSizeUpload")
    assert (await eve.upload(b"x" * 1000, "text/plain"))["size"] == 1000
    empty = await eve.upload(b"", "nonsense")
    assert (empty["type"], empty["size"]) == ("application/octet-stream", 0)
    assert (await eve.download(empty["blobId"])).body == b""


async def test_limits_of_requests(serve: Any, jmap: Any) -> None:
    small = await (await serve(max_size_request=500, max_calls_in_request=2)).client()
    assert small.session["capabilities"]["urn:ietf:params:jmap:core"]["maxSizeRequest"] == 500
    reply = await small.post(b" " * 501)
    assert (reply.status, reply.json["limit"]) == (413, "maxSizeRequest")
    echo = ["Core/echo", {}, "c"]
    reply = await small.post({"using": USING, "methodCalls": [echo] * 3})
    assert (reply.status, reply.json["limit"]) == (400, "maxCallsInRequest")
    assert (await small.post({"using": USING, "methodCalls": [echo] * 2})).status == 200


async def test_events_of_changes(jmap: Any, served: Any, open_events: Any) -> None:
    storage, watchers = served.storage, served.app.watchers
    person = await storage.directory.find_account("ann@example.org")
    every = await open_events(jmap, "types=*&closeafter=no&ping=0")
    once = await open_events(jmap, "types=Email,Thread&closeafter=state&ping=300")
    assert watchers.count(person.id) == 2
    raw = b"Subject: new\r\n\r\nnew\r\n"
    await storage.mail.append([NewMessage(person.id, (), summarize(raw), await storage.blobs.prepare(raw))])
    assert await watchers.compare() == 1
    assert await watchers.compare() == 0
    state = str(await storage.mail.state(person.id))
    told = (await every.until(b"}}}")).decode()
    assert "event: state\r\n" in told
    assert f'"changed":{{"{jmap.account}":{{"Mailbox":"{state}"' in told
    assert all(f'"{kind}"' in told for kind in ("Email", "Thread", ChangeKind.EMAIL_SUBMISSION))
    told = (await once.until(b"0\r\n\r\n")).decode()
    assert f'{{"Email":"{state}","Thread":"{state}"}}' in told
    served.app.ended.set()
    await every.until(b"0\r\n\r\n")


async def test_events_ping_and_are_limited(serve: Any, jmap: Any, open_events: Any) -> None:
    served = await serve(max_event_sources=1)
    client = await served.client()
    events = await open_events(client, "types=Mailbox&closeafter=no&ping=5")
    refused = await client.request("GET", "/jmap/eventsource/?types=*&closeafter=no&ping=0")
    assert (refused.status, refused.headers["retry-after"]) == (429, "5")
    assert 'data: {"interval":5}' in (await events.until(b"}\r\n\r\n")).decode()
    events.writer.close()


async def test_events_missed_while_away_are_told(jmap: Any, served: Any, open_events: Any) -> None:
    query = "types=Email&closeafter=state&ping=0"
    before = (await jmap.call("Email/get", ids=[]))["state"]
    made = await jmap.add()
    now = (await jmap.call("Email/get", ids=[made["id"]]))["state"]
    back = await open_events(jmap, query, f"Last-Event-ID: {before}")
    told = (await back.until(b"0\r\n\r\n")).decode()
    assert f"id: {now}\r\nevent: state" in told
    fresh = await open_events(jmap, query, f"Last-Event-ID: {now}")
    odd = await open_events(jmap, query, "Last-Event-ID: never")
    await jmap.call("Email/set", destroy=[made["id"]])
    later = (await jmap.call("Email/get", ids=[]))["state"]
    await served.app.watchers.compare()
    for events in (fresh, odd):
        # The first they hear of is what happened after they came.
        assert f"id: {later}\r\nevent: state" in (await events.until(b"0\r\n\r\n")).decode()


async def test_copies_of_blobs(jmap: Any, account: Any, served: Any) -> None:
    blob = (await jmap.upload(b"data", "text/plain"))["blobId"]
    other = "b" + "0" * 64
    answer = await jmap.call("Blob/copy", fromAccountId=jmap.account, blobIds=[blob, other])
    assert answer["copied"] == {blob: blob}
    assert answer["notCopied"] == {other: {"type": "notFound"}}
    assert await jmap.fails("Blob/copy", fromAccountId="a99999", blobIds=[blob]) == "fromAccountNotFound"
    await account("eve@example.org", "correct horse")
    eve = await served.client("eve@example.org")
    stolen = await eve.call("Blob/copy", fromAccountId=eve.account, blobIds=[blob])
    assert stolen["notCopied"] == {blob: {"type": "notFound"}}


async def test_without_a_secret_nothing_encrypted_is_pushed(jmap: Any) -> None:
    capability = "urn:ietf:params:jmap:webpush-vapid"
    assert capability not in jmap.session["capabilities"]
    reply = await jmap.post({"using": [capability], "methodCalls": []})
    assert reply.json["type"] == "urn:ietf:params:jmap:error:unknownCapability"
    keys = {
        "p256dh": "BOtBVgsHVWXzwhDAoFE8P2IgQvabz_tuJjIlNacmS3XZ3fRDuVWiBp8bPR3vHCA78edquclcXXYb-olcj3QtIZ4",
        "auth": "A" * 22,
    }
    new = {"deviceClientId": "d", "url": "https://push.example.net/", "keys": keys}
    _, answer = await jmap.bare("PushSubscription/set", create={"k": new})
    assert answer["notCreated"]["k"]["type"] == "forbidden"
