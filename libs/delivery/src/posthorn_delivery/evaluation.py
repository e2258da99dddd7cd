"""One script over one message: what the run must know is read, what it asks is looked up, until it has an outcome."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from posthorn_delivery.arrival import Scores
from posthorn_delivery.folders import Folders
from posthorn_delivery.scripts import Scripts
from posthorn_model.errors import AccountNotFound, Unavailable
from posthorn_model.ids import AccountId
from posthorn_model.lookup import lookup_key
from posthorn_sieve import InvalidScript, Outcome, Question, Script, Situation, evaluate
from posthorn_sieve.actions import Keep
from posthorn_sieve.situation import Score
from posthorn_storage.sieve_scripts import ActiveScript

MAX_SCRIPTS = 30
"""Scripts that one run may include."""
_NEED_MAILBOXES = frozenset({"fileinto", "mailbox", "special-use"})
_NEED_ADDRESSES = frozenset({"vacation", "enotify"})


@dataclass(frozen=True, slots=True)
class Subject:
    """What a script of one account is run for."""

    delivery: UUID
    account: AccountId
    recipient: str
    sender: str
    content: bytes
    remote: str
    """The client's IP address, "" for a local socket."""
    scores: Scores
    """What content filters found."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What was decided for one account."""

    account: AccountId
    recipient: str
    script: str
    outcome: Outcome
    folders: Folders | None = None


async def rule(scripts: Scripts, subject: Subject, active: ActiveScript) -> Ruling:
    """Run an account's active script. Raises Unavailable."""
    try:
        script = await scripts.programs.compiled(active.content)
    except InvalidScript as error:
        return Ruling(subject.account, subject.recipient, active.name, Outcome((Keep(),), fault=error))
    included = await _included(scripts, subject.account, script)
    extensions = script.extensions.union(*(each.extensions for each in included.values()))
    folders = None
    if extensions & _NEED_MAILBOXES:
        folders = Folders(await scripts.storage.mail.mailboxes(subject.account))
    situation = Situation(
        content=subject.content,
        sender=subject.sender,
        recipient=subject.recipient,
        now=datetime.fromtimestamp(scripts.clock.time(), UTC),
        addresses=await _addresses(scripts, subject.account) if extensions & _NEED_ADDRESSES else frozenset(),
        separators=scripts.storage.recipients.delimiters,
        mailboxes=frozenset() if folders is None else folders.names,
        special_uses={} if folders is None else folders.special_uses,
        environment=_environment(scripts, subject),
        scripts=included,
        spam=_score(subject.scores.spam),
        virus=_score(subject.scores.virus),
        monotonic=scripts.clock.monotonic,
    )
    outcome = await _outcome(scripts, subject, script, situation)
    return Ruling(subject.account, subject.recipient, active.name, outcome, folders)


def _score(found: float | None) -> Score:
    return Score() if found is None else Score(tested=True, value=found)


async def _outcome(scripts: Scripts, subject: Subject, script: Script, situation: Situation) -> Outcome:
    """Run, and run again with what the run asked for; the run itself bounds how often (RFC 7352)."""
    while True:
        # In a thread: a run may take its two seconds, and other sessions go on.
        result = await asyncio.to_thread(evaluate, script, situation)
        if isinstance(result, Outcome):
            return result
        known = await _was_seen(scripts, subject, result)
        situation = replace(situation, seen={**situation.seen, result.key: known})


async def _was_seen(scripts: Scripts, subject: Subject, question: Question) -> bool:
    """Whether an earlier delivery had the key; the same one, when it is repeated, is no duplicate of itself."""
    key = duplicate_key(subject.account, question.key)
    try:
        known = await scripts.storage.lookup.get([key])
    except Unavailable:
        return False  # rather twice than never
    return key in known and known[key] != subject.delivery.bytes


def duplicate_key(account: AccountId, key: bytes) -> str:
    """Where the memory of duplicates keeps a key of a script (RFC 7352)."""
    return lookup_key("sieve-duplicate", str(account), key.hex())


async def _included(scripts: Scripts, account: AccountId, script: Script) -> Mapping[tuple[str, str], Script]:
    """The personal scripts that are included, and those that these include; what is not valid counts as missing."""
    found: dict[tuple[str, str], Script] = {}
    looked_for: set[str] = set()
    wanted = {name for place, name in script.includes if place == "personal"}
    while (missing := sorted(wanted - looked_for)) and len(looked_for) < MAX_SCRIPTS:
        looked_for |= set(missing)
        for name, content in (await scripts.storage.sieve.contents(account, missing)).items():
            try:
                found["personal", name] = inner = await scripts.programs.compiled(content)
            except InvalidScript:
                continue
            wanted |= {each for place, each in inner.includes if place == "personal"}
    return found


async def _addresses(scripts: Scripts, account: AccountId) -> frozenset[str]:
    try:
        record = await scripts.storage.directory.account(account)
    except AccountNotFound:
        return frozenset()
    return frozenset(address for address in (record.address, *record.aliases) if not address.startswith("@"))


def _environment(scripts: Scripts, subject: Subject) -> dict[str, str]:
    """RFC 5183 4.1; an item that is not known is left out."""
    items = {
        "domain": scripts.hostname.partition(".")[2],
        "host": scripts.hostname,
        "location": "MDA",
        "name": "Posthorn",
        "phase": "during",
        "remote-ip": subject.remote,
    }
    return {name: value for name, value in items.items() if value}
