"""The filters of a process, made from the settings, and which of them each listener asks."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posthorn_node.settings import ListenerSettings, Problem, SettingsError
from posthorn_smtp_in.filters.channels import Channels, place
from posthorn_smtp_in.filters.clamd import Clamd
from posthorn_smtp_in.filters.milter_lines import Lines
from posthorn_smtp_in.filters.milter_talk import Milter
from posthorn_smtp_in.filters.protocol.milter_packets import Action
from posthorn_smtp_in.filters.rspamd import Rspamd
from posthorn_smtp_in.filters.scanning import Scanner
from posthorn_smtp_in.filters.settings import (
    ClamdSettings,
    FilterSettings,
    MilterSettings,
    RspamdSettings,
    SpamdSettings,
)
from posthorn_smtp_in.filters.spamd import Spamd


@dataclass(frozen=True, slots=True)
class Panel:
    """The filters that one listener asks."""

    scanners: tuple[Scanner, ...] = ()
    milters: tuple[Milter, ...] = ()
    """In the order in which they are asked."""

    @property
    def asks(self) -> bool:
        """Whether anybody is asked at all."""
        return bool(self.scanners or self.milters)

    @property
    def marks_spam(self) -> bool:
        """Whether X-Spam-* fields are ours here: those that came with a message are forged."""
        return any(getattr(each.settings, "write_fields", False) for each in self.scanners)


NOBODY = Panel()


class Roster:
    """All filters; `panel` gives those of a listener."""

    def __init__(self, panels: Mapping[str, Panel]) -> None:
        self._panels = panels

    def panel(self, listener: str) -> Panel:
        """The filters that a listener asks."""
        return self._panels.get(listener, NOBODY)

    def close(self) -> None:
        """End the connections that are kept."""
        for panel in self._panels.values():
            for scanner in panel.scanners:
                scanner.channels.close()
            for milter in panel.milters:
                milter.lines.close()


def make_roster(filters: Mapping[str, FilterSettings], listeners: Sequence[ListenerSettings]) -> Roster:
    """Put the filters together. Raises SettingsError for a listener that is none and for files that cannot be used."""
    scanners: dict[str, list[Scanner]] = {listener.name: [] for listener in listeners}
    milters: dict[str, list[Milter]] = {listener.name: [] for listener in listeners}
    usual = [listener.name for listener in listeners if listener.protocol == "smtp"]
    for name, settings in filters.items():
        for listener in settings.listeners:
            if listener not in scanners:
                reason = f'there is no listener "{listener}" of the protocols smtp, submission and lmtp'
                raise _problem(name, "listeners", reason)
        made = _made(name, settings)
        for listener in settings.listeners or usual:
            if isinstance(made, Milter):
                milters[listener].append(made)
            else:
                scanners[listener].append(made)
    return Roster({name: Panel(tuple(scanners[name]), tuple(milters[name])) for name in scanners})


def _made(name: str, settings: FilterSettings) -> Scanner | Milter:
    try:
        where = place(settings.address, settings.tls)
    except (OSError, ssl.SSLError) as error:
        raise _problem(name, "tls", f"cannot be used: {error}") from None
    channels = Channels(where, limit=settings.connections, connect=settings.timeouts.connect)
    match settings:
        case ClamdSettings():
            return Clamd(name, settings, channels)
        case MilterSettings():
            return Milter(name, settings, Lines(channels, settings, _actions(settings)))
        case RspamdSettings():
            return Rspamd(name, settings, channels)
        case SpamdSettings():
            return Spamd(name, settings, channels)


_ACTIONS = {
    "headers": Action.ADD_FIELDS | Action.CHANGE_FIELDS,
    "body": Action.CHANGE_BODY,
    "sender": Action.CHANGE_SENDER,
    "recipients": Action.ADD_RECIPIENTS | Action.ADD_RECIPIENTS_WITH_PARAMETERS | Action.REMOVE_RECIPIENTS,
}


def _actions(settings: MilterSettings) -> Action:
    """What a milter is offered to change; to call a message suspicious is always offered."""
    found = Action.QUARANTINE
    for change in settings.changes:
        found |= _ACTIONS[change]
    return found


def _problem(name: str, key: str, reason: str) -> SettingsError:
    return SettingsError([Problem("settings", 0, f"smtp-in.filter.{name}.{key}", reason)])
