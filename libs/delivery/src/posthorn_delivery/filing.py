"""What the scripts of a message's accounts make of it: rows to store and to queue with the delivery, or a refusal.

A filing is decided before the transaction (posthorn_delivery.storing). What it wrote into the lookup store by then (who
is answered) is taken back when the transaction fails; what must be remembered of a delivery (duplicates) is written
after it. Both say whose delivery it was: one that is repeated after a kill comes to the same.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID, uuid5

from posthorn_delivery import sending
from posthorn_delivery.arrival import Arrival
from posthorn_delivery.evaluation import Ruling, Subject, duplicate_key, rule
from posthorn_delivery.scripts import Scripts
from posthorn_mail_format import summarize
from posthorn_model.errors import PosthornError
from posthorn_model.flags import Flags, SystemFlag, keyword
from posthorn_model.ids import AccountId, MailboxId
from posthorn_model.lookup import lookup_key
from posthorn_model.mail import NewMessage, Role
from posthorn_model.queue_items import NewQueueMessage
from posthorn_sieve.actions import Action, FileInto, Keep, Notify, Redirect, Reject, Vacation
from posthorn_sieve.answers import Occasion, notice
from posthorn_sieve.errors import ScriptFailed
from posthorn_storage.sieve_scripts import ActiveScript

NOTICE_SECONDS = 86_400.0
"""The owner of a failing script is told of each problem once in that time."""
MAX_REASON = 400
_SYSTEM = {
    "\\Seen": SystemFlag.SEEN,
    "\\Answered": SystemFlag.ANSWERED,
    "\\Flagged": SystemFlag.FLAGGED,
    "\\Deleted": SystemFlag.DELETED,
    "\\Draft": SystemFlag.DRAFT,
}


@dataclass(slots=True)
class Filing:
    """The sum of what scripts decided for one delivery."""

    delivery: UUID
    messages: list[NewMessage] = field(default_factory=list)
    """To be stored: of accounts without a script the plain ones."""
    queued: list[NewQueueMessage] = field(default_factory=list)
    refusal: str | None = None
    """The words of the only recipient, who refuses the message: nothing else is there then. One line of ASCII."""
    reserved: list[str] = field(default_factory=list)
    """Keys that were written already."""
    remember: dict[str, int] = field(default_factory=dict)
    """Keys to write with their seconds, once the delivery is done."""


async def file_by_scripts(
    scripts: Scripts, arrival: Arrival, plain: Sequence[NewMessage], active: Mapping[AccountId, ActiveScript]
) -> Filing:
    """Run the active scripts of the accounts. `plain` are the messages as they are stored without a script.

    Raises Unavailable.
    """
    filing = Filing(arrival.delivery)
    try:
        for message in plain:
            script = active.get(message.account)
            if script is None:
                filing.messages.append(message)
            else:
                await _file(scripts, arrival, message, script, filing)
    except BaseException:
        await forget_reserved(scripts, filing)
        raise
    return filing


async def _file(scripts: Scripts, arrival: Arrival, message: NewMessage, script: ActiveScript, filing: Filing) -> None:
    subject = Subject(
        delivery=arrival.delivery,
        account=message.account,
        recipient=arrival.recipients[message.account],
        sender=arrival.sender,
        content=bytes(arrival.content),
        remote=arrival.remote,
        scores=arrival.scores,
    )
    ruling = _without_loop(await rule(scripts, subject, script), subject)
    scripts.log.info(
        "sieve",
        delivery=str(arrival.delivery),
        account=message.account,
        script=script.name,
        actions=[type(action).__name__ for action in ruling.outcome.actions],
        steps=ruling.outcome.steps,
        problem=None if ruling.outcome.fault is None else ruling.outcome.fault.public,
    )
    await _Filer(scripts, arrival, subject, ruling, message, filing).file()


async def forget_reserved(scripts: Scripts, filing: Filing) -> None:
    """The transaction failed, or will not be: nobody was answered."""
    if filing.reserved:
        try:
            await scripts.storage.lookup.drop(filing.reserved)
        except PosthornError as error:
            scripts.log.warning("answers not forgotten", reason=error.public)


def _without_loop(ruling: Ruling, subject: Subject) -> Ruling:
    """A message that comes back to who sent it on stays there."""
    if not any(isinstance(action, Redirect) for action in ruling.outcome.actions) or not sending.came_back(subject):
        return ruling
    fault = ScriptFailed("the message came back from where the script had sent it: it is kept")
    return replace(ruling, outcome=replace(ruling.outcome, actions=(Keep(),), fault=fault))


@dataclass(slots=True)
class _Filer:
    """Adds what one account's script decided to a filing."""

    scripts: Scripts
    arrival: Arrival
    subject: Subject
    ruling: Ruling
    plain: NewMessage
    filing: Filing

    async def file(self) -> None:
        outcome = self.ruling.outcome
        places: dict[tuple[Flags, bytes | None], list[MailboxId]] = {}
        for number, action in enumerate(outcome.actions):
            if isinstance(action, Keep | FileInto):
                mailboxes = await self.mailboxes(action)
                places.setdefault((_flags(action.flags), action.content), []).extend(mailboxes or (MailboxId(0),))
            else:
                await self.send(action, number)
        for index, ((flags, content), mailboxes) in enumerate(places.items()):
            self.filing.messages.append(await self.message(index, flags, content, mailboxes))
        if outcome.fault is not None:
            await self.tell_owner(outcome.fault.public)
        for key, seconds in outcome.remember:
            self.filing.remember[duplicate_key(self.subject.account, key)] = seconds

    async def mailboxes(self, action: Keep | FileInto) -> Sequence[MailboxId]:
        """Where an action files; none: in the inbox."""
        if isinstance(action, Keep):
            return self.plain.mailboxes
        folders = self.ruling.folders
        assert folders is not None
        found = folders.with_use(action.special_use) if action.special_use else None
        if found is None:
            found = folders.find(action.mailbox)
        if found is None and action.create:
            found = await folders.create(self.scripts.storage, self.subject.account, action.mailbox, action.special_use)
        if found is None:
            await self.tell_owner(f"there is no mailbox '{action.mailbox[:100]}': the message is in the inbox")
            return self.plain.mailboxes
        return (found,)

    async def message(
        self, index: int, flags: Flags, content: bytes | None, mailboxes: Sequence[MailboxId]
    ) -> NewMessage:
        """The row of one way to file. The first one keeps the delivery's own id, so that a repeat is known by it."""
        named = tuple(dict.fromkeys(mailbox for mailbox in mailboxes if mailbox))
        if len(named) < len(set(mailboxes)) and named:
            # The inbox, which has no number here, and others.
            inbox = await self.scripts.storage.mail.mailboxes_with(Role.INBOX, [self.subject.account])
            named += tuple(inbox.values())
        message = replace(self.plain, mailboxes=named, flags=flags)
        if index:
            message = replace(
                message,
                delivery_id=uuid5(self.arrival.delivery, f"sieve/{index}"),
                dedupe=None if message.dedupe is None else hashlib.sha256(b"%d/" % index + message.dedupe).digest(),
            )
        if content is None:
            return message
        return replace(
            message,
            summary=await asyncio.to_thread(summarize, content),
            blob=await self.scripts.storage.blobs.prepare(content, accounts=[self.subject.account]),
        )

    async def send(self, action: Action, number: int) -> None:
        scripts, subject = self.scripts, self.subject
        queued = None
        match action:
            case Redirect():
                queued = await sending.redirected(scripts, subject, action, smtputf8=self.arrival.smtputf8)
            case Vacation() if not self.arrival.junk:
                queued, key = await sending.answered(scripts, subject, action)
                if key is not None:
                    self.filing.reserved.append(key)
            case Notify():
                queued = await sending.notified(scripts, subject, action, number)
            case Reject() if self.arrival.alone:
                self.filing.refusal = refusal(action)
            case Reject():
                queued = await sending.rejected(scripts, subject, action)
        if queued is not None:
            self.filing.queued.append(queued)

    async def tell_owner(self, problem: str) -> None:
        """A notice into the inbox, once a day for each problem."""
        scripts, account = self.scripts, self.subject.account
        name = hashlib.sha256(f"{self.ruling.script}\0{problem}".encode("utf-8", "replace")).hexdigest()[:32]
        key = lookup_key("sieve-notice", str(account), name)
        identity = uuid5(self.arrival.delivery, f"sieve/notice/{account}/{name}")
        try:
            known = await scripts.storage.lookup.add(key, identity.bytes, NOTICE_SECONDS)
        except PosthornError:
            return
        if known is None:
            self.filing.reserved.append(key)
        elif known != identity.bytes:
            return
        content = notice(
            f'Your mail filter "{self.ruling.script}" had a problem',
            [
                f'The Sieve script "{self.ruling.script}" could not do all that it says with a message from'
                f" <{self.subject.sender}>:",
                "",
                f"    {problem}",
                "",
                "No mail is lost: where nothing else is said the message is in your inbox.",
                "You will hear of this problem again in a day at the earliest.",
            ],
            Occasion(b"", self.subject.recipient, self.now(), f"{identity}@{scripts.hostname}"),
            sender=f"postmaster@{scripts.hostname}",
        )
        self.filing.messages.append(
            NewMessage(
                account=account,
                mailboxes=(),
                summary=await asyncio.to_thread(summarize, content),
                blob=await scripts.storage.blobs.prepare(content, accounts=[account]),
                delivery_id=identity,
                delivered=True,
            )
        )

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.scripts.clock.time(), UTC)


def refusal(action: Reject) -> str:
    """The recipient's words as the text of a reply to the content (RFC 5429 2.1.1), which is ASCII."""
    words = " ".join(action.reason.split())
    return words[:MAX_REASON] if words and words.isascii() else "The recipient refuses the message"


def _flags(names: Sequence[str]) -> Flags:
    """Flags as they are stored; a keyword that cannot be is left out."""
    system = SystemFlag.NONE
    found: set[str] = set()
    for name in names:
        if name in _SYSTEM:
            system |= _SYSTEM[name]
            continue
        try:
            found.add(keyword(name))
        except PosthornError:
            continue
    return Flags(system, frozenset(found))
