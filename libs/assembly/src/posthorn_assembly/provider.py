"""Questions to an identity provider over HTTP: small, short, never redirected, so many at once and no more."""

import asyncio
import base64
import json
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from posthorn_model.errors import Overloaded, Unavailable

THREADS: Final = 4
MAX_WAITING: Final = 256
MAX_ANSWER: Final = 1 << 20
"""Octets."""


class Ask:
    """Asks and reads JSON objects. All raise Unavailable, also after `timeout` seconds, and Overloaded."""

    def __init__(self, *, timeout: float, ca: Path | None = None) -> None:
        self._timeout = timeout
        context = ssl.create_default_context(cafile=ca)
        self._opener = build_opener(_NoRedirects, HTTPSHandler(context=context))
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="identity provider")
        self._waiting = 0

    def close(self) -> None:
        """End the threads; what was not asked yet is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def get(self, url: str) -> Mapping[str, Any]:
        """What is at a URL."""
        return await self._in_thread(Request(url, headers={"Accept": "application/json"}))  # noqa: S310

    async def post(self, url: str, form: Mapping[str, str], basic: tuple[str, str]) -> Mapping[str, Any]:
        """The answer to a form, sent as this client (RFC 6749 2.3.1)."""
        pair = ":".join(quote(each, safe="") for each in basic)
        request = Request(url, data=urlencode(form).encode(), headers={"Accept": "application/json"})  # noqa: S310
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
        return await self._in_thread(request)

    async def _in_thread(self, request: Request) -> Mapping[str, Any]:
        if self._waiting >= MAX_WAITING:
            raise Overloaded(step="identity provider", waiting=self._waiting)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._timeout * 2):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, request)
        except HTTPError as error:
            raise Unavailable(_PUBLIC, answered=error.code, url=request.full_url) from None
        except (OSError, HTTPException, TimeoutError) as error:
            raise Unavailable(_PUBLIC, reason=f"{type(error).__name__}: {error}"[:200], url=request.full_url) from None
        finally:
            self._waiting -= 1

    def _answer(self, request: Request) -> Mapping[str, Any]:
        with self._opener.open(request, timeout=self._timeout) as answer:
            body = answer.read(MAX_ANSWER + 1)
        try:
            found = json.loads(body) if len(body) <= MAX_ANSWER else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Unavailable(_PUBLIC, reason="the answer is no JSON object", url=request.full_url)
        return found


_PUBLIC = "the identity provider does not answer, try again later"


class _NoRedirects(HTTPRedirectHandler):
    """Where a token is sent is for the settings to say, not for whoever answers."""

    def redirect_request(self, *_: Any) -> None:
        return None
