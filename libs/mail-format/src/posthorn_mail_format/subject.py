"""Base subject of a message for threads and sorting (RFC 5256 2.1)."""

import re

MAX_CHARACTERS = 512

_SPACES = re.compile(r"\s+")
_TRAILER = re.compile(r"\(fwd\)\s*\Z", re.IGNORECASE)
_BLOB = r"\[[^\[\]]*+\]\s*+"
_REFWD = re.compile(rf"(?:{_BLOB})*(?:re|fwd?)\s*+(?:{_BLOB})?:", re.IGNORECASE)
_LEADING_BLOB = re.compile(_BLOB)
_FORWARD_START = "[fwd:"


def base_subject(subject: str) -> str:
    """Return the base subject of a decoded Subject, at most 512 characters: replies and forwards share it."""
    text = _SPACES.sub(" ", subject[: 4 * MAX_CHARACTERS]).strip()
    while True:
        text = _without_leaders(_without_trailers(text))
        if text[: len(_FORWARD_START)].lower() == _FORWARD_START and text.endswith("]"):
            text = text[len(_FORWARD_START) : -1].strip()
            continue
        return text[:MAX_CHARACTERS]


def is_reply_or_forward(subject: str) -> bool:
    """Whether anything was removed that marks a reply or forward (RFC 5256 2.1)."""
    text = _SPACES.sub(" ", subject[: 4 * MAX_CHARACTERS]).strip()
    leader = _REFWD.match(text) or text[: len(_FORWARD_START)].lower() == _FORWARD_START
    return bool(leader or _TRAILER.search(text))


def _without_trailers(text: str) -> str:
    while True:
        shorter = _TRAILER.sub("", text).rstrip()
        if shorter == text:
            return text
        text = shorter


def _without_leaders(text: str) -> str:
    while True:
        match = _REFWD.match(text)
        if match is None:
            # A leading [blob] goes only when something is left after it (RFC 5256 2.1 step 4).
            match = _LEADING_BLOB.match(text)
            forwarded = text[: len(_FORWARD_START)].lower() == _FORWARD_START
            if match is None or forwarded or match.end() == len(text):
                return text
        text = text[match.end() :].lstrip()
