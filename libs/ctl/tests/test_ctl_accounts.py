"""`posthorn account` and `posthorn domain` on a real database, as a person types them."""

import json
from pathlib import Path

import asyncpg
import pytest

from posthorn_storage import Storage, StorageSettings
from posthorn_testkit.commands import posthorn as posthorn_command

pytestmark = pytest.mark.postgres


class Program:
    """The posthorn program on one database; `cwd` has no cluster in it."""

    def __init__(self, dsn: str, cwd: Path) -> None:
        self.dsn = dsn
        self.cwd = cwd

    def __call__(self, *words: str, given: str = "", code: int = 0, dsn: bool = True, said: bool = False) -> str:
        """What it prints: on stdout when it ends with 0, or when asked to (`said`), else on stderr."""
        done = posthorn_command(*words, *(["--dsn", self.dsn] if dsn else []), given=given, cwd=self.cwd)
        assert done.code == code, done.problem
        return done.out if said or code == 0 else done.problem


@pytest.fixture
def posthorn(postgres_dsn: str, tmp_path: Path) -> Program:
    program = Program(postgres_dsn, tmp_path)
    program("domain", "add", "example.org")
    return program


async def logs_in(dsn: str, address: str, password: str) -> bool:
    storage = await Storage.open(StorageSettings(dsn=dsn, blobs=None, pool_size=1))
    try:
        await storage.directory.authenticate(address, password)
    except Exception:
        return False
    finally:
        await storage.close()
    return True


async def test_an_account_lives_from_add_to_delete(posthorn: Program) -> None:
    made_up = json.loads(posthorn("account", "add", "ann@example.org", "--name", "Ann", "--json"))["password"]
    assert await logs_in(posthorn.dsn, "ann@example.org", made_up)
    posthorn("account", "passwd", "ann@example.org", "--password", "-", given="new secret\n")
    assert await logs_in(posthorn.dsn, "ann@example.org", "new secret")
    assert not await logs_in(posthorn.dsn, "ann@example.org", made_up)
    assert json.loads(posthorn("account", "list", "--json"))[0]["name"] == "Ann"
    shown = json.loads(posthorn("account", "show", "ann@example.org", "--json"))
    assert {mailbox["name"] for mailbox in shown["mailboxes"]} >= {"INBOX", "Sent"}
    assert shown["messages"] == 0
    posthorn("account", "reset", "ann@example.org")
    posthorn("account", "delete", "ann@example.org")
    assert "no such account" in posthorn("account", "show", "ann@example.org", code=1)
    assert posthorn("account", "list") == ""


def test_aliases_are_added_listed_and_removed(posthorn: Program) -> None:
    posthorn("account", "add", "ann@example.org", "--password", "secret")
    posthorn("alias", "add", "sales@example.org", "ann@example.org")
    added = json.loads(posthorn("alias", "add", "@example.org", "ann@example.org", "--json"))
    assert added == {"alias": "@example.org", "address": "ann@example.org"}
    assert posthorn("alias", "list") == "@example.org  ann@example.org\nsales@example.org  ann@example.org\n"
    assert json.loads(posthorn("alias", "list", "--json"))[1]["alias"] == "sales@example.org"
    assert json.loads(posthorn("alias", "remove", "@example.org", "--json"))["removed"] == 1
    assert "no such alias" in posthorn("alias", "remove", "@example.org", code=1)
    assert "no domain of this cluster" in posthorn("alias", "add", "x@example.net", "ann@example.org", code=1)


def test_groups_forwards_and_lists_live_from_add_to_remove(posthorn: Program) -> None:
    posthorn("account", "add", "ann@example.org", "--password", "secret")
    posthorn("group", "add", "team@example.org", "ann@example.org")
    made = json.loads(posthorn("group", "add", "team@example.org", "eve@example.net", "--json"))
    assert made == {"address": "team@example.org", "members": ["ann@example.org", "eve@example.net"]}
    assert posthorn("group", "list") == "team@example.org  ann@example.org, eve@example.net\n"
    assert json.loads(posthorn("group", "remove", "team@example.org", "eve@example.net", "--json"))["members"] == 1
    posthorn("group", "remove", "team@example.org")
    assert "no such group" in posthorn("group", "remove", "team@example.org", code=1)
    kept = json.loads(posthorn("forward", "add", "ann@example.org", "ann@example.net", "--keep", "--json"))
    assert kept["members"] == ["ann@example.net", "ann@example.org"]
    posthorn("forward", "remove", "ann@example.org")
    assert "no account" in posthorn("forward", "add", "bob@example.org", "bob@example.net", code=1)
    posthorn("list", "add", "news@example.org", "--owner", "ann@example.org", "--posting", "members")
    (listed,) = json.loads(posthorn("list", "list", "--json"))
    assert (listed["owner"], listed["posting"], listed["members"]) == ("ann@example.org", "members", [])


