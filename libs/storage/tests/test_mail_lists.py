"""What lists show is stored: reading it needs neither the content nor a look into it."""

import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from posthorn_mail_format import summarize
from posthorn_model.mail import NewMessage
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.mail import MessageFields

pytestmark = [pytest.mark.postgres, pytest.mark.leaves_rows]

CONTENT = (
    b"From: Bob <bob@example.net>\r\nTo: ann@example.org\r\nSubject: Re: lists\r\nMessage-ID: <1@x>\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\nhello\r\n--b\r\nContent-Type: application/pdf\r\n\r\nx\r\n--b--\r\n"
)


async def test_lists_are_read_without_any_content(
    storage: Storage, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    """The blob rows are gone, and with them all content: every stored field is there all the same."""
    ann, summary = await account(), summarize(CONTENT)
    await storage.mail.append([NewMessage(ann.id, [], summary, await storage.blobs.prepare(CONTENT))])
    await storage._database.execute("DELETE FROM blob_ref")
    await storage._database.execute("DELETE FROM blob")
    inbox = next(box for box in await storage.mail.mailboxes(ann.id) if box.role == "inbox")
    every = ~MessageFields(0)
    [placed] = await storage.mail.messages_by_uid(ann.id, inbox.id, [1], every)
    [stored] = await storage.mail.messages(ann.id, [placed.message.id], every)
    for shown in (placed.message, stored):
        own = {field.name: getattr(summary, field.name) for field in dataclasses.fields(summary)}
        same = own.keys() & {field.name for field in dataclasses.fields(shown)}
        assert {name: getattr(shown, name) for name in same} == {name: own[name] for name in same}
        assert {"envelope", "body_structure", "structure", "listing", "headers", "preview", "has_attachment"} <= same
        assert shown.has_attachment
    assert [entry.uid for entry in (await storage.mail.view(ann.id, inbox.id)).entries] == [1]
