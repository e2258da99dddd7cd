"""Looks into messages for header fields that the store does not keep for searching (Email/query "header").

The store gives candidates then. Their header sections are read, a bounded number of them, and the query is asked once
more for each combination of answers, with the answers in place of the questions: every other condition stays the
store's to judge.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from posthorn_jmap.context import Context
from posthorn_jmap.methods.email_opened import opened
from posthorn_jmap.protocol.errors import MethodError
from posthorn_mail_format.headers import Field, decode_text
from posthorn_mail_format.search_texts import fold
from posthorn_model.ids import MessageId
from posthorn_storage.mail import MessageFields, SearchQuery, StoredMessage, search
from posthorn_storage.mail.search import Condition
from posthorn_storage.mail.search_sql import KEPT_FIELDS

MAX_CANDIDATES = 5_000
MAX_QUESTIONS = 4


@dataclass(frozen=True, slots=True)
class _Candidate:
    message: StoredMessage
    answers: tuple[bool, ...]


async def confirmed(context: Context, where: Condition, ids: list[MessageId], *, collapse: bool) -> list[MessageId]:
    """Those of the candidates `ids` that match, in their order; with `collapse` the first of each thread.

    Raises MethodError unsupportedFilter where that is too much to look through.
    """
    questions = list(dict.fromkeys(_questions(where)))
    if len(ids) > MAX_CANDIDATES or len(questions) > MAX_QUESTIONS:
        raise MethodError("unsupportedFilter", "too many emails or fields to look through: narrow the filter")
    messages = await context.storage.mail.messages(context.account.id, ids, MessageFields.NONE)
    candidates = [_Candidate(message, await _answers(context, message, questions)) for message in messages]
    matching: set[MessageId] = set()
    for answers in {candidate.answers for candidate in candidates}:
        told = _told(where, dict(zip(questions, answers, strict=True)))
        group = tuple(c.message.id for c in candidates if c.answers == answers)
        query = SearchQuery(search.And((search.MessageIds(group), told)))
        matching.update((await context.storage.mail.search(context.account.id, query)).ids)
    kept = [candidate.message for candidate in candidates if candidate.message.id in matching]
    if collapse:
        kept = list({message.thread: message for message in reversed(kept)}.values())[::-1]
    return [message.id for message in kept]


def _questions(where: Condition) -> Iterator[search.Header]:
    match where:
        case search.And(parts) | search.Or(parts):
            for part in parts:
                yield from _questions(part)
        case search.Not(part):
            yield from _questions(part)
        case search.Header(name) if fold(name) not in KEPT_FIELDS:
            yield where


def _told(where: Condition, answers: dict[search.Header, bool]) -> Condition:
    match where:
        case search.And(parts) | search.Or(parts):
            return replace(where, parts=tuple(_told(part, answers) for part in parts))
        case search.Not(part):
            return search.Not(_told(part, answers))
        case search.Header() if where in answers:
            return search.Everything() if answers[where] else search.Not(search.Everything())
    return where


async def _answers(context: Context, message: StoredMessage, questions: list[search.Header]) -> tuple[bool, ...]:
    fields = await opened(context.storage.blobs, context.account.id, message).fields()
    return tuple(any(_holds(field, question) for field in fields) for question in questions)


def _holds(field: Field, question: search.Header) -> bool:
    name = field.name.decode("ascii", "replace")
    return fold(name) == fold(question.name) and fold(question.text) in fold(decode_text(field.value))