def test_domains_are_added_once_and_listed(posthorn: Program) -> None:
    assert json.loads(posthorn("domain", "add", "example.net", "--json")) == {"domain": "example.net", "added": True}
    assert json.loads(posthorn("domain", "add", "example.net", "--json")) == {"domain": "example.net", "added": False}
    assert posthorn("domain", "list") == "example.net\nexample.org\n"
    assert "not" in posthorn("domain", "add", "no good", code=1)


def test_many_come_from_a_file_or_standard_input(posthorn: Program, tmp_path: Path) -> None:
    lines = "# comment\n\nann@example.org one two\nbob@example.org\tthree\r\n"
    (tmp_path / "accounts").write_text(lines, newline="")
    assert posthorn("account", "add", "--from", "accounts") == "2 accounts added\n"
    refusal = posthorn("account", "add", "--from", "-", given=lines + "cat@example.org x\n", code=1)
    assert "exist already: ann@example.org, bob@example.org" in refusal
    assert "--skip-existing" in refusal
    added = posthorn("account", "add", "--from", "-", "--skip-existing", given=lines + "cat@example.org x\n")
    assert added == "1 accounts added, 2 existed\n"


def test_a_thousand_are_added_at_once(posthorn: Program) -> None:
    lines = "".join(f"user{number}@example.org secret{number}\n" for number in range(1000))
    assert posthorn("account", "add", "--from", "-", given=lines) == "1000 accounts added\n"
    assert len(json.loads(posthorn("account", "list", "--json"))) == 1000


@pytest.mark.parametrize(
    ("words", "given", "told"),
    [
        (("add", "ann@elsewhere.org"), "", "posthorn domain add elsewhere.org"),
        (("add", "no address"), "", "not a valid address"),
        (("add", "ann@example.org", "--password", ""), "", "1 to 1024 bytes"),
        (("add", "--from", "-"), "ann@example.org\n", "line 1: no password"),
        (("add", "--from", "-"), "good@example.org x\nbad x\n", "bad: that is not a valid address"),
        (("add", "--from", "missing-file"), "", "missing-file: cannot be read"),
        (("add", "--from", "-"), "", "holds no `address password` line"),
        (("add",), "", "say NAME@DOMAIN, or --from"),
        (("passwd", "nobody@example.org", "--password", "x"), "", "nobody@example.org: no such account"),
        (("reset", "nobody@example.org"), "", "no such account"),
    ],
)
def test_mistakes_are_told_with_what_to_do(posthorn: Program, words: tuple[str, ...], given: str, told: str) -> None:
    code = 2 if "say " in told or "line 1" in told or "read" in told or "holds no" in told else 1
    assert told in posthorn("account", *words, given=given, code=code)


def test_adding_twice_names_the_account_and_the_way_on(posthorn: Program) -> None:
    posthorn("account", "add", "ann@example.org")
    assert "ann@example.org exists already: `posthorn account passwd`" in posthorn(
        "account", "add", "ann@example.org", code=1
    )
    assert posthorn("account", "add", "ann@example.org", "--skip-existing") == "ann@example.org exists already\n"


def test_without_a_cluster_the_way_to_one_is_told(posthorn: Program) -> None:
    assert "start one with `posthorn up`" in posthorn("account", "list", code=3, dsn=False)


def test_a_database_that_does_not_answer_is_told(tmp_path: Path) -> None:
    program = Program("postgresql://nobody:hunter2@127.0.0.1:9/none", tmp_path)
    told = program("account", "list", code=1)
    assert "is the database running?" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("command", ["add", "passwd", "list", "show", "reset", "delete"])
def test_every_command_explains_itself_with_an_example(command: str, tmp_path: Path) -> None:
    told = Program("", tmp_path)("account", command, "--help", dsn=False)
    assert "Example: " in told
    assert "--json" in told


