"""`posthorn certificate` on a real database, as a person types it."""

import json
from pathlib import Path

import pytest

from posthorn_model.ids import Epoch
from posthorn_storage import Fence, Storage
from posthorn_testkit.certificates import certificate_of
from posthorn_testkit.commands import posthorn as posthorn_command

pytestmark = pytest.mark.postgres
SECRET = "the secret of all nodes"


class Program:
    """The posthorn program with a node's settings file."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.folder = folder
        self._dsn = dsn
        self.settings(f'secret = "{SECRET}"')

    def settings(self, certificates: str) -> None:
        (self.folder / "node.toml").write_text(
            f'[certificates]\n{certificates}\n[storage]\nblob = "fs"\n[store."fs"]\ntype = "fs"\npath = "blobs"\n'
            f'[store."postgres"]\ntype = "postgresql"\ndsn = "{self._dsn}"\n'
        )

    def __call__(self, *words: str, code: int = 0) -> str:
        """What it prints on stdout when it ends with 0, else on stderr."""
        done = posthorn_command("certificate", *words, "--config", "node.toml", cwd=self.folder)
        assert done.code == code, done.problem
        assert SECRET not in done.problem + done.out
        return done.out if code == 0 else done.problem


@pytest.fixture
def posthorn(postgres_dsn: str, tmp_path: Path) -> Program:
    chain, key = certificate_of("mail.example.org", "*.example.net", days=90, age=30, issuer="An Authority")
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "other.pem").write_bytes(certificate_of("x")[1])
    return Program(postgres_dsn, tmp_path)


FILES = ("--certificate", "chain.pem", "--private-key", "key.pem")


def test_a_certificate_lives_from_import_to_removal(posthorn: Program) -> None:
    assert posthorn("list") == "no certificate in the database\n"
    stored = json.loads(posthorn("import", "mine", *FILES, "--default", "--json"))
    assert stored["names"] == ["*.example.net", "mail.example.org"]
    (listed,) = json.loads(posthorn("list", "--json"))
    assert (listed["name"], listed["default"], listed["issuer"], listed["source"]) == (
        "mine",
        True,
        "An Authority",
        "file",
    )
    assert "mine  59 days left, by An Authority (file), for *.example.net, mail.example.org [default]" in posthorn(
        "list"
    )
    assert "PRIVATE" not in posthorn("list", "--json")
    assert posthorn("remove", "mine", "--yes") == "mine removed\n"
    assert "there is no certificate of the name mine" in posthorn("remove", "mine", "--yes", code=1)


def test_mistakes_are_told_with_what_to_do(posthorn: Program) -> None:
    told = posthorn("import", "mine", "--certificate", "chain.pem", "--private-key", "other.pem", code=1)
    assert "chain.pem and other.pem cannot be used: the key is not the one of the certificate" in told
    assert "none.pem cannot be read" in posthorn(
        "import", "mine", "--certificate", "none.pem", "--private-key", "key.pem", code=2
    )
    posthorn.settings("")
    assert "set certificates.secret" in posthorn("import", "mine", *FILES, code=1)
    posthorn.settings('secret = "short"')
    assert "certificates.secret: must have at least 16 characters" in posthorn("import", "mine", *FILES, code=2)


async def test_what_was_ordered_is_listed_and_can_be_renewed(posthorn: Program, storage: Storage) -> None:
    assert "no certificate of the name ordered was ordered by ACME" in posthorn("renew", "ordered", code=1)
    await storage.leases.acquire(["role/acme.renew"], "me", 60)
    await storage.acme.failed(
        Fence("role/acme.renew", Epoch(1)), "ordered", "the authority is down", 600, abandon=False
    )
    assert "ordered  not issued yet\n    the authority is down (next try 20" in posthorn("list")
    (listed,) = json.loads(posthorn("list", "--json"))
    assert (listed["state"], listed["problem"]) == ("missing", "the authority is down")
    assert json.loads(posthorn("renew", "ordered", "--json")) == {"renewing": "ordered"}
    order = await storage.acme.order("ordered")
    assert order is not None
    assert (order.wished, order.waits) == (True, False)


def test_a_secret_is_replaced_in_three_steps(posthorn: Program) -> None:
    posthorn("import", "mine", *FILES)
    posthorn.settings('secret = "a new secret of all nodes"')
    assert "certificates.former-secrets" in posthorn("reseal", code=1)
    posthorn.settings(f'secret = "a new secret of all nodes"\nformer-secrets = ["{SECRET}"]')
    assert json.loads(posthorn("reseal", "--json")) == {"resealed": 1}
    posthorn.settings('secret = "a new secret of all nodes"')
    assert posthorn("reseal") == "0 keys sealed again under the current secret\n"
