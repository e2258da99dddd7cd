"""Settings of [cluster.roles]: which nodes may do which of the cluster's own work."""

from posthorn_node.settings.values import EligibleNodes, Section


class PurgeRoles(Section):
    """Who removes what has expired."""

    stores: EligibleNodes = ()
    accounts: EligibleNodes = ()


class AcmeRoles(Section):
    """Who renews certificates."""

    renew: EligibleNodes = ()


class DkimRoles(Section):
    """Who makes, publishes and rotates DKIM keys."""

    rotate: EligibleNodes = ()


class MetricsRoles(Section):
    """Who sums up and who pushes the cluster's figures."""

    calculate: EligibleNodes = ()
    push: EligibleNodes = ()


class IndexRoles(Section):
    """Who keeps the search index."""

    messages: EligibleNodes = ()


class ReportRoles(Section):
    """Who sends reports on mail to the owners of its domains."""

    send: EligibleNodes = ()


class PushRoles(Section):
    """Who pushes to the devices of JMAP clients."""

    send: EligibleNodes = ()


class RolesSettings(Section):
    """Which nodes may hold which role; a role left out may be held by any node."""

    purge: PurgeRoles = PurgeRoles()
    acme: AcmeRoles = AcmeRoles()
    dkim: DkimRoles = DkimRoles()
    metrics: MetricsRoles = MetricsRoles()
    index: IndexRoles = IndexRoles()
    reports: ReportRoles = ReportRoles()
    push: PushRoles = PushRoles()
