"""What one operation costs in databases of several sizes: it must stay flat. Reference: the smallest of them."""

from collections.abc import Awaitable, Callable
from itertools import cycle
from typing import Any

from bench.rows import bare
from bench.rows.storage import BATCH, BATCHED, Deliveries, timed
from bench.runner import Measure, Row
from bench.stock import Stock, new_messages
from posthorn_model.events import ChangeKind
from posthorn_model.flags import SystemFlag
from posthorn_model.ids import AccountId, MailboxId, Modseq
from posthorn_storage.mail.flags import FlagsOp

ROUNDS = 200
SETTLING = 10
Operation = Callable[[Stock, AccountId, MailboxId], Awaitable[Any]]


async def _deliver(stock: Stock, account: AccountId, _box: MailboxId) -> None:
    (new,) = await new_messages(stock.storage, [account], 1)
    await stock.storage.mail.deliver(new)


async def _deliver_bare(stock: Stock, account: AccountId, _box: MailboxId) -> None:
    """What PostgreSQL itself takes for it; in a database that does not fit into memory that is reading its pages."""
    new = await new_messages(stock.storage, [account], 1)
    prepared = bare.columns(new)
    async with stock.storage._database.connection() as connection:
        await bare.store(connection, new, prepared)


async def _flag(stock: Stock, account: AccountId, box: MailboxId) -> None:
    op: FlagsOp
    for op in ("add", "remove"):
        await stock.storage.mail.set_flags(account, box, [1], op=op, system=SystemFlag.FLAGGED)


async def _changes(stock: Stock, account: AccountId, _box: MailboxId) -> None:
    """No more than those with ten messages have left: as many everywhere."""
    await stock.storage.mail.changes(account, ChangeKind.EMAIL, Modseq(stock.shape.first_logged + 4), 5)


async def _mailboxes(stock: Stock, account: AccountId, _box: MailboxId) -> None:
    await stock.storage.mail.mailboxes(account)


async def _uids(stock: Stock, account: AccountId, box: MailboxId) -> None:
    await stock.storage.mail.uids(account, box)


OPERATIONS: tuple[tuple[str, Operation], ...] = (
    ("one delivery", _deliver),
    ("one delivery by bare asyncpg", _deliver_bare),
    ("two flag changes", _flag),
    ("changes since", _changes),
    ("mailbox list", _mailboxes),
    ("UID list", _uids),
)


def _cost(stock: Stock, operation: Operation, place: int) -> Measure:
    """Milliseconds of the operation at the median, each time on another account far from the last.

    Of a large stock each operation has accounts of its own: what one has read is not at hand for another.
    """
    stride = max(1, len(stock.accounts) // 997)
    accounts = cycle(stock.accounts[7 * place % stride :: stride])

    async def measure() -> float:
        taken = []
        for _ in range(ROUNDS):
            account = next(accounts)
            box = await stock.inbox(account)
            taken.append(await timed(lambda a=account, b=box: operation(stock, a, b)))  # type: ignore[misc]
        return sorted(taken)[ROUNDS // 2] * 1000

    return measure


async def settle(stock: Stock) -> None:
    """Deliver until the pages that deliveries touch have been written once since the stock's checkpoint.

    PostgreSQL logs such a page whole the first time: of many accounts these are many pages, of few they are few.
    """
    deliveries = Deliveries(stock, stock.accounts)
    for _ in range(SETTLING):
        await deliveries.batched()


def rows(base: Stock, other: Stock, name: str, base_name: str) -> list[Row]:
    """Each operation in `other`, beside the same in `base`; and batches of deliveries, ours and by bare asyncpg."""
    found = [
        Row(f"{shown}, {name}", "ms", False, _cost(other, operation, n), _cost(base, operation, n), base_name, 3)
        for n, (shown, operation) in enumerate(OPERATIONS)
    ]
    ours, small = Deliveries(other, other.accounts), Deliveries(base, base.accounts)
    bare_ours, bare_small = ours.bare(BATCH, BATCHED), small.bare(BATCH, BATCHED)
    said = "what PostgreSQL itself takes for more and larger indexes"
    return [
        *found,
        Row(f"100 for each commit, {name}", "/s", True, ours.batched, small.batched, base_name, 5),
        Row(f"the same by bare asyncpg, {name}", "/s", True, bare_ours, bare_small, base_name, 5, said),
        Row(f"100 for each commit, {name}", "/s", True, ours.batched, bare_ours, "bare asyncpg", 5),
    ]
