"""The active script of a recipient decides what becomes of a message, in the transaction of its delivery."""

from collections.abc import Sequence
from typing import Any

import pytest

from posthorn_model.flags import SystemFlag
from posthorn_model.mail import Role
from posthorn_storage import AccountRecord
from posthorn_storage.queue.listing import QueueFilter

pytestmark = pytest.mark.postgres

HEADER = "C: From: eve@example.net\nC: To: ann@example.org\nC: Subject: hello\nC: Message-ID: <m@example.net>\nC:"


async def use(service: Any, account: AccountRecord, script: str, *extensions: str) -> None:
    """Give an account this script."""
    names = ", ".join(f'"{name}"' for name in extensions)
    sieve = service.parts.storage.sieve
    await sieve.put(account.id, "main", (f"require [{names}];\r\n" if names else "") + script)
    await sieve.activate(account.id, "main")


async def send(
    service: Any,
    *to: str,
    reply: str = "250 2.6.0 *",
    listener: str = "smtp",
    sender: str = "eve@example.net",
    header: str = HEADER,
) -> None:
    """Send one message; in LMTP the replies to each recipient are in `reply`, a line each."""
    async with await service.connect(listener) as talk:
        recipients = "\n".join(f"C: RCPT TO:<{address}>\nS: 250 *" for address in to)
        await talk.play(f"""
            S: 220 *
            C: {"LHLO" if listener == "lmtp" else "EHLO"} c
            S: 250-*
            C: MAIL FROM:<{sender}>
            S: 250 *
            {recipients}
            C: DATA
            S: 354 *
            {header}
            C: the body
            C: .
        """)
        for line in reply.splitlines():
            await talk.play(f"S: {line}")
        await talk.play("C: QUIT\nS: 221 *")


async def filed(service: Any, account: AccountRecord) -> dict[str, list[tuple[SystemFlag, frozenset[str]]]]:
    """Name of each mailbox that has mail, to the flags of its messages."""
    mail = service.parts.storage.mail
    found = {}
    for box in await mail.mailboxes(account.id):
        entries = await mail.entries(account.id, box.id)
        if entries:
            found["INBOX" if box.role is Role.INBOX else box.name] = [
                (entry.flags.system, entry.flags.keywords) for entry in entries
            ]
    return found


async def queued(service: Any) -> list[tuple[str, list[str], bytes]]:
    """What waits in the queue: sender, recipients, content."""
    storage, found = service.parts.storage, []
    for message in await storage.queue.messages(QueueFilter()):
        blob = await storage._database.fetchval("SELECT blob_key FROM queue_message WHERE id = $1", message.id)
        addresses = [recipient.address for recipient in message.recipients]
        found.append((message.sender, addresses, await storage.blobs.read(None, blob)))
    return found


async def signers(service: Any) -> list[str | None]:
    """Whose DKIM keys sign what waits in the queue."""
    rows = await service.parts.storage._database.fetch("SELECT signing_domain FROM queue_message ORDER BY id")
    return [row["signing_domain"] for row in rows]


PLAIN = (SystemFlag.NONE, frozenset[str]())


async def test_filing_with_flags_and_new_mailboxes(service: Any, people: Sequence[AccountRecord]) -> None:
    ann, bob = people
    script = (
        'fileinto :create "Lists/News"; fileinto :flags ["\\\\Seen", "Later"] "inbox";'
        'fileinto :specialuse "\\\\Junk" "None"; if mailboxexists "Lists/News" { discard; }'
    )
    await use(service, ann, script, "fileinto", "mailbox", "imap4flags", "special-use")
    await send(service, "ann@example.org", "bob@example.org")
    assert await filed(service, ann) == {
        "News": [PLAIN], "INBOX": [(SystemFlag.SEEN, frozenset({"later"}))], "Junk": [PLAIN],
    }  # fmt: skip
    assert await filed(service, bob) == {"INBOX": [PLAIN]}
    assert await queued(service) == []
    paths = {box.id: box for box in await service.parts.storage.mail.mailboxes(ann.id)}
    (news,) = (box for box in paths.values() if box.name == "News")
    assert paths[news.parent].name == "Lists"


