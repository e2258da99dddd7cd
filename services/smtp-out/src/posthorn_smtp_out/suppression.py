"""What the suppression list means for an attempt, and what refusals put on it.

Only a reply of a remote that names an unknown user for good puts an address on the list, and only for mail of the
sender's own domain or address: what one sender's old address book holds must not cost another one's mail. Bounces are
not looked up: they go back to who wrote.
"""

from collections.abc import Mapping, Sequence

from structlog.typing import FilteringBoundLogger

from posthorn_model.errors import PosthornError
from posthorn_model.queue_items import DueRecipient, Outcome, RecipientState, site_of
from posthorn_smtp_out.classes import ReplyClass
from posthorn_smtp_out.figures import Figures
from posthorn_smtp_out.groups import Group
from posthorn_smtp_out.outcomes import Answer
from posthorn_smtp_out.protocol.replies import MAX_TEXT, Reply
from posthorn_smtp_out.settings import SuppressionSettings
from posthorn_storage.queue import Suppression, SuppressionList


class Suppressing:
    """The list as smtp-out uses it. With the mode "off" nothing is asked and nothing is entered."""

    def __init__(
        self, entries: SuppressionList, settings: SuppressionSettings, figures: Figures, log: FilteringBoundLogger
    ) -> None:
        self._entries = entries
        self._settings = settings
        self._figures = figures
        self._log = log

    async def answers(self, group: Group) -> Mapping[int, Answer]:
        """For recipients that must not be tried; none while it is only observed. Raises Unavailable, Overloaded."""
        sender = group.first.sender
        if self._settings.mode == "off" or not sender:
            return {}
        found = await self._entries.find({each.address for each in group.recipients}, sender)
        stopped = {each.id: found[each.address] for each in group.recipients if each.address in found}
        enforced = self._settings.mode == "enforce"
        if stopped:
            self._figures.suppressed.labels("refused" if enforced else "observed").inc(len(stopped))
            self._log.info(
                "suppressed" if enforced else "suppressed if it were enforced",
                queue_message=group.message,
                recipients=sorted(entry.address for entry in stopped.values()),
            )
        return {number: Answer(refusal(entry)) for number, entry in stopped.items()} if enforced else {}

    async def learn(self, recipients: Sequence[DueRecipient], outcomes: Sequence[Outcome]) -> None:
        """Enter addresses of which a remote has just said that there is no such user. Never raises for the store."""
        unknown = {each.recipient: each.reply for each in outcomes if is_hard(each)}
        if self._settings.mode == "off" or not unknown:
            return
        sender = recipients[0].sender
        scope = sender if self._settings.per == "sender" else site_of(sender)
        addresses = {each.address: unknown[each.id] for each in recipients if each.id in unknown}
        if not sender or not scope:
            return
        try:
            entered = await self._entries.put(addresses, scope, "bounce", self._settings.expire)
        except PosthornError as error:
            self._log.warning("not put on the suppression list", reason=error.public, recipients=sorted(addresses))
        else:
            self._figures.suppressed.labels("entered").inc(len(entered))


def is_hard(outcome: Outcome) -> bool:
    """Whether a remote said for good that it does not know the user; our own reasons are not meant."""
    unknown = outcome.state is RecipientState.FAILED and outcome.reply_class == ReplyClass.UNKNOWN_USER
    return unknown and bool(outcome.remote) and outcome.status.startswith("5") and outcome.status != "5.4.7"


def refusal(entry: Suppression) -> Reply:
    """What a sender hears of it."""
    why = {"bounce": "there was no such user", "complaint": "its owner complained", "operator": "by the operator"}
    told = f"5.1.1 Suppressed since {entry.since:%Y-%m-%d}, {why[entry.source]}: {entry.reason}"
    return Reply(550, (told[:MAX_TEXT],))
