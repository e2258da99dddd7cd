"""A small service for tests of the process around it; its own table says how it behaves.

Run as `node_sample_service.py --config node.toml`, or with `--parent` to be a supervisor of one such process.
"""

import asyncio
import os
import socket
import sys
import time
from typing import Literal

from posthorn_model.errors import Unavailable
from posthorn_node.listen import hang_up
from posthorn_node.node import Node
from posthorn_node.run import run
from posthorn_node.settings import ServiceSettings
from posthorn_node.supervise import Command, Supervisor


class SampleSettings(ServiceSettings):
    mode: Literal["plain", "endless-drain", "stuck-stop", "crashing-task", "failing-start", "no-database", "tls"] = (
        "plain"
    )


class Sample:
    def __init__(self, node: Node) -> None:
        self.node = node
        self.mode = node.own.mode
        self.sockets: list[socket.socket] = []
        self.servers: list[asyncio.Server] = []

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say which process this is, and then each line again."""
        writer.write(f"{os.getpid()}\n".encode())
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async def start(self) -> None:
        self.node.log.info("start called", loop=type(asyncio.get_running_loop()).__module__)
        self.node.tasks.start("background", self.background())
        for listener in self.node.listeners("imap"):
            for listening in self.node.sockets(listener):
                self.sockets.append(listening)
                self.servers.append(await asyncio.start_server(self.greet, sock=listening))
        if self.mode == "failing-start":
            raise ValueError("cannot start")
        if self.mode == "tls":
            self.node.tls.server_context()

    async def drain(self) -> None:
        self.node.log.info("drain called")
        for listening in self.sockets:
            hang_up(listening)
        for server in self.servers:
            server.close()
        if self.mode == "endless-drain":
            await asyncio.Event().wait()

    async def stop(self) -> None:
        self.node.log.info("stop called")
        if self.mode == "stuck-stop":
            await asyncio.to_thread(time.sleep, 3600)

    async def background(self) -> None:
        if self.mode == "crashing-task":
            raise RuntimeError("task broke")
        try:
            await asyncio.Event().wait()
        finally:
            self.node.log.info("background ended")


async def build(node: Node) -> Sample:
    async def open_database() -> str:
        if node.own.mode == "no-database":
            raise Unavailable("the database does not answer")
        return "open"

    await node.obtain("database", open_database)
    return Sample(node)


async def supervise() -> None:
    """Start the service as a child and wait for ever; the child's output goes to our own."""
    supervisor = Supervisor(lambda _name, line: print(line.decode(), flush=True))
    arguments = [argument for argument in sys.argv[1:] if argument != "--parent"]
    await supervisor.start(Command("sample", (sys.executable, __file__, *arguments), dict(os.environ)))
    await asyncio.Event().wait()


if __name__ == "__main__":
    if "--parent" in sys.argv:
        asyncio.run(supervise())
    raise SystemExit(run("imap", SampleSettings, build, protocols=("imap",)))
