"""TLS contexts for listeners, kept up to date: each handshake gets the certificate that is then right for its name.

A listener keeps one context for its whole life. Its handshakes are led on to a context of the certificate that is
chosen, which is made when it is first asked for: a replaced certificate reaches new connections at once, whatever kind
of key it has, and sessions can still be resumed, because their tickets are those of the listener's own context.
"""

import os
import ssl
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from posthorn_node.errors import TlsError
from posthorn_node.settings import ServerSettings

if TYPE_CHECKING:
    from posthorn_node.certificates import Certificate, Chooser
    from posthorn_node.challenges import Challenges

SELF_SIGNED = "self-signed"
Alpn = tuple[str, ...]


class ServerContext(ssl.SSLContext):
    """A server's context that knows what a login on a connection of its is bound to."""

    end_point: bytes = b""
    """Of the certificate that it shows (posthorn_node.certificates)."""


class TlsContexts:
    """Server contexts of one process, one per list of ALPN protocols; certificates are read when first needed."""

    def __init__(self, server: ServerSettings) -> None:
        self._server = server
        self._listening: dict[tuple[Alpn, str], ssl.SSLContext] = {}
        self._chosen: dict[tuple[Certificate, Alpn], ssl.SSLContext] = {}
        self._from_files: dict[str, Certificate] = {}
        self._stored: Sequence[Certificate] = ()
        self._chooser: Chooser | None = None
        self.changed: Callable[[Sequence[Certificate]], None] = lambda _all: None
        """Hears of all certificates whenever others are served than before. May not block."""
        self.challenges: Challenges | None = None
        """Set where an authority may ask: HTTP listeners answer it."""

    @property
    def served(self) -> "Sequence[Certificate]":
        """All certificates that may be shown; none before a listener needs one."""
        if self._chooser is None:
            return ()
        return [*self._from_files.values(), *self._stored] or [self._chooser.default]

    def server_context(self, alpn: Alpn = (), certificate: str = "") -> ssl.SSLContext:
        """The context for a listener; the same object each time. Raises TlsError.

        With `certificate` it shows the one of that name only, as long as there is one.
        """
        if self._chooser is None:
            if problems := self._read():
                raise problems[0]
            self._serve()
        if (alpn, certificate) not in self._listening:
            context = self._context(self._choose(None, certificate), alpn)
            # Called for every handshake, also without a name (RFC 6066 3).
            context.sni_callback = partial(self._lead_on, alpn, certificate)
            self._listening[alpn, certificate] = context
        return self._listening[alpn, certificate]

    def reload(self) -> None:
        """Read the files again. Raises TlsError when some cannot be used; for those what was read before stays."""
        if self._chooser is None:
            return
        problems = self._read()
        self._serve()
        if problems:
            raise TlsError("; ".join(str(problem) for problem in problems))

    def take(self, server: ServerSettings) -> None:
        """Go by these settings from now on. Raises TlsError when one of their files cannot be used."""
        self._server = server
        if self._chooser is None:
            return
        from posthorn_node.certificate_files import file_pairs

        named = {pair.name for pair in file_pairs(server.tls)}
        self._from_files = {name: each for name, each in self._from_files.items() if name in named}
        self.reload()

    def store(self, certificates: "Iterable[Certificate]") -> None:
        """Serve these beside those from files, in place of those given before."""
        self._stored = tuple(certificates)
        if self._chooser is not None:
            self._serve()

    def signature(self) -> object:
        """Another value whenever a file of the settings has changed. Blocks for a moment."""
        if self._chooser is None:
            return ()
        from posthorn_node.certificate_files import file_pairs

        return tuple(pair.signature() for pair in file_pairs(self._server.tls))

    def _read(self) -> list[TlsError]:
        """Read all files, and return what is wrong with them."""
        # Imported late: a process without TLS of its own need not load the library that reads certificates.
        from posthorn_node.certificate_files import file_pairs

        problems = []
        for pair in file_pairs(self._server.tls):
            try:
                self._from_files[pair.name] = usable(pair.read())
            except TlsError as error:
                problems.append(error)
        return problems

    def _serve(self) -> None:
        from posthorn_node.certificates import chooser

        known = [*self._from_files.values(), *self._stored] or [self._self_signed()]
        self._chooser = chooser(known, self._server.hostname)
        current = set(known)
        self._chosen = {key: context for key, context in self._chosen.items() if key[0] in current}
        self.changed(self.served)

    def _self_signed(self) -> "Certificate":
        from posthorn_node.certificate import self_signed
        from posthorn_node.certificates import parsed

        pem = self_signed(self._server.data / "tls", self._server.hostname).read_bytes()
        return parsed(SELF_SIGNED, pem, pem)

    def _choose(self, name: str | None, only: str) -> "Certificate":
        assert self._chooser is not None
        named = [each for each in self.served if each.name == only] if only else []
        return max(named, key=lambda each: each.not_after) if named else self._chooser.choose(name)

    def _lead_on(
        self, alpn: Alpn, only: str, handshake: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: object
    ) -> None:
        certificate = self._choose(name, only)
        if (certificate, alpn) not in self._chosen:
            self._chosen[certificate, alpn] = self._context(certificate, alpn)
        handshake.context = self._chosen[certificate, alpn]

    def _context(self, certificate: "Certificate", alpn: Alpn) -> ssl.SSLContext:
        context = bare_context(alpn)
        load(context, certificate)
        return context


def bare_context(alpn: Alpn = ()) -> ServerContext:
    """A server's context without a certificate."""
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8997: nothing older for mail
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def load(context: ServerContext, certificate: "Certificate") -> None:
    """Have `context` show this certificate. Raises TlsError when OpenSSL does not take it."""
    pem = certificate.key + b"\n" + certificate.chain
    try:
        _load(context, pem)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or str(error)
        raise TlsError(f"cannot use the certificate {certificate.name} for TLS: {reason}") from error
    context.end_point = certificate.end_point


def usable(certificate: "Certificate") -> "Certificate":
    """The certificate itself, when OpenSSL takes it. Raises TlsError."""
    load(bare_context(), certificate)
    return certificate


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """The ssl module reads keys only from files: this one is in memory where the system has such, and gone at once."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb") as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=lambda: "")
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name, password=lambda: "")
