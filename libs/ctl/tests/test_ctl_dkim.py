"""`posthorn dkim` on a real database, as a person types it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from posthorn_ctl.__main__ import app
from posthorn_ctl.cluster.errors import ClusterError
from posthorn_model.errors import PosthornError
from posthorn_storage.dkim import made

pytestmark = pytest.mark.postgres
SECRET = "the secret of all nodes"


class Program:
    """The posthorn program with a node's settings file."""

    def __init__(self, dsn: str, folder: Path, secret: str = f'secret = "{SECRET}"') -> None:
        self.folder = folder
        (folder / "node.toml").write_text(
            f'[certificates]\n{secret}\n[storage]\nblob = "fs"\n[store."fs"]\ntype = "fs"\npath = "{folder}/blobs"\n'
            f'[store."postgres"]\ntype = "postgresql"\ndsn = "{dsn}"\n'
        )

    def __call__(self, *words: str, code: int = 0) -> str:
        """What it prints when it ends with 0, else what it says is wrong; in this process, which is much faster."""
        done = CliRunner().invoke(app, ["dkim", *words, "--config", str(self.folder / "node.toml")])
        error = done.exception
        found, text = (error.code, str(error)) if isinstance(error, ClusterError) else (done.exit_code, done.output)
        if isinstance(error, PosthornError):
            found, text = 1, str(error)
        assert found == code, (text, error)
        assert "PRIVATE" not in text
        assert SECRET not in text
        return text


@pytest.fixture
def posthorn(postgres_dsn: str, tmp_path: Path) -> Program:
    return Program(postgres_dsn, tmp_path)


def test_a_key_lives_from_its_making_to_its_removal(posthorn: Program) -> None:
    assert posthorn("list") == "no DKIM key in the database\n"
    made_key = json.loads(posthorn("add", "Example.org", "--json"))
    selector = made_key["selector"]
    assert made_key["name"] == f"{selector}._domainkey.example.org"
    assert made_key["text"].startswith("v=DKIM1; k=rsa; p=MIIB")
    assert (made_key["state"], made_key["domain"]) == ("waiting", "example.org")
    line = posthorn("record", "example.org", selector).strip()
    assert line.startswith(f'{selector}._domainkey.example.org. IN TXT ( "v=DKIM1; k=rsa; p=MIIB')
    assert "".join(line.split('"')[1::2]) == made_key["text"]
    assert all(len(each) <= 255 for each in line.split('"')[1::2])
    posthorn("remove", "example.org", selector, "--yes")
    selector = json.loads(posthorn("add", "example.org", "--active", "--json"))["selector"]
    (waiting,) = json.loads(posthorn("rotate", "example.org", "--json"))
    assert waiting["selector"] == f"{selector[:-2]}-3"
    assert json.loads(posthorn("rotate", "example.org", "--json")) == [waiting]
    listed = json.loads(posthorn("list", "example.org", "--json"))
    assert [each["state"] for each in listed] == ["removed", "active", "waiting"]
    assert f"example.org  {selector}  rsa  active since 20" in posthorn("list")
    assert posthorn("remove", "example.org", selector, "--yes") == f"{selector} removed; its record may leave DNS\n"
    assert "its record may leave DNS" in posthorn("list")
    assert len(posthorn("record", "example.org").splitlines()) == 1


def test_a_key_of_ones_own_signs_at_once(posthorn: Program) -> None:
    key = made("ed25519")
    own = posthorn.folder / "own.pem"
    own.write_bytes(key.pem)
    words = ("add", "example.net", "--private-key", str(own), "--selector", "Mail", "--active")
    assert posthorn(*words) == f'mail._domainkey.example.net. IN TXT "v=DKIM1; k=ed25519; p={key.public}"\n'
    (listed,) = json.loads(posthorn("list", "--json"))
    assert (listed["selector"], listed["algorithm"], listed["state"]) == ("mail", "ed25519", "active")


def test_mistakes_are_told_with_what_to_do(posthorn: Program, postgres_dsn: str, tmp_path: Path) -> None:
    assert "`posthorn dkim add` makes one" in posthorn("record", "example.org", code=1)
    assert "`posthorn dkim add` makes one" in posthorn("rotate", "example.org", code=1)
    assert "not a domain name" in posthorn("add", "a b", code=1)
    assert "example.org has no key x" in posthorn("remove", "example.org", "x", "--yes", code=1)
    (tmp_path / "bad.pem").write_text("nothing")
    assert "not a private key" in posthorn("add", "example.org", "--private-key", str(tmp_path / "bad.pem"), code=1)
    assert "cannot be read" in posthorn("add", "example.org", "--private-key", "/none.pem", code=2)
    assert "certificates.secret" in Program(postgres_dsn, tmp_path, "")("add", "example.org", code=1)
