"""Log lines: one JSON object each, with who wrote them, and never a secret."""

import contextlib
import io
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from posthorn_node.logs import Identity, open_log
from posthorn_node.settings import LogSettings


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """The standard library's logging is the process's: put it back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_line_says_who_wrote_it_also_after_the_node_id_is_known() -> None:
    stream, identity = io.StringIO(), Identity("imap", "auto", "ab12")
    log = open_log(LogSettings(), identity, stream)
    log.info("starting")
    identity.node = "3"
    log.info("joined", region="eu")
    first, second = lines(stream)
    assert (first["service"], first["node"], first["boot"], first["event"]) == ("imap", "auto", "ab12", "starting")
    assert (second["node"], second["region"], second["level"]) == ("3", "eu", "info")
    assert second["timestamp"].endswith("Z")


def test_secrets_are_stars_at_any_depth() -> None:
    stream = io.StringIO()
    log = open_log(LogSettings(), Identity("imap", "1", "b"), stream)
    log.bind(token="s3cr3t").info(
        "login",
        password="s3cr3t",
        headers=[{"Authorization": "Basic s3cr3t", "Host": "h"}],
        settings={"store": {"secret-key": "s3cr3t", "password": SecretStr("s3cr3t")}},
        value=SecretStr("s3cr3t"),
        user="ann",
        nested={"a": [{"cause": "cannot connect to postgresql://ann:s3cr3t@db:5432/mail"}]},
    )
    assert "s3cr3t" not in stream.getvalue()
    (line,) = lines(stream)
    assert line["password"] == line["token"] == line["headers"][0]["Authorization"] == "********"
    assert line["nested"]["a"][0]["cause"] == "cannot connect to postgresql://ann:********@db:5432/mail"
    assert (line["user"], line["headers"][0]["Host"]) == ("ann", "h")


@pytest.mark.parametrize("form", ["json", "console"])
def test_exceptions_are_told_without_local_variables(form: Any) -> None:
    stream = io.StringIO()
    log = open_log(LogSettings(format=form), Identity("imap", "1", "b"), stream)

    def login(local_value: str) -> None:
        raise ValueError(f"refused after {len(local_value)} letters by smtp://u:hidden@h")

    try:
        login("s3cr3t" * 2)
    except ValueError:
        log.exception("login failed")
    text = stream.getvalue()
    assert "refused after 12 letters by smtp://u:********@h" in text
    assert "Traceback" in text
    assert "s3cr3ts3cr3t" not in text


def test_level_keeps_lesser_lines_out() -> None:
    stream = io.StringIO()
    log = open_log(LogSettings(level="warning"), Identity("imap", "1", "b"), stream)
    log.info("quiet")
    log.warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_libraries_lines_come_in_the_same_form() -> None:
    stream = io.StringIO()
    open_log(LogSettings(), Identity("imap", "1", "b"), stream)
    logging.getLogger("some.library").info("connected")
    logging.getLogger("some.library").warning("lost %s", "connection")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"], line["service"]) == (
        "lost connection",
        "some.library",
        "warning",
        "imap",
    )


def test_line_breaks_in_values_do_not_make_lines() -> None:
    stream = io.StringIO()
    log = open_log(LogSettings(), Identity("imap", "1", "b"), stream)
    log.info("bad\r\ninput", sender='a\n{"event": "forged"}')
    (line,) = lines(stream)
    assert line["event"] == "bad\r\ninput"


def test_bytes_of_peers_do_not_make_a_line_fail() -> None:
    raw = io.BytesIO()
    log = open_log(LogSettings(), Identity("imap", "1", "b"), io.TextIOWrapper(raw, encoding="ascii"))
    log.info("bad sender", sender=b"\xff@example.org".decode("utf-8", "surrogateescape"), name="Jörg")
    line = raw.getvalue().decode("utf-8")
    assert "\\udcff@example.org" in line
    assert "Jörg" in line


def test_reader_that_went_away_does_not_stop_the_writer() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        log = open_log(LogSettings(), Identity("imap", "1", "b"), stream)
        log.info("nobody hears")
        log.warning("nobody hears")
        with contextlib.suppress(OSError):
            stream.close()
    log.error("closed by now")
