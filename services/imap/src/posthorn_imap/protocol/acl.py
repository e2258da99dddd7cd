"""The commands on rights (RFC 4314 3) as values, and how rights are written."""

from dataclasses import dataclass
from typing import Literal

from posthorn_model.rights import LETTERS, Right, letters, rights


@dataclass(frozen=True, slots=True)
class Identifier:
    """Whose rights: the address of an account, or "anyone". `negative`: those taken from it (`-identifier`)."""

    name: str
    negative: bool = False


@dataclass(frozen=True, slots=True)
class SetAcl:
    """SETACL, and DELETEACL, which leaves no rights."""

    mailbox: str
    identifier: Identifier
    op: Literal["replace", "add", "remove"]
    rights: Right
    verb: str = "SETACL"


@dataclass(frozen=True, slots=True)
class GetAcl:
    mailbox: str


@dataclass(frozen=True, slots=True)
class ListRights:
    mailbox: str
    identifier: Identifier


@dataclass(frozen=True, slots=True)
class MyRights:
    mailbox: str


VIRTUAL = {letter: rights(letter) for letter in "cd"}
"""Letters of RFC 2086, each with what became of it."""
GRANTABLE = " ".join([*LETTERS[:-1], *VIRTUAL, LETTERS[-1]]).encode()
"""Each right can be given without the others (RFC 4314 3.7)."""


def write_rights(held: Right) -> bytes:
    """The letters, with those of RFC 2086 of which there is any part (RFC 4314 2.1.1)."""
    return (letters(held) + "".join(letter for letter, parts in VIRTUAL.items() if held & parts)).encode()
