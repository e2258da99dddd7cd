"""A topology as processes of machines: an environment file for each node and one unit of systemd that runs any of them.

All nodes share one settings file; what differs stands in the node's environment, which overrides it.
"""

from posthorn_ctl.topology.topology import Node, Topology

UNIT_NAME = "posthorn@.service"
UNIT = """\
# {note}
# Each machine has /etc/posthorn/node.toml, this unit, node-ID.env of its node: systemctl enable --now posthorn@ID
[Unit]
Description=Posthorn node %i
After=network-online.target
Wants=network-online.target

[Service]
User=posthorn
EnvironmentFile=/etc/posthorn/node-%i.env
ExecStart=/opt/posthorn/bin/posthorn node --services ${{SERVICES}} --config /etc/posthorn/node.toml
Restart=on-failure
RestartSec=2
# Longer than server.drain-limit and server.stop-limit together.
TimeoutStopSec=60
KillMode=mixed

[Install]
WantedBy=multi-user.target
"""


def unit(note: str) -> str:
    """The text of the unit."""
    return UNIT.format(note=note)


def environment(topology: Topology, node: Node, note: str) -> str:
    """The text of a node's environment file."""
    lines = [
        f"# {note}",
        f"SERVICES={','.join(node.services)}",
        f"POSTHORN__CLUSTER__NODE_ID={node.id}",
        f"POSTHORN__CLUSTER__REGION={node.region}",
    ]
    for service in node.services:
        name = service.upper().replace("-", "_")
        lines.append(f"POSTHORN__METRICS__BINDS__{name}=0.0.0.0:{topology.ports.health(service)}")
    return "\n".join(lines) + "\n"
