"""One client of the random workload: does things at random, and checks each answer against its mirror and the truth."""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tests.workload.mirror import Flags, Mirror, numbers_of
from tests.workload.truth import Truth
from tests.workload.wire import Lost, Reply, Wire

MAILBOXES = (b"INBOX", b"Archive", b"Drafts")
SHARED = ("\\Seen", "\\Flagged", "\\Answered", "$forwarded")
"""Flags that everybody changes."""
FULL = 120
"""Messages of a mailbox from which on more are expunged than stored."""
Where = Callable[[], tuple[str, int]]


@dataclass(slots=True)
class Known:
    """What a client has kept of a mailbox it has left."""

    uidvalidity: int
    modseq: int
    mirror: Mirror


@dataclass(slots=True)
class Client:
    """`work` until told to stop; a lost connection is made again, elsewhere."""

    name: str
    login: tuple[str, str]
    where: Where
    truth: Truth
    draw: random.Random
    wire: Wire | None = None
    box: bytes = b""
    """What is selected, or about to be."""
    opened: bool = False
    """It is selected, and the mirror is whole."""
    mirror: Mirror = field(default_factory=Mirror)
    modseq: int = 0
    """HIGHESTMODSEQ at the selection: from there on is asked for what has changed."""
    qresync: bool = False
    kept: dict[bytes, Known] = field(default_factory=dict)
    words: int = 0
    codes: dict[bytes, int] = field(default_factory=dict)
    found: set[int] = field(default_factory=set)
    """By the SEARCH at hand."""
    total: int | None = None
    """EXISTS of a resynchronization: those gone since (VANISHED) are still in the mirror."""

    async def step(self) -> None:
        """Do one thing. Raises AssertionError for what cannot be."""
        try:
            if self.wire is None:
                await self.connect()
                await self._select()
            await self.draw.choices(*self._choices())[0]()
        except Lost:
            self._hang_up()
            self.truth.counts["connections lost"] += 1

    def _choices(self) -> tuple[Sequence[Callable[[], Awaitable[None]]], Sequence[int]]:
        full = len(self.mirror.uids) > FULL
        chances: dict[Callable[[], Awaitable[None]], int] = {
            self._append: 4 if full else 16,
            self._store: 24,
            self._store_unless_changed: 5,
            self._expunge: 20 if full else 7,
            self._copy: 2 if full else 5,
            self._move: 4,
            self._look: 14,
            self._search: 8,
            self._noop: 8,
            self._idle: 4,
            self._select: 5,
            self._reconnect: 4,
        }
        return list(chances), list(chances.values())

    # Connections and mailboxes

    async def connect(self) -> Wire:
        """Logged in, with CONDSTORE or QRESYNC. Raises Lost."""
        self.wire = wire = await Wire.open(self.where(), self.login)
        wire.heard = self._heard
        self.qresync = self.draw.random() < 0.6
        assert (await self._ask(b"ENABLE " + (b"QRESYNC" if self.qresync else b"CONDSTORE"))).ok
        return wire

    def _hang_up(self) -> None:
        self._keep()
        self.total = None
        if self.wire is not None:
            self.wire.close()
        self.wire, self.opened = None, False

    async def _reconnect(self) -> None:
        """Sometimes with a word, sometimes without; then from wherever the balancer sends it."""
        if self.draw.random() < 0.5:
            await self._ask(b"LOGOUT")
        self._hang_up()

    def _keep(self) -> None:
        """Of a mailbox that is left, for the next time."""
        if self.opened and 0 not in self.mirror.uids:
            self.kept[self.box] = Known(self.codes[b"UIDVALIDITY"], self.modseq, self.mirror)

    async def _select(self) -> None:
        box = self.draw.choice(MAILBOXES)
        gone, here, highest = set(self.truth.gone), set(self.truth.here[box]), self.truth.highest[box]
        resynchronized = await self.open(box)
        self.truth.opened(box, self.codes)
        assert self.modseq >= highest, f"HIGHESTMODSEQ {self.modseq} after {highest}"
        assert self.codes[b"UIDNEXT"] > max(here, default=0), f"UIDNEXT {self.codes[b'UIDNEXT']} after {max(here)}"
        self.truth.view(box, set(self.mirror.uids), gone, here)
        self.truth.counts["resynchronized" if resynchronized else "selected"] += 1

    async def open(self, box: bytes) -> bool:
        """Select, and learn what is there; whether that was by resynchronization."""
        self._keep()
        known = self.kept.pop(box, None) if self.qresync else None
        self.mirror, self.box, self.opened, self.codes = Mirror(), box, False, {}
        command = b"SELECT " + box
        if known is not None:
            # What was known has its old places until VANISHED (EARLIER) has been told.
            self.mirror, self.total = known.mirror, 0
            command += b" (QRESYNC (%d %d))" % (known.uidvalidity, known.modseq)
        reply = await self._ask(command)
        assert reply.ok, reply
        self._fill()
        self.modseq = self.codes[b"HIGHESTMODSEQ"]
        await self._learn()
        self.opened = True
        return known is not None

    async def _learn(self) -> None:
        """Ask for what has arrived and is not known."""
        for _ in range(20):
            if 0 not in self.mirror.uids:
                return
            first = self.mirror.uids.index(0) + 1
            await self._ask(b"FETCH %d:* (UID FLAGS MODSEQ)" % first)
            if 0 in self.mirror.uids:
                # What is gone already is not answered; now it is told.
                await self._ask(b"NOOP")
        raise AssertionError("messages that exist and cannot be fetched")

    # Answers

    async def _ask(self, command: bytes, literal: bytes | None = None) -> Reply:
        assert self.wire is not None
        self.truth.counts["commands"] += 1
        reply = await self.wire.ask(command, literal)
        assert reply.condition in (b"OK", b"NO"), (command, reply)
        return reply

    def _heard(self, verb: bytes, line: bytes) -> None:
        if line.startswith(b"OK ["):
            name, _, rest = line[4:].partition(b" ")
            if rest[:1].isdigit():
                self.codes[name] = int(rest.partition(b"]")[0])
            return
        if self.total is not None and line.endswith(b" EXISTS"):
            self.total = int(line.split()[0])
            return
        if b" FETCH " in line[:20] or (line.startswith(b"VANISHED ") and not line.startswith(b"VANISHED (EARLIER)")):
            self._fill()  # of those that exist one has changed, or is gone just now
        if line.startswith(b"SEARCH"):
            self.found = {int(each) for each in line.split()[1:]}
            return
        before = set(self.mirror.uids) if b"VANISHED" in line or b"EXPUNGE" in line else set()
        sight = self.mirror.take(verb, line)
        for uid in before - set(self.mirror.uids) - {0}:
            self.truth.expunged(self.box, uid)
        if sight is not None and sight.uid and sight.modseq is not None and sight.flags is not None:
            self.truth.flags(self.box, sight.uid, sight.modseq, sight.flags)
        if sight is not None and sight.header is not None:
            word = sight.header.partition(b"Subject: ")[2].split()[0].decode()
            self.truth.stored(self.box, sight.uid, word)
            self.truth.counts["contents seen"] += 1

    def _fill(self) -> None:
        """Nothing vanishes from an earlier time any more: what is left are the first of `total`."""
        if self.total is not None:
            more = self.total - len(self.mirror.uids)
            assert more >= 0, f"{len(self.mirror.uids)} messages are left where {self.total} exist"
            self.mirror.uids += [0] * more
            self.total = None

    # What it does

    def _some(self, count: int = 1) -> list[int]:
        uids = [uid for uid in self.mirror.uids if uid]
        return sorted(self.draw.sample(uids, min(count, len(uids))))

    async def _append(self) -> None:
        self.words += 1
        word = f"{self.name}w{self.words}"
        body = b"x" * self.draw.choice((10, 1000, 30_000))
        literal = b"From: a@example.net\r\nSubject: %b\r\n\r\n%b\r\n" % (word.encode(), body)
        self.truth.unanswered.add(word)
        box = self.draw.choice(MAILBOXES)
        reply = await self._ask(b"APPEND %b (\\Seen)" % box, literal)
        assert reply.ok, reply
        place = reply.code(b"APPENDUID")
        assert place is not None
        self.truth.stored(box, int(place.split()[1]), word)
        self.truth.unanswered.discard(word)

    async def _store(self) -> None:
        """Its own keyword on or off, or a flag of everybody's."""
        for uid in self._some():
            sign = self.draw.choice((b"+", b"-"))
            if self.draw.random() < 0.5:
                flag = self.draw.choice(SHARED)
                await self._ask(b"UID STORE %d %bFLAGS (%b)" % (uid, sign, flag.encode()))
                continue
            own = self.truth.begins(self.box, uid, self.name)
            reply = await self._ask(b"UID STORE %d %bFLAGS (%b)" % (uid, sign, self.name.encode()))
            flags = self.mirror.flags.get(uid)
            if reply.ok and flags is not None and not self._may_be_gone(uid):
                assert (self.name in flags) == (sign == b"+"), f"UID {uid} after {sign!r}: {sorted(flags)}"
                own.state, own.since = sign == b"+", self.mirror.modseqs[uid]

    async def _store_unless_changed(self) -> None:
        """UNCHANGEDSINCE (RFC 7162 3.1.3): done, or there is a newer mod-sequence."""
        for uid in self._some():
            known = self.mirror.modseqs.get(uid)
            if known is None:
                continue
            own = self.truth.begins(self.box, uid, self.name)
            command = b"UID STORE %d (UNCHANGEDSINCE %d) +FLAGS (%b)" % (uid, known, self.name.encode())
            reply = await self._ask(command)
            flags, now = self.mirror.flags.get(uid), self.mirror.modseqs.get(uid, 0)
            refused = reply.code(b"MODIFIED")
            if refused is not None:
                assert numbers_of(refused) == [uid], reply
                await self._ask(b"UID FETCH %d (FLAGS MODSEQ)" % uid)
                newer = self.mirror.modseqs.get(uid, known + 1) > known
                assert newer or self._may_be_gone(uid), f"MODIFIED, but UID {uid} is still at {known}"
                self.truth.counts["refused by UNCHANGEDSINCE"] += 1
            elif reply.ok and flags is not None and not self._may_be_gone(uid):
                assert self.name in flags, f"UID {uid} after UNCHANGEDSINCE {known}: {sorted(flags)} at {now}"
                own.state, own.since = True, now

    def _may_be_gone(self, uid: int) -> bool:
        return self.truth.may_be_gone((self.box, uid))

    async def _expunge(self) -> None:
        uids = self._some(self.draw.randint(1, 3))
        if not uids:
            return
        chosen = b",".join(b"%d" % uid for uid in uids)
        keys = [(self.box, uid) for uid in uids]
        self.truth.doubtful.update(keys)
        await self._ask(b"UID STORE %b +FLAGS (\\Deleted)" % chosen)
        reply = await self._ask(b"UID EXPUNGE %b" % chosen)
        assert reply.ok, reply
        self.truth.answered(keys, self.mirror.uids)

    async def _copy(self) -> None:
        await self._transfer(b"COPY")

    async def _move(self) -> None:
        await self._transfer(b"MOVE")

    async def _transfer(self, verb: bytes) -> None:
        uids = self._some(self.draw.randint(1, 3))
        if not uids:
            return
        keys = [(self.box, uid) for uid in uids]
        words = {self.truth.content[key] for key in keys if key in self.truth.content}
        self.truth.unanswered |= words
        if verb == b"MOVE":
            self.truth.doubtful.update(keys)
        box = self.draw.choice([each for each in MAILBOXES if each != self.box])
        moved: list[bytes] = []
        assert self.wire is not None
        heard = self.wire.heard

        def told(command: bytes, line: bytes) -> None:
            """MOVE says COPYUID before its EXPUNGEs (RFC 6851 4.3)."""
            if b"[COPYUID " in line:
                moved.append(line.partition(b"[COPYUID ")[2].partition(b"]")[0])
            else:
                heard(command, line)

        self.wire.heard = told
        try:
            reply = await self._ask(b"UID %b %b %b" % (verb, b",".join(b"%d" % uid for uid in uids), box))
        finally:
            self.wire.heard = heard
        place = reply.code(b"COPYUID") or (moved[0] if moved else None)
        if place is None:
            assert all(map(self.truth.may_be_gone, keys)), reply
            return
        _, source, made = place.split()
        for old, new in zip(numbers_of(source), numbers_of(made), strict=True):
            word = self.truth.content.get((self.box, old))
            if word is not None:
                self.truth.stored(box, new, word)
        if verb == b"MOVE":
            moved_keys = [(self.box, uid) for uid in numbers_of(source)]
            self.truth.answered(moved_keys, self.mirror.uids)
            self.truth.doubtful.subtract(set(keys) - set(moved_keys))
        self.truth.counts[verb.decode().lower()] += 1

    async def _look(self) -> None:
        """All messages by number, some with their header: each is who the mirror says it is, or gone meanwhile."""
        await self._learn()
        if not self.mirror.uids:
            return
        before = list(self.mirror.uids)
        number = self.draw.randrange(len(before)) + 1
        await self._ask(b"FETCH %d (UID BODY.PEEK[HEADER])" % number)
        await self._ask(b"FETCH 1:%d (UID FLAGS MODSEQ)" % len(before))
        assert self.mirror.uids[: len(before)] == before, "the numbering changed during FETCH"
        self.truth.counts["mirrors checked"] += 1

    async def _search(self) -> None:
        """What has its keyword: of that only its owner's commands decide."""
        self.found = set()
        reply = await self._ask(b"UID SEARCH KEYWORD " + self.name.encode())
        assert reply.ok, reply
        for uid in self.mirror.uids:
            own = self.truth.own[self.box, uid].get(self.name)
            if own is not None and own.state is not None and not self._may_be_gone(uid):
                assert (uid in self.found) == own.state, f"UID {uid}, {own}, found {sorted(self.found)}"
                self.truth.counts["searches checked"] += 1

    async def _noop(self) -> None:
        await self._ask(b"NOOP")
        await self._learn()

    async def _idle(self) -> None:
        assert self.wire is not None
        reply = await self.wire.idle(self.draw.uniform(0.05, 1.5))
        assert reply.ok, reply
        self.truth.counts["idled"] += 1
        await self._learn()

    async def settled(self) -> tuple[list[int], dict[int, Flags], dict[int, int]]:
        """Numbering, flags and mod-sequences as it believes them, once it has heard all there is to hear."""
        await self._noop()
        return self.mirror.uids, dict(self.mirror.flags), dict(self.mirror.modseqs)
