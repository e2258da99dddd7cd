"""Conversations with the running service: mailboxes, logins and everything that needs no message."""

import base64
from typing import Any

import pytest

pytestmark = pytest.mark.postgres

LOGIN = """
S: * OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE AUTH=...] mail.example.org ready
C: l LOGIN ann@example.org secret
S: l OK [CAPABILITY IMAP4rev1 ...] Logged in
"""
PLAIN = base64.b64encode(b"\0ann@example.org\0secret").decode()


async def test_any_state(imap: Any) -> None:
    await imap.play(
        """
        S: * OK [CAPABILITY ...] mail.example.org ready
        C: 1 CAPABILITY
        S: * CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN
        S: 1 OK CAPABILITY completed
        C: 2 noop
        S: 2 OK NOOP completed
        C: 3 ID ("name" "test")
        S: * ID ("name" "Posthorn")
        S: 3 OK ID completed
        C: 4 SELECT INBOX
        S: 4 BAD SELECT: log in first
        C: 5 LOGOUT
        S: * BYE Logging out
        S: 5 OK LOGOUT completed
        E:
        """
    )


async def test_starttls_then_login(imap: Any) -> None:
    await imap.play(
        """
        S: * OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE STARTTLS LOGINDISABLED] ...
        C: 1 LOGIN ann@example.org secret
        S: 1 NO [PRIVACYREQUIRED] ...
        C: 2 AUTHENTICATE PLAIN {plain}
        S: 2 NO [PRIVACYREQUIRED] ...
        C\\: 3 STARTTLS\\r\\n4 LOGIN ann@example.org secret\\r\\n
        S: 3 OK Begin TLS negotiation now
        TLS:
        C: 5 CAPABILITY
        S: * CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE AUTH=SCRAM-SHA-256-PLUS ... AUTH=LOGIN
        S: 5 OK ...
        C: 6 STARTTLS
        S: 6 BAD TLS is already active
        C: 7 LOGIN ann@example.org secret
        S: 7 OK [CAPABILITY ...] Logged in
        C: 8 STARTTLS
        S: 8 BAD STARTTLS: already authenticated
        """,
        listener="starttls",
        plain=PLAIN,
    )


async def test_implicit_tls(imap: Any) -> None:
    await imap.play(LOGIN, listener="implicit")


async def test_authenticate_plain(imap: Any) -> None:
    await imap.play(
        """
        S: * OK ...
        C: 1 AUTHENTICATE CRAM-MD5
        S: 1 NO [CANNOT] That mechanism is not offered
        C: 2 AUTHENTICATE PLAIN
        S: +...
        C: *
        S: 2 BAD Authentication cancelled
        C: 3 AUTHENTICATE PLAIN
        S: +...
        C: !!!
        S: 3 BAD ...
        C: 4 AUTHENTICATE PLAIN =
        S: 4 BAD ...
        C: 5 AUTHENTICATE PLAIN {other}
        S: 5 NO [AUTHORIZATIONFAILED] ...
        C: 6 AUTHENTICATE PLAIN
        S: +...
        C: {plain}
        S: 6 OK [CAPABILITY ...] Logged in
        """,
        plain=PLAIN,
        other=base64.b64encode(b"bob\0ann@example.org\0secret").decode(),
    )
    await imap.play("S: * OK ...\nC: 1 AUTHENTICATE PLAIN {plain}\nS: 1 OK [...] Logged in", plain=PLAIN)


async def test_wrong_passwords_are_refused_and_end_the_connection(imap: Any) -> None:
    await imap.play(
        """
        S: * OK ...
        C: 1 LOGIN ann@example.org wrong
        S: 1 NO [AUTHENTICATIONFAILED] ...
        C: 2 LOGIN nobody@example.org secret
        S: 2 NO [AUTHENTICATIONFAILED] ...
        C\\: 3 LOGIN ann@example.org {6+}\\r\\n\\xff\\xfe\\xfd\\xfc\\xfb\\xfa\\r\\n
        S: 3 NO [AUTHENTICATIONFAILED] ...
        C: 4 LOGIN "" ""
        S: 4 NO [AUTHENTICATIONFAILED] ...
        C: 5 LOGIN ann@example.org wrong
        S: * BYE Too many failed logins
        S: 5 NO [AUTHENTICATIONFAILED] ...
        E:
        """
    )
    await imap.play(LOGIN)


