"""The filters and sorts of Email/query (RFC 8621 4.4.1, 4.4.2) to the store's conditions."""

from collections.abc import Callable, Mapping
from typing import Any

from posthorn_jmap.context import Context
from posthorn_jmap.methods.email_store import set_keywords
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import utc_date
from posthorn_jmap.protocol.errors import MethodError, SetError, invalid_arguments
from posthorn_jmap.protocol.query import ascending, fold
from posthorn_model.flags import Flags
from posthorn_model.ids import MailboxId
from posthorn_storage.mail import search
from posthorn_storage.mail.search import Condition, Sort, SortKey, TextField

SORT_OPTIONS: Mapping[str, SortKey] = {
    "receivedAt": SortKey.RECEIVED,
    "sentAt": SortKey.SENT,
    "size": SortKey.SIZE,
    "from": SortKey.DISPLAY_FROM,
    "to": SortKey.DISPLAY_TO,
    "subject": SortKey.SUBJECT,
    "hasKeyword": SortKey.FLAGS,
    "allInThreadHaveKeyword": SortKey.THREAD_EVERY,
    "someInThreadHaveKeyword": SortKey.THREAD_SOME,
}
_KEYWORD_SORTS = (SortKey.FLAGS, SortKey.THREAD_EVERY, SortKey.THREAD_SOME)
_TEXTS = {
    "text": TextField.TEXT,
    "from": TextField.FROM,
    "to": TextField.TO,
    "cc": TextField.CC,
    "bcc": TextField.BCC,
    "subject": TextField.SUBJECT,
    "body": TextField.BODY,
}
MAX_TEXT = 1_000


def condition(context: Context, value: dict[str, Any] | None) -> Condition:
    """A filter as the store's condition. Raises MethodError."""
    if not value:
        return search.Everything()
    found: Condition = fold(value, lambda leaf: _leaf(context, leaf), _join)
    return found


def _join(operator: str, parts: list[Condition]) -> Condition:
    if operator == "AND":
        return search.And(tuple(parts))
    if operator == "OR":
        return search.Or(tuple(parts))
    return search.Not(search.Or(tuple(parts)))


def _leaf(context: Context, leaf: dict[str, Any]) -> Condition:
    parts: list[Condition] = []
    for name, value in leaf.items():
        read = _CONDITIONS.get(name)
        if read is None:
            raise MethodError("unsupportedFilter", f"{name[:100]} is not a condition of Email/query")
        if value is not None:
            parts.append(read(context, name, value))
    return parts[0] if len(parts) == 1 else search.And(tuple(parts))


def _mailbox(context: Context, value: Any) -> MailboxId | None:
    number = ids.from_wire("m", context.real_id(value)) if isinstance(value, str) else None
    return None if number is None else MailboxId(number)


def _in_mailbox(context: Context, name: str, value: Any) -> Condition:
    mailbox = _mailbox(context, value)
    if mailbox is None:
        raise invalid_arguments(f"{name} is the id of a mailbox")
    return search.InMailbox(mailbox)


def _in_other_than(context: Context, name: str, value: Any) -> Condition:
    if not isinstance(value, list):
        raise invalid_arguments(f"{name} is a list of ids")
    found = [_mailbox(context, item) for item in value]
    return search.InOtherThan(tuple(mailbox for mailbox in found if mailbox is not None))


def _text(_: Context, name: str, value: Any) -> Condition:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise invalid_arguments(f"{name} is a text of at most {MAX_TEXT} characters")
    return search.Matches(_TEXTS[name], value)


def _date(_: Context, name: str, value: Any) -> Condition:
    try:
        moment = utc_date(value)
    except ValueError as error:
        raise invalid_arguments(f"{name} is a UTCDate") from error
    return search.Received(before=moment) if name == "before" else search.Received(since=moment)


def _size(_: Context, name: str, value: Any) -> Condition:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise invalid_arguments(f"{name} is a number of octets")
    # minSize is "at least" (RFC 8621 4.4.1), the store's `larger` is "more than".
    return search.Size(larger=value - 1) if name == "minSize" else search.Size(smaller=value)


def _flags(value: Any, name: str) -> Flags:
    if not isinstance(value, str):
        raise invalid_arguments(f"{name} is a keyword")
    try:
        return set_keywords({value: True})
    except SetError as error:
        raise invalid_arguments(f"{name} is a keyword") from error


def _keyword(_: Context, name: str, value: Any) -> Condition:
    flags = _flags(value, name)
    match name:
        case "hasKeyword":
            return search.HasFlags(flags)
        case "notKeyword":
            return search.Not(search.HasFlags(flags))
        case "noneInThreadHaveKeyword":
            return search.Not(search.ThreadHasFlags(flags, every=False))
    return search.ThreadHasFlags(flags, every=name == "allInThreadHaveKeyword")


def _attachment(_: Context, name: str, value: Any) -> Condition:
    if not isinstance(value, bool):
        raise invalid_arguments(f"{name} is a boolean")
    return search.HasAttachment() if value else search.Not(search.HasAttachment())


def _header(_: Context, name: str, value: Any) -> Condition:
    if not isinstance(value, list) or not 1 <= len(value) <= 2 or not all(isinstance(v, str) for v in value):
        raise invalid_arguments(f"{name} is a list of a field name and perhaps a text")
    return search.Header(value[0], value[1] if len(value) == 2 else "")


_CONDITIONS: Mapping[str, Callable[[Context, str, Any], Condition]] = {
    "inMailbox": _in_mailbox,
    "inMailboxOtherThan": _in_other_than,
    "before": _date,
    "after": _date,
    "minSize": _size,
    "maxSize": _size,
    "allInThreadHaveKeyword": _keyword,
    "someInThreadHaveKeyword": _keyword,
    "noneInThreadHaveKeyword": _keyword,
    "hasKeyword": _keyword,
    "notKeyword": _keyword,
    "hasAttachment": _attachment,
    "header": _header,
    **dict.fromkeys(_TEXTS, _text),
}


def sorts(comparators: list[dict[str, Any]] | None) -> tuple[Sort, ...]:
    """The comparators as the store's sort keys. Raises MethodError unsupportedSort."""
    found = []
    for comparator in comparators or ():
        name = comparator.get("property")
        key = SORT_OPTIONS.get(name) if isinstance(name, str) else None
        if key is None:
            raise MethodError("unsupportedSort", f"Email/query sorts by {', '.join(SORT_OPTIONS)}")
        flags = _flags(comparator.get("keyword"), "keyword") if key in _KEYWORD_SORTS else None
        found.append(Sort(key, not ascending(comparator), flags))
    return tuple(found)
