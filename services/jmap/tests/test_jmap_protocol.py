"""The protocol core without IO: requests, references, patches, windows, ids, new emails; known and hostile input."""

import json
from typing import Any

import pytest

from posthorn_jmap.protocol import ids, request
from posthorn_jmap.protocol.arguments import Arguments, patch, utc_date, utc_text
from posthorn_jmap.protocol.errors import MethodError, RequestProblem, SetError
from posthorn_jmap.protocol.header_property import header_property
from posthorn_jmap.protocol.new_email import new_email
from posthorn_jmap.protocol.query import MAX_IDS, MAX_NODES, Condition, filter_tree, window
from posthorn_jmap.protocol.session import CAPABILITIES, CORE, MAIL
from posthorn_model.ids import BlobKey


def parse(payload: Any) -> request.ApiRequest:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return request.parse(body, capabilities=CAPABILITIES, max_calls=3)


def test_a_request_is_read() -> None:
    found = parse({"using": [CORE, MAIL], "methodCalls": [["Core/echo", {"a": 1}, "c1"]], "createdIds": {"k": "e1"}})
    assert found.using == {CORE, MAIL}
    assert found.calls == (request.Call("Core/echo", {"a": 1}, "c1"),)
    assert found.created_ids == {"k": "e1"}
    assert parse({"using": [], "methodCalls": [], "more": 1}).created_ids is None


DEEP = b'{"using":[],"methodCalls":[["x",{"a":' + b"[" * 100 + b"]" * 100 + b'},"c"]]}'


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"", "notJSON"),
        (b"{", "notJSON"),
        (b'{"using":[],"methodCalls":[]} trailing', "notJSON"),
        (b'{"using":[],"using":[],"methodCalls":[]}', "notJSON"),
        (b'{"using":[],"methodCalls":[["x",{"a":1,"a":2},"c"]]}', "notJSON"),
        (b'{"using":[],"methodCalls":[["x",{"a":NaN},"c"]]}', "notJSON"),
        (b'{"using":[],"methodCalls":[["x",{"a":1e999},"c"]]}', "notJSON"),
        (b'{"using":[],"methodCalls":[["x",{"a":"\\ud800"},"c"]]}', "notJSON"),
        (b'{"using":[],"methodCalls":[["x",{"a":' + b"1" * 5000 + b'},"c"]]}', "notJSON"),
        (b'{"using":["\xff"],"methodCalls":[]}', "notJSON"),
        ('{"using":[],"methodCalls":[]}'.encode("utf-16"), "notJSON"),
        (DEEP, "notJSON"),
        (b"[" * 100_000, "notJSON"),
        (b"[]", "notRequest"),
        (b'"text"', "notRequest"),
        (b"{}", "notRequest"),
        ({"using": CORE, "methodCalls": []}, "notRequest"),
        ({"using": [1], "methodCalls": []}, "notRequest"),
        ({"using": [CORE]}, "notRequest"),
        ({"using": [], "methodCalls": {}}, "notRequest"),
        ({"using": [], "methodCalls": ["Core/echo"]}, "notRequest"),
        ({"using": [], "methodCalls": [["Core/echo", {}]]}, "notRequest"),
        ({"using": [], "methodCalls": [["Core/echo", [], "c"]]}, "notRequest"),
        ({"using": [], "methodCalls": [["Core/echo", {}, 7]]}, "notRequest"),
        ({"using": [], "methodCalls": [], "createdIds": {"k": 1}}, "notRequest"),
        ({"using": ["urn:example:nothing"], "methodCalls": []}, "unknownCapability"),
        ({"using": [], "methodCalls": [["Core/echo", {}, "c"]] * 4}, "limit"),
    ],
)
def test_a_wrong_request_is_refused(payload: Any, kind: str) -> None:
    with pytest.raises(RequestProblem) as refused:
        parse(payload)
    body = refused.value.body()
    assert body["type"] == f"urn:ietf:params:jmap:error:{kind}"
    assert body["status"] == 400
    assert body.get("limit") == ("maxCallsInRequest" if kind == "limit" else None)


