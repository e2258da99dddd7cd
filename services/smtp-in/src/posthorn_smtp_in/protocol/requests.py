"""What a submission may ask of the way a message takes: FUTURERELEASE (RFC 4865), DELIVERBY (RFC 2852), MT-PRIORITY
(RFC 6710) and REQUIRETLS (RFC 8689). Parameters of MAIL as values; whether they are granted is not decided here.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from posthorn_smtp_in.protocol.problems import CommandProblem
from posthorn_smtp_in.protocol.replies import reply

BAD_HOLD = reply(501, "5.5.4", "Syntax: HOLDFOR=seconds or HOLDUNTIL=date-time, one of them (RFC 4865)")
BAD_BY = reply(501, "5.5.4", "Syntax: BY=seconds;R or BY=seconds;N, R with more than 0 seconds (RFC 2852)")
BAD_PRIORITY = reply(501, "5.5.2", "Syntax: MT-PRIORITY=-9 to 9 (RFC 6710)")
BAD_REQUIRETLS = reply(501, "5.5.4", "REQUIRETLS has no value (RFC 8689)")

_SECONDS = re.compile(r"[1-9][0-9]{0,8}")
_BY = re.compile(r"([+-]?[0-9]{1,9});([RN])(T?)", re.IGNORECASE)
_PRIORITY = re.compile(r"0|-?[1-9]")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


@dataclass(frozen=True, slots=True)
class DeliverBy:
    """BY: `seconds` from now, which may be over with mode N."""

    seconds: int
    returns: bool
    """By-mode R: what is late comes back; False is N: its sender hears of it."""
    trace: bool


@dataclass(frozen=True, slots=True)
class Requests:
    """None and False: not asked for."""

    hold_for: int | None = None
    """Seconds."""
    hold_until: datetime | None = None
    """In UTC. Never together with `hold_for`."""
    by: DeliverBy | None = None
    priority: int | None = None
    require_tls: bool = False

    @property
    def holds(self) -> bool:
        """Whether the message is to wait."""
        return self.hold_for is not None or self.hold_until is not None


NOTHING = Requests()


def take_requests(parameters: dict[str, str | None]) -> Requests:
    """Read these parameters and take them out of `parameters`; raises CommandProblem."""
    if not parameters.keys() & {"HOLDFOR", "HOLDUNTIL", "BY", "MT-PRIORITY", "REQUIRETLS"}:
        return NOTHING
    if "HOLDFOR" in parameters and "HOLDUNTIL" in parameters:
        raise CommandProblem(BAD_HOLD)
    require_tls = "REQUIRETLS" in parameters
    if parameters.pop("REQUIRETLS", None) is not None:
        raise CommandProblem(BAD_REQUIRETLS)
    return Requests(
        hold_for=_hold_for(parameters.pop("HOLDFOR") or "") if "HOLDFOR" in parameters else None,
        hold_until=_hold_until(parameters.pop("HOLDUNTIL") or "") if "HOLDUNTIL" in parameters else None,
        by=_by(parameters.pop("BY") or "") if "BY" in parameters else None,
        priority=_priority(parameters.pop("MT-PRIORITY") or "") if "MT-PRIORITY" in parameters else None,
        require_tls=require_tls,
    )


def _hold_for(text: str) -> int:
    if not _SECONDS.fullmatch(text):
        raise CommandProblem(BAD_HOLD)
    return int(text)


def _hold_until(text: str) -> datetime:
    """A date-time of RFC 3339, with "T" and "Z" in any case of letters."""
    if not _MOMENT.fullmatch(text.upper()):
        raise CommandProblem(BAD_HOLD)
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # a 13th month; a year that has no UTC
        raise CommandProblem(BAD_HOLD) from None


def _by(text: str) -> DeliverBy:
    match = _BY.fullmatch(text)
    if match is None:
        raise CommandProblem(BAD_BY)
    found = DeliverBy(int(match[1]), match[2].upper() == "R", bool(match[3]))
    if found.returns and found.seconds <= 0:
        raise CommandProblem(BAD_BY)
    return found


def _priority(text: str) -> int:
    if not _PRIORITY.fullmatch(text):
        raise CommandProblem(BAD_PRIORITY)
    return int(text)
