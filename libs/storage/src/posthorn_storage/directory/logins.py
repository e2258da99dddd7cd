"""Who somebody is: what a client claims, judged against what is kept of passwords, under the throttle.

What does not exist takes the same steps, and as long, as what does: nobody learns from here which accounts there are.
"""

import contextlib
import secrets
from typing import NoReturn

from posthorn_model.errors import AuthenticationFailed, InvalidAddress, PosthornError
from posthorn_model.ports import Clock
from posthorn_sasl.verifiers import Verifier, nobody, read_verifier
from posthorn_storage.database import Database, Row
from posthorn_storage.directory import sql
from posthorn_storage.directory.addresses import address_key
from posthorn_storage.directory.login_throttle import LoginThrottle
from posthorn_storage.directory.passwords import Passwords, Verified
from posthorn_storage.directory.records import AccountRecord, record_of


class Logins:
    """One for a process. All raise Unavailable and Overloaded besides what they say; `remote` is a client's address."""

    def __init__(self, database: Database, passwords: Passwords, throttle: LoginThrottle, clock: Clock) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._verified = Verified(clock.monotonic)
        self._nobody = b""

    def forget(self) -> None:
        """Drop what was verified."""
        self._verified.forget()

    async def by_password(self, login: str, password: str, remote: str) -> AccountRecord:
        """Whose name and password this is. Raises AuthenticationFailed, TooManyFailures."""
        known = self._verified.find(login, password)
        if known is not None:
            rows = await self._database.fetch(sql.BY_ID, [known])
            if rows and self._verified.holds(login, password, rows[0]["secret"]):
                return record_of(rows[0])
        key = login_key(login)
        await self._throttle.admit(key, remote)
        row = await self._row(key)
        secret = row["secret"] if row is not None else None
        if not await self._passwords.verify(password, secret) or row is None:
            await self._refuse(key, login, remote)
        await self._throttle.succeeded(key, remote)
        self._verified.remember(login, password, row["id"], row["secret"])
        if row["scram"] is None:
            await self._add_verifier(row, password)
        return record_of(row)

    async def verifier(self, login: str, remote: str) -> Verifier:
        """What SCRAM checks a proof against; one of nobody for who has none. Raises TooManyFailures."""
        key = login_key(login)
        await self._throttle.admit(key, remote)
        row = await self._row(key)
        lacking = nobody(await self._nobodys_secret(), key)
        if row is None or row["scram"] is None:
            return lacking
        try:
            return read_verifier(row["scram"])
        except ValueError:
            return lacking

    async def by_proof(self, login: str, verifier: Verifier | None, *, fits: bool, remote: str) -> AccountRecord:
        """Who proved to know the password that `verifier` is of, if it still is. Raises as by_password does."""
        key = login_key(login)
        row = await self._row(key) if fits else None
        if row is None or verifier is None or row["scram"] != verifier.text:
            await self._refuse(key, login, remote)
        await self._throttle.succeeded(key, remote)
        return record_of(row)

    async def _row(self, key: str) -> Row | None:
        rows = await self._database.fetch(sql.BY_ADDRESS, key)
        return rows[0] if rows else None

    async def _refuse(self, key: str, login: str, remote: str) -> NoReturn:
        await self._throttle.failed(key, remote)
        raise AuthenticationFailed(login=login[:100], remote=remote)

    async def _add_verifier(self, row: Row, password: str) -> None:
        """Of a password from before there were verifiers. Without it the login is as good as any."""
        with contextlib.suppress(PosthornError):
            verifier = await self._passwords.verifier(password)
            await self._database.execute(sql.ADD_VERIFIER, row["id"], row["secret"], verifier)

    async def _nobodys_secret(self) -> bytes:
        if not self._nobody:
            await self._database.execute(sql.FIX_NOBODY, secrets.token_hex(32))
            found: str = await self._database.fetchval(sql.NOBODY)
            self._nobody = found.encode()
        return self._nobody


class Claims:
    """The port posthorn_sasl.Accounts for one client and one login."""

    def __init__(self, logins: Logins, remote: str) -> None:
        self._logins = logins
        self._remote = remote
        self._verifier: Verifier | None = None

    async def verifier(self, login: str) -> Verifier:
        """See the port."""
        self._verifier = await self._logins.verifier(login, self._remote)
        return self._verifier

    async def by_password(self, login: str, password: str) -> AccountRecord:
        """See the port."""
        return await self._logins.by_password(login, password, self._remote)

    async def by_proof(self, login: str, *, fits: bool) -> AccountRecord:
        """See the port."""
        return await self._logins.by_proof(login, self._verifier, fits=fits, remote=self._remote)

    async def by_token(self, login: str, token: str) -> AccountRecord:  # noqa: ARG002
        """See the port. Nobody gives out tokens yet."""
        raise AuthenticationFailed(login=login[:100], remote=self._remote)


def login_key(login: str) -> str:
    """What a login is looked up and counted under: an address in its stored form, or else as it was given."""
    try:
        return address_key(login)
    except InvalidAddress:
        return login.lower()
