"""Envelopes and structures beside Dovecot's: its answers for our samples are recorded, those for the corpus asked live.

Some of what is read otherwise than by Dovecot is read so by Cyrus, which is asked live too.

What two servers may write differently is made alike first (letter case of types, one language or a list of them,
us-ascii said or meant, names in pieces, placeholders for what is missing); what else differs is named with its reason.
"""

from pathlib import Path
from typing import Any

import pytest

from posthorn_mail_format import imap_view, scan
from posthorn_mail_format.headers import by_name, iterate
from posthorn_mail_format.parameters import decode_parameters
from posthorn_testkit.corpus import with_crlf
from posthorn_testkit.cyrus import answer, running_cyrus
from posthorn_testkit.dovecot import structures, values

SAMPLES = Path(__file__).parent / "samples"
NAMES = sorted(path.stem for path in SAMPLES.glob("*.eml"))
PLACEHOLDERS = (b"MISSING_MAILBOX", b"MISSING_DOMAIN", b"SYNTAX_ERROR")

NO_PART = "a multipart without any part: text of its own here, a multipart with an empty part there"
PREFIX = "a line that only begins like the boundary ends a part there"
NESTED_END = "the line end before an outer boundary counts for a message without a body there"
BAD_LINE = "a line that is no field ends the header here, and is passed over there"
SPACES = "an unquoted value with spaces is whole here, its first word there"
GUESSED = "what is no token is the nearest known thing here, empty there"
OBSOLETE = "broken or obsolete addresses are read further here"
DIFFERENT_STRUCTURES = {
    "mail-parser/malformed_001.eml": NO_PART,
    "mail-parser/malformed_002.eml": NO_PART,
    "mail-parser/malformed_003.eml": NO_PART,
    "mail-parser/malformed_004.eml": NO_PART,
    "mail-parser/malformed_005.eml": NO_PART,
    "mail-parser/malformed_007.eml": PREFIX,
    "mail-parser/malformed_013.eml": PREFIX,
    "mail-parser/malformed_016.eml": PREFIX,
    "mail-parser/malformed_017.eml": GUESSED,
    "mail-parser/malformed_019.eml": NO_PART,
    "mail-parser/malformed_022.eml": NESTED_END,
    "mail-parser/rfc_001.eml": SPACES,
    "mail-parser/rfc_008.eml": NESTED_END,
    "mail-parser/thirdparty_007.eml": NESTED_END,
    "mail-parser/thirdparty_015.eml": NO_PART,
    "mikel-mail/attachment_emails_attachment_message_rfc822_inline_image.eml": NO_PART,
    "mikel-mail/attachment_emails_attachment_with_unquoted_name.eml": SPACES,
    "mikel-mail/error_emails_bad_date_header2.eml": NO_PART,
    "mikel-mail/error_emails_content_transfer_encoding_with_semi_colon.eml": GUESSED,
    "mikel-mail/error_emails_empty_in_reply_to.eml": NO_PART,
    "mikel-mail/error_emails_missing_body.eml": NO_PART,
    "mikel-mail/error_emails_missing_content_disposition.eml": GUESSED,
    "mikel-mail/error_emails_multiple_invalid_content_dispositions.eml": GUESSED,
    "mikel-mail/error_emails_must_supply_encoding.eml": NO_PART,
    "mikel-mail/mime_emails_raw_email4.eml": PREFIX,
    "mikel-mail/mime_emails_raw_email_with_binary_encoded.eml": SPACES,
    "mikel-mail/mime_emails_raw_email_with_illegal_boundary.eml": SPACES,
    "mikel-mail/plain_emails_raw_email_bad_time.eml": SPACES,
    "mikel-mail/plain_emails_raw_email_incorrect_header.eml": BAD_LINE,
    "mikel-mail/rfc2822_example13.eml": BAD_LINE,
}
DIFFERENT_ENVELOPES = {
    "mikel-mail/error_emails_missing_body.eml": OBSOLETE,
    "mikel-mail/plain_emails_mix_caps_content_type.eml": OBSOLETE,
    "mikel-mail/plain_emails_raw_email_incorrect_header.eml": BAD_LINE,
    "mikel-mail/plain_emails_raw_email_multiple_from.eml": OBSOLETE,
    "mikel-mail/plain_emails_raw_email_with_at_display_name.eml": OBSOLETE,
    "mikel-mail/rfc2822_example13.eml": BAD_LINE,
}
LIKE_CYRUS = {
    "mail-parser/malformed_017.eml": "BODYSTRUCTURE",
    "mikel-mail/attachment_emails_attachment_with_unquoted_name.eml": "BODYSTRUCTURE",
    "mikel-mail/error_emails_missing_body.eml": "ENVELOPE",
    "mikel-mail/mime_emails_raw_email4.eml": "BODYSTRUCTURE",
    "mikel-mail/mime_emails_raw_email_with_binary_encoded.eml": "BODYSTRUCTURE",
    "mikel-mail/mime_emails_raw_email_with_illegal_boundary.eml": "BODYSTRUCTURE",
    "mikel-mail/plain_emails_raw_email_bad_time.eml": "BODYSTRUCTURE",
}
"""Of those above, what Cyrus reads as it is read here. Three of the others it does not take."""


