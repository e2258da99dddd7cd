"""`posthorn certificate reseal`: keys in the database under the current secret, so that a former one can go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage

EPILOG = "Example: posthorn certificate reseal --config node.toml"


def reseal(*, data: DataChoice = None, config: ConfigChoice = None, as_json: JsonChoice = False) -> None:
    """Seal again under `certificates.secret` what a former secret sealed: keys of certificates, DKIM and pushes."""
    count = run(Door(data, None, config), _reseal)
    print(json.dumps({"resealed": count}) if as_json else f"{count} keys sealed again under the current secret")


async def _reseal(storage: Storage) -> int:
    return await storage.certificates.reseal() + await storage.dkim.reseal() + await storage.push.reseal()
