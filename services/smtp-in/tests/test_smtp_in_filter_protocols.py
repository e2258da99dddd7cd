"""Protocols of content filters, known answers and any octets: a value or BadAnswer, never more than was allowed."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_smtp_in.filters.changes import (
    AddField,
    BadChange,
    Change,
    ChangeField,
    Head,
    InsertField,
    RemoveFields,
    apply,
    field_name,
    split,
    write_field,
)
from posthorn_smtp_in.filters.opinions import Opinion, Result
from posthorn_smtp_in.filters.protocol import clamd, rspamd, spamd
from posthorn_smtp_in.filters.protocol.clamd import ScanAnswer
from posthorn_smtp_in.filters.protocol.problems import BadAnswer

HEAD = b"From: a\r\nX-A: 1\r\n folded\r\nSubject: s\r\nx-a: 2\r\n\r\n"


@pytest.mark.parametrize(
    ("octets", "answer"),
    [
        (b"1: stream: OK\0", ScanAnswer(1)),
        (b"12: stream: Win.Test \x01\xffX FOUND\0", ScanAnswer(12, infection="Win.Test_X")),
        (b"INSTREAM size limit exceeded. ERROR\0", ScanAnswer(0, problem="INSTREAM size limit exceeded. ERROR")),
        (b"3: stream: Can't open file ERROR\0", ScanAnswer(3, problem="Can't open file ERROR")),
        (b"1: stream: O", None),
    ],
)
def test_answers_of_clamd(octets: bytes, answer: ScanAnswer | None) -> None:
    assert clamd.read_answer(octets) == answer


def test_a_report_of_spamd_whole_and_octet_by_octet() -> None:
    octets = b"SPAMD/1.1 0 EX_OK\r\nContent-length: 11\r\nSpam: True ; 15.25 / -5\r\n\r\nGTUBE,X_Y\r\n"
    for length in range(len(octets)):
        assert spamd.read_response(octets[:length], ended=False) is None
        with pytest.raises(BadAnswer):
            spamd.read_response(octets[:length], ended=True)
    report = spamd.read_response(octets, ended=False)
    assert report is not None
    assert (report.spam, report.score, report.required) == (True, 15.25, -5)
    assert report.symbols == ("GTUBE", "X_Y")


def test_a_request_to_spamd() -> None:
    assert (
        spamd.request("symbols", size=7, user="ann") == b"SYMBOLS SPAMC/1.5\r\nContent-length: 7\r\nUser: ann\r\n\r\n"
    )
    with pytest.raises(ValueError, match="control"):
        spamd.request("check", size=1, user="ann\r\nX: y")


def exchange(answer: bytes, *, pieces: int = 1) -> rspamd.SpamJudgement | None:
    asked = rspamd.Exchange("rspamd", [("Rcpt", "b\u00fccher@example.org"), ("User", "")], 3)
    head = asked.head() + asked.body(b"a\r\n") + asked.end()
    assert head.endswith(b"\r\n\r\na\r\n")
    assert b"Rcpt: b\xc3\xbccher@example.org\r\n" in head
    assert b"User" not in head
    found = None
    for start in range(0, len(answer), pieces):
        assert found is None
        found = asked.feed(answer[start : start + pieces])
    return found


JUDGEMENT = {
    "action": "add header",
    "score": 7.5,
    "required_score": 15,
    "symbols": {"A_B": {"score": 1}, "bad name": {}},
    "messages": {"smtp_message": "no\r\n250 OK"},
    "milter": {
        "remove_headers": {"X-A": 0, "X-B": -1, "X-C": 10**30, "X-D": "x"},
        "add_headers": {"X-E": "e", "X-F": [{"value": "f", "order": 10**30}, "g"]},
    },
}


@pytest.mark.parametrize("pieces", [1, 7, 10_000])
def test_a_judgement_of_rspamd_however_it_comes(pieces: int) -> None:
    body = json.dumps(JUDGEMENT).encode()
    found = exchange(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), pieces=pieces)
    assert found is not None
    assert (found.action, found.score, found.required, found.symbols) == ("add header", 7.5, 15.0, ("A_B",))
    assert found.words == "no 250 OK"
    changed = apply(split(b"X-A: 1\r\nX-B: 1\r\nX-b: 2\r\nx-a: 2\r\n\r\n"), found.changes).encode()
    assert changed == b"X-B: 1\r\nX-E: e\r\nX-F: f\r\nX-F: g\r\n\r\n"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*JUDGEMENT, "dkim-signature"], json_values)), json_values)
def test_any_json_is_a_judgement_or_a_bad_answer(answer: dict[str, object], milter: object) -> None:
    for value in (
        answer,
        {**JUDGEMENT, **answer},
        {**JUDGEMENT, "milter": {"add_headers": milter, "remove_headers": milter}},
    ):
        try:
            found = rspamd.read_judgement(json.dumps(value).encode())
            apply(split(HEAD), found.changes)
        except (BadAnswer, BadChange):
            continue
        assert found.action


def test_json_as_deep_as_it_gets_is_a_bad_answer() -> None:
    with pytest.raises(BadAnswer):
        rspamd.read_judgement(b"[" * 900_000)


@given(st.binary(max_size=3000), st.booleans())
def test_any_octets_are_an_answer_or_a_bad_one(octets: bytes, ended: bool) -> None:
    with suppress(BadAnswer):
        exchange(b"HTTP/1.1 200 OK\r\n" + octets, pieces=100)
    for prefix in (b"", b"1: stream: ", b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 1 / 2\r\n"):
        for read in (clamd.read_answer, lambda data: spamd.read_response(data, ended=ended)):
            try:
                found = read(prefix + octets)
            except BadAnswer:
                continue
            assert found is None or found


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        (AddField(b"X-B", b"3"), b"From: a\r\nX-A: 1\r\n folded\r\nSubject: s\r\nx-a: 2\r\nX-B: 3\r\n\r\n"),
        (InsertField(2, b"X-B", b"3"), b"From: a\r\nX-B: 3\r\nX-A: 1\r\n folded\r\nSubject: s\r\nx-a: 2\r\n\r\n"),
        (InsertField(99, b"X-B", b"3"), b"From: a\r\nX-A: 1\r\n folded\r\nSubject: s\r\nx-a: 2\r\nX-B: 3\r\n\r\n"),
        (ChangeField(b"X-a", 2, b"new"), b"From: a\r\nX-A: 1\r\n folded\r\nSubject: s\r\nX-a: new\r\n\r\n"),
        (ChangeField(b"x-A", 1, b""), b"From: a\r\nSubject: s\r\nx-a: 2\r\n\r\n"),
        (ChangeField(b"X-C", 1, b""), HEAD),
        (ChangeField(b"X-C", 3, b"c"), HEAD[:-2] + b"X-C: c\r\n\r\n"),
        (RemoveFields(b"X-A"), b"From: a\r\nSubject: s\r\n\r\n"),
    ],
)
def test_changes_of_fields(change: Change, fields: bytes) -> None:
    assert apply(split(HEAD), [change]).encode() == fields


def test_what_is_no_field_ends_the_fields() -> None:
    assert split(b"A: 1\r\nno field\r\nB: 2\r\n\r\n") == Head((b"A: 1\r\n",), b"no field\r\nB: 2\r\n\r\n")
    assert split(b"A: 1") == Head((b"A: 1\r\n",), b"")
    assert split(b" x\r\n") == Head((), b" x\r\n")


@given(st.binary(max_size=300))
def test_any_octets_are_a_head_that_reads_back(octets: bytes) -> None:
    head = split(octets)
    assert head.encode() in (octets, octets + b"\r\n")
    assert all(field.endswith(b"\r\n") for field in head.fields)


@given(st.binary(min_size=1, max_size=10), st.binary(max_size=200))
def test_no_value_ends_its_field(name: bytes, value: bytes) -> None:
    try:
        field = write_field(name, value)
    except BadChange:
        return
    head = split(field + b"\r\n")
    assert head == Head((field,), b"\r\n")
    assert field_name(head.fields[0]) == name.lower()
    assert b"\0" not in field
    assert field.replace(b"\r\n", b"").count(b"\r") == field.replace(b"\r\n", b"").count(b"\n") == 0


@pytest.mark.parametrize(
    ("given_result", "junk", "reject", "result"),
    [
        (Result.PASSED, None, None, Result.PASSED),
        (Result.PASSED, 4.0, None, Result.JUNK),
        (Result.JUNK, 8.0, None, Result.PASSED),
        (Result.JUNK, None, 5.0, Result.REJECTED),
        (Result.REJECTED, None, 9.0, Result.JUNK),
        (Result.DEFERRED, 4.0, None, Result.DEFERRED),
    ],
)
def test_thresholds(given_result: Result, junk: float | None, reject: float | None, result: Result) -> None:
    opinion = Opinion("f", given_result, score=5.0, required=6.0)
    assert opinion.limited(junk=junk, reject=reject).result is result
