"""Which mailboxes there are (RFC 5490 3.1, RFC 8579 5)."""

from posthorn_sieve.program import Call, Kind, Word
from posthorn_sieve.run import Run


def _name(name: str) -> str:
    return "INBOX" if name.upper() == "INBOX" else name


def _mailbox_exists(run: Run, call: Call) -> bool:
    return all(_name(name) in run.situation.mailboxes for name in run.expand_all(call.arguments[0]))


def _special_use_exists(run: Run, call: Call) -> bool:
    uses = run.situation.special_uses
    mailbox = None if call.arguments[0] is None else _name(run.expand(call.arguments[0]))
    attributes = [attribute.lower() for attribute in run.expand_all(call.arguments[1])]
    if mailbox is None:
        return all(attribute in uses for attribute in attributes)
    return all(uses.get(attribute) == mailbox for attribute in attributes)


COMMANDS: dict[str, Word] = {}
TESTS = {
    "mailboxexists": Word(_mailbox_exists, (Kind.TEXTS,), needs=("mailbox",)),
    "specialuse_exists": Word(_special_use_exists, (Kind.TEXT, Kind.TEXTS), needs=("special-use",), optional=1),
}
