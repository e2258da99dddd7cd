"""A Redis cluster: which node has which slot, and what to do when it has it no more.

Not redis-py's own cluster client, which sends ASKING and the command that it is for on different connections, and
whose connections are closed under those who wait when many use it for the first time at once.
"""

import asyncio
import random
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, ClusterError, MovedError, RedisError, TryAgainError

from posthorn_storage.lookup.redis_client import Command, Server

Address: TypeAlias = tuple[str, int]
Range: TypeAlias = tuple[int, int, Address]
"""The first and the last slot, and the node that has them."""
ROUNDS = 6
"""How often commands are sent on to another node before they are given up."""
TRY_AGAIN_SECONDS = 0.05


class Cluster:
    """The client of a cluster. `seeds` are nodes of it; `connect` makes the client of a node."""

    def __init__(self, seeds: Sequence[Address], connect: Callable[[Address], Server]) -> None:
        self._seeds = seeds
        self._connect = connect
        self._servers: dict[Address, Server] = {}
        self._ranges: list[Range] = []
        self._moved: dict[int, Address] = {}
        """Single slots that were elsewhere when they were asked for, since the ranges were learned."""
        self._learned = 0
        self._doubtful = True
        self._learning = asyncio.Lock()

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """See redis_client.Client; each command has one key."""
        answers: list[Any] = [None] * len(commands)
        slots = [key_slot(_key_of(command)) for command in commands]
        left: dict[int, Address | None] = dict.fromkeys(range(len(commands)))
        """The commands without an answer; where to ask for those whose slot is on its way."""
        if self._doubtful:
            await self._learn()
        for _ in range(ROUNDS):
            for number, answer in (await self._send(commands, slots, left)).items():
                answers[number] = answer
                left[number] = None
                if isinstance(answer, AskError):
                    left[number] = (answer.host, answer.port)
                elif isinstance(answer, MovedError):
                    # Believed at once, for other nodes may not have heard yet; the next caller learns the rest.
                    self._moved[answer.slot_id] = (answer.host, answer.port)
                    self._doubtful = True
                elif isinstance(answer, TryAgainError):
                    await asyncio.sleep(TRY_AGAIN_SECONDS)
                else:
                    self._doubtful |= isinstance(answer, ClusterDownError)
                    del left[number]
            if not left:
                return answers
        raise ClusterError("no node takes the keys")

    async def close(self) -> None:
        servers, self._servers = self._servers, {}
        for server in servers.values():
            await server.close()

    async def _send(
        self, commands: Sequence[Command], slots: Sequence[int], left: Mapping[int, Address | None]
    ) -> dict[int, Any]:
        """Send what is left to its nodes, all at once; the answers by the commands' numbers."""
        by_node: dict[Address, list[int]] = {}
        for number, asked in left.items():
            address = asked or self._owner(slots[number])
            if address is None:
                self._doubtful = True
                raise ClusterDownError(f"no node has the slot {slots[number]}")
            by_node.setdefault(address, []).append(number)
        groups = list(by_node.items())
        found = await asyncio.gather(
            *(self._ask(node, [(commands[n], left[n] is not None) for n in numbers]) for node, numbers in groups),
            return_exceptions=True,
        )
        for answered in found:
            if isinstance(answered, BaseException):
                self._doubtful = True
                raise answered
        return {
            number: answer
            for (_, numbers), answered in zip(groups, found, strict=True)
            if not isinstance(answered, BaseException)
            for number, answer in zip(numbers, answered, strict=True)
        }

    async def _ask(self, address: Address, wanted: Sequence[tuple[Command, bool]]) -> list[Any]:
        """Run commands on a node; before one of a slot that is on its way there goes ASKING."""
        sent: list[Command] = []
        for command, asking in wanted:
            sent += [("ASKING",), command] if asking else [command]
        answers = iter(await self._server(address).run(sent))
        found = []
        for _, asking in wanted:
            if asking:
                next(answers)
            found.append(next(answers))
        return found

    def _owner(self, slot: int) -> Address | None:
        place = bisect(self._ranges, slot, key=lambda known: known[0]) - 1
        there = self._ranges[place] if place >= 0 else None
        return self._moved.get(slot) or (there[2] if there and slot <= there[1] else None)

    def _server(self, address: Address) -> Server:
        if address not in self._servers:
            self._servers[address] = self._connect(address)
        return self._servers[address]

    async def _learn(self) -> None:
        """Ask any node for all owners; those who come meanwhile wait for the same answer."""
        before = self._learned
        async with self._learning:
            if self._learned != before:
                return
            nodes = list({*self._servers, *self._seeds})
            random.shuffle(nodes)
            failure: Exception = ClusterError("no node is known")
            for node in nodes:
                try:
                    (answer,) = await self._server(node).run([("CLUSTER SLOTS",)])
                except (RedisError, OSError) as error:
                    failure = error
                    continue
                if isinstance(answer, Exception):
                    failure = answer
                    continue
                self._ranges = _ranges(answer, node[0])
                self._moved.clear()
                self._learned += 1
                self._doubtful = False
                await self._forget_strangers()
                return
            raise failure

    async def _forget_strangers(self) -> None:
        """Close the clients of nodes that have no slot any more."""
        known = {*(owner for _, _, owner in self._ranges), *self._seeds}
        for address in [address for address in self._servers if address not in known]:
            await self._servers.pop(address).close()


def _ranges(answer: Sequence[Any], asked: str) -> list[Range]:
    """From CLUSTER SLOTS: first and last slot, then the owner; one that does not know its name goes by that asked."""
    return sorted(
        (first, last, (owner[0].decode() if owner[0] else asked, int(owner[1])))
        for first, last, owner, *_replicas in answer
    )


def _key_of(command: Command) -> bytes:
    key: str = command[3] if command[0] in ("EVALSHA", "EVAL") else command[1]
    return key.encode()
