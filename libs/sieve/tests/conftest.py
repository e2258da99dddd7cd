"""A message, and a script run over it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from posthorn_sieve import Outcome, Situation, compile_script, evaluate

MESSAGE = (
    b"Return-Path: <ann@example.org>\r\n"
    b"Received: from a by b; Mon, 2 Mar 2026 10:00:00 +0000\r\n"
    b"Received: from c by a; Mon, 2 Mar 2026 09:59:00 +0000\r\n"
    b"From: Ann Example <ann@example.org>\r\n"
    b"To: Bob <bob+news@example.com>, carol@example.net\r\n"
    b"Cc: dave@EXAMPLE.com\r\n"
    b"Subject: =?utf-8?q?Caf=C3=A9?= at\r\n noon\r\n"
    b"Date: Mon, 2 Mar 2026 11:30:15 +0200\r\n"
    b"Message-ID: <one@example.org>\r\n"
    b"X-Priority: 3\r\n"
    b"\r\n"
    b"Shall we meet?\r\n"
)
SITUATION = Situation(
    content=MESSAGE,
    sender="ann@example.org",
    recipient="bob+news@example.com",
    now=datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC),
    addresses=frozenset({"bob@example.com"}),
    mailboxes=frozenset({"INBOX", "Work", "Work/2026"}),
    special_uses={"\\junk": "Spam"},
)

Filtered = Callable[..., Outcome]


@pytest.fixture
def filtered() -> Filtered:
    """Run a script, its `require` written for it, and return the outcome."""

    def run(script: str, *extensions: str, **situation: Any) -> Outcome:
        names = ", ".join(f'"{name}"' for name in extensions)
        source = (f"require [{names}];\n" if names else "") + script
        outcome = evaluate(compile_script(source.encode()), replace(SITUATION, **situation))
        assert isinstance(outcome, Outcome), outcome
        return outcome

    return run


@pytest.fixture
def holds(filtered: Filtered) -> Callable[..., bool]:
    """Whether a test is true of the message."""

    def run(test: str, *extensions: str, **situation: Any) -> bool:
        outcome = filtered(f"if {test} {{ discard; }}", *extensions, **situation)
        assert outcome.fault is None, outcome.fault
        return not outcome.actions

    return run
