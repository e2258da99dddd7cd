"""docs/configuration.md against the models of all services, and the settings file of compose against both."""

import re
import tomllib
from typing import Any

import pytest
from tests.docs.documents import ROOT, fenced

from posthorn_dav.settings import DavSettings
from posthorn_imap.settings import ImapSettings
from posthorn_jmap.settings import JmapSettings
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_model.cluster import SERVICES
from posthorn_node.settings import NodeSettings, Section, known_keys, load, parse, validate
from posthorn_smtp_in.settings import SmtpInSettings
from posthorn_smtp_out.settings import SmtpOutSettings

REFERENCE = ROOT / "docs" / "configuration.md"
COMPOSE = ROOT / "deploy" / "compose" / "node.toml"
MODELS: dict[str, type[Section]] = {
    "": NodeSettings,
    "smtp-in": SmtpInSettings,
    "smtp-out": SmtpOutSettings,
    "imap": ImapSettings,
    "jmap": JmapSettings,
    "dav": DavSettings,
    "maintenance": MaintenanceSettings,
}
STORES = {
    "postgres": '[store."postgres"]\ntype = "postgresql"\n',
    "fs": '[store."fs"]\ntype = "fs"\npath = "/blobs"\n',
    "s3-a": '[store."s3-a"]\ntype = "s3"\nbucket = "blobs-a"\n',
    "s3-b": '[store."s3-b"]\ntype = "s3"\nbucket = "blobs-b"\n',
}
EXAMPLES = fenced(REFERENCE, "toml")
ROWS: dict[str, str] = {}
for _row in re.findall(r"^\| `[a-z].*$", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE):
    _key, _default = [cell.strip() for cell in _row.strip("|").split(" | ")][:2]
    ROWS[_key.strip("` ")] = _default


def environ(text: str) -> dict[str, str]:
    """A value for every variable that a settings file names."""
    return dict.fromkeys(re.findall(r"%\{env:(\w+)\}%", text), "a value of some length")


def environment_of_compose() -> dict[str, str]:
    """What compose.yaml hands in to its services when there is no .env file."""
    lines = re.findall(r"^ {4}([A-Z0-9_]+): \$\{\1:-(.*)\}$", (ROOT / "compose.yaml").read_text("utf-8"), re.MULTILINE)
    return dict(lines)


def read(text: str) -> dict[str, Any]:
    """A settings text as all services read it, completed with the stores that a whole file must have."""
    data = tomllib.loads(text)
    storage = data.get("storage", {})
    blobs = storage.get("blob", "fs")
    named = {storage.get("data", "postgres"), *([blobs] if isinstance(blobs, str) else blobs)}
    wanted = named - set(data.get("store", {}))
    whole = text + "\n" + "".join(STORES[name] for name in sorted(wanted))
    return validate(parse(whole.encode(), REFERENCE, environ(text)), MODELS)


def test_there_is_a_model_for_every_service() -> None:
    assert set(MODELS) == {"", *SERVICES}


@pytest.mark.parametrize("service", SERVICES)
def test_every_key_of_a_service_is_documented_and_no_other(service: str) -> None:
    documented = {key.removeprefix(f"{service}.") for key in ROWS if key.startswith(f"{service}.")}
    assert documented == set(known_keys(MODELS[service]))


def test_the_documented_defaults_are_the_defaults() -> None:
    written = [
        f"{key} = {default.strip('`')}"
        for key, default in ROWS.items()
        if default.startswith("`") and default.endswith("`") and "." in key and "*" not in key
    ]
    assert len(written) > 100
    assert read("\n".join(written)) == read("")


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_good_for_all_services(example: str) -> None:
    assert set(read(example)) == set(MODELS)


def test_the_settings_of_compose_are_good_for_all_services() -> None:
    found = validate(load(COMPOSE, environment_of_compose()), MODELS)
    assert {listener.protocol for listener in found[""].server.listener.values()} >= {"smtp", "imap", "jmap", "dav"}
    assert found["maintenance"].api_token.get_secret_value()


def test_the_example_environment_is_read_by_compose() -> None:
    text = (COMPOSE.parent / "env.example").read_text(encoding="utf-8")
    names = set(re.findall(r"^([A-Z0-9_]+)=", text, re.MULTILINE))
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", (ROOT / "compose.yaml").read_text(encoding="utf-8")))
    assert names
    assert names <= used
