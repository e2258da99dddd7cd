"""Mailboxes over real HTTP."""

from typing import Any

import pytest

pytestmark = pytest.mark.postgres

PROPERTIES = {
    "id", "name", "parentId", "role", "sortOrder", "totalEmails", "unreadEmails", "totalThreads", "unreadThreads",
    "myRights", "isSubscribed",
}  # fmt: skip
RIGHTS = {
    "mayReadItems", "mayAddItems", "mayRemoveItems", "maySetSeen", "maySetKeywords", "mayCreateChild", "mayRename",
    "mayDelete", "maySubmit",
}  # fmt: skip


async def box(jmap: Any, mailbox: str) -> dict[str, Any]:
    (found,) = (await jmap.call("Mailbox/get", ids=[mailbox]))["list"]
    return dict(found)


async def test_the_default_mailboxes(jmap: Any) -> None:
    answer = await jmap.call("Mailbox/get", ids=None)
    assert {found["role"] for found in answer["list"]} >= {"inbox", "drafts", "sent", "junk", "trash", "archive"}
    for found in answer["list"]:
        assert set(found) == PROPERTIES
        assert set(found["myRights"]) == RIGHTS
        assert found["myRights"]["mayDelete"] is (found["role"] != "inbox")
        assert (found["parentId"], found["totalEmails"], found["unreadThreads"]) == (None, 0, 0)
    narrow = await jmap.call("Mailbox/get", ids=["m99999"], properties=["name"])
    assert (narrow["list"], narrow["notFound"]) == ([], ["m99999"])


async def test_set_makes_trees_and_refuses_what_cannot_be(jmap: Any) -> None:
    boxes = await jmap.boxes()
    answer = await jmap.call(
        "Mailbox/set",
        create={
            "child": {"name": "Child", "parentId": "#top", "isSubscribed": False, "sortOrder": 7},
            "top": {"name": "Top", "parentId": None},
            "nameless": {"parentId": None},
            "twice": {"name": "Inbox2", "role": "inbox"},
            "odd": {"name": "x", "colour": "blue"},
            "orphan": {"name": "y", "parentId": "m99999"},
            "bell": {"name": "a\x07b"},
            "number": {"name": 5},
        },
    )
    assert set(answer["created"]) == {"top", "child"}
    assert {key: (error["type"], *error["properties"]) for key, error in answer["notCreated"].items()} == {
        **dict.fromkeys(("nameless", "bell", "number"), ("invalidProperties", "name")),
        "twice": ("invalidProperties", "name", "role"),
        "odd": ("invalidProperties", "colour"),
        "orphan": ("invalidProperties", "parentId"),
    }
    top, child = answer["created"]["top"]["id"], answer["created"]["child"]["id"]
    shown = await box(jmap, child)
    assert (shown["parentId"], shown["isSubscribed"], shown["sortOrder"]) == (top, False, 7)

    update = await jmap.call(
        "Mailbox/set",
        update={
            child: {"name": "Kind", "isSubscribed": True},
            top: {"parentId": child},
            boxes["archive"]: {"parentId": "m99997"},
            "m99999": {"name": "x"},
        },
        destroy=[top, boxes["inbox"], "m99998"],
    )
    assert update["updated"] == {child: None}
    assert {key: error["type"] for key, error in update["notUpdated"].items()} == {
        top: "invalidProperties",
        boxes["archive"]: "invalidProperties",
        "m99999": "notFound",
    }
    assert {key: error["type"] for key, error in update["notDestroyed"].items()} == {
        top: "mailboxHasChild",
        boxes["inbox"]: "forbidden",
        "m99998": "notFound",
    }
    assert (await box(jmap, child))["name"] == "Kind"


async def test_a_mailbox_with_emails_goes_only_when_told_so(jmap: Any) -> None:
    made = await jmap.call("Mailbox/set", create={"k": {"name": "Full"}})
    mailbox = made["created"]["k"]["id"]
    email = await jmap.add()
    await jmap.call("Email/set", update={email["id"]: {"mailboxIds": {mailbox: True}}})
    kept = await jmap.call("Mailbox/set", destroy=[mailbox])
    assert kept["notDestroyed"][mailbox]["type"] == "mailboxHasEmail"
    gone = await jmap.call("Mailbox/set", destroy=[mailbox], onDestroyRemoveEmails=True)
    assert gone["destroyed"] == [mailbox]
    assert (await jmap.call("Email/query"))["ids"] == []


