"""One message of a batch while it is planned: where it goes, and the keys that it is looked for by."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from posthorn_model.ids import AccountId, MessageId, Modseq, ThreadId, Uid
from posthorn_model.mail import NewMessage
from posthorn_storage.codes import UPDATED
from posthorn_storage.mail import seen, threads
from posthorn_storage.mail.journal import Place


class Keys(NamedTuple):
    """What a message is looked for by, made once."""

    delivery: seen.Key | None
    digest: seen.Key | None
    thread: list[threads.Key]

    @property
    def seen(self) -> list[seen.Key]:
        """Those under which its delivery is remembered."""
        return [key for key in self[:2] if key is not None]


def keys_of(messages: Iterable[NewMessage]) -> dict[int, Keys]:
    """The keys of each message, by its identity."""
    return {id(message): _keys(message) for message in messages}


def _keys(message: NewMessage) -> Keys:
    return Keys(seen.id_key(message), seen.digest_key(message), threads.keys(message.account, message.summary))


@dataclass(slots=True, eq=False)
class Planned:
    """One message of a batch: where it goes, or which earlier one it repeats."""

    new: NewMessage
    places: list[Place]
    keys: Keys
    repeats: "Planned | MessageId | None" = None
    id: MessageId = field(default=MessageId(0))
    thread: ThreadId = field(default=ThreadId(0))
    thread_op: int = UPDATED
    modseq: Modseq = field(default=Modseq(0))
    uids: list[Uid] = field(default_factory=list)

    @property
    def account(self) -> AccountId:
        return self.new.account
