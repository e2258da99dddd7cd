"""Lines of many processes: kept per process, shown in one stream."""

import io
import json
from pathlib import Path

from posthorn_ctl.cluster.log_stream import MAX_FILE, LogStream, as_text
from posthorn_ctl.cluster.screen import Screen


def test_json_lines_are_shown_as_text_and_kept_as_they_are(tmp_path: Path) -> None:
    out = io.StringIO()
    stream = LogStream(tmp_path, Screen(out).log)
    who = {"service": "imap", "node": "1", "boot": "b", "timestamp": "2026-01-02T03:04:05.678901Z"}
    line = json.dumps({**who, "event": "ready", "level": "info", "port": 143, "reason": "two words"})
    stream.take("node1/imap", line.encode())
    stream.take("kafka", b"plain \xff text")
    assert out.getvalue() == (
        'node1/imap        | 03:04:05.678 INFO ready port=143 reason="two words"\nkafka             | plain � text\n'
    )
    assert (tmp_path / "node1-imap.log").read_text() == line + "\n"


def test_a_traceback_keeps_the_name_before_each_line(tmp_path: Path) -> None:
    out = io.StringIO()
    LogStream(tmp_path, Screen(out).log).take("a", json.dumps({"event": "x", "exception": "one\ntwo"}).encode())
    assert [line.partition("| ")[2] for line in out.getvalue().splitlines()] == ["x", "one", "two"]


def test_a_line_that_only_looks_like_json_is_shown_as_it_is() -> None:
    for line in ("[1, 2]", '{"a": 1}', "{", "12", ""):
        assert as_text(line) == line


def test_a_large_file_makes_room_for_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"x" * MAX_FILE)
    stream = LogStream(tmp_path, lambda _name, _text: None)
    stream.take("a", b"one")
    stream.take("a", b"two")
    assert path.read_text() == "two\n"
    assert (tmp_path / "a.log.1").stat().st_size == MAX_FILE + 4


def test_a_log_that_cannot_be_written_is_told_and_shown(tmp_path: Path) -> None:
    shown: list[str] = []
    LogStream(tmp_path / "none", lambda _name, text: shown.append(text)).take("a", b"line")
    assert shown == ["(its log file cannot be written: No such file or directory)", "line"]


def test_a_terminal_that_is_gone_is_no_error() -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    screen = Screen(Gone())
    screen.step("one")
    screen.log("a", "two")
