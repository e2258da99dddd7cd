"""App passwords: made here, shown once, each for one device or program, and taken back without changing any other.

They are random (100 bits), so a plain digest keeps them as well as argon2id keeps what people choose, and costs nothing
at a login. SCRAM knows one password for each name: an app password is for PLAIN, LOGIN and HTTP alone.
"""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from posthorn_model.errors import AccountNotFound, InvalidName, NotFound, TooMany
from posthorn_storage.database import Database
from posthorn_storage.directory.addresses import address_key

SERVICES: Final = ("smtp", "imap", "pop3", "sieve", "jmap", "dav")
"""What an app password may be for: the protocol that is spoken."""
MAX_APP_PASSWORDS: Final = 100
"""Of one account."""
MAX_NAME: Final = 100
ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
"""Without what is taken for something else."""
GROUPS, LETTERS = 4, 5

ADD = """
INSERT INTO app_password (account_id, name, digest, services, expires_at)
SELECT id, $2, $3, $4::text[], now() + make_interval(secs => $5) FROM account
WHERE address = $1 AND (SELECT count(*) FROM app_password WHERE account_id = account.id) < $6
RETURNING id, name, services, created_at, used_at, expires_at
"""

ALL = """
SELECT app.id, app.name, app.services, app.created_at, app.used_at, app.expires_at
FROM account JOIN app_password AS app ON app.account_id = account.id WHERE address = $1 ORDER BY app.id
"""

REMOVE = (
    "DELETE FROM app_password USING account WHERE address = $1 AND account_id = account.id AND app_password.id = $2"
)

KNOWN = "SELECT true FROM account WHERE address = $1"

USED = """
UPDATE app_password SET used_at = now()
WHERE account_id = $1 AND id = $2 AND (used_at IS NULL OR used_at < now() - interval '10 minutes')
"""


@dataclass(frozen=True, slots=True)
class AppPassword:
    """What is kept and may be shown; `services` empty: for all, `expires_at` None: never."""

    id: int
    name: str
    services: Sequence[str]
    created_at: datetime
    used_at: datetime | None
    """The last time, give or take ten minutes."""
    expires_at: datetime | None


class AppPasswords:
    """All methods raise Unavailable and Overloaded besides what they say, InvalidAddress for what is no address."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, address: str, name: str, services: Collection[str] = (), seconds: float | None = None
    ) -> tuple[AppPassword, str]:
        """Make one; the password itself is never to be had again. `seconds` None: it does not expire.

        Raises AccountNotFound, InvalidName (of the password or a service), TooMany.
        """
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise InvalidName(f"the name of an app password has 1 to {MAX_NAME} letters that can be shown")
        if unknown := set(services) - set(SERVICES):
            raise InvalidName(f"{min(unknown)[:50]} is none of {', '.join(SERVICES)}")
        key = address_key(address)
        password = "-".join("".join(secrets.choice(ALPHABET) for _ in range(LETTERS)) for _ in range(GROUPS))
        digest = digest_of(password)
        row = await self._database.fetchrow(ADD, key, name, digest, sorted(services), seconds, MAX_APP_PASSWORDS)
        if row is None:
            await self._known(key)
            raise TooMany(f"the account has {MAX_APP_PASSWORDS} app passwords already")
        return AppPassword(**row), password

    async def all(self, address: str) -> Sequence[AppPassword]:
        """Those of an account, the oldest first. Raises AccountNotFound."""
        key = address_key(address)
        await self._known(key)
        return [AppPassword(**row) for row in await self._database.fetch(ALL, key)]

    async def remove(self, address: str, number: int) -> None:
        """Take one back: nobody logs in with it from now on. Raises NotFound."""
        if not await self._database.execute(REMOVE, address_key(address), number):
            raise NotFound("there is no such app password", address=address[:100])

    async def _known(self, key: str) -> None:
        if not await self._database.fetchval(KNOWN, key):
            raise AccountNotFound(address=key)


def digest_of(password: str) -> bytes:
    """What an app password is found by; b"" for what cannot be one. Case, spaces and hyphens do not matter."""
    letters = password.replace("-", "").replace(" ", "").lower() if len(password) <= MAX_NAME else ""
    if len(letters) != GROUPS * LETTERS or not set(letters) <= set(ALPHABET):
        return b""
    return hashlib.sha256(letters.encode()).digest()
