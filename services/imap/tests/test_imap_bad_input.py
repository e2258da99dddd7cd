"""Bad input: each mistake gets a clear answer, and the connection lives or ends as it should."""

from typing import Any

import pytest

from posthorn_imap.settings import SessionLimits, SessionTimes

pytestmark = pytest.mark.postgres

LOGIN = """
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK ...
"""


async def test_mistakes_leave_the_connection_alive(imap: Any) -> None:
    await imap.play(
        LOGIN
        + r"""
        C: 1 FROB
        S: 1 BAD unknown command FROB
        C: 2 NOOP
        S: 2 OK ...
        C: 3 SELECT
        S: 3 BAD SELECT: missing argument
        C\: 4 NOOP\n
        S: 4 BAD lines end with CRLF
        C\: 5 NO\0OP\r\n
        S: 5 BAD NUL in a line
        C: 6 NOOP
        S: 6 OK ...
        C\: 7 NO\rOP\r\n
        S: 7 BAD bare CR in a line
        C: 8 NOOP
        S: 8 OK ...
        C: 9 SELECT &&&
        S: 9 BAD SELECT: invalid modified UTF-7 in a mailbox name
        C\: 10 CREATE {3+}\r\na\0b\r\n
        S: 10 BAD CREATE: NUL in a literal
        C: 11 FETCH 1 FLAGS
        S: 11 BAD FETCH: select a mailbox first
        C: 12 APPEND INBOX {0}
        S: + ...
        C:
        S: 12 NO An empty message cannot be stored
        C: 13 NOOP
        S: 13 OK NOOP completed
        """
    )


async def test_three_garbage_lines_end_it(imap: Any) -> None:
    await imap.play(
        r"""
        S: * OK ...
        C: GET / HTTP/1.1
        S: GET BAD expected a command
        C: Host: example.org
        S: Host: BAD unknown command EXAMPLE
        C\: \x16\x03\x01\x02\x00\r\n
        S: * BAD NUL in a line
        S: * BYE Too many errors
        E:
        """
    )


async def test_trying_commands_of_extensions_does_not_end_it(imap: Any) -> None:
    tries = "".join(f"C: {n} {verb}\nS: {n} BAD unknown command {verb}\n" for n, verb in enumerate(["XLIST"] * 5))
    await imap.play("S: * OK ...\n" + tries + "C: x NOOP\nS: x OK ...\n")


async def test_an_over_long_line(imap: Any) -> None:
    await imap.play(
        LOGIN
        + f"""
        C: 1 {"x" * 70000}
        S: 1 BAD command longer than 65536 octets
        C: 2 NOOP
        S: 2 OK ...
        """
    )


async def test_too_many_errors_end_it(imap_server: Any, account: Any) -> None:
    await account("ann@example.org", password="secret")
    server = await imap_server(limits=SessionLimits(errors=3))
    await server.play(
        LOGIN
        + """
        C: 1 FETCH 1 FLAGS
        S: 1 BAD ...
        C: 2 FETCH 1 FLAGS
        S: 2 BAD ...
        C: 3 FETCH 1 FLAGS
        S: 3 BAD ...
        S: * BYE Too many errors
        E:
        """
    )


async def test_literals_that_are_too_large_are_refused_before_they_come(imap_server: Any, account: Any) -> None:
    await account("ann@example.org", password="secret")
    server = await imap_server(append_limit=65536)
    await server.play(
        """
        S: * OK ...
        C: 1 LOGIN {9000}
        S: 1 BAD [TOOBIG] Literal too large before login
        C: 2 APPEND INBOX {9000}
        S: 2 BAD [TOOBIG] Literal too large before login
        C: l LOGIN ann@example.org secret
        S: l OK [CAPABILITY ... APPENDLIMIT=65536] ...
        C: 3 APPEND INBOX {65537}
        S: 3 NO [TOOBIG] Messages may have 65536 octets
        C: 4 APPEND INBOX {99999999999999999999}
        S: 4 NO [TOOBIG] ...
        C: 5 SELECT {300000}
        S: 5 BAD [TOOBIG] Literal too large
        """
        + "C\\: 6 APPEND INBOX {70000+}\\r\\n"
        + "x" * 70000
        + """\\r\\n
        S: 6 NO [TOOBIG] ...
        C: 7 NOOP
        S: 7 OK ...
        C: 8 APPEND INBOX {99999999999+}
        S: * BYE [TOOBIG] Cannot follow: literal of 99999999999 octets
        E:
        """
    )


