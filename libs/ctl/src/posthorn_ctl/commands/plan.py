"""`posthorn plan`: how much a load needs, by the guide's rule of thumb and by what was measured."""

import json
import math
from typing import Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError

EPILOG = "Example: posthorn plan --peak-per-hour 50000 --users 20000 --mailbox-size 2GB"
MOST = 100_000_000
MAILBOX = (1 << 20, 1 << 40)
MESSAGE = (1 << 10, 50 << 20)


def plan(
    *,
    peak_per_hour: Annotated[int, typer.Option(min=0, max=MOST, help="Messages received in the busiest hour.")],
    users: Annotated[int, typer.Option(min=1, max=MOST, help="Accounts.")],
    mailbox_size: Annotated[str, typer.Option(help="What an account holds on average.")] = "1GB",
    message_size: Annotated[str, typer.Option(help="Of a message on average.")] = "75kB",
    sent_share: Annotated[
        float, typer.Option(min=0, max=100, help="Recipients elsewhere for each message received.")
    ] = 0.3,
    connections_per_user: Annotated[
        float, typer.Option(min=0, max=100, help="IMAP connections open at once, for each account.")
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, sizes in bytes.")] = False,
) -> None:
    """Reckon processes, databases, blobs and a topology for a load; nothing is changed and nothing is asked.

    What was measured is processor time, memory and disk of single units of work; what follows is arithmetic. Test with
    your own mail before you buy machines by it.
    """
    from posthorn_ctl.plan import report, sizing
    from posthorn_ctl.plan.measured import measured

    for option, number in (("--sent-share", sent_share), ("--connections-per-user", connections_per_user)):
        if not math.isfinite(number):
            raise ClusterError(f"{option}: is not a number", code=2)
    load = sizing.Load(
        peak_per_hour,
        users,
        _size("--mailbox-size", mailbox_size, *MAILBOX),
        _size("--message-size", message_size, *MESSAGE),
        sent_share,
        connections_per_user,
    )
    if load.mailbox_size < load.message_size:
        raise ClusterError("--mailbox-size: is less than one message", code=2)
    found = sizing.plan(load, measured())
    print(json.dumps(report.value(found)) if as_json else report.text(found))


def _size(option: str, text: str, least: int, most: int) -> int:
    from posthorn_ctl.plan.report import size
    from posthorn_node.settings import parse_size

    try:
        found = parse_size(text)
    except ValueError as error:
        raise ClusterError(f"{option}: {error}", code=2) from None
    if not least <= found <= most:
        raise ClusterError(f"{option}: must be from {size(least)} to {size(most)}", code=2)
    return found
