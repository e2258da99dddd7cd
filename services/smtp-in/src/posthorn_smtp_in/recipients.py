"""RCPT: who is behind an address. Local ones become accounts, others a destination site for the queue."""

from dataclasses import dataclass

from posthorn_model.ids import AccountId
from posthorn_model.queue_items import site_of
from posthorn_smtp_in.judge import Kind, RecipientFacts, Verdict, judge_recipient
from posthorn_smtp_in.protocol.commands import Mail, Rcpt
from posthorn_smtp_in.protocol.replies import reply
from posthorn_storage import Storage


@dataclass(frozen=True, slots=True)
class Recipient:
    """An accepted recipient: `accounts` when local, else `site` (the domain in A-labels)."""

    command: Rcpt
    accounts: tuple[AccountId, ...]
    site: str


async def take_recipient(
    storage: Storage, command: Rcpt, *, mail: Mail, kind: Kind, taken: int, limit: int
) -> tuple[Verdict, Recipient | None]:
    """Look the recipient up and judge it; raises Unavailable."""
    address = await _full_address(storage, command.recipient)
    site = site_of(address)
    if site is None:
        return Verdict("bad-domain", reply(553, "5.1.2", "The domain cannot be used in DNS")), None
    domain = address.rpartition("@")[2]
    local = await storage.directory.is_local_domain(site) or await storage.directory.is_local_domain(domain)
    accounts: tuple[AccountId, ...] = ()
    full = False
    if local:
        accounts = (await storage.directory.resolve([address]))[address]
        full = any([not await has_room(storage, account, mail.size) for account in accounts])
    verdict = judge_recipient(
        RecipientFacts(
            kind=kind,
            local=local,
            accounts=len(accounts),
            full=full,
            taken=taken,
            limit=limit,
            needs_smtputf8=not address.isascii() and not mail.smtputf8,
        )
    )
    if verdict.refusal is not None:
        return verdict, None
    return verdict, Recipient(command, accounts, "" if local else site)


async def has_room(storage: Storage, account: AccountId, size: int) -> bool:
    """Whether `size` more octets (at least one) fit into the account's quota."""
    used, _, limit = await storage.mail.quota(account)
    return limit is None or used + max(size, 1) <= limit


async def _full_address(storage: Storage, address: str) -> str:
    """ "postmaster" alone is ours (RFC 5321 4.5.1): that of the first local domain."""
    if address != "postmaster":
        return address
    domains = await storage.directory.domains()
    return f"postmaster@{domains[0]}" if domains else "postmaster@localhost"
