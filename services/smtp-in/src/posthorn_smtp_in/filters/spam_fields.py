"""The X-Spam-* fields: what filters for spam found, for clients and for Sieve; and those that others forged go."""

import re
from collections.abc import Iterable, Sequence

from posthorn_smtp_in.filters.changes import Change, Head, InsertField, apply, field_name, field_value, split
from posthorn_smtp_in.filters.opinions import Opinion, Result

_SPAM = re.compile(rb"x-spam(-.*)?")
MAX_FIELDS = 50
MAX_SYMBOLS = 100
"""Of one filter, in a field."""
_WIDTH = 76


def spam_fields(opinion: Opinion) -> tuple[Change, ...]:
    """The fields of one opinion with a score, to go between our Received and the client's fields."""
    if opinion.score is None:
        return ()
    spam = opinion.result in (Result.JUNK, Result.REJECTED)
    words = ["Yes," if spam else "No,", f"score={opinion.score:.1f}"]
    if opinion.required is not None:
        words.append(f"required={opinion.required:.1f}")
    symbols = opinion.symbols[:MAX_SYMBOLS]
    words += [f"{'' if number else 'tests='}{name}," for number, name in enumerate(symbols)]
    words.append(f"by={opinion.filter}")
    fields = [(b"X-Spam-Status", _folded(words)), (b"X-Spam-Score", f"{opinion.score:.1f}".encode())]
    if spam:
        fields.append((b"X-Spam-Flag", b"YES"))
    return tuple(InsertField(1, name, value) for name, value in reversed(fields))


def fields_of_filter(head: bytes) -> tuple[Change, ...]:
    """The X-Spam-* fields out of a header section that a filter has rewritten."""
    found = [each for each in split(head).fields if is_spam_field(each)][:MAX_FIELDS]
    return tuple(InsertField(1, each.partition(b":")[0], field_value(each)) for each in reversed(found))


def changed(head: bytes, opinions: Iterable[Opinion], *, forged: bytes) -> bytes:
    """The header section with what scanners change, and without the X-Spam-* fields that are in `forged` too."""
    changes = [change for opinion in opinions for change in opinion.changes]
    marks = {each for each in split(forged).fields if is_spam_field(each)}
    if not changes and not marks:
        return head
    own = split(head)
    return apply(Head(tuple(each for each in own.fields if each not in marks), own.rest), changes).encode()


def is_spam_field(field: bytes) -> bool:
    """Whether it is one of those that tell of spam."""
    return _SPAM.fullmatch(field_name(field)) is not None


def _folded(words: Sequence[str]) -> bytes:
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > _WIDTH:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n\t".join(lines).encode("ascii", "replace")
