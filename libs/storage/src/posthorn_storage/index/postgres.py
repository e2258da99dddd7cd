"""The search index in PostgreSQL: one row of words for each message, and a GIN index over them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

from posthorn_model.ids import AccountId, MessageId
from posthorn_storage.database import Connection, Database, Row
from posthorn_storage.index.languages import Stems
from posthorn_storage.index.port import Claim, Document, Texts, Wanted
from posthorn_storage.index.tasks import columns
from posthorn_storage.index.tsquery import tsquery
from posthorn_storage.index.vector import VERSION, vector
from posthorn_storage.index.words import words
from posthorn_storage.mail.search import TextField

MAX_WAITING: Final = 100
"""Of the messages of an account not yet indexed a search looks through so many by words, the newest; others as text."""
WAITING_BODY: Final = 20_000
"""Characters of the body of each that are looked through."""

WRITE = """
WITH done AS (
    DELETE FROM index_task t
    USING unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[]) AS c (account_id, message_id, epoch, attempt)
    WHERE t.account_id = c.account_id AND t.message_id = c.message_id AND t.state = 1 AND t.epoch = c.epoch
        AND t.attempt = c.attempt
    RETURNING t.account_id, t.message_id
)
INSERT INTO message_index (account_id, message_id, version, language, problem, words, grams)
SELECT account_id, message_id, $5, n.language, n.problem, n.words::tsvector, n.grams
FROM unnest($1::bigint[], $2::bigint[], $6::text[], $7::text[], $8::text[], $9::bytea[])
    AS n (account_id, message_id, language, problem, words, grams)
JOIN done USING (account_id, message_id)
ON CONFLICT (account_id, message_id) DO UPDATE SET
    version = EXCLUDED.version, language = EXCLUDED.language, problem = EXCLUDED.problem, words = EXCLUDED.words,
    grams = EXCLUDED.grams, indexed_at = now()
RETURNING 1
"""

# In two statements, so that the second sees what a worker of the past wrote before the first got its lock.
FINISH = """
DELETE FROM index_task t
USING unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[]) AS c (account_id, message_id, epoch, attempt)
WHERE t.account_id = c.account_id AND t.message_id = c.message_id AND t.state = 1 AND t.epoch = c.epoch
    AND t.attempt = c.attempt
RETURNING t.account_id, t.message_id
"""
FORGET = """
DELETE FROM message_index i USING unnest($1::bigint[], $2::bigint[]) AS gone (account_id, message_id)
WHERE i.account_id = gone.account_id AND i.message_id = gone.message_id
    AND NOT EXISTS (SELECT FROM message_text t WHERE t.account_id = i.account_id AND t.message_id = i.message_id)
"""

# The account is a filter of the sum and no condition: every word begins with it, and the planner, who knows neither the
# query nor the account when it plans, might otherwise read all words of the account instead of the index.
MATCHING = """
SELECT found.ids FROM unnest($2::text[]) WITH ORDINALITY AS wanted (query, n)
CROSS JOIN LATERAL (
    SELECT array_agg(i.message_id) FILTER (WHERE i.account_id = $1) AS ids
    FROM message_index i WHERE i.words @@ wanted.query::tsquery
) AS found
ORDER BY wanted.n
"""

WAITING = """
SELECT k.message_id, t."from", t."to", t.cc, t.bcc, t.subject, left(t.body, $3) AS body
FROM (SELECT message_id FROM index_task k WHERE account_id = $1 AND NOT EXISTS (
        SELECT FROM message_index i WHERE i.account_id = k.account_id AND i.message_id = k.message_id)
      ORDER BY message_id DESC LIMIT $2) AS k
JOIN message_text t ON t.account_id = $1 AND t.message_id = k.message_id
"""

MATCHING_WAITING = """
SELECT array_agg(m.id) AS ids FROM unnest($1::text[]) WITH ORDINALITY AS wanted (query, n)
LEFT JOIN unnest($2::bigint[], $3::text[]) AS m (id, words) ON m.words::tsvector @@ wanted.query::tsquery
GROUP BY wanted.n ORDER BY wanted.n
"""


# Those that wait behind the newest: all words as substrings.
WAITING_LONGER = """
SELECT t.message_id FROM index_task k JOIN message_text t ON t.account_id = k.account_id AND t.message_id = k.message_id
WHERE k.account_id = $1 AND k.message_id < $2
    AND NOT EXISTS (SELECT FROM message_index i WHERE i.account_id = k.account_id AND i.message_id = k.message_id)
    AND (SELECT bool_and(strpos({text}, word) > 0) FROM unnest($3::text[]) AS w (word))
