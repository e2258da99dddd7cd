"""Drafts and submissions over real HTTP: composing, checks, local delivery, the queue, what follows a success."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from posthorn_model.events import QueueDue
from posthorn_model.queue_items import RecipientState
from posthorn_storage import AccountRecord

pytestmark = pytest.mark.postgres

PASSWORD = "correct horse"


@pytest_asyncio.fixture
async def bob(account: Callable[..., Awaitable[AccountRecord]]) -> AccountRecord:
    return await account("bob@example.org", PASSWORD)


async def draft(jmap: Any, **more: Any) -> dict[str, Any]:
    return {
        "mailboxIds": {(await jmap.boxes())["drafts"]: True},
        "keywords": {"$draft": True, "$seen": True},
        "from": [{"name": "Ann Example", "email": "ann@example.org"}],
        "to": [{"email": "bob@example.org"}],
        "subject": "Plan für morgen",
        "bodyValues": {"t": {"value": "Wie besprochen.\n"}},
        "textBody": [{"partId": "t", "type": "text/plain"}],
        **more,
    }


async def create(jmap: Any, **more: Any) -> dict[str, Any]:
    answer = await jmap.call("Email/set", create={"d": await draft(jmap, **more)})
    assert answer["notCreated"] is None, answer
    found: dict[str, Any] = answer["created"]["d"]
    return found


async def refused(jmap: Any, **more: Any) -> dict[str, Any]:
    answer = await jmap.call("Email/set", create={"d": await draft(jmap, **more)})
    assert answer["created"] is None
    found: dict[str, Any] = answer["notCreated"]["d"]
    return found


async def test_a_draft_is_made_of_its_parts(jmap: Any) -> None:
    image = (await jmap.upload(b"\x89PNG\r\n\x1a\n\x00", "image/png"))["blobId"]
    notes = (await jmap.upload(bytes(range(256)), "application/octet-stream"))["blobId"]
    made = await create(
        jmap,
        bodyValues={"t": {"value": "Wie besprochen.\n"}, "h": {"value": "<p>Bild: <img src='cid:i@x'></p>"}},
        htmlBody=[{"partId": "h", "type": "text/html"}],
        attachments=[
            {"blobId": image, "type": "image/png", "cid": "i@x", "disposition": "inline"},
            {"blobId": notes, "type": "application/octet-stream", "name": "Übersicht.bin"},
        ],
        **{"header:X-Colour:asText": "grün", "inReplyTo": ["one@example.net"]},
    )
    assert set(made) == {"id", "blobId", "threadId", "size"}
    email = await jmap.email(
        made["id"],
        properties=[
            "keywords",
            "from",
            "to",
            "subject",
            "inReplyTo",
            "messageId",
            "sentAt",
            "hasAttachment",
            "header:X-Colour:asText",
            "bodyStructure",
            "bodyValues",
            "attachments",
        ],
        bodyProperties=["type", "name", "disposition", "cid", "blobId", "size"],
        fetchAllBodyValues=True,
    )
    assert email["keywords"] == {"$draft": True, "$seen": True}
    assert email["from"] == [{"name": "Ann Example", "email": "ann@example.org"}]
    assert email["to"] == [{"name": None, "email": "bob@example.org"}]
    assert (email["subject"], email["inReplyTo"]) == ("Plan für morgen", ["one@example.net"])
    assert email["messageId"][0].endswith("@mail.example.org")
    assert email["sentAt"] is not None
    assert (email["header:X-Colour:asText"], email["hasAttachment"]) == ("grün", True)
    assert sorted(value["value"] for value in email["bodyValues"].values()) == [
        "<p>Bild: <img src='cid:i@x'></p>",
        "Wie besprochen.\n",
    ]
    shown = {part["name"] or part["cid"]: part for part in email["attachments"]}
    assert shown["Übersicht.bin"]["disposition"] == "attachment"
    assert (await jmap.download(shown["Übersicht.bin"]["blobId"])).body == bytes(range(256))
    assert (await jmap.download(shown["i@x"]["blobId"])).body == b"\x89PNG\r\n\x1a\n\x00"
    raw = (await jmap.download(made["blobId"])).body
    assert len(raw) == made["size"]
    assert not re.search(rb"(?<!\r)\n", raw)


async def test_a_draft_by_body_structure(jmap: Any) -> None:
    made = await create(
        jmap,
        textBody=None,
        bodyStructure={
            "type": "multipart/alternative",
            "subParts": [
                {"partId": "t", "type": "text/plain", "language": ["de"], "header:X-Part": "yes"},
                {"partId": "h", "type": "text/html"},
            ],
        },
        bodyValues={"t": {"value": "eins"}, "h": {"value": "<i>eins</i>"}},
    )
    email = await jmap.email(
        made["id"], properties=["bodyStructure"], bodyProperties=["type", "language", "header:X-Part:asText"]
    )
    assert email["bodyStructure"]["type"] == "multipart/alternative"
    assert email["bodyStructure"]["subParts"] == [
        {"type": "text/plain", "language": ["de"], "header:X-Part:asText": "yes"},
        {"type": "text/html", "language": None, "header:X-Part:asText": None},
    ]


async def test_drafts_that_cannot_be_made(serve: Any, jmap: Any) -> None:
    missing = "b" + "0" * 64
    error = await refused(jmap, attachments=[{"blobId": missing, "type": "image/png"}])
    assert (error["type"], error["notFound"]) == ("blobNotFound", [missing])
    assert (await refused(jmap, mailboxIds={}))["properties"] == ["mailboxIds"]
    assert (await refused(jmap, mailboxIds={"m99999": True}))["properties"] == ["mailboxIds"]
    assert (await refused(jmap, keywords={"a b": True}))["properties"] == ["keywords"]
    assert (await refused(jmap, receivedAt="now"))["properties"] == ["receivedAt"]
    assert (await refused(jmap, preview="x"))["properties"] == ["preview"]
    blob = (await jmap.upload(b"x" * 2000, "image/png"))["blobId"]
    small = await (await serve(max_size_attachments=1000)).client()
    assert (await refused(small, attachments=[{"blobId": blob, "type": "image/png"}]))["type"] == "tooLarge"


async def identity(jmap: Any) -> str:
    found: str = (await jmap.call("Identity/get", ids=None))["list"][0]["id"]
    return found


async def submission(jmap: Any, email: str, **more: Any) -> dict[str, Any]:
    return {"emailId": email, "identityId": await identity(jmap), **more}


async def send(jmap: Any, email: str, **more: Any) -> dict[str, Any]:
    answer = await jmap.call("EmailSubmission/set", create={"s": await submission(jmap, email, **more)})
    assert answer["notCreated"] is None, answer
    found: dict[str, Any] = answer["created"]["s"]
    return found


async def unsent(jmap: Any, email: str, **more: Any) -> dict[str, Any]:
    answer = await jmap.call("EmailSubmission/set", create={"s": await submission(jmap, email, **more)})
    assert answer["created"] is None
    found: dict[str, Any] = answer["notCreated"]["s"]
    return found


async def test_written_sent_and_filed_in_one_request(jmap: Any, bob: AccountRecord, served: Any) -> None:
    boxes = await jmap.boxes()
    blind = [{"email": "bob@example.org"}, {"email": "karl@outside.example"}]
    wanted = await draft(jmap, to=[{"name": "All", "email": "ann@example.org"}], bcc=blind)
    filed = {f"mailboxIds/{boxes['drafts']}": None, f"mailboxIds/{boxes['sent']}": True, "keywords/$draft": None}
    answers = await jmap.calls(
        ("Email/set", {"create": {"d": wanted}}),
        (
            "EmailSubmission/set",
            {"create": {"s": await submission(jmap, "#d")}, "onSuccessUpdateEmail": {"#s": filed}},
        ),
        ("Email/query", {"filter": {"inMailbox": boxes["sent"]}}),
    )
    assert [(name, call) for name, _, call in answers] == [
        ("Email/set", "c0"),
        ("EmailSubmission/set", "c1"),
        ("Email/set", "c1"),
        ("Email/query", "c2"),
    ]
    email = answers[0][1]["created"]["d"]["id"]
    made = answers[1][1]["created"]["s"]
    assert answers[2][1]["updated"] == {email: None}
    assert answers[3][1]["ids"] == [email]
    assert (await jmap.email(email, properties=["keywords"]))["keywords"] == {"$seen": True}
    assert (await jmap.email(email, properties=["bcc"]))["bcc"] is not None

    read = await jmap.call("EmailSubmission/get", ids=[made["id"]])
    (shown,) = read["list"]
    assert shown["envelope"] == {
        "mailFrom": {"email": "ann@example.org", "parameters": None},
        "rcptTo": [
            {"email": address, "parameters": None}
            for address in ("ann@example.org", "bob@example.org", "karl@outside.example")
        ],
    }
    assert (shown["emailId"], shown["undoStatus"], shown["dsnBlobIds"]) == (email, "final", [])
    assert {address: status["delivered"] for address, status in shown["deliveryStatus"].items()} == {
        "ann@example.org": "yes",
        "bob@example.org": "yes",
        "karl@outside.example": "queued",
    }

    theirs = await served.client("bob@example.org")
    (arrived,) = (await theirs.call("Email/get", ids=None))["list"]
    raw = (await theirs.download(arrived["blobId"])).body
    assert arrived["subject"] == "Plan für morgen"
    assert raw.startswith(b"Return-Path: <ann@example.org>\r\nReceived: by mail.example.org (Posthorn) with HTTP;")
    assert b"karl@outside" not in raw
    assert b"Bcc" not in raw

    (queued,) = await served.storage.queue.messages()
    assert (queued.sender, f"a{queued.account}") == ("ann@example.org", jmap.account)
    assert await served.storage._database.fetchval("SELECT signing_domain FROM queue_message") == "example.org"
    assert [(to.address, to.site, to.state) for to in queued.recipients] == [
        ("karl@outside.example", "outside.example", RecipientState.WAITING)
    ]
    outgoing = await served.storage.queue.message_blob(queued.id)
    assert raw == b"Return-Path: <ann@example.org>\r\n" + outgoing
    assert served.events == [QueueDue(served.storage.queue.shard_of("outside.example"))]


async def test_an_envelope_of_its_own_and_destroy_on_success(jmap: Any, bob: AccountRecord, served: Any) -> None:
    made = await create(jmap, to=[{"email": "nobody@outside.example"}])
    to = [{"email": "bob@example.org"}, {"email": "bob@example.org", "parameters": None}]
    envelope = {"mailFrom": {"email": "ann+tag@example.org"}, "rcptTo": to}
    answers = await jmap.calls(
        (
            "EmailSubmission/set",
            {
                "create": {"s": await submission(jmap, made["id"], envelope=envelope)},
                "onSuccessDestroyEmail": ["#s"],
            },
        ),
    )
    assert answers[0][1]["created"]["s"]["envelope"]["rcptTo"] == [{"email": "bob@example.org", "parameters": None}]
    assert (answers[1][0], answers[1][1]["destroyed"]) == ("Email/set", [made["id"]])
    assert await served.storage.queue.messages() == []
    theirs = await served.client("bob@example.org")
    assert (await theirs.call("Email/query"))["ids"] != []


async def test_submissions_that_are_refused(serve: Any, jmap: Any, bob: AccountRecord, served: Any) -> None:
    made = await create(jmap)
    email = made["id"]

    async def kind(**more: Any) -> str:
        return str((await unsent(jmap, email, **more))["type"])

    def envelope(sender: str, *to: str) -> dict[str, Any]:
        return {"mailFrom": {"email": sender}, "rcptTo": [{"email": address} for address in to]}

    assert await kind(envelope=envelope("bob@example.org", "bob@example.org")) == "forbiddenMailFrom"
    assert await kind(envelope=envelope("", "bob@example.org")) == "forbiddenMailFrom"
    assert await kind(envelope=envelope("ann@example.org")) == "noRecipients"
    wrong = await unsent(jmap, email, envelope=envelope("ann@example.org", "a b@c", "x@outside.example", "<y@z>"))
    assert (wrong["type"], wrong["invalidRecipients"]) == ("invalidRecipients", ["a b@c", "<y@z>"])
    unknown = await unsent(jmap, email, envelope=envelope("ann@example.org", "bob@example.org", "no@example.org"))
    assert (unknown["type"], unknown["invalidRecipients"]) == ("invalidRecipients", ["no@example.org"])
    asks = {"mailFrom": {"email": "ann@example.org", "parameters": {"HOLDFOR": "60"}}, "rcptTo": []}
    for name, value in (
        ("envelope", asks),
        ("envelope", {"mailFrom": None, "rcptTo": []}),
        ("envelope", []),
        ("identityId", "i99999"),
        ("emailId", "e99999"),
        ("emailId", 7),
        ("sendAt", "2030-01-01T00:00:00Z"),
        ("undoStatus", "canceled"),
        ("colour", "blue"),
    ):
        error = await unsent(jmap, email, **{name: value})
        assert (error["type"], error["properties"]) == ("invalidProperties", [name])
    other = await create(jmap, **{"from": [{"email": "bob@example.org"}]})
    assert (await unsent(jmap, other["id"]))["type"] == "forbiddenFrom"
    two = await create(jmap, **{"from": [{"email": "ann@example.org"}, {"email": "ann+two@example.org"}]})
    assert (await unsent(jmap, two["id"]))["type"] == "invalidEmail"
    nobody = await create(jmap, to=None)
    assert (await unsent(jmap, nobody["id"]))["type"] == "noRecipients"
    zero = await jmap.add(b"From: ann@example.org\r\nTo: bob@example.org\r\n\r\nwith \0 in it\r\n")
    assert (await unsent(jmap, zero["id"]))["type"] == "invalidEmail"
    small = await (await serve(max_message_size=100, max_recipients=1)).client()
    assert (await unsent(small, email))["maxSize"] == 100
    few = await (await serve(max_recipients=1)).client()
    many = await unsent(few, email, envelope=envelope("ann@example.org", "bob@example.org", "karl@outside.example"))
    assert (many["type"], many["maxRecipients"]) == ("tooManyRecipients", 1)

    theirs = await served.client("bob@example.org")
    assert (await theirs.call("Email/query"))["ids"] == []
    assert await served.storage.queue.messages() == []
    assert (await jmap.call("EmailSubmission/get", ids=None))["list"] == []


async def test_a_full_mailbox_does_not_keep_others_waiting(
    jmap: Any, bob: AccountRecord, served: Any, account: Any
) -> None:
    await account("cyd@example.org", PASSWORD, quota=10)
    made = await create(jmap, to=[{"email": "bob@example.org"}, {"email": "cyd@example.org"}])
    sent = await send(jmap, made["id"])
    (shown,) = (await jmap.call("EmailSubmission/get", ids=[sent["id"]]))["list"]
    assert {address: status["delivered"] for address, status in shown["deliveryStatus"].items()} == {
        "bob@example.org": "yes",
        "cyd@example.org": "queued",
    }
    (queued,) = await served.storage.queue.messages()
    assert [(to.address, to.site) for to in queued.recipients] == [("cyd@example.org", "local")]


async def test_submissions_are_found_changed_and_forgotten(jmap: Any, bob: AccountRecord) -> None:
    start = (await jmap.call("EmailSubmission/get", ids=[]))["state"]
    first, second = await create(jmap), await create(jmap, subject="zwei")
    one, two = await send(jmap, first["id"]), await send(jmap, second["id"])
    changes = await jmap.call("EmailSubmission/changes", sinceState=start)
    assert (changes["created"], changes["destroyed"]) == ([one["id"], two["id"]], [])

    async def ids(**arguments: Any) -> list[str]:
        found: list[str] = (await jmap.call("EmailSubmission/query", **arguments))["ids"]
        return found

    newest = [{"property": "sentAt", "isAscending": False}]
    assert await ids(sort=newest) == [two["id"], one["id"]]
    assert await ids(filter={"emailIds": [second["id"]]}) == [two["id"]]
    assert await ids(filter={"threadIds": [first["threadId"]], "undoStatus": "final"}) == [one["id"]]
    assert await ids(filter={"undoStatus": "pending"}) == []
    assert await ids(filter={"identityIds": ["i99999"]}) == []
    assert await ids(filter={"before": "2001-01-01T00:00:00Z"}) == []
    assert await ids(filter={"after": "2001-01-01T00:00:00Z"}, limit=1) == [one["id"]]
    assert await jmap.fails("EmailSubmission/query", filter={"colour": 1}) == "unsupportedFilter"
    assert await jmap.fails("EmailSubmission/query", sort=[{"property": "colour"}]) == "unsupportedSort"
    assert await jmap.fails("EmailSubmission/queryChanges", sinceQueryState="1") == "cannotCalculateChanges"

    answer = await jmap.call(
        "EmailSubmission/set",
        update={one["id"]: {"undoStatus": "canceled"}, two["id"]: {"emailId": "e1"}, "s99999": {"undoStatus": "final"}},
        destroy=[two["id"], "s99998"],
    )
    assert {key: error["type"] for key, error in answer["notUpdated"].items()} == {
        one["id"]: "cannotUnsend",
        two["id"]: "invalidProperties",
        "s99999": "notFound",
    }
    assert answer["destroyed"] == [two["id"]]
    assert answer["notDestroyed"]["s99998"]["type"] == "notFound"
    changes = await jmap.call("EmailSubmission/changes", sinceState=changes["newState"])
    assert changes["destroyed"] == [two["id"]]
    shown = await jmap.call("EmailSubmission/get", ids=None, properties=["emailId"])
    assert shown["list"] == [{"id": one["id"], "emailId": first["id"]}]


async def test_identities(jmap: Any, served: Any) -> None:
    await served.storage.directory.add_alias("sales@example.org", "ann@example.org")
    (own,) = (await jmap.call("Identity/get", ids=None))["list"]
    assert (own["email"], own["mayDelete"], own["replyTo"]) == ("ann@example.org", False, None)
    answer = await jmap.call(
        "Identity/set",
        create={
            "a": {"name": "Sales", "email": "sales@example.org", "replyTo": [{"name": None, "email": "r@example.org"}]},
            "b": {"name": "Bob", "email": "bob@example.org"},
            "c": {"email": "ann@example.org", "colour": 1},
        },
        update={own["id"]: {"textSignature": "-- \nAnn"}, "i99999": {}},
        destroy=["i99998"],
    )
    made = answer["created"]["a"]
    assert made["mayDelete"] is True
    assert {key: error["type"] for key, error in answer["notCreated"].items()} == {
        "b": "forbiddenFrom",
        "c": "invalidProperties",
    }
    assert (answer["updated"], answer["notUpdated"]["i99999"]["type"]) == ({own["id"]: None}, "notFound")
    assert answer["notDestroyed"]["i99998"]["type"] == "notFound"
    changed = await jmap.call("Identity/changes", sinceState=answer["oldState"])
    assert (changed["created"], changed["updated"]) == ([made["id"]], [own["id"]])
    found = await jmap.call("Identity/get", ids=[own["id"], made["id"]], properties=["textSignature", "replyTo"])
    assert {one["id"]: one["textSignature"] for one in found["list"]} == {own["id"]: "-- \nAnn", made["id"]: ""}
    gone = await jmap.call("Identity/set", destroy=[made["id"], own["id"]])
    assert gone["destroyed"] == [made["id"]]
    assert gone["notDestroyed"][own["id"]]["type"] == "forbidden"


async def test_what_leads_further_is_left_to_the_queue(jmap: Any, bob: AccountRecord, served: Any) -> None:
    put = served.storage.distributions.put
    await put("group", "team@example.org", ["bob@example.org", "ann@example.org"])
    await put("group", "wide@example.org", ["bob@example.org", "eve@example.net"])
    await put("list", "news@example.org", ["bob@example.org"], owner="bob@example.org")
    to = [{"email": f"{name}@example.org"} for name in ("team", "wide", "news")]
    sent = await send(jmap, (await create(jmap, to=to))["id"])
    (shown,) = (await jmap.call("EmailSubmission/get", ids=[sent["id"]]))["list"]
    assert {address: status["delivered"] for address, status in shown["deliveryStatus"].items()} == {
        "team@example.org": "yes",
        "wide@example.org": "queued",
        "news@example.org": "queued",
    }
    (queued,) = await served.storage.queue.messages()
    assert {(to.address, to.site) for to in queued.recipients} == {
        ("wide@example.org", "local"),
        ("news@example.org", "local"),
    }


async def test_what_a_script_is_to_see_is_left_to_the_queue(jmap: Any, bob: AccountRecord, served: Any) -> None:
    await served.storage.sieve.put(bob.id, "main", "discard;")
    await served.storage.sieve.activate(bob.id, "main")
    to = [{"email": "bob@example.org"}, {"email": "ann@example.org"}]
    sent = await send(jmap, (await create(jmap, to=to))["id"])
    (shown,) = (await jmap.call("EmailSubmission/get", ids=[sent["id"]]))["list"]
    assert {address: status["delivered"] for address, status in shown["deliveryStatus"].items()} == {
        "bob@example.org": "queued",
        "ann@example.org": "yes",
    }
    (queued,) = await served.storage.queue.messages()
    assert [(to.address, to.site) for to in queued.recipients] == [("bob@example.org", "local")]
