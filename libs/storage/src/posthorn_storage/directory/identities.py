"""Identities: as whom an account writes (RFC 8621 6). Changes count in the account's modseq like any other."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from posthorn_model.errors import InvalidAddress, NotFound, TooMany
from posthorn_model.events import ChangeKind
from posthorn_model.ids import AccountId
from posthorn_storage.codes import CREATED, DESTROYED, UPDATED
from posthorn_storage.directory.addresses import address_key
from posthorn_storage.mail.journal import Journal
from posthorn_storage.mail.kinds import KIND
from posthorn_storage.shards import Shards

MAX_IDENTITIES = 100
MAX_SIGNATURE = 64 * 1024

ALL = "SELECT * FROM identity WHERE account_id = $1 ORDER BY id"
COUNT = "SELECT count(*) FROM identity WHERE account_id = $1"
ADD = """
INSERT INTO identity (account_id, name, email, reply_to, bcc, text_signature, html_signature)
VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id
"""
REPLACE = """
UPDATE identity SET name = $3, email = $4, reply_to = $5, bcc = $6, text_signature = $7, html_signature = $8
WHERE account_id = $1 AND id = $2 RETURNING id
"""
DELETE = "DELETE FROM identity WHERE account_id = $1 AND id = $2 RETURNING id"

Addresses = tuple[Mapping[str, str | None], ...]
"""JMAP EmailAddress objects: {"name": ..., "email": ...}."""


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity; `id` 0 is one that is not stored yet."""

    id: int
    name: str
    email: str
    reply_to: Addresses | None = None
    bcc: Addresses | None = None
    text_signature: str = ""
    html_signature: str = ""


class Identities:
    """The identities of all accounts; reached through the Directory."""

    def __init__(self, shards: Shards) -> None:
        self._change = shards.change
        self._reading = shards.reading

    async def all(self, account: AccountId) -> list[Identity]:
        """All of an account's, the oldest first."""
        return [
            Identity(
                id=row["id"],
                name=row["name"],
                email=row["email"],
                reply_to=_load(row["reply_to"]),
                bcc=_load(row["bcc"]),
                text_signature=row["text_signature"],
                html_signature=row["html_signature"],
            )
            for row in await (await self._reading(account)).fetch(ALL, account)
        ]

    async def put(self, account: AccountId, identity: Identity) -> Identity:
        """Create (id 0) or replace one. Raises NotFound, TooMany, AccountNotFound, InvalidAddress."""
        if not identity.email.startswith("*@"):  # RFC 8621 6: "*@example.com" stands for any address there
            address_key(identity.email)
        if max(len(identity.text_signature), len(identity.html_signature), len(identity.name)) > MAX_SIGNATURE:
            raise InvalidAddress("a field of the identity is too long")
        fields = (
            identity.name,
            identity.email,
            _dump(identity.reply_to),
            _dump(identity.bcc),
            identity.text_signature,
            identity.html_signature,
        )

        async def work(journal: Journal) -> Identity:
            if identity.id:
                found = await journal.connection.fetchval(REPLACE, account, identity.id, *fields)
            elif await journal.connection.fetchval(COUNT, account) >= MAX_IDENTITIES:
                raise TooMany("too many identities", account=account)
            else:
                found = await journal.connection.fetchval(ADD, account, *fields)
            _log(journal, account, UPDATED if identity.id else CREATED, found)
            return replace(identity, id=found)

        return await self._change(account, work)

    async def delete(self, account: AccountId, identity: int) -> None:
        """Raises NotFound, AccountNotFound."""

        async def work(journal: Journal) -> None:
            _log(journal, account, DESTROYED, await journal.connection.fetchval(DELETE, account, identity))

        await self._change(account, work)


def _log(journal: Journal, account: AccountId, op: int, identity: int | None) -> None:
    if identity is None:
        raise NotFound("no such identity", account=account)
    journal.log(account, KIND[ChangeKind.IDENTITY], op, identity, journal.counters[account].take())


def _dump(addresses: Addresses | None) -> str | None:
    return None if addresses is None else json.dumps([dict(address) for address in addresses])


def _load(text: str | None) -> Addresses | None:
    return None if text is None else tuple(json.loads(text))
