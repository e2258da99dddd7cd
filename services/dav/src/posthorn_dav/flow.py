"""The story of a DAV request: who asks, for which resource, by which method, with what answer.

Every error ends here: a domain error in its HTTP words, anything else as a 500 with a reference that the log has too.
"""

import base64
import binascii
import math
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from posthorn_dav import errors
from posthorn_dav.methods.delete import delete
from posthorn_dav.methods.get import get
from posthorn_dav.methods.mkcol import mkcalendar, mkcol
from posthorn_dav.methods.options import HEADERS, options
from posthorn_dav.methods.propfind import propfind
from posthorn_dav.methods.proppatch import proppatch
from posthorn_dav.methods.put import put
from posthorn_dav.methods.report import report
from posthorn_dav.protocol import paths
from posthorn_dav.request import Answer, Request
from posthorn_dav.settings import DavSettings
from posthorn_model.errors import AuthenticationFailed, NotFound, TooManyFailures
from posthorn_model.ports import Clock
from posthorn_sasl.bearer import MAX_TOKEN
from posthorn_storage import Storage
from posthorn_storage.directory import AccountRecord

Method = Callable[[Request], Awaitable[Answer]]

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "OPTIONS": options,
        "PROPFIND": propfind,
        "PROPPATCH": proppatch,
        "MKCOL": mkcol,
        "MKCALENDAR": mkcalendar,
        "GET": get,
        "HEAD": get,
        "PUT": put,
        "DELETE": delete,
        "REPORT": report,
    }
)
WELL_KNOWN = ("/.well-known/caldav", "/.well-known/carddav")
CHALLENGE = 'Basic realm="Posthorn", charset="UTF-8"'


@dataclass(frozen=True, slots=True)
class DavApp:
    """The ASGI application. `plaintext_login` is False where a password may only come over TLS."""

    storage: Storage
    settings: DavSettings
    log: FilteringBoundLogger
    clock: Clock
    answered: Callable[[str, int, float], None]
    """Told the method and the status of each answer, and the seconds it took."""
    plaintext_login: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        http = HttpRequest(scope, receive)
        began = self.clock.monotonic()
        response = await self._answer(http)
        method = http.method if http.method in METHODS else "other"
        self.answered(method, response.status_code, self.clock.monotonic() - began)
        await response(scope, receive, send)

    async def _answer(self, http: HttpRequest) -> Response:
        if http.url.path.rstrip("/") in WELL_KNOWN:
            return Response(status_code=308, headers={"Location": paths.ROOT})
        try:
            return _respond(await self._handle(http))
        except Exception as error:  # noqa: BLE001  the one place where everything ends
            return self._refuse(http, error)

    async def _handle(self, http: HttpRequest) -> Answer:
        method = METHODS.get(http.method)
        if method is None:
            raise errors.Refused(405, f"{http.method[:20]} is not a method of this service")
        account = await self._login(http)
        path = paths.parse(http.scope.get("raw_path", b"").decode("latin-1") or http.url.path)
        if path is None or (path.user and path.user != account.address):
            raise NotFound
        return await method(Request(http, account, path, self.storage, self.settings))

    async def _login(self, http: HttpRequest) -> AccountRecord:
        scheme, _, encoded = http.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in ("basic", "bearer"):
            raise AuthenticationFailed("authentication is needed")
        if not self.plaintext_login and http.url.scheme != "https":
            raise errors.Refused(403, "a password is accepted over TLS only on this listener")
        remote = http.client.host if http.client else ""
        if scheme.lower() == "bearer":
            return await self.storage.directory.claims(remote, "dav").by_token("", encoded.strip()[:MAX_TOKEN])
        try:
            name, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise AuthenticationFailed from error
        return await self.storage.directory.authenticate(name, password, remote, "dav")

    def _refuse(self, http: HttpRequest, error: Exception) -> Response:
        found = errors.answer(error)
        if found is None:
            reference = secrets.token_hex(6)
            self.log.error("request failed", method=http.method, reference=reference, exc_info=error)
            found = (500, f"internal error, reference {reference}\n".encode(), "text/plain; charset=utf-8")
        status, body, content_type = found
        headers = {"WWW-Authenticate": CHALLENGE} if status == 401 else {}
        if status == 503:
            headers["Retry-After"] = "5"
        if isinstance(error, TooManyFailures):
            headers["Retry-After"] = f"{math.ceil(error.retry_after)}"
        if status == 405:
            headers["Allow"] = ", ".join(METHODS)
        return Response(body, status, headers, content_type)


def _respond(answer: Answer) -> Response:
    response = Response(answer.body, answer.status, media_type=answer.content_type if answer.body else None)
    for name, value in (*HEADERS[:1], *answer.headers):
        response.headers[name] = value
    return response
