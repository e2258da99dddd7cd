"""Conversations about annotations (RFC 5464, RFC 9590)."""

from typing import Any

import pytest

from posthorn_storage.mail.metadata import MAX_VALUE

pytestmark = pytest.mark.postgres

LOGIN = """
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK [CAPABILITY ... METADATA LIST-METADATA ...
"""


async def test_values_are_kept_for_mailboxes_and_for_the_server(imap: Any, account: Any) -> None:
    await account("bob@example.org", password="hidden")
    await imap.play(
        LOGIN
        + r"""
        C: 1 SETMETADATA INBOX (/private/Comment "Mine" /shared/comment "Ours")
        S: 1 OK ...
        C: 2 GETMETADATA INBOX /private/comment
        S: * METADATA "INBOX" (/private/comment "Mine")
        S: 2 OK ...
        C: 3 GETMETADATA INBOX (/shared/comment /private/comment /private/none)
        S: * METADATA "INBOX" (/private/comment "Mine" /shared/comment "Ours" /private/none NIL)
        S: 3 OK ...
        C\: 4 SETMETADATA "" (/private/vendor/x/a ~{3+}\r\na\0b /private/vendor/x/a/b {4+}\r\na\r\nb)\r\n
        S: 4 OK ...
        C: 5 GETMETADATA (DEPTH 1) "" /private/vendor/x/a
        S: * METADATA "" (/private/vendor/x/a ~{3}
        S: a...b /private/vendor/x/a/b {4}
        S: a
        S: b)
        S: 5 OK ...
        C: 6 GETMETADATA "" (DEPTH infinity MAXSIZE 3) (/private)
        S: * METADATA "" (/private/vendor/x/a ~{3}
        S: a...b /private NIL)
        S: 6 OK [METADATA LONGENTRIES 4] ...
        C: 7 GETMETADATA (DEPTH 1) "" (/private/vendor)
        S: * METADATA "" (/private/vendor NIL)
        S: 7 OK ...
        C: 8 SETMETADATA INBOX (/private/comment NIL)
        S: 8 OK ...
        C: 9 GETMETADATA INBOX /private/comment
        S: * METADATA "INBOX" (/private/comment NIL)
        S: 9 OK ...
        2 S: * OK ...
        2 C: l LOGIN bob@example.org hidden
        2 S: l OK ...
        2 C: 1 GETMETADATA INBOX (/shared/comment)
        2 S: * METADATA "INBOX" (/shared/comment NIL)
        2 S: 1 OK ...
        2 C: 2 GETMETADATA "" (/private/vendor/x/a)
        2 S: * METADATA "" (/private/vendor/x/a NIL)
        2 S: 2 OK ...
        """
    )


async def test_values_go_with_their_mailbox_and_follow_its_name(imap: Any) -> None:
    await imap.play(
        LOGIN
        + """
        C: 1 CREATE Box
        S: 1 OK ...
        C: 2 SETMETADATA Box (/private/comment "x")
        S: 2 OK ...
        C: 3 RENAME Box Other
        S: 3 OK ...
        C: 4 LIST "" (INBOX Other) RETURN (METADATA ("/private/comment" /shared/comment) STATUS (MESSAGES))
        S: * LIST (\\HasNoChildren) "/" "INBOX"
        S: * STATUS "INBOX" (MESSAGES 0)
        S: * METADATA "INBOX" (/private/comment NIL /shared/comment NIL)
        S: * LIST (\\HasNoChildren) "/" "Other"
        S: * STATUS "Other" (MESSAGES 0)
        S: * METADATA "Other" (/private/comment "x" /shared/comment NIL)
        S: 4 OK ...
        C: 5 DELETE Other
        S: 5 OK ...
        C: 6 CREATE Other
        S: 6 OK ...
        C: 7 GETMETADATA Other /private/comment
        S: * METADATA "Other" (/private/comment NIL)
        S: 7 OK ...
        """
    )


async def test_what_may_not_be_kept_is_refused_and_changes_nothing(imap: Any) -> None:
    conversation = await imap.play(
        LOGIN
        + r"""
        C: 1 SETMETADATA "" (/shared/comment "mine")
        S: 1 NO [NOPERM] ...
        C: 2 SETMETADATA INBOX (/public/comment "x")
        S: 2 BAD ...
        C: 3 SETMETADATA INBOX (/private "x")
        S: 3 BAD ...
        C: 4 SETMETADATA INBOX (/private/a//b "x")
        S: 4 BAD ...
        C: 5 SETMETADATA INBOX ("/private/a*" "x")
        S: 5 BAD ...
        C: 6 SETMETADATA INBOX (/private/a/ "x")
        S: 6 BAD ...
        C: 7 SETMETADATA Nowhere (/private/a "x")
        S: 7 NO [NONEXISTENT] ...
        C: 8 GETMETADATA Nowhere /private/a
        S: 8 NO [NONEXISTENT] ...
        C: 9 GETMETADATA (DEPTH 2) INBOX /private/a
        S: 9 BAD ...
        C: 10 GETMETADATA INBOX ()
        S: 10 BAD ...
        C\: 11 SETMETADATA INBOX (/private/a {3+}\r\na\0b)\r\n
        S: 11 BAD ...
        """
    )
    names = [f"/private/{number}" for number in range(101)]
    await conversation.play(f"C: 14 GETMETADATA INBOX ({' '.join(names)})\nS: 14 BAD ...")


async def test_an_account_keeps_so_much_and_not_more(imap: Any) -> None:
    conversation = await imap.play(LOGIN)
    value = "x" * MAX_VALUE
    literal = f"{{{MAX_VALUE}+}}"
    for number in range(64):
        await conversation.play(
            "C\\: t SETMETADATA INBOX (/private/{number} {literal}\\r\\n{value})\\r\\n\nS: t OK ...",
            number=number,
            literal=literal,
            value=value,
        )
    await conversation.play(
        r"""
        C: 1 SETMETADATA "" (/private/64 "x")
        S: 1 NO [METADATA TOOMANY] ...
        C: 2 GETMETADATA "" /private/64
        S: * METADATA "" (/private/64 NIL)
        S: 2 OK ...
        C\: 3 SETMETADATA INBOX (/private/0 NIL /private/1 {literal}\r\n{value}x)\r\n
        S: 3 NO [METADATA MAXSIZE 65536] ...
        C: 4 SETMETADATA INBOX (/private/0 NIL)
        S: 4 OK ...
        C: 5 SETMETADATA "" (/private/64 "x")
        S: 5 OK ...
        """,
        literal=f"{{{MAX_VALUE + 1}+}}",
    )
