"""Settings of [dkim."DOMAIN"]: keys that are made, published and rotated for the domains of the cluster."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from posthorn_node.settings.dns_updates import DnsSettings
from posthorn_node.settings.values import Duration, Section, refused

DkimDomain = Annotated[str, Field(pattern=r"^(\*|[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9])?)$")]
"""A domain in lower case and A-labels, or "*": each domain of the cluster that has no table of its own."""


class DkimSettings(Section):
    """[dkim."DOMAIN"]. Where `dns` says nothing, records are put into DNS by hand: the keys wait for them."""

    algorithms: Annotated[tuple[Literal["rsa", "ed25519"], ...], Field(min_length=1, max_length=2)] = ("rsa", "ed25519")
    rotate_interval: Annotated[Duration, Field(ge=0)] = 180 * 86_400.0
    """From when a key begins to sign to when the next one is made; 0: never."""
    activate_after: Duration = 3600.0
    """How long a record must have been in DNS before its key signs."""
    keep_retired: Duration = 7 * 86_400.0
    """How long the record of a key that signs no more stays in DNS: longer than mail may be on its way."""
    dns: DnsSettings = DnsSettings()

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if len(set(self.algorithms)) != len(self.algorithms):
            raise refused("each of them once", "algorithms")
        if 0 < self.rotate_interval < self.activate_after:
            raise refused("a key must be allowed to sign before the next one is made", "rotate-interval")
        return self
