"""Who may log in here: passwords by the directory, failures slowed, sessions per account bounded."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable
from typing import TypeVar

from posthorn_model.errors import AuthenticationFailed, Overloaded, TooManyFailures
from posthorn_model.ids import AccountId
from posthorn_sasl import Challenge, Exchange, Login, Terms
from posthorn_storage.directory import AccountRecord, Directory

MAX_ADDRESSES = 10_000
MAX_DOUBLINGS = 4
T = TypeVar("T")


class Logins:
    """Shared by all sessions of a process. `delay` is in seconds."""

    def __init__(self, directory: Directory, *, delay: float, per_account: int) -> None:
        self._directory = directory
        self._delay = delay
        self._per_account = per_account
        self._failures: OrderedDict[str, int] = OrderedDict()
        self._sessions: dict[AccountId, int] = {}

    def exchange(self, mechanism: str, terms: Terms, address: str) -> Login[AccountRecord]:
        """A login by SASL, to be led on by `step`. Raises SaslProblem for a mechanism that is not offered."""
        return Login(Exchange(mechanism, terms), self._directory.claims(address))

    async def step(
        self, login: Login[AccountRecord], response: bytes | None, address: str
    ) -> Challenge | AccountRecord:
        """The client's next response (base64); as of log_in, and raises SaslProblem too."""
        return await self._judged(login.step(response), address)

    async def log_in(self, user: bytes, password: bytes, address: str) -> AccountRecord:
        """Judge a login from an address; a failure is answered late. Call `log_out` when the session ends.

        Raises AuthenticationFailed, TooManyFailures, Overloaded (too many sessions of the account), Unavailable.
        """
        return await self._judged(self._directory.authenticate(_text(user), _text(password), address), address)

    async def _judged(self, judging: Awaitable[T], address: str) -> T:
        try:
            found = await judging
        except (AuthenticationFailed, TooManyFailures):
            await asyncio.sleep(self._delay * 2 ** (self._failed(address) - 1))
            raise
        if isinstance(found, AccountRecord):
            self._failures.pop(address, None)
            self._enter(found.id)
        return found

    def _enter(self, account: AccountId) -> None:
        open_sessions = self._sessions.get(account, 0)
        if open_sessions >= self._per_account:
            raise Overloaded("too many connections of this account")
        self._sessions[account] = open_sessions + 1

    def log_out(self, account: AccountId) -> None:
        left = self._sessions.get(account, 0) - 1
        if left > 0:
            self._sessions[account] = left
        else:
            self._sessions.pop(account, None)

    def _failed(self, address: str) -> int:
        """Count a failure; the addresses that failed longest ago are forgotten first."""
        count = min(self._failures.pop(address, 0) + 1, MAX_DOUBLINGS + 1)
        self._failures[address] = count
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
        return count


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise AuthenticationFailed from None
