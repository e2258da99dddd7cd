"""Email/set (RFC 8621 4.6): create from parts, change mailboxes and keywords, destroy."""

from typing import Any

from posthorn_jmap import errors
from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import standard
from posthorn_jmap.methods.email_compose import compose
from posthorn_jmap.methods.email_store import mailbox_ids, set_keywords, store
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments, utc_date
from posthorn_jmap.protocol.errors import SetError, invalid_properties
from posthorn_model.errors import MailboxNotFound, NotPermitted, PosthornError
from posthorn_model.flags import Flags
from posthorn_model.ids import MailboxId, MessageId
from posthorn_storage.mail import MessageUpdate


async def email_set(context: Context, arguments: Arguments) -> Responses:
    """Email/set."""
    request, old = await standard.read_set(context, arguments)
    result = standard.SetResult()

    async def create(key: str, value: dict[str, Any]) -> dict[str, Any]:
        found = dict(value)
        boxes = mailbox_ids(context, found.pop("mailboxIds", None))
        flags = set_keywords(found.pop("keywords", None))
        received = found.pop("receivedAt", None)
        raw = await compose(context, found)
        try:
            moment = utc_date(received) if received is not None else None
        except ValueError as error:
            raise invalid_properties("receivedAt is a UTCDate", "receivedAt") from error
        made = await store(context, raw, boxes, flags, moment)
        context.created[key] = made["id"]
        return made

    await standard.each(request.create.items(), create, result.created.__setitem__, result.not_created)
    await _update(context, request.update, result)
    await _destroy(context, request.destroy, result)
    new = await standard.state(context)
    return [("Email/set", result.arguments(context, old, new))]


async def _update(context: Context, changes: dict[str, dict[str, Any]], result: standard.SetResult) -> None:
    """All updates in one unit of work; each object may fail by itself."""
    wanted: dict[str, MessageUpdate] = {}
    for key, patch in changes.items():
        try:
            wanted[key] = _read_patch(context, key, patch)
        except SetError as error:
            result.not_updated[key] = error.value()
    if not wanted:
        return
    failed = await context.storage.mail.update_messages(context.account.id, list(wanted.values()))
    for key, update in wanted.items():
        refusal = failed.get(update.id)
        if refusal is None:
            result.updated[key] = None
        else:
            result.not_updated[key] = _refused(refusal).value()


def _refused(error: PosthornError) -> SetError:
    if isinstance(error, MailboxNotFound | NotPermitted):
        # A mailbox that is not there, or none left for the email to be in.
        return invalid_properties(error.public, "mailboxIds")
    return errors.set_error(error) or SetError("serverFail", error.public)


def _read_patch(context: Context, key: str, patch: dict[str, Any]) -> MessageUpdate:
    number = ids.from_wire("e", key)
    if number is None:
        raise SetError("notFound")
    keywords: Flags | None = None
    boxes: frozenset[MailboxId] | None = None
    add_words: list[str] = []
    remove_words: list[str] = []
    add_boxes: list[MailboxId] = []
    remove_boxes: list[MailboxId] = []
    for path, value in patch.items():
        name, slash, rest = path.partition("/")
        if path == "keywords":
            keywords = set_keywords(value)
        elif path == "mailboxIds":
            boxes = frozenset(mailbox_ids(context, value))
        elif not slash or name not in ("keywords", "mailboxIds"):
            raise invalid_properties("only keywords and mailboxIds of an email can change", name)
        elif value is not True and value is not None:
            raise SetError("invalidPatch", f"{name} are set to true or null")
        elif name == "keywords":
            (add_words if value else remove_words).append(rest.replace("~1", "/").replace("~0", "~"))
        else:
            (add_boxes if value else remove_boxes).append(_mailbox(context, rest))
    if (keywords is not None and (add_words or remove_words)) or (boxes is not None and (add_boxes or remove_boxes)):
        raise SetError("invalidPatch", "one path of the patch is inside another")
    return MessageUpdate(
        MessageId(number),
        flags=keywords,
        add_flags=set_keywords(dict.fromkeys(add_words, True)),
        remove_flags=set_keywords(dict.fromkeys(remove_words, True)),
        mailboxes=boxes,
        add_mailboxes=frozenset(add_boxes),
        remove_mailboxes=frozenset(remove_boxes),
    )


def _mailbox(context: Context, wire: str) -> MailboxId:
    number = ids.from_wire("m", context.real_id(wire))
    if number is None:
        raise invalid_properties("no such mailbox", "mailboxIds")
    return MailboxId(number)


async def _destroy(context: Context, wanted: list[str], result: standard.SetResult) -> None:
    numbers = {MessageId(number): wire for wire in wanted if (number := ids.from_wire("e", wire)) is not None}
    gone: list[MessageId] = []
    if numbers:
        gone, _ = await context.storage.mail.destroy_messages(context.account.id, list(numbers))
    result.destroyed = [numbers[number] for number in gone]
    for wire in wanted:
        if wire not in result.destroyed:
            result.not_destroyed[wire] = SetError("notFound").value()
