"""The DKIM keys of domains, opened and remembered for a while: who signs or seals asks here."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from posthorn_mail_auth.dkim.signing import SigningKey
from posthorn_model.errors import PosthornError
from posthorn_storage.dkim import DkimStore

KEY_SECONDS: Final = 60.0
"""How long keys are remembered, and that a domain has none: a removed key signs no longer than that."""
MOST_DOMAINS: Final = 1000


@dataclass(frozen=True, slots=True)
class _Keys:
    keys: tuple[SigningKey, ...]
    until: float


class DomainKeys:
    """One for a process; `clock` is monotonic, in seconds."""

    def __init__(self, store: DkimStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._known: OrderedDict[str, _Keys] = OrderedDict()

    async def of(self, domain: str) -> tuple[SigningKey, ...]:
        """The active keys of a domain in A-labels, at most one of each algorithm.

        Raises Unavailable; other errors of the model when there are keys that cannot be opened.
        """
        kept = self._known.get(domain)
        if kept is not None and kept.until > self._clock():
            return kept.keys
        found = tuple(_key(domain, key.selector, key.pem) for key in await self._store.signing(domain))
        self._known[domain] = _Keys(found, self._clock() + KEY_SECONDS)
        self._known.move_to_end(domain)
        if len(self._known) > MOST_DOMAINS:
            self._known.popitem(last=False)
        return found


def _key(domain: str, selector: str, pem: bytes) -> SigningKey:
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, RSAPrivateKey | Ed25519PrivateKey):
        raise PosthornError(f"the key {selector} is not one of RSA or Ed25519")
    return SigningKey(domain, selector, private)
