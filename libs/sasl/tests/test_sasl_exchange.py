"""Exchanges as they go over the wire, and logins with somebody who judges."""

import base64
import json

import pytest

from posthorn_model.errors import AuthenticationFailed, TooManyFailures
from posthorn_sasl import Challenge, Exchange, Login, Problem, SaslProblem, Terms, Verifier, offered
from posthorn_sasl.verifiers import derive, nobody
from posthorn_testkit.scram_client import ScramClient

VERIFIER = derive("secret", iterations=4096)
TOKENS = Terms(tokens=True)


def b64(text: bytes | str) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


class Ann:
    """Knows one account."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def verifier(self, login: str) -> Verifier:
        return VERIFIER if login == "ann" else nobody(b"x", login)

    async def by_password(self, login: str, password: str) -> str:
        return self._judge(login, fits=(login, password) == ("ann", "secret"))

    async def by_proof(self, login: str, *, fits: bool) -> str:
        return self._judge(login, fits=fits)

    async def by_token(self, login: str, token: str) -> str:
        return self._judge(login or "ann", fits=token == "good.token")

    def _judge(self, login: str, *, fits: bool) -> str:
        self.asked.append(login)
        if login == "banned":
            raise TooManyFailures(retry_after=1)
        if not fits:
            raise AuthenticationFailed
        return login


async def play(mechanism: str, *lines: bytes | None, terms: Terms = TOKENS) -> list[object]:
    """What comes of each line: octets of a challenge, a name, or what was raised, which is the last."""
    found: list[object] = []
    try:
        login = Login(Exchange(mechanism, terms), Ann())
        for line in lines:
            step = await login.step(line)
            found.append(step.data if isinstance(step, Challenge) else step)
    except SaslProblem as problem:
        found.append(problem.problem)
    except (AuthenticationFailed, TooManyFailures) as error:
        found.append(type(error))
    return found


def test_what_is_offered() -> None:
    assert offered(Terms()) == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
    assert offered(Terms({"tls-server-end-point": b"x"}, tokens=True)) == [
        "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2",
    ]  # fmt: skip


@pytest.mark.parametrize("mechanism", ["", "plain", "CRAM-MD5", "SCRAM-SHA-256-PLUS", "OAUTHBEARER"])
async def test_what_is_not_offered(mechanism: str) -> None:
    assert await play(mechanism, None, terms=Terms()) == [Problem.MECHANISM]


@pytest.mark.parametrize(
    ("mechanism", "lines", "found"),
    [
        ("PLAIN", (b64("\0ann\0secret"),), ["ann"]),
        ("PLAIN", (None, b64("ann\0ann\0secret")), [b"", "ann"]),
        ("PLAIN", (b64("\0ann\0wrong"),), [AuthenticationFailed]),
        ("PLAIN", (b64("\0banned\0secret"),), [TooManyFailures]),
        ("PLAIN", (b64("bob\0ann\0secret"),), [Problem.IDENTITY]),
        ("PLAIN", (b64("ann\0secret"),), [Problem.SYNTAX]),
        ("PLAIN", (b64("\0\0secret"),), [Problem.SYNTAX]),
        ("PLAIN", (b64(b"\0ann\0\xff"),), [Problem.SYNTAX]),
        ("PLAIN", (b64("\0ann\0" + "x" * 1025),), [Problem.TOO_LONG]),
        ("PLAIN", (b"=",), [Problem.SYNTAX]),
        ("PLAIN", (None, b"="), [b"", Problem.ENCODING]),
        ("PLAIN", (None, b"*"), [b"", Problem.CANCELLED]),
        ("PLAIN", (None, b"!"), [b"", Problem.ENCODING]),
        ("PLAIN", (None, b"A" * 12_292), [b"", Problem.TOO_LONG]),
        ("LOGIN", (None, b64("ann"), b64("secret")), [b"Username:", b"Password:", "ann"]),
        ("LOGIN", (b64("ann"), b64("secret")), [b"Password:", "ann"]),
        ("LOGIN", (b64("ann"), b"*"), [b"Password:", Problem.CANCELLED]),
        ("LOGIN", (b64("ann"), b64("")), [b"Password:", Problem.SYNTAX]),
    ],
)
async def test_passwords(mechanism: str, lines: tuple[bytes | None, ...], found: list[object]) -> None:
    assert await play(mechanism, *lines) == found


async def scram(user: str, password: str) -> list[object]:
    client = ScramClient(user, password)
    login = Login(Exchange("SCRAM-SHA-256", Terms()), Ann())
    salted = await login.step(b64(client.first()))
    assert isinstance(salted, Challenge)
    try:
        signed = await login.step(b64(client.final(salted.data)))
    except AuthenticationFailed:
        return [login.claimed, "refused"]
    assert signed == Challenge(client.expected)
    return [login.claimed, await login.step(b"")]


async def test_scram() -> None:
    assert await scram("ann", "secret") == ["ann", "ann"]
    assert await scram("ann", "wrong") == ["ann", "refused"]
    assert await scram("bob", "secret") == ["bob", "refused"]


@pytest.mark.parametrize(
    "response",
    ["n,a=ann,\x01host=mail\x01port=143\x01auth=Bearer good.token\x01\x01", "n,,\x01auth=bearer good.token\x01\x01"],
)
async def test_oauthbearer(response: str) -> None:
    assert await play("OAUTHBEARER", b64(response)) == ["ann"]
    assert await play("OAUTHBEARER", None, b64(response)) == [b"", "ann"]


@pytest.mark.parametrize(
    ("response", "found"),
    [
        ("n,a=ann,\x01auth=Bearer bad\x01\x01", [{"status": "invalid_token"}, AuthenticationFailed]),
        ("n,a=ann,\x01\x01", [Problem.SYNTAX]),
        ("n,a=ann,\x01auth=Basic x\x01\x01", [Problem.SYNTAX]),
        ("n,a=ann,\x01auth=Bearer a b\x01\x01", [Problem.SYNTAX]),
        ("n,a=ann,\x01auth=Bearer x\x01auth=Bearer x\x01\x01", [Problem.SYNTAX]),
        ("n,a=ann,\x01auth=Bearer x\x01", [Problem.SYNTAX]),
        ("p=tls-unique,,\x01auth=Bearer x\x01\x01", [Problem.SYNTAX]),
        ("n,a=ann,\x01auth=Bearer " + "x" * 8193 + "\x01\x01", [Problem.TOO_LONG]),
        ("", [Problem.SYNTAX]),
    ],
)
async def test_oauthbearer_refused(response: str, found: list[object]) -> None:
    assert decoded(await play("OAUTHBEARER", b64(response), b64("\x01"))) == found


async def test_xoauth2() -> None:
    good = "user=ann\x01auth=Bearer good.token\x01\x01"
    assert await play("XOAUTH2", b64(good)) == ["ann"]
    refused = decoded(await play("XOAUTH2", b64(good.replace("good", "bad")), b""))
    assert refused == [{"status": "401", "schemes": "bearer"}, AuthenticationFailed]
    assert await play("XOAUTH2", b64("user=ann")) == [Problem.SYNTAX]


def decoded(found: list[object]) -> list[object]:
    return [json.loads(each) if isinstance(each, bytes) and each else each for each in found]
