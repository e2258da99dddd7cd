"""Values of the Helm chart, and applications of Marathon. Values only."""

from collections.abc import Mapping, Sequence
from typing import Any

from posthorn_ctl.topology.front import CONTAINER_HEALTH, CONTAINER_PORTS, LONG_SESSIONS, MAIL, WEB
from posthorn_ctl.topology.groups import Group
from posthorn_ctl.topology.topology import Topology

Tree = dict[str, Any]
HAPROXY_SERVER = (
    "  server {serverName} {host_ipv4}:{port} send-proxy-v2 {cookieOptions}{healthCheckOptions}{otherOptions}\n"
)
"""marathon-lb's line for a server, with the client's address told by PROXY protocol 2."""


def helm_values(topology: Topology) -> Tree:
    """The chart's pools (deploy/helm/VALUES.md): each pod is a node with all services of its pool.

    Where regions differ, each gets balancers of its own.
    """
    pools = [
        {
            "name": pool.name,
            "services": list(pool.services),
            "replicas": len(pool.nodes),
            **({"region": pool.region} if pool.region else {}),
            **({"weight": pool.weight} if pool.weight > 1 else {}),
        }
        for pool in topology.pools
    ]
    regions = {pool.region for pool in topology.pools}
    return {"pools": pools, **({"services": {"byRegion": True}} if len(regions) > 1 else {})}


def marathon(groups: Sequence[Group], ports: Mapping[str, int]) -> Tree:
    """A group for POST /v2/groups. Each agent has /etc/posthorn/node.toml; `ports` are the balancer's."""
    return {"id": "/posthorn", "apps": [_application(group, ports) for group in groups]}


def _application(group: Group, ports: Mapping[str, int]) -> Tree:
    protocols = [name for name, service in (MAIL | WEB).items() if service == group.service and name in CONTAINER_PORTS]
    mappings = [{"containerPort": CONTAINER_PORTS[name], "hostPort": 0, "name": name} for name in protocols]
    health = {"containerPort": CONTAINER_HEALTH, "hostPort": 0, "name": "health"}
    region = {"POSTHORN__CLUSTER__REGION": group.region} if group.region else {}
    return {
        "id": f"/posthorn/{group.name}",
        "instances": group.replicas,
        "cpus": 0.1,
        "mem": 256,
        "networks": [{"mode": "container/bridge"}],
        "container": {
            "type": "MESOS",
            "docker": {"image": f"posthorn/{group.service}", "forcePullImage": False},
            "volumes": [{"containerPath": "/etc/posthorn", "hostPath": "/etc/posthorn", "mode": "RO"}],
            "portMappings": [*mappings, health],
        },
        "env": {"POSTHORN_CONFIG": "/etc/posthorn/node.toml", **region},
        "labels": _labels(protocols, ports),
        "constraints": [["@region", "IS", group.region]] if group.region else [],
        "healthChecks": [
            {
                "protocol": "MESOS_HTTP",
                "path": "/health/ready",
                "portIndex": len(mappings),
                "gracePeriodSeconds": 60,
                "intervalSeconds": 5,
                "timeoutSeconds": 5,
                "maxConsecutiveFailures": 6,
            }
        ],
        "upgradeStrategy": {"minimumHealthCapacity": 1.0, "maximumOverCapacity": 0.34},
        "taskKillGracePeriodSeconds": 50,
    }


def _labels(protocols: Sequence[str], ports: Mapping[str, int]) -> dict[str, str]:
    """For marathon-lb, by the index of the port."""
    found: dict[str, str] = {}
    for index, name in enumerate(protocols):
        key = f"HAPROXY_{index}"
        if name in MAIL and name in ports:
            found |= {f"{key}_PORT": str(ports[name]), f"{key}_MODE": "tcp"}
            found[f"{key}_BACKEND_SERVER_OPTIONS"] = HAPROXY_SERVER
        elif name in WEB and "http" in ports:
            path = {"dav": "/dav", "api": "/api"}.get(name)
            found |= {f"{key}_PORT": str(ports["http"]), f"{key}_MODE": "http"}
            found |= {f"{key}_PATH": path} if path else {}
        else:
            continue
        found[f"{key}_BALANCE"] = "leastconn" if name in LONG_SESSIONS else "roundrobin"
    return {"HAPROXY_GROUP": "external", **found} if found else {}
