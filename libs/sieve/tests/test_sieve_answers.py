"""The extensions that answer, refuse, notify, remember and change a message."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from posthorn_mail_format import scan
from posthorn_mail_format.text import decode_text
from posthorn_sieve import Outcome, Question, Situation, compile_script, evaluate
from posthorn_sieve.actions import FileInto, Keep, Notify, Redirect, Reject, Vacation

Filtered = Callable[..., Outcome]

LETTER = b"From: ann@example.org\r\nTo: bob@example.com\r\nSubject: hi\r\n\r\nbody\r\n"


def vacation(outcome: Outcome) -> Vacation | None:
    assert outcome.fault is None, outcome.fault
    assert outcome.actions[-1] == Keep()
    return next((action for action in outcome.actions if isinstance(action, Vacation)), None)


def test_vacation_answers_a_person(filtered: Filtered) -> None:
    script = 'vacation :days 3 :subject "Away" :from "Bob <bob@example.com>" :handle "h" "I am away.";'
    answer = vacation(filtered(script, "vacation", content=LETTER))
    assert answer is not None
    assert (answer.recipient, answer.sender, answer.subject, answer.reason, answer.seconds) == (
        "ann@example.org", "Bob <bob@example.com>", "Away", "I am away.", 3 * 86_400,
    )  # fmt: skip
    same = vacation(filtered(script.replace("I am away.", "Still away."), "vacation", content=LETTER))
    assert same is not None
    assert same.handle == answer.handle
    other = vacation(filtered('vacation "I am away.";', "vacation", content=LETTER))
    assert other is not None
    assert other.handle != answer.handle
    assert other.seconds == 7 * 86_400


@pytest.mark.parametrize(("tag", "seconds"), [(":seconds 0", 0), (":seconds 90", 90), (":days 0", 86_400)])
def test_how_long_the_memory_lasts(filtered: Filtered, tag: str, seconds: int) -> None:
    answer = vacation(filtered(f'vacation {tag} "x";', "vacation-seconds", content=LETTER))
    assert answer is not None
    assert answer.seconds == seconds


@pytest.mark.parametrize(
    "header",
    [
        "Auto-Submitted: auto-replied", "List-Id: <l.example.org>", "Precedence: bulk", "X-Auto-Response-Suppress: All",
        "List-Unsubscribe: <mailto:x@example.org>",
    ],
)  # fmt: skip
def test_vacation_does_not_answer_machines(filtered: Filtered, header: str) -> None:
    assert vacation(filtered('vacation "x";', "vacation", content=header.encode() + b"\r\n" + LETTER)) is None


@pytest.mark.parametrize(
    "sender",
    ["", "MAILER-DAEMON@example.org", "owner-list@example.org", "list-request@example.org", "no-reply@example.org",
     "bob@example.com", "nobody"],
)  # fmt: skip
def test_vacation_does_not_answer_these(filtered: Filtered, sender: str) -> None:
    assert vacation(filtered('vacation "x";', "vacation", content=LETTER, sender=sender)) is None


def test_vacation_answers_only_who_wrote_to_the_owner(filtered: Filtered) -> None:
    other = LETTER.replace(b"bob@example.com", b"robert@example.net")
    assert vacation(filtered('vacation "x";', "vacation", content=other)) is None
    assert vacation(filtered('vacation :addresses "Robert@example.net" "x";', "vacation", content=other)) is not None


def test_vacation_writes_in_nobody_elses_name(filtered: Filtered) -> None:
    answer = vacation(filtered('vacation :from "eve@example.net" "x";', "vacation", content=LETTER))
    assert answer is not None
    assert answer.sender == ""


def test_vacation_twice_is_an_error(filtered: Filtered) -> None:
    outcome = filtered('vacation "x"; vacation "y";', "vacation", content=LETTER)
    assert outcome.actions == (Keep(),)
    assert outcome.fault is not None


def test_rejecting(filtered: Filtered) -> None:
    assert filtered('reject "No.";', "reject").actions == (Reject("No.", early=False),)
    assert filtered('ereject "No.";', "ereject").actions == (Reject("No.", early=True),)
    for script in ('keep; reject "No.";', 'reject "No."; redirect "a@example.org";', 'reject "a"; reject "b";'):
        outcome = filtered(script, "reject")
        assert outcome.actions == (Keep(),)
        assert outcome.fault is not None
    assert filtered('discard; reject "No.";', "reject").actions == (Reject("No.", early=False),)


def test_notifying(filtered: Filtered) -> None:
    script = (
        'notify :importance "1" :from "bob@example.com" :message "Look"'
        ' "mailto:pager@example.org,b%40example.net@example.org?to=c@example.org&subject=Hi%20there&bcc=z@example.org";'
    )
    first, last = filtered(script.replace(",b%40example.net@example.org", ""), "enotify").actions
    assert last == Keep()
    assert first == Notify(
        ("pager@example.org", "c@example.org"), "bob@example.com", "Look", "1", (("subject", "Hi there"),)
    )
    content = b"Auto-Submitted: auto-notified\r\n" + LETTER
    assert filtered('notify "mailto:a@example.org";', "enotify", content=content).actions == (Keep(),)
    broken = filtered('set "m" "tel:1"; notify "${m}";', "enotify", "variables")
    assert broken.fault is not None


def test_duplicates_are_asked_for_and_remembered() -> None:
    script = compile_script(b'require "duplicate"; if duplicate :seconds 60 { discard; }')
    situation = Situation(b"Message-ID: <a@b>\r\n\r\n", "a@b.c", "d@e.f", datetime(2026, 1, 1, tzinfo=UTC))
    question = evaluate(script, situation)
    assert isinstance(question, Question)
    first = evaluate(script, replace(situation, seen={question.key: False}))
    assert first == Outcome((Keep(),), remember=((question.key, 60),), steps=3)
    again = evaluate(script, replace(situation, seen={question.key: True}))
    assert isinstance(again, Outcome)
    assert (again.actions, again.remember) == ((), ())
    nothing = evaluate(script, replace(situation, content=b"Subject: no id\r\n\r\n"))
    assert isinstance(nothing, Outcome)
    assert nothing.actions == (Keep(),)


def test_duplicates_differ_by_handle_and_id() -> None:
    situation = Situation(b"X-A: 1\r\n\r\n", "a@b.c", "d@e.f", datetime(2026, 1, 1, tzinfo=UTC))

    def key(test: str) -> bytes:
        question = evaluate(compile_script(f'require "duplicate"; if {test} {{}}'.encode()), situation)
        assert isinstance(question, Question)
        return question.key

    assert key('duplicate :header "X-A"') == key('duplicate :uniqueid "1"')
    assert key('duplicate :uniqueid "1"') != key('duplicate :uniqueid "2"')
    assert key('duplicate :handle "h" :uniqueid "1"') != key('duplicate :uniqueid "1"')
    known = {key('duplicate :uniqueid "1"'): True}
    script = compile_script(b'require "duplicate"; if duplicate :last :seconds 9 :uniqueid "1" {}')
    refreshed = evaluate(script, replace(situation, seen=known))
    assert isinstance(refreshed, Outcome)
    assert [seconds for _, seconds in refreshed.remember] == [9]


@pytest.mark.parametrize(
    ("script", "content"),
    [
        ('addheader "X-A" "b c";', b"X-A: b c\r\n" + LETTER),
        ('addheader :last "X-A" "b";', LETTER.replace(b"\r\n\r\n", b"\r\nX-A: b\r\n\r\n")),
        ('addheader "X-A" "é";', b"X-A: =?UTF-8?B?w6k=?=\r\n" + LETTER),
        ('deleteheader "subject";', LETTER.replace(b"Subject: hi\r\n", b"")),
        ('deleteheader :contains "subject" "h";', LETTER.replace(b"Subject: hi\r\n", b"")),
        ('deleteheader :contains "subject" "x";', None),
        ('deleteheader "received";', None),
        ('addheader "Received" "forged";', None),
        ('addheader "X-A" "1"; addheader "X-A" "2"; deleteheader :index 1 :last "X-A";', b"X-A: 2\r\n" + LETTER),
    ],
)
def test_editing_the_header(filtered: Filtered, script: str, content: bytes | None) -> None:
    assert filtered(script, "editheader", content=LETTER).actions == (Keep(content=content),)


def test_later_tests_and_actions_see_an_edit(filtered: Filtered) -> None:
    script = 'redirect :copy "eve@example.org"; addheader "X-Tag" "yes";if header "X-Tag" "YES" { fileinto "Tagged"; }'
    first, second = filtered(script, "editheader", "copy", "fileinto", content=LETTER).actions
    assert first == Redirect("eve@example.org")
    assert second == FileInto("Tagged", content=b"X-Tag: yes\r\n" + LETTER)


def test_a_header_value_brings_no_field_of_its_own(filtered: Filtered) -> None:
    outcome = filtered('addheader "X-A" "b\r\nBcc: eve@example.org";', "editheader", content=LETTER)
    assert outcome.actions == (Keep(content=b"X-A: b  Bcc: eve@example.org\r\n" + LETTER),)


MIXED = (
    b"From: ann@example.org\r\nSubject: two\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nfirst\r\n"
    b'--b\r\nContent-Type: application/x-sh; name="a.sh"\r\n\r\nrm -rf\r\n'
    b"--b\r\nContent-Type: text/plain\r\n\r\nthird\r\n--b--\r\n"
)
PARTS = ("foreverypart", "mime", "variables", "fileinto", "extracttext", "replace", "enclose", "editheader")


def test_going_through_the_parts(filtered: Filtered) -> None:
    script = (
        'set "n" ""; foreverypart { if header :mime :type "content-type" "text" {'
        ' extracttext :upper :first 3 "t"; set "n" "${n}${t}."; } } fileinto "${n}";'
    )
    assert filtered(script, *PARTS, content=MIXED).actions == (FileInto("FIR.THI."),)


def test_leaving_loops_by_their_names(filtered: Filtered) -> None:
    script = (
        'set "n" ""; foreverypart :name "out" { set "n" "${n}o"; foreverypart { set "n" "${n}i";'
        ' if header :mime :subtype "content-type" "x-sh" { break :name "out"; } } } fileinto "${n}";'
    )
    assert filtered(script, *PARTS, content=MIXED).actions == (FileInto("oii"),)


def test_replacing_a_part(filtered: Filtered) -> None:
    script = (
        'addheader "X-Seen" "1"; foreverypart { if header :mime :subtype "content-type" "x-sh" {'
        ' replace "Removed: é"; addheader "X-Cut" "1"; }'
        ' if header :mime :type "content-type" "text" { replace :mime "Content-Type: text/html\r\n\r\n<p>x"; } }'
    )
    (kept,) = filtered(script, *PARTS, content=MIXED).actions
    assert isinstance(kept, Keep)
    assert kept.content is not None
    root = scan(kept.content)
    assert [part.media_type for part in root.children] == ["text/html", "text/plain", "text/html"]
    assert decode_text(kept.content, root.children[1]) == "Removed: é"
    assert kept.content.startswith(b"X-Cut: 1\r\nX-Seen: 1\r\nFrom: ann@example.org\r\n")


def test_replacing_the_message(filtered: Filtered) -> None:
    (kept,) = filtered('replace :subject "New" :from "bob@example.com" "gone";', *PARTS, content=MIXED).actions
    assert isinstance(kept, Keep)
    assert kept.content == (
        b"Subject: New\r\nOriginal-Subject: two\r\nFrom: bob@example.com\r\nOriginal-From: ann@example.org\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\ngone"
    )


def test_enclosing_the_message(filtered: Filtered) -> None:
    script = 'enclose :subject "Warning" :headers ["X-Why: because"] "Careful!";'
    (kept,) = filtered(script, *PARTS, content=MIXED).actions
    assert isinstance(kept, Keep)
    assert kept.content is not None
    root = scan(kept.content)
    text, inner = root.children
    assert decode_text(kept.content, text) == "Careful!"
    assert inner.message is not None
    assert kept.content[inner.body_start : inner.body_end] == MIXED
    header = kept.content[: root.body_start]
    assert b"From: ann@example.org\r\n" in header
    assert b"Subject: Warning\r\n" in header
    assert b"X-Why: because\r\n" in header
    assert b"Subject: two" not in header
