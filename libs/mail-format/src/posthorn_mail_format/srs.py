"""Sender rewriting for mail that is passed on: an address of the forwarding domain that leads bounces back.

SRS0 holds the original sender, SRS1 the address of an earlier forwarder, which alone knows the rest. A keyed hash over
all of it proves that we made it, and a day number ends it: nobody can send through it what we did not pass on. Knows no
domains but those it is given. The scheme is Shevek's, "The Sender Rewriting Scheme" (2004).
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

VALID_DAYS: Final = 21
"""Longer than any queue keeps trying, and than most people answer."""
HASH_LETTERS: Final = 8
"""Of base32: 40 bits, of which each guess costs a delivery."""
MAX_ADDRESS: Final = 320
_DAYS: Final = 1024
_BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"
_SRS0: Final = re.compile(r"srs0[=+-]([a-z2-7]{8})=([a-z2-7]{2})=([^=@\s]{1,255})=([^@\s]{1,255})", re.IGNORECASE)
_SRS1: Final = re.compile(r"srs1[=+-]([a-z2-7]{8})=([^=@\s]{1,255})=([=+-][^@\s]{1,255})", re.IGNORECASE)
_FOREIGN: Final = re.compile(r"srs([01])[=+-](.+)", re.IGNORECASE | re.DOTALL)


class ForgedSender(Exception):
    """The address is written as ours and is not: not made with our key, or damaged."""


class ExpiredSender(Exception):
    """We made it, too long ago."""


@dataclass(frozen=True, slots=True)
class SenderRewriting:
    """Writes under the first key, reads under all of them. Times are seconds since 1970."""

    keys: Sequence[bytes] = field(repr=False)

    @classmethod
    def from_secrets(cls, secrets: Sequence[str]) -> "SenderRewriting":
        """Keys made of the cluster's secrets, which are random text: the newest first."""
        return cls([hmac.digest(secret.encode(), b"posthorn sender rewriting 1", "sha256") for secret in secrets])

    def rewritten(self, sender: str, domain: str, now: float) -> str:
        """The sender to pass mail on with, at `domain`, which is ours. The null sender stays, as does one of `domain`.

        Without a key the sender stays too.
        """
        local, at, origin = sender.rpartition("@")
        if not at or not self.keys or origin.lower() == domain.lower():
            return sender
        foreign = _FOREIGN.fullmatch(local)
        if foreign is None:
            day = _day_text(int(now // 86_400))
            made = f"SRS0={self._hash(0, day, origin, local)}={day}={origin}={local}@{domain}"
        else:
            host, rest = origin, local[4:]
            if foreign[1] == "1":
                first = _first_forwarder(local)
                if first is None:
                    return sender
                host, rest = first
            made = f"SRS1={self._hash(0, host, rest)}={host}={rest}@{domain}"
        return made if len(made.encode()) <= MAX_ADDRESS else sender

    def original(self, address: str, now: float) -> str | None:
        """Where mail to a rewritten address goes; None when it is not written as one.

        Raises ForgedSender, ExpiredSender.
        """
        local = address.rpartition("@")[0]
        one = _SRS1.fullmatch(local)
        if one is not None:
            self._check(one[1], one[2], one[3])
            return f"SRS0{one[3]}@{one[2]}"
        zero = _SRS0.fullmatch(local)
        if zero is None:
            return None
        self._check(zero[1], zero[2].lower(), zero[3], zero[4])
        if (int(now // 86_400) - _day_of(zero[2])) % _DAYS > VALID_DAYS:
            raise ExpiredSender
        return f"{zero[4]}@{zero[3]}"

    def _check(self, given: str, *parts: str) -> None:
        right = [hmac.compare_digest(self._hash(key, *parts), given.lower()) for key in range(len(self.keys))]
        if not any(right):
            raise ForgedSender

    def _hash(self, key: int, *parts: str) -> str:
        """Over lower case: some servers change the case of a local part."""
        text = "\0".join(parts).lower().encode("utf-8", "surrogatepass")
        digest = hmac.digest(self.keys[key], text, hashlib.sha256)
        return base64.b32encode(digest).decode().lower()[:HASH_LETTERS]


def _first_forwarder(local: str) -> tuple[str, str] | None:
    """Host and rest of a foreign SRS1 address: it is never nested, the first forwarder stays."""
    _, _, tail = local.partition("=")
    host, mark, rest = tail.partition("==")
    host = host.rpartition("=")[2]
    return (host, f"={rest}") if mark and host and rest else None


def _day_text(day: int) -> str:
    day %= _DAYS
    return _BASE32[day >> 5] + _BASE32[day & 31]


def _day_of(text: str) -> int:
    high, low = text[0].lower(), text[1].lower()
    return _BASE32.index(high) << 5 | _BASE32.index(low)