async def test_counts_of_emails_and_threads(jmap: Any) -> None:
    boxes = await jmap.boxes()
    first = await jmap.add()
    reply = b"Subject: Re: Greetings\r\nIn-Reply-To: <one@example.net>\r\n\r\nThanks\r\n"
    await jmap.add(reply, role="archive", keywords={"$seen": True})
    await jmap.add(b"Subject: unfinished\r\n\r\ndraft\r\n", role="drafts", keywords={"$draft": True})
    await jmap.add(b"Subject: other\r\n\r\nother\r\n")

    async def counts(role: str) -> tuple[int, ...]:
        found = await box(jmap, boxes[role])
        return tuple(found[name] for name in ("totalEmails", "unreadEmails", "totalThreads", "unreadThreads"))

    assert await counts("inbox") == (2, 2, 2, 2)
    # The thread's unread email lies in the inbox, so the thread is unread in the archive too.
    assert await counts("archive") == (1, 0, 1, 1)
    assert await counts("drafts") == (1, 0, 1, 0)
    await jmap.call("Email/set", update={first["id"]: {"mailboxIds": {boxes["trash"]: True}}})
    # What lies in Trash alone makes its thread unread nowhere else (RFC 8621 2).
    assert await counts("archive") == (1, 0, 1, 0)
    assert await counts("trash") == (1, 1, 1, 1)
    await jmap.call("Email/set", update={first["id"]: {"keywords/$seen": True}})
    assert await counts("trash") == (1, 0, 1, 0)


async def test_query(jmap: Any) -> None:
    boxes = await jmap.boxes()
    made = await jmap.call(
        "Mailbox/set",
        create={"a": {"name": "Alpha"}, "b": {"name": "beta", "parentId": "#a"}, "c": {"name": "Gamma"}},
    )
    alpha, beta, gamma = (made["created"][key]["id"] for key in "abc")

    async def ids(**arguments: Any) -> list[str]:
        found: list[str] = (await jmap.call("Mailbox/query", **arguments))["ids"]
        return found

    by_name = [{"property": "name"}]
    assert await ids(filter={"hasAnyRole": False}, sort=by_name) == [alpha, beta, gamma]
    assert await ids(
        filter={"hasAnyRole": False}, sort=[{"property": "name", "isAscending": False}], sortAsTree=True
    ) == [
        gamma,
        alpha,
        beta,
    ]
    assert await ids(filter={"role": "inbox"}) == [boxes["inbox"]]
    assert await ids(filter={"parentId": alpha}) == [beta]
    assert await ids(filter={"name": "ALPH"}) == [alpha]
    assert await ids(filter={"name": "bet"}, filterAsTree=True) == []
    both = {"operator": "OR", "conditions": [{"name": "alpha"}, {"name": "gamma"}]}
    assert await ids(filter=both, sort=by_name, position=1) == [gamma]
    answer = await jmap.call("Mailbox/query", filter=both, limit=1, calculateTotal=True)
    assert (answer["total"], len(answer["ids"])) == (2, 1)
    assert await jmap.fails("Mailbox/query", filter={"colour": 1}) == "unsupportedFilter"
    assert await jmap.fails("Mailbox/query", sort=[{"property": "colour"}]) == "unsupportedSort"
    assert await jmap.fails("Mailbox/queryChanges", sinceQueryState="1") == "cannotCalculateChanges"


async def test_changes_and_counts_only(jmap: Any) -> None:
    state = (await jmap.call("Mailbox/get", ids=[]))["state"]
    inbox = (await jmap.boxes())["inbox"]
    await jmap.add()
    counted = await jmap.call("Mailbox/changes", sinceState=state)
    assert counted["updated"] == [inbox]
    assert counted["updatedProperties"] == ["totalEmails", "unreadEmails", "totalThreads", "unreadThreads"]
    made = await jmap.call("Mailbox/set", create={"k": {"name": "New"}})
    changed = await jmap.call("Mailbox/changes", sinceState=counted["newState"])
    assert changed["created"] == [made["created"]["k"]["id"]]
    assert changed["updatedProperties"] is None
    everything = await jmap.call("Mailbox/changes", sinceState=state, maxChanges=1)
    assert everything["hasMoreChanges"] is True
    assert await jmap.fails("Mailbox/changes", sinceState=state, maxChanges=0) == "invalidArguments"
