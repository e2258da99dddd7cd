"""What is known of the recipients of a message, read for the answer to "why is this still here?" (why.py)."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from posthorn_storage.database import Database, Row
from posthorn_storage.queue.attempts import lease_of
from posthorn_storage.queue.listing import QueuedMessage, QueueEvent
from posthorn_storage.queue.pauses import Pause
from posthorn_storage.queue.shares import ShareStore
from posthorn_storage.queue.suppression import SuppressionList
from posthorn_storage.queue.why import Explanation, Facts, SendingTerms, ShardOwner, SiteTerms, explained

TERMS: Final = "queue_terms"
MOST: Final = 2000
"""Sites and routes that are told."""
SEEN_SECONDS: Final = 30.0
"""A process that was seen so lately counts as running."""

TELL = """
INSERT INTO cluster_setting (name, value) VALUES ($1, $2::jsonb || jsonb_build_object('said_at', now()))
ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value
"""

AROUND = """
SELECT now() AS now, (SELECT value::text FROM cluster_setting WHERE name = $1) AS terms, (
    SELECT count(*) FROM process
    WHERE service = 'smtp-out' AND state <> 'left' AND seen_at > now() - make_interval(secs => $2)) AS workers
"""

OWNERS = """
SELECT l.key, l.owner, l.epoch, l.until > now() AS live, p.node_id, p.hostname
FROM lease l LEFT JOIN process p ON p.boot = l.owner WHERE l.key = ANY ($1::text[])
"""


async def tell_terms(database: Database, terms: SendingTerms) -> None:
    """Write down what smtp-out's settings say, for those who explain. Raises Unavailable, Overloaded."""
    told = {
        "retry": list(terms.retry),
        "expire": terms.expire,
        "connections": terms.connections,
        "messages": terms.messages,
        "sites": {name: [each.connections, each.rate] for name, each in list(terms.sites.items())[:MOST]},
        "routes": None if terms.routes is None or len(terms.routes) > MOST else dict(terms.routes),
        "relay": terms.relay,
        "suppression": terms.suppression,
    }
    await database.execute(TELL, TERMS, json.dumps(told))


async def explain(
    database: Database,
    message: QueuedMessage,
    events: Sequence[QueueEvent],
    pauses: Sequence[Pause],
    doubt_seconds: float,
    lists: tuple[SuppressionList, ShareStore],
) -> list[Explanation]:
    """The answer for each recipient, in their order. Raises Unavailable, Overloaded."""
    (around,) = await database.fetch(AROUND, TERMS, SEEN_SECONDS)
    keys = sorted({lease_of(each.shard) for each in message.recipients})
    owners = {row["key"]: _owner(row) for row in await database.fetch(OWNERS, keys)}
    terms = _terms(around["terms"])
    suppressions, shares = lists
    stopped = await suppressions.find({each.address for each in message.recipients}, message.sender)
    names = {each.site: each.site if terms is None else terms.destination(each.site) for each in message.recipients}
    held = await shares.held(sorted(set(names.values())))
    return [
        explained(
            Facts(
                now=around["now"],
                message=message,
                recipient=each,
                events=[event for event in events if event.recipient == each.id],
                owner=owners.get(lease_of(each.shard)),
                workers=around["workers"],
                pauses=pauses,
                terms=terms,
                doubt_seconds=doubt_seconds,
                suppression=stopped.get(each.address),
                shares=[share for share in held if share.name == names[each.site]],
            )
        )
        for each in message.recipients
    ]


def _owner(row: Row) -> ShardOwner:
    return ShardOwner(row["owner"], row["epoch"], row["live"], row["node_id"], row["hostname"] or "")


def _terms(text: str | None) -> SendingTerms | None:
    """None where no smtp-out has told its terms, or one whose words this version does not know."""
    if text is None:
        return None
    told = json.loads(text)
    try:
        terms = SendingTerms(
            retry=tuple(map(float, told["retry"])),
            expire=float(told["expire"]),
            connections=int(told["connections"]),
            messages=int(told["messages"]),
            sites={name: SiteTerms(*limits) for name, limits in told.get("sites", {}).items()},
            routes=told.get("routes"),
            relay=told.get("relay"),
            suppression=told.get("suppression", "off"),
        )
        return replace(terms, said_at=datetime.fromisoformat(told["said_at"]))
    except (KeyError, TypeError, ValueError):
        return None
