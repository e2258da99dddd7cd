"""The `posthorn` command: local clusters, accounts and domains. Errors are lines on stderr, never a traceback.

Commands import what is slow to import when they run, so that `posthorn stop` and --help are quick.
"""

import sys
from importlib import metadata
from typing import Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands import (
    account_add,
    account_delete,
    account_list,
    account_passwd,
    account_reset,
    account_show,
    alias_add,
    alias_list,
    alias_remove,
    app_password_add,
    app_password_list,
    app_password_remove,
    ban_add,
    ban_list,
    ban_remove,
    certificate_import,
    certificate_list,
    certificate_remove,
    certificate_renew,
    certificate_reseal,
    certificate_revoke,
    check,
    demo,
    dkim_add,
    dkim_list,
    dkim_record,
    dkim_remove,
    dkim_rotate,
    domain_add,
    domain_list,
    forward_add,
    forward_list,
    forward_remove,
    group_add,
    group_list,
    group_remove,
    index_rebuild,
    index_status,
    list_add,
    list_list,
    list_remove,
    logs,
    migrate,
    node,
    node_drain,
    node_list,
    plan,
    queue_cancel,
    queue_hold,
    queue_list,
    queue_pause,
    queue_pauses,
    queue_release,
    queue_reschedule,
    queue_resume,
    queue_show,
    queue_why,
    reload,
    role_list,
    role_move,
    shard_list,
    shard_move,
    status,
    stop,
    suppression_add,
    suppression_list,
    suppression_remove,
    topology_apply,
    topology_check,
    topology_render,
    up,
)
from posthorn_ctl.embedded.errors import PartError
from posthorn_model.errors import PosthornError

