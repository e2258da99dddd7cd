"""One push as a request (RFC 8620 7.1, 7.2; RFC 8030 5), and what the push service's answer means for what follows."""

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from posthorn_maintenance.web_push.encryption import encrypted
from posthorn_maintenance.web_push.vapid import Signer, url64
from posthorn_storage.push import DuePush, Outcome, PushUrl

TOPIC: Final = 32
"""Characters at most (RFC 8030 5.4)."""
FIRST_PAUSE: Final = 15.0
LONGEST_PAUSE: Final = 3600.0
LONGEST_ASKED: Final = 86_400.0
"""Seconds of a pause after a failure; each further one is twice as long, unless the push service asks for more."""
MOST_GREETINGS: Final = 5
"""Verification codes that failed in a row: then the subscription goes, for nobody may ever have asked for it."""
GONE: Final = frozenset({404, 410})


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What is posted."""

    url: PushUrl
    fields: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PushAnswer:
    """What the push service said; `retry_after` in seconds where it asked for a pause."""

    status: int
    retry_after: float | None = None


def push_request(due: DuePush, url: PushUrl, signer: Signer, ttl: float, now: float) -> PushRequest:
    """The request for a push that is due. Raises ValueError when the client's key is none."""
    body = _state_change(due) if due.verified else _verification(due)
    fields = {
        "Content-Type": "application/json",
        "TTL": str(int(ttl)),
        "Urgency": "normal",
        "Topic": _topic(due),
        "Authorization": signer.authorization(url.origin, now),
    }
    if due.keys is not None:
        body = encrypted(body, *due.keys)
        fields["Content-Encoding"] = "aes128gcm"
    return PushRequest(url, fields, body)


def judged(due: DuePush, answer: PushAnswer) -> Outcome:
    """What came of a push that was answered."""
    if 200 <= answer.status < 300:
        return Outcome(due.account, due.id, due.modseq if due.verified else 0, pushed=True, greeted=not due.verified)
    if answer.status in GONE:
        return gone(due, f"the push service answered {answer.status}")
    return failed(due, f"the push service answered {answer.status}", answer.retry_after)


def gone(due: DuePush, problem: str) -> Outcome:
    """The subscription goes."""
    return Outcome(due.account, due.id, gone=True, problem=problem)


def failed(due: DuePush, problem: str, retry_after: float | None = None) -> Outcome:
    """What came of a push that failed: it is tried again, later and later."""
    if not due.verified and due.failures + 1 >= MOST_GREETINGS:
        return gone(due, problem)
    pause = min(FIRST_PAUSE * 2.0 ** min(due.failures, 20), LONGEST_PAUSE)
    pause = max(pause * random.uniform(0.8, 1.0), min(retry_after or 0.0, LONGEST_ASKED))  # noqa: S311  spreads load
    return Outcome(due.account, due.id, problem=problem, pause=pause)


def _state_change(due: DuePush) -> bytes:
    """States of all types are the account's modseq (decision 0004); accounts are named as jmap's session does."""
    changed = {f"a{due.account}": {kind.value: str(due.modseq) for kind in due.kinds}}
    return _json({"@type": "StateChange", "changed": changed})


def _verification(due: DuePush) -> bytes:
    found = {"@type": "PushVerification", "pushSubscriptionId": f"p{due.id}", "verificationCode": due.code}
    return _json(found)


def _topic(due: DuePush) -> str:
    """A push takes the place of one that waits for the device under the same topic: of the same types, no others.

    The code makes topics that tell the push service nothing.
    """
    about = " ".join(kind.value for kind in due.kinds) if due.verified else "verification"
    return url64(hashlib.sha256(f"{due.code} {about}".encode()).digest())[:TOPIC]


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
