"""`posthorn queue` on a real database, as a person types it."""

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from posthorn_ctl.__main__ import app
from posthorn_ctl.cluster.errors import ClusterError
from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_storage import Storage, StorageSettings

pytestmark = pytest.mark.postgres


def said(dsn: str, *words: str) -> str:
    done = CliRunner().invoke(app, ["queue", *words, "--dsn", dsn])
    if done.exception is not None:
        raise done.exception
    return done.output


def told(dsn: str, *words: str) -> Any:
    return json.loads(said(dsn, *words, "--json"))


def enqueued(dsn: str, *addresses: str) -> str:
    """The number of a message for them, as it is typed."""

    async def work() -> int:
        storage = await Storage.open(StorageSettings(dsn=dsn, blobs=None, pool_size=2))
        try:
            blob = await storage.blobs.prepare(b"Subject: hello\r\n\r\nhello\r\n")
            recipients = [NewRecipient(address, address.rpartition("@")[2]) for address in addresses]
            return await storage.queue.enqueue(NewQueueMessage("ann@example.org", blob, recipients))
        finally:
            await storage.close()

    return str(asyncio.run(work()))


def states(dsn: str, number: str) -> list[str]:
    return [each["state"] for each in told(dsn, "show", number)["recipients"]]


def test_a_message_is_looked_at_held_released_and_given_up(postgres_dsn: str) -> None:
    number = enqueued(postgres_dsn, "bob@example.net", "eve@example.com")
    assert "<bob@example.net>" in said(postgres_dsn, "list", "--site", "EXAMPLE.net")
    assert said(postgres_dsn, "list", "--site", "example.info").startswith("no message")
    assert said(postgres_dsn, "hold", number, "--recipient", "bob@", "--note", "why") == (
        "1 open recipient of 1 message\n1 recipient held\n"
    )
    assert states(postgres_dsn, number) == ["held", "waiting"]
    assert [each["id"] for each in told(postgres_dsn, "list", "--state", "held")] == [int(number)]
    assert said(postgres_dsn, "release", number).endswith("1 recipient released\n")
    assert told(postgres_dsn, "reschedule", number, "--in", "1h")["changed"] == 2
    shown = said(postgres_dsn, "show", number)
    assert "from <ann@example.org>" in shown
    assert "held      <bob@example.net>    why" in shown
    assert shown.count("retry") == 2
    assert told(postgres_dsn, "cancel", number) == {
        "changed": 2, "meant": {"recipients": 2, "messages": 1, "in_flight": 0},
    }  # fmt: skip
    assert states(postgres_dsn, number) == ["cancelled", "cancelled"]
    assert told(postgres_dsn, "list") == []
    assert [each["id"] for each in told(postgres_dsn, "list", "--done")] == [int(number)]


def test_what_a_filter_means_is_counted_before_it_is_done(postgres_dsn: str) -> None:
    for _ in range(3):
        enqueued(postgres_dsn, "bob@example.net", "eve@example.com")
    filtered = ("--site", "example.net", "--older-than", "0s")
    assert said(postgres_dsn, "cancel", *filtered, "--dry-run") == "3 open recipients of 3 messages\n"
    assert told(postgres_dsn, "cancel", *filtered, "--dry-run") == {"recipients": 3, "messages": 3, "in_flight": 0}
    assert said(postgres_dsn, "cancel", *filtered) == "3 open recipients of 3 messages\n3 recipients cancelled\n"
    assert told(postgres_dsn, "cancel", "--sender", "ann@")["changed"] == 3


def test_pauses_from_their_making_to_their_end(postgres_dsn: str) -> None:
    assert said(postgres_dsn, "pauses") == "nothing is paused\n"
    assert said(postgres_dsn, "pause", "Bücher.example", "--reason", "asked") == (
        "xn--bcher-kva.example is paused until it is resumed\n"
    )
    assert told(postgres_dsn, "pause", "--route", "relay.example.net:25", "--for", "2h")["until"] is not None
    assert said(postgres_dsn, "pause", "--all").startswith("everything is paused")
    scopes = [(each["scope"], each["name"], each["ending"]) for each in told(postgres_dsn, "pauses")]
    assert scopes == [
        ("site", "xn--bcher-kva.example", False),
        ("route", "relay.example.net:25", False),
        ("everything", "", False),
    ]
    assert "0 recipients  asked" in said(postgres_dsn, "pauses")
    assert said(postgres_dsn, "resume", "--all") == "everything goes on\n"
    said(postgres_dsn, "resume", "--route", "relay.example.net:25")
    said(postgres_dsn, "resume", "bücher.example")
    assert all(each["ending"] for each in told(postgres_dsn, "pauses"))


MISTAKES = [
    (("show", "999999999"), "no such message"),
    (("hold", "999999999"), "no such message"),
    (("cancel",), "say which"),
    (("list", "--state", "lost"), "no state of a recipient"),
    (("list", "--older-than", "soon"), "is no time"),
    (("list", "--account", "nobody@example.org"), "nobody@example.org"),
    (("list", "--site", " "), "is no domain"),
    (("pause",), "say one of"),
    (("pause", "example.net", "--all"), "say one of"),
    (("resume", "nothing.example"), "is not paused"),
]


def test_mistakes_are_told(postgres_dsn: str) -> None:
    """All over one database: a new one for each takes longer than the commands."""
    for words, why in MISTAKES:
        with pytest.raises(ClusterError, match=why):
            said(postgres_dsn, *words)


def test_why_is_it_still_here(postgres_dsn: str) -> None:
    number = enqueued(postgres_dsn, "bob@example.net", "eve@example.com")
    said(postgres_dsn, "hold", number, "--recipient", "eve@")
    text = said(postgres_dsn, "why", number)
    assert "<bob@example.net>: waiting\n  why    It has not been tried yet.\n" in text
    assert "No smtp-out is running" in text
    assert "<eve@example.com>: held\n  why    An operator holds it since" in text
    (eve,) = told(postgres_dsn, "why", number, "--recipient", "eve@")
    assert eve["next"] == [f"Nothing, until `posthorn queue release {number}`."]


def test_addresses_are_suppressed_by_hand(postgres_dsn: str) -> None:
    def suppressing(*words: str) -> str:
        done = CliRunner().invoke(app, ["suppression", *words, "--dsn", postgres_dsn])
        if done.exception is not None:
            raise done.exception
        return done.output

    assert suppressing("list") == "no address is suppressed\n"
    assert suppressing("add", "Bob@example.net", "--for-mail-of", "example.org", "--complaint") == (
        "Bob@example.net gets no mail of example.org any more\n"
    )
    assert json.loads(suppressing("add", "eve@example.net", "--for", "90d", "--json"))["seconds"] == 90 * 86_400
    assert "bob@example.net  mail of example.org  complaint" in suppressing("list")
    assert [each["address"] for each in json.loads(suppressing("list", "--source", "operator", "--json"))] == [
        "eve@example.net"
    ]
    assert suppressing("remove", "bob@example.net") == "bob@example.net gets mail again\n"
    for words in (("remove", "bob@example.net"), ("add", "nobody"), ("list", "--source", "x")):
        with pytest.raises(ClusterError, match=r"is not suppressed|an address is such as|is no source"):
            suppressing(*words)
    suppressing("remove", "eve@example.net")
