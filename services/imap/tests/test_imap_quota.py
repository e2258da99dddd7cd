"""Conversations about what an account may store (RFC 9208)."""

from typing import Any

import pytest

pytestmark = pytest.mark.postgres

LOGIN = """
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK [CAPABILITY ... QUOTA QUOTA=RES-STORAGE ...
"""


async def test_a_limit_and_what_is_used_of_it(imap_server: Any, account: Any) -> None:
    await account("ann@example.org", password="secret", quota=10_000)
    server = await imap_server()
    await server.play(
        LOGIN
        + r"""
        C: 1 GETQUOTA account
        S: * QUOTA "account" (STORAGE 0 9)
        S: 1 OK ...
        C\: 2 APPEND INBOX (\\Deleted) {{2000+}}\r\n{text}\r\n
        S: 2 OK ...
        C: 3 GETQUOTAROOT inbox
        S: * QUOTAROOT "INBOX" "account"
        S: * QUOTA "account" (STORAGE 2 9)
        S: 3 OK ...
        C\: 4 APPEND INBOX {{9000+}}\r\n{long}\r\n
        S: 4 NO [OVERQUOTA] ...
        C: 5 STATUS INBOX (DELETED DELETED-STORAGE)
        S: * STATUS "INBOX" (DELETED 1 DELETED-STORAGE 2000)
        S: 5 OK ...
        C: 6 LIST "" "*" RETURN (STATUS (DELETED-STORAGE))
        S: * LIST ...
        S: * STATUS "INBOX" (DELETED-STORAGE 2000)
        S*: 6 OK ...
        C: 7 GETQUOTA other
        S: 7 NO [NONEXISTENT] ...
        C: 8 GETQUOTAROOT Nowhere
        S: 8 NO [NONEXISTENT] ...
        C: 9 SETQUOTA account (STORAGE 100000)
        S: 9 BAD unknown command SETQUOTA
        C: 11 GETQUOTA account
        S: * QUOTA "account" (STORAGE 2 9)
        S: 11 OK ...
        """.replace("{{", "{").replace("}}", "}"),
        text="a" * 2000,
        long="b" * 9000,
    )


async def test_without_a_limit_no_resource_is_named(imap: Any) -> None:
    await imap.play(
        LOGIN
        + """
        C: 1 GETQUOTAROOT INBOX
        S: * QUOTAROOT "INBOX" "account"
        S: * QUOTA "account" ()
        S: 1 OK ...
        C: 2 STATUS INBOX (DELETED-STORAGE)
        S: * STATUS "INBOX" (DELETED-STORAGE 0)
        S: 2 OK ...
        """
    )
