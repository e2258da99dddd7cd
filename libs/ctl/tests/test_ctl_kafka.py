"""The embedded Kafka: a real broker, its folder, its life."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthorn_ctl.embedded import kafka, leftovers, ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.run import Running
from posthorn_testkit.programs import cache_folder, folder_of_server

pytestmark = pytest.mark.kafka

START = """
import sys
from pathlib import Path
from posthorn_ctl.embedded import kafka
from posthorn_ctl.embedded.run import Running
folder = Path(sys.argv[1])
Running(kafka.prepare(folder, Path(sys.argv[2])), folder / "log").start()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with folder_of_server("kafka") as folder:
        yield folder


def test_it_starts_after_a_stop_after_a_kill_and_on_another_port(place: Path) -> None:
    first = kafka.prepare(place, cache_folder())
    running = Running(first, place / "log")
    running.start()
    running.stop()
    assert kafka.prepare(place, cache_folder()) == first
    running.start()
    running.kill()
    assert leftovers.working_in(place) == []
    with socket.create_server((ports.LOOPBACK, first.port)):
        second = kafka.prepare(place, cache_folder())
        assert second.port != first.port
        moved = Running(second, place / "log")
        moved.start()
        moved.stop()


def test_it_ends_when_its_parent_is_killed(place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START, str(place), str(cache_folder())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        assert leftovers.working_in(place)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 30
    while leftovers.working_in(place):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_broker_that_cannot_start_shows_its_last_words(place: Path) -> None:
    running = Running(kafka.prepare(place, cache_folder()), place / "log")
    (place / "server.properties").write_text("process.roles=broker\n")
    with pytest.raises(PartError, match=r"does not answer: .+"):
        running.start()
    assert leftovers.working_in(place) == []


def test_something_else_on_its_port_is_not_taken_for_a_broker(place: Path) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as other:
        server = kafka.KafkaServer(place, Path("/nowhere"), (), other.getsockname()[1])
        other.settimeout(5)
        assert not kafka.KafkaServer(place, Path("/nowhere"), (), ports.free_ports(1)[0]).is_ready()
        other.close()
        assert not server.is_ready()
