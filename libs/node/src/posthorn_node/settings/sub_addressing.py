"""Settings of [sub-addressing]: what an address may have behind a user's name (RFC 5233)."""

from typing import Annotated

from pydantic import AfterValidator

from posthorn_node.settings.values import Section, refused

MAX_DELIMITERS = 4
_POSSIBLE = frozenset("!#$%&'*+-/=^_`{|}~.")


def _delimiters(text: str) -> str:
    if len(text) > MAX_DELIMITERS or not _POSSIBLE.issuperset(text):
        raise refused(f'write the characters that part user and detail, such as "+" (at most {MAX_DELIMITERS})')
    return text


class SubAddressingSettings(Section):
    """[sub-addressing]; the same on every node."""

    delimiters: Annotated[str, AfterValidator(_delimiters)] = "+"
    """Each of these characters parts "ann+lists" into user and detail; "": addresses have no detail."""
    mailboxes: bool = False
    """Mail for "ann+lists" goes into the mailbox "lists", when it is there."""
