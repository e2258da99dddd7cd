"""What went wrong with TLS, in the words of TLS-RPT (RFC 8460 4.3) and for people. Pure."""

import ssl
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Result: TypeAlias = Literal[
    "starttls-not-supported",
    "certificate-host-mismatch",
    "certificate-expired",
    "certificate-not-trusted",
    "validation-failure",
    "tlsa-invalid",
    "dnssec-invalid",
    "dane-required",
    "sts-policy-fetch-error",
    "sts-policy-invalid",
    "sts-webpki-invalid",
]
_EXPIRED: Final = frozenset({9, 10})
_MISMATCH: Final = frozenset({62, 63, 64})
"""X509_V_ERR_* of OpenSSL: not yet valid and expired; the host name, a mail address, an address do not match."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure; the text has one line and is for everybody."""

    result: Result
    text: str


def handshake_fault(error: BaseException) -> Fault:
    """What made a handshake fail: the error of the TLS library is among the causes of `error`."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        text = f"the certificate is refused: {cause.verify_message}"
        if cause.verify_code in _EXPIRED:
            return Fault("certificate-expired", text)
        if cause.verify_code in _MISMATCH:
            return Fault("certificate-host-mismatch", text)
        return Fault("certificate-not-trusted", text)
    if cause is not None and cause.reason:
        return Fault("validation-failure", f"TLS handshake failed: {cause.reason.replace('_', ' ').lower()}")
    return Fault("validation-failure", str(error))
