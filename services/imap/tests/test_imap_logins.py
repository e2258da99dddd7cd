"""AUTHENTICATE and POP3's AUTH by SCRAM and LOGIN, and by a client of other people."""

import asyncio
import base64
from typing import Any

import pytest

from posthorn_testkit.gsasl import log_in
from posthorn_testkit.scram_client import ScramClient

pytestmark = pytest.mark.postgres
WITHOUT_BINDING = "AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN"


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


async def begin(conversation: Any, opening: str, client: ScramClient) -> None:
    """Up to the client's proof."""
    await conversation.play(opening + "\nS: + {salted}", first=b64(client.first()))
    final = client.final(base64.b64decode(conversation.variables["salted"]))
    await conversation.play("C: {final}", final=b64(final))


@pytest.mark.parametrize("initial", [" {first}", "\nS: + ...\nC: {first}"])
async def test_imap(imap: Any, initial: str) -> None:
    client, conversation = ScramClient("ann@example.org", "secret"), imap.talk()
    await begin(conversation, f"S: * OK [... {WITHOUT_BINDING}] ...\nC: 1 AUTHENTICATE SCRAM-SHA-256{initial}", client)
    await conversation.play("S: + {signed}\nC:\nS: 1 OK [CAPABILITY ...] Logged in", signed=b64(client.expected))


async def test_imap_refuses(imap: Any) -> None:
    conversation = imap.talk()
    await conversation.play("S: * OK ...")
    for user in ("ann@example.org", "nobody@example.org"):
        conversation.variables.clear()
        await begin(conversation, "C: 1 AUTHENTICATE SCRAM-SHA-256 {first}", ScramClient(user, "wrong"))
        await conversation.play("S: 1 NO [AUTHENTICATIONFAILED] Login or password is wrong")
    await conversation.play("C: 2 AUTHENTICATE SCRAM-SHA-256 {x}\nS: 2 BAD ...", x=b64(b"n,,n=ann"))
    await conversation.play(
        "C: 3 AUTHENTICATE SCRAM-SHA-256 {x}\nS: 3 NO [AUTHENTICATIONFAILED] ...", x=b64(b"p=x,,n=a,r=b")
    )


async def test_with_tls_it_can_be_bound(imap: Any) -> None:
    await imap.play(f"S: * OK [... AUTH=SCRAM-SHA-256-PLUS {WITHOUT_BINDING}] ...", listener="implicit")


async def test_login_mechanism(imap: Any) -> None:
    await imap.play(
        """
        S: * OK ...
        C: 1 AUTHENTICATE LOGIN
        S: + VXNlcm5hbWU6
        C: {user}
        S: + UGFzc3dvcmQ6
        C: {password}
        S: 1 OK ...
        """,
        user=b64(b"ann@example.org"),
        password=b64(b"secret"),
    )


async def test_pop3(imap: Any) -> None:
    client, conversation = ScramClient("ann@example.org", "secret"), imap.talk("pop3")
    await begin(conversation, "S: +OK ...\nC: AUTH SCRAM-SHA-256 {first}", client)
    await conversation.play("S: + {signed}\nC:\nS: +OK 0 messages", signed=b64(client.expected))
    await imap.play(
        """
        S: +OK ...
        C: AUTH
        S: -ERR name a mechanism: SCRAM-SHA-256, PLAIN, LOGIN
        C: AUTH CRAM-MD5
        S: -ERR that mechanism is not offered
        C: AUTH LOGIN
        S: + ...
        C: *
        S: -ERR authentication cancelled
        """,
        listener="pop3",
    )


@pytest.mark.peers
async def test_gsasl(imap: Any) -> None:
    for password, answer in (("secret", True), ("wrong", False)):
        found = await asyncio.to_thread(log_in, "imap", "SCRAM-SHA-256", imap.address(), "ann@example.org", password)
        assert found is answer
