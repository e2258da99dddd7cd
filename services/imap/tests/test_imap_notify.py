"""Conversations about events in many mailboxes (RFC 5465)."""

from typing import Any

import pytest

from posthorn_imap.protocol.commands import Request
from posthorn_imap.protocol.fetch_items import Item
from posthorn_imap.protocol.grammar import CommandProblem, read_request
from posthorn_imap.protocol.notify import Event, EventGroup, Filter, Notify, events_for
from posthorn_imap.protocol.notify_grammar import UnknownEvent

LOGIN = """
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK [CAPABILITY ... NOTIFY ...
"""
SECOND = """
2 S: * OK ...
2 C: l LOGIN ann@example.org secret
2 S: l OK ...
"""
MESSAGES = "MessageNew MessageExpunge FlagChange"
ARRIVALS = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE})


def read(text: bytes) -> Request:
    return read_request((b"t " + text,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"NOTIFY NONE", Notify(())),
        (
            b"notify set status (personal (MessageNew messageexpunge))",
            Notify((EventGroup(Filter.PERSONAL, ARRIVALS),), status=True),
        ),
        (
            b"NOTIFY SET (SELECTED-DELAYED (MessageNew (UID FLAGS) MessageExpunge)) (subtree (a b) NONE)",
            Notify(
                (
                    EventGroup(Filter.SELECTED_DELAYED, ARRIVALS, items=(Item.UID, Item.FLAGS)),
                    EventGroup(Filter.SUBTREE, frozenset(), ("a", "b")),
                )
            ),
        ),
        (
            b"NOTIFY SET (mailboxes inbox (MailboxName))",
            Notify((EventGroup(Filter.MAILBOXES, frozenset({Event.MAILBOX_NAME}), ("INBOX",)),)),
        ),
    ],
)
def test_known_answers(text: bytes, expected: Notify) -> None:
    assert read(text).command == expected


@pytest.mark.parametrize(
    "text",
    [
        b"NOTIFY",
        b"NOTIFY SET",
        b"NOTIFY SET STATUS",
        b"NOTIFY SET (personal)",
        b"NOTIFY SET (personal ())",
        b"NOTIFY SET (personal (MessageNew))",
        b"NOTIFY SET (personal (FlagChange))",
        b"NOTIFY SET (personal (MessageNew (UID) MessageExpunge))",
        b"NOTIFY SET (selected (MailboxName))",
        b"NOTIFY SET (selected NONE) (selected-delayed NONE)",
        b"NOTIFY SET (everything NONE)",
        b"NOTIFY SET (personal (Something))",
        b"NOTIFY SET (mailboxes () NONE)",
        b"NOTIFY SET" + b" (personal NONE)" * 33,
        b"NOTIFY SET (mailboxes (" + b" ".join(b"m%d" % number for number in range(101)) + b") NONE)",
    ],
    ids=lambda text: text[:40].decode(),
)
def test_what_is_no_notify(text: bytes) -> None:
    with pytest.raises(CommandProblem):
        read(text)


def test_an_event_that_is_not_told_here_is_no_mistake_of_the_client() -> None:
    with pytest.raises(UnknownEvent):
        read(b"NOTIFY SET (personal (MailboxName ServerMetadataChange))")


def test_the_first_group_that_holds_decides() -> None:
    groups = (
        EventGroup(Filter.MAILBOXES, frozenset(), ("Lists/a",)),
        EventGroup(Filter.SUBTREE, ARRIVALS, ("Lists",)),
        EventGroup(Filter.SUBSCRIBED, frozenset({Event.MAILBOX_NAME})),
    )
    assert events_for(groups, "Lists/a", subscribed=True) == frozenset()
    assert events_for(groups, "Lists/b/c", subscribed=False) == ARRIVALS
    assert events_for(groups, "Listsx", subscribed=False) == frozenset()
    assert events_for(groups, "Listsx", subscribed=True) == {Event.MAILBOX_NAME}


