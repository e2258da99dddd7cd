"""Header properties "header:Name:asForm:all" (RFC 8621 4.1.3): their names as values, and the forms of each field."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from posthorn_mail_format.headers import Field
from posthorn_mail_format.listing import FORMS

_NAME = re.compile(r"header:([!-9;-~]{1,200})((?::as[A-Za-z]{1,20})?)((?::all)?)")
_ADDRESSES = ("asAddresses", "asGroupedAddresses")
_RESENT = ("resent-from", "resent-sender", "resent-to", "resent-cc", "resent-bcc", "resent-reply-to")
_LIST = ("list-help", "list-unsubscribe", "list-subscribe", "list-post", "list-owner", "list-archive")
# The forms of the fields that RFC 5322 and RFC 2369 define (RFC 8621 4.1.2); other fields may have every form.
_FORMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("subject", "comments", "keywords", "list-id"), ("asText",)),
    **dict.fromkeys(("from", "sender", "reply-to", "to", "cc", "bcc", *_RESENT), _ADDRESSES),
    **dict.fromkeys(("message-id", "in-reply-to", "references", "resent-message-id"), ("asMessageIds",)),
    **dict.fromkeys(("date", "resent-date"), ("asDate",)),
    **dict.fromkeys(_LIST, ("asURLs",)),
    **dict.fromkeys(("received", "return-path"), ()),
}


@dataclass(frozen=True, slots=True)
class HeaderProperty:
    """One header property: the property's own spelling, the field's name, the form, and whether all fields count."""

    spelled: str
    name: str
    form: str
    every: bool

    def value(self, fields: Sequence[Field]) -> Any:
        """The property's value, given the fields of the header in their order."""
        wanted = self.name.lower().encode()
        found = [FORMS[self.form](field.value) for field in fields if field.name.lower() == wanted]
        if self.every:
            return found
        return found[-1] if found else None


def header_property(spelled: str) -> HeaderProperty | None:
    """Read a property name; None when it is no header property, or asks for a form that the field cannot have."""
    match = _NAME.fullmatch(spelled)
    if match is None:
        return None
    name, form = match[1], match[2][1:] or "asRaw"
    allowed = _FORMS.get(name.lower(), tuple(FORMS))
    if form != "asRaw" and form not in allowed:
        return None
    return HeaderProperty(spelled, name, form, bool(match[3]))
