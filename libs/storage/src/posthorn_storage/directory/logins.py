"""Who somebody is: what a client claims, judged against what is kept of passwords, under the throttle.

What does not exist takes the same steps, and as long, as what does: nobody learns from here which accounts there are.
"""

import contextlib
import secrets
from typing import NoReturn, Protocol

from posthorn_model.errors import AuthenticationFailed, InvalidAddress, PosthornError
from posthorn_model.ports import Clock
from posthorn_sasl.verifiers import Verifier, nobody, read_verifier
from posthorn_storage.database import Database, Row
from posthorn_storage.directory import sql
from posthorn_storage.directory.addresses import address_key
from posthorn_storage.directory.app_passwords import USED, digest_of
from posthorn_storage.directory.login_throttle import LoginThrottle
from posthorn_storage.directory.passwords import Passwords, Verified
from posthorn_storage.directory.records import AccountRecord, record_of


class TokenJudge(Protocol):
    """Knows whose bearer tokens are."""

    async def owner(self, token: str) -> str:
        """The address that a token is good for. Raises AuthenticationFailed, Unavailable, Overloaded."""
        ...


class Logins:
    """One for a process. All raise Unavailable and Overloaded besides what they say; `remote` is a client's address."""

    def __init__(self, database: Database, passwords: Passwords, throttle: LoginThrottle, clock: Clock) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._verified = Verified(clock.monotonic)
        self._nobody = b""
        self.tokens: TokenJudge | None = None
        """None: tokens are not taken."""

    def forget(self) -> None:
        """Drop what was verified."""
        self._verified.forget()

    async def by_password(self, login: str, password: str, remote: str, service: str) -> AccountRecord:
        """Whose name and password this is, or app password for the service.

        Raises AuthenticationFailed, TooManyFailures.
        """
        digest = digest_of(password)
        known = self._verified.find(login, password)
        if known is not None:
            rows = await self._database.fetch(sql.LOGIN_BY_ID, known, digest, service)
            if rows and self._verified.holds(login, password, _secret(rows[0])):
                return record_of(rows[0])
        key = login_key(login)
        await self._throttle.admit(key, remote)
        row = await self._database.fetchrow(sql.LOGIN_BY_ADDRESS, key, digest, service)
        if row is None or not await self._is_right(row, password):
            if row is None:
                await self._passwords.verify(password, None)  # as long as for an account that exists
            await self._refuse(key, login, remote)
        await self._throttle.succeeded(key, remote)
        self._verified.remember(login, password, row["id"], _secret(row))
        await self._note_use(row, password)
        return record_of(row)

    async def _is_right(self, row: Row, password: str) -> bool:
        return row["app_password"] is not None or await self._passwords.verify(password, row["secret"])

    async def _note_use(self, row: Row, password: str) -> None:
        """Of an app password when it was used; of a password from before there were verifiers its verifier.

        The login is as good without either.
        """
        with contextlib.suppress(PosthornError):
            if row["app_password"] is not None:
                await self._database.execute(USED, row["id"], row["app_password"])
            elif row["scram"] is None:
                verifier = await self._passwords.verifier(password)
                await self._database.execute(sql.ADD_VERIFIER, row["id"], row["secret"], verifier)

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

    async def by_token(self, login: str, token: str, remote: str) -> AccountRecord:
        """Whose token this is; `login` may be "", or must be the owner. Raises as by_password does."""
        claimed = login_key(login)
        await self._throttle.admit(claimed, remote)
        try:
            owner = login_key(await self.tokens.owner(token)) if self.tokens is not None else ""
        except AuthenticationFailed as refusal:
            await self._throttle.failed(claimed, remote)
            raise AuthenticationFailed(login=login[:100], remote=remote, **refusal.fields) from None
        row = await self._row(owner) if claimed in ("", owner) else None
        if row is None:
            await self._refuse(claimed or owner, login, remote)
        await self._throttle.succeeded(owner, remote)
        return record_of(row)

    async def _row(self, key: str) -> Row | None:
        rows = await self._database.fetch(sql.BY_ADDRESS, key)
        return rows[0] if rows else None

    async def _refuse(self, key: str, login: str, remote: str) -> NoReturn:
        await self._throttle.failed(key, remote)
        raise AuthenticationFailed(login=login[:100], remote=remote)

    async def _nobodys_secret(self) -> bytes:
        if not self._nobody:
            await self._database.execute(sql.FIX_NOBODY, secrets.token_hex(32))
            found: str = await self._database.fetchval(sql.NOBODY)
            self._nobody = found.encode()
        return self._nobody


class Claims:
    """The port posthorn_sasl.Accounts for one client and one login."""

    def __init__(self, logins: Logins, remote: str, service: str) -> None:
        self._logins = logins
        self._remote = remote
        self._service = service
        self._verifier: Verifier | None = None

    async def verifier(self, login: str) -> Verifier:
        """See the port."""
        self._verifier = await self._logins.verifier(login, self._remote)
        return self._verifier

    async def by_password(self, login: str, password: str) -> AccountRecord:
        """See the port."""
        return await self._logins.by_password(login, password, self._remote, self._service)

    async def by_proof(self, login: str, *, fits: bool) -> AccountRecord:
        """See the port."""
        return await self._logins.by_proof(login, self._verifier, fits=fits, remote=self._remote)

    async def by_token(self, login: str, token: str) -> AccountRecord:
        """See the port."""
        return await self._logins.by_token(login, token, self._remote)


def _secret(row: Row) -> str:
    """What a login was judged by: another one is a login that must be judged anew. "" is nobody's."""
    if row["app_password"] is not None:
        return f"app password {row['app_password']}"
    return row["secret"] or ""


def login_key(login: str) -> str:
    """What a login is looked up and counted under: an address in its stored form, or else as it was given."""
    try:
        return address_key(login)
    except InvalidAddress:
        return login.lower()
