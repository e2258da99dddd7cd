"""The filters of a process, made from the settings, and which of them each listener asks."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posthorn_node.settings import ListenerSettings, Problem, SettingsError
from posthorn_smtp_in.filters.channels import Channels, place
from posthorn_smtp_in.filters.clamd import Clamd
from posthorn_smtp_in.filters.rspamd import Rspamd
from posthorn_smtp_in.filters.scanning import Scanner
from posthorn_smtp_in.filters.settings import ClamdSettings, FilterSettings, RspamdSettings, SpamdSettings
from posthorn_smtp_in.filters.spamd import Spamd


@dataclass(frozen=True, slots=True)
class Panel:
    """The filters that one listener asks."""

    scanners: tuple[Scanner, ...] = ()

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
        for scanner in {id(each): each for panel in self._panels.values() for each in panel.scanners}.values():
            scanner.channels.close()


def make_roster(filters: Mapping[str, FilterSettings], listeners: Sequence[ListenerSettings]) -> Roster:
    """Put the filters together. Raises SettingsError for a listener that is none and for files that cannot be used."""
    scanners: dict[str, list[Scanner]] = {listener.name: [] for listener in listeners}
    for name, settings in filters.items():
        usual = [listener.name for listener in listeners if listener.protocol == "smtp"]
        for listener in settings.listeners or usual:
            if listener not in scanners:
                reason = f'there is no listener "{listener}" of the protocols smtp, submission and lmtp'
                raise _problem(name, "listeners", reason)
        scanner = _scanner(name, settings)
        for listener in settings.listeners or usual:
            scanners[listener].append(scanner)
    return Roster({name: Panel(tuple(found)) for name, found in scanners.items()})


def _scanner(name: str, settings: FilterSettings) -> Scanner:
    try:
        where = place(settings.address, settings.tls)
    except (OSError, ssl.SSLError) as error:
        raise _problem(name, "tls", f"cannot be used: {error}") from None
    channels = Channels(where, limit=settings.connections, connect=settings.timeouts.connect)
    match settings:
        case ClamdSettings():
            return Clamd(name, settings, channels)
        case RspamdSettings():
            return Rspamd(name, settings, channels)
        case SpamdSettings():
            return Spamd(name, settings, channels)


def _problem(name: str, key: str, reason: str) -> SettingsError:
    return SettingsError([Problem("settings", 0, f"smtp-in.filter.{name}.{key}", reason)])
