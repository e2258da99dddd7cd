"""dkim.rotate: makes the DKIM keys of [dkim."DOMAIN"], and leads every key of the database from one state to the next.

Domain by domain, each as far as it goes:
1. Is a key missing, or does one sign for too long? A new one is stored, with the next selector; it waits.
2. Its record is written to DNS, where the settings say how; else it waits until somebody has. It is looked for in DNS.
3. It was there for long enough: the key signs, the one before is retired in the same transaction. Its record is looked
   for from time to time, and written again when it is gone.
4. A retired key has rested for long enough: its private part is removed, then its record.
Killed between any two of these the next holder goes on: each is stored before what follows it is done, and DNS may be
told the same twice. What a late holder stores is refused by the lease; what it writes to DNS is what is wanted anyway.
"""

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from posthorn_maintenance import dns_records
from posthorn_maintenance.dkim import rotation
from posthorn_maintenance.dkim.rotation import Next
from posthorn_maintenance.dkim.txt_lookup import TxtLookup
from posthorn_maintenance.jobs.job import Progress, Tenure
from posthorn_model.errors import AlreadyExists, LeaseLost, NotFound, PosthornError
from posthorn_node.metrics import Metrics
from posthorn_node.settings import DkimSettings
from posthorn_storage import Storage
from posthorn_storage.dkim import DkimKey, NewDkimKey, made

PAGE: Final = 50
"""Domains whose keys are read at once."""
MOST: Final = 10
"""Keys that one step is busy with, each with a question to DNS and a change there."""
STEP_LIMIT: Final = MOST * (dns_records.COMMAND_SECONDS + 10.0)
"""Seconds, when DNS answers nothing and each command takes all its time."""
RECORD_LIFETIME: Final = 3600
EVERY_OTHER: Final = "*"
BY_HAND: Final = DkimSettings(rotate_interval=0)
"""For domains that no table is about: their keys were made by a command."""


