"""Domain errors. Each carries what the peer may hear, whether to try again, and fields for the log alone.

Services look them up in their one table (errors.py of each service) and answer in their protocol's words.
"""

from typing import Any, ClassVar


class PosthornError(Exception):
    """Anything the domain refuses. `public` may be shown to the peer; `fields` go to the log only."""

    temporary: ClassVar[bool] = False
    default: ClassVar[str] = "the request was refused"

    def __init__(self, public: str | None = None, **fields: Any) -> None:
        self.public = public or self.default
        self.fields = fields
        super().__init__(self.public)


class NotFound(PosthornError):
    """The named thing does not exist, or the caller may not know that it does."""

    default = "no such object"


class AccountNotFound(NotFound):
    default = "no such account"


class MailboxNotFound(NotFound):
    default = "no such mailbox"


class MessageNotFound(NotFound):
    default = "no such message"


class BlobNotFound(NotFound):
    default = "no such blob"


class CollectionNotFound(NotFound):
    default = "no such collection"


class AlreadyExists(PosthornError):
    """A thing with that name is there already."""

    default = "an object of that name already exists"


class InvalidName(PosthornError):
    """A mailbox, collection, account or domain name that cannot be stored."""

    default = "that name is not allowed"


class InvalidKeyword(PosthornError):
    default = "that is not a valid keyword"


class InvalidAddress(PosthornError):
    default = "that is not a valid address"


class MailboxHasChildren(PosthornError):
    default = "the mailbox has child mailboxes"


class MailboxNotEmpty(PosthornError):
    default = "the mailbox still holds messages"


class NotPermitted(PosthornError):
    default = "not permitted"


class MissingRight(NotPermitted):
    """Somebody wants what its owner lets others do, and was not let."""

    default = "you do not have the right to do that"


class AuthenticationFailed(PosthornError):
    default = "authentication failed"


class SecretMissing(PosthornError):
    """Something secret is to be stored or read, and the settings have no secret to seal it with."""

    default = (
        "certificates are stored sealed, and there is no secret to do it with: set certificates.secret to the same "
        "random text on all nodes, such as `openssl rand -hex 32` prints"
    )


class WrongSecret(PosthornError):
    """What is stored was sealed under a secret that the settings do not have."""

    default = (
        "sealed under another secret than the settings have: give certificates.secret the value it had, or name that "
        "value in certificates.former-secrets"
    )


class AuthorityRefused(PosthornError):
    """A certificate authority, or what must be done for it (a change in DNS), said no.

    `dead`: the order cannot be gone on with. `retry_after` is in seconds, 0 when nothing was said.
    """

    default = "the certificate authority refused"

    def __init__(
        self, public: str | None = None, *, dead: bool = True, retry_after: float = 0.0, **fields: Any
    ) -> None:
        super().__init__(public, **fields)
        self.dead = dead
        self.retry_after = retry_after


class OverQuota(PosthornError):
    default = "the account is over its quota"


class TooLarge(PosthornError):
    default = "the object is larger than the limit"


class TooMany(PosthornError):
    default = "too many objects in one request"


class StateMismatch(PosthornError):
    """A conditional change (ifInState, UNCHANGEDSINCE, If-Match) found another state."""

    default = "the state has changed"


class CannotCalculateChanges(PosthornError):
    """The asked-for state is behind the horizon of the change log."""

    default = "that state is too old to calculate changes from"


class InvalidContent(PosthornError):
    """Content that cannot be stored: broken iCalendar, vCard, or a message that cannot be stored."""

    default = "the content is not valid"


class LeaseLost(PosthornError):
    """A write under a lease whose epoch is no longer current; nothing was written."""

    default = "the lease was lost"


class DuplicateNode(PosthornError):
    """The configured node id is held by another live node."""

    default = "that node id is in use by another live node"


class Unavailable(PosthornError):
    """Something needed (database, blob store, a pool) does not answer now; trying again later may help."""

    temporary = True
    default = "temporarily unavailable, try again later"


class AccountMoving(Unavailable):
    """The account is being moved to another shard, for less than a second, or lives there by now."""

    default = "the account is being moved, try again"


class Archived(Unavailable):
    """Content in a class of storage that cannot be read until somebody asks its provider to restore it."""

    default = "the content is archived: it can be read after it was restored"


class Overloaded(Unavailable):
    default = "too busy, try again later"


class TooManyFailures(Overloaded):
    """Too many logins failed from an address or for an account; whether this one is right was not said.

    `retry_after` is in seconds.
    """

    default = "too many failed logins, try again later"

    def __init__(self, public: str | None = None, *, retry_after: float, **fields: Any) -> None:
        super().__init__(public, retry_after=round(retry_after, 1), **fields)
        self.retry_after = retry_after
