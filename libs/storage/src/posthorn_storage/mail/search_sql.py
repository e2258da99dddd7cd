"""Compiles a SearchQuery to one parametrised statement and runs it.

Texts are looked up by scalar sub-selects, which PostgreSQL evaluates last, so that a search in few UIDs unpacks few
texts, and of those only the ones that their signatures (posthorn_storage.index.grams) do not rule out. Every value is a
parameter; the statement is put together from the fixed pieces of this module alone.
"""

from datetime import date
from typing import Any, Final

from posthorn_mail_format.search_texts import fold
from posthorn_mail_format.summary import KEPT_HEADERS
from posthorn_model.errors import AccountNotFound, TooMany
from posthorn_model.flags import Flags, SystemFlag
from posthorn_model.ids import AccountId, Modseq
from posthorn_storage.database import Database
from posthorn_storage.index.grams import sought
from posthorn_storage.mail import search
from posthorn_storage.mail.search import Condition, SearchQuery, SearchResult, SortKey, TextField

MAX_CONDITIONS = 1000
MAX_DEPTH = 64

KEPT_FIELDS: Final = KEPT_HEADERS
"""Header fields that are kept for searching, in lower case."""

_TEXT = "(SELECT {} FROM message_text t WHERE t.account_id = $1 AND t.message_id = {})"
_COLUMNS: Final = {
    TextField.FROM: ('t."from"',),
    TextField.TO: ('t."to"',),
    TextField.CC: ("t.cc",),
    TextField.BCC: ("t.bcc",),
    TextField.SUBJECT: ("t.subject",),
    TextField.BODY: ("t.body",),
    TextField.TEXT: ("t.subject", 't."from"', 't."to"', "t.cc", "t.bcc", "t.body"),
    TextField.EVERYWHERE: ("t.subject", 't."from"', 't."to"', "t.cc", "t.bcc", "t.headers", "t.body"),
}
# A message without a signature is looked into: it waits for the indexer, whose task every such message has, or is too
# large for one. IS TRUE keeps the set from becoming a join, behind which the texts would no longer come last.
_MAY_HOLD = """({message} IN (
        SELECT i.message_id FROM message_index i WHERE i.account_id = $1 AND (i.grams IS NULL OR ({held}))
        UNION ALL SELECT k.message_id FROM index_task k WHERE k.account_id = $1 AND NOT EXISTS (
            SELECT FROM message_index i WHERE i.account_id = k.account_id AND i.message_id = k.message_id)
    )) IS TRUE"""
_HELD = "get_bit(i.grams, {place} & (8 * octet_length(i.grams) - 1)) = 1"
_LOCAL_PART = "coalesce(substring(t.{} FROM '^[^<\\n]*<([^@>\\n]*)'), '')"
_DISPLAY = "coalesce(nullif(trim(substring(t.{0} FROM '^[^<\\n]*')), ''), substring(t.{0} FROM '<([^>\\n]*)>'), '')"
_WRITTEN_DAY = (
    "coalesce(substring(convert_from({listing}, 'UTF8') FROM '\"sentAt\":\"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})'), "
    "to_char({when} AT TIME ZONE 'UTC', 'YYYY-MM-DD')) COLLATE \"C\""
)
_SORTED_TEXT: Final = {
    SortKey.FROM: _LOCAL_PART.format('"from"'),
    SortKey.TO: _LOCAL_PART.format('"to"'),
    SortKey.CC: _LOCAL_PART.format("cc"),
    SortKey.DISPLAY_FROM: _DISPLAY.format('"from"'),
    SortKey.DISPLAY_TO: _DISPLAY.format('"to"'),
}


