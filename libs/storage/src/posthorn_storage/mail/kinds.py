"""The numbers under which change_log keeps the kinds of objects; stored, so none ever gets a second meaning."""

from typing import Final

from posthorn_model.events import ChangeKind

KIND: Final[dict[ChangeKind, int]] = {
    ChangeKind.MAILBOX: 1,
    ChangeKind.EMAIL: 2,
    ChangeKind.THREAD: 3,
    ChangeKind.IDENTITY: 4,
    ChangeKind.EMAIL_SUBMISSION: 5,
    ChangeKind.CALENDAR: 6,
    ChangeKind.CALENDAR_EVENT: 7,
    ChangeKind.ADDRESS_BOOK: 8,
    ChangeKind.CONTACT_CARD: 9,
    ChangeKind.EMAIL_DELIVERY: 10,
}
VANISHED: Final = 20
"""A UID left a mailbox (RFC 7162 VANISHED): container_id is the mailbox, uid the UID."""
FOLDER: Final = 21
"""A collection of files; no JMAP type."""
FILE: Final = 22

MAILBOX: Final = KIND[ChangeKind.MAILBOX]
EMAIL: Final = KIND[ChangeKind.EMAIL]
THREAD: Final = KIND[ChangeKind.THREAD]

NAMED: Final[dict[int, ChangeKind]] = {number: kind for kind, number in KIND.items()}