async def test_discarding(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], 'if header :contains "subject" "HELLO" { discard; }')
    await send(service, "ann@example.org")
    assert await filed(service, people[0]) == {}
    assert await queued(service) == []


async def test_redirecting_in_the_transaction_of_the_delivery(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], 'redirect :copy "zoe@example.com";', "copy")
    await send(service, "ann@example.org")
    assert await filed(service, people[0]) == {"INBOX": [PLAIN]}
    ((sender, addresses, content),) = await queued(service)
    assert (sender, addresses) == ("eve@example.net", ["zoe@example.com"])
    assert await signers(service) == [None], "what is only passed on is not vouched for"
    assert content.startswith(b"X-Sieve-Redirected-From: ann@example.org\r\nReceived: ")
    assert b"Return-Path" not in content
    assert content.endswith(b"\r\n\r\nthe body\r\n")


async def test_redirecting_alone_stores_nothing_here(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], 'redirect "zoe@example.com"; redirect "yan@example.com";')
    await send(service, "ann@example.org")
    assert await filed(service, people[0]) == {}
    assert sorted(addresses for _, addresses, _ in await queued(service)) == [["yan@example.com"], ["zoe@example.com"]]


async def test_what_comes_back_goes_no_second_round(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], 'redirect "zoe@example.com";')
    await send(service, "ann@example.org", header="C: X-Sieve-Redirected-From: ann@example.org\n" + HEADER)
    assert await queued(service) == []
    first, second = await service.inbox(people[0])
    assert b"Subject: hello" in first
    assert b"came back" in second


async def test_a_failing_script_keeps_and_its_owner_is_told_once(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], 'discard; redirect "zoe@example.com"; set "a" "x"; redirect "${a}";', "variables")
    await send(service, "ann@example.org")
    await send(service, "ann@example.org")
    first, told, second = await service.inbox(people[0])
    assert b"\r\n\r\nthe body" in first
    assert b"\r\n\r\nthe body" in second
    assert b"line 2, column" in told
    assert b"'x' is not an address" in told
    assert b"Auto-Submitted: auto-generated\r\n" in told
    assert await queued(service) == []


async def test_a_script_that_is_not_valid_any_more_keeps(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], "frobnicate;")
    await send(service, "ann@example.org")
    first, told = await service.inbox(people[0])
    assert b"\r\n\r\nthe body" in first
    assert b"unknown command 'frobnicate'" in told


async def test_a_mailbox_that_is_not_there(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], 'fileinto "Nowhere";', "fileinto")
    await send(service, "ann@example.org")
    told, first = sorted(await service.inbox(people[0]), key=lambda content: b"the body" in content)
    assert b"there is no mailbox 'Nowhere'" in told
    assert b"Subject: hello" in first


async def test_an_answer_once_in_its_time(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], 'vacation :subject "Away" :days 2 "I am away.";', "vacation")
    await send(service, "ann@example.org")
    await send(service, "ann@example.org")
    assert len(await service.inbox(people[0])) == 2
    ((sender, addresses, content),) = await queued(service)
    assert (sender, addresses) == ("", ["eve@example.net"])
    assert await signers(service) == ["example.org"]
    text = content.decode()
    for line in (
        "From: ann@example.org",
        "To: eve@example.net",
        "Subject: Away",
        "Auto-Submitted: auto-replied (vacation)",
        "In-Reply-To: <m@example.net>",
        "References: <m@example.net>",
    ):
        assert f"{line}\r\n" in text, line
    assert text.endswith("\r\n\r\nI am away.")
    await send(service, "ann@example.org", sender="joe@example.net")
    assert [addresses for _, addresses, _ in await queued(service)].count(["joe@example.net"]) == 1


