"""A plan for people, and as a value for JSON."""

import math
from dataclasses import asdict
from typing import Any

from posthorn_ctl.plan import guide
from posthorn_ctl.plan.sizing import Plan


def value(found: Plan) -> dict[str, Any]:
    """Everything, sizes in bytes."""
    row = guide.advice(found.load.users)
    return {
        "load": asdict(found.load),
        "guide": {
            "instances": guide.instances(found.load.peak_per_hour),
            "architecture": row.architecture,
            "storage": row.storage,
            "instances_by_users": row.instances,
            "cluster": row.cluster,
        },
        "measured": {
            "services": {name: asdict(need) for name, need in found.services.items()},
            "database": asdict(found.database),
            "blobs": {"size": found.blob_size, "store": found.blob_store},
            "coordinator": found.coordinator,
            "topology": {"name": found.topology, "nodes": found.nodes},
            "assumptions": list(found.assumptions),
        },
    }


def text(found: Plan) -> str:
    """The table."""
    load, database = found.load, found.database
    row = guide.advice(load.users)
    standby = f", each with {database.replicas} standby, synchronous" if database.replicas else ""
    each = f"{database.cores_each} cores and {size(database.memory)} of memory"
    place = "files" if found.blob_store == "fs" else "S3"
    lines = [
        f"{load.peak_per_hour:,} messages an hour, {load.users:,} users with {size(load.mailbox_size)} each",
        "",
        "By the guide's rule of thumb",
        f"  instances      {guide.instances(load.peak_per_hour)} (peak / {guide.PER_INSTANCE:,} x {guide.HEADROOM})",
        f"  for the users  {row.architecture}; {row.storage}; instances: {row.instances}; cluster: {row.cluster}",
        "",
        "By what was measured",
        f"  {'service':<13}{'busy cores':>12}{'processes':>12}{'memory each':>14}",
        *(
            f"  {name:<13}{need.cores:>12.2f}{need.processes:>12}{size(need.memory):>14}"
            for name, need in found.services.items()
        ),
        "",
        f"  PostgreSQL     {database.shards} with {each}{standby}",
        f"                 {size(database.size)} on disk together; max_connections above {database.connections:,}",
        f"  blobs          {size(found.blob_size)} in {place}, before compression",
        f"  coordinator    {found.coordinator}",
        f"  topology       {found.topology}, {found.nodes} node{'s' if found.nodes > 1 else ''}",
        "",
        "It assumes",
        *(f"  - {line}" for line in found.assumptions),
    ]
    return "\n".join(lines)


def size(octets: int) -> str:
    """Octets with a unit, two digits that matter."""
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    step = min(int(math.log(max(octets, 1), 1024)), len(units) - 1)
    amount = octets / 1024**step
    return f"{amount:.1f} {units[step]}" if amount < 10 and step else f"{amount:,.0f} {units[step]}"
