"""Does the tasks of one database: reads what is stored of the messages, and their attachments, and writes their words.

The words of headers and text parts come from what was stored when the message came in; its octets are read for its
attachments alone. What cannot be read of an attachment is left out, with the reason; a message that ends its worker, or
fails for no known reason, is tried again alone, then without its attachments, and then given up. None holds up another.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from posthorn_mail_format.attachments import attachments, is_searched
from posthorn_mail_format.part import Part
from posthorn_model.errors import PosthornError, Unavailable
from posthorn_model.ids import BlobKey, Epoch
from posthorn_storage.blobs.store import Blobs
from posthorn_storage.database import Database, Row
from posthorn_storage.index.grams import signature
from posthorn_storage.index.port import Claim, Document, SearchIndex
from posthorn_storage.index.postgres import texts_of
from posthorn_storage.index.tasks import IndexTasks

_log = logging.getLogger(__name__)

Extract = Callable[[str, str | None, bytes], Awaitable[str | None]]
"""Content type, file name and content of an attachment to its text, if it has any. Bounded in time and memory; raises
PosthornError when it cannot be read, and never will be, Unavailable when it may be later."""
Knows = Callable[[str, str | None], bool]
"""Whether an attachment of this media type and file name is worth its reading."""

MAX_BODY: Final = 1_000_000
"""Characters of a message's text parts that are indexed."""
MAX_ATTACHMENTS: Final = 30
MAX_MESSAGE: Final = 50 * 1024 * 1024
"""Octets; the attachments of a larger message are found by their names alone."""
MAX_TEXT: Final = 1_000_000
"""Characters of all attachments of one message."""
WITHOUT_ATTACHMENTS: Final = 3
"""From this attempt on the attachments are left out."""
LAST_ATTEMPT: Final = 4
FIRST_PAUSE: Final = 15.0
"""Seconds before the second attempt; each further one takes four times as long."""
DOWN_PAUSE: Final = 10.0
"""Seconds until claims are due again that could not be worked on because a store did not answer."""

READ = """
SELECT t.account_id, t.message_id, t."from", t."to", t.cc, t.bcc, t.subject, left(t.body, $3) AS body, t.headers,
    length(t.body) AS length,
    substring(t.headers FROM '(?:^|\\n)content-language:([^\\n]{1,100})') AS languages, m.blob_key, m.size, m.structure
FROM unnest($1::bigint[], $2::bigint[]) AS c (account_id, message_id)
JOIN message_text t ON t.account_id = c.account_id AND t.message_id = c.message_id
JOIN message m ON m.account_id = t.account_id AND m.id = t.message_id
"""

_STORED: Final = ("from", "to", "cc", "bcc", "subject", "headers", "body")
"""The columns of message_text in which substrings are looked for."""


@dataclass(frozen=True, slots=True)
class Done:
    """What one step did: tasks claimed, messages indexed, attempts that failed."""

    claimed: int = 0
    indexed: int = 0
    failed: int = 0
    more: bool = field(default=False, compare=False)
    """Whether further tasks may be due already."""


