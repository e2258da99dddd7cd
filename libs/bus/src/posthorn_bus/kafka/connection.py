"""How to reach the brokers, in aiokafka's words, and trying again for ever."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.errors import KafkaError

from posthorn_bus.settings import KafkaSettings, TlsSettings

_log = logging.getLogger(__name__)

RETRY = 0.2
RETRY_LIMIT = 2.0


def client_options(settings: KafkaSettings, name: str) -> dict[str, Any]:
    """The arguments all clients share. Raises OSError or ssl.SSLError when a certificate cannot be read."""
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


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """A client's context, TLS 1.2 and later. Raises OSError or ssl.SSLError."""
    context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = settings.check_hostname
    if settings.certificate is not None:
        context.load_cert_chain(settings.certificate, settings.key)
    return context


async def for_ever(part: Callable[[], Awaitable[None]], name: str) -> None:
    """Run `part` again and again, whatever ends it, with a pause that grows while it keeps failing at once."""
    loop = asyncio.get_running_loop()
    pause, told = RETRY, ""
    while True:
        began = loop.time()
        try:
            await part()
        except (KafkaError, OSError, TimeoutError) as error:
            # One line per reason, not one per try: a broker may be away for long.
            if repr(error) != told:
                _log.warning("%s: %s, trying again", name, error or repr(error))
            told = repr(error)
        except Exception:  # noqa: BLE001 - the bus heals by itself; what went wrong is in the log
            _log.exception("%s failed, trying again", name)
        if loop.time() - began > RETRY_LIMIT * 2:
            pause, told = RETRY, ""
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, RETRY_LIMIT)