@pytest.mark.postgres
async def test_events_of_messages_in_other_mailboxes_come_as_status(imap: Any) -> None:
    await imap.play(
        LOGIN
        + SECOND
        + r"""
        C: 1 CREATE Box
        S: 1 OK ...
        C: 2 CREATE Quiet
        S: 2 OK ...
        C: 3 SELECT INBOX
        S*: 3 OK ...
        C: 4 NOTIFY SET STATUS (mailboxes Quiet NONE) (personal (MessageNew MessageExpunge FlagChange))
        S*: * STATUS "Box" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY {validity} UNSEEN 0)
        S*: 4 OK NOTIFY completed
        2 C\: 1 APPEND Quiet {1+}\r\na\r\n
        2 S: 1 OK ...
        2 C\: 2 APPEND Box {1+}\r\na\r\n
        2 S: 2 OK ...
        S: * STATUS "Box" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY {validity} UNSEEN 1)
        2 C: 3 SELECT Box
        2 S*: 3 OK ...
        2 C: 4 STORE 1 +FLAGS (\Seen \Deleted)
        2 S*: 4 OK ...
        S: * STATUS "Box" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY {validity} UNSEEN 0)
        2 C: 5 EXPUNGE
        2 S*: 5 OK ...
        S: * STATUS "Box" (MESSAGES 0 UIDNEXT 2 UIDVALIDITY {validity} UNSEEN 0)
        C: 5 NOTIFY NONE
        S: 5 OK ...
        2 C\: 6 APPEND Box {1+}\r\na\r\n
        2 S*: 6 OK ...
        C: 6 NOOP
        S: 6 OK ...
        """
    )


@pytest.mark.postgres
async def test_the_selected_mailbox_is_told_of_at_once_with_what_was_asked_for(imap: Any) -> None:
    await imap.play(
        LOGIN
        + SECOND
        + r"""
        C: 1 SELECT INBOX
        S*: 1 OK ...
        C: 2 NOTIFY SET (selected (MessageNew (UID {items}) MessageExpunge)) (personal (MailboxName))
        S: 2 OK ...
        2 C\: 1 APPEND INBOX {14+}\r\nSubject: new\r\n\r\n
        2 S: 1 OK ...
        S: * 1 EXISTS
        S: * 1 RECENT
        S: * 1 FETCH (UID 1 BODY[HEADER.FIELDS (SUBJECT)] {16}
        S: Subject: new
        S:
        S: )
        2 C: 2 SELECT INBOX
        2 S*: 2 OK [READ-WRITE] ...
        2 C: 3 STORE 1 +FLAGS (\Deleted)
        2 S*: 3 OK ...
        2 C: 4 CREATE Later
        2 S: 4 OK ...
        S: * LIST (\HasNoChildren \Subscribed) "/" "Later"
        C: 3 NOOP
        S: * 1 FETCH (FLAGS (\Deleted \Recent))
        S: 3 OK ...
        2 C: 5 EXPUNGE
        2 S*: 5 OK ...
        S: * 1 EXPUNGE
        C: 4 IDLE
        S: + idling
        2 C\: 6 APPEND INBOX {14+}\r\nSubject: two\r\n\r\n
        2 S*: 6 OK ...
        S: * 1 EXISTS
        S: * 1 RECENT
        S: * 1 FETCH (UID 2 BODY[HEADER.FIELDS (SUBJECT)] {16}
        S*: )
        2 C: 7 CREATE Last
        2 S*: 7 OK ...
        S: * LIST (\HasNoChildren \Subscribed) "/" "Last"
        C: DONE
        S: 4 OK ...
        """,
        items="BODY[HEADER.FIELDS (SUBJECT)]",
    )


