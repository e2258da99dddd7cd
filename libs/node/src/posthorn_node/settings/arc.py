"""Settings of [arc]: what is told to others of mail that is passed on to them (RFC 8617)."""

from posthorn_node.settings.values import Section


class ArcSettings(Section):
    """[arc]."""

    seal: bool = True
    """Seal what forwards, groups, lists and scripts pass on, with the DKIM key of their domain where it has one."""
