"""The peers of this process, as the node table has them; read every few seconds and when somebody says it changed.

It opens no connection. While the table cannot be read, the last known peers stay.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence

from posthorn_bus.peer.contact import Contact, announcement, contact_of
from posthorn_bus.settings import BusIdentity, PeerSettings
from posthorn_model.errors import PosthornError
from posthorn_model.events import Topic
from posthorn_model.ports import Peer, PeerDirectory

_log = logging.getLogger(__name__)

LIMIT = 5.0
"""Seconds one question to the table may take."""
SPACING = 0.1
"""Seconds between two readings, however often they are asked for."""


class Roster:
    """Who belongs to the mesh now. `changed` is called after each reading of the table."""

    def __init__(
        self, directory: PeerDirectory, settings: PeerSettings, identity: BusIdentity, changed: Callable[[], None]
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._identity = identity
        self._changed = changed
        self._soon = asyncio.Event()
        self._read = asyncio.Condition()
        self._readings = 0
        self._reading = False
        self._shown: Mapping[str, object] = {}
        self._told: frozenset[str] = frozenset()
        self.contacts: Mapping[str, Contact] = {}
        """By boot id, without this process."""
        self.failing = True
        """Whether the table could not be read at the last try (or was not read yet)."""

    @property
    def was_read(self) -> bool:
        return self._readings > 0

    def refresh_soon(self) -> None:
        """Ask for a reading without waiting for it."""
        self._soon.set()

    async def knows(self, raw_key: bytes) -> bool:
        """Whether a public key belongs to a peer; reads the table anew before it says no."""
        if self._has(raw_key):
            return True
        async with self._read:
            # The reading that is under way may have begun before the newcomer announced itself: await the one after it.
            enough = self._readings + (2 if self._reading else 1)
            self._soon.set()
            try:
                async with asyncio.timeout(LIMIT):
                    await self._read.wait_for(lambda: self._readings >= enough or self._has(raw_key))
            except TimeoutError:
                return False
        return self._has(raw_key)

    async def announce(self, endpoint: str, public: str, takes: Mapping[Topic, tuple[str, ...]]) -> None:
        """Show these fields in this process's row, now or as soon as the table answers."""
        self._shown = announcement(
            self._settings.secret, self._identity.boot, endpoint, public, takes, self._identity.near
        )
        await self._show()

    async def watch(self) -> None:
        """Read the table for ever."""
        while True:
            await self.read()
            await asyncio.sleep(SPACING)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.refresh):
                    await self._soon.wait()

    async def read(self) -> None:
        """Read the table once."""
        self._soon.clear()
        self._reading = True
        try:
            async with asyncio.timeout(LIMIT):
                peers = await self._directory.live_peers()
        except (PosthornError, TimeoutError) as error:
            if not self.failing:
                _log.warning("node table not read, keeping the last known peers: %s", error)
            self.failing = True
            return
        finally:
            self._reading = False
        self.failing = False
        self._take(peers)
        mine = next((peer.address for peer in peers if peer.boot == self._identity.boot), {})
        if self._shown and any(mine.get(name) != value for name, value in self._shown.items()):
            await self._show()
        async with self._read:
            self._readings += 1
            self._read.notify_all()
        self._changed()

    def _take(self, peers: Sequence[Peer]) -> None:
        contacts, unproven = {}, set()
        for peer in peers:
            if peer.boot == self._identity.boot:
                continue
            contact = contact_of(peer, self._settings.secret)
            if contact is not None:
                contacts[peer.boot] = contact
            elif "bus-key" in peer.address:
                unproven.add(peer.boot)
                if peer.boot not in self._told:
                    _log.warning("node %d (%s): its bus key is not proven, it is ignored", peer.node, peer.service)
        self._told = frozenset(unproven)
        self.contacts = contacts

    async def _show(self) -> None:
        try:
            async with asyncio.timeout(LIMIT):
                await self._directory.announce(self._shown)
        except (PosthornError, TimeoutError) as error:
            _log.warning("bus address not announced yet: %s", error)

    def _has(self, raw_key: bytes) -> bool:
        return any(contact.raw_key == raw_key for contact in self.contacts.values())
