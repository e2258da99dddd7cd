"""The `[jmap]` table of the settings."""

from typing import Annotated

from pydantic import Field

from posthorn_jmap.protocol.session import Limits
from posthorn_node.settings import Duration, ServiceSettings, Size

Count = Annotated[int, Field(ge=1, le=100_000)]


class JmapSettings(ServiceSettings):
    """Limits of the jmap service; the session object shows them to clients."""

    max_size_upload: Size = 50_000_000
    max_concurrent_upload: Count = 4
    max_size_request: Size = 10_000_000
    max_concurrent_requests: Count = 8
    max_calls_in_request: Count = 32
    max_objects_in_get: Count = 1_000
    max_objects_in_set: Count = 1_000
    max_size_attachments: Size = 50_000_000
    max_body_value: Size = 1_000_000
    """Most bytes of one bodyValue, whatever the client asks for."""
    max_message_size: Size = 50_000_000
    """Of a message that is submitted."""
    max_recipients: Count = 1_000
    """Of one submission."""
    max_event_sources: Count = 16
    """EventSource connections of one account on this process."""
    self_check: Annotated[Duration, Field(ge=1, le=300)] = 25.0
    """How often waiting clients are compared with the database, whatever the bus says."""

    def limits(self) -> Limits:
        """The part that the session object shows."""
        return Limits(
            self.max_size_upload,
            self.max_concurrent_upload,
            self.max_size_request,
            self.max_concurrent_requests,
            self.max_calls_in_request,
            self.max_objects_in_get,
            self.max_objects_in_set,
            self.max_size_attachments,
        )
