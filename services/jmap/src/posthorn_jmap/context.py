"""What a method is handed: the account, the store, the limits, and the ids created earlier in the same request."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_jmap.protocol.errors import MethodError
from posthorn_jmap.protocol.session import Limits
from posthorn_jmap.settings import JmapSettings
from posthorn_model.events import Event
from posthorn_node.settings import WebPushSettings
from posthorn_storage import Storage
from posthorn_storage.directory import AccountRecord

Responses = list[tuple[str, dict[str, Any]]]


@dataclass(slots=True)
class Context:
    """One API request of one user."""

    account: AccountRecord
    storage: Storage
    settings: JmapSettings
    limits: Limits
    hostname: str
    """For Message-IDs of messages made here."""
    publish: Callable[[Event], None]
    """Tells the bus; never fails."""
    web_push: WebPushSettings = field(default_factory=WebPushSettings)
    vapid: str = ""
    """As the session shows it."""
    created: dict[str, str] = field(default_factory=dict)
    """Creation id to id, of all methods of the request so far (RFC 8620 5.3)."""

    @property
    def account_id(self) -> str:
        """The account's id on the wire."""
        return ids.to_wire("a", self.account.id)

    def check_account(self, arguments: Arguments) -> None:
        """Raise MethodError unless accountId names the user's account."""
        given = arguments.text("accountId")
        if given is None:
            raise MethodError("invalidArguments", "accountId is needed")
        if given != self.account_id:
            raise MethodError("accountNotFound")

    def real_id(self, value: str) -> str:
        """An id, with a reference to a creation id ("#k1") replaced where it is known."""
        return self.created.get(value[1:], value) if value.startswith("#") else value


Method = Callable[[Context, Arguments], Awaitable[Responses]]
