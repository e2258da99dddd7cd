"""Flags that change while others look on: who changes them until it is acknowledged, and who must learn of each.

The changer says what each message's flags are in the end, since it repeats a change until some node has acknowledged
it. A watcher hears by IDLE, catches up by QRESYNC (RFC 7162) wherever it connects again, and asks for nothing else:
what it believes at the end must be true.
"""

import imaplib
import random
import re
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from posthorn_testkit.cluster import Reachable

PAUSE = 0.2
IDLE_SECONDS = 2.0
"""How long a watcher idles before it looks whether it shall end."""
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "green", "blue")
_FETCH = re.compile(rb"^\* (\d+) FETCH \((.*)\)\r?$")
_UID = re.compile(rb"UID (\d+)")
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
_MODSEQ = re.compile(rb"MODSEQ \((\d+)\)")


class Changer(threading.Thread):
    """Changes the flags of an inbox's messages until told to end; `truth` is the flags by UID, all acknowledged."""

    def __init__(self, cluster: Reachable, account: tuple[str, str], seed: int) -> None:
        super().__init__(daemon=True)
        self.truth: dict[int, frozenset[str]] = {}
        self.changes = 0
        self.breaks = 0
        self.most_tries = 0
        self.failure: BaseException | None = None
        self._cluster = cluster
        self._account = account
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self._leaving = threading.Event()
        self._client: imaplib.IMAP4 | None = None
        self._turn = 0

    def end(self) -> None:
        """Finish the change that is under way. Raises what stopped it before."""
        self._ending.set()
        self.join()
        if self.failure is not None:
            raise self.failure

    def leave(self) -> None:
        """Stop, with the change that is under way begun or not; for when nobody looks at what is found any more."""
        self._leaving.set()
        self._ending.set()
        self.join()

    def run(self) -> None:
        try:
            while not self._ending.wait(PAUSE):
                self._change()
        except BaseException as error:
            self.failure = error

    def _change(self) -> None:
        uid: int | None = None
        flags = frozenset(self._random.sample(FLAGS, self._random.randrange(len(FLAGS))))
        for tries in range(1, 400):
            try:
                client = self._connected()
                uid = uid or self._chosen(client)
                if uid is None:
                    return
                status, words = client.uid("STORE", str(uid), "FLAGS.SILENT", f"({' '.join(sorted(flags))})")
                if status != "OK":
                    raise OSError(str(words))
            except (OSError, EOFError, imaplib.IMAP4.error) as error:
                self.breaks += 1
                print(f"changing: {type(error).__name__}: {error}"[:160])
                self._drop()
                if self._leaving.wait(PAUSE):
                    return
                continue
            self.truth[uid] = flags
            self.changes += 1
            self.most_tries = max(self.most_tries, tries)
            return
        raise AssertionError("a change of flags was not acknowledged in 400 tries")

    def _connected(self) -> imaplib.IMAP4:
        if self._client is None:
            self._turn += 1
            self._client = self._cluster.imap(self._account, self._turn)
            self._client.select("INBOX")
        return self._client

    def _chosen(self, client: imaplib.IMAP4) -> int | None:
        status, found = client.uid("SEARCH", "ALL")
        if status != "OK":
            raise OSError(str(found))
        uids = [int(word) for word in found[0].split()]
        return self._random.choice(uids) if uids else None

    def _drop(self) -> None:
        if self._client is not None:
            with suppress(OSError):
                self._client.shutdown()
            self._client = None