def ours(data: bytes) -> tuple[Any, Any]:
    root = scan(data)
    fields = by_name(iterate(data, root.header_start, root.body_start))
    return envelope(imap_view.envelope(fields)), structure(imap_view.body_structure(data, root))


def envelope(raw: bytes) -> Any:
    (items,) = values(raw)
    return alike_envelope(items)


def structure(raw: bytes) -> Any:
    (items,) = values(raw)
    return alike(items)


def alike_envelope(items: Any) -> Any:
    return [addresses(item) if isinstance(item, list) else words(item) for item in items]


def words(text: Any) -> Any:
    return b" ".join(text.split()) if text is not None else None


def addresses(items: Any) -> Any:
    read = [[words(b"" if part in PLACEHOLDERS else part) for part in address] for address in items]
    return [address for address in read if any(address) or address == [None] * 4] or None


def parameters(items: Any) -> dict[str, str]:
    pairs = [bytes(item).decode("utf-8", "surrogateescape") for item in items or ()]
    raw = tuple((name.lower(), value) for name, value in zip(pairs[::2], pairs[1::2], strict=True))
    found = decode_parameters(raw)
    return {key: value for key, value in found.items() if (key, value.lower()) != ("charset", "us-ascii")}


def extension(items: Any) -> Any:
    """Disposition, language, location."""
    disposition, language, location = items
    kind = (disposition[0].lower(), parameters(disposition[1])) if disposition else None
    return kind, [language] if isinstance(language, bytes) else language, location


def alike(items: Any) -> Any:
    if isinstance(items[0], list):
        count = sum(isinstance(item, list) for item in items[: 1 + [type(item) for item in items].index(bytes)])
        subtype, params, *rest = items[count:]
        return (
            "multipart",
            subtype.lower(),
            parameters(params),
            extension(rest),
            [alike(item) for item in items[:count]],
        )
    kind, subtype, params, cid, description, encoding, size, *rest = items
    kind, subtype = kind.lower(), subtype.lower()
    inner: Any = None
    if (kind, subtype) == (b"message", b"rfc822"):
        inner = (alike_envelope(rest[0]), alike(rest[1]), rest[2])
        rest = rest[3:]
    elif kind == b"text":
        inner, *rest = rest
    described = (cid, words(description), encoding.lower(), size)
    return kind, subtype, parameters(params), described, inner, rest[0], extension(rest[1:])


def test_there_are_samples() -> None:
    assert len(NAMES) >= 7


@pytest.mark.parametrize("name", NAMES)
def test_our_samples_are_read_as_recorded_from_dovecot(name: str) -> None:
    recorded = (SAMPLES / f"{name}.dovecot").read_bytes()
    theirs = values(recorded.replace(b"\n", b"\r\n"))
    assert ours(with_crlf((SAMPLES / f"{name}.eml").read_bytes())) == (alike_envelope(theirs[0]), alike(theirs[1]))


@pytest.mark.peers
def test_what_is_recorded_is_what_dovecot_says() -> None:
    messages = [with_crlf((SAMPLES / f"{name}.eml").read_bytes()) for name in NAMES]
    for name, theirs in zip(NAMES, structures(messages), strict=True):
        recorded = values((SAMPLES / f"{name}.dovecot").read_bytes().replace(b"\n", b"\r\n"))
        assert [*values(theirs["ENVELOPE"]), *values(theirs["BODYSTRUCTURE"])] == recorded, name


@pytest.mark.peers
def test_the_corpus_is_read_as_dovecot_reads_it(corpus_folder: Path) -> None:
    folder = corpus_folder / "messages"
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    messages = [with_crlf((folder / name).read_bytes()) for name in names]
    envelopes, trees = set(), set()
    for name, message, theirs in zip(names, messages, structures(messages), strict=True):
        our_envelope, our_structure = ours(message)
        if our_envelope != envelope(theirs["ENVELOPE"]):
            envelopes.add(name)
        if our_structure != structure(theirs["BODYSTRUCTURE"]):
            trees.add(name)
    assert envelopes - DIFFERENT_ENVELOPES.keys() == set()
    assert trees - DIFFERENT_STRUCTURES.keys() == set()


@pytest.mark.peers
def test_some_of_the_rest_is_read_as_cyrus_reads_it(corpus_folder: Path) -> None:
    folder = corpus_folder / "messages"
    with running_cyrus() as client:
        messages = {name: with_crlf((folder / name).read_bytes()) for name in LIKE_CYRUS}
        for name, message in messages.items():
            assert client.append("INBOX", "", "", message)[0] == "OK", name
        client.select("INBOX")
        for number, (name, message) in enumerate(messages.items(), 1):
            told = answer(client, b"FETCH %d (ENVELOPE BODYSTRUCTURE)" % number)
            (items,) = values(told[told.index(b"FETCH ") + len(b"FETCH ") :].rstrip(b"\r\n"))
            theirs = dict(zip(items[::2], items[1::2], strict=True))  # type: ignore[arg-type, index]
            our_envelope, our_structure = ours(message)
            if LIKE_CYRUS[name] == "ENVELOPE":
                assert our_envelope == alike_envelope(theirs[b"ENVELOPE"]), name
            else:
                assert our_structure == alike(theirs[b"BODYSTRUCTURE"]), name
