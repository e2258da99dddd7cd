"""The tasks of the search index on the real PostgreSQL: claims, take-overs, failures, and what happens to messages
meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from posthorn_model.errors import AccountNotFound, InvalidContent, Unavailable
from posthorn_model.ids import AccountId, Epoch, MailboxId, MessageId
from posthorn_model.mail import NewMessage, Role
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.index import Indexer, IndexTasks
from posthorn_storage.index.port import Document, Texts
from posthorn_storage.index.worker import LAST_ATTEMPT, Done
from posthorn_storage.mail.search import Matches, SearchQuery, TextField
from posthorn_storage.migrations.revisions import revisions

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]
MakeMessage = Callable[..., NewMessage]
Check = Callable[[], Awaitable[None]]
FIRST, SECOND = Epoch(1), Epoch(2)


class Desk:
    """One account, the tasks of its database and a second connection to look at them."""

    def __init__(self, storage: Storage, account: AccountId, inbox: MailboxId, make: MakeMessage) -> None:
        self.storage, self.account, self.inbox, self._make = storage, account, inbox, make
        self.tasks = IndexTasks(storage.shards.home.database)
        self.index = storage.shards.home.index
        (self.indexer,) = storage.search.indexers().values()

    async def add(self, *texts: str, **more: object) -> list[MessageId]:
        new = [self._make(self.account, self.inbox, text=text, subject=text, **more) for text in texts]
        return [appended.message for appended in await self.storage.mail.append(new)]

    async def found(self, words: str) -> list[MessageId]:
        query = SearchQuery(Matches(TextField.TEXT, words))
        return (await self.storage.mail.search(self.account, query)).ids

    async def run(self, epoch: Epoch = FIRST) -> None:
        while (await self.indexer.step(epoch, 10)).claimed:
            pass

    async def sql(self, statement: str, *arguments: object) -> object:
        return await self.storage.shards.home.database.fetchval(statement, *arguments)

    async def hurry(self) -> None:
        """Make every task due."""
        await self.sql("UPDATE index_task SET due = now() - interval '1 second'")


@pytest.fixture
async def desk(storage: Storage, account: MakeAccount, new_message: MakeMessage) -> Desk:
    ann = (await account()).id
    boxes = {mailbox.role: mailbox.id for mailbox in await storage.mail.mailboxes(ann)}
    return Desk(storage, ann, boxes[Role.INBOX], new_message)


def document(claim: object, text: str) -> Document:
    return Document(claim, Texts("", "", "", "", "", text))  # type: ignore[arg-type]


async def test_a_message_is_a_task_from_the_start(desk: Desk, check_sums: Check) -> None:
    assert await desk.tasks.lag() == await desk.storage.search.lag()
    assert (await desk.tasks.lag()).waiting == 0
    await desk.add("one", "two", "three")
    lag = await desk.storage.search.lag()
    assert (lag.waiting, lag.failed) == (3, 0)
    assert lag.seconds > 0
    await check_sums()
    assert await desk.indexer.step(FIRST, 2) == Done(2, 2, 0)
    assert await desk.indexer.step(FIRST, 2) == Done(1, 1, 0)
    assert await desk.indexer.step(FIRST, 2) == Done()
    assert (await desk.tasks.lag()).waiting == 0
    await check_sums()
    with pytest.raises(AccountNotFound):
        await desk.storage.search.status(AccountId(10**15))


async def test_a_step_tells_whether_more_may_be_due(desk: Desk) -> None:
    await desk.add("one", "two", "three")
    assert (await desk.indexer.step(FIRST, 2)).more
    assert not (await desk.indexer.step(FIRST, 2)).more
    await desk.add("four", "five")
    await desk.tasks.claim(FIRST, 2)
    await desk.tasks.take_over(SECOND)
    again = [await desk.indexer.step(SECOND, 2) for _ in range(3)]
    assert [(done.claimed, done.more) for done in again] == [(1, True), (1, True), (0, False)]


async def test_workers_share_the_tasks(desk: Desk) -> None:
    """Those of one part never claim the same task, those of different parts never the same account."""
    await desk.add(*(f"text {n}" for n in range(20)))
    claims = await asyncio.gather(*(desk.tasks.claim(FIRST, 4) for _ in range(8)))
    taken = [claim.message for some in claims for claim in some]
    assert len(taken) == len(set(taken)) == 20
    await desk.tasks.put_back([claim for some in claims for claim in some], -1)
    part = desk.account % 2
    assert await desk.tasks.claim(FIRST, 50, part=1 - part, parts=2) == []
    assert len(await desk.tasks.claim(FIRST, 50, part=part, parts=2)) == 20


async def test_the_tasks_of_a_dead_worker_are_taken_over(desk: Desk) -> None:
    """And what the dead one does when it was only asleep changes nothing."""
    (message,) = await desk.add("sleeping beauty")
    (dead,) = await desk.tasks.claim(FIRST, 10)
    assert await desk.tasks.claim(SECOND, 10) == []
    await desk.tasks.take_over(SECOND)
    assert await desk.index.write([document(dead, "written too late")]) == 0
    (alive,) = await desk.tasks.claim_again(SECOND)
    assert (alive.message, alive.attempt) == (message, 2)
    await desk.index.remove([dead])
    await desk.tasks.fail(dead, "too late", again=None)
    await desk.tasks.put_back([dead], 0)
    assert await desk.index.write([document(dead, "written too late")]) == 0
    assert await desk.index.write([document(alive, "in time")]) == 1
    assert await desk.index.write([document(alive, "twice")]) == 0
    assert (await desk.found("late"), await desk.found("time")) == ([], [message])


async def test_a_worker_that_hangs_loses_its_claims(desk: Desk) -> None:
    """Within the same lease: the row's time is over, the next attempt is another one."""
    await desk.add("slow")
    (slow,) = await desk.tasks.claim(FIRST, 10)
    assert await desk.tasks.claim_again(FIRST) == []
    await desk.hurry()
    (quick,) = await desk.tasks.claim_again(FIRST)
    assert await desk.index.write([document(slow, "slow")]) == 0
    assert await desk.index.write([document(quick, "quick")]) == 1


