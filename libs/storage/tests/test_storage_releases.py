"""Old code runs on the new schema (design law 11): what the last release did to its database, done to this one.

`releases/NNNN.jsonl` is the recording of the last release, whose newest migration was NNNN, made by its own code with
`python -m posthorn_testkit.releases`. At a release the new recording takes the place of the one before.
"""

from pathlib import Path

import asyncpg
import pytest

from posthorn_storage.version import known_revisions
from posthorn_testkit.databases import Databases
from posthorn_testkit.releases.recording import recorded
from posthorn_testkit.releases.replay import Session, load, prepare_all, replay
from posthorn_testkit.releases.scenario import play

pytestmark = pytest.mark.postgres
RECORDINGS = sorted((Path(__file__).parent / "releases").glob("[0-9]*.jsonl"))

HARM = {
    "a column is gone": "ALTER TABLE mailbox DROP COLUMN recent_uid",
    "a column has another name": "ALTER TABLE lease RENAME COLUMN until TO ends_at",
    "a table is gone": "DROP TABLE thread_key",
}
ADDED = (
    "ALTER TABLE mailbox ADD COLUMN rights text",
    "ALTER TABLE queue_recipient ADD COLUMN weight integer NOT NULL DEFAULT 1",
    "CREATE INDEX ON message (account_id, size)",
    "CREATE TABLE something_new (id bigint PRIMARY KEY)",
)
SILENT_HARM = {
    "a new column must be given": "ALTER TABLE mailbox ADD COLUMN rights text NOT NULL",
    "a new constraint refuses": "ALTER TABLE queue_event ADD CHECK (kind <> 'deferred')",
    "a default has changed": "ALTER TABLE mailbox ALTER COLUMN recent_uid SET DEFAULT 7",
    "a trigger changes rows": (
        "CREATE FUNCTION louder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.subject := 'x'; RETURN NEW; END $$;"
        "CREATE TRIGGER louder BEFORE INSERT ON message FOR EACH ROW EXECUTE FUNCTION louder()"
    ),
    "a number is skipped": "SELECT nextval('queue_message_id_seq')",
}


@pytest.fixture(params=RECORDINGS, ids=lambda path: path.stem)
def session(request: pytest.FixtureRequest) -> Session:
    """What the last release recorded."""
    return load(request.param)


async def spoil(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def test_the_last_release_was_recorded() -> None:
    assert len(RECORDINGS) == 1
    assert RECORDINGS[0].stem in known_revisions()
    session = load(RECORDINGS[0])
    assert session.schema == RECORDINGS[0].stem
    assert len(session.calls) > 500
    steps = {call["step"] for call in session.calls}
    assert steps >= {"delivery", "flags", "moving", "expunging", "search", "queueing", "leases", "groupware", "purging"}


async def test_every_statement_of_the_last_release_is_understood(postgres_dsn: str, session: Session) -> None:
    assert await prepare_all(postgres_dsn, session) == []


async def test_the_last_release_gets_the_answers_it_got(postgres_dsn: str, session: Session) -> None:
    assert await replay(postgres_dsn, session) == []


async def test_what_is_added_is_no_difference(postgres_dsn: str, session: Session) -> None:
    await spoil(postgres_dsn, ";".join(ADDED))
    assert await prepare_all(postgres_dsn, session) == []
    assert await replay(postgres_dsn, session) == []


async def test_a_column_of_another_type_is_seen(postgres_dsn: str, session: Session) -> None:
    await spoil(postgres_dsn, "ALTER TABLE queue_recipient ALTER COLUMN attempt TYPE integer")
    assert await prepare_all(postgres_dsn, session)


@pytest.mark.parametrize("statement", HARM.values(), ids=HARM)
async def test_what_would_break_the_last_release_is_seen(postgres_dsn: str, session: Session, statement: str) -> None:
    await spoil(postgres_dsn, statement)
    assert await prepare_all(postgres_dsn, session)
    assert await replay(postgres_dsn, session)


@pytest.mark.parametrize("statement", SILENT_HARM.values(), ids=SILENT_HARM)
async def test_what_only_changes_answers_is_seen_too(postgres_dsn: str, session: Session, statement: str) -> None:
    await spoil(postgres_dsn, statement)
    assert await prepare_all(postgres_dsn, session) == []
    assert await replay(postgres_dsn, session)


async def test_the_scenario_of_today_depends_on_neither_clock_nor_chance(databases: Databases, tmp_path: Path) -> None:
    """Recorded twice, it is the same but for salts and times, so that it can be the next recording."""
    found = []
    for name in ("first", "second"):
        with databases.fresh() as dsn, recorded() as recording:
            await play(dsn, tmp_path / name, recording.step)
        texts = list(recording.statements)
        found.append([(call["step"], call["call"], texts[call["statement"]]) for call in recording.calls])
    assert found[0] == found[1]
