"""`python -m posthorn_testkit.prefetch`: has the programs that tests drive and no package holds built before any test.

Compiling takes minutes of processor time, which would else fall within the time limit of whichever test comes first.
What cannot be had is told and left to those tests, which say what is missing.
"""

import sys
import time
from collections.abc import Callable, Mapping

from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit import kubernetes, pushgateway
from posthorn_testkit.acme_servers import PEBBLE_PROGRAM
from posthorn_testkit.azure_server import azurite_program
from posthorn_testkit.go_programs import go_program
from posthorn_testkit.programs import cache_folder
from posthorn_testkit.servers import S3_PROGRAM

PARTS: Mapping[str, Callable[[], object]] = {
    "versitygw (S3)": lambda: go_program(*S3_PROGRAM),
    "Azurite": lambda: azurite_program(cache_folder()),
    "Pebble (ACME)": lambda: go_program(*PEBBLE_PROGRAM),
    "Pushgateway": lambda: go_program(pushgateway.PROGRAM, pushgateway.VERSION, alone=True),
    "Helm": lambda: go_program(*kubernetes.HELM),
    "kubeconform": lambda: go_program(*kubernetes.KUBECONFORM),
    "schemas of Kubernetes": kubernetes.schemas,
}


def main() -> None:
    """Make each part that is not there yet, one after the other, and tell how long it took."""
    for name, make in PARTS.items():
        begun = time.monotonic()
        try:
            make()
        except PartError as error:
            print(f"{name}: {error}", file=sys.stderr)
        else:
            print(f"{name}: there after {time.monotonic() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    main()
