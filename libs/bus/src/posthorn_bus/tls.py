"""TLS towards a coordinator."""

import ssl

from posthorn_bus.settings import TlsSettings


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """A client's context, TLS 1.2 and later. Raises OSError or ssl.SSLError."""
    context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = settings.check_hostname
    if settings.certificate is not None:
        context.load_cert_chain(settings.certificate, settings.key)
    return context