async def test_a_check_tells_what_is_wrong_and_where(posthorn: Program) -> None:
    posthorn("account", "add", "ann@example.org", "--password", "x")
    assert "all is well: 1 accounts" in posthorn("check")
    assert "all is well" in posthorn("check", "ann@example.org")
    connection = await asyncpg.connect(posthorn.dsn)
    await connection.execute("UPDATE mailbox SET total = 7 WHERE role = 'inbox'")
    await connection.close()
    told = posthorn("check", code=1, said=True)
    assert "1 findings" in told
    assert "the counts of a mailbox are not those of its messages" in told
    assert "account 1, mailbox" in told
    found = json.loads(posthorn("check", "ann@example.org", "--json", code=1, said=True))
    assert [(each["rule"], each["total"], each["total_found"]) for each in found["findings"]] == [
        ("mailbox-counts", 7, 0)
    ]
    assert "no such account" in posthorn("check", "bob@example.org", code=1)


async def test_a_repair_asks_and_tells_what_it_did(posthorn: Program) -> None:
    posthorn("account", "add", "ann@example.org", "--password", "x")
    connection = await asyncpg.connect(posthorn.dsn)
    await connection.execute("UPDATE mailbox SET total = 7 WHERE role = 'inbox'")
    await connection.execute("INSERT INTO alias SELECT address, id FROM account")
    assert "2 findings" in posthorn("check", "--repair", code=1, said=True)
    assert await connection.fetchval("SELECT total FROM mailbox WHERE role = 'inbox'") == 7
    assert "--yes" in posthorn("check", "--repair", "--json", code=2)
    told = posthorn("check", "--repair", "--yes", code=1, said=True)
    assert "repaired: 1 mailbox-counts" in told
    assert await connection.fetchval("SELECT total FROM mailbox WHERE role = 'inbox'") == 0
    assert "decide who shall have it" in told, "what cannot be repaired comes with advice"
    await connection.execute("DELETE FROM alias")
    await connection.close()
    found = json.loads(posthorn("check", "--repair", "--yes", "--json", "ann@example.org"))
    assert (found["findings"], found["repaired"]) == ([], {})
    assert "there is no shard x" in posthorn("check", "--shard", "x", code=2)


def test_a_migrated_database_is_left_as_it_is(posthorn: Program) -> None:
    assert posthorn("migrate") == "the schema is up to date\n"
    assert set(json.loads(posthorn("migrate", "--json"))) == {"schema"}
    assert posthorn("domain", "list") == "example.org\n"


async def test_what_a_migration_would_do_is_told_and_not_done(posthorn: Program) -> None:
    assert "this release can run on it" in posthorn("migrate", "--status")
    connection = await asyncpg.connect(posthorn.dsn)
    await connection.execute("UPDATE alembic_version SET version_num = '0002'")
    told = posthorn("migrate", "--status", code=1, said=True)
    assert "done     0002" in told
    assert "pending  0003" in told
    assert "migrate it first" in told
    found = json.loads(posthorn("migrate", "--status", "--json", code=1, said=True))
    assert (found["schema"], found["can_run"]) == ("0002", False)
    assert [step["pending"] for step in found["revisions"]][:3] == [False, False, True]
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0002"
    await connection.close()


async def test_the_search_index_is_told_of_and_done_anew(posthorn: Program) -> None:
    posthorn("account", "add", "ann@example.org")
    assert json.loads(posthorn("index", "status", "ann@example.org", "--json")) == {
        "indexed": 0, "partly": 0, "waiting": 0, "failed": 0, "seconds": 0.0, "failures": []
    }  # fmt: skip
    connection = await asyncpg.connect(posthorn.dsn)
    await connection.execute(
        'INSERT INTO message_text (account_id, message_id, "from", "to", cc, bcc, subject, headers, body) '
        "SELECT id, n, '', '', '', '', '', '', '' FROM account, generate_series(1, 3) AS n"
    )
    await connection.execute("UPDATE index_task SET state = 3, reason = 'it is broken' WHERE message_id = 2")
    told = posthorn("index", "status")
    assert "2 messages wait" in told
    assert "1 given up" in told
    assert "message 2: it is broken" in told
    assert "3 messages of ann@example.org are indexed anew" in posthorn("index", "rebuild", "ann@example.org")
    assert json.loads(posthorn("index", "rebuild", "ann@example.org", "--json")) == {"messages": 3}
    lag = json.loads(posthorn("index", "status", "--json"))
    assert (lag["waiting"], lag["failed"]) == (3, 0)
    await connection.close()
    assert "ben@example.org" in posthorn("index", "status", "ben@example.org", code=1)