RESPONSES: list[tuple[str, Any, str]] = [
    ("Email/query", {"ids": ["e1", "e2"], "a/b": {"m~n": 7}}, "q"),
    ("Email/get", {"list": [{"threadId": "t1", "ids": ["x"]}, {"threadId": "t2", "ids": ["y", "z"]}]}, "g"),
]


def reference(call: str, name: str, path: str) -> dict[str, Any]:
    return {"#ids": {"resultOf": call, "name": name, "path": path}}


@pytest.mark.parametrize(
    ("call", "name", "path", "value"),
    [
        ("q", "Email/query", "/ids", ["e1", "e2"]),
        ("q", "Email/query", "/ids/1", "e2"),
        ("q", "Email/query", "/a~1b/m~0n", 7),
        ("g", "Email/get", "/list/*/threadId", ["t1", "t2"]),
        ("g", "Email/get", "/list/*/ids", ["x", "y", "z"]),
    ],
)
def test_references_are_followed(call: str, name: str, path: str, value: Any) -> None:
    assert request.resolve({"b": 1, **reference(call, name, path)}, RESPONSES) == {"b": 1, "ids": value}


@pytest.mark.parametrize(
    "arguments",
    [
        reference("none", "Email/query", "/ids"),
        reference("q", "Email/get", "/ids"),
        reference("q", "Email/query", "/ids/2"),
        reference("q", "Email/query", "/ids/-1"),
        reference("q", "Email/query", "/ids/٣"),
        reference("q", "Email/query", "ids"),
        reference("q", "Email/query", "/ids/*/x"),
        {"#ids": "q"},
        {"#ids": {"resultOf": "q", "name": "Email/query"}},
    ],
)
def test_wrong_references_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(MethodError) as refused:
        request.resolve(arguments, RESPONSES)
    assert refused.value.kind == "invalidResultReference"


def test_an_argument_given_twice_is_refused() -> None:
    with pytest.raises(MethodError) as refused:
        request.resolve({"ids": [], **reference("q", "Email/query", "/ids")}, RESPONSES)
    assert refused.value.kind == "invalidArguments"


def test_patches() -> None:
    current = {"keywords": {"$seen": True}, "name": "x"}
    assert patch(current, {"keywords/$flagged": True, "keywords/$seen": None, "name": "y"}) == {
        "keywords": {"$flagged": True},
        "name": "y",
    }
    assert patch(current, {"keywords/a~1b": True})["keywords"] == {"$seen": True, "a/b": True}
    assert current == {"keywords": {"$seen": True}, "name": "x"}
    for wrong in ({"keywords": {}, "keywords/a": True}, {"name/a": 1}, {"none/a": 1}, {"keywords/a/b": True}):
        with pytest.raises(ValueError):
            patch(current, wrong)


@pytest.mark.parametrize(
    ("arguments", "position", "found"),
    [
        ({}, 0, ["a", "b", "c", "d"]),
        ({"position": 1, "limit": 2}, 1, ["b", "c"]),
        ({"position": -1}, 3, ["d"]),
        ({"position": -9}, 0, ["a", "b", "c", "d"]),
        ({"position": 9}, 9, []),
        ({"limit": 0}, 0, []),
        ({"anchor": "c"}, 2, ["c", "d"]),
        ({"anchor": "c", "anchorOffset": -1, "limit": 1}, 1, ["b"]),
        ({"anchor": "b", "anchorOffset": -9}, 0, ["a", "b", "c", "d"]),
        ({"anchor": "c", "anchorOffset": 1, "position": 7}, 3, ["d"]),
    ],
)
def test_windows(arguments: dict[str, Any], position: int, found: list[str]) -> None:
    shown = window(Arguments(arguments), ["a", "b", "c", "d"])
    assert (shown.position, shown.ids) == (position, found)


def test_windows_are_bounded_and_checked() -> None:
    assert len(window(Arguments({"limit": 10**9}), ["x"] * (MAX_IDS + 5)).ids) == MAX_IDS
    with pytest.raises(MethodError) as refused:
        window(Arguments({"anchor": "z"}), ["a"])
    assert refused.value.kind == "anchorNotFound"
    for wrong in ({"limit": -1}, {"position": "1"}, {"position": True}, {"anchor": 1}, {"limit": 2**53}):
        with pytest.raises(MethodError) as refused:
            window(Arguments(wrong), ["a"])
        assert refused.value.kind == "invalidArguments"