class Watcher(threading.Thread):
    """Believes what it is told of one inbox: `flags` by UID."""

    def __init__(self, cluster: Reachable, account: tuple[str, str]) -> None:
        super().__init__(daemon=True)
        self.flags: dict[int, frozenset[str]] = {}
        self.breaks = 0
        self._cluster = cluster
        self._account = account
        self._ending = threading.Event()
        self._turn = 0
        self._validity = ""
        self._modseq = 0
        """Everything up to it was told: it moves only when a command has ended (RFC 7162 3.2)."""
        self._told = 0
        self._listed = 0
        """Messages up to this UID were asked for."""
        self._wire: socket.socket | None = None
        self._rest = b""
        self._number = 0
        self._grown = False

    def end(self) -> None:
        self._ending.set()
        self.join()

    leave = end

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                self._connect()
                while not self._ending.is_set():
                    self._look()
            except (OSError, EOFError) as error:
                self.breaks += 1
                print(f"watching: {type(error).__name__}: {error}"[:160])
                time.sleep(PAUSE)
            finally:
                if self._wire is not None:
                    self._wire.close()

    def _connect(self) -> None:
        self._turn += 1
        self._rest, self._told = b"", self._modseq
        self._wire = socket.create_connection(self._cluster.address("imap", self._turn), self._cluster.reply_seconds)
        self._line()
        self._ask(f"LOGIN {self._account[0]} {self._account[1]}")
        self._ask("ENABLE QRESYNC")
        known = f" (QRESYNC ({self._validity} {self._modseq}))" if self._modseq else ""
        self._ask(f"SELECT INBOX{known}")
        self._list_new()

    def _look(self) -> None:
        """One turn of IDLE, and a look at what came new meanwhile."""
        assert self._wire is not None
        self._send("IDLE")
        end = time.monotonic() + IDLE_SECONDS
        while not self._line().startswith(b"+"):
            pass
        while (left := end - time.monotonic()) > 0 and not self._grown:
            self._wire.settimeout(left)
            with suppress(TimeoutError):
                self._take(self._line())
        self._wire.settimeout(self._cluster.reply_seconds)
        self._wire.sendall(b"DONE\r\n")
        self._until_tagged()
        if self._grown:
            self._list_new()

    def _list_new(self) -> None:
        self._grown = False
        self._ask(f"UID FETCH {self._listed + 1}:* (FLAGS MODSEQ)")
        self._listed = max(self.flags, default=0)

    def _ask(self, command: str) -> None:
        self._send(command)
        self._until_tagged()

    def _send(self, command: str) -> None:
        assert self._wire is not None
        self._number += 1
        self._wire.sendall(f"w{self._number} {command}\r\n".encode())

    def _until_tagged(self) -> None:
        tag = f"w{self._number} ".encode()
        while not (line := self._line()).startswith(tag):
            self._take(line)
        if not line.startswith(tag + b"OK"):
            raise OSError(line)
        self._modseq = self._told

    def _line(self) -> bytes:
        assert self._wire is not None
        while b"\n" not in self._rest:
            more = self._wire.recv(65536)
            if not more:
                raise EOFError("closed")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        if line.startswith(b"* BYE"):
            raise EOFError(line)
        return line

    def _take(self, line: bytes) -> None:
        if (found := re.search(rb"UIDVALIDITY (\d+)", line)) is not None:
            self._validity = found[1].decode()
        if line.rstrip().endswith(b" EXISTS"):
            self._grown = True
        if (told := _FETCH.match(line)) is not None:
            self._learn(told[2])

    def _learn(self, items: bytes) -> None:
        uid, flags, modseq = _UID.search(items), _FLAGS.search(items), _MODSEQ.search(items)
        if uid is None or flags is None:
            return
        self.flags[int(uid[1])] = frozenset(flags[1].decode().split()) - {"\\Recent"}
        if modseq is not None:
            self._told = max(self._told, int(modseq[1]))


def shown(cluster: Reachable, account: tuple[str, str], node: int) -> dict[int, frozenset[str]]:
    """The flags of every message of the inbox, as a node shows them to somebody who comes new."""
    client = cluster.imap(account, node)
    try:
        client.select("INBOX", readonly=True)
        rows: list[Any] = client.uid("FETCH", "1:*", "(FLAGS)")[1]
        found = {}
        for row in rows:
            uid, flags = _UID.search(row or b""), _FLAGS.search(row or b"")
            if uid is not None and flags is not None:
                found[int(uid[1])] = frozenset(flags[1].decode().split()) - {"\\Recent"}
        return found
    finally:
        client.shutdown()
