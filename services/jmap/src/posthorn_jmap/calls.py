"""Runs the method calls of a request one after the other (RFC 8620 3.3) and turns every error into its response."""

import secrets
from collections.abc import Mapping
from typing import Any

import structlog

from posthorn_jmap import errors
from posthorn_jmap.context import Context, Method, Responses
from posthorn_jmap.protocol import request, session
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_jmap.protocol.errors import MethodError
from posthorn_model.errors import PosthornError


class Calls:
    """The methods of this service, by name, each with the capability that must be in "using"."""

    def __init__(self, methods: Mapping[str, tuple[str, Method]], log: structlog.typing.FilteringBoundLogger) -> None:
        self._methods = methods
        self._log = log

    async def run(self, context: Context, asked: request.ApiRequest) -> dict[str, Any]:
        """The Response object of a request."""
        context.created.update(asked.created_ids or {})
        responses: list[tuple[str, Mapping[str, Any], str]] = []
        for call in asked.calls:
            try:
                arguments = request.resolve(call.arguments, responses)
                found = await self._call(context, call.name, arguments, asked.using)
            except MethodError as error:
                found = [("error", error.arguments())]
            responses += [(name, answer, call.id) for name, answer in found]
        shown = {"methodResponses": responses, "sessionState": _session_state(context)}
        return shown if asked.created_ids is None else {**shown, "createdIds": context.created}

    async def _call(
        self, context: Context, name: str, arguments: Mapping[str, Any], using: frozenset[str]
    ) -> Responses:
        capability, method = self._methods.get(name, (None, None))
        if method is None or capability not in using:
            raise MethodError("unknownMethod")
        try:
            return await method(context, Arguments(arguments))
        except MethodError:
            raise
        except PosthornError as error:
            raise errors.method_error(error) from error
        except Exception as error:  # the one place where a method's bug ends
            reference = secrets.token_hex(6)
            self._log.exception("method failed", method=name, reference=reference)
            raise MethodError("serverFail", f"internal error, reference {reference}") from error


def _session_state(context: Context) -> str:
    return session.session_state(context.account.id, context.account.address, context.limits, context.vapid)