async def test_poison_is_given_up_and_holds_up_nobody(desk: Desk, check_sums: Check) -> None:
    """A message that cannot be read: tried again alone and later, told, still found by its stored text."""
    poison, *others = await desk.add("poison pill", "good one", "good two")
    # No text of a message can do this: the row itself is damaged.
    await desk.sql("UPDATE message SET blob_key = ''::bytea, structure = '{}' WHERE id = $1", poison)

    class Refusing(Indexer):
        async def _document(self, claim, row):  # type: ignore[no-untyped-def]
            if claim.message == poison:
                raise ValueError("no sense in it")
            return await super()._document(claim, row)

    home = desk.storage.shards.home
    indexer = Refusing(home.database, desk.tasks, desk.index, home.blobs, None)
    assert await indexer.step(FIRST, 10) == Done(3, 2, 1)
    assert await desk.found("good") == others
    for _ in range(LAST_ATTEMPT - 1):
        assert await indexer.step(FIRST, 10) == Done(), "not before its time"
        await desk.hurry()
        assert await indexer.step(FIRST, 10) == Done(1, 0, 1)
    await desk.hurry()
    assert await indexer.step(FIRST, 10) == Done()
    lag = await desk.storage.search.lag()
    assert (lag.waiting, lag.failed, lag.seconds) == (0, 1, 0)
    assert await desk.storage.search.failures() == [(desk.account, poison, LAST_ATTEMPT, "ValueError: no sense in it")]
    assert await desk.found("pills") == [poison]
    assert await desk.storage.search.rebuild(desk.account) == 3
    await desk.run()
    assert (await desk.storage.search.lag()).failed == 0


async def test_what_ends_its_worker_is_given_up_too(desk: Desk) -> None:
    """Killed in each attempt, it never comes to tell: the attempts are counted when they begin."""
    poison, other = await desk.add("kills", "lives")
    claims = await desk.tasks.claim(FIRST, 10)
    epoch = FIRST
    for _ in range(LAST_ATTEMPT):
        epoch = Epoch(epoch + 1)
        await desk.tasks.take_over(epoch)
        while claim := await desk.tasks.claim_again(epoch):
            if claim[0].message == poison:
                break
            await desk.index.write([document(claim[0], "lives")])
    await desk.tasks.take_over(Epoch(epoch + 1))
    await desk.run(Epoch(epoch + 1))
    assert [message for _, message, _, _ in await desk.storage.search.failures()] == [poison]
    assert await desk.found("lives") == [other]
    assert claims


