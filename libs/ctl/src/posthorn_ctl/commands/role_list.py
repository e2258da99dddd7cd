"""`posthorn role list`: who holds which role, since when, who else may, and how its jobs do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.role_jobs import JobState

EPILOG = "Example: posthorn role list --config node.toml --json"


def list_(
    *,
    jobs: Annotated[bool, typer.Option("--jobs", help="Show the jobs of each role too.")] = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """List the cluster's roles: holder, epoch, since when, and the nodes that may hold each; share by share."""
    found = run(Door(data, dsn, config), look)
    print(json.dumps(found) if as_json else _text(found, jobs=jobs))


async def look(storage: Storage) -> dict[str, Any]:
    """All of it, as values for JSON."""
    eligible = await shares_of(storage)
    held = {tenure.key: tenure for tenure in await storage.roles.tenures()}
    jobs = await storage.role_jobs.all()
    roles = []
    for key, nodes in sorted(eligible.items()):
        tenure = held.get(key)
        live = tenure is not None and tenure.live
        role, _, share = key.removeprefix("role/").partition("/")
        roles.append(
            {
                "role": role,
                "share": int(share) if share else 0,
                "shares": sum(other.removeprefix("role/").partition("/")[0] == role for other in eligible),
                "key": key,
                "node": tenure.node if tenure is not None and live else None,
                "epoch": tenure.epoch if tenure is not None else 0,
                "since": tenure.since.isoformat() if tenure is not None and live and tenure.since else None,
                "expires": tenure.until.isoformat() if tenure is not None and live else None,
                "wished": None if tenure is None else tenure.wished,
                "eligible": nodes,
                "jobs": [_job(job) for job in jobs if job.role == role and job.share == int(share or 0)],
            }
        )
    return {"roles": roles, "problems": await storage.roles.problems()}


async def shares_of(storage: Storage) -> dict[str, list[int]]:
    """Every role, share by share, by the key of its lease, with the live nodes that may hold it."""
    found: dict[str, set[int]] = {}
    for declared in await storage.roles.declared():
        for role, shares in declared.lists.items():
            keys = [f"role/{role}/{n}" for n in range(len(shares))] if len(shares) > 1 else [f"role/{role}"]
            for key, nodes in zip(keys, shares or [[]], strict=True):
                if not nodes or declared.node in nodes:
                    found.setdefault(key, set()).add(declared.node)
                else:
                    found.setdefault(key, set())
    return {key: sorted(nodes) for key, nodes in found.items()}


def _job(job: JobState) -> dict[str, Any]:
    return {
        "job": job.job,
        "started": job.started_at.isoformat(),
        "finished": job.finished_at.isoformat() if job.finished_at else None,
        "running": job.running,
        "cursor": job.cursor,
        "epoch": job.epoch,
        "failures": job.failures,
        "problem": job.problem,
    }


def _text(found: dict[str, Any], *, jobs: bool) -> str:
    if not found["roles"]:
        return "no node runs the service maintenance now: nobody holds a role"
    lines = [f"{'ROLE':<22} {'HOLDER':<8} {'EPOCH':>6}  {'SINCE':<20} ELIGIBLE"]
    for role in found["roles"]:
        name = role["role"] if role["shares"] == 1 else f"{role['role']}/{role['share']}"
        holder = "nobody" if role["node"] is None else f"node {role['node']}"
        nodes = ", ".join(map(str, role["eligible"])) or "no live node"
        wish = "" if role["wished"] is None else f" (shall be held by node {role['wished']})"
        lines.append(f"{name:<22} {holder:<8} {role['epoch']:>6}  {(role['since'] or '-')[:19]:<20} {nodes}{wish}")
        for job in role["jobs"] if jobs else ():
            state = f"at {job['cursor'] or 'its beginning'}" if job["running"] else f"done {job['finished'][:19]}"
            problem = f"; {job['failures']} failed in a row" if job["failures"] else ""
            last = f"; last problem: {job['problem']}" if job["problem"] else ""
            lines.append(f"  {job['job']}: begun {job['started'][:19]}, {state}{problem}{last}")
    lines += [f"warning: {problem}" for problem in found["problems"]]
    return "\n".join(lines)