class _Statement:
    """A statement in the making."""

    def __init__(self, account: AccountId, query: SearchQuery) -> None:
        self.arguments: list[Any] = [account]
        self.in_mailbox = query.mailbox is not None
        self.message = "b.message_id" if self.in_mailbox else "m.id"
        self.joined = not self.in_mailbox
        """Whether message rows are looked at; a search by flags alone needs none."""
        self.inexact = False
        self._left = MAX_CONDITIONS

    def value(self, value: object, kind: str) -> str:
        """A parameter."""
        self.arguments.append(value)
        return f"${len(self.arguments)}::{kind}"

    def column(self, name: str) -> str:
        """A column of the message row."""
        self.joined = True
        return f"m.{name}"

    def text(self, expression: str) -> str:
        """An expression over the message's search texts."""
        return _TEXT.format(expression, self.message)

    def condition(self, part: Condition, *, depth: int = 0, wanted: bool = True) -> str:
        """Compile a condition. `wanted` is False under an odd number of negations: what cannot be decided here then
        compiles to false, so that no candidate is lost. Raises TooMany."""
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise TooMany("the search has too many conditions")
        match part:
            case search.And(parts) | search.Or(parts):
                word, empty = (" AND ", "true") if isinstance(part, search.And) else (" OR ", "false")
                compiled = [self.condition(one, depth=depth + 1, wanted=wanted) for one in parts]
                return f"({word.join(compiled)})" if compiled else empty
            case search.Not(inner):
                return f"(NOT {self.condition(inner, depth=depth + 1, wanted=not wanted)})"
            case search.Header(name, text):
                return self._header(name, text, wanted=wanted)
            case search.Contains(field, text):
                needle = self.value(fold(text), "text")
                test = self.text(" OR ".join(f"strpos({column}, {needle}) > 0" for column in _COLUMNS[field]))
                return f"({self._may_hold(text)}{test})"
            case search.HasFlags(flags):
                return self.has_flags(flags)
            case search.ThreadHasFlags(flags, every):
                return self.thread_has_flags(flags, every=every)
            case _:
                return self._fact(part)

    def _fact(self, part: Condition) -> str:
        match part:
            case search.Everything():
                return "true"
            case search.Uids(ranges):
                tests = [f"b.uid BETWEEN {self.value(a, 'bigint')} AND {self.value(b, 'bigint')}" for a, b in ranges]
                return f"({' OR '.join(tests)})" if tests else "false"
            case search.MessageIds(ids):
                return f"{self.message} = ANY ({self.value(list(ids), 'bigint[]')})"
            case search.InMailbox(mailbox):
                return self._entry(f"e.mailbox_id = {self.value(mailbox, 'bigint')}")
            case search.InOtherThan(mailboxes):
                return self._entry(f"e.mailbox_id <> ALL ({self.value(list(mailboxes), 'bigint[]')})")
            case search.InThread(thread):
                return f"{self.column('thread_id')} = {self.value(thread, 'bigint')}"
            case search.Received(since, before):
                return self._between(self.column("received_at"), since, before)
            case search.Saved(since, before):
                saved = f"coalesce({'b' if self.in_mailbox else 'e'}.saved_at, {self.column('received_at')})"
                test = self._between(saved, since, before)
                return test if self.in_mailbox else self._entry(test)
            case search.Sent(since, before):
                when = f"coalesce({self.column('sent_at')}, {self.column('received_at')})"
                return self._between(when, since, before)
            case search.SentOn(first, end):
                tests = [] if first is None else [self._sent_day(first, ">=", "1 day", "-1 day")]
                tests += [] if end is None else [self._sent_day(end, "<", "-1 day", "1 day")]
                return f"({' AND '.join(tests)})" if tests else "true"
            case search.Size(larger, smaller):
                size = "b.size" if self.in_mailbox else "m.size"
                tests = [] if larger is None else [f"{size} > {self.value(larger, 'bigint')}"]
                tests += [] if smaller is None else [f"{size} < {self.value(smaller, 'bigint')}"]
                return f"({' AND '.join(tests)})" if tests else "true"
            case search.HasAttachment():
                return self.column("has_attachment")
            case search.ModseqFrom(modseq):
                at = self.value(modseq, "bigint")
                return f"b.modseq >= {at}" if self.in_mailbox else self._entry(f"e.modseq >= {at}")
        raise TypeError(part)

    def _sent_day(self, day: date, relation: str, surely: str, perhaps: str) -> str:
        """Compare the day as it was written; only near to it does that take a look at the listing."""
        when = f"coalesce({self.column('sent_at')}, {self.column('received_at')})"
        at = self.value(day, "date")
        edge = f"({at}::timestamp AT TIME ZONE 'UTC')"
        written = _WRITTEN_DAY.format(listing=self.column("listing"), when=when)
        return (
            f"({when} {relation} {edge} + interval '{surely}' OR ({when} {relation} {edge} + interval '{perhaps}' "
            f"AND {written} {relation} to_char({at}, 'YYYY-MM-DD') COLLATE \"C\"))"
        )

    def _between(self, what: str, since: object, before: object) -> str:
        tests = [] if since is None else [f"{what} >= {self.value(since, 'timestamptz')}"]
        tests += [] if before is None else [f"{what} < {self.value(before, 'timestamptz')}"]
        return f"({' AND '.join(tests)})" if tests else "true"

    def _entry(self, test: str, message: str | None = None) -> str:
        message = message or self.message
        return f"EXISTS (SELECT FROM mailbox_message e WHERE e.account_id = $1 AND e.message_id = {message} AND {test})"

    def _flag_tests(self, flags: Flags, alias: str) -> list[str]:
        """One test of an entry for each flag; the test of \\Seen comes last."""
        bits = int(flags.system & ~SystemFlag.SEEN)
        tests = [f"{alias}.flags & {bit} <> 0" for bit in (2, 4, 8, 16) if bits & bit]
        tests += [f"{self.value(word, 'text')} = ANY ({alias}.keywords)" for word in sorted(flags.keywords)]
        return tests

    def has_flags(self, flags: Flags, message: str | None = None) -> str:
        """Whether the entry, or a message as a whole, has all flags."""
        seen = bool(flags.system & SystemFlag.SEEN)
        if self.in_mailbox and message is None:
            tests = self._flag_tests(flags, "b") + (["b.flags & 1 <> 0"] if seen else [])
        else:
            # On when any entry has it, seen only when no entry has not (posthorn_storage.mail.updates).
            tests = [self._entry(test, message) for test in self._flag_tests(flags, "e")]
            tests += [f"NOT {self._entry('e.flags & 1 = 0', message)}"] if seen else []
        return f"({' AND '.join(tests)})" if tests else "true"

    def thread_has_flags(self, flags: Flags, *, every: bool) -> str:
        """Whether all or some messages of the thread have all flags."""
        test = self.has_flags(flags, "o.id")
        thread = self.column("thread_id")
        others = f"SELECT FROM message o WHERE o.account_id = $1 AND o.thread_id = {thread}"
        return f"NOT EXISTS ({others} AND NOT {test})" if every else f"EXISTS ({others} AND {test})"

    def _header(self, name: str, text: str, *, wanted: bool) -> str:
        field = fold(name)
        if field not in KEPT_FIELDS:
            self.inexact = True
            return "true" if wanted else "false"
        start, needle = self.value(f"{field}:", "text"), self.value(fold(text), "text")
        line = f"starts_with(line, {start}) AND strpos(substr(line, length({start}) + 1), {needle}) > 0"
        test = f"EXISTS (SELECT FROM string_to_table(t.headers, E'\\n') AS line WHERE {line})"
        if field in (TextField.FROM, TextField.TO, TextField.CC, TextField.BCC, TextField.SUBJECT) and text:
            test += f" OR strpos({_COLUMNS[TextField(field)][0]}, {needle}) > 0"
        return f"({self._may_hold(text)}{self.text(test)})"

    def _may_hold(self, text: str) -> str:
        """A test that spares looking into the texts of messages whose signatures lack what is in this one."""
        places = sought(fold(text))
        if not places:
            return ""
        held = " AND ".join(_HELD.format(place=self.value(place, "bigint")) for place in places)
        return f"{_MAY_HOLD.format(message=self.message, held=held)} AND "

    def order(self, sort: search.Sort) -> str:
        """Compile one sort key."""
        flags = sort.flags or Flags()
        match sort.key:
            case SortKey.RECEIVED | SortKey.SIZE:
                key = self.column("received_at" if sort.key is SortKey.RECEIVED else "size")
            case SortKey.SENT:
                key = f"coalesce({self.column('sent_at')}, {self.column('received_at')})"
            case SortKey.SUBJECT:
                key = f"lower({self.column('base_subject')})"
            case SortKey.FLAGS:
                key = self.has_flags(flags)
            case SortKey.THREAD_EVERY | SortKey.THREAD_SOME:
                key = self.thread_has_flags(flags, every=sort.key is SortKey.THREAD_EVERY)
            case _:
                key = self.text(_SORTED_TEXT[sort.key])
        return f"{key} {'DESC' if sort.descending else 'ASC'}"


