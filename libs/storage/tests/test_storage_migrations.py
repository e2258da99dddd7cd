"""Migrations: they only add, one process at a time, never in the way of traffic, and go on where they were cut."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from posthorn_model.errors import LeaseLost, Unavailable
from posthorn_model.ids import Epoch
from posthorn_storage import FsSettings, Storage, StorageSettings
from posthorn_storage.leases import Fence
from posthorn_storage.migrate import Progress, migrate, status
from posthorn_storage.migrations.compare import differences
from posthorn_storage.migrations.online import Online, OnlineWork
from posthorn_storage.migrations.revisions import Revision, revisions
from posthorn_storage.migrations.rules import problems
from posthorn_storage.version import FOLDER, is_migrated, known_revisions
from posthorn_testkit.databases import with_database
from posthorn_testkit.releases.replay import load, replay

RELEASES = sorted((Path(__file__).parent / "releases").glob("[0-9]*.jsonl"))
HEAD = revisions()[-1].number
MORE = f"{int(HEAD) + 1:04}"


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


def more(*statements: str, **marks: Any) -> Sequence[Revision]:
    """The revisions there are, and one more."""
    return [*revisions(), Revision(MORE, HEAD, "one more", statements, **marks)]


# The revisions there are


def test_the_names_of_the_files_are_the_revisions() -> None:
    assert known_revisions() == [script.revision for script in ScriptDirectory(str(FOLDER)).walk_revisions()]
    assert [step.number for step in revisions()] == sorted(known_revisions())
    assert [step.after for step in revisions()] == [None, *(step.number for step in revisions()[:-1])]


@pytest.mark.parametrize("step", revisions(), ids=lambda step: step.number)
def test_every_revision_only_adds(step: Revision) -> None:
    assert list(problems(step)) == []
    assert all(len(reason) > 20 for reason in step.excused.values()), "an excuse says why"
    last_release = RELEASES[0].stem
    assert step.contract is None or step.contract <= last_release, (
        "what the last release does not know to do without cannot be taken away yet"
    )


class ReadOnline:
    """Takes the steps of an online revision for granted, and holds them to their rules."""

    async def index(self, name: str, statement: str) -> None:
        assert re.search(rf'CREATE (UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS "?{name}\b', statement)

    async def batches(self, statement: str) -> int:
        assert re.search(r"\bLIMIT\b", statement)
        return 0

    async def step(self, statement: str) -> None:
        assert "VALIDATE CONSTRAINT" in statement or list(problems(Revision("", None, "", (statement,)))) == []


async def test_every_online_revision_is_bounded_and_repeatable() -> None:
    for step in revisions():
        if step.online is not None:
            await step.online(ReadOnline())
    with pytest.raises(AssertionError):
        await ReadOnline().batches("UPDATE message SET size = 1")
    with pytest.raises(AssertionError):
        await ReadOnline().index("i", "CREATE INDEX i ON message (size)")
    with pytest.raises(AssertionError):
        await ReadOnline().step("DROP TABLE message")


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("takes-away", "ALTER TABLE mailbox DROP COLUMN name"),
        ("takes-away", "DROP TABLE mailbox"),
        ("takes-away", "DROP INDEX ix_message_thread"),
        ("renames", "ALTER TABLE mailbox RENAME name TO title"),
        ("type", "ALTER TABLE mailbox ALTER COLUMN name TYPE varchar(9)"),
        ("not-null", "ALTER TABLE mailbox ALTER COLUMN role SET NOT NULL"),
        ("must-be-given", "ALTER TABLE mailbox ADD COLUMN x text NOT NULL"),
        ("rewrites", "ALTER TABLE mailbox ADD COLUMN x uuid DEFAULT gen_random_uuid()"),
        ("reads-all", "ALTER TABLE mailbox ADD CONSTRAINT c CHECK (name <> '')"),
        ("builds-index", "CREATE INDEX i ON message (size)"),
        ("builds-index", "ALTER TABLE message ADD CONSTRAINT u UNIQUE (size)"),
        ("fills-in", "UPDATE message SET size = 1"),
        ("fills-in", "INSERT INTO blob (key) SELECT blob_key FROM message"),
        ("holds-up", "LOCK TABLE message"),
    ],
)
def test_what_a_revision_may_not_do(rule: str, statement: str) -> None:
    found = list(problems(Revision("0009", None, "", (statement,))))
    assert len(found) == 1
    assert f"({rule})" in found[0]
    assert list(problems(Revision("0009", None, "", (statement,), excused={rule: "for a reason"}))) == []
    created = re.sub(r"\b(mailbox|message|blob)\b(?!_)", "fresh", statement)
    if not created.startswith(("DROP", "LOCK")):
        assert list(problems(Revision("0009", None, "", ("CREATE TABLE fresh (x int)", created)))) == []


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE mailbox ADD COLUMN x text",
        "ALTER TABLE mailbox ADD COLUMN x bigint DEFAULT 0 NOT NULL",
        "ALTER TABLE mailbox ADD COLUMN x timestamptz DEFAULT now() NOT NULL",
        "ALTER TABLE mailbox ADD CONSTRAINT c CHECK (name <> '') NOT VALID",
        "ALTER TABLE mailbox SET (fillfactor = 50)",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ UPDATE message SET size = 1 RETURNING 1 $$",
        "CREATE SEQUENCE s",
    ],
)
def test_what_a_revision_may_do(statement: str) -> None:
    assert list(problems(Revision("0009", None, "", (statement,)))) == []


# Running them


@pytest.mark.postgres
async def test_whether_a_database_is_migrated(postgres_dsn: str, bare_postgres_dsn: str) -> None:
    assert await is_migrated(postgres_dsn)
    assert not await is_migrated(bare_postgres_dsn)
    with pytest.raises(Unavailable):
        await is_migrated("postgresql://nobody:x@127.0.0.1:9/none")


@pytest.mark.postgres
async def test_the_database_of_the_last_release_is_migrated_with_all_it_holds(
    bare_postgres_dsn: str, tmp_path: Path
) -> None:
    """From its schema, full of its data, step by step: no table is written anew, and all rules of the checker hold."""
    session = load(RELEASES[0])
    before_removal = [call for call in session.calls if call["step"] not in ("purging", "removing")]
    await migrate(bare_postgres_dsn, to=session.schema)
    assert await replay(bare_postgres_dsn, type(session)(session.schema, session.statements, before_removal)) == []
    async with connected(bare_postgres_dsn) as connection:
        query = (
            "SELECT relname, relfilenode FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
        for step in revisions():
            files = dict(await connection.fetch(query))
            await migrate(bare_postgres_dsn, to=step.number)
            after = dict(await connection.fetch(query))
            assert {name: after.get(name) for name in files} == files, f"{step.number} writes a table anew"
    assert await differences(bare_postgres_dsn) == []
    storage = await Storage.open(StorageSettings(dsn=bare_postgres_dsn, blobs=FsSettings(tmp_path)))
    try:
        found = [finding async for look in storage.check.accounts() for finding in look.findings]
        assert found == []
    finally:
        await storage.close()


@pytest.mark.postgres
async def test_one_works_and_the_others_wait(bare_postgres_dsn: str) -> None:
    told: list[list[Progress]] = [[] for _ in range(4)]
    await asyncio.gather(*(migrate(bare_postgres_dsn, tell=one.append) for one in told))
    ran = [progress.revision for one in told for progress in one if progress.state == "running"]
    assert sorted(ran) == sorted(known_revisions())
    found = await status(bare_postgres_dsn)
    assert (found.standing.current, found.pending, found.holder, found.standing.refusal) == (HEAD, [], None, None)


@pytest.mark.postgres
async def test_they_run_through_a_pooler_that_lends_servers_by_the_transaction(
    pooler: str, bare_postgres_dsn: str
) -> None:
    dsn = with_database(pooler, urlsplit(bare_postgres_dsn).path[1:])
    await asyncio.gather(*(migrate(dsn) for _ in range(3)))
    assert await differences(bare_postgres_dsn) == []
    found = await status(dsn)
    assert (found.standing.current, found.holder, found.standing.refusal) == (HEAD, None, None)


@pytest.mark.postgres
async def test_a_dead_process_holds_nobody_up_for_longer_than_its_lease(postgres_dsn: str) -> None:
    left = "UPDATE lease SET owner = 'the dead', until = now() + make_interval(secs => $1) WHERE key = 'migrate'"
    told: list[Progress] = []
    waiting = asyncio.Event()

    def tell(progress: Progress) -> None:
        told.append(progress)
        waiting.set()

    async with connected(postgres_dsn) as connection:
        await connection.execute(left, 3600.0)
        assert (await status(postgres_dsn)).holder == "the dead"
        work = asyncio.create_task(migrate(postgres_dsn, steps=more("CREATE TABLE added (id int)"), tell=tell))
        await waiting.wait()
        await connection.execute(left, 0.0)
        await work
    assert told[0] == Progress("waiting", about="the dead")
    assert told[-1] == Progress("done", MORE)


@pytest.mark.postgres
async def test_a_migration_lets_traffic_pass_while_it_waits_for_a_lock(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthorn_storage.migrate.LOCK_SECONDS", 0.2)
    blocked = asyncio.Event()

    def tell(progress: Progress) -> None:
        if progress.state == "blocked":
            blocked.set()

    async with connected(postgres_dsn) as reader, connected(postgres_dsn) as traffic:
        transaction = reader.transaction()
        await transaction.start()
        await reader.fetch("SELECT * FROM mailbox")
        steps = more("ALTER TABLE mailbox ADD COLUMN added text")
        work = asyncio.create_task(migrate(postgres_dsn, steps=steps, tell=tell))
        await blocked.wait()
        await traffic.execute("SET lock_timeout = '20s'")
        assert await traffic.fetchval("SELECT count(*) FROM mailbox") == 0
        await transaction.commit()
        await work
        assert await traffic.fetchval("SELECT version_num FROM alembic_version") == MORE


@pytest.mark.postgres
async def test_a_revision_that_fails_leaves_nothing_and_goes_again(postgres_dsn: str) -> None:
    with pytest.raises(Unavailable):
        await migrate(postgres_dsn, steps=more("CREATE TABLE added (id int)", "SELECT 1 / 0"))
    found = await status(postgres_dsn)
    assert (found.standing.current, found.holder) == (HEAD, None)
    await migrate(postgres_dsn, steps=more("CREATE TABLE added (id int)"))


FILL = """
UPDATE domain SET name = name || '.filled' WHERE id IN (
    SELECT id FROM domain WHERE name NOT LIKE '%.filled' ORDER BY id LIMIT 10)
