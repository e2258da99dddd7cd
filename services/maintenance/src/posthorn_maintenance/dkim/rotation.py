"""When a domain gets a new DKIM key, and what is next for one. Values only; times are the database's."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import Final

from posthorn_node.settings import DkimSettings
from posthorn_storage.dkim import Algorithm, DkimKey

LOOK_AGAIN: Final = 3600.0
"""How often the record of a key that signs is looked for."""
SHORTEST_WAIT, LONGEST_WAIT = 30.0, 900.0
"""Between two looks for a record that somebody is to put into DNS."""
GONE_AGAIN: Final = 86_400.0
"""Between two looks whether the record of a removed key was taken away."""


class Next(Enum):
    """What is to be done about a key."""

    WAIT = auto()
    """Its record must be seen in DNS, for long enough."""
    WATCH = auto()
    """It signs: its record must stay."""
    REST = auto()
    """It signs no more, and mail that it signed may be on its way."""
    REMOVE = auto()
    """That time is over: the private key can go."""
    CLEAR = auto()
    """The private key is gone: the record can go."""
    NOTHING = auto()


def missing(settings: DkimSettings, keys: Iterable[DkimKey], now: datetime) -> Sequence[Algorithm]:
    """The algorithms that a domain with these keys needs a new one of: it has none, or signs with it for too long."""
    current = [key for key in keys if key.state in ("waiting", "active")]
    return [
        algorithm
        for algorithm in settings.algorithms
        if all(key.algorithm != algorithm or (key.state == "active" and _is_old(settings, key, now)) for key in current)
    ]


def _is_old(settings: DkimSettings, key: DkimKey, now: datetime) -> bool:
    began = key.active_at or key.created_at
    return settings.rotate_interval > 0 and (now - began).total_seconds() >= settings.rotate_interval


def following(settings: DkimSettings, key: DkimKey, now: datetime) -> Next:
    """What is next for a key."""
    if key.state == "waiting":
        return Next.WAIT
    if key.state == "active":
        return Next.WATCH
    if key.state == "retired":
        return Next.REMOVE if left_of_rest(settings, key, now) <= 0 else Next.REST
    return Next.NOTHING if key.published_at is None else Next.CLEAR


def left_of_rest(settings: DkimSettings, key: DkimKey, now: datetime) -> float:
    """Seconds for which the record of a retired key has to stay."""
    retired = key.retired_at or now
    return settings.keep_retired - (now - retired).total_seconds()


def left_to_wait(settings: DkimSettings, key: DkimKey, now: datetime) -> float:
    """Seconds until a key may sign whose record is seen in DNS, or is from now on."""
    since = 0.0 if key.published_at is None else (now - key.published_at).total_seconds()
    return settings.activate_after - since


def look_again(key: DkimKey, now: datetime) -> float:
    """Seconds until the next look for a record that is not there: the longer nobody has published it, the longer."""
    age = (now - key.created_at).total_seconds()
    return min(max(age / 10, SHORTEST_WAIT), LONGEST_WAIT)


def publishes(text: str, key: DkimKey) -> bool:
    """Whether a TXT record at the key's name is the key's (RFC 6376 3.6.1), however it is written."""
    tags = dict(_tags(text))
    return (
        tags.get("v", "DKIM1") == "DKIM1"
        and tags.get("k", "rsa") == key.algorithm
        and "".join(tags.get("p", "").split()) == key.public
    )


def _tags(text: str) -> Iterable[tuple[str, str]]:
    for part in text.split(";"):
        name, _, value = part.partition("=")
        yield name.strip(), value.strip()
