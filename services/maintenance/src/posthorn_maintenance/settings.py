"""The `[maintenance]` table of the settings."""

from typing import Annotated

from pydantic import Field, SecretStr

from posthorn_node.settings import Duration, ServiceSettings

Interval = Annotated[Duration, Field(ge=1)]


class MaintenanceSettings(ServiceSettings):
    """How often the roles work, how long things are kept, and who may use the management API."""

    api_token: SecretStr = SecretStr("")
    """Bearer token of the management API; empty: only clients on this machine's loopback addresses are answered."""
    purge_interval: Interval = 60.0
    """From the beginning of one round of a purge role to the next one, in the whole cluster."""
    purge_batch: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """Most rows of one step; a step is one transaction."""
    keep_changes: Interval = 30 * 86_400.0
    """How long the change log is kept: a client away for longer has to start again."""
    most_changes: Annotated[int, Field(ge=1_000)] = 1_000_000
    """How many changes of one account are kept, however young."""
    keep_queue_history: Interval = 7 * 86_400.0
    """How long finished queue messages and their time lines are kept."""
    keep_dead_processes: Interval = 86_400.0
    """How long processes that left or died are shown."""
    index_batch: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Most messages that are read for the search index at once."""
    index_interval: Annotated[Duration, Field(ge=0.1)] = 1.0
    """Pause of index.messages when less than a batch was due: what comes meanwhile is indexed together."""
    scrub_rate: Annotated[float, Field(ge=0, le=10_000)] = 10.0
    """Blobs and objects looked at in a second, to find what is missing, damaged or not named; 0: none."""
    orphan_age: Interval = 7 * 86_400.0
    """An object that no database names is told of when it is this old."""
    remove_orphans: bool = False
    """Delete such objects: only where no other cluster has blobs in the same stores under the same prefix."""
    metrics_interval: Interval = 15.0
    """How often metrics.calculate reads the figures of the whole cluster."""
    echo_interval: Interval = 60.0
    """How often the holder of metrics.calculate asks every process for an answer over the bus."""
    acme_interval: Interval = 30.0
    """How often acme.renew looks whether a certificate is to be ordered or renewed."""
    dkim_interval: Interval = 60.0
    """How often dkim.rotate looks whether a key of DKIM is to be made, published, used or removed."""