@pytest.mark.postgres
async def test_delayed_expunges_wait_for_a_command(imap: Any) -> None:
    await imap.play(
        LOGIN
        + SECOND
        + r"""
        C\: 1 APPEND INBOX (\\Deleted) {1+}\r\na\r\n
        S: 1 OK ...
        C: 2 SELECT INBOX
        S*: 2 OK ...
        C: 3 NOTIFY SET (selected-delayed (MessageNew MessageExpunge FlagChange))
        S: 3 OK ...
        2 C: 1 SELECT INBOX
        2 S*: 1 OK ...
        2 C: 2 EXPUNGE
        2 S*: 2 OK ...
        2 C\: 3 APPEND INBOX {1+}\r\nb\r\n
        2 S*: 3 OK ...
        S: * 2 EXISTS
        S: * 2 RECENT
        2 C: 4 STORE 1 +FLAGS (\Flagged)
        2 S*: 4 OK ...
        S: * 2 FETCH (FLAGS (\Flagged \Recent))
        C: 4 NOOP
        S: * 1 EXPUNGE
        S: 4 OK ...
        """
    )


@pytest.mark.postgres
async def test_mailboxes_that_come_go_and_change_their_names(imap: Any) -> None:
    await imap.play(
        LOGIN
        + SECOND
        + r"""
        2 C: 0 CREATE Other
        2 S: 0 OK ...
        C: 1 NOTIFY SET (subtree Lists (MailboxName)) (personal (SubscriptionChange))
        S: 1 OK ...
        2 C: 1 CREATE Lists
        2 S: 1 OK ...
        S: * LIST (\HasNoChildren \Subscribed) "/" "Lists"
        2 C: 2 CREATE Lists/a
        2 S: 2 OK ...
        S: * LIST (\HasNoChildren \Subscribed) "/" "Lists/a"
        2 C: 3 RENAME Lists/a Lists/b
        2 S: 3 OK ...
        S: * LIST (\HasNoChildren \Subscribed) "/" "Lists/b" ("OLDNAME" ("Lists/a"))
        2 C: 4 UNSUBSCRIBE Other
        2 S: 4 OK ...
        S: * LIST (\HasNoChildren) "/" "Other"
        2 C: 5 SUBSCRIBE Other
        2 S: 5 OK ...
        S: * LIST (\HasNoChildren \Subscribed) "/" "Other"
        2 C: 6 DELETE Lists/b
        2 S: 6 OK ...
        S: * LIST (\NonExistent) "/" "Lists/b"
        C: 2 NOTIFY SET (personal (MailboxMetadataChange))
        S: 2 NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)] ...
        C: 3 NOTIFY SET (personal (MessageNew))
        S: 3 BAD ...
        """
    )


@pytest.mark.postgres
async def test_who_logs_out_or_leaves_is_watched_no_more(imap: Any) -> None:
    conversation = await imap.play(
        LOGIN
        + r"""
        C: 1 NOTIFY SET (personal (MailboxName))
        S: 1 OK ...
        C: 2 NOTIFY SET (personal (SubscriptionChange))
        S: 2 OK ...
        C: 3 UNAUTHENTICATE
        S: 3 OK ...
        """
    )
    assert not imap.parts.changes._watched
    await conversation.play(
        """
        C: 4 LOGIN ann@example.org secret
        S: 4 OK ...
        C: 5 NOTIFY SET (personal (MailboxName))
        S: 5 OK ...
        C: 6 LOGOUT
        E:
        """
    )
    assert not imap.parts.changes._watched


@pytest.mark.postgres
async def test_a_change_that_no_event_told_of_is_found_by_the_self_check(imap: Any) -> None:
    conversation = await imap.play(LOGIN + "C: 1 NOTIFY SET (personal (MailboxName))\nS: 1 OK ...")
    storage = imap.parts.storage
    (owner,) = imap.parts.changes._watched
    storage.on_change = None
    await storage.mail.create_mailbox(owner, "Unheard")
    assert await imap.parts.changes.look() == 1
    assert await imap.parts.changes.look() == 0
    await conversation.play('S: * LIST (\\HasNoChildren \\Subscribed) "/" "Unheard"')
