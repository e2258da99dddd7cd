"""What addresses pass on to others elsewhere (forwards, groups): a copy with a sender that bounces come back by."""

from collections.abc import Sequence
from uuid import UUID, uuid5

from posthorn_mail_format.list_fields import passed_on, was_delivered_to
from posthorn_mail_format.octets import Octets
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, Terms, site_of
from posthorn_smtp_in.letter import Letter
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.replies import reply
from posthorn_smtp_in.recipients.recipients import Recipient

LOOP = reply(554, "5.4.6", "The message has been passed on by this address before: a mail loop")


def goes_round(content: Octets, recipients: Sequence[Recipient]) -> bool:
    """Whether an address that passes on has passed this message on before (RFC 5321 6.3)."""
    return any((to.remote or to.lists) and was_delivered_to(content, to.key) for to in recipients)


async def passed_to_others(
    parts: Parts, letter: Letter, identity: UUID, recipients: Sequence[Recipient]
) -> list[NewQueueMessage]:
    """A queue message for each recipient that leads elsewhere, with an id made of `identity`. Raises Unavailable."""
    found = []
    for to in recipients:
        copy = await parts.scripts.sealer.sealed(passed_on(letter.content, to.key), to.key, letter.content)
        sender = parts.storage.senders.rewritten(letter.mail.sender, to.key.rpartition("@")[2], letter.at)
        sites = [(address, site_of(address)) for address in to.remote]
        found.append(
            NewQueueMessage(
                sender=sender,
                blob=await parts.storage.blobs.prepare(copy, queued=True, scratch=parts.spool),
                recipients=[NewRecipient(address, site) for address, site in sites if site],
                smtputf8=letter.mail.smtputf8,
                eight_bit=letter.mail.eight_bit,
                delivery_id=uuid5(identity, f"forward/{to.key}"),
                terms=Terms(require_tls=letter.mail.requests.require_tls),
            )
        )
    return [message for message in found if message.recipients]
