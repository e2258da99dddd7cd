"""The one table from errors to HTTP answers, with the precondition that RFC 4918, 4791, 6352 and 6578 name."""

from posthorn_dav.protocol.conditions import BadCondition
from posthorn_dav.protocol.filters import UnsupportedCollation
from posthorn_dav.protocol.multistatus import error_body
from posthorn_dav.protocol.xml import CALDAV, DAV, MalformedXml
from posthorn_model import errors


class Refused(Exception):
    """A request refused by a rule of DAV: status, and the violated precondition where there is one."""

    def __init__(self, status: int, text: str, condition: tuple[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.condition = condition


_STATUS: tuple[tuple[type[errors.PosthornError], int], ...] = (
    (errors.AuthenticationFailed, 401),
    (errors.NotFound, 404),
    (errors.StateMismatch, 412),
    (errors.AlreadyExists, 409),
    (errors.TooLarge, 413),
    (errors.OverQuota, 507),
    (errors.TooMany, 507),
    (errors.NotPermitted, 403),
    (errors.InvalidName, 403),
    (errors.InvalidContent, 403),
    (errors.CannotCalculateChanges, 403),
    (errors.TooManyFailures, 429),
    (errors.Unavailable, 503),
)

_CONDITIONS: dict[type[errors.PosthornError], tuple[str, str]] = {
    errors.CannotCalculateChanges: (DAV, "valid-sync-token"),
    errors.OverQuota: (DAV, "quota-not-exceeded"),
}


def answer(error: Exception) -> tuple[int, bytes, str] | None:
    """Status, body and content type for an error that has an answer; None for a bug of ours."""
    match error:
        case Refused():
            return _body(error.status, error.text, error.condition)
        case MalformedXml() | BadCondition():
            return _body(400, str(error), None)
        case UnsupportedCollation():
            return _body(403, f"collation {error} is not offered", (CALDAV, "supported-collation"))
        case errors.PosthornError():
            status = next((status for kind, status in _STATUS if isinstance(error, kind)), 400)
            return _body(status, error.public, _CONDITIONS.get(type(error)))
        case _:
            return None


def _body(status: int, text: str, condition: tuple[str, str] | None) -> tuple[int, bytes, str]:
    if condition is not None:
        return status, error_body(*condition), "application/xml; charset=utf-8"
    return status, (text + "\n").encode(), "text/plain; charset=utf-8"
