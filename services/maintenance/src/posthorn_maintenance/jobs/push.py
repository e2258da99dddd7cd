"""metrics.push: the cluster's figures, sent to a Prometheus Pushgateway in the text format, one PUT for each round.

A PUT replaces what was sent before under the same job: a new holder of the role leaves nothing of the old one behind.
"""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from prometheus_client import push_to_gateway

from posthorn_maintenance.jobs.calculate import ClusterFigures
from posthorn_maintenance.jobs.job import Job, Progress, Tenure
from posthorn_model.errors import Unavailable
from posthorn_node.metrics import Metrics
from posthorn_node.node import Node
from posthorn_node.settings import PushSettings
from posthorn_storage import Storage

READING_SECONDS: Final = 30.0
"""For reading the figures, beside the time a push may take."""

Send = Callable[[], None]


class _NoRedirects(HTTPRedirectHandler):
    """What the figures and the password are sent to is what the settings say, and nothing else."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


def metrics_push(node: Node, storage: Storage) -> "MetricsPush | None":
    """What the settings of `node` say; None when they do not say where to push to."""
    settings = node.settings.metrics.push
    return MetricsPush(storage, settings, node.settings.cluster.name) if settings.url else None


class MetricsPush:
    """Sends them. `name` is the job's label when the settings give none."""

    def __init__(self, storage: Storage, settings: PushSettings, name: str) -> None:
        self._storage = storage
        self._settings = settings
        self._job = settings.job or name
        self._metrics = Metrics(process=False)
        self._figures = ClusterFigures(self._metrics)
        # One thread: a receiver that never ends its answer holds up no other work of the process.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics push")

    def job(self) -> Job:
        """The one job of the role."""
        return Job("push", self._settings.interval, self._step, limit=self._settings.timeout + READING_SECONDS)

    async def _step(self, _tenure: Tenure, _cursor: str) -> Progress:
        await self._figures.read(self._storage)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.timeout):
                await loop.run_in_executor(self._thread, self._push)
        except TimeoutError:
            raise Unavailable(f"{self._settings.url} did not answer within {self._settings.timeout:g} s") from None
        except HTTPError as error:
            raise Unavailable(f"{self._settings.url} answered {error.code} {error.reason}"[:300]) from None
        except URLError as error:
            raise Unavailable(f"{self._settings.url}: {error.reason}"[:300]) from None
        except (OSError, HTTPException) as error:
            raise Unavailable(f"{self._settings.url}: {type(error).__name__}: {error}"[:300]) from None
        return Progress(worked=1)

    def _push(self) -> None:
        push_to_gateway(
            self._settings.url,
            job=self._job,
            registry=self._metrics.registry,
            timeout=self._settings.timeout,
            handler=self._handler,
        )

    def _handler(
        self, url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> Send:
        """What prometheus_client calls for the request."""
        request = Request(url, data=data, headers=dict(headers), method=method)  # noqa: S310  the settings allow http(s) alone
        if authorization := self._authorization():
            request.add_unredirected_header("Authorization", authorization)

        def send() -> None:
            context = ssl.create_default_context(cafile=self._settings.ca)
            with build_opener(_NoRedirects, HTTPSHandler(context=context)).open(request, timeout=timeout):
                return

        return send

    def _authorization(self) -> str:
        settings = self._settings
        if token := settings.token.get_secret_value():
            return f"Bearer {token}"
        if settings.username:
            pair = f"{settings.username}:{settings.password.get_secret_value()}"
            return f"Basic {b64encode(pair.encode()).decode()}"
        return ""
