"""/api/suppressions: addresses that no mail is sent to."""

from dataclasses import dataclass
from typing import Any, get_args

from posthorn_maintenance.api.call import Call, Refused
from posthorn_maintenance.api.values import count, seconds, text
from posthorn_storage.queue import SuppressionList
from posthorn_storage.queue.suppression import Source
from posthorn_storage.queue.views import suppression_view


@dataclass(frozen=True, slots=True)
class SuppressionApi:
    """GET lists, POST enters, DELETE removes."""

    suppressions: SuppressionList

    async def __call__(self, call: Call) -> dict[str, Any]:
        """One request. Raises Refused, NotFound, InvalidAddress, Unavailable, Overloaded."""
        if call.path:
            raise Refused(404, "nothing is below /api/suppressions")
        if call.method == "GET":
            return await self._list(call)
        address, scope = text(call.body, "address"), text(call.body, "scope")
        if call.method == "DELETE":
            removed = await self.suppressions.remove(address, scope if "scope" in call.body else None)
            return {"removed": removed}
        source = _source(text(call.body, "source") or "operator")
        reason, lasting = text(call.body, "reason"), seconds(call.body, "seconds")
        entered = await self.suppressions.put({address: reason}, scope, source, lasting)
        return {"entered": len(entered)}

    async def _list(self, call: Call) -> dict[str, Any]:
        source = _source(call.query["source"]) if "source" in call.query else None
        limit = max(1, min(count(call.query, "limit", 100), 1000))
        after = text(call.query, "after"), text(call.query, "after_scope")
        found = await self.suppressions.all(
            part=text(call.query, "address") or None,
            scope=call.query.get("scope"),
            source=source,
            after=after,
            limit=limit,
        )
        more = found[-1] if len(found) == limit else None
        return {
            "suppressions": [suppression_view(each) for each in found],
            "next": {"after": more.address, "after_scope": more.scope} if more else None,
        }


def _source(name: str) -> Source:
    found: Source | None = next((each for each in get_args(Source) if each == name), None)
    if found is None:
        raise Refused(400, f"source is one of {', '.join(get_args(Source))}")
    return found
