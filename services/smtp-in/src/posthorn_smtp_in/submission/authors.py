"""Who a submission says it is from: each author must be an address that the login may use (RFC 6409 6.1)."""

from collections.abc import Sequence

from posthorn_mail_format.addresses import flatten, parse_addresses
from posthorn_mail_format.headers import find_all, iterate
from posthorn_model.ids import AccountId
from posthorn_smtp_in.judge import Verdict
from posthorn_smtp_in.protocol.replies import reply
from posthorn_storage import Storage

MAX_AUTHORS = 100
TOO_MANY_AUTHORS = Verdict("authors", reply(550, "5.7.1", f"More than {MAX_AUTHORS} authors in the From field"))


def authors_of(head: bytes) -> Sequence[str]:
    """The addresses of all From fields of a header section, each once, as local@domain."""
    fields = list(iterate(head, 0, len(head)))
    found = (address for value in find_all(fields, "from") for address in flatten(parse_addresses(value)))
    return list(dict.fromkeys(address.email for address in found if address.email))


async def judge_authors(storage: Storage, account: AccountId, sender: str, head: bytes) -> Verdict | None:
    """The refusal, or None. `sender` is the envelope's, which has been checked already. Raises Unavailable.

    A message without a From field names nobody, and is not refused here.
    """
    authors = authors_of(head)
    if len(authors) > MAX_AUTHORS:
        return TOO_MANY_AUTHORS
    for address in authors:
        if address != sender and not await storage.directory.may_send_as(account, address):
            return Verdict("author", reply(550, "5.7.1", f"{address[:200]} does not belong to the login"))
    return None