async def test_a_store_that_does_not_answer_costs_no_attempt(desk: Desk) -> None:
    await desk.add("patience")

    class Down(Indexer):
        async def _document(self, claim, row):  # type: ignore[no-untyped-def]
            raise Unavailable

    home = desk.storage.shards.home
    for _ in range(LAST_ATTEMPT + 2):
        with pytest.raises(Unavailable):
            await Down(home.database, desk.tasks, desk.index, home.blobs, None).step(FIRST, 10)
        await desk.hurry()
    assert await desk.indexer.step(FIRST, 10) == Done(1, 1, 0)


async def test_what_is_expunged_leaves_nothing(desk: Desk, check_sums: Check) -> None:
    waiting, indexed = await desk.add("waiting"), await desk.add("indexed")
    await desk.run()
    await desk.storage.search.rebuild(desk.account)
    await desk.storage.mail.destroy_messages(desk.account, [*waiting, *indexed])
    assert (await desk.tasks.lag()).waiting == 0
    assert await desk.sql("SELECT count(*) FROM message_index") == 0
    assert await desk.found("indexed") == []
    await check_sums()


@pytest.mark.parametrize("first", ["worker", "expunge"])
async def test_a_message_expunged_while_it_is_indexed_leaves_nothing(
    desk: Desk, postgres_dsn: str, check_sums: Check, first: str
) -> None:
    """Both transactions at once, one holding the task's row while the other wants it."""
    (message,) = await desk.add("gone")
    (claim,) = await desk.tasks.claim(FIRST, 10)
    other = await asyncpg.connect(postgres_dsn)
    holding = other.transaction()
    await holding.start()
    # The row is held as the one that comes first would hold it.
    await other.execute("SELECT FROM index_task WHERE message_id = $1 FOR UPDATE", message)
    if first == "worker":
        late = asyncio.create_task(desk.storage.mail.destroy_messages(desk.account, [message]))
        await _until_waiting(other)
        await other.execute("DELETE FROM index_task WHERE message_id = $1", message)
        await other.execute(
            "INSERT INTO message_index (account_id, message_id, version, language, words) "
            "VALUES ($1, $2, 1, 'simple', '')",
            desk.account,
            message,
        )
        await holding.commit()
        await late
    else:
        writing = asyncio.create_task(desk.index.write([document(claim, "gone")]))
        await _until_waiting(other)
        await other.execute("DELETE FROM index_task WHERE message_id = $1", message)
        await holding.commit()
        assert await writing == 0
        await desk.storage.mail.destroy_messages(desk.account, [message])
    await other.close()
    assert await desk.sql("SELECT count(*) FROM message_index") == 0
    await check_sums()


async def _until_waiting(connection: asyncpg.Connection) -> None:
    while not await connection.fetchval(  # noqa: ASYNC110 - the lock is of another session
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    ):
        await asyncio.sleep(0.01)


async def test_a_merge_of_threads_keeps_messages_found(desk: Desk, check_sums: Check) -> None:
    """Their ids change: the words of the old ones go, the new ones wait to be indexed and are found meanwhile."""
    one = await desk.storage.mail.append([desk._make(desk.account, desk.inbox, text="first thread", message_id="1@x")])
    two = await desk.storage.mail.append([desk._make(desk.account, desk.inbox, text="second thread", message_id="2@x")])
    await desk.run()
    await desk.storage.mail.append(
        [desk._make(desk.account, desk.inbox, text="third", message_id="3@x", references=("1@x", "2@x"))]
    )
    found = await desk.found("thread")
    assert len(found) == 2
    assert one[0].message in found
    assert two[0].message not in found
    await check_sums()
    await desk.run()
    assert await desk.found("thread") == found
    assert await desk.sql("SELECT count(*) FROM message_index") == 3
    await check_sums()


async def test_copies_and_removed_accounts(desk: Desk, check_sums: Check) -> None:
    await desk.add("copied")
    await desk.storage.mail.copy(desk.account, desk.inbox, [1], desk.inbox)
    assert len(await desk.found("copied")) == 2
    await desk.run()
    assert len(await desk.found("copied")) == 2
    await desk.add("waiting")
    await check_sums()
    await desk.storage.directory.delete_account("ann@example.org")
    for table in ("index_task", "message_index"):
        assert await desk.sql(f"SELECT count(*) FROM {table}") == 0


