"""`posthorn queue release`: what was held goes on."""

from posthorn_ctl.commands.queue_action import command

EPILOG = "Example: posthorn queue release 4711 --config node.toml --json"

release = command(
    "release",
    "released",
    "Let go what was held; it is due when it was before, or at once when that is over.",
)
