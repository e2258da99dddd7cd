"""Which literals a client may send: judged before their first octet, by their size and by what all clients hold."""

from posthorn_imap.memory import Budget
from posthorn_imap.protocol.framer import Announced
from posthorn_imap.protocol.grammar import verb_of
from posthorn_imap.protocol.responses import Answer, bad, no
from posthorn_imap.settings import ImapSettings
from posthorn_model.errors import Overloaded

EARLY_LITERAL = 8192
"""Octets of literals in one command before login."""
STORING = frozenset({b"APPEND", b"REPLACE", b"UID REPLACE"})
"""The commands whose literals are messages."""


class Literals:
    """What one session holds of the memory for messages that clients append."""

    def __init__(self, settings: ImapSettings, memory: Budget) -> None:
        self._settings = settings
        self._memory = memory
        self._held = 0

    def refusal(self, announced: Announced, *, logged_in: bool) -> Answer | None:
        """Why a literal is not taken; None: it is, and its memory is claimed until `give_back`."""
        settings = self._settings
        if not logged_in:
            small = announced.held + announced.size <= EARLY_LITERAL
            return None if small else bad("Literal too large before login", b"TOOBIG")
        if verb_of(announced.head) not in STORING:
            small = announced.held + announced.size <= settings.limits.literal
            return None if small else bad("Literal too large", b"TOOBIG")
        if announced.size > settings.append_limit:
            return no(f"Messages may have {settings.append_limit} octets", b"TOOBIG")
        if not self._memory.take(announced.size):
            return no("Too many messages are being appended, try again later", b"LIMIT")
        self._held += announced.size
        return None

    def claim(self, octets: int) -> None:
        """Claim memory for what the command puts together, too. Raises Overloaded."""
        if not self._memory.take(octets):
            raise Overloaded("too many messages are being appended, try again later")
        self._held += octets

    def give_back(self) -> None:
        """The command is over."""
        if self._held:
            self._memory.give(self._held)
            self._held = 0