"""
_TEXTS: Final = {
    TextField.FROM: 't."from"',
    TextField.TO: 't."to"',
    TextField.CC: "t.cc",
    TextField.BCC: "t.bcc",
    TextField.SUBJECT: "t.subject",
    TextField.BODY: "t.body",
}
_ALL_TEXT: Final = """concat_ws(E'\\n', t.subject, t."from", t."to", t.cc, t.bcc, t.body)"""


class PostgresIndex:
    """The port posthorn_storage.index.port.SearchIndex over the table `message_index`."""

    def __init__(self, database: Database, stems: Stems) -> None:
        self._database = database
        self._stems = stems

    async def write(self, documents: Sequence[Document]) -> int:
        """See the port."""
        if not documents:
            return 0
        claims = [document.claim for document in documents]
        made = await self._vectors([(document.claim.account, document.texts) for document in documents])
        arguments = [
            *columns(claims),
            VERSION,
            [language for language, _ in made],
            [document.problem for document in documents],
            [text for _, text in made],
            [document.grams for document in documents],
        ]

        async def work(connection: Connection) -> int:
            return len(await connection.fetch(WRITE, *arguments))

        return await self._database.run(work)

    async def remove(self, claims: Sequence[Claim]) -> None:
        """See the port."""

        async def work(connection: Connection) -> None:
            rows = await connection.fetch(FINISH, *columns(claims))
            ids = [row["account_id"] for row in rows], [row["message_id"] for row in rows]
            await connection.execute(FORGET, *ids)

        await self._database.run(work)

    async def matching(self, account: AccountId, wanted: Sequence[Wanted]) -> list[list[MessageId]]:
        """See the port."""
        loose = {term.words[0] for one in wanted for term in one.terms if term.loose}
        forms = await self._stems.of_all(loose)
        queries = [tsquery(account, one, forms) for one in wanted]
        waiting = await self._database.fetch(WAITING, account, MAX_WAITING, WAITING_BODY)
        found = await self._database.fetch(MATCHING, account, queries)
        ids: list[set[MessageId]] = [set(row["ids"] or ()) for row in found]
        if waiting:
            made = await self._vectors([(account, texts_of(row)) for row in waiting])
            numbers, vectors = [row["message_id"] for row in waiting], [text for _, text in made]
            for one, row in zip(
                ids, await self._database.fetch(MATCHING_WAITING, queries, numbers, vectors), strict=True
            ):
                one.update(number for number in row["ids"] if number is not None)
        if len(waiting) == MAX_WAITING:
            for one, each in zip(ids, wanted, strict=True):
                one.update(await self._waiting_longer(account, each, min(numbers)))
        return [list(one) for one in ids]

    async def _waiting_longer(self, account: AccountId, wanted: Wanted, before: int) -> list[MessageId]:
        statement = WAITING_LONGER.format(text=_TEXTS.get(wanted.field, _ALL_TEXT))
        sought = [word for term in wanted.terms for word in term.words]
        return [row["message_id"] for row in await self._database.fetch(statement, account, before, sought)]

    async def _vectors(self, messages: Sequence[tuple[AccountId, Texts]]) -> list[tuple[str, str]]:
        """Language and words of each message. The cutting runs beside the event loop: texts may be long."""
        counted = await asyncio.to_thread(lambda: [_counted(texts) for _, texts in messages])
        tags = [texts.languages for _, texts in messages]
        languages = await self._stems.languages(list(zip(counted, tags, strict=True)))
        wanted: dict[str, set[str]] = {}
        for found, language in zip(counted, languages, strict=True):
            wanted.setdefault(language, set()).update(found)
        stems = await self._stems.of(wanted)
        return await asyncio.to_thread(
            lambda: [
                (language, vector(account, texts, language, stems[language]))
                for (account, texts), language in zip(messages, languages, strict=True)
            ]
        )


def texts_of(row: Row) -> Texts:
    """What is looked through, of a row of message_text."""
    return Texts(*(row[name] for name in ("from", "to", "cc", "bcc", "subject", "body")))


def _counted(texts: Texts) -> Counter[str]:
    counted = Counter(words(texts.subject))
    counted.update(words(texts.body))
    counted.update(words(texts.attachments))
    return counted
