"""Emails over real HTTP: import, get, parts, query, set, changes, parse, snippets."""

from typing import Any

import pytest

pytestmark = pytest.mark.postgres

MIXED = b"""\
From: =?UTF-8?Q?B=C3=B6b?= <bob@example.net>
To: Friends: ann@example.org, "C, D" <cd@example.org>;
Cc: eve@example.org
Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=
Date: Mon, 05 Jan 2026 10:00:00 +0100
Message-ID: <mixed@example.net>
References: <one@example.net> <two@example.net>
List-Post: <mailto:list@example.net>
X-Twice: one
X-Twice: two
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Sch=C3=B6ne Gr=C3=BC=C3=9Fe aus Bonn
--inner
Content-Type: text/html; charset=utf-8

<p>Hello <b>world</b></p>
--inner--
--outer
Content-Type: image/png; name="dot.png"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="dot.png"
Content-ID: <dot@example.net>
X-Part: yes

iVBORw0KGgo=
--outer
Content-Type: message/rfc822

Subject: inside

inner text
--outer--
""".replace(b"\n", b"\r\n")


async def test_an_imported_email_has_every_property(jmap: Any) -> None:
    made = await jmap.add(keywords={"$seen": True, "Work": True}, receivedAt="2026-01-05T09:00:01Z")
    email = await jmap.email(made["id"])
    assert set(made) == {"id", "blobId", "threadId", "size"}
    assert email == {
        "id": made["id"],
        "blobId": made["blobId"],
        "threadId": made["threadId"],
        "mailboxIds": {(await jmap.boxes())["inbox"]: True},
        "keywords": {"$seen": True, "work": True},
        "size": made["size"],
        "receivedAt": "2026-01-05T09:00:01Z",
        "messageId": ["one@example.net"],
        "inReplyTo": None,
        "references": None,
        "sender": None,
        "from": [{"name": "Bob", "email": "bob@example.net"}],
        "to": [{"name": "Ann", "email": "ann@example.org"}],
        "cc": None,
        "bcc": None,
        "replyTo": None,
        "subject": "Greetings",
        "sentAt": "2026-01-05T10:00:00+01:00",
        "hasAttachment": False,
        "preview": "Good morning.",
        "bodyValues": {},
        "textBody": [email["textBody"][0]],
        "htmlBody": email["textBody"],
        "attachments": [],
    }
    assert email["textBody"][0] == {
        "partId": "1",
        "blobId": email["textBody"][0]["blobId"],
        "size": len(b"Good morning.\r\n"),
        "name": None,
        "type": "text/plain",
        "charset": "us-ascii",
        "disposition": None,
        "cid": None,
        "language": None,
        "location": None,
    }


async def test_bodies_parts_and_values(jmap: Any) -> None:
    made = await jmap.add(MIXED)
    email = await jmap.email(
        made["id"],
        properties=["bodyStructure", "textBody", "htmlBody", "attachments", "bodyValues", "hasAttachment"],
        bodyProperties=["partId", "blobId", "type", "name", "cid", "size", "header:X-Part:asText", "subParts"],
        fetchAllBodyValues=True,
    )
    assert email["id"] == made["id"]
    structure = email["bodyStructure"]
    assert (structure["type"], structure["partId"], structure["blobId"]) == ("multipart/mixed", None, None)
    alternative, png, message = structure["subParts"]
    assert [part["partId"] for part in alternative["subParts"]] == ["1.1", "1.2"]
    assert (png["partId"], png["type"], png["name"], png["cid"]) == ("2", "image/png", "dot.png", "dot@example.net")
    assert (png["size"], png["header:X-Part:asText"], png["subParts"]) == (8, "yes", None)
    assert (message["partId"], message["type"]) == ("3", "message/rfc822")
    assert [part["partId"] for part in email["textBody"]] == ["1.1"]
    assert [part["partId"] for part in email["htmlBody"]] == ["1.2"]
    assert [part["partId"] for part in email["attachments"]] == ["2", "3"]
    assert email["hasAttachment"] is True
    assert email["bodyValues"] == {
        "1.1": {"value": "Schöne Grüße aus Bonn", "isEncodingProblem": False, "isTruncated": False},
        "1.2": {"value": "<p>Hello <b>world</b></p>", "isEncodingProblem": False, "isTruncated": False},
    }
    downloaded = await jmap.download(png["blobId"], "dot.png", "image/png")
    assert (downloaded.status, downloaded.body) == (200, b"\x89PNG\r\n\x1a\n")
    assert downloaded.headers["content-type"] == "image/png"
    assert (await jmap.download(email["textBody"][0]["blobId"])).body.decode() == "Schöne Grüße aus Bonn"
    assert (await jmap.download(made["blobId"])).body == MIXED


