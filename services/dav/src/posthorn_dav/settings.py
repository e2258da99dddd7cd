"""The `[dav]` table of the settings."""

from typing import Annotated

from pydantic import Field

from posthorn_node.settings import ServiceSettings, Size


class DavSettings(ServiceSettings):
    """Limits of the dav service."""

    max_resource_size: Size = 10_000_000
    """Largest calendar object or card, in bytes."""
    max_request_size: Size = 1_000_000
    """Largest XML request body, in bytes."""
    max_results: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Most resources in one answer; more is refused with DAV:number-of-matches-within-limits."""
