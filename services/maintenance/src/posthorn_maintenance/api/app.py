"""The ASGI application of the management API: who may ask, which resource, and every error as a problem document."""

import hmac
import ipaddress
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from posthorn_maintenance import errors
from posthorn_maintenance.api.call import Family, Refused, read_call
from posthorn_model.errors import AuthenticationFailed, NotFound, PosthornError

Resource = Callable[[], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class ApiApp:
    """Answers GET for each path of `resources`, POST for each of `actions`, which take nothing.

    What begins with a path of `families` is answered by them, with all that was asked. With an empty `token` only
    loopback clients are answered.
    """

    resources: Mapping[str, Resource]
    token: str
    log: FilteringBoundLogger
    actions: Mapping[str, Resource] = field(default_factory=dict)
    families: Mapping[str, Family] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        http = Request(scope, receive)
        try:
            status, body = await self._answer(http)
        except PosthornError as error:
            status, body = errors.problem(error)
        except Refused as error:
            status, body = error.status, {"type": "about:blank", "status": error.status, "detail": error.detail}
        except Exception as error:
            reference = secrets.token_hex(6)
            self.log.error("request failed", path=http.url.path[:200], reference=reference, exc_info=error)
            status, body = 500, {"type": "about:blank", "status": 500, "detail": f"internal error, {reference}"}
        kind = "application/json" if status == 200 else "application/problem+json"
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {"Cache-Control": "no-store"}
        await Response(json.dumps(body), status, headers, kind)(scope, receive, send)

    async def _answer(self, http: Request) -> tuple[int, dict[str, Any]]:
        self._check_caller(http)
        path = http.url.path.rstrip("/")
        for prefix, family in self.families.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                return 200, await family(await read_call(http, path.removeprefix(prefix).split("/")[1:]))
        known = {"GET": self.resources.get(path), "POST": self.actions.get(path)}
        if not any(known.values()):
            raise NotFound(f"the resources are {', '.join([*self.resources, *self.actions, *self.families])}")
        resource = known.get("GET" if http.method == "HEAD" else http.method)
        if resource is None:
            usable = " and ".join(method for method, found in known.items() if found)
            return 405, {"type": "about:blank", "status": 405, "detail": f"only {usable} is answered here"}
        return 200, await resource()

    def _check_caller(self, http: Request) -> None:
        if self.token:
            scheme, _, given = http.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.token.encode()):
                raise AuthenticationFailed("a bearer token is needed: maintenance.api-token of the settings")
        elif not _is_loopback(http.client.host if http.client else ""):
            raise AuthenticationFailed("set maintenance.api-token to use the API from other machines")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