app = typer.Typer(
    name="posthorn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(asked: bool) -> None:
    if asked:
        print(f"posthorn {metadata.version('posthorn-ctl')}")
        raise typer.Exit


@app.callback()
def program(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Posthorn, a clustered mail system: run a cluster on this machine, manage its accounts."""


app.command("up", epilog=up.EPILOG)(up.up)
app.command("status", epilog=status.EPILOG)(status.status)
app.command("logs", epilog=logs.EPILOG)(logs.logs)
app.command("stop", epilog=stop.EPILOG)(stop.stop)
app.command("reload", epilog=reload.EPILOG)(reload.reload)
app.command("demo", epilog=demo.EPILOG)(demo.demo)
app.command("migrate", epilog=migrate.EPILOG)(migrate.migrate)
app.command("plan", epilog=plan.EPILOG)(plan.plan)
app.command("check", epilog=check.EPILOG)(check.check)

account = typer.Typer(no_args_is_help=True, help="Accounts: add, passwd, app-password, list, show, reset, delete.")
account.command("add", epilog=account_add.EPILOG)(account_add.add)
account.command("passwd", epilog=account_passwd.EPILOG)(account_passwd.passwd)
account.command("list", epilog=account_list.EPILOG)(account_list.list_)
account.command("show", epilog=account_show.EPILOG)(account_show.show)
account.command("reset", epilog=account_reset.EPILOG)(account_reset.reset)
account.command("delete", epilog=account_delete.EPILOG)(account_delete.delete)
app_password = typer.Typer(no_args_is_help=True, help="Passwords for one device or program each: add, list, remove.")
app_password.command("add", epilog=app_password_add.EPILOG)(app_password_add.add)
app_password.command("list", epilog=app_password_list.EPILOG)(app_password_list.list_)
app_password.command("remove", epilog=app_password_remove.EPILOG)(app_password_remove.remove)
account.add_typer(app_password, name="app-password")
app.add_typer(account, name="account")

alias = typer.Typer(no_args_is_help=True, help="Other addresses of accounts, and catch-alls: add, list, remove.")
alias.command("add", epilog=alias_add.EPILOG)(alias_add.add)
alias.command("list", epilog=alias_list.EPILOG)(alias_list.list_)
alias.command("remove", epilog=alias_remove.EPILOG)(alias_remove.remove)
app.add_typer(alias, name="alias")

group = typer.Typer(no_args_is_help=True, help="Addresses whose mail goes to their members: add, list, remove.")
group.command("add", epilog=group_add.EPILOG)(group_add.add)
group.command("list", epilog=group_list.EPILOG)(group_list.list_)
group.command("remove", epilog=group_remove.EPILOG)(group_remove.remove)
app.add_typer(group, name="group")

forwarding = typer.Typer(no_args_is_help=True, help="Accounts whose mail is passed on: add, list, remove.")
forwarding.command("add", epilog=forward_add.EPILOG)(forward_add.add)
forwarding.command("list", epilog=forward_list.EPILOG)(forward_list.list_)
forwarding.command("remove", epilog=forward_remove.EPILOG)(forward_remove.remove)
app.add_typer(forwarding, name="forward")

mailing = typer.Typer(no_args_is_help=True, help="Mailing lists: add, list, remove.")
mailing.command("add", epilog=list_add.EPILOG)(list_add.add)
mailing.command("list", epilog=list_list.EPILOG)(list_list.list_)
mailing.command("remove", epilog=list_remove.EPILOG)(list_remove.remove)
app.add_typer(mailing, name="list")

domain = typer.Typer(no_args_is_help=True, help="Domains whose mail is for this cluster.")
domain.command("add", epilog=domain_add.EPILOG)(domain_add.add)
domain.command("list", epilog=domain_list.EPILOG)(domain_list.list_)
app.add_typer(domain, name="domain")

ban = typer.Typer(no_args_is_help=True, help="Addresses and networks that no node lets in: add, list, remove.")
ban.command("add", epilog=ban_add.EPILOG)(ban_add.add)
ban.command("list", epilog=ban_list.EPILOG)(ban_list.list_)
ban.command("remove", epilog=ban_remove.EPILOG)(ban_remove.remove)
app.add_typer(ban, name="ban")

nodes = typer.Typer()
nodes.callback(invoke_without_command=True, epilog=node.EPILOG)(node.node)
nodes.command("run", epilog=node.EPILOG)(node.run)
nodes.command("list", epilog=node_list.EPILOG)(node_list.list_)
nodes.command("drain", epilog=node_drain.EPILOG)(node_drain.drain)
app.add_typer(nodes, name="node")

queue = typer.Typer(
    no_args_is_help=True,
    help="Outgoing mail: list, show, why, hold, release, reschedule, cancel, pause, resume, pauses.",
)
queue.command("list", epilog=queue_list.EPILOG)(queue_list.list_)
queue.command("show", epilog=queue_show.EPILOG)(queue_show.show)
queue.command("why", epilog=queue_why.EPILOG)(queue_why.why)
queue.command("hold", epilog=queue_hold.EPILOG)(queue_hold.hold)
queue.command("release", epilog=queue_release.EPILOG)(queue_release.release)
queue.command("reschedule", epilog=queue_reschedule.EPILOG)(queue_reschedule.reschedule)
queue.command("cancel", epilog=queue_cancel.EPILOG)(queue_cancel.cancel)
queue.command("pause", epilog=queue_pause.EPILOG)(queue_pause.pause)
queue.command("resume", epilog=queue_resume.EPILOG)(queue_resume.resume)
queue.command("pauses", epilog=queue_pauses.EPILOG)(queue_pauses.pauses)
app.add_typer(queue, name="queue")

suppression = typer.Typer(no_args_is_help=True, help="Addresses that no mail is sent to: add, list, remove.")
suppression.command("add", epilog=suppression_add.EPILOG)(suppression_add.add)
suppression.command("list", epilog=suppression_list.EPILOG)(suppression_list.list_)
suppression.command("remove", epilog=suppression_remove.EPILOG)(suppression_remove.remove)
app.add_typer(suppression, name="suppression")

index = typer.Typer(no_args_is_help=True, help="The search index: how far it is, and doing it anew.")
index.command("status", epilog=index_status.EPILOG)(index_status.status)
index.command("rebuild", epilog=index_rebuild.EPILOG)(index_rebuild.rebuild)
app.add_typer(index, name="index")

role = typer.Typer(no_args_is_help=True, help="Who does the cluster's own work: list, move.")
role.command("list", epilog=role_list.EPILOG)(role_list.list_)
role.command("move", epilog=role_move.EPILOG)(role_move.move)
app.add_typer(role, name="role")

shard = typer.Typer(no_args_is_help=True, help="The databases that accounts live on: list, move.")
shard.command("list", epilog=shard_list.EPILOG)(shard_list.list_)
shard.command("move", epilog=shard_move.EPILOG)(shard_move.move)
app.add_typer(shard, name="shard")

certificate = typer.Typer(
    no_args_is_help=True, help="Certificates that all nodes share: list, import, remove, renew, revoke, reseal."
)
certificate.command("list", epilog=certificate_list.EPILOG)(certificate_list.list_)
certificate.command("import", epilog=certificate_import.EPILOG)(certificate_import.import_)
certificate.command("remove", epilog=certificate_remove.EPILOG)(certificate_remove.remove)
certificate.command("renew", epilog=certificate_renew.EPILOG)(certificate_renew.renew)
certificate.command("reseal", epilog=certificate_reseal.EPILOG)(certificate_reseal.reseal)
certificate.command("revoke", epilog=certificate_revoke.EPILOG)(certificate_revoke.revoke)
app.add_typer(certificate, name="certificate")

dkim = typer.Typer(no_args_is_help=True, help="Keys that sign mail of the domains: list, add, record, rotate, remove.")
dkim.command("list", epilog=dkim_list.EPILOG)(dkim_list.list_)
dkim.command("add", epilog=dkim_add.EPILOG)(dkim_add.add)
dkim.command("record", epilog=dkim_record.EPILOG)(dkim_record.record)
dkim.command("rotate", epilog=dkim_rotate.EPILOG)(dkim_rotate.rotate)
dkim.command("remove", epilog=dkim_remove.EPILOG)(dkim_remove.remove)
app.add_typer(dkim, name="dkim")

topology = typer.Typer(no_args_is_help=True, help="One description of all nodes: render, check, apply.")
topology.command("render", epilog=topology_render.EPILOG)(topology_render.render)
topology.command("check", epilog=topology_check.EPILOG)(topology_check.check)
topology.command("apply", epilog=topology_apply.EPILOG)(topology_apply.apply)
app.add_typer(topology, name="topology")


def main() -> None:
    """Entry point."""
    try:
        app()
    except ClusterError as error:
        print(f"posthorn: {error}", file=sys.stderr)
        raise SystemExit(error.code) from None
    except (PartError, PosthornError) as error:
        print(f"posthorn: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
