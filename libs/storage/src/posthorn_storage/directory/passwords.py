"""Passwords: argon2id and SCRAM verifiers in a bounded thread pool, and a short memory of what was verified.

Secrets are never logged or kept: the memory holds digests under a random key of this process only.
"""

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id

from posthorn_model.errors import AuthenticationFailed, Overloaded
from posthorn_sasl.preparation import password_form
from posthorn_sasl.verifiers import derive

MAX_PASSWORD_BYTES = 1024
# The cheapest in memory of the equivalent settings of the OWASP password storage cheat sheet: many log-ins at once are
# the normal case of a mail server.
PASSES = 5
MEMORY = 7168 * 1024
"""Bytes that one hash fills."""
_WAITING = 512
T = TypeVar("T")


class Secrets(NamedTuple):
    """What is kept of a password."""

    hash: str
    """argon2id, as a PHC string."""
    verifier: str
    """Of SCRAM-SHA-256, in the form of posthorn_sasl.verifiers."""


class Passwords:
    """Hashes and verifies. `close` it to end its threads."""

    def __init__(self, *, threads: int = 2) -> None:
        self._nobody = _hashed(secrets.token_hex(16))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._waiting = 0

    def close(self) -> None:
        """End the threads; work not started is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def protect(self, password: str) -> Secrets:
        """What to keep of a new password. Raises AuthenticationFailed for an empty or enormous one."""
        _check(password)
        return await self._in_thread(lambda: _protected(password))

    async def verifier(self, password: str) -> str:
        """The SCRAM verifier alone, of a password whose hash is kept already."""
        return await self._in_thread(lambda: derive(password).text)

    async def protect_all(self, passwords: Sequence[str]) -> list[Secrets]:
        """Protect many, as fast as the threads allow; however many there are, one call waits as one.

        Equal passwords of one call get one hash: thousands of accounts that start with the same password are set up
        for tests and loads, and it is no secret among them.
        """
        different = list(dict.fromkeys(passwords))
        for password in different:
            _check(password)
        loop = asyncio.get_running_loop()
        futures = [loop.run_in_executor(self._threads, _protected, password) for password in different]
        protected = dict(zip(different, await asyncio.gather(*futures), strict=True))
        return [protected[password] for password in passwords]

    async def verify(self, password: str, secret: str | None) -> bool:
        """Whether `password` belongs to `secret`; with None it takes as long and says no. Raises Overloaded."""
        try:
            _check(password)
        except AuthenticationFailed:
            return False
        return await self._in_thread(lambda: _matches(password, secret or self._nobody) and secret is not None)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= _WAITING:
            raise Overloaded(step="password", waiting=self._waiting)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


class Verified:
    """Remembers which log-ins were right, for `seconds` by the monotonic clock, at most `limit` of them."""

    def __init__(self, monotonic: Callable[[], float], *, seconds: float = 60.0, limit: int = 20_000) -> None:
        self._monotonic = monotonic
        self._seconds = seconds
        self._limit = limit
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[float, int, bytes]] = OrderedDict()

    def find(self, login: str, password: str) -> int | None:
        """The account id this log-in was verified for a short time ago."""
        digest = self._digest(login, password)
        until, account, _ = self._known.get(digest, (0.0, 0, b""))
        if until > self._monotonic():
            return account
        self._known.pop(digest, None)
        return None

    def holds(self, login: str, password: str, secret: str | None) -> bool:
        """Whether it was verified against this very secret: another one belongs to a changed password."""
        digest = self._digest(login, password)
        known = self._known.get(digest)
        if known is not None and secret is not None and known[2] == self._digest("", secret):
            return True
        self._known.pop(digest, None)
        return False

    def remember(self, login: str, password: str, account: int, secret: str) -> None:
        """Note a log-in that was verified against `secret`; the oldest goes when there are too many."""
        until, mark = self._monotonic() + self._seconds, self._digest("", secret)
        self._known[self._digest(login, password)] = (until, account, mark)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)

    def forget(self) -> None:
        """Drop everything."""
        self._known.clear()

    def _digest(self, login: str, password: str) -> bytes:
        text = f"{len(login)}:{login}{password}".encode(errors="surrogatepass")
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()


def _protected(password: str) -> Secrets:
    return Secrets(_hashed(password_form(password)), derive(password).text)


def _hashed(password: str) -> str:
    return argon2id.str(_bytes(password), opslimit=PASSES, memlimit=MEMORY).decode("ascii")


def _matches(password: str, secret: str) -> bool:
    """Whether a PHC string (of any cost) is this password's; a secret of another form is nobody's.

    Also of the password as it was typed: other programs do not prepare what they hash.
    """
    forms = dict.fromkeys((password_form(password), password))
    return any(_is_of(form, secret) for form in forms)


def _is_of(password: str, secret: str) -> bool:
    try:
        return argon2id.verify(secret.encode(), _bytes(password))
    except (CryptoError, ValueError):
        return False


def _bytes(password: str) -> bytes:
    return password.encode(errors="surrogatepass")


def _check(password: str) -> None:
    if not password or len(_bytes(password)) > MAX_PASSWORD_BYTES:
        raise AuthenticationFailed("a password has 1 to 1024 bytes")
