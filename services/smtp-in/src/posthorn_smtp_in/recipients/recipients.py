"""RCPT: who is behind an address. Local ones become accounts, others a destination site for the queue."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from posthorn_model.ids import AccountId, MailboxId
from posthorn_model.queue_items import site_of
from posthorn_smtp_in.judge import ACCEPTED, Kind, RecipientFacts, Room, Verdict, judge_recipient
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.commands import Mail, Rcpt
from posthorn_smtp_in.protocol.replies import reply
from posthorn_smtp_in.recipients.relay import may_relay
from posthorn_smtp_in.recipients.returning import FORGED, led_back
from posthorn_smtp_in.recipients.room import room_for
from posthorn_storage import Found, Storage


@dataclass(frozen=True, slots=True)
class Recipient:
    """An accepted recipient: `accounts` when local, else `site` (the domain in A-labels)."""

    command: Rcpt
    accounts: tuple[AccountId, ...]
    site: str
    detail: str = ""
    """The sub-address (RFC 5233), when the address was found without it."""
    mailboxes: Mapping[AccountId, MailboxId] = field(default_factory=dict)
    """Where the detail leads in these accounts, instead of their inboxes."""
    key: str = ""
    """A local address as it was found."""
    remote: tuple[str, ...] = ()
    """Addresses elsewhere that it is passed on to."""
    lists: tuple[str, ...] = ()
    """Mailing lists that it is for; the queue finds their members."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A RCPT with what it is judged by: the open transaction's MAIL, the client, the recipients taken so far."""

    command: Rcpt
    mail: Mail
    kind: Kind
    address: str
    """The client's IP address, "" for a local socket."""
    taken: int


async def take_recipient(parts: Parts, asked: Asked) -> tuple[Verdict, Recipient | None]:
    """Look the recipient up and judge it; raises Unavailable."""
    storage, command = parts.storage, asked.command
    address = await _full_address(storage, command.recipient)
    if address != command.recipient:
        command = replace(command, recipient=address)
    site = site_of(address)
    if site is None:
        return Verdict("bad-domain", reply(553, "5.1.2", "The domain cannot be used in DNS")), None
    domain = address.rpartition("@")[2]
    local = await storage.directory.is_local_domain(site) or await storage.directory.is_local_domain(domain)
    found, room = Found(), Room.FITS
    if local:
        back = led_back(parts, asked.mail, address)
        if isinstance(back, Verdict):
            return back, None
        if back is not None:
            return await _take_back(parts, asked, back)
        found = (await storage.recipients.find([address]))[address]
        room = await room_for(storage, found.accounts, asked.mail.size, found.rooms)
    verdict = judge_recipient(
        RecipientFacts(
            local=local,
            known=found.known,
            may_post=await may_post(storage, found, asked.mail.sender),
            room=room,
            taken=asked.taken,
            limit=parts.settings.limits.recipients,
            needs_smtputf8=not address.isascii() and not asked.mail.smtputf8,
            may_relay=asked.kind is Kind.SUBMISSION or may_relay(parts.settings.relay, asked.kind, asked.address),
        )
    )
    if verdict.refusal is not None:
        return verdict, None
    mailboxes = await _named_mailboxes(storage, found)
    site = "" if local else site
    key, remote, lists = found.key, found.remote, found.lists
    return verdict, Recipient(command, found.accounts, site, found.detail, mailboxes, key, remote, lists)


async def _take_back(parts: Parts, asked: Asked, original: str) -> tuple[Verdict, Recipient | None]:
    """A bounce of what was passed on: to the sender of then, who may be one of the cluster."""
    site = site_of(original)
    if site is None:
        return FORGED, None
    if await parts.storage.directory.is_local_domain(site):
        return await take_recipient(parts, replace(asked, command=replace(asked.command, recipient=original)))
    return ACCEPTED, Recipient(Rcpt(original, notify="NEVER"), (), site)


async def may_post(storage: Storage, found: Found, sender: str) -> bool:
    """Whether the sender may write to a list; to whatever is none everybody may. Reports never go to all of a list."""
    if not found.posting:
        return True
    if not sender or found.posting == "anyone":
        return bool(sender)
    if found.posting == "nobody":
        return found.owner in storage.recipients.writers(sender)
    return await storage.distributions.is_member(found.key, storage.recipients.writers(sender))


async def _named_mailboxes(storage: Storage, found: Found) -> dict[AccountId, MailboxId]:
    if not found.detail:
        return {}
    named = {account: await storage.recipients.named_mailbox(account, found.detail) for account in found.accounts}
    return {account: mailbox for account, mailbox in named.items() if mailbox is not None}


async def _full_address(storage: Storage, address: str) -> str:
    """ "postmaster" alone is ours (RFC 5321 4.5.1): that of the first local domain."""
    if address != "postmaster":
        return address
    domains = await storage.directory.domains()
    return f"postmaster@{domains[0]}" if domains else "postmaster@localhost"
