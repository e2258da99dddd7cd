"""How to reach the brokers, in aiokafka's words."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from aiokafka.errors import KafkaError

from posthorn_bus.settings import KafkaSettings
from posthorn_bus.tls import tls_context

_log = logging.getLogger(__name__)

EXPECTED = (KafkaError, OSError, TimeoutError)
"""What an outage raises."""


def client_options(settings: KafkaSettings, name: str) -> dict[str, Any]:
    """The arguments all clients share. Raises OSError or ssl.SSLError when a certificate cannot be read."""
    _quieten()
    options: dict[str, Any] = {"bootstrap_servers": list(settings.servers), "client_id": name}
    secured, signed = settings.tls is not None, settings.sasl is not None
    options["security_protocol"] = {
        (False, False): "PLAINTEXT",
        (True, False): "SSL",
        (False, True): "SASL_PLAINTEXT",
        (True, True): "SASL_SSL",
    }[secured, signed]
    if settings.tls is not None:
        options["ssl_context"] = tls_context(settings.tls)
    if settings.sasl is not None:
        options["sasl_mechanism"] = settings.sasl.mechanism
        options["sasl_plain_username"] = settings.sasl.username
        options["sasl_plain_password"] = settings.sasl.password
    return options


class _Sparing(logging.Filter):
    """Lets a message through once a minute: the library reports every single try of an outage."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.created - self._told.get(text, 0.0) < 60:
            return False
        if len(self._told) > 100:
            self._told.clear()
        self._told[text] = record.created
        return True


def _quieten() -> None:
    """Keep of the library's log why a broker cannot be reached (its errors do not say), and that sparingly."""
    for part in ("consumer", "producer", "cluster"):
        logging.getLogger(f"aiokafka.{part}").setLevel(logging.CRITICAL)
    # It writes whole requests at level DEBUG, the one with the password (SASL PLAIN) too.
    logging.getLogger("aiokafka.conn").setLevel(logging.WARNING)
    client = logging.getLogger("aiokafka")
    if not any(isinstance(known, _Sparing) for known in client.filters):
        client.addFilter(_Sparing())


async def close(closing: Coroutine[Any, Any, object], limit: float = 2.0) -> None:
    """Close a client, for a limited time, whatever happens inside.

    In a task of its own: when the library cancels its own tasks to close, their cancellation comes out of its `stop`
    and would look like ours.
    """
    task = asyncio.create_task(closing)
    _, late = await asyncio.wait({task}, timeout=limit)
    if late:
        task.cancel()
        await asyncio.wait({task}, timeout=limit)
    elif not task.cancelled() and task.exception() is not None:
        _log.debug("while closing: %r", task.exception())