async def test_when_too_many_logins_failed_the_right_password_is_not_judged(imap: Any, lock_out: Any) -> None:
    await lock_out("ann@example.org")
    await imap.play(
        """
        S: * OK ...
        C: 1 LOGIN ann@example.org secret
        S: 1 NO [LIMIT] too many failed logins, try again later
        C: 2 LOGIN nobody@example.org secret
        S: 2 NO [AUTHENTICATIONFAILED] ...
        C: 3 LOGIN ann@example.org wrong
        S: 3 NO [LIMIT] ...
        C: 4 AUTHENTICATE PLAIN {plain}
        S: 4 NO [LIMIT] ...
        C: 5 LOGIN ann@example.org wrong
        S: * BYE Too many failed logins
        S: 5 NO [LIMIT] ...
        E:
        """,
        plain=PLAIN,
    )


async def test_login_with_literals(imap: Any) -> None:
    await imap.play(
        """
        S: * OK ...
        C: 1 LOGIN {15}
        S: + ...
        C: ann@example.org {6}
        S: + ...
        C: secret
        S: 1 OK [...] Logged in
        C: 2 LOGIN ann@example.org secret
        S: 2 BAD LOGIN: already authenticated
        """
    )


async def test_default_mailboxes(imap: Any) -> None:
    await imap.play(
        LOGIN
        + r"""
        C: 1 LIST "" ""
        S: * LIST (\Noselect) "/" ""
        S: 1 OK LIST completed
        C: 2 LIST "" *
        S: * LIST (\HasNoChildren) "/" "INBOX"
        S: * LIST (\HasNoChildren \Archive) "/" "Archive"
        S: * LIST (\HasNoChildren \Drafts) "/" "Drafts"
        S: * LIST (\HasNoChildren \Junk) "/" "Junk"
        S: * LIST (\HasNoChildren \Sent) "/" "Sent"
        S: * LIST (\HasNoChildren \Trash) "/" "Trash"
        S: 2 OK LIST completed
        C: 3 LIST (SPECIAL-USE) "" "S*"
        S: * LIST (\HasNoChildren \Sent) "/" "Sent"
        S: 3 OK LIST completed
        C: 4 LIST "" (inbox "T%") RETURN (SUBSCRIBED STATUS (MESSAGES UIDNEXT))
        S: * LIST (\HasNoChildren \Subscribed) "/" "INBOX"
        S: * STATUS "INBOX" (MESSAGES 0 UIDNEXT 1)
        S: * LIST (\HasNoChildren \Subscribed \Trash) "/" "Trash"
        S: * STATUS "Trash" (MESSAGES 0 UIDNEXT 1)
        S: 4 OK LIST completed
        C: 5 NAMESPACE
        S: * NAMESPACE (("" "/")) (("Other Users/" "/")) NIL
        S: 5 OK NAMESPACE completed
        """
    )