def is_leaf(leaf: dict[str, Any]) -> Condition[int]:
    return Condition(lambda value: value == leaf["is"])


def test_filter_trees() -> None:
    tree = {"operator": "OR", "conditions": [{"is": 1}, {"operator": "NOT", "conditions": [{"is": 2}, {"is": 3}]}]}
    found = filter_tree(tree, is_leaf)
    assert found is not None
    assert [value for value in range(5) if found.holds(value)] == [0, 1, 4]
    assert filter_tree(None, is_leaf) is None


@pytest.mark.parametrize(
    ("tree", "kind"),
    [
        ({"operator": "XOR", "conditions": []}, "invalidArguments"),
        ({"operator": "AND"}, "invalidArguments"),
        ({"operator": "AND", "conditions": [1]}, "invalidArguments"),
        ({"operator": "AND", "conditions": [{"is": 1}] * MAX_NODES}, "unsupportedFilter"),
    ],
)
def test_wrong_filters_are_refused(tree: dict[str, Any], kind: str) -> None:
    with pytest.raises(MethodError) as refused:
        filter_tree(tree, is_leaf)
    assert refused.value.kind == kind


def test_ids_and_their_inverse() -> None:
    assert ids.from_wire("m", ids.to_wire("m", 17)) == 17
    for wrong in ("17", "e17", "m", "m-1", "m1x", "m٣", "m" + "9" * 19, 17, None):
        assert ids.from_wire("m", wrong) is None
    key = BlobKey(bytes(range(32)))
    for reference_ in (
        ids.BlobRef(key),
        ids.BlobRef(BlobKey(key + b"\x01")),
        ids.BlobRef(key, 10, 20, "base64"),
        ids.BlobRef(key, 0, 0, "quoted-printable"),
        ids.BlobRef(key, 5, 6, ""),
    ):
        assert ids.blob_from_wire(reference_.wire()) == reference_
    whole = ids.BlobRef(key).wire()
    for wrong in ("", whole[:-1], whole.upper(), f"{whole}-1", f"{whole}-1-2-x", f"{whole}--1-2-n", f"{whole}\n", 5):
        assert ids.blob_from_wire(wrong) is None


def test_dates() -> None:
    assert utc_text(utc_date("2026-01-05T09:00:01Z")) == "2026-01-05T09:00:01Z"
    assert utc_text(utc_date("2026-01-05T09:00:01.5Z")) == "2026-01-05T09:00:01Z"
    for wrong in ("2026-01-05", "2026-01-05T09:00:01+01:00", "yesterdayTZ", 5, None):
        with pytest.raises(ValueError):
            utc_date(wrong)


def test_arguments_name_what_is_wrong() -> None:
    arguments = Arguments({"a": 1, "b": "x", "c": ["y", "y"], "d": [1], "e": {}, "f": True})
    assert arguments.strings("c") == ["y"]
    assert arguments.flag("f") is True
    assert arguments.flag("none", default=True) is True
    for read in (
        lambda: arguments.text("a"),
        lambda: arguments.flag("b"),
        lambda: arguments.number("f"),
        lambda: arguments.strings("d"),
        lambda: arguments.objects("d"),
        lambda: arguments.mapping("c"),
        lambda: arguments.properties(["z"], "c"),
        lambda: arguments.only("a", "b"),
    ):
        with pytest.raises(MethodError) as refused:
            read()
        assert refused.value.kind == "invalidArguments"
        assert refused.value.description


def test_header_properties_are_read() -> None:
    found = header_property("header:List-Id:asText:all")
    assert found is not None
    assert (found.name, found.form, found.every) == ("List-Id", "asText", True)
    assert header_property("header:X-Any:asURLs") is not None
    for wrong in ("header:", "header:A B", "header:From:asDate", "header:Received:asText", "header:X:asx", "Header:X"):
        assert header_property(wrong) is None


TEXT = {"bodyValues": {"t": {"value": "hi"}}, "textBody": [{"partId": "t"}]}


