"""The one state table of the server's dialogue: which verb may come in which phase, and where success leads."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, auto

from posthorn_smtp_in.protocol.commands import Verb
from posthorn_smtp_in.protocol.replies import HELLO_FIRST, NESTED_MAIL, NO_RECIPIENTS, NO_SENDER, OUT_OF_SEQUENCE, Reply


class Phase(IntEnum):
    """Where the dialogue stands."""

    FRESH = auto()
    """Connected, or back to the start after STARTTLS."""
    READY = auto()
    SENDER = auto()
    """MAIL was accepted."""
    RECIPIENTS = auto()
    """At least one RCPT was accepted."""
    CONTENT = auto()
    """354 was sent: octets up to CRLF.CRLF."""
    CHUNKS = auto()
    """Between two BDAT chunks of one message."""
    CHALLENGE = auto()
    """334 was sent: the next line answers it."""
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class Rule:
    """A verb is allowed in `phases`; accepted, it leads to `then` (None: stays). Refused, nothing moves."""

    phases: frozenset[Phase]
    then: Phase | None = None


_GREETED = frozenset({Phase.READY, Phase.SENDER, Phase.RECIPIENTS, Phase.CHUNKS})
_ANY = _GREETED | {Phase.FRESH}

TABLE: Mapping[Verb, Rule] = {
    Verb.EHLO: Rule(_ANY, Phase.READY),  # also a reset (RFC 5321 4.1.4)
    Verb.HELO: Rule(_ANY, Phase.READY),
    Verb.LHLO: Rule(_ANY, Phase.READY),
    Verb.MAIL: Rule(frozenset({Phase.READY}), Phase.SENDER),
    Verb.RCPT: Rule(frozenset({Phase.SENDER, Phase.RECIPIENTS}), Phase.RECIPIENTS),
    Verb.DATA: Rule(frozenset({Phase.RECIPIENTS}), Phase.CONTENT),
    Verb.BDAT: Rule(frozenset({Phase.RECIPIENTS, Phase.CHUNKS}), Phase.CHUNKS),
    Verb.RSET: Rule(_ANY, Phase.READY),
    Verb.NOOP: Rule(_ANY),
    Verb.VRFY: Rule(_ANY),
    Verb.EXPN: Rule(_ANY),
    Verb.HELP: Rule(_ANY),
    Verb.QUIT: Rule(_ANY, Phase.ENDED),
    Verb.STARTTLS: Rule(frozenset({Phase.READY}), Phase.FRESH),  # RFC 3207 4.2: all is forgotten
    Verb.AUTH: Rule(frozenset({Phase.READY})),  # RFC 4954 4: not during a transaction
}


def out_of_sequence(verb: Verb, phase: Phase) -> Reply | None:
    """The 503 for a verb that may not come now, None when it may."""
    if phase in TABLE[verb].phases:
        return None
    if phase is Phase.FRESH:
        return HELLO_FIRST
    match verb:
        case Verb.MAIL:
            return NESTED_MAIL
        case Verb.RCPT:
            return NO_SENDER if phase is Phase.READY else OUT_OF_SEQUENCE
        case Verb.DATA | Verb.BDAT:
            return NO_SENDER if phase is Phase.READY else NO_RECIPIENTS
        case _:
            return OUT_OF_SEQUENCE


def next_phase(verb: Verb, phase: Phase, answer: Reply) -> Phase:
    """Where the dialogue stands once `answer` to `verb` is sent."""
    if answer.code == 421:
        return Phase.ENDED
    if verb is Verb.AUTH and answer.code == 334:
        return Phase.CHALLENGE
    if verb is Verb.RSET and phase is Phase.FRESH:
        return phase
    if verb is Verb.BDAT and not answer.positive:
        return Phase.READY  # RFC 3030 2: the transaction has failed
    then = TABLE[verb].then
    return then if answer.positive and then is not None else phase
