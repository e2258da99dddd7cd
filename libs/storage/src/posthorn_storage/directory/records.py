"""Accounts as the directory has them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from posthorn_model.ids import AccountId
from posthorn_storage.database import Row


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """An account as the directory has it; `quota` in bytes, None without limit."""

    id: AccountId
    address: str
    display_name: str
    kind: Literal["user", "group"]
    quota: int | None
    created_at: datetime
    aliases: tuple[str, ...]
    region: str = ""
    """Where it must live; "" is anywhere."""


def record_of(row: Row) -> AccountRecord:
    """From a row of the statements that begin with all columns of an account."""
    return AccountRecord(
        id=AccountId(row["id"]),
        address=row["address"],
        display_name=row["display_name"],
        kind=row["kind"],
        quota=row["quota"],
        created_at=row["created_at"],
        aliases=tuple(row["aliases"]),
        region=row["region"],
    )
