"""`posthorn queue cancel`: what waits is given up, and no sender is told."""

from posthorn_ctl.commands.queue_action import command

EPILOG = "Example: posthorn queue cancel 4711 --recipient bob@example.net --config node.toml --json"

cancel = command(
    "cancel",
    "cancelled",
    "Give up a message, one recipient of it, or all that a filter means. No report goes to the senders.",
)
