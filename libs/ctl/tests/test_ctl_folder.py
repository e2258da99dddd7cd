"""The data folder: one holder, whole writes, clear refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from posthorn_ctl.cluster import keepsakes
from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.folder import at, held, holder, made, read_json, write_whole

HOLD = """
import sys
from pathlib import Path
from posthorn_ctl.cluster.folder import made, held
with held(made(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_refused_by_the_first_ones_number(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert holder(at(tmp_path)) == other.pid
        with pytest.raises(ClusterError, match=rf"process {other.pid}.*posthorn stop") as refusal, held(at(tmp_path)):
            pass
        assert refusal.value.code == 3
        other.kill()
        other.wait()
    assert holder(at(tmp_path)) is None
    with held(at(tmp_path)):
        pass


def test_an_untouched_folder_has_no_holder(tmp_path: Path) -> None:
    assert holder(at(tmp_path / "nothing")) is None


def test_a_folder_that_cannot_be_made_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match=r"cannot be used: Not a directory.*--data"):
        made(tmp_path / "file" / "data")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(ClusterError, match="Permission denied"):
        made(tmp_path)


def test_a_file_is_replaced_with_its_mode_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")
    path.chmod(0o644)
    write_whole(path, "{}")
    assert path.read_text() == "{}"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_secrets_are_made_once_and_kept_closed(tmp_path: Path) -> None:
    folder = made(tmp_path)
    first = keepsakes.opened(folder)
    token = first.token(1)
    keepsakes.kept(folder, first)
    second = keepsakes.opened(folder)
    assert second == first
    assert second.token(1) == token != second.token(2)
    assert folder.secrets.stat().st_mode & 0o777 == 0o600
    assert first.cluster_secret not in repr(first)
    assert not any(password in repr(first) for password in first.accounts.values())


def test_another_database_is_another_place_to_make_accounts(tmp_path: Path) -> None:
    kept = keepsakes.opened(made(tmp_path))
    assert not kept.is_seeded("embedded")
    kept.seeded.append("ann@example.org")
    assert kept.is_seeded("embedded")
    assert not kept.is_seeded("postgresql://u:secret@host/db")
    assert kept.database == "host/db"


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"accounts": {}})])
def test_damaged_secrets_are_refused(tmp_path: Path, content: str) -> None:
    folder = made(tmp_path)
    folder.secrets.write_text(content)
    with pytest.raises(ClusterError, match=r"secrets\.json"):
        keepsakes.opened(folder)


def test_a_missing_json_file_is_none(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none") is None
