"""The end of a ZeroMQ context, which must never hold up the end of a process.

libzmq can wait for ever in zmq_ctx_term although every socket is closed: a connection that was just being admitted is
then never counted out (libzmq issue 2733, open). What is left then is an idle thread, until the process ends.
"""

import asyncio
import contextlib
import threading

import zmq.asyncio


async def end_within(context: zmq.asyncio.Context, seconds: float) -> bool:
    """Terminate a context whose sockets are all closed, once their messages are sent or their linger is over.

    Returns whether it ended in time. It is waited for in a thread that, unlike one of an executor, nobody joins.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        context.term()
        # A loop that is closed by now: this took too long, and nobody waits any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=end, name="bus: end", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        return False
    return True
