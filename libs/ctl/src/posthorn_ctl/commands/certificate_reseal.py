"""`posthorn certificate reseal`: keys in the database under the current secret, so that a former one can go."""

import json

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, JsonChoice, run

EPILOG = "Example: posthorn certificate reseal --config node.toml"


def reseal(*, data: DataChoice = None, config: ConfigChoice = None, as_json: JsonChoice = False) -> None:
    """Seal again under `certificates.secret` what is sealed under one of `certificates.former-secrets`."""
    count = run(Door(data, None, config), lambda storage: storage.certificates.reseal())
    print(json.dumps({"resealed": count}) if as_json else f"{count} keys sealed again under the current secret")
