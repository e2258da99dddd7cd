"""JMAP's three levels of errors: the request's, a method's, a single object's (RFC 8620 3.6, 5.3)."""

from collections.abc import Mapping
from typing import Any


class RequestProblem(Exception):
    """The whole request is refused: an RFC 7807 problem of type urn:ietf:params:jmap:error:`kind`."""

    def __init__(self, kind: str, detail: str, status: int = 400, **fields: Any) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.status = status
        self.fields = fields

    def body(self) -> dict[str, Any]:
        """The problem document."""
        name = self.kind if ":" in self.kind else f"urn:ietf:params:jmap:error:{self.kind}"
        return {"type": name, "status": self.status, "detail": self.detail, **self.fields}


class MethodError(Exception):
    """One method call fails; the others go on."""

    def __init__(self, kind: str, description: str = "", **fields: Any) -> None:
        super().__init__(description or kind)
        self.kind = kind
        self.description = description
        self.fields = fields

    def arguments(self) -> dict[str, Any]:
        """The arguments of the "error" response."""
        shown = {"description": self.description} if self.description else {}
        return {"type": self.kind, **shown, **self.fields}


class SetError(Exception):
    """One object of a /set, /import or /copy cannot be created, updated or destroyed."""

    def __init__(self, kind: str, description: str = "", **fields: Any) -> None:
        super().__init__(description or kind)
        self.kind = kind
        self.description = description
        self.fields = fields

    def value(self) -> Mapping[str, Any]:
        """The SetError object."""
        shown = {"description": self.description} if self.description else {}
        return {"type": self.kind, **shown, **self.fields}


def invalid_arguments(description: str) -> MethodError:
    """An argument is missing, of the wrong type or out of bounds."""
    return MethodError("invalidArguments", description)


def invalid_properties(description: str, *properties: str) -> SetError:
    """Properties of an object that cannot be stored as given."""
    return SetError("invalidProperties", description, properties=list(properties))