async def test_creating_renaming_and_deleting(imap: Any) -> None:
    await imap.play(
        LOGIN
        + r"""
        C: 1 CREATE a/b/c
        S: 1 OK [MAILBOXID (M...)] CREATE completed
        C: 2 LIST "" a*
        S: * LIST (\HasChildren) "/" "a"
        S: * LIST (\HasChildren) "/" "a/b"
        S: * LIST (\HasNoChildren) "/" "a/b/c"
        S: 2 OK LIST completed
        C: 3 LIST "a/" %
        S: * LIST (\HasChildren) "/" "a/b"
        S: 3 OK LIST completed
        C: 4 CREATE a/b
        S: 4 NO [ALREADYEXISTS] ...
        C: 5 CREATE inbox
        S: 5 NO [ALREADYEXISTS] ...
        C: 6 CREATE a//b
        S: 6 NO [CANNOT] ...
        C: 7 DELETE a/b
        S: 7 NO [HASCHILDREN] ...
        C: 8 RENAME a/b x/&AOQ-
        S: 8 OK RENAME completed
        C: 9 LIST "" x/*
        S: * LIST (\HasChildren) "/" "x/&AOQ-"
        S: * LIST (\HasNoChildren) "/" "x/&AOQ-/c"
        S: 9 OK LIST completed
        C: 10 RENAME x x/y
        S: 10 NO [CANNOT] ...
        C: 11 RENAME nothing y
        S: 11 NO [NONEXISTENT] ...
        C: 12 RENAME a Sent
        S: 12 NO [ALREADYEXISTS] ...
        C: 13 DELETE a
        S: 13 OK DELETE completed
        C: 14 DELETE a
        S: 14 NO [NONEXISTENT] ...
        C: 15 DELETE INBOX
        S: 15 NO [CANNOT] ...
        C: 16 CREATE trailing/
        S: 16 OK ...
        C: 17 STATUS trailing (MESSAGES UIDNEXT UNSEEN DELETED SIZE APPENDLIMIT RECENT)
        S: * STATUS "trailing" (MESSAGES 0 UIDNEXT 1 UNSEEN 0 DELETED 0 SIZE 0 APPENDLIMIT 52428800 RECENT 0)
        S: 17 OK STATUS completed
        C: 18 STATUS nothing (MESSAGES)
        S: 18 NO [NONEXISTENT] ...
        C: 19 CREATE again (USE (\Sent))
        S: 19 NO [USEATTR] ...
        C: 20 CREATE again (USE (\All))
        S: 20 NO [USEATTR] ...
        C: 21 DELETE Sent
        S: 21 OK ...
        C: 22 CREATE Gesendet (USE (\Sent))
        S: 22 OK ...
        C: 23 LIST (SPECIAL-USE) "" "*" RETURN (CHILDREN)
        S*: * LIST (\HasNoChildren \Sent) "/" "Gesendet"
        S*: 23 OK LIST completed
        """
    )


async def test_subscriptions(imap: Any) -> None:
    await imap.play(
        LOGIN
        + r"""
        C: 1 CREATE a/b
        S: 1 OK ...
        C: 2 UNSUBSCRIBE a
        S: 2 OK UNSUBSCRIBE completed
        C: 3 LSUB "" "a/%"
        S: * LSUB (\HasNoChildren) "/" "a/b"
        S: 3 OK LSUB completed
        C: 4 LSUB "" "a%"
        S: * LSUB (\Noselect) "/" "a"
        S: 4 OK LSUB completed
        C: 5 LIST (SUBSCRIBED) "" "a*"
        S: * LIST (\HasNoChildren \Subscribed) "/" "a/b"
        S: 5 OK LIST completed
        C: 6 LIST (SUBSCRIBED RECURSIVEMATCH) "" "a%"
        S: * LIST (\HasChildren) "/" "a" ("CHILDINFO" ("SUBSCRIBED"))
        S: 6 OK LIST completed
        C: 7 SUBSCRIBE a
        S: 7 OK SUBSCRIBE completed
        C: 8 LSUB "" "a"
        S: * LSUB (\HasChildren) "/" "a"
        S: 8 OK LSUB completed
        C: 9 SUBSCRIBE nothing
        S: 9 NO [NONEXISTENT] ...
        """
    )


