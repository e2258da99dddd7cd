"""Bearer tokens, signed with real keys by a provider that answers over real HTTP; and what a process takes of them."""

import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from posthorn_assembly.provider import MAX_ANSWER, Ask
from posthorn_assembly.tokens import KEYS_PAUSE, KEYS_SECONDS, Tokens
from posthorn_model.errors import AuthenticationFailed, Unavailable
from posthorn_node.settings import OauthSettings
from posthorn_storage import Storage

ANN = "ann@example.org"
ISSUER, AUDIENCE = "https://id.example.org", "mail"
CLIENT = ("posthorn", "s3cret/+")


class Provider:
    """An identity provider: gives out tokens, shows its keys, answers about opaque tokens."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.published = ["rsa", "ec"]
        self.active: dict[str, Mapping[str, Any]] = {}
        self.raw: bytes | None = None
        """Instead of any answer."""
        self.status = 200
        self.asked: list[str] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                self.reply({"keys": [provider.public(name) for name in provider.published]})

            def do_POST(self) -> None:
                provider.asked.append(self.path)
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                pair = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
                known = pair == "posthorn:s3cret%2F%2B"
                found = provider.active.get(form["token"][0]) if known else None
                self.reply({"active": True, **found} if found is not None else {"active": False})

            def reply(self, value: Any) -> None:
                body = provider.raw if provider.raw is not None else json.dumps(value).encode()
                self.send_response(provider.status)
                if provider.status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def public(self, name: str) -> dict[str, Any]:
        kind = jwt.algorithms.RSAAlgorithm if name.startswith("rsa") else jwt.algorithms.ECAlgorithm
        key: Any = self.rsa if name.startswith("rsa") else self.ec
        return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": name}

    def token(self, kid: str | None = "rsa", **claims: Any) -> str:
        """A good one but for what `claims` say; None leaves a claim out."""
        said = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 600, "email": ANN, **claims}
        key: Any = self.ec if kid == "ec" else self.rsa
        headers = {} if kid is None else {"kid": kid}
        present = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(present, key, "ES256" if kid == "ec" else "RS256", headers=headers)


class Clock:
    """Monotonic time as a test says; the wall's own."""

    now = 10_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    made = Ask(timeout=60.0)
    yield made
    made.close()


def settings(provider: Provider, **more: Any) -> OauthSettings:
    values = {"issuer": ISSUER, "audience": AUDIENCE, "jwks-url": f"{provider.url}/keys", **more}
    return OauthSettings.model_validate(values)


async def test_signed_tokens_are_their_owners(provider: Provider, ask: Ask) -> None:
    tokens = Tokens(settings(provider), ask, Clock())
    for token in (provider.token(), provider.token("ec"), provider.token(aud=["other", AUDIENCE])):
        assert await tokens.owner(token) == ANN
    assert await tokens.owner(provider.token(email="bob@example.org", email_verified=True)) == "bob@example.org"
    assert provider.asked == ["/keys"]
    named = Tokens(settings(provider, claim="preferred_username"), ask, Clock())
    assert await named.owner(provider.token(preferred_username="ann@example.com")) == "ann@example.com"


async def test_signed_tokens_that_are_good_for_nothing(provider: Provider, ask: Ask) -> None:
    tokens = Tokens(settings(provider), ask, Clock())
    public = provider.rsa.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    head, body, signature = provider.token().split(".")
    other = Provider()
    other.server.server_close()
    for token in (
        provider.token(exp=time.time() - 60),
        provider.token(exp=None),
        provider.token(nbf=time.time() + 600),
        provider.token(iss="https://other.example.org"),
        provider.token(aud="other"),
        provider.token(aud=None),
        provider.token(email=None),
        provider.token(email=["ann@example.org"]),
        provider.token(email_verified=False),
        provider.token("unknown"),
        other.token(),
        jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 60, "email": ANN}, "", "none"),
        jwt.encode(
            {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 60, "email": ANN},
            public[40:],
            "HS256",
            {"kid": "rsa"},
        ),
        f"{head}.{body}.",
        f"{head}.{body[:-4]}.{signature}",
        "a.b.c",
        "..",
        "opaque",
    ):
        with pytest.raises(AuthenticationFailed):
            await tokens.owner(token)
    other.server.shutdown()


