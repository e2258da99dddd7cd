"""/api/queue: the outgoing queue over HTTP, with the words of `posthorn queue`.

Who asks gets numbers first: an action on a filter is only counted unless the body says `"apply": true`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from posthorn_maintenance.api.call import Call, Refused
from posthorn_maintenance.api.values import bounded, count, moment, seconds, site, text
from posthorn_model.events import Control, Event, QueueDue
from posthorn_model.ids import AccountId, QueueMessageId
from posthorn_storage import Storage
from posthorn_storage.queue import Action, QueueFilter, Scope, Standing, views

PAUSES_CHANGED: Final = "queue-pauses"
"""The Control event that smtp-out reads its pauses again for."""
MAX_LIMIT: Final = 1000
ACTIONS: Final[Mapping[str, Action]] = {action: action for action in get_args(Action)}
FILTERS: Final = ("sender", "recipient", "site", "state", "account", "older")


@dataclass(frozen=True, slots=True)
class QueueApi:
    """Answers below /api/queue. `publish` tells smtp-out at once what it would see within a second."""

    storage: Storage
    publish: Callable[[Event], None]

    async def __call__(self, call: Call) -> dict[str, Any]:
        """One request. Raises Refused, NotFound, Unavailable, Overloaded."""
        match call.method, call.path:
            case "GET", ():
                return await self._list(call.query)
            case "GET", ("pauses",):
                return await self._pauses()
            case "POST", ("pauses",):
                return await self._pause(call.body)
            case "POST", ("resume",):
                return await self._resume(call.body)
            case "POST", (action,) if action in ACTIONS:
                return await self._act(ACTIONS[action], call.body, None)
            case "GET", (number,) if number.isdecimal():
                return await self._show(_number(number))
            case "GET", (number, "why") if number.isdecimal():
                found = await self.storage.queue.why(_number(number))
                return {"recipients": [views.explanation_view(each) for each in found]}
            case "POST", (number, action) if number.isdecimal() and action in ACTIONS:
                return await self._act(ACTIONS[action], call.body, _number(number))
        raise Refused(
            404, "below /api/queue are: a number, NUMBER/why, pauses, resume, and the actions " + ", ".join(ACTIONS)
        )

    async def _list(self, query: Mapping[str, Any]) -> dict[str, Any]:
        extra = {"done", "before", "limit"}
        wanted = _filter({name: value for name, value in query.items() if name not in extra})
        before, limit = count(query, "before", 0), min(count(query, "limit", 100), MAX_LIMIT)
        done = query.get("done") in ("true", "1")
        found = await self.storage.queue.messages(wanted(before=before, done=done), limit)
        return {
            "messages": [views.message_view(each) for each in found],
            "next": found[-1].id if len(found) == limit else None,
        }

    async def _show(self, number: QueueMessageId) -> dict[str, Any]:
        shown = views.message_view(await self.storage.queue.show(number))
        return {**shown, "time_line": [views.event_view(each) for each in await self.storage.queue.time_line(number)]}

    async def _act(self, action: Action, body: Mapping[str, Any], message: QueueMessageId | None) -> dict[str, Any]:
        known = {"apply", "note", "at"}
        wanted = _filter({name: value for name, value in body.items() if name not in known})(message=message)
        if message is None and wanted == QueueFilter():
            raise Refused(400, f"say which are meant: {', '.join(FILTERS)}")
        operations = self.storage.queue.operations
        meant = views.meant_view(await operations.meant(wanted))
        if message is None and body.get("apply") is not True:
            return {"changed": 0, "meant": meant}
        if message is not None:
            await self.storage.queue.show(message)
        at = moment(body["at"]) if body.get("at") is not None else None
        done = await operations.apply(action, wanted, note=text(body, "note"), at=at)
        if action in ("release", "reschedule"):
            for shard in done.shards:
                self.publish(QueueDue(shard))
        return {**views.done_view(done), "meant": meant}

    async def _pauses(self) -> dict[str, Any]:
        pauses = self.storage.queue.pauses
        stopped = await pauses.stopped()
        return {"pauses": [views.pause_view(each, stopped.get(each.id, 0)) for each in await pauses.all()]}

    async def _pause(self, body: Mapping[str, Any]) -> dict[str, Any]:
        scope, name = _scope(body)
        lasting = seconds(body, "seconds")
        pause = await self.storage.queue.pauses.put(scope, name, text(body, "reason"), lasting)
        self.publish(Control(PAUSES_CHANGED))
        return views.pause_view(pause, 0)

    async def _resume(self, body: Mapping[str, Any]) -> dict[str, Any]:
        scope, name = _scope(body)
        await self.storage.queue.pauses.lift(scope, name)
        self.publish(Control(PAUSES_CHANGED))
        return {"scope": scope, "name": name}


def _filter(given: Mapping[str, Any]) -> Callable[..., QueueFilter]:
    """A QueueFilter of what was given, to be completed. Raises Refused."""
    unknown = sorted(set(given) - set(FILTERS))
    if unknown:
        raise Refused(400, f"{unknown[0][:50]} is no filter: they are {', '.join(FILTERS)}")
    values: dict[str, Any] = {name: text(given, name) for name in ("sender", "recipient") if given.get(name)}
    if given.get("site"):
        values["site"] = site(text(given, "site"))
    if given.get("state"):
        try:
            values["state"] = Standing(text(given, "state"))
        except ValueError:
            raise Refused(400, f"state is one of {', '.join(each.value for each in Standing)}") from None
    if given.get("account"):
        values["account"] = AccountId(count(given, "account", 0))
    older = seconds(given, "older")
    if older is not None:
        values["older"] = older

    def complete(**more: Any) -> QueueFilter:
        return QueueFilter(**values, **more)

    return complete


def _number(digits: str) -> QueueMessageId:
    return QueueMessageId(bounded(int(digits[:20]), "the number of a message"))


def _scope(body: Mapping[str, Any]) -> tuple[Scope, str]:
    given = [scope for scope in ("site", "route") if body.get(scope)]
    if body.get("everything") is True and not given:
        return "everything", ""
    if len(given) != 1 or body.get("everything"):
        raise Refused(400, 'say one of: "site": "example.net", "route": "host:port", "everything": true')
    if given == ["site"]:
        return "site", site(text(body, "site"))
    return "route", text(body, "route")
