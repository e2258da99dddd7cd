"""The one table from domain errors to JMAP's: method errors and set errors (RFC 8620 3.6.2, 5.3)."""

from posthorn_jmap.protocol.errors import MethodError, RequestProblem, SetError
from posthorn_model import errors

_METHOD: tuple[tuple[type[errors.PosthornError], str], ...] = (
    (errors.AccountNotFound, "accountNotFound"),
    (errors.CannotCalculateChanges, "cannotCalculateChanges"),
    (errors.StateMismatch, "stateMismatch"),
    (errors.NotPermitted, "forbidden"),
    (errors.TooMany, "requestTooLarge"),
    (errors.Unavailable, "serverUnavailable"),
)

_SET: tuple[tuple[type[errors.PosthornError], str], ...] = (
    (errors.OverQuota, "overQuota"),
    (errors.TooLarge, "tooLarge"),
    (errors.MailboxHasChildren, "mailboxHasChild"),
    (errors.MailboxNotEmpty, "mailboxHasEmail"),
    (errors.NotPermitted, "forbidden"),
    (errors.BlobNotFound, "blobNotFound"),
    (errors.NotFound, "notFound"),
    (errors.AlreadyExists, "invalidProperties"),
    (errors.InvalidName, "invalidProperties"),
    (errors.InvalidKeyword, "invalidProperties"),
    (errors.InvalidAddress, "invalidProperties"),
    (errors.InvalidContent, "invalidEmail"),
    (errors.TooMany, "limit"),
)


def method_error(error: errors.PosthornError) -> MethodError:
    """What a method call answers for a domain error."""
    kind = next((kind for known, kind in _METHOD if isinstance(error, known)), "invalidArguments")
    return MethodError(kind, error.public)


def set_error(error: errors.PosthornError) -> SetError | None:
    """What one object of a /set answers; None when the whole call has to fail (nothing was tried)."""
    kind = next((kind for known, kind in _SET if isinstance(error, known)), None)
    return SetError(kind, error.public) if kind else None


def problem(error: errors.PosthornError) -> RequestProblem:
    """What an HTTP request outside the API answers."""
    if isinstance(error, errors.AuthenticationFailed):
        return RequestProblem("about:blank", error.public, 401)
    if isinstance(error, errors.NotFound):
        return RequestProblem("about:blank", error.public, 404)
    if isinstance(error, errors.TooLarge):
        return RequestProblem("limit", error.public, 413, limit="maxSizeUpload")
    if isinstance(error, errors.TooManyFailures):
        return RequestProblem("about:blank", error.public, 429)
    if isinstance(error, errors.Unavailable):
        return RequestProblem("about:blank", error.public, 503)
    return RequestProblem("about:blank", error.public, 400)
