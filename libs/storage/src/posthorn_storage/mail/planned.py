"""One message of a batch while it is planned: where it goes, and the keys that it is looked for by."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from posthorn_model.ids import AccountId, MessageId, Modseq, ThreadId, Uid
from posthorn_model.mail import NewMessage
from posthorn_storage.mail import seen, threads
from posthorn_storage.mail.journal import Place


class Keys(NamedTuple):
    """What a message is looked for by, made once."""

    delivery: seen.Key | None
    digest: seen.Key | None
    seen: list[seen.Key]
    """Those of the two that there are: under them its delivery is remembered."""
    thread: list[threads.Key]


def keys_of(messages: Iterable[NewMessage]) -> dict[int, Keys]:
    """The keys of each message, by its identity."""
    return {id(message): _keys(message) for message in messages}


def _keys(message: NewMessage) -> Keys:
    delivery, digest = seen.id_key(message), seen.digest_key(message)
    known = [key for key in (delivery, digest) if key is not None]
    return Keys(delivery, digest, known, threads.keys(message.account, message.summary))


@dataclass(slots=True, eq=False)
class Planned:
    """One message of a batch: where it goes, or which earlier one it repeats."""

    new: NewMessage
    places: list[Place]
    keys: Keys
    repeats: "Planned | MessageId | None" = None
    id: MessageId = field(default=MessageId(0))
    thread: ThreadId = field(default=ThreadId(0))
    """That of its own id when it opens one."""
    modseq: Modseq = field(default=Modseq(0))
    uids: Sequence[Uid] = ()

    @property
    def account(self) -> AccountId:
        return self.new.account
