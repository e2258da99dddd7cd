"""The lock file of Kafka's jars, and what happens to jars that are missing, wrong or not to be had."""

import hashlib
from pathlib import Path

import pytest

from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.jars import Jar, classpath, fetch, locked

SMALL = "org.slf4j:slf4j-simple"


def small() -> Jar:
    return next(jar for jar in locked() if jar.coordinates.startswith(SMALL))


def test_the_lock_file_names_each_jar_once_with_its_digest() -> None:
    jars = locked()
    assert len({jar.file_name for jar in jars}) == len(jars) == 45
    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {"4.4.0"}
    assert all(len(bytes.fromhex(jar.sha256)) == 32 and jar.size > 0 for jar in jars)


@pytest.mark.parametrize("line", ["a:b 1 ff", "a:b:c x ff", "a:b:c 1", "a:b:c 1 ff extra"])
def test_a_line_that_is_no_jar_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "lock").write_text(f"# comment\n{line}\n")
    with pytest.raises(PartError, match="not a locked jar"):
        locked(tmp_path / "lock")


def test_what_is_there_and_right_is_not_fetched(tmp_path: Path) -> None:
    content = b"jar"
    jar = Jar("g", "a", "1", len(content), hashlib.sha256(content).hexdigest())
    (tmp_path / jar.file_name).write_bytes(content)
    assert fetch([jar], tmp_path, offline=True) == [tmp_path / jar.file_name]


@pytest.mark.parametrize("content", [b"", b"bad", b"longer"])
def test_a_damaged_jar_is_never_used(tmp_path: Path, content: bytes) -> None:
    jar = Jar("no.such.group", "a", "1", 3, hashlib.sha256(b"jar").hexdigest())
    (tmp_path / jar.file_name).write_bytes(content)
    with pytest.raises(PartError, match=r"no\.such\.group:a:1.*--bus peer-to-peer"):
        fetch([jar], tmp_path, offline=True)


def test_without_a_network_the_refusal_names_jar_and_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with pytest.raises(PartError, match=r"slf4j-simple:1\.7\.36: .*--bus peer-to-peer"):
        fetch([small()], tmp_path)
    with pytest.raises(PartError, match=r":.* and 44 more: .*--bus peer-to-peer") as refusal:
        fetch(locked(), tmp_path)
    assert "not tried" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PartError, match="POSTHORN_CACHE"):
        classpath(tmp_path / "file")


@pytest.mark.kafka
def test_a_missing_jar_is_fetched_and_checked(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    jar = small()
    (path,) = fetch([jar], tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256
    assert seen == [(jar.size, jar.size)]
    wrong = Jar(jar.group, jar.artifact, jar.version, jar.size, "0" * 64)
    with pytest.raises(PartError, match="another SHA-256"):
        fetch([wrong], tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []
