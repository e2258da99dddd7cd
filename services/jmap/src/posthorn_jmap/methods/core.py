"""Core/echo (RFC 8620 4)."""

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.protocol.arguments import Arguments


async def echo(context: Context, arguments: Arguments) -> Responses:
    """Answer the arguments as they came."""
    del context
    return [("Core/echo", dict(arguments.values))]
