"""The one table of smtp-in: what each domain error becomes on the wire."""

from collections.abc import Mapping, Sequence

from posthorn_model.errors import (
    AccountNotFound,
    AuthenticationFailed,
    InvalidAddress,
    InvalidContent,
    MailboxNotFound,
    NotPermitted,
    Overloaded,
    OverQuota,
    PosthornError,
    TooLarge,
    TooMany,
    TooManyFailures,
    Unavailable,
)
from posthorn_sasl import Problem
from posthorn_smtp_in.protocol.content import Fault
from posthorn_smtp_in.protocol.replies import Reply, reply

# The first class an error is an instance of decides.
_TABLE: Sequence[tuple[type[PosthornError], int, str]] = (
    (TooManyFailures, 454, "4.7.0"),
    (Overloaded, 451, "4.3.2"),
    (Unavailable, 451, "4.3.0"),
    (OverQuota, 452, "4.2.2"),
    (AuthenticationFailed, 535, "5.7.8"),
    (AccountNotFound, 550, "5.1.1"),
    (MailboxNotFound, 550, "5.1.1"),
    (InvalidAddress, 553, "5.1.3"),
    (NotPermitted, 550, "5.7.1"),
    (InvalidContent, 554, "5.6.0"),
    (TooLarge, 552, "5.3.4"),
    (TooMany, 452, "4.5.3"),
)

_FAULTS = {
    Fault.BARE_LINE_END: reply(554, "5.6.0", "Bare CR or LF in the message; lines end with CRLF (RFC 5321 2.3.8)"),
    Fault.NUL: reply(554, "5.6.0", "NUL octet in the message (RFC 5322 2.2)"),
    Fault.LONG_LINE: reply(500, "5.6.0", "Line too long, over 998 octets (RFC 5321 4.5.3.1.6)"),
    Fault.TOO_LARGE: reply(552, "5.3.4", "Message too large"),
    Fault.FLOOD: reply(552, "5.3.4", "Message far too large"),
}


# RFC 4954 4 and 6.
_PROBLEMS: Mapping[Problem, tuple[int, str]] = {
    Problem.CANCELLED: (501, "5.7.0"),
    Problem.ENCODING: (501, "5.5.2"),
    Problem.SYNTAX: (501, "5.5.2"),
    Problem.TOO_LONG: (500, "5.5.6"),
    Problem.MECHANISM: (504, "5.5.4"),
    Problem.IDENTITY: (535, "5.7.8"),
    Problem.BINDING: (535, "5.7.8"),
}


def reply_to_exchange(problem: Problem) -> Reply:
    """The reply for an exchange of AUTH that cannot go on."""
    return reply(*_PROBLEMS[problem], problem.value.capitalize())


def reply_to(error: PosthornError) -> Reply:
    """The reply for a domain error; an unlisted one is 451 or 554 by its `temporary`."""
    for kind, code, status in _TABLE:
        if isinstance(error, kind):
            return reply(code, status, error.public)
    return reply(451, "4.3.0", error.public) if error.temporary else reply(554, "5.0.0", error.public)


def reply_to_fault(fault: Fault) -> Reply:
    """The reply for content that breaks the rules of lines or size."""
    return _FAULTS[fault]


def reply_to_bug(reference: str) -> Reply:
    """The reply for anything unforeseen; `reference` is what the log calls it."""
    return reply(451, "4.3.0", f"Internal error, reference {reference}")
