"""A certificate authority as a few calls (RFC 8555): the acme library in a thread, its errors as ours.

One call at a time; each is bounded by TIMEOUT. It keeps nothing, waits for nothing and answers no challenge.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import requests
from acme import errors, messages
from acme.client import ClientNetwork, ClientV2
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate
from josepy.b64 import b64encode
from josepy.errors import Error as JoseError
from josepy.interfaces import JSONDeSerializable
from josepy.jwa import ES256
from josepy.jwk import JWK

from posthorn_model.errors import AuthorityRefused, PosthornError, Unavailable
from posthorn_node.settings import AcmeSettings

T = TypeVar("T")
TIMEOUT: Final = 20
"""Seconds without an octet of an answer."""
NONCES: Final = 4
SUPERSEDED: Final = 4
"""RFC 5280 5.3.1."""
USER_AGENT: Final = "posthorn"
MAX_CHAIN: Final = 1 << 20
NO_ACCOUNT: Final = "accountDoesNotExist"
_TEMPORARY: Final = frozenset({"serverInternal", "badNonce", "orderNotReady"})


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to show that a name is ours."""

    url: str
    token: str
    status: str


@dataclass(frozen=True, slots=True)
class Authorization:
    """What the authority wants to see for one name (without the "*." that was asked for)."""

    url: str
    name: str
    status: str
    challenges: Mapping[str, Challenge]
    """By kind."""
    problem: str
    """Why it was refused."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the authority has it."""

    url: str
    status: str
    authorizations: tuple[str, ...]
    certificate: str | None
    problem: str


class _Ready(JSONDeSerializable):
    """The empty object by which a challenge is said to be answered (RFC 8555 7.5.1)."""

    def to_partial_json(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_json(cls, jobj: Any) -> "_Ready":  # noqa: ARG003 (the base class wants it)
        return cls()


class _Network(ClientNetwork):
    """The library's, which tries once more when a nonce is refused; busy authorities refuse some more often."""

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(NONCES):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*args, **kwargs)


