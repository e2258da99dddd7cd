"""Settings of [smtp-in.submission]."""

from typing import Annotated

from pydantic import Field

from posthorn_node.settings import Duration, Section


class SubmissionSettings(Section):
    """[smtp-in.submission]: what logins may ask for, and what is checked and told of them."""

    check_from: bool = True
    """Every address of the From field must be one that the login may use."""
    hide_client: bool = False
    """Leave name and address of the client out of the Received field."""
    max_hold: Annotated[Duration, Field(le=366 * 86400)] = 7 * 86400.0
    """How long a message may be held (FUTURERELEASE, RFC 4865); 0: not offered."""
    deliver_by: bool = True
    """Offer DELIVERBY (RFC 2852)."""
    priority: bool = True
    """Offer MT-PRIORITY (RFC 6710)."""
    require_tls: bool = True
    """Offer REQUIRETLS (RFC 8689), also to other servers, over TLS alone."""
