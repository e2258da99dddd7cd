"""Reads the settings of a running process again, and hands what may change to those who can go on with it.

Settings stay immutable values: a changed file leads to another value, which takes the place of the old one in the node,
and whoever said that it can change (`Node.rereads`) is called. What nobody can change is told, and stays as it was.
A file that is wrong changes nothing.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from posthorn_node.errors import StartError
from posthorn_node.settings import NodeSettings, SettingsError
from posthorn_node.settings.comparison import compared, concerns, names
from posthorn_node.settings.problems import KeyPath

if TYPE_CHECKING:
    from posthorn_node.node import Node

Read = Callable[[], tuple[NodeSettings, Any]]
"""Reads and judges the settings file: those of the node and those of the service. Raises SettingsError."""


class Rereading:
    """Of one process."""

    def __init__(self, node: "Node", read: Read, protocols: Sequence[str] = ()) -> None:
        """`protocols` are those of the listeners that the service opens; others are of no interest to it."""
        self._node = node
        self._protocols = protocols
        self._read = read
        self._outcomes = node.metrics.counter(
            "settings_read", "Times that the settings were read again, by what came of it", ["outcome"]
        )

    def now(self) -> None:
        """Read them, and say in the log what changed, what needs a restart, or what is wrong."""
        node = self._node
        try:
            settings, own = self._read()
            taken, kept = self._take(settings, own)
        except SettingsError as error:
            self._refuse([str(problem) for problem in error.problems])
            return
        except StartError as error:
            self._refuse([str(error)])
            return
        self._outcomes.labels("taken" if taken else "unchanged").inc()
        node.log.info("settings read again", changed=names(taken))
        if kept:
            node.log.warning("settings changed that need a restart", keys=names(kept))

    def _take(self, settings: NodeSettings, own: Any) -> tuple[Sequence[KeyPath], Sequence[KeyPath]]:
        """Returns the keys that were taken and those that were not.

        Raises SettingsError, StartError, and all is as before then.
        """
        node = self._node
        may = [pattern for patterns, _ in node.readers for pattern in patterns]
        common = compared(node.settings, settings, may)
        special = compared(node.own, own, may, (node.service,))
        taken = (*common.taken, *special.taken)
        before = node.settings, node.own
        node.settings, node.own = common.settings, special.settings
        told: list[Callable[[], None]] = []
        try:
            for patterns, take in node.readers:
                if any(concerns(key, pattern) for key in taken for pattern in patterns):
                    told.append(take)
                    take()
        except (SettingsError, StartError):
            node.settings, node.own = before
            for take in told:
                take()
            raise
        return taken, [key for key in (*common.kept, *special.kept) if self._is_ours(key, settings)]

    def _is_ours(self, key: KeyPath, settings: NodeSettings) -> bool:
        """Whether a key says anything to this service."""
        if key[:2] != ("server", "listener") or len(key) < 3:
            return True
        there = [each.server.listener.get(str(key[2])) for each in (self._node.settings, settings)]
        return any(listener.protocol in self._protocols for listener in there if listener is not None)

    def _refuse(self, problems: Sequence[str]) -> None:
        self._outcomes.labels("refused").inc()
        self._node.log.error("settings kept as they were", problems=problems)