class Authority:
    """The authority that `settings` name, for the account whose key (PEM) and URL these are; "" for a new one."""

    def __init__(self, settings: AcmeSettings, key: bytes, url: str) -> None:
        self._settings = settings
        self._key = JWK.load(key)
        # The library passes on what it is given: a path, too, is what requests takes there.
        trust: Any = str(settings.ca) if settings.ca is not None else True
        self._net = _Network(self._key, alg=ES256, verify_ssl=trust, user_agent=USER_AGENT, timeout=TIMEOUT)
        self._net.session.hooks["response"].append(self._note)
        self._known: ClientV2 | None = None
        self._retry_after = 0.0
        if url:
            self._net.account = messages.RegistrationResource(uri=url, body=messages.Registration())

    def close(self) -> None:
        self._net.session.close()

    async def register(self) -> str:
        """Make the account, or find the one that this key has already; returns its URL. Raises as `_call` does."""

        def work() -> str:
            client, settings = self._client(), self._settings
            if client.external_account_required() and not settings.eab.kid:
                raise AuthorityRefused(
                    "the authority gives certificates only to accounts that it knows already: set eab.kid and "
                    "eab.hmac-key to what it shows for yours"
                )
            binding = None
            if settings.eab.kid:
                binding = messages.ExternalAccountBinding.from_data(
                    self._key.public_key(),
                    settings.eab.kid,
                    settings.eab.hmac_key.get_secret_value(),
                    client.directory,
                )
            contact = tuple(f"mailto:{each.removeprefix('mailto:')}" for each in settings.contact)
            new = messages.NewRegistration(
                contact=contact, terms_of_service_agreed=settings.terms_agreed, external_account_binding=binding
            )
            self._net.account = None
            try:
                made = client.new_account(new)
            except errors.ConflictError as there:
                made = messages.RegistrationResource(uri=there.location, body=messages.Registration())
                self._net.account = made
            return str(made.uri)

        return await self._call(work)

    async def place(self, request: bytes) -> Order:
        """Order a certificate for the names of a request (PEM)."""

        def work() -> Order:
            placed = self._client().new_order(request)
            return _order(placed.uri, placed.body)

        return await self._call(work)

    async def order_at(self, url: str) -> Order:
        """An order that was placed, as it is now."""
        return await self._call(lambda: _order(url, messages.Order.from_json(self._read(url).json())))

    async def authorization(self, url: str) -> Authorization:
        """What is wanted for one name of an order, as it is now."""
        return await self._call(lambda: _authorization(url, self._read(url).json()))

    async def answered(self, challenge: Challenge) -> None:
        """Say that a challenge can be looked at."""
        await self._call(
            lambda: self._net.post(challenge.url, _Ready(), new_nonce_url=self._client().directory["newNonce"])
        )

    async def finalize(self, order: Order, request: bytes) -> None:
        """Ask for the certificate of an order whose names are all shown to be ours."""

        def work() -> None:
            body = messages.Order.from_json(self._read(order.url).json())
            resource = messages.OrderResource(uri=order.url, body=body, csr_pem=request, authorizations=[])
            self._client().begin_finalization(resource)

        await self._call(work)

    async def certificate(self, url: str) -> bytes:
        """The chain, in PEM."""
        chain = await self._call(lambda: self._read(url).content)
        if len(chain) > MAX_CHAIN:
            raise AuthorityRefused(f"the authority sent a chain of more than {MAX_CHAIN} octets")
        return chain

    async def revoke(self, chain: bytes) -> None:
        """Revoke a certificate of this account (RFC 8555 7.6), as superseded; revoked already is no error."""

        def work() -> None:
            try:
                self._client().revoke(load_pem_x509_certificate(chain), SUPERSEDED)
            except messages.Error as error:
                if error.code != "alreadyRevoked":
                    raise

        await self._call(work)

    async def renewal(self, chain: bytes) -> tuple[datetime | None, float]:
        """When the authority advises to renew (RFC 9773), None for no advice; and in how many seconds to ask again."""
        at, again = await self._call(lambda: self._client().renewal_time(chain))
        # The library counts the second in local time without saying so.
        return at, (again - datetime.now()).total_seconds()

    def authorization_of(self, token: str) -> str:
        """The key authorization of a token (RFC 8555 8.1)."""
        thumbprint = b64encode(self._key.thumbprint(hash_function=SHA256)).decode()
        return f"{token}.{thumbprint}"

    def _client(self) -> ClientV2:
        if self._known is None:
            directory = ClientV2.get_directory(self._settings.directory, self._net)
            self._known = ClientV2(directory, self._net)
        return self._known

    def _read(self, url: str) -> requests.Response:
        """POST-as-GET (RFC 8555 6.3)."""
        return self._net.post(url, None, new_nonce_url=self._client().directory["newNonce"])

    def _note(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """The library's errors do not tell when to come again (RFC 8555 6.6)."""
        if response.status_code >= 400:
            seconds = (ClientV2.retry_after(response, 0) - datetime.now()).total_seconds()
            self._retry_after = max(0.0, seconds)

    async def _call(self, work: Callable[[], T]) -> T:
        """Raises AuthorityRefused; Unavailable when there is no answer."""
        self._retry_after = 0.0
        try:
            return await asyncio.to_thread(work)
        except PosthornError:
            raise
        except messages.Error as error:
            raise self._refusal(error) from error
        except requests.RequestException as error:
            raise Unavailable(
                f"the authority {self._settings.directory} cannot be reached", cause=str(error)
            ) from error
        except (errors.Error, JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise AuthorityRefused(
                f"{self._settings.directory} does not answer as an ACME server does",
                dead=False,
                cause=repr(error)[:500],
            ) from error

    def _refusal(self, error: messages.Error) -> PosthornError:
        text = f"the authority says: {_told(error)}"
        if error.code in _TEMPORARY:
            return Unavailable(text)
        limited = error.code == "rateLimited"
        return AuthorityRefused(text, dead=not limited, retry_after=self._retry_after, code=error.code)


def dns_value(authorization: str) -> str:
    """The TXT record that answers dns-01 (RFC 8555 8.4)."""
    return b64encode(hashlib.sha256(authorization.encode()).digest()).decode()


def _told(error: messages.Error) -> str:
    """Its words and those of its parts (RFC 8555 6.7.1), for people."""
    parts = [f"{each.identifier.value}: {each.detail}" for each in error.subproblems or () if each.identifier]
    words = [str(error.detail or error.title or error.typ), *parts]
    return "; ".join(words).replace("\n", " ")[:500]


def _order(url: str, body: messages.Order) -> Order:
    return Order(
        url=url,
        status=str(body.status.name),
        authorizations=tuple(body.authorizations or ())[:1000],
        certificate=body.certificate,
        problem=_told(body.error) if body.error is not None else "",
    )


def _authorization(url: str, found: Any) -> Authorization:
    challenges: dict[str, Challenge] = {}
    problems: list[str] = []
    offered: Sequence[Any] = found["challenges"]
    for each in offered[:100]:
        # Of kinds that nobody here knows, nothing is known either.
        if isinstance(each.get("token"), str):
            challenges[str(each["type"])] = Challenge(str(each["url"]), each["token"], str(each.get("status", "")))
        if isinstance(each.get("error"), dict):
            problems.append(_told(messages.Error.from_json(each["error"])))
    name = str(found["identifier"]["value"]).lower()
    return Authorization(url, name, str(found["status"]), challenges, "; ".join(problems)[:500])
