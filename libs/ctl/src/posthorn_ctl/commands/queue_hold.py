"""`posthorn queue hold`: what waits is not tried until it is released."""

from posthorn_ctl.commands.queue_action import command

EPILOG = 'Example: posthorn queue hold --sender news@example.org --note "asked by legal" --config node.toml --json'

hold = command(
    "hold",
    "held",
    "Hold a message, one recipient of it, or all that a filter means: nothing is tried, nothing expires.",
)