async def test_new_keys_are_found_and_made_up_ones_do_not_flood_the_provider(provider: Provider, ask: Ask) -> None:
    clock = Clock()
    tokens = Tokens(settings(provider), ask, clock)
    provider.published = ["ec"]
    for _ in range(5):
        with pytest.raises(AuthenticationFailed):
            await tokens.owner(provider.token("rsa"))
    assert len(provider.asked) == 1
    provider.published = ["ec", "rsa"]
    clock.now += KEYS_PAUSE + 1
    assert await tokens.owner(provider.token("rsa")) == ANN
    # A provider that is away does not lock out those whose keys are known.
    clock.now += KEYS_SECONDS + 1
    provider.status = 503
    assert await tokens.owner(provider.token("rsa", jti="2")) == ANN
    assert len(provider.asked) == 3


async def test_a_provider_that_does_not_answer_is_no_refusal(provider: Provider, ask: Ask) -> None:
    for status, raw in ((503, None), (302, None), (200, b"<html>"), (200, b"[]"), (200, b" " * (MAX_ANSWER + 1))):
        provider.status, provider.raw = status, raw
        with pytest.raises(Unavailable):
            await Tokens(settings(provider), ask, Clock()).owner(provider.token())
    assert "/elsewhere" not in provider.asked


async def test_the_provider_is_asked_about_opaque_tokens(provider: Provider, ask: Ask) -> None:
    clock = Clock()
    asking = settings(
        provider,
        **{"introspection-url": f"{provider.url}/about", "client-id": CLIENT[0], "client-secret": CLIENT[1]},
    )
    tokens = Tokens(asking, ask, clock)
    good = {"aud": AUDIENCE, "iss": ISSUER, "email": ANN, "exp": time.time() + 600}
    provider.active = {
        "good": good,
        "old": {**good, "exp": time.time() - 60},
        "other": {**good, "aud": "other"},
        "foreign": {**good, "iss": "https://other.example.org"},
        "nobody": {**good, "email": None},
        "odd": {**good, "exp": "soon"},
    }
    assert await tokens.owner("good") == ANN
    assert await tokens.owner("good") == ANN
    assert provider.asked == ["/about"], "a verdict is remembered"
    for token in ("old", "other", "foreign", "nobody", "odd", "unknown"):
        with pytest.raises(AuthenticationFailed):
            await tokens.owner(token)
    provider.active = {}
    clock.now += asking.remember + 1
    with pytest.raises(AuthenticationFailed):
        await tokens.owner("good")
    assert "s3cret" not in repr(asking)


@pytest.mark.postgres
async def test_logins_by_token(provider: Provider, ask: Ask, storage: Storage, account: Any) -> None:
    ann, directory = await account(ANN), storage.directory
    claims = directory.claims("192.0.2.1", "imap")
    with pytest.raises(AuthenticationFailed):
        await claims.by_token(ANN, provider.token())
    directory.take_tokens(Tokens(settings(provider), ask, Clock()))
    assert directory.takes_tokens
    assert await claims.by_token("Ann@Example.org", provider.token()) == ann
    assert await claims.by_token("", provider.token(email="ANN@example.org")) == ann
    for login, token in (
        ("bob@example.org", provider.token()),
        (ANN, provider.token(email="bob@example.org")),
        ("", provider.token(email="bob@example.org")),
        ("", provider.token(email="rubbish")),
        (ANN, "opaque"),
    ):
        with pytest.raises(AuthenticationFailed):
            await claims.by_token(login, token)
