"""TLS contexts for listeners, kept up to date: files are read again on request and new connections use them."""

import ssl
from pathlib import Path

from posthorn_node.errors import TlsError
from posthorn_node.settings import ServerSettings


class TlsContexts:
    """Server contexts of one process, one per list of ALPN protocols; made when first asked for."""

    def __init__(self, server: ServerSettings) -> None:
        self._server = server
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}

    def server_context(self, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """The context for a listener; the same object each time, so that a reload reaches it. Raises TlsError."""
        if alpn not in self._contexts:
            self._contexts[alpn] = _context(*self._files(), alpn)
        return self._contexts[alpn]

    def reload(self) -> None:
        """Read the certificate again. Raises TlsError and keeps the old one when the new one is not usable."""
        if not self._contexts:
            return
        certificate, key = self._files()
        _context(certificate, key, ())  # a mismatch must show before a context in use is touched
        for context in self._contexts.values():
            _load(context, certificate, key)

    def _files(self) -> tuple[Path, Path | None]:
        tls = self._server.tls
        if tls.certificate is not None:
            return tls.certificate, tls.private_key
        # Imported late: a process without TLS of its own need not load the library that makes certificates.
        from posthorn_node.certificate import self_signed

        return self_signed(self._server.data / "tls", self._server.hostname), None


def _context(certificate: Path, key: Path | None, alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8997: nothing older for mail
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    _load(context, certificate, key)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    for path in filter(None, (certificate, key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise TlsError(f"cannot read {path}: {error.strerror}; see server.tls in the settings") from error
    try:
        # An encrypted key would make OpenSSL ask on the terminal; an empty answer makes it an error instead.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        both = f"{certificate} and {key}" if key else str(certificate)
        reason = getattr(error, "reason", None) or str(error)
        raise TlsError(f"cannot use {both} for TLS: {reason}") from error
