"""What a process says about itself in the node table, and whether to believe it.

An announced key counts only with a proof made with the cluster's secret over boot id, endpoint and key: who may write
the table but does not know the secret cannot join, nor move another's key to its own endpoint.
"""

import hashlib
import hmac
import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import zmq
from zmq.utils import z85

from posthorn_model.events import Topic
from posthorn_model.ids import NodeId
from posthorn_model.ports import Peer

MAX_KEYS = 4096
_Z85 = frozenset(string.digits + string.ascii_letters + ".-:+=^!/*?&<>()[]{}@%$#")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair, both in Z85; new for every life of a process."""

    public: bytes
    private: bytes

    @classmethod
    def make(cls) -> "KeyPair":
        public, private = zmq.curve_keypair()
        return cls(public, private)

    def __repr__(self) -> str:
        return f"KeyPair({self.public.decode()})"


@dataclass(frozen=True, slots=True)
class Contact:
    """A proven peer: where it listens, its public key, and the keys it takes part in sharing out."""

    node: NodeId
    service: str
    boot: str
    endpoint: str
    public: str
    takes: Mapping[str, tuple[str, ...]]
    near: Mapping[str, tuple[str, ...]]
    """Of those the keys that it should have rather than others."""

    @property
    def raw_key(self) -> bytes:
        """The public key's 32 bytes, as ZAP shows them."""
        return bytes(z85.decode(self.public.encode()))


def announcement(
    secret: str,
    boot: str,
    endpoint: str,
    public: str,
    takes: Mapping[Topic, tuple[str, ...]],
    near: Collection[str] = (),
) -> dict[str, Any]:
    """The fields for this process's row of the node table."""
    return {
        "bus": endpoint,
        "bus-key": public,
        "bus-proof": proof(secret, boot, endpoint, public),
        "bus-takes": {family.value: list(keys) for family, keys in takes.items()},
        "bus-near": {family.value: [key for key in keys if key in near] for family, keys in takes.items()},
    }


def proof(secret: str, boot: str, endpoint: str, public: str) -> str:
    """HMAC-SHA-256 of what is announced, as hex."""
    text = "\0".join(("posthorn bus peer 1", boot, endpoint, public))
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def contact_of(peer: Peer, secret: str) -> Contact | None:
    """Read a peer's row. None when it has no bus, is malformed, or its proof is wrong."""
    endpoint, public, shown = (peer.address.get(name) for name in ("bus", "bus-key", "bus-proof"))
    if not (isinstance(endpoint, str) and isinstance(public, str) and isinstance(shown, str)):
        return None
    if not (endpoint.startswith("tcp://") and len(endpoint) < 300 and len(public) == 40 and _Z85.issuperset(public)):
        return None
    if not hmac.compare_digest(shown.encode(), proof(secret, peer.boot, endpoint, public).encode()):
        return None
    return Contact(
        peer.node,
        peer.service,
        peer.boot,
        endpoint,
        public,
        _takes(peer.address.get("bus-takes")),
        _takes(peer.address.get("bus-near")),
    )


def _takes(shown: object) -> Mapping[str, tuple[str, ...]]:
    takes: dict[str, tuple[str, ...]] = {}
    for family in Topic:
        keys = shown.get(family.value) if isinstance(shown, Mapping) else None
        if isinstance(keys, list):
            takes[family.value] = tuple(key for key in keys[:MAX_KEYS] if isinstance(key, str))
    return takes
