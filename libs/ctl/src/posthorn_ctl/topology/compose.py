"""Docker: an override file for compose.yaml, and a whole stack for Swarm. Values only, to be written as YAML."""

import os
from collections.abc import Sequence
from typing import Any

from posthorn_ctl.topology.front import FRONT_PORTS
from posthorn_ctl.topology.groups import Group

Tree = dict[str, Any]
BASE = "compose.yaml"
"""What the override file lies beside: of the project's folder."""
NODE_FILE = "deploy/compose/node.toml"
REGION = "POSTHORN__CLUSTER__REGION"
PUBLISHED = {
    "smtp": "SMTP_PORT",
    "submission": "SUBMISSION_PORT",
    "submissions": "SUBMISSIONS_PORT",
    "imap": "IMAP_PORT",
    "imaps": "IMAPS_PORT",
    "http": "HTTP_PORT",
}
PATIENCE: Tree = {"start_period": "5m", "retries": 60}
"""Of the image's own check, every 5 s: Swarm replaces what is unhealthy, which must not befall every process while
what it waits for (the database, a migration) is away for minutes. HAProxy asks by itself, each second."""
RESOURCES = {
    "reservations": {"cpus": "${CPU_RESERVATION:-0.10}", "memory": "${MEMORY_RESERVATION:-128M}"},
    "limits": {"cpus": "${CPU_LIMIT:-0}", "memory": "${MEMORY_LIMIT:-0}"},
}
"""A guaranteed minimum; limits are for those who want them: 0 is none."""
SECRETS = ("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "CLUSTER_SECRET", "API_TOKEN")


def override(groups: Sequence[Group], services: Sequence[str], absent: Sequence[str], balancer: str) -> Tree:
    """An override of compose.yaml: so many of each, further groups beside. `balancer` is the path of a haproxy.cfg."""
    found: Tree = {}
    for group in groups:
        entry: Tree = {}
        if group.name not in services:
            entry["extends"] = {"file": BASE, "service": group.service}
        if group.region:
            entry["environment"] = {REGION: group.region}
        entry["deploy"] = {"replicas": group.replicas}
        found[group.name] = entry
    for service in absent:
        found[service] = {"deploy": {"replicas": 0}}
    further = [group.name for group in groups if group.name not in services]
    if further:
        found["haproxy"] = {"depends_on": further}
    return {"services": found, "configs": {"haproxy": {"file": balancer}}}


def stack(groups: Sequence[Group], place: str) -> Tree:
    """A stack for `docker stack deploy`, with the parts it needs. `place` is the folder it lies in."""
    services: Tree = {group.name: _task(group) for group in groups}
    services["setup"] = _setup()
    services |= _parts()
    services["haproxy"] = {
        "image": "haproxy:3.0",
        "configs": [{"source": "haproxy", "target": "/usr/local/etc/haproxy/haproxy.cfg"}],
        # Published by the host itself: behind Swarm's own routing every client would have the same address.
        "ports": [
            {"target": port, "published": f"${{{PUBLISHED[name]}:-{port}}}", "protocol": "tcp", "mode": "host"}
            for name, port in FRONT_PORTS.items()
        ],
        "networks": ["posthorn"],
        "deploy": _on_manager(),
    }
    node_file = os.path.relpath(NODE_FILE, place)
    return {
        "services": services,
        "networks": {"posthorn": {"driver": "overlay"}},
        "configs": {"node": {"file": node_file}, "haproxy": {"file": "./haproxy.cfg"}},
        "volumes": {"postgres": {}, "kafka": {}, "s3": {}},
    }


def _environment(region: str = "") -> Tree:
    found = {name: f"${{{name}:?set it in the environment}}" for name in SECRETS}
    found |= {
        "MAIL_HOSTNAME": "${MAIL_HOSTNAME:?set it in the environment}",
        "PUBLIC_URL": "${PUBLIC_URL:?set it in the environment}",
    }
    return found | ({REGION: region} if region else {})


def _task(group: Group) -> Tree:
    placement: Tree = {"preferences": [{"spread": "node.id"}]}
    if group.region:
        placement["constraints"] = [f"node.labels.region == {group.region}"]
    return {
        "image": f"${{REGISTRY:-posthorn}}/{group.service}:${{VERSION:-latest}}",
        "environment": _environment(group.region),
        "configs": [{"source": "node", "target": "/etc/posthorn/node.toml"}],
        "networks": ["posthorn"],
        "init": True,
        "read_only": True,
        "cap_drop": ["ALL"],
        "stop_grace_period": "50s",
        "healthcheck": PATIENCE,
        "volumes": [
            {"type": "tmpfs", "target": "/tmp"},  # noqa: S108 (in the container)
            {"type": "volume", "target": "/var/lib/posthorn"},
        ],
        "deploy": {
            "replicas": group.replicas,
            "endpoint_mode": "dnsrr",
            "placement": placement,
            "resources": RESOURCES,
            "restart_policy": {"condition": "any", "delay": "2s"},
            "update_config": {"parallelism": 1, "order": "start-first", "failure_action": "rollback"},
        },
    }


def _setup() -> Tree:
    return {
        "image": "${REGISTRY:-posthorn}/maintenance:${VERSION:-latest}",
        "entrypoint": ["posthorn", "migrate"],
        "environment": _environment(),
        "configs": [{"source": "node", "target": "/etc/posthorn/node.toml"}],
        "networks": ["posthorn"],
        "healthcheck": {"disable": True},
        "deploy": {
            "mode": "replicated-job",
            "replicas": 1,
            "restart_policy": {"condition": "on-failure", "delay": "2s", "max_attempts": 100},
        },
    }


def _parts() -> Tree:
    """The database, the broker and the blob store of compose.yaml, each once; any of them may be the operator's own."""
    return {
        "postgres": {
            "image": "postgres:18",
            "command": [
                *("postgres", "-c", "max_connections=300", "-c", "synchronous_commit=on"),
                *("-c", "default_toast_compression=lz4"),
            ],
            "environment": {
                "POSTGRES_USER": "posthorn",
                "POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:?set it in the environment}",
                "POSTGRES_DB": "posthorn",
            },
            "volumes": ["postgres:/var/lib/postgresql"],
            "networks": ["posthorn"],
            "deploy": _on_manager(),
        },
        "kafka": {
            "image": "apache/kafka:4.1.0",
            "hostname": "kafka",
            "environment": {
                "KAFKA_NODE_ID": "1",
                "KAFKA_PROCESS_ROLES": "broker,controller",
                "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
                "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://kafka:9092",
                "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
                "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
                "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
                "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
                "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
                "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
                "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
                "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "2000",
                "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
                "KAFKA_LOG_DIRS": "/var/lib/kafka/data",
            },
            "volumes": ["kafka:/var/lib/kafka/data"],
            "networks": ["posthorn"],
            "deploy": _on_manager(),
        },
        "s3": {
            "image": "versity/versitygw:v1.8.0",
            "command": ["--health", "/health", "posix", "/data"],
            "environment": {
                "ROOT_ACCESS_KEY": "${S3_ACCESS_KEY:?set it in the environment}",
                "ROOT_SECRET_KEY": "${S3_SECRET_KEY:?set it in the environment}",
            },
            "volumes": ["s3:/data"],
            "networks": ["posthorn"],
            "deploy": _on_manager(),
        },
    }


def _on_manager() -> Tree:
    return {
        "replicas": 1,
        "endpoint_mode": "dnsrr",
        "placement": {"constraints": ["node.role == manager"]},
        "restart_policy": {"condition": "any", "delay": "2s"},
    }
