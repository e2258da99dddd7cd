"""What the chart is tried with: each topology, and everything that can be switched on."""

from pathlib import Path
from typing import Any

import yaml

ALL = ["smtp-in", "smtp-out", "imap", "jmap", "dav", "maintenance"]

TOPOLOGIES: dict[str, dict[str, Any]] = {
    "unified": {"pools": [{"name": "node", "services": ALL, "replicas": 3}]},
    "by-service": {},
    "weighted": {
        "pools": [
            {"name": "imap", "services": ["imap"], "replicas": 2, "weight": 2},
            {"name": "smtp", "services": ["smtp-in", "smtp-out"], "replicas": 2},
            {"name": "web", "services": ["jmap", "dav", "maintenance"], "replicas": 2},
        ]
    },
    "paired": {
        "pools": [
            {"name": "mailbox", "services": ["imap", "jmap"], "replicas": 3},
            {"name": "smtp", "services": ["smtp-in", "smtp-out"], "replicas": 3},
            {"name": "dav", "services": ["dav"], "replicas": 2},
            {"name": "upkeep", "services": ["maintenance"], "replicas": 2},
        ]
    },
    "by-region": {
        "services": {"byRegion": True},
        "pools": [
            {
                "name": f"node-{region}",
                "services": ALL,
                "replicas": 2,
                "region": region,
                "settings": {"store": {"postgres": {"read-replicas": [f"postgres-{region}:5432"]}}},
            }
            for region in ("eu-west", "us-east")
        ],
    },
}

EVERYTHING: dict[str, Any] = {
    "image": {"repository": "registry.example.org:5000/posthorn", "tag": "1.2.3", "pullSecrets": ["registry"]},
    "pools": [
        {
            "name": "node-eu",
            "services": ALL,
            "replicas": 3,
            "weight": 2,
            "region": "eu-west",
            "autoscaling": {"maxReplicas": 12, "cpu": 60},
            "settings": {
                "smtp-out": {"retry": ["1m", "5m"], "relay": "relay.example.net:587"},
                "imap": {"limits": {"connections": 5000}},
                "smtp-in": {"allow-long-lines": True},
            },
            "resources": {"imap": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "4Gi"}}},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "mail", "operator": "Exists", "effect": "NoSchedule"}],
        },
        {"name": "imap-us", "services": ["imap"], "region": "us-east", "autoscaling": {"enabled": False}},
    ],
    "settings": {
        "cluster": {"roles": {"purge": {"stores": [1, 2], "accounts": [[1, 2], [3, 4]]}}},
        "server": {
            "listener": {
                "pop3": {"protocol": "pop3", "bind": "*:2110"},
                "lmtp": {"protocol": "lmtp", "bind": ["*:2424"]},
                "api": {"url": "https://api.example.org"},
            }
        },
        "store": {"kafka": {"sasl": {"mechanism": "SCRAM-SHA-512", "username": "posthorn"}, "tls": {"enable": True}}},
        "smtp-out": {"routes": {"partner.example": "mx"}},
    },
    "secret": {
        "create": True,
        "values": {"db-password": "one", "s3-access-key": "two", "s3-secret-key": "three", "kafka-password": "four"},
        "environment": {"POSTHORN__STORE__KAFKA__SASL__PASSWORD": "kafka-password"},
    },
    "tls": {"secretName": "mail-certificate"},
    "proxyProtocol": {"networks": ["10.0.0.0/8"]},
    "services": {
        "byRegion": True,
        "smtp": {
            "externalTrafficPolicy": "Cluster",
            "annotations": {"balancer.example/proxy-protocol": "true"},
            "loadBalancerClass": "example.org/lb",
            "loadBalancerSourceRanges": ["192.0.2.0/24"],
        },
        "imap": {"ports": {"pop3": 110}},
    },
    "ingress": {"enabled": True, "className": "nginx", "host": "mail.example.net", "tlsSecretName": "web"},
    "disruption": {"maxUnavailable": "25%"},
    "drain": {"delay": 15, "limit": 60, "stop": 20},
    "scheduling": {"priorityClassName": "mail", "serviceAccountName": "posthorn"},
    "blobCache": {"enabled": True, "size": "2GB"},
    "monitoring": {"serviceMonitor": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {
        "enabled": True,
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    },
    "extra": {
        "env": [{"name": "TZ", "value": "UTC"}],
        "volumes": [{"name": "kafka-ca", "configMap": {"name": "kafka-ca"}}],
        "volumeMounts": [{"name": "kafka-ca", "mountPath": "/etc/posthorn/kafka", "readOnly": True}],
    },
    "podAnnotations": {"example.org/team": "mail"},
    "podLabels": {"team": "mail"},
}

READY = {
    f"deploy/{file.parts[-3]}": yaml.safe_load(file.read_text())
    for file in sorted(Path(__file__).parents[2].glob("deploy/topologies/*/helm/values.yaml"))
}
"""The values that were rendered from the descriptions of topologies."""

CASES: dict[str, dict[str, Any]] = {**TOPOLOGIES, **READY, "everything": EVERYTHING}

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a value that is not one": ({"pool": []}, "pool"),
    "no pools": ({"pools": []}, "pools"),
    "an unknown service": ({"pools": [{"name": "a", "services": ["pop3"]}]}, "pools"),
    "a name that Kubernetes would refuse": ({"pools": [{"name": "A_b", "services": ["imap"]}]}, "pools"),
    "two pools of one name": ({"pools": [{"name": "a", "services": ["imap"]}] * 2}, "two are called a"),
    "a service twice": ({"pools": [{"name": "a", "services": ["imap", "imap"]}]}, "are equal"),
    "replicas as text": ({"pools": [{"name": "a", "services": ["imap"], "replicas": "3"}]}, "replicas"),
    "a port without a listener": ({"services": {"imap": {"ports": {"pop3": 110}}}}, "no listener of that name"),
    "a listener of another service": ({"services": {"imap": {"ports": {"smtp": 25}}}}, "no listener of that name"),
    "a limit in the wrong place": ({"settings": {"server": {"drain-limit": "10s"}}}, "drain-limit"),
    "a processor beyond what there is": ({"autoscaling": {"cpu": 700}}, "cpu"),
    "a secret without its values": ({"secret": {"create": True}}, "db-password"),
    "an empty password": ({"secret": {"create": True, "values": {"db-password": ""}}}, "db-password"),
    "no health checks": ({"settings": {"metrics": {"enable": False}}}, "enable"),
}