"""


@pytest.mark.postgres
async def test_an_online_revision_goes_on_where_it_was_cut_short(postgres_dsn: str) -> None:
    async def cut(work: Online) -> None:
        await work.index("ix_added", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS ix_added ON domain ((name <> ''))")

    async def whole(work: Online) -> None:
        await work.index("ix_added", "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_added ON domain (created_at)")
        await work.batches(FILL)
        await work.step("ALTER TABLE domain ADD COLUMN IF NOT EXISTS added int")

    async with connected(postgres_dsn) as connection:
        await connection.execute("INSERT INTO domain (name) SELECT 'd' || n FROM generate_series(1, 25) AS n")
        valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_added'::regclass"
        with pytest.raises(Unavailable):
            await migrate(postgres_dsn, steps=more(online=cut))
        assert await connection.fetchval(valid) is False
        assert (await status(postgres_dsn)).standing.current == HEAD
        told: list[Progress] = []
        for _ in range(2):
            await migrate(postgres_dsn, steps=more(online=whole), tell=told.append)
            assert await connection.fetchval(valid)
            assert await connection.fetchval("SELECT count(*) FROM domain WHERE name LIKE 'd%.filled'") == 25
            await connection.execute("UPDATE alembic_version SET version_num = $1", HEAD)
        assert [progress.rows for progress in told if progress.state == "filling"] == [10, 20, 25]


@pytest.mark.postgres
async def test_a_process_that_lost_the_lease_fills_in_nothing(postgres_dsn: str) -> None:
    async with connected(postgres_dsn) as connection:
        await connection.execute("INSERT INTO domain (name) VALUES ('d')")
        epoch = await connection.fetchval("UPDATE lease SET epoch = epoch + 1 WHERE key = 'migrate' RETURNING epoch")
        late = OnlineWork(connection, Fence("migrate", Epoch(epoch - 1)), lambda rows: None)
        for work in (late.batches(FILL), late.step("DROP TABLE domain"), late.index("i", "DROP TABLE domain")):
            with pytest.raises(LeaseLost):
                await work
        assert await connection.fetchval("SELECT name FROM domain") == "d"


# Who may run


@pytest.mark.postgres
async def test_nothing_is_taken_away_that_a_live_process_needs(postgres_dsn: str) -> None:
    steps = more("DROP TABLE delivery_seen", contract=HEAD)
    old = (
        "INSERT INTO process (boot, node_id, service, hostname, state, schema) "
        "VALUES ('old', 7, 'imap', 'host-7', 'ready', $1)"
    )
    async with connected(postgres_dsn) as connection:
        await connection.execute(old, "")
        with pytest.raises(Unavailable, match=r"imap on node 7 \(host-7\)"):
            await migrate(postgres_dsn, steps=steps)
        await connection.execute("UPDATE process SET schema = $1", HEAD)
        await migrate(postgres_dsn, steps=steps)
    found = (await status(postgres_dsn)).standing
    assert (found.current, found.floor, found.refusal) == (MORE, HEAD, None)


@pytest.mark.postgres
async def test_code_that_was_left_behind_is_refused(
    postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = StorageSettings(dsn=postgres_dsn, blobs=FsSettings(tmp_path))
    await migrate(postgres_dsn, steps=more("SELECT 1"))
    await (await Storage.open(settings)).close()
    async with connected(postgres_dsn) as connection:
        await connection.execute(
            "INSERT INTO cluster_setting (name, value) VALUES ('schema_floor', to_jsonb($1::text))", MORE
        )
    with pytest.raises(Unavailable, match="left this version behind"):
        await Storage.open(settings)
    newer = [MORE, *known_revisions()]
    monkeypatch.setattr("posthorn_storage.version.known_revisions", lambda: [f"{int(MORE) + 1:04}", *newer])
    with pytest.raises(Unavailable, match="older than this version"):
        await Storage.open(settings)


@pytest.mark.postgres
async def test_a_process_tells_which_schema_it_knows(storage: Storage) -> None:
    node = await storage.nodes.claim_node(None, "token", 60)
    rows = "SELECT schema FROM process"
    from posthorn_model.cluster import Process

    now = await storage._database.fetchval("SELECT now()")
    process = Process(node, "imap", "boot", "host", "", "ready", {}, 0.0, now, now, live=True)
    assert (await storage.nodes.beat(process, "token", 60)).held
    assert await storage._database.fetchval(rows) == HEAD
