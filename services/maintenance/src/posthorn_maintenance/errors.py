"""The one table from domain errors to HTTP answers of the management API (RFC 7807 problems)."""

from posthorn_model import errors

_STATUS: tuple[tuple[type[errors.PosthornError], int], ...] = (
    (errors.AuthenticationFailed, 401),
    (errors.NotPermitted, 403),
    (errors.NotFound, 404),
    (errors.AlreadyExists, 409),
    (errors.Unavailable, 503),
)


def problem(error: errors.PosthornError) -> tuple[int, dict[str, object]]:
    """Status and problem document of a domain error."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 400)
    return status, {"type": "about:blank", "status": status, "detail": error.public}
