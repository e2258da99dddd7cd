"""TLS and SASL against a real broker that asks for both."""

import asyncio
import logging
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from posthorn_bus import BusIdentity, KafkaSettings, SaslSettings, TlsSettings, open_bus
from posthorn_ctl.embedded import kafka, ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.run import Running
from posthorn_model.events import QueueDue, Topic
from posthorn_model.ids import NodeId
from posthorn_testkit.certificates import certificate
from posthorn_testkit.contracts.fleet import Ear, until
from posthorn_testkit.programs import cache_folder, folder_of_server
from posthorn_testkit.strict import missing

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

USER, PASSWORD = "posthorn", "correct-horse"


def secured(server: kafka.KafkaServer, pem: Path) -> int:
    """Give a prepared broker one more listener, SASL over TLS; returns its port."""
    (port,) = ports.free_ports(1)
    path = server.folder / "server.properties"
    lines = dict(line.split("=", 1) for line in path.read_text().splitlines())
    login = "org.apache.kafka.common.security"
    lines |= {
        "listeners": f"{lines['listeners']},SECURE://127.0.0.1:{port}",
        "advertised.listeners": f"{lines['advertised.listeners']},SECURE://127.0.0.1:{port}",
        "listener.security.protocol.map": f"{lines['listener.security.protocol.map']},SECURE:SASL_SSL",
        "listener.name.secure.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.secure.plain.sasl.jaas.config": (
            f'{login}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        ),
        "listener.name.secure.scram-sha-256.sasl.jaas.config": f"{login}.scram.ScramLoginModule required;",
        "listener.name.secure.scram-sha-512.sasl.jaas.config": f"{login}.scram.ScramLoginModule required;",
        "listener.name.secure.ssl.keystore.type": "PEM",
        "listener.name.secure.ssl.keystore.location": str(pem),
    }
    path.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    return port


def format_with_user(server: kafka.KafkaServer) -> None:
    """Make the broker's storage anew, with the user's SCRAM credentials in it."""
    shutil.rmtree(server.folder / "logs")
    tool = ["-cp", ":".join(map(str, server.classpath)), "kafka.tools.StorageTool", "format", "--standalone"]
    place = ["--cluster-id", "AAAAAAAAAAAAAAAAAAAAAA", "--config", str(server.folder / "server.properties")]
    users = [
        word
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        for word in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
    ]
    done = subprocess.run([str(server.java), *tool, *place, *users], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def secure() -> Iterator[KafkaSettings]:
    with folder_of_server("kafka-secure") as folder:
        chain, key = certificate()
        (folder / "server.pem").write_text(key + chain)
        (folder / "ca.pem").write_text(chain)
        try:
            server = kafka.prepare(folder / "broker", cache_folder())
        except PartError as error:
            missing(str(error))
        port = secured(server, folder / "server.pem")
        format_with_user(server)
        running = Running(server, folder / "log")
        running.start()
        try:
            yield KafkaSettings((f"127.0.0.1:{port}",), tls=TlsSettings(ca=folder / "ca.pem"))
        finally:
            running.stop()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_events_travel_over_tls_with_each_mechanism(secure: KafkaSettings, mechanism: str) -> None:
    settings = replace(secure, prefix=f"test-{uuid4().hex[:8]}", sasl=SaslSettings(mechanism, USER, PASSWORD))
    one, two = [open_bus(settings, BusIdentity(NodeId(node), "imap", f"boot {node}")) for node in (1, 2)]
    ear = Ear(two.subscribe(Topic.QUEUE))
    for bus in (one, two):
        await bus.start()
    await until(lambda: one.health().connected and two.health().connected, "both log in")
    one.publish(QueueDue(3))
    await until(lambda: ear.heard(QueueDue(3)), "the event arrives")
    await asyncio.gather(one.stop(), two.stop())


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_reported_and_never_shown(
    secure: KafkaSettings, mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = replace(secure, sasl=SaslSettings(mechanism, USER, "a wrong secret"))
    bus = open_bus(settings, BusIdentity(NodeId(1), "imap", "b"))
    await bus.start()
    await until(lambda: "uthentication" in caplog.text, "the log says why")
    assert not bus.health().connected
    await bus.stop()
    assert "a wrong secret" not in caplog.text + bus.health().detail


async def test_a_broker_whose_certificate_is_not_trusted_is_not_spoken_to(secure: KafkaSettings) -> None:
    settings = replace(secure, tls=TlsSettings(), sasl=SaslSettings("PLAIN", USER, PASSWORD))
    bus = open_bus(settings, BusIdentity(NodeId(1), "imap", "b"))
    await bus.start()
    await until(lambda: bus.health().detail != "not connected yet", "it tried")
    assert not bus.health().connected
    await bus.stop()


def test_certificates_that_cannot_be_read_are_an_error_at_once(tmp_path: Path) -> None:
    settings = KafkaSettings(("127.0.0.1:1",), tls=TlsSettings(ca=tmp_path / "none.pem"))
    with pytest.raises(OSError, match=r"none\.pem|No such file"):
        open_bus(settings, BusIdentity(NodeId(1), "imap", "b"))
