"""The mailbox a session has selected: the shared feed, the client's own numbering, and what the client must hear."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from posthorn_imap.feed import Feed
from posthorn_imap.places import Named
from posthorn_imap.protocol.flag_names import write_flags
from posthorn_imap.protocol.responses import Answer, bye, untagged
from posthorn_imap.protocol.sets import NumberSet, write_set
from posthorn_imap.protocol.view import Exists, Expunged, View
from posthorn_model.errors import MissingRight
from posthorn_model.flags import NO_FLAGS, Flags, SystemFlag
from posthorn_model.ids import Modseq
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.contexts import Context

NONE_RECENT = 2**32
CHANGES = Right.SEEN | Right.WRITE | Right.INSERT | Right.DELETE_MESSAGES | Right.EXPUNGE
"""Rights of which one is enough to have a mailbox READ-WRITE."""


class Selection:
    """One selected mailbox of one session. `wake` is called when there is something to tell.

    `examined`: by EXAMINE, nothing may be changed. `recent_from`: the first UID that is \\Recent (RFC 3501 2.3.2);
    None where the session takes none. `rev2`: the client hears nothing of them at all (RFC 9051 appendix E).
    """

    def __init__(
        self, feed: Feed, named: Named, *, examined: bool, recent_from: int | None, rev2: bool, wake: Callable[[], None]
    ) -> None:
        self.feed = feed
        self.name = named.name
        self.held = named.held
        """What the session may do here, as it was looked at last."""
        self.shared = named.shared
        self.examined = examined
        self.rev2 = rev2
        self.view = View(feed.uids)
        self.takes_recent = recent_from is not None
        """No other session sees as \\Recent what this one has seen; a client of IMAP4rev2 knows nothing of it."""
        self.recent_from = NONE_RECENT if recent_from is None else recent_from
        """UIDs from here on are \\Recent in this session."""
        self.saved: list[int] = []
        """UIDs that "$" stands for (RFC 5182)."""
        self.uid_only = False
        """The client hears of no sequence numbers (RFC 9586)."""
        self.contexts: dict[bytes, Context] = {}
        """Searches that are kept up to date (RFC 5267), by their tags."""
        self.contexts_stale = False
        """Something happened since they were searched."""
        self.lost: Answer | None = None
        """Why the session cannot go on with it: it is deleted, or may be read no more."""
        self.first_new_uid = (feed.uids[-1] if feed.uids else 0) + 1
        self._wake = wake

    # Listener

    def happened(self, *, new: Sequence[int] = (), changed: Iterable[int] = (), gone: Iterable[int] = ()) -> None:
        self.view.happened(new=new, changed=changed, gone=gone)
        self.contexts_stale = True
        self._wake()

    def looked(self) -> None:
        if self.shared:
            self._wake()

    def vanished(self) -> None:
        self.lose(bye("The selected mailbox was deleted", b"NONEXISTENT"))

    def lose(self, farewell: Answer) -> None:
        """The session must end with these words."""
        self.lost = farewell
        self._wake()

    # What the session may do

    @property
    def read_only(self) -> bool:
        """Nothing can be changed here, by what was asked for or by the rights (RFC 4314 5.2)."""
        return self.examined or not self.held & CHANGES

    @property
    def marks_seen(self) -> bool:
        """Messages become \\Seen when they are read."""
        return not self.examined and Right.SEEN in self.held

    def permit(self, needed: Right) -> None:
        """Raises MissingRight unless the session has all these rights."""
        if needed not in self.held:
            raise MissingRight(account=self.feed.place.account, mailbox=self.feed.place.mailbox)

    # What a message is like now

    def flags(self, uid: int) -> Flags:
        entry = self.feed.entries.get(uid)
        return NO_FLAGS if entry is None else entry.flags

    def modseq(self, uid: int) -> Modseq:
        entry = self.feed.entries.get(uid)
        return Modseq(0) if entry is None else entry.modseq

    def seen(self, uid: int) -> bool:
        return bool(self.flags(uid).system & SystemFlag.SEEN)

    def deleted(self, uid: int) -> bool:
        return bool(self.flags(uid).system & SystemFlag.DELETED)

    def recent(self, uid: int) -> bool:
        return uid >= self.recent_from

    @property
    def recents(self) -> int:
        """How many of the messages the client numbers are \\Recent."""
        uids = self.view.uids
        count = len(uids)
        while count and uids[count - 1] >= self.recent_from:
            count -= 1
        return len(uids) - count

    @property
    def gained(self) -> bool:
        """Messages arrived since it was selected."""
        return self.view.total > 0 and self.view.uids[-1] >= self.first_new_uid

    def chosen(self, numbers: NumberSet, *, uid: bool) -> list[tuple[int, int]]:
        """(sequence number, UID) of the messages named; raises SyntaxProblem for unused sequence numbers."""
        return self.view.chosen(numbers, uid=uid, saved=self.saved)

    # What the client hears

    def fetched(self, number: int, uid: int) -> bytes:
        """How a response about a message begins, up to its items."""
        return b"* %d UIDFETCH (" % uid if self.uid_only else b"* %d FETCH (" % number

    def fetch_flags(self, number: int, uid: int, *, uids: bool, modseqs: bool, flags: bool = True) -> bytes:
        """An untagged FETCH with the current flags, and UID and MODSEQ where asked for."""
        words = [b"UID %d" % uid] if uids and not self.uid_only else []
        if flags:
            words.append(b"FLAGS " + write_flags(self.flags(uid), recent=self.recent(uid)))
        if modseqs:
            words.append(b"MODSEQ (%d)" % self.modseq(uid))
        return b"%s%s)\r\n" % (self.fetched(number, uid), b" ".join(words))

    def news(self, *, expunges: bool, uids: bool, modseqs: bool, vanished: bool, flags: bool = True) -> bytes:
        """Everything the client has not heard (EXPUNGE only with `expunges`; as VANISHED, RFC 7162, if asked for)."""
        if not self.view.stale:
            return b""
        lines, gone = [], []
        for update in self.view.take_updates(expunges=expunges, flags=flags):
            match update:
                case Expunged(number, uid):
                    if vanished:
                        gone.append(uid)
                    else:
                        lines.append(b"* %d EXPUNGE\r\n" % number)
                case Exists(total):
                    lines.append(b"* %d EXISTS\r\n" % total)
                    if not self.rev2:
                        lines.append(b"* %d RECENT\r\n" % self.recents)
                case changed:
                    lines.append(self.fetch_flags(changed.number, changed.uid, uids=uids, modseqs=modseqs))
        if gone:
            lines.insert(0, untagged(b"VANISHED", write_set(reversed(gone))))
        return b"".join(lines)
