"""sieve-connect: uploads, activates, lists, shows and removes scripts over STARTTLS, and shows a mistake's line."""

from pathlib import Path

import pytest
from tests.clients.program import run

from posthorn_testkit.cluster import ClusterUnderTest

pytestmark = [pytest.mark.cluster, pytest.mark.peers]
SCRIPT = 'require "fileinto";\nif header :contains "Subject" "lists" { fileinto "Archive"; }\n'


def test_scripts_come_and_go(cluster: ClusterUnderTest, account: tuple[str, str], tmp_path: Path) -> None:
    host, port = cluster.address("managesieve", 1)
    (tmp_path / "own.sieve").write_text(SCRIPT)
    (tmp_path / "wrong.sieve").write_text('keep;\nfileinto "Archive";\n')

    def sieve(*words: str) -> tuple[bool, str]:
        """Whether it did what was asked, and what it said. The password is asked for on standard input."""
        common = ("--server", host, "--port", str(port), "--user", account[0], "--passwordfd", "0", "--nosslverify")
        done = run("sieve-connect", *common, *words, home=tmp_path, text=account[1] + "\n")
        return done.returncode == 0, done.stdout + done.stderr

    assert sieve("--localsieve", "own.sieve", "--remotesieve", "own", "--upload")[0]
    assert sieve("--remotesieve", "own", "--activate")[0]
    listed = sieve("--list")[1]
    assert '"own" ACTIVE' in listed
    assert SCRIPT.splitlines()[1] in sieve("--remotesieve", "own", "--download", "--localsieve", "-")[1]
    worked, said = sieve("--localsieve", "wrong.sieve", "--remotesieve", "wrong", "--upload")
    assert not worked
    assert "line 2" in said
    assert not sieve("--remotesieve", "own", "--delete")[0], "an active script stays"
    assert sieve("--deactivate")[0]
    assert sieve("--remotesieve", "own", "--delete")[0]
    assert '"own"' not in sieve("--list")[1]
