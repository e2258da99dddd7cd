"""push.send: pushes to the devices of JMAP clients what has changed in their accounts (RFC 8620 7, RFC 8030).

On each shard, for the accounts of the tenure's share:
1. An event tells that an account changed: a moment later, with what else comes until then, the database is asked which
   of its subscriptions are behind. Whatever the bus says, all of them are looked at now and then.
2. Each that is behind gets one push of everything that changed, or its verification code if it is new.
3. What came of it is written under the lease: pushed up to a modseq, put off, gone.
Killed at any point the next holder goes on: what is not written is pushed again, and what is behind is found again.
"""

import asyncio
from collections.abc import Sequence

from posthorn_assembly.notices import PUSH_WANTED
from posthorn_maintenance.jobs.job import Tenure
from posthorn_maintenance.web_push.client import PushClient
from posthorn_maintenance.web_push.figures import Figures
from posthorn_maintenance.web_push.push import failed, gone, judged, push_request
from posthorn_maintenance.web_push.sender import Sender
from posthorn_maintenance.web_push.vapid import Signer, signer
from posthorn_model.errors import PosthornError
from posthorn_model.events import Changed, Control, Gap, Received, Topic
from posthorn_model.ids import AccountId
from posthorn_model.ports import Bus, Clock
from posthorn_node.metrics import Metrics
from posthorn_node.settings import WebPushSettings
from posthorn_storage import Storage
from posthorn_storage.push import BadUrl, DuePush, Outcome, push_url


class WebPush:
    """What a holder of the role does. `contact` is a URL for push services that have a question."""

    def __init__(
        self,
        storage: Storage,
        bus: Bus,
        client: PushClient,
        settings: WebPushSettings,
        contact: str,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._storage = storage
        self._bus = bus
        self._client = client
        self._settings = settings
        self._contact = contact
        self._clock = clock
        self._figures = Figures(metrics)
        self._slots = asyncio.Semaphore(settings.connections)

    async def keep(self, tenure: Tenure) -> None:
        """Push for one share of the accounts, all shards at once, until the role is to be handed over."""
        sign = await self._signer(tenure)
        if sign is None:
            return

        async def push(due: DuePush) -> Outcome:
            return await self._push(due, sign, tenure)

        senders = [
            Sender(shard, tasks, tenure, self._settings, push, self._clock, self._figures)
            for shard, tasks in self._storage.push.tasks().items()
        ]
        async with asyncio.TaskGroup() as group:
            hearing = group.create_task(self._hear(senders, tenure), name="push: hear the bus")
            await asyncio.wait([group.create_task(each.work(), name=f"push: {each.shard}") for each in senders])
            hearing.cancel()

    async def _signer(self, tenure: Tenure) -> Signer | None:
        """What signs pushes; None when the tenure ended before its key could be had."""
        while not tenure.ending:
            try:
                return signer(await self._storage.push.vapid_key(), self._contact)
            except PosthornError as error:
                tenure.log.error("nothing is pushed: the key that signs cannot be had", reason=error.public)
            await tenure.pause(self._settings.interval)
        return None

    async def _hear(self, senders: Sequence[Sender], tenure: Tenure) -> None:
        async for event in self._bus.subscribe(Topic.CHANGES, Topic.CONTROL):
            account = _account(event)
            for sender in senders:
                if isinstance(event, Gap):
                    sender.look()
                elif account is not None and tenure.share.has(account):
                    sender.heard(account)

    async def _push(self, due: DuePush, sign: Signer, tenure: Tenure) -> Outcome:
        with self._figures.seconds.time():
            async with self._slots:
                outcome = await self._post(due, sign)
        log = tenure.log.bind(account=due.account, subscription=due.id)
        if outcome.gone:
            self._figures.sent.labels("gone").inc()
            log.info("push subscription removed", reason=outcome.problem)
        elif outcome.problem is not None:
            self._figures.sent.labels("failed").inc()
            log.info("push failed, it is tried again", reason=outcome.problem, again_in=round(outcome.pause))
        else:
            self._figures.sent.labels("pushed" if due.verified else "verification").inc()
        return outcome

    async def _post(self, due: DuePush, sign: Signer) -> Outcome:
        try:
            url = push_url(due.url, self._settings.allowed())
            request = push_request(due, url, sign, self._settings.ttl, self._clock.time())
        except BadUrl as error:
            return gone(due, str(error))
        try:
            return judged(due, await self._client.post(request))
        except PosthornError as error:
            return failed(due, error.public)


def _account(event: Received) -> AccountId | None:
    """Whose subscriptions may be behind, or new."""
    if isinstance(event, Changed):
        return event.account
    if isinstance(event, Control) and event.name == PUSH_WANTED and isinstance(event.detail.get("account"), int):
        return AccountId(event.detail["account"])
    return None
