"""Due recipients put together: those of one message and one site share a transaction."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from posthorn_model.ids import QueueMessageId
from posthorn_model.queue_items import DueRecipient


@dataclass(frozen=True, slots=True)
class Group:
    """Recipients of one message at one site; at least one."""

    site: str
    message: QueueMessageId
    recipients: Sequence[DueRecipient]

    @property
    def first(self) -> DueRecipient:
        """Any of them: what is the message's is the same in all."""
        return self.recipients[0]

    def without(self, ids: Collection[int]) -> "Group | None":
        """The same with other recipients only; None when none is left."""
        rest = [each for each in self.recipients if each.id not in ids]
        return Group(self.site, self.message, rest) if rest else None


def grouped(due: Iterable[DueRecipient], limit: Callable[[str], int]) -> list[Group]:
    """Group in the order of what is due first, at most `limit(site)` recipients in one group."""
    found: dict[tuple[str, QueueMessageId], list[list[DueRecipient]]] = {}
    limits: dict[str, int] = {}
    for recipient in due:
        lists = found.setdefault((recipient.site, recipient.message), [[]])
        if recipient.site not in limits:
            limits[recipient.site] = limit(recipient.site)
        if len(lists[-1]) >= limits[recipient.site]:
            lists.append([])
        lists[-1].append(recipient)
    return [Group(site, message, each) for (site, message), lists in found.items() for each in lists]