def compiled(account: AccountId, query: SearchQuery) -> tuple[str, list[Any], bool]:
    """The statement, its arguments, and whether its result is inexact. Raises TooMany."""
    statement = _Statement(account, query)
    mailbox = statement.value(query.mailbox, "bigint") if query.mailbox is not None else ""
    where = statement.condition(query.where)
    order = [statement.order(sort) for sort in query.sort]
    order.append("b.uid" if query.mailbox is not None else "m.id")
    collapse = query.collapse_threads and not statement.inexact
    thread = statement.column("thread_id") if collapse else "NULL::bigint"
    if query.mailbox is not None:
        source = "mailbox_message b"
        if statement.joined:
            source += " JOIN message m ON m.account_id = b.account_id AND m.id = b.message_id"
        scope, uid, modseq = f"b.account_id = $1 AND b.mailbox_id = {mailbox}", "b.uid", "b.modseq"
    else:
        source, scope, uid, modseq = "message m", "m.account_id = $1", "NULL::bigint", "NULL::bigint"
    offset = 0 if statement.inexact else query.offset
    limit = None if statement.inexact else query.limit
    kept = "SELECT DISTINCT ON (thread_id) * FROM found ORDER BY thread_id, place" if collapse else "TABLE found"
    text = f"""
WITH found AS (
    SELECT {statement.message} AS id, {uid} AS uid, {modseq} AS modseq, {thread} AS thread_id,
           row_number() OVER (ORDER BY {", ".join(order)}) AS place
    FROM {source} WHERE {scope} AND {where}
), kept AS ({kept}), page AS (
    SELECT * FROM kept ORDER BY place
    OFFSET {statement.value(offset, "bigint")} LIMIT {statement.value(limit, "bigint")}
)
SELECT (SELECT count(*) FROM kept) AS total, (SELECT max(modseq) FROM kept) AS highest,
       (SELECT modseq FROM account_counter WHERE account_id = $1) AS state,
       (SELECT array_agg(id ORDER BY place) FROM page) AS ids, (SELECT array_agg(uid ORDER BY place) FROM page) AS uids
"""  # noqa: S608
    return text, statement.arguments, statement.inexact


async def run(database: Database, account: AccountId, query: SearchQuery) -> SearchResult:
    """Search. Raises AccountNotFound, TooMany, and Overloaded when it takes too long."""
    text, arguments, inexact = compiled(account, query)
    row = await database.fetchrow(text, *arguments)
    if row is None or row["state"] is None:
        raise AccountNotFound(account=account)
    uids = (row["uids"] or []) if query.mailbox is not None else []
    return SearchResult(row["ids"] or [], uids, row["total"], Modseq(row["highest"] or 0), row["state"], inexact)
