"""The one table of the IMAP service: what each domain error becomes on the wire (RFC 5530)."""

from collections.abc import Mapping, Sequence

from posthorn_imap.protocol.responses import Answer, bad, no
from posthorn_model.errors import (
    AccountNotFound,
    AlreadyExists,
    AuthenticationFailed,
    BlobNotFound,
    InvalidContent,
    InvalidKeyword,
    InvalidName,
    MailboxHasChildren,
    MailboxNotFound,
    MessageNotFound,
    MissingRight,
    NotPermitted,
    Overloaded,
    OverQuota,
    PosthornError,
    TooLarge,
    TooMany,
    Unavailable,
)
from posthorn_sasl import Problem

# The first class an error is an instance of decides.
_TABLE: Sequence[tuple[type[PosthornError], bytes]] = (
    (Overloaded, b"LIMIT"),
    (Unavailable, b"UNAVAILABLE"),
    (AuthenticationFailed, b"AUTHENTICATIONFAILED"),
    (OverQuota, b"OVERQUOTA"),
    (MailboxNotFound, b"NONEXISTENT"),
    (AccountNotFound, b"NONEXISTENT"),
    (MessageNotFound, b"EXPUNGEISSUED"),
    (BlobNotFound, b"EXPUNGEISSUED"),
    (AlreadyExists, b"ALREADYEXISTS"),
    (MailboxHasChildren, b"HASCHILDREN"),
    (InvalidName, b"CANNOT"),
    (InvalidKeyword, b"CANNOT"),
    (InvalidContent, b"CANNOT"),
    (MissingRight, b"NOPERM"),
    (NotPermitted, b"CANNOT"),
    (TooLarge, b"TOOBIG"),
    (TooMany, b"LIMIT"),
)


# Of an exchange whose octets are well-formed; the rest is BAD (RFC 9051 6.2.2).
_PROBLEMS: Mapping[Problem, bytes] = {
    Problem.MECHANISM: b"CANNOT",
    Problem.IDENTITY: b"AUTHORIZATIONFAILED",
    Problem.BINDING: b"AUTHENTICATIONFAILED",
}


def answer_to_exchange(problem: Problem) -> Answer:
    """The tagged response for an exchange of AUTHENTICATE that cannot go on."""
    text, code = problem.value.capitalize(), _PROBLEMS.get(problem)
    return bad(text) if code is None else no(text, code)


def answer_to(error: PosthornError) -> Answer:
    """The tagged response for a domain error; an unlisted one is a plain NO."""
    for kind, code in _TABLE:
        if isinstance(error, kind):
            return no(error.public, code)
    return no(error.public)


def answer_to_bug(reference: str) -> Answer:
    """The response for anything unforeseen; `reference` is what the log calls it."""
    return no(f"Internal error, reference {reference}", b"SERVERBUG")
