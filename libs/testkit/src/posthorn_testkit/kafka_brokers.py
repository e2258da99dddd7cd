"""Three real brokers of one Kafka cluster, each a controller too, of which a test may kill one."""

import base64
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from posthorn_ctl.embedded import kafka, ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.programs import cache_folder, folder_of_server
from posthorn_testkit.servers import KafkaBroker

PATIENCE = 120.0


@contextmanager
def three_brokers() -> Iterator[tuple[KafkaBroker, ...]]:
    """Running, each knowing the others, without topics. Raises PartError."""
    chosen = ports.free_ports(6)
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
    with ExitStack() as stack:
        brokers = []
        servers = []
        for number in range(3):
            folder = stack.enter_context(folder_of_server("kafka"))
            quorum = kafka.Quorum(number + 1, tuple(chosen[3:]), cluster)
            server = kafka.prepare(folder, cache_folder(), fixed=(chosen[number], chosen[3 + number]), quorum=quorum)
            broker = KafkaBroker(server, folder / "log")
            stack.callback(broker.close)
            # Not ready alone: the first waits for the second to elect a controller.
            broker.spawn()
            brokers.append(broker)
            servers.append(server)
        deadline = time.monotonic() + PATIENCE
        while not all(server.brokers() == 3 for server in servers):
            if time.monotonic() > deadline:
                raise PartError(f"the three brokers did not find each other within {PATIENCE:g} s")
            time.sleep(0.1)
        yield tuple(brokers)