async def test_literals_that_lie(imap: Any) -> None:
    """More octets than announced are more of the command; fewer are waited for."""
    await imap.play(
        LOGIN
        + r"""
        C\: 1 CREATE {3+}\r\nabcdef\r\n
        S: 1 BAD CREATE: unexpected text at the end of the command
        C\: 2 CREATE {20+}\r\nabc\r\n
        C: 3 NOOP and more
        S: 2 BAD ...
        C: 4 NOOP
        S: 4 OK ...
        C\: 5 APPEND INBOX {50+}\r\nSubject: cut short
        """
    )
    await imap.play(LOGIN + 'C: 1 STATUS INBOX (MESSAGES)\nS: * STATUS "INBOX" (MESSAGES 0)\nS: 1 OK ...')


async def test_memory_for_appends_is_bounded(imap_server: Any, account: Any) -> None:
    await account("ann@example.org", password="secret")
    server = await imap_server(limits=SessionLimits(append_memory=1_048_576))
    conversation = await server.play(
        LOGIN
        + """
        C: 1 APPEND INBOX {1000000}
        S: + ...
        2 S: * OK ...
        2 C: l LOGIN ann@example.org secret
        2 S: l OK ...
        2 C: 1 APPEND INBOX {1000000}
        2 S: 1 NO [LIMIT] ...
        2 C: 2 NOOP
        2 S: 2 OK ...
        """
    )
    assert server.parts.append_memory.used == 1_000_000
    await conversation.close()
    await server.stop()
    assert server.parts.append_memory.used == 0


async def test_who_does_not_log_in_is_sent_away(imap_server: Any) -> None:
    server = await imap_server(times=SessionTimes(login=0.05))
    await server.play("S: * OK ...\nS: * BYE Log in sooner\nE:")


async def test_who_is_inactive_is_sent_away(imap_server: Any, account: Any) -> None:
    await account("ann@example.org", password="secret")
    server = await imap_server(times=SessionTimes(inactive=0.05))
    await server.play(LOGIN + "S: * BYE Inactive for too long\nE:")


async def test_idle_shows_signs_of_life_and_wants_done(imap_server: Any, account: Any) -> None:
    await account("ann@example.org", password="secret")
    server = await imap_server(times=SessionTimes(idle_keepalive=0.05))
    await server.play(
        LOGIN
        + """
        C: 1 IDLE
        S: + idling
        S: * OK Still here
        S: * OK Still here
        C: NOOP
        S*: 1 BAD expected DONE
        C: 2 NOOP
        S: 2 OK ...
        """
    )


async def test_connections_are_bounded(imap_server: Any, account: Any) -> None:
    await account("ann@example.org", password="secret")
    server = await imap_server(limits=SessionLimits(connections_per_address=2, connections_per_account=1))
    await server.play(
        LOGIN
        + """
        2 S: * OK ...
        2 C: 1 LOGIN ann@example.org secret
        2 S: 1 NO [LIMIT] too many connections of this account
        3 S: * BYE [UNAVAILABLE] Too many connections, try again later
        3 E:
        C: 1 LOGOUT
        S*: 1 OK ...
        E:
        2 C: 2 LOGIN ann@example.org secret
        2 S: 2 OK ...
        """
    )


async def test_a_drain_says_bye_between_commands(imap: Any) -> None:
    conversation = await imap.play(
        LOGIN
        + """
        2 S: * OK ...
        2 C: l LOGIN ann@example.org secret
        2 S: l OK ...
        2 C: 1 IDLE
        2 S: + idling
        """
    )
    for reception in imap.receptions.values():
        await reception.drain()
    await conversation.play(
        """
        S: * BYE [UNAVAILABLE] Server shutting down
        E:
        2 S: * BYE [UNAVAILABLE] Server shutting down
        2 S: 1 OK IDLE ended
        2 E:
        """
    )


async def test_the_proxy_header_names_the_client(imap_server: Any) -> None:
    server = await imap_server(proxy="127.0.0.0/8", limits=SessionLimits(connections_per_address=1))
    await server.play(
        r"""
        C\: PROXY TCP4 192.0.2.1 192.0.2.9 4711 143\r\n
        S: * OK ...
        2 C\: PROXY TCP4 192.0.2.2 192.0.2.9 4711 143\r\n
        2 S: * OK ...
        3 C\: PROXY TCP4 192.0.2.1 192.0.2.9 4712 143\r\n
        3 S: * BYE [UNAVAILABLE] ...
        3 E:
        4 C\: \r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x03\xc0\x00\x02\x09\x12\x34\x00\x8f
        4 S: * OK ...
        5 C: 1 NOOP and no header
        5 E:
        """
    )


async def test_eof_in_the_middle_leaves_nothing_behind(imap: Any) -> None:
    for start in ("1 NO", "1 LOGIN {5}\\r\\nab", "1 AUTHENTICATE PLAIN\\r\\n", "1 IDLE\\r\\n"):
        conversation = await imap.play(f"S: * OK ...\nC\\: {start}")
        await conversation.close()
    await imap.play(LOGIN)