async def test_body_values_are_cut_between_characters_and_outside_tags(jmap: Any) -> None:
    made = await jmap.add(MIXED)

    async def values(limit: int) -> dict[str, Any]:
        email = await jmap.email(
            made["id"],
            properties=["bodyValues"],
            fetchTextBodyValues=True,
            fetchHTMLBodyValues=True,
            maxBodyValueBytes=limit,
        )
        found: dict[str, Any] = email["bodyValues"]
        return found

    cut = await values(4)
    assert cut["1.1"] == {"value": "Sch", "isEncodingProblem": False, "isTruncated": True}
    assert cut["1.2"] == {"value": "<p>H", "isEncodingProblem": False, "isTruncated": True}
    assert (await values(10))["1.2"]["value"] == "<p>Hello "
    only_text = await jmap.email(made["id"], properties=["bodyValues"], fetchTextBodyValues=True)
    assert set(only_text["bodyValues"]) == {"1.1"}


async def test_a_damaged_text_is_told(jmap: Any) -> None:
    made = await jmap.add(b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbad \xff byte\r\n")
    email = await jmap.email(made["id"], properties=["bodyValues"], fetchAllBodyValues=True)
    assert email["bodyValues"]["1"]["isEncodingProblem"] is True
    assert email["bodyValues"]["1"]["value"].startswith("bad ")


async def test_header_properties(jmap: Any) -> None:
    made = await jmap.add(MIXED)
    asked = [
        "header:subject:asText",
        "header:Subject",
        "header:X-Twice:asText",
        "header:X-Twice:asText:all",
        "header:X-None",
        "header:X-None:all",
        "header:To:asGroupedAddresses",
        "header:From:asAddresses",
        "header:References:asMessageIds",
        "header:Date:asDate",
        "header:List-Post:asURLs",
        "headers",
    ]
    email = await jmap.email(made["id"], properties=asked)
    assert email.pop("headers")[0] == {"name": "From", "value": " =?UTF-8?Q?B=C3=B6b?= <bob@example.net>"}
    assert email == {
        "id": made["id"],
        "header:subject:asText": "Grüße",
        "header:Subject": " =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=",
        "header:X-Twice:asText": "two",
        "header:X-Twice:asText:all": ["one", "two"],
        "header:X-None": None,
        "header:X-None:all": [],
        "header:To:asGroupedAddresses": [
            {
                "name": "Friends",
                "addresses": [
                    {"name": None, "email": "ann@example.org"},
                    {"name": "C, D", "email": "cd@example.org"},
                ],
            }
        ],
        "header:From:asAddresses": [{"name": "Böb", "email": "bob@example.net"}],
        "header:References:asMessageIds": ["one@example.net", "two@example.net"],
        "header:Date:asDate": "2026-01-05T10:00:00+01:00",
        "header:List-Post:asURLs": ["mailto:list@example.net"],
    }
    for wrong in ("header:From:asDate", "header:X Y", "header:Subject:asNothing", "colour", "header:Date:all:asDate"):
        assert await jmap.fails("Email/get", ids=[made["id"]], properties=[wrong]) == "invalidArguments"


async def test_listing_touches_no_blob(jmap: Any, served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await jmap.add(MIXED)

    async def read(*_: Any) -> bytes:
        raise AssertionError("a blob was read")

    monkeypatch.setattr(type(served.storage.blobs), "read_range", read)
    monkeypatch.setattr(type(served.storage.blobs), "read", read)
    email = await jmap.email(made["id"], properties=None)
    assert email["subject"] == "Grüße"
    assert (await jmap.email(made["id"], properties=["bodyStructure", "header:List-Post"]))["header:List-Post"]


async def test_a_long_header_is_read_whole(jmap: Any) -> None:
    many = b"".join(b"X-Pad-%d: %s\r\n" % (number, b"p" * 200) for number in range(200))
    made = await jmap.add(b"Subject: long\r\n" + many + b"X-Last: here\r\n\r\nbody\r\n")
    email = await jmap.email(made["id"], properties=["header:X-Last:asText", "headers"])
    assert email["header:X-Last:asText"] == "here"
    assert len(email["headers"]) == 202


async def test_unknown_ids_and_too_many(serve: Any, jmap: Any) -> None:
    made = await jmap.add()
    answer = await jmap.call("Email/get", ids=[made["id"], "e999999999", "nonsense", "m1"], properties=["id"])
    assert [email["id"] for email in answer["list"]] == [made["id"]]
    assert answer["notFound"] == ["e999999999", "nonsense", "m1"]
    assert [email["id"] for email in (await jmap.call("Email/get", ids=None))["list"]] == [made["id"]]
    await jmap.add(MIXED)
    small = await (await serve(max_objects_in_get=1, max_objects_in_set=1)).client()
    assert await small.fails("Email/get", ids=["e1", "e2"]) == "requestTooLarge"
    assert await small.fails("Email/get", ids=None) == "requestTooLarge"
    assert await small.fails("Email/set", destroy=["e1", "e2"]) == "requestTooLarge"
    assert await small.fails("Email/import", emails={"a": {}, "b": {}}) == "requestTooLarge"


async def test_query_filters_sorts_and_windows(jmap: Any) -> None:
    first = await jmap.add(receivedAt="2026-01-01T00:00:00Z", keywords={"$seen": True})
    second = await jmap.add(MIXED, receivedAt="2026-01-02T00:00:00Z")
    third = await jmap.add(b"Subject: Zebra\r\nFrom: zoe@example.net\r\n\r\nstripes\r\n", role="archive")

    async def ids(**arguments: Any) -> list[str]:
        found: list[str] = (await jmap.call("Email/query", **arguments))["ids"]
        return found

    by_date = [{"property": "receivedAt", "isAscending": False}]
    everything = [third["id"], second["id"], first["id"]]
    assert await ids(sort=by_date) == everything
    assert await ids(sort=[{"property": "subject"}]) == [first["id"], second["id"], third["id"]]
    assert await ids(filter={"text": "stripes"}) == [third["id"]]
    assert await ids(filter={"from": "BOB@"}, sort=by_date) == [second["id"], first["id"]]
    assert await ids(filter={"subject": "grüße"}) == [second["id"]]
    assert await ids(filter={"hasKeyword": "$seen"}) == [first["id"]]
    assert await ids(filter={"notKeyword": "$seen"}, sort=by_date) == [third["id"], second["id"]]
    assert await ids(filter={"hasAttachment": True}) == [second["id"]]
    assert await ids(filter={"inMailbox": (await jmap.boxes())["archive"]}) == [third["id"]]
    assert await ids(filter={"before": "2026-01-02T00:00:00Z"}) == [first["id"]]
    assert await ids(filter={"header": ["X-Colour", "blu"]}) == [first["id"]]
    assert await ids(filter={"header": ["X-Twice"]}) == [second["id"]]
    either = {"operator": "OR", "conditions": [{"header": ["x-colour"]}, {"text": "stripes"}]}
    assert await ids(filter=either, sort=by_date) == [third["id"], first["id"]]
    neither = {"operator": "NOT", "conditions": [{"header": ["x-colour"]}, {"text": "stripes"}]}
    assert await ids(filter=neither) == [second["id"]]
    assert await ids(sort=by_date, position=1, limit=1) == [second["id"]]
    assert await ids(sort=by_date, position=-1) == [first["id"]]
    assert await ids(sort=by_date, anchor=second["id"], anchorOffset=-1) == everything
    answer = await jmap.call("Email/query", sort=by_date, limit=1, calculateTotal=True)
    assert (answer["total"], answer["position"], answer["canCalculateChanges"]) == (3, 0, False)
    assert await jmap.fails("Email/query", anchor="e99999") == "anchorNotFound"
    assert await jmap.fails("Email/query", filter={"colour": "blue"}) == "unsupportedFilter"
    assert await jmap.fails("Email/query", sort=[{"property": "colour"}]) == "unsupportedSort"
    assert await jmap.fails("Email/query", limit=-1) == "invalidArguments"
    assert await jmap.fails("Email/queryChanges", sinceQueryState="1") == "cannotCalculateChanges"


async def test_text_is_looked_for_by_words(jmap: Any) -> None:
    """RFC 8621 4.4.1: all tokens, in other forms too; a phrase in quotes; within each field; not by parts of words."""
    body = b'The harbours were closed on Monday, he said "never again".\r\n'
    made = await jmap.add(b"Subject: Strike\r\nFrom: Zo\xc3\xab <zoe@example.net>\r\n\r\n" + body)
    other = await jmap.add(b"Subject: Monday harbour\r\n\r\nNothing was closed.\r\n")

    async def ids(filter_: dict[str, Any]) -> set[str]:
        return set((await jmap.call("Email/query", filter=filter_))["ids"])

    both = {made["id"], other["id"]}
    assert await ids({"text": "harbour monday"}) == both
    assert await ids({"body": "closing harbor*"}) == set()
    assert await ids({"body": "closing harbours"}) == {made["id"]}
    assert await ids({"text": '"harbours were closed"'}) == {made["id"]}
    assert await ids({"text": "'closed on monday' strike"}) == {made["id"]}
    assert await ids({"text": r'"said \"never again\""'}) == {made["id"]}
    assert await ids({"text": '"monday harbour"'}) == {other["id"]}
    assert await ids({"text": "arbour"}) == set()
    assert await ids({"text": "harb*"}) == both
    assert await ids({"from": "zoe"}) == {made["id"]}
    assert await ids({"operator": "NOT", "conditions": [{"text": "strike"}]}) == {other["id"]}
    assert await jmap.fails("Email/query", filter={"text": "x" * 1001}) == "invalidArguments"
    found = await jmap.call("SearchSnippet/get", filter={"text": "closing harbour"}, emailIds=[made["id"]])
    assert found["list"][0]["preview"].startswith("The <mark>harbours</mark> were <mark>closed</mark> on Monday")


async def test_query_collapses_threads(jmap: Any) -> None:
    first = await jmap.add(receivedAt="2026-01-01T00:00:00Z")
    reply = b"Subject: Re: Greetings\r\nIn-Reply-To: <one@example.net>\r\nX-Colour: red\r\n\r\nThanks\r\n"
    second = await jmap.add(reply, receivedAt="2026-01-02T00:00:00Z")
    assert first["threadId"] == second["threadId"]
    sort = [{"property": "receivedAt", "isAscending": False}]
    for filter_ in (None, {"header": ["X-Colour"]}):
        found = await jmap.call("Email/query", filter=filter_, sort=sort, collapseThreads=True, calculateTotal=True)
        assert (found["ids"], found["total"]) == ([second["id"]], 1)
    threads = await jmap.call("Thread/get", ids=[first["threadId"], "t99999"])
    assert threads["list"] == [{"id": first["threadId"], "emailIds": [first["id"], second["id"]]}]
    assert threads["notFound"] == ["t99999"]


async def test_update_keywords_and_mailboxes(jmap: Any) -> None:
    made = await jmap.add()
    boxes = await jmap.boxes()
    state = (await jmap.call("Email/get", ids=[]))["state"]
    answer = await jmap.call(
        "Email/set",
        ifInState=state,
        update={
            made["id"]: {"keywords/$flagged": True, f"mailboxIds/{boxes['archive']}": True, "mailboxIds/x": None},
            "e99999": {"keywords": {}},
        },
    )
    assert answer["notUpdated"][made["id"]]["type"] == "invalidProperties"
    assert answer["notUpdated"]["e99999"]["type"] == "notFound"
    answer = await jmap.call(
        "Email/set",
        update={made["id"]: {"keywords/$flagged": True, f"mailboxIds/{boxes['archive']}": True}},
    )
    assert (answer["updated"], answer["notUpdated"]) == ({made["id"]: None}, None)
    email = await jmap.email(made["id"], properties=["keywords", "mailboxIds"])
    assert email["keywords"] == {"$flagged": True}
    assert email["mailboxIds"] == {boxes["inbox"]: True, boxes["archive"]: True}
    await jmap.call("Email/set", update={made["id"]: {"keywords": {}, "mailboxIds": {boxes["trash"]: True}}})
    email = await jmap.email(made["id"], properties=["keywords", "mailboxIds"])
    assert (email["keywords"], email["mailboxIds"]) == ({}, {boxes["trash"]: True})
    for patch in (
        {"mailboxIds": {"m99999": True}},
        {"mailboxIds/m99999": True},
        {f"mailboxIds/{boxes['trash']}": None},
    ):
        failed = await jmap.call("Email/set", update={made["id"]: patch})
        assert failed["notUpdated"][made["id"]]["properties"] == ["mailboxIds"]
    for patch in ({"subject": "no"}, {"mailboxIds": {}}, {"keywords": {"a b": True}}, {"keywords/x": False}):
        failed = await jmap.call("Email/set", update={made["id"]: patch})
        assert failed["updated"] is None
        assert failed["notUpdated"][made["id"]]["type"] in ("invalidProperties", "invalidPatch")
    assert await jmap.fails("Email/set", ifInState=state, destroy=[made["id"]]) == "stateMismatch"


async def test_changes_tell_what_happened(jmap: Any) -> None:
    start = (await jmap.call("Email/get", ids=[]))["state"]
    made = await jmap.add()
    created = await jmap.call("Email/changes", sinceState=start)
    assert (created["created"], created["updated"], created["destroyed"]) == ([made["id"]], [], [])
    assert created["hasMoreChanges"] is False
    await jmap.call("Email/set", update={made["id"]: {"keywords/$seen": True}})
    updated = await jmap.call("Email/changes", sinceState=created["newState"])
    assert (updated["created"], updated["updated"]) == ([], [made["id"]])
    gone = await jmap.call("Email/set", destroy=[made["id"], "e99999"])
    assert gone["destroyed"] == [made["id"]]
    assert gone["notDestroyed"]["e99999"]["type"] == "notFound"
    destroyed = await jmap.call("Email/changes", sinceState=updated["newState"])
    assert destroyed["destroyed"] == [made["id"]]
    assert (await jmap.call("Thread/changes", sinceState=start))["created"] == []
    assert await jmap.fails("Email/changes", sinceState="nonsense") == "cannotCalculateChanges"
    assert await jmap.fails("Email/changes", sinceState="99999999") == "cannotCalculateChanges"
    assert await jmap.fails("Email/changes") == "invalidArguments"


async def test_import_refuses_one_by_one(jmap: Any) -> None:
    blob = (await jmap.upload(b"\x00not much of a message\xff"))["blobId"]
    inbox = {(await jmap.boxes())["inbox"]: True}
    answer = await jmap.call(
        "Email/import",
        emails={
            "fine": {"blobId": blob, "mailboxIds": inbox},
            "gone": {"blobId": "b" + "0" * 64, "mailboxIds": inbox},
            "none": {"blobId": blob, "mailboxIds": {}},
            "date": {"blobId": blob, "mailboxIds": inbox, "receivedAt": "yesterday"},
            "what": {"blobId": blob, "mailboxIds": inbox, "colour": "blue"},
        },
    )
    assert set(answer["created"]) == {"fine"}
    refused = {key: (error["type"], error["properties"]) for key, error in answer["notCreated"].items()}
    assert refused == {
        "gone": ("invalidProperties", ["blobId"]),
        "none": ("invalidProperties", ["mailboxIds"]),
        "date": ("invalidProperties", ["receivedAt"]),
        "what": ("invalidProperties", ["colour"]),
    }
    made = answer["created"]["fine"]
    assert (await jmap.download(made["blobId"])).body == b"\x00not much of a message\xff"


async def test_copy_knows_no_other_account(jmap: Any) -> None:
    assert await jmap.fails("Email/copy", fromAccountId="a99999", create={}) == "fromAccountNotFound"
    assert await jmap.fails("Email/copy", fromAccountId=jmap.account, create={}) == "invalidArguments"


async def test_parse_looks_at_blobs_and_at_messages_inside(jmap: Any) -> None:
    made = await jmap.add(MIXED)
    email = await jmap.email(made["id"], properties=["attachments"])
    inside = email["attachments"][1]["blobId"]
    picture = (await jmap.upload(b"\x89PNG\r\n\x1a\n", "image/png"))["blobId"]
    answer = await jmap.call(
        "Email/parse",
        blobIds=[inside, made["blobId"], picture, "b" + "1" * 64],
        properties=["id", "blobId", "size", "subject", "bodyValues", "textBody", "keywords"],
        fetchTextBodyValues=True,
    )
    assert answer["notParsable"] == [picture]
    assert answer["notFound"] == ["b" + "1" * 64]
    parsed = answer["parsed"][inside]
    assert (parsed["id"], parsed["keywords"], parsed["subject"]) == (None, None, "inside")
    assert parsed["bodyValues"]["1"]["value"].strip() == "inner text"
    assert (await jmap.download(parsed["textBody"][0]["blobId"])).body.strip() == b"inner text"
    assert answer["parsed"][made["blobId"]]["subject"] == "Grüße"
    assert await jmap.fails("Email/parse") == "invalidArguments"


async def test_snippets_mark_what_matched(jmap: Any) -> None:
    made = await jmap.add(b"Subject: <Fish> & chips\r\n\r\nThe best chips & <peas> of all.\r\n")
    other = await jmap.add(MIXED)
    found = await jmap.call("SearchSnippet/get", filter={"text": "CHIPS"}, emailIds=[made["id"], other["id"], "e99999"])
    assert found["list"] == [
        {
            "emailId": made["id"],
            "subject": "&lt;Fish&gt; &amp; <mark>chips</mark>",
            "preview": "The best <mark>chips</mark> &amp; &lt;peas&gt; of all. ",
        },
        {"emailId": other["id"], "subject": None, "preview": None},
    ]
    assert found["notFound"] == ["e99999"]
    only_body = await jmap.call("SearchSnippet/get", filter={"body": "peas"}, emailIds=[made["id"]])
    assert only_body["list"][0]["subject"] is None
    assert only_body["notFound"] is None
