"""The secrets of a local cluster that outlive a start: kept in secrets.json, mode 0600, never shown in a log."""

import json
import secrets
from dataclasses import dataclass, field

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.folder import DataFolder, read_json, write_whole

DOMAIN = "example.org"
DEMO_NAMES = ("ann", "bob")


@dataclass(slots=True)
class Keepsakes:
    """`tokens` are by node id, `accounts` the demo accounts' passwords by address."""

    cluster_secret: str = field(repr=False)
    suffix: str
    """Makes this cluster's name unique where several share a broker."""
    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    accounts: dict[str, str] = field(default_factory=dict, repr=False)
    seeded: list[str] = field(default_factory=list)
    """Addresses that were made once; one deleted since is not made again."""
    database: str = ""
    """Where they were made: "embedded", or host, port and name of another database."""

    def is_seeded(self, dsn: str) -> bool:
        """Whether this database was given its accounts; from now on `seeded` is about this one."""
        place = dsn.rpartition("@")[2]
        if place != self.database:
            self.database = place
            self.seeded = []
        return bool(self.seeded)

    def token(self, node: int) -> str:
        """The node's token: the same after a restart, so that a killed node gets its id back at once."""
        return self.tokens.setdefault(str(node), secrets.token_hex(16))


def opened(folder: DataFolder) -> Keepsakes:
    """Read them, or make them up. Raises ClusterError."""
    found = read_json(folder.secrets)
    if found is not None:
        if not isinstance(found, dict) or not {"cluster-secret", "suffix", "tokens", "accounts"} <= found.keys():
            raise ClusterError(f"{folder.secrets} is damaged: put a copy back, or use another --data folder", code=2)
        return Keepsakes(
            cluster_secret=found["cluster-secret"],
            suffix=found["suffix"],
            tokens=found["tokens"],
            accounts=found["accounts"],
            seeded=found.get("seeded", []),
            database=found.get("database", ""),
        )
    accounts = {f"{name}@{DOMAIN}": secrets.token_urlsafe(9) for name in DEMO_NAMES}
    return Keepsakes(secrets.token_hex(32), secrets.token_hex(3), accounts=accounts)


def kept(folder: DataFolder, keepsakes: Keepsakes) -> None:
    """Write them."""
    content = {
        "cluster-secret": keepsakes.cluster_secret,
        "suffix": keepsakes.suffix,
        "tokens": keepsakes.tokens,
        "accounts": keepsakes.accounts,
        "seeded": keepsakes.seeded,
        "database": keepsakes.database,
    }
    write_whole(folder.secrets, json.dumps(content, indent=1) + "\n")


def changed_password(folder: DataFolder, address: str, password: str | None) -> None:
    """A demo account was deleted (None) or got another password: keep cluster.json's list of logins true."""
    if not folder.secrets.exists():
        return
    keepsakes = opened(folder)
    if address in keepsakes.accounts:
        if password is None:
            del keepsakes.accounts[address]
        else:
            keepsakes.accounts[address] = password
        kept(folder, keepsakes)
