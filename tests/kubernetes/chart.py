"""The chart, and Helm to render it with; without Helm tests are skipped, or fail where that is asked for."""

from pathlib import Path

from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.kubernetes import helm
from posthorn_testkit.strict import missing

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "posthorn"


def run_helm(*arguments: str) -> tuple[int, str]:
    """The exit code and what Helm said."""
    try:
        done = helm(*arguments)
    except PartError as error:
        missing(str(error))
    return done.returncode, done.stdout if done.returncode == 0 else done.stderr + done.stdout