async def test_nobody_is_answered_whose_message_was_not_stored(service: Any, people: Sequence[AccountRecord]) -> None:
    ann = people[0]
    await use(service, ann, 'vacation "I am away.";', "vacation")
    database = service.parts.storage.shards.home.database
    await database.execute("UPDATE account_counter SET quota = 10 WHERE account_id = $1", ann.id)
    await send(service, "ann@example.org", reply="*2 *")
    assert await queued(service) == []
    await database.execute("UPDATE account_counter SET quota = NULL WHERE account_id = $1", ann.id)
    await send(service, "ann@example.org")
    assert len(await queued(service)) == 1


async def test_a_refusal_is_heard_by_the_client(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], 'ereject "Not now, thanks.";', "ereject")
    await send(service, "ann@example.org", reply="550 5.7.1 Not now, thanks.")
    assert await filed(service, people[0]) == {}
    assert await queued(service) == []


async def test_a_refusal_among_others_is_reported(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], 'reject "Nicht jetzt, bitte schön.";', "reject")
    await send(service, "ann@example.org", "bob@example.org")
    assert await filed(service, people[0]) == {}
    assert len(await service.inbox(people[1])) == 1
    ((sender, addresses, content),) = await queued(service)
    assert (sender, addresses) == ("", ["eve@example.net"])
    assert b"Final-Recipient: rfc822;ann@example.org\r\n" in content
    assert b"Status: 5.7.1\r\n" in content
    await send(service, "ann@example.org", "bob@example.org", sender="")
    assert len(await queued(service)) == 1


async def test_each_recipient_of_lmtp_has_its_own_reply(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], 'reject "No.";', "reject")
    await use(service, people[1], 'fileinto :create "Here"; redirect :copy "zoe@example.com";', "fileinto", "mailbox",
              "copy")  # fmt: skip
    await send(service, "ann@example.org", "bob@example.org", reply="550 5.7.1 No.\n250 2.6.0 *", listener="lmtp")
    assert await filed(service, people[1]) == {"Here": [PLAIN]}
    assert [addresses for _, addresses, _ in await queued(service)] == [["zoe@example.com"]]


async def test_duplicates_are_known_after_their_delivery(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], "if duplicate { discard; }", "duplicate")
    await send(service, "ann@example.org")
    await send(service, "ann@example.org", sender="joe@example.net")
    other = HEADER.replace("<m@example.net>", "<other@example.net>")
    await send(service, "ann@example.org", header=other)
    assert len(await service.inbox(people[0])) == 2


async def test_included_scripts_and_changed_content(service: Any, people: Sequence[AccountRecord]) -> None:
    sieve = service.parts.storage.sieve
    await sieve.put(people[0].id, "tags", 'require "editheader"; addheader "X-Tag" "one";')
    await use(service, people[0], 'include "tags"; if exists "X-Tag" { keep; }', "include", "editheader")
    await send(service, "ann@example.org")
    (content,) = await service.inbox(people[0])
    assert content.startswith(b"X-Tag: one\r\nReturn-Path: <eve@example.net>\r\nReceived: ")


async def test_notifying(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], 'notify :message "New mail" "mailto:pager@example.com";', "enotify")
    await send(service, "ann@example.org")
    ((sender, addresses, content),) = await queued(service)
    assert (sender, addresses) == ("", ["pager@example.com"])
    assert content.startswith(b"Received: ")
    assert b"Subject: New mail\r\n" in content
    assert b'Auto-Submitted: auto-notified; owner-email="ann@example.org"\r\n' in content


async def test_a_repeat_after_a_lost_reply_is_filed_once(service: Any, people: Sequence[AccountRecord]) -> None:
    await use(service, people[0], 'fileinto :flags "a" :create "X"; keep;', "fileinto", "mailbox", "imap4flags")
    for _ in range(2):
        async with await service.connect() as talk:
            await talk.play(f"""
                S: 220 *
                C: EHLO c
                S: 250-*
                C: MAIL FROM:<eve@example.net>
                S: 250 *
                C: RCPT TO:<ann@example.org>
                S: 250 *
                C: DATA
                S: 354 *
                {HEADER}
                C: the body
                C: .
                S: 250 2.6.0 *
            """)  # and gone without a word
    assert {name: len(messages) for name, messages in (await filed(service, people[0])).items()} == {"X": 1, "INBOX": 1}
