"""Trees built and scanned again; trees and texts beside the standard library's parser."""

import base64
import quopri
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from email.policy import default

from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn_mail_format import scan
from posthorn_mail_format.part import Part
from posthorn_mail_format.scan import MAX_DEPTH, MAX_PARTS
from posthorn_mail_format.text import decode_bytes, decode_text


@dataclass(frozen=True, slots=True)
class Leaf:
    media_type: str
    encoding: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Inside:
    """A message inside."""

    root: "Tree"


@dataclass(frozen=True, slots=True)
class Multi:
    subtype: str
    parts: "tuple[Tree, ...]"
    preamble: bytes
    epilogue: bytes


Tree = Leaf | Inside | Multi
LINES = st.lists(st.sampled_from([b"--", b"--b", b"--b1", b"a", b"", b"\xff\0", b"=", b"From x", b"X: y"]), max_size=4)
TEXT = LINES.map(b"\r\n".join)
LEAVES = st.builds(
    Leaf,
    st.sampled_from(["text/plain", "text/html", "image/png", "application/pdf", "message/delivery-status"]),
    st.sampled_from(["7bit", "base64", "quoted-printable"]),
    TEXT,
)


def above(below: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    subtypes = st.sampled_from(["mixed", "alternative", "related", "signed"])
    multi = st.builds(Multi, subtypes, st.lists(below, min_size=1, max_size=4).map(tuple), TEXT, TEXT)
    return multi | st.builds(Inside, below)


TREES = st.recursive(LEAVES, above, max_leaves=12)


def built(tree: Tree, end: bytes, number: str = "") -> bytes:
    """The message of a tree; boundaries begin with each other, so that only whole lines tell them apart."""
    if isinstance(tree, Leaf):
        body = tree.content
        if tree.encoding == "base64":
            body = base64.encodebytes(body)
        elif tree.encoding == "quoted-printable":
            body = quopri.encodestring(body)
        head = f"Content-Type: {tree.media_type}\nContent-Transfer-Encoding: {tree.encoding}\n"
        return head.encode().replace(b"\n", end) + end + body.replace(b"\r\n", b"\n").replace(b"\n", end)
    if isinstance(tree, Inside):
        return b"Content-Type: message/rfc822" + end + end + b"Subject: x" + end + built(tree.root, end, number)
    boundary = f"b{number}.z"
    pieces = [f'Content-Type: multipart/{tree.subtype}; boundary="{boundary}"'.encode() + end]
    pieces.append(tree.preamble.replace(b"\r\n", end))
    for index, part in enumerate(tree.parts):
        pieces.append(b"--" + boundary.encode() + end + built(part, end, f"{number}{index}"))
    return end.join([*pieces, b"--" + boundary.encode() + b"--", tree.epilogue.replace(b"\r\n", end)])


def same(tree: Tree, part: Part, data: bytes, end: bytes) -> None:
    if isinstance(tree, Leaf):
        assert (part.media_type, part.encoding) == (tree.media_type, tree.encoding)
        decoded = decode_bytes(data, part)
        assert part.decoded_size == len(decoded)
        # Only base64 keeps line ends whatever those of the message are.
        assert decoded == (tree.content if tree.encoding == "base64" else tree.content.replace(b"\r\n", end))
    elif isinstance(tree, Inside):
        assert part.message is not None
        same(tree.root, part.message, data, end)
    else:
        assert part.media_type == f"multipart/{tree.subtype}"
        assert len(part.children) == len(tree.parts)
        for child, below in zip(tree.parts, part.children, strict=True):
            same(child, below, data, end)


@settings(max_examples=300)
@given(TREES, st.sampled_from([b"\r\n", b"\n"]))
def test_a_tree_that_was_built_is_found_again(tree: Tree, end: bytes) -> None:
    data = built(tree, end)
    same(tree, scan(data), data, end)


@given(TREES, st.binary(max_size=30), st.integers(0, 2000), st.integers(0, 2000))
def test_a_tree_torn_apart_stays_within_the_limits(tree: Tree, noise: bytes, first: int, second: int) -> None:
    data = built(tree, b"\r\n")
    root = scan(data[:first] + noise + data[second:])
    assert sum(1 for _ in root.walk()) <= MAX_PARTS
    assert depth(root) <= MAX_DEPTH + 1


def depth(part: Part) -> int:
    below = [*part.children, *([part.message] if part.message else [])]
    return 1 + max(map(depth, below), default=0)


def leaves(ours: Part, theirs: Message) -> Iterator[tuple[Part, Message]]:
    """Pairs of leaves of two trees; fails where the trees differ.

    The standard library also reads messages in delivery status, external bodies and fragments: leaves here.
    """
    assert ours.media_type == theirs.get_content_type()
    below = [ours.message] if ours.message else ours.children
    if not below:
        yield ours, theirs
        return
    payload = theirs.get_payload()
    assert isinstance(payload, list)
    for part, message in zip(below, payload, strict=True):
        assert isinstance(message, Message)
        yield from leaves(part, message)


def is_whole(message: Message) -> bool:
    """The standard library found nothing to complain about, in no part."""
    return not any(part.defects for part in message.walk())


READ_OTHERWISE = {
    "malformed_000.eml": "two delimiter lines on end are one there, with an empty part between them here",
    "attachment_emails_attachment_with_unquoted_name.eml": "a name without quotes is its first word there",
    "thirdparty_003.eml": "white space after an encoding is passed over here",
}


def test_the_corpus_has_the_trees_and_octets_that_the_standard_library_finds(
    corpus_messages: list[tuple[str, bytes]],
) -> None:
    octets = 0
    for name, data in corpus_messages:
        message = message_from_bytes(data)
        if not is_whole(message) or name.removesuffix(" (CRLF)") in READ_OTHERWISE:
            continue
        for part, leaf in leaves(scan(data), message):
            if leaf.is_multipart():
                continue
            assert decode_bytes(data, part) == leaf.get_payload(decode=True), name
            octets += 1
    assert octets > 600


# Charsets of one meaning everywhere; of the others we read the wider ones that senders mean.
STRICT = frozenset({"utf-8", "iso-8859-2", "iso-8859-15", "iso-2022-jp", "koi8-r", "windows-1251", "euc-jp", "big5"})


def test_the_corpus_has_the_names_and_texts_that_the_standard_library_finds(
    corpus_messages: list[tuple[str, bytes]],
) -> None:
    texts, names = 0, 0
    for name, data in corpus_messages:
        message = message_from_bytes(data, policy=default)
        if not is_whole(message) or name.removesuffix(" (CRLF)") in READ_OTHERWISE:
            continue
        for part, leaf in leaves(scan(data), message):
            if part.type == "text" and part.charset and part.charset.lower() in STRICT:
                try:
                    expected = leaf.get_content(errors="strict")
                except UnicodeDecodeError:
                    continue
                assert decode_text(data, part) == expected.replace("\r\n", "\n"), name
                texts += 1
            # Raw octets in names are guessed at here and replaced there.
            there = leaf.get_filename()
            if there is not None and "\ufffd" not in there:
                assert part.name == there, name
                names += 1
    assert texts > 60
    assert names > 150
