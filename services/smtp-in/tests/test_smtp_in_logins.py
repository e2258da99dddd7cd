"""AUTH by SCRAM: on TLS bound to it, refused in the words of SMTP, and by a client of other people."""

import asyncio
import base64
import hashlib
from typing import Any

import pytest

from posthorn_testkit.gsasl import log_in
from posthorn_testkit.scram_client import ScramClient

pytestmark = pytest.mark.postgres
PLUS = b"p=tls-server-end-point,,"


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


async def scram(talk: Any, mechanism: str, client: ScramClient) -> str:
    """The whole exchange; returns the last reply."""
    await talk.play(f"S: 220 *\nC: EHLO c\nS: 250-*{mechanism}*\nC: AUTH {mechanism} {b64(client.first())}")
    said = await talk.reply()
    if not said.startswith("334 "):
        return str(said)
    talk.send(b64(client.final(base64.b64decode(said[4:]))).encode() + b"\r\n")
    said = await talk.reply()
    if not said.startswith("334 "):
        return str(said)
    assert base64.b64decode(said[4:]) == client.expected
    talk.send(b"\r\n")
    return str(await talk.reply())


async def test_scram_is_bound_to_the_certificate_that_was_shown(service: Any, people: Any) -> None:
    async with await service.connect("submissions", tls=True) as talk:
        shown = talk.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        client = ScramClient("ann@example.org", "correct horse", PLUS, hashlib.sha256(shown).digest())
        assert await scram(talk, "SCRAM-SHA-256-PLUS", client) == "235 2.7.0 Authentication successful"
        await talk.play("C: MAIL FROM:<ann@example.org>\nS: 250 *")
    async with await service.connect("submissions", tls=True) as talk:
        client = ScramClient("ann@example.org", "correct horse", PLUS, b"of somebody in the middle")
        assert (await scram(talk, "SCRAM-SHA-256-PLUS", client)).startswith("535 5.7.8 The channel binding")


@pytest.mark.parametrize(
    ("user", "password", "answer"),
    [("Ann@example.org", "correct horse", "235"), ("ann@example.org", "wrong", "535"), ("x@example.org", "x", "535")],
)
async def test_scram_without_tls(service: Any, people: Any, user: str, password: str, answer: str) -> None:
    async with await service.connect("plain") as talk:
        assert (await scram(talk, "SCRAM-SHA-256", ScramClient(user, password))).startswith(answer)
    assert ("login refused" in service.log.getvalue()) == (answer == "535")
    assert "correct horse" not in service.log.getvalue()


async def test_an_exchange_can_be_given_up_at_any_point(service: Any, people: Any) -> None:
    first = b64(ScramClient("ann@example.org", "correct horse").first())
    async with await service.connect("plain") as talk:
        await talk.play(f"""
            S: 220 *
            C: EHLO c
            S: 250-*
            C: AUTH SCRAM-SHA-256
            S: 334*
            C: *
            S: 501 5.7.0 Authentication cancelled
            C: AUTH SCRAM-SHA-256 {first}
            S: 334 *
            C: *
            S: 501 5.7.0 Authentication cancelled
            C: AUTH SCRAM-SHA-256 {first}
            S: 334 *
            C: NOOP
            S: 501 5.5.2 *
            C: AUTH SCRAM-SHA-256-PLUS {first}
            S: 504 5.5.4 *
            C: NOOP
            S: 250 *
        """)


@pytest.mark.peers
async def test_gsasl(service: Any, people: Any) -> None:
    address = ("127.0.0.1", service.port("plain"))
    for password, answer in (("correct horse", True), ("wrong", False)):
        found = await asyncio.to_thread(log_in, "smtp", "SCRAM-SHA-256", address, "ann@example.org", password)
        assert found is answer
