"""What is known of who sent a message; None for a check that was not made."""

from typing import NamedTuple

from posthorn_mail_auth.arc.validating import ArcResult
from posthorn_mail_auth.dkim.verifying import SignatureResult
from posthorn_mail_auth.dmarc.checking import DmarcResult
from posthorn_mail_auth.iprev import IprevResult
from posthorn_mail_auth.spf.checking import SpfResult


class AuthenticationFacts(NamedTuple):
    """The results of all checks."""

    address: str
    """The client's."""
    iprev: IprevResult | None = None
    spf: SpfResult | None = None
    dkim: tuple[SignatureResult, ...] | None = None
    arc: ArcResult | None = None
    dmarc: DmarcResult | None = None