def test_new_emails_are_read() -> None:
    found = new_email(
        {
            **TEXT,
            "from": [{"name": "Ann", "email": "ann@example.org"}],
            "subject": "Hi",
            "inReplyTo": ["a@b"],
            "cc": None,
            "header:X-Two:asText:all": ["one", "two"],
            "attachments": [
                {"blobId": "b1", "type": "image/png", "name": "x.png", "disposition": "Inline", "cid": "c"}
            ],
        }
    )
    assert found.headers == (
        ("From", "Ann <ann@example.org>"),
        ("Subject", "Hi"),
        ("In-Reply-To", "<a@b>"),
        ("X-Two", "one"),
        ("X-Two", "two"),
    )
    assert found.text is not None
    assert (found.text.type, found.text.value) == ("text/plain", "hi")
    assert (found.attachments[0].blob_id, found.attachments[0].disposition) == ("b1", "inline")


@pytest.mark.parametrize(
    ("value", "blamed"),
    [
        ({"colour": 1}, "colour"),
        ({"id": "e1"}, "id"),
        ({"size": 1}, "size"),
        ({"headers": []}, "headers"),
        ({"subject": 7}, "subject"),
        ({"from": "ann@example.org"}, "from"),
        ({"from": [{"email": "ann@example.org", "x": 1}]}, "from"),
        ({"from": [{"email": "a\r\nBcc: b@c"}]}, "from"),
        ({"messageId": ["a b"]}, "messageId"),
        ({"sentAt": "yesterday"}, "sentAt"),
        ({"subject": "a", "header:Subject": "b"}, "header:Subject"),
        ({"header:Content-Type": "text/plain"}, "header:Content-Type"),
        ({"header:X:all": "one"}, "header:X:all"),
        ({"header:From:asDate": "x"}, "header:From:asDate"),
        ({"bodyValues": []}, "bodyValues"),
        ({"bodyValues": {"t": "text"}}, "bodyValues"),
        ({"bodyValues": {"t": {"value": "x", "isTruncated": True}}}, "bodyValues"),
        ({"textBody": [{"partId": "none"}]}, "textBody/partId"),
        ({**TEXT, "textBody": []}, "textBody"),
        ({**TEXT, "textBody": [{"partId": "t", "type": "text/html"}]}, "textBody"),
        ({**TEXT, "htmlBody": [{"partId": "t", "type": "text/plain"}]}, "htmlBody"),
        ({**TEXT, "textBody": [{"partId": "t", "charset": "latin1"}]}, "textBody/charset"),
        ({**TEXT, "textBody": [{"partId": "t", "blobId": "b1"}]}, "textBody/partId"),
        ({**TEXT, "bodyStructure": {"partId": "t"}}, "bodyStructure"),
        ({"attachments": [{}]}, "attachments/partId"),
        ({"attachments": [{"blobId": 7}]}, "attachments/blobId"),
        ({"attachments": [{"blobId": "b", "type": "nothing"}]}, "attachments/type"),
        ({"attachments": [{"blobId": "b", "name": 5}]}, "attachments/name"),
        ({"attachments": [{"blobId": "b", "colour": 5}]}, "attachments/colour"),
        ({"attachments": [{"blobId": "b", "cid": "c", "header:Content-ID": "<d>"}]}, "attachments/header:Content-ID"),
        (
            {"attachments": [{"blobId": "b", "header:Content-Transfer-Encoding": "7bit"}]},
            "attachments/header:Content-Tra",
        ),
        ({"bodyStructure": {"type": "text/plain", "subParts": [{"blobId": "b"}]}}, "bodyStructure/subParts"),
        (
            {"bodyStructure": {"type": "multipart/mixed", "blobId": "b", "subParts": [{"blobId": "b"}]}},
            "bodyStructure/",
        ),
    ],
)
def test_wrong_new_emails_are_refused(value: dict[str, Any], blamed: str) -> None:
    with pytest.raises(SetError) as refused:
        new_email(value)
    assert refused.value.kind == "invalidProperties"
    assert any(name.startswith(blamed) for name in refused.value.fields["properties"])


def test_parts_are_bounded() -> None:
    with pytest.raises(SetError):
        new_email({"attachments": [{"blobId": "b"}] * 501})
    nested: dict[str, Any] = {"blobId": "b"}
    for _ in range(60):
        nested = {"type": "multipart/mixed", "subParts": [nested]}
    assert new_email({"bodyStructure": nested}).structure is not None
