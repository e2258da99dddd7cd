"""Loads the test kit's fixtures for every package of the workspace, and lets examples take their time."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["posthorn_testkit.plugin", "posthorn_testkit.corpus", "posthorn_testkit.long_first"]

# How long an example takes says more of the machine than of the product.
_USUAL = settings.get_profile(settings.get_current_profile_name())
settings.register_profile("unhurried", _USUAL, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