class DkimRotation:
    """The job's step over `tables`, the settings by domain."""

    def __init__(
        self, storage: Storage, tables: Mapping[str, DkimSettings], lookup: TxtLookup, metrics: Metrics
    ) -> None:
        self._storage = storage
        self._keys = storage.dkim
        self._tables = tables
        self._lookup = lookup
        labels = ["change"]
        self._changes = metrics.counter("dkim_key_changes", "DKIM keys that were made, activated, removed", labels)
        self._failures = metrics.counter("dkim_failures", "Looks at DKIM keys that found something in the way")
        self._missing = metrics.counter(
            "dkim_records_missing", "Looks for the record of a key that signs which did not find it"
        )

    async def step(self, tenure: Tenure, cursor: str) -> Progress:
        """Look after the domains that come after `cursor`."""
        if not self._keys.keys.usable:
            return Progress()
        domains = [name for name in await self._domains() if name > cursor and _is_of(tenure, name)]
        page = domains[:PAGE]
        keys: dict[str, list[DkimKey]] = {name: [] for name in page}
        for key in await self._keys.of(page):
            keys[key.domain].append(key)
        worked, problems, last = 0, list[str](), ""
        for name in page:
            if worked >= MOST or tenure.ending:
                break
            found = await self._domain(tenure, name, keys[name])
            worked += len(found)
            problems += [problem for problem in found if problem]
            last = name
        over = not domains or last == domains[-1]
        return Progress("" if over else last or cursor, worked, "; ".join(problems[:3]) or None)

    async def _domains(self) -> Sequence[str]:
        named = [name for name in self._tables if name != EVERY_OTHER]
        local = await self._storage.directory.domains() if EVERY_OTHER in self._tables else ()
        return sorted({*named, *local, *await self._keys.domains()})

    def _settings(self, domain: str) -> DkimSettings | None:
        """None: no table is about it."""
        return self._tables.get(domain, self._tables.get(EVERY_OTHER))

    async def _domain(self, tenure: Tenure, domain: str, keys: Sequence[DkimKey]) -> list[str]:
        """Do what is due; returns what was in the way, "" where nothing was, for each thing that was due."""
        settings = self._settings(domain)
        fresh = [] if settings is None else await self._make(tenure, domain, settings, keys)
        settings = settings or BY_HAND
        due = [key for key in keys if key.due <= key.now][:MOST]
        found = await asyncio.gather(*(self._guarded(tenure, settings, key) for key in due), return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return [*fresh, *(each for each in found if isinstance(each, str))]

    async def _make(self, tenure: Tenure, domain: str, settings: DkimSettings, keys: Sequence[DkimKey]) -> list[str]:
        """Store the keys that the domain needs; they are due in the next round."""
        now = keys[0].now if keys else datetime.now(UTC)  # of a domain without keys no time is asked for
        told = []
        for algorithm in rotation.missing(settings, keys, now):
            pair = await asyncio.to_thread(made, algorithm)
            try:
                stored = await self._keys.add(NewDkimKey(domain, pair), tenure.fence)
            except AlreadyExists:
                continue  # somebody has made one by hand in the meantime
            self._changes.labels("made").inc()
            tenure.log.info("DKIM key made", domain=domain, selector=stored.selector, algorithm=algorithm)
            told.append("")
        return told

    async def _guarded(self, tenure: Tenure, settings: DkimSettings, key: DkimKey) -> str:
        try:
            return await self._look_after(tenure, settings, key)
        except LeaseLost:
            raise
        except NotFound:
            return ""  # somebody has removed it in the meantime
        except PosthornError as error:
            return await self._put_off(tenure, key, error.public, _pause(key))

    async def _look_after(self, tenure: Tenure, settings: DkimSettings, key: DkimKey) -> str:
        following, now = rotation.following(settings, key, key.now), key.now
        if following is Next.WAIT:
            return await self._wait(tenure, settings, key)
        if following is Next.WATCH:
            return await self._watch(tenure, settings, key)
        if following is Next.REST:
            await self._keys.put_off(tenure.fence, key, None, rotation.left_of_rest(settings, key, now))
        elif following is Next.REMOVE:
            await self._keys.remove(key.domain, key.selector, tenure.fence)
            self._changes.labels("removed").inc()
            tenure.log.info("DKIM key removed", domain=key.domain, selector=key.selector)
        elif following is Next.CLEAR:
            await self._clear(tenure, settings, key)
        return ""

    async def _wait(self, tenure: Tenure, settings: DkimSettings, key: DkimKey) -> str:
        """Steps 2 and 3."""
        if not await self._is_published(key):
            if settings.dns.automatic:
                await self._write(settings, key)
                tenure.log.info("DKIM record written", domain=key.domain, selector=key.selector)
                pause = max(settings.dns.propagation, 1.0) * 2.0 ** min(key.failures, 10)
                reason = f"{key.record_name} was written to DNS, and is not seen there yet"
                await self._keys.put_off(tenure.fence, key, reason, min(pause, rotation.LONGEST_WAIT))
                return ""
            reason = f"{key.record_name} is not in DNS yet: `posthorn dkim record {key.domain}` shows it"
            await self._keys.put_off(tenure.fence, key, reason, rotation.look_again(key, key.now))
            return ""
        left = rotation.left_to_wait(settings, key, key.now)
        if left > 0:
            await self._keys.seen(tenure.fence, key, left)
            return ""
        await self._keys.activate(key.domain, key.selector, tenure.fence)
        self._changes.labels("activated").inc()
        tenure.log.info("DKIM key signs", domain=key.domain, selector=key.selector, algorithm=key.algorithm)
        return ""

    async def _watch(self, tenure: Tenure, settings: DkimSettings, key: DkimKey) -> str:
        if await self._is_published(key):
            await self._keys.seen(tenure.fence, key, rotation.LOOK_AGAIN)
            return ""
        self._missing.inc()
        if settings.dns.automatic:
            await self._write(settings, key)
        reason = f"{key.record_name} is not in DNS, and its key signs: `posthorn dkim record {key.domain}` shows it"
        return await self._put_off(tenure, key, reason, _pause(key))

    async def _clear(self, tenure: Tenure, settings: DkimSettings, key: DkimKey) -> None:
        if settings.dns.automatic:
            await self._write(settings, key, "remove")
        elif await self._is_published(key):
            await self._keys.put_off(tenure.fence, key, None, rotation.GONE_AGAIN)
            return
        await self._keys.gone(tenure.fence, key)

    async def _is_published(self, key: DkimKey) -> bool:
        return any(rotation.publishes(text, key) for text in await self._lookup.texts(key.record_name))

    async def _write(self, settings: DkimSettings, key: DkimKey, verb: dns_records.Verb = "add") -> None:
        record = (key.record_name, key.record_text)
        await dns_records.change(settings.dns, verb, [record], zone=key.domain, lifetime=RECORD_LIFETIME)

    async def _put_off(self, tenure: Tenure, key: DkimKey, reason: str, pause: float) -> str:
        self._failures.inc()
        await self._keys.put_off(tenure.fence, key, reason, pause)
        tenure.log.warning("DKIM key put off", domain=key.domain, selector=key.selector, reason=reason)
        return f"{key.domain}: {reason}"


def _is_of(tenure: Tenure, domain: str) -> bool:
    return zlib.crc32(domain.encode()) % tenure.share.parts == tenure.share.part


def _pause(key: DkimKey) -> float:
    """Seconds until the next try after a failure: from one minute to an hour."""
    return min(3600.0, 60.0 * 2.0 ** min(key.failures, 10))