async def test_a_task_without_its_message_is_no_burden(desk: Desk) -> None:
    await desk.add("here")
    await desk.sql("INSERT INTO index_task (account_id, message_id) VALUES ($1, 99) RETURNING 1", desk.account)
    assert await desk.indexer.step(FIRST, 10) == Done(2, 1, 0)
    assert (await desk.tasks.lag()).waiting == 0


async def test_what_a_rebuild_meets_is_found_meanwhile(desk: Desk) -> None:
    (message,) = await desk.add("rebuilt")
    await desk.run()
    assert await desk.storage.search.rebuild(desk.account) == 1
    assert await desk.found("rebuilt") == [message]
    (claim,) = await desk.tasks.claim(FIRST, 10)
    await desk.storage.search.rebuild(desk.account)
    assert await desk.index.write([document(claim, "older")]) == 0, "what was asked for anew is done anew"
    await desk.run()
    assert await desk.found("rebuilt") == [message]


async def test_attachments_are_read_within_bounds(desk: Desk, storage: Storage) -> None:
    """Through the real scanner; one that cannot be read is told of, the others are found."""
    from posthorn_mail_format.summary import summarize

    parts = [
        ("application/pdf", "plan.pdf", "UERG", "quarterly figures"),
        ("application/msword", "broken.doc", "QkFE", None),
        ("image/png", "holiday-beach.png", "iVBOR", "never asked"),
        ("application/octet-stream", "", "AAAA", "nameless secret"),
    ]
    body = "\r\n".join(
        f'--b\r\nContent-Type: {kind}; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n{data}'
        for kind, name, data, _ in parts
    )
    raw = (
        "From: a@example.net\r\nSubject: see below\r\nContent-Language: de-CH, en\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nH\u00e4user\r\n{body}\r\n--b--\r\n'
    ).encode()
    asked: list[tuple[str, str | None, bytes]] = []

    async def extract(kind: str, name: str | None, data: bytes) -> str:
        asked.append((kind, name, data))
        text = next(text for other, _, _, text in parts if other == kind)
        if text is None:
            raise InvalidContent("it is broken")
        return text

    blob = await storage.blobs.prepare(raw)
    new = NewMessage(desk.account, [desk.inbox], summarize(raw), blob)
    message = (await storage.mail.append([new]))[0].message
    (indexer,) = storage.search.indexers(extract, lambda kind, _: not kind.startswith("image/")).values()
    assert await indexer.step(FIRST, 10) == Done(1, 1, 0)
    assert asked == [
        ("application/pdf", "plan.pdf", b"PDF"),
        ("application/msword", "broken.doc", b"BAD"),
        ("application/octet-stream", None, b"\0\0\0"),
    ]
    for words in ("figures", '"quarterly figures"', "broken.doc", "beach", "secret", "haus"):
        assert await desk.found(words) == [message], words
    assert await desk.found("never") == []
    body_words = SearchQuery(Matches(TextField.BODY, "quarterly"))
    assert (await storage.mail.search(desk.account, body_words)).ids == [message]
    assert await desk.sql("SELECT language || ': ' || problem FROM message_index") == (
        "german: application/msword: it is broken"
    )


async def test_messages_of_before_the_index_become_tasks(
    desk: Desk, account: MakeAccount, new_message: MakeMessage, check_sums: Check
) -> None:
    """By the migration, some accounts at a time, going on where it was cut short; what is indexed is left alone."""
    others = [(await account(f"u{number}@example.org")).id for number in range(60)]
    await desk.storage.mail.append([new_message(other, text="old") for other in others])
    await desk.add("indexed")
    await desk.run()
    await desk.add("older")
    await desk.sql("DELETE FROM message_index WHERE account_id = ANY ($1::bigint[])", others)
    await desk.sql("DELETE FROM index_task")
    await desk.sql("DELETE FROM cluster_setting WHERE name = 'index_backlog'")
    (backlog,) = [step for step in revisions() if "become its tasks" in step.about]
    assert backlog.online is not None
    work = Batches(desk)
    with pytest.raises(Unavailable):
        await backlog.online(work)
    assert (await desk.tasks.lag()).waiting in range(1, 60)
    await backlog.online(work)
    assert (await desk.tasks.lag()).waiting == 61
    await check_sums()


class Batches:
    """The steps of an online revision; the second is cut short once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._steps = 0

    async def batches(self, statement: str) -> int:
        total = 0
        while count := await self._desk.storage.shards.home.database.execute(statement):
            total += count
            self._steps += 1
            if self._steps == 1:
                raise Unavailable
        return total