class Indexer:
    """See the module. One for each database; several may share its tasks by `part` of `parts`."""

    def __init__(
        self,
        database: Database,
        tasks: IndexTasks,
        index: SearchIndex,
        blobs: Blobs,
        extract: Extract | None = None,
        knows: Knows = lambda _type, _name: True,
    ) -> None:
        self._database = database
        self._tasks = tasks
        self._index = index
        self._blobs = blobs
        self._extract = extract
        self._knows = knows

    async def take_over(self, epoch: Epoch, *, part: int = 0, parts: int = 1) -> None:
        """Begin under a new lease: what earlier owners had claimed is done again."""
        await self._tasks.take_over(epoch, part=part, parts=parts)

    async def step(self, epoch: Epoch, limit: int, *, part: int = 0, parts: int = 1) -> Done:
        """Claim and do up to `limit` fresh tasks and one that failed before.

        Raises Unavailable and Overloaded when a store does not answer; no attempt is counted then.
        """
        again = await self._work(await self._tasks.claim_again(epoch, part=part, parts=parts))
        fresh = await self._work(await self._tasks.claim(epoch, limit, part=part, parts=parts))
        return Done(
            again.claimed + fresh.claimed,
            again.indexed + fresh.indexed,
            again.failed + fresh.failed,
            more=again.claimed > 0 or fresh.claimed >= limit,
        )

    async def _work(self, claims: Sequence[Claim]) -> Done:
        if not claims:
            return Done()
        try:
            return await self._do(claims)
        except Unavailable:
            await self._tasks.put_back(claims, DOWN_PAUSE)
            raise

    async def _do(self, claims: Sequence[Claim]) -> Done:
        accounts, messages = [claim.account for claim in claims], [claim.message for claim in claims]
        rows = {
            (row["account_id"], row["message_id"]): row
            for row in await self._database.fetch(READ, accounts, messages, MAX_BODY)
        }
        gone = [claim for claim in claims if (claim.account, claim.message) not in rows]
        if gone:
            await self._index.remove(gone)
        found = [claim for claim in claims if (claim.account, claim.message) in rows]
        documents, failed = await self._documents(found, rows)
        documents = await asyncio.to_thread(_signed, documents, rows)  # texts may be long
        try:
            indexed = await self._index.write(documents)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one of them cannot be written: each is tried by itself
            _log.warning("%d messages not written to the index: %r", len(documents), error)
            indexed, more = await self._one_by_one(documents)
            failed += more
        return Done(len(claims), indexed, failed)

    async def _documents(
        self, claims: Sequence[Claim], rows: Mapping[tuple[int, int], Row]
    ) -> tuple[list[Document], int]:
        documents, failed = [], 0
        for claim in claims:
            try:
                documents.append(await self._document(claim, rows[claim.account, claim.message]))
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - this message is not read; the others are
                failed += await self._failed(claim, error)
        return documents, failed

    async def _one_by_one(self, documents: Sequence[Document]) -> tuple[int, int]:
        indexed = failed = 0
        for document in documents:
            try:
                indexed += await self._index.write([document])
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - the message that cannot be written
                failed += await self._failed(document.claim, error)
        return indexed, failed

    async def _failed(self, claim: Claim, error: Exception) -> int:
        again = FIRST_PAUSE * 4.0 ** (claim.attempt - 1) if claim.attempt < LAST_ATTEMPT else None
        _log.warning(
            "message %d of account %d not indexed in attempt %d%s: %r",
            claim.message,
            claim.account,
            claim.attempt,
            ", given up" if again is None else "",
            error,
        )
        await self._tasks.fail(claim, f"{type(error).__name__}: {error}", again=again)
        return 1

    async def _document(self, claim: Claim, row: Row) -> Document:
        if claim.attempt > LAST_ATTEMPT:
            raise RuntimeError("every attempt ended its worker")
        texts, problem = "", None
        if claim.attempt < WITHOUT_ATTACHMENTS:
            texts, problem = await self._attachments(row)
        else:
            problem = "attachments left out: earlier attempts failed"
        tags = tuple(tag.strip() for tag in (row["languages"] or "").split(","))
        return Document(claim, replace(texts_of(row), attachments=texts, languages=tags), problem)

    async def _attachments(self, row: Row) -> tuple[str, str | None]:
        """Names and texts of the attachments, and what was wrong with those not read."""
        try:
            root = Part.load(row["structure"])
        except ValueError as error:
            return "", f"the structure is not readable: {error}"
        pieces = [part.name or "" for part in root.walk()][:MAX_ATTACHMENTS]
        problems: list[str] = []
        if self._extract is None or not any(self._is_document(part) for part in root.walk()):
            return "\n".join(filter(None, pieces)), None
        if row["size"] > MAX_MESSAGE:
            return "\n".join(filter(None, pieces)), "the message is too large for its attachments to be read"
        data = await self._blobs.read(BlobKey(row["blob_key"]))
        left = MAX_TEXT
        for found in attachments(data, root, wanted=self._knows, count=MAX_ATTACHMENTS, octets=MAX_MESSAGE):
            try:
                text = await self._extract(found.content_type, found.name, found.data) or ""
            except Unavailable:
                raise
            except PosthornError as error:
                problems.append(f"{found.media_type}: {error.public}")
                continue
            pieces.append(text[:left])
            left -= len(pieces[-1])
        return "\n".join(filter(None, pieces)), "; ".join(problems)[:500] or None

    def _is_document(self, part: Part) -> bool:
        leaf = not part.children and part.message is None and not is_searched(part)
        return leaf and self._knows(part.media_type, part.name)


def _signed(documents: Sequence[Document], rows: Mapping[tuple[int, int], Row]) -> list[Document]:
    """The documents with the signatures of their rows. A body that was not read to its end has none."""
    signed = []
    for document in documents:
        row = rows[document.claim.account, document.claim.message]
        whole = row["length"] == len(row["body"])
        signed.append(replace(document, grams=signature(row[name] for name in _STORED) if whole else None))
    return signed
