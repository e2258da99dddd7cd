"""The story of a JMAP request over HTTP (RFC 8620 2, 3, 6, 7.3): who asks, for which resource, with what answer.

Every error ends here as a problem document; a bug of ours as a 500 with a reference that the log has too.
"""

import asyncio
import base64
import binascii
import json
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from posthorn_jmap import errors, event_source
from posthorn_jmap.blobs import download, upload
from posthorn_jmap.bodies import read_body
from posthorn_jmap.calls import Calls
from posthorn_jmap.context import Context
from posthorn_jmap.gates import Gates
from posthorn_jmap.methods.email_filter import SORT_OPTIONS
from posthorn_jmap.protocol import request, session
from posthorn_jmap.protocol.errors import RequestProblem
from posthorn_jmap.protocol.ids import from_wire
from posthorn_jmap.push import Watchers
from posthorn_jmap.settings import JmapSettings
from posthorn_model.errors import AuthenticationFailed, PosthornError, TooManyFailures
from posthorn_model.events import Event
from posthorn_model.ports import Clock
from posthorn_node.settings import WebPushSettings
from posthorn_sasl.bearer import MAX_TOKEN
from posthorn_storage import Storage
from posthorn_storage.directory import AccountRecord

CHALLENGE = 'Basic realm="Posthorn", charset="UTF-8"'
_UPLOAD = re.compile(r"/jmap/upload/([^/]{1,40})/?")
_DOWNLOAD = re.compile(r"/jmap/download/([^/]{1,40})/([^/]{1,200})/([^/]{0,1000})")


@dataclass(frozen=True, slots=True)
class JmapApp:
    """The ASGI application. `base` is the public URL in front of it, without a slash at its end."""

    storage: Storage
    settings: JmapSettings
    calls: Calls
    watchers: Watchers
    gates: Gates
    log: structlog.typing.FilteringBoundLogger
    clock: Clock
    answered: Callable[[str, int, float], None]
    """Told the resource and the status of each answer, and the seconds until it began."""
    publish: Callable[[Event], None]
    base: str
    hostname: str
    plaintext_login: bool
    web_push: WebPushSettings = field(default_factory=WebPushSettings)
    vapid: str = ""
    """The public key that pushes are signed with, in base64url; empty: the cluster has none."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the service drains: event sources end then."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        http = Request(scope, receive)
        began = self.clock.monotonic()
        try:
            response = await self._answer(http)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001  the one place where everything ends
            response = self._refuse(http, error)
        self.answered(_resource(http.url.path), response.status_code, self.clock.monotonic() - began)
        await response(scope, receive, send)

    async def _answer(self, http: Request) -> Response:
        # As the client spelled it: a file name may hold an encoded slash.
        path = bytes(http.scope["raw_path"]).decode("ascii", "replace")
        if path not in ("/.well-known/jmap", "/jmap/session") and not path.startswith("/jmap/"):
            raise RequestProblem("about:blank", "no such resource", 404)
        account = await self._login(http)
        if path in ("/.well-known/jmap", "/jmap/session") and http.method in ("GET", "HEAD"):
            limits, sorts = self.settings.limits(), tuple(SORT_OPTIONS)
            found = session.session(self.base, account.id, account.address, limits, sorts, self.vapid)
            return JSONResponse(dict(found), headers={"Cache-Control": "no-cache, no-store, must-revalidate"})
        if path.rstrip("/") == "/jmap/api" and http.method == "POST":
            return await self._api(http, account)
        if path.rstrip("/") == "/jmap/eventsource" and http.method == "GET":
            return self._event_source(http, account)
        if (match := _UPLOAD.fullmatch(path)) and http.method == "POST":
            self._own(match[1], account)
            with self.gates.upload(account.id):
                return JSONResponse(await upload(self.storage, self.settings, account.id, http), 201)
        if (match := _DOWNLOAD.fullmatch(path)) and http.method in ("GET", "HEAD"):
            self._own(match[1], account)
            return await download(self.storage, account.id, http, match[2], unquote(match[3]))
        raise RequestProblem("about:blank", "no such resource, or not with this method", 404)

    async def _api(self, http: Request, account: AccountRecord) -> Response:
        if http.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RequestProblem("notJSON", "Content-Type must be application/json", 400)
        limits = self.settings.limits()
        with self.gates.request(account.id):
            body = await read_body(http, limits.max_size_request, "maxSizeRequest")
            capabilities = session.CAPABILITIES | ({session.VAPID} if self.vapid else set())
            asked = request.parse(body, capabilities=capabilities, max_calls=limits.max_calls_in_request)
            context = Context(
                account=account,
                storage=self.storage,
                settings=self.settings,
                limits=limits,
                hostname=self.hostname,
                publish=self.publish,
                web_push=self.web_push,
                vapid=self.vapid,
            )
            return JSONResponse(await self.calls.run(context, asked))

    def _event_source(self, http: Request, account: AccountRecord) -> Response:
        wanted = event_source.subscription(http.query_params, http.headers.get("last-event-id", ""))
        if self.watchers.count(account.id) >= self.settings.max_event_sources:
            raise RequestProblem("limit", "too many event sources of this account", 429, limit="maxEventSources")
        events = event_source.stream(self.storage, self.watchers, account.id, wanted, self.ended)
        headers = {"Cache-Control": "no-cache, no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    def _own(self, wire: str, account: AccountRecord) -> None:
        if from_wire("a", wire) != account.id:
            raise RequestProblem("about:blank", "no such account", 404)

    async def _login(self, http: Request) -> AccountRecord:
        scheme, _, encoded = http.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in ("basic", "bearer"):
            raise AuthenticationFailed("authentication is needed")
        if not self.plaintext_login and http.url.scheme != "https":
            raise RequestProblem("about:blank", "a password is accepted over TLS only on this listener", 403)
        remote = http.client.host if http.client else ""
        if scheme.lower() == "bearer":
            return await self.storage.directory.claims(remote, "jmap").by_token("", encoded.strip()[:MAX_TOKEN])
        try:
            name, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise AuthenticationFailed from error
        return await self.storage.directory.authenticate(name, password, remote, "jmap")

    def _refuse(self, http: Request, error: Exception) -> Response:
        again = f"{math.ceil(error.retry_after)}" if isinstance(error, TooManyFailures) else "5"
        if isinstance(error, PosthornError):
            error = errors.problem(error)
        if not isinstance(error, RequestProblem):
            reference = secrets.token_hex(6)
            self.log.error("request failed", path=http.url.path[:200], reference=reference, exc_info=error)
            error = RequestProblem("about:blank", f"internal error, reference {reference}", 500)
        headers: dict[str, str] = {"WWW-Authenticate": CHALLENGE} if error.status == 401 else {}
        if error.status in (429, 503):
            headers["Retry-After"] = again
        return problem_response(error.body(), error.status, headers)


def _resource(path: str) -> str:
    """The resource for the metrics: one of few names, whatever a client asks for."""
    name = path.removeprefix("/jmap/").partition("/")[0]
    return name if name in ("session", "api", "eventsource", "upload", "download") else "other"


def problem_response(body: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    """A problem document (RFC 7807)."""
    return Response(json.dumps(body), status, headers, "application/problem+json")