async def test_selecting_an_empty_mailbox(imap: Any) -> None:
    await imap.play(
        LOGIN
        + r"""
        C: 1 SELECT INBOX
        S: * 0 EXISTS
        S: * 0 RECENT
        S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
        S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] ...
        S: * OK [UIDVALIDITY {validity}] ...
        S: * OK [UIDNEXT 1] ...
        S: * OK [HIGHESTMODSEQ {modseq}] ...
        S: * OK [MAILBOXID (M{id})] ...
        S: 1 OK [READ-WRITE] SELECT completed
        C: 2 FETCH 1:* FLAGS
        S: 2 OK FETCH completed
        C: 3 FETCH 1 FLAGS
        S: 3 BAD FETCH: sequence number not in use
        C: 4 UID FETCH 1:99 FLAGS
        S: 4 OK FETCH completed
        C: 5 SEARCH ALL
        S: * SEARCH
        S: 5 OK SEARCH completed
        C: 6 EXPUNGE
        S: 6 OK EXPUNGE completed
        C: 7 CHECK
        S: 7 OK CHECK completed
        C: 8 EXAMINE Sent
        S: * OK [CLOSED] ...
        S*: * OK [PERMANENTFLAGS ()] ...
        S*: 8 OK [READ-ONLY] EXAMINE completed
        C: 9 EXPUNGE
        S: 9 NO The mailbox is selected read-only
        C: 10 UNSELECT
        S: 10 OK UNSELECT completed
        C: 11 CLOSE
        S: 11 BAD CLOSE: select a mailbox first
        C: 12 SELECT nothing
        S: 12 NO [NONEXISTENT] ...
        """
    )


async def test_a_mailbox_deleted_under_a_session(imap: Any) -> None:
    await imap.play(
        """
        S: * OK ...
        C: l LOGIN ann@example.org secret
        S: l OK ...
        C: 1 CREATE gone
        S: 1 OK ...
        C: 2 SELECT gone
        S*: 2 OK ...
        2 S: * OK ...
        2 C: l LOGIN ann@example.org secret
        2 S: l OK ...
        2 C: 1 SELECT gone
        2 S*: 1 OK ...
        2 C: 2 IDLE
        2 S: + idling
        3 S: * OK ...
        3 C: l LOGIN ann@example.org secret
        3 S: l OK ...
        3 C: 1 DELETE gone
        3 S: 1 OK DELETE completed
        2 S: * BYE [NONEXISTENT] The selected mailbox was deleted
        2 S: 2 OK IDLE ended
        2 E:
        S: * BYE [NONEXISTENT] The selected mailbox was deleted
        E:
        """
    )


async def test_deleting_the_mailbox_one_has_selected(imap: Any) -> None:
    await imap.play(
        LOGIN
        + """
        C: 1 CREATE gone
        S: 1 OK ...
        C: 2 SELECT gone
        S*: 2 OK ...
        C: 3 DELETE gone
        S: * OK [CLOSED] ...
        S: 3 OK DELETE completed
        C: 4 NOOP
        S: 4 OK NOOP completed
        """
    )


async def test_enable(imap: Any) -> None:
    await imap.play(
        LOGIN
        + """
        C: 1 ENABLE X-NOTHING
        S: * ENABLED
        S: 1 OK ENABLE completed
        C: 2 ENABLE QRESYNC
        S: * ENABLED CONDSTORE QRESYNC
        S: 2 OK ENABLE completed
        C: 3 ENABLE QRESYNC
        S: * ENABLED
        S: 3 OK ENABLE completed
        """
    )


async def test_pipelined_commands_are_answered_in_order(imap: Any) -> None:
    await imap.play(
        LOGIN
        + """
        C\\: 1 CREATE x\\r\\n2 SELECT x\\r\\n3 UNSELECT\\r\\n4 DELETE x\\r\\n5 NOOP\\r\\n6 LOGOUT\\r\\n7 NOOP\\r\\n
        S: 1 OK ...
        S*: 2 OK ...
        S: 3 OK ...
        S: 4 OK ...
        S: 5 OK ...
        S: * BYE ...
        S: 6 OK ...
        E:
        """
    )
