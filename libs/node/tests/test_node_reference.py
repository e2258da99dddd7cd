"""docs/configuration.md names every key there is and no other, and its examples are files that load."""

import re
import tomllib
from pathlib import Path

import pytest

from posthorn_node.settings import NodeSettings, known_keys, parse, validate

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"
TEXT = REFERENCE.read_text(encoding="utf-8")
SHARED = frozenset(key.partition(".")[0] for key in known_keys(NodeSettings))
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
STORES = {
    "postgres": '[store."postgres"]\ntype = "postgresql"\n',
    "fs": '[store."fs"]\ntype = "fs"\npath = "/blobs"\n',
    "s3-a": '[store."s3-a"]\ntype = "s3"\nbucket = "blobs-a"\n',
    "s3-b": '[store."s3-b"]\ntype = "s3"\nbucket = "blobs-b"\n',
}
ENVIRON = dict.fromkeys(re.findall(r"%\{env:(\w+)\}%", TEXT), "x" * 32)


def documented() -> set[str]:
    """Keys in the first column of the reference's tables."""
    keys = re.findall(r"^\| `([a-z][a-z0-9*.-]+)` \|", TEXT, re.MULTILINE)
    return {key for key in keys if key.split(".")[0] in SHARED and "." in key}


def test_every_key_of_the_models_is_documented() -> None:
    assert set(known_keys(NodeSettings)) - documented() == set()


def test_no_key_is_documented_that_the_models_do_not_have() -> None:
    assert documented() - set(known_keys(NodeSettings)) == set()


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_example_loads(example: str) -> None:
    data = tomllib.loads(example)
    stores = data.get("store", {})
    storage = data.get("storage", {})
    blobs = storage.get("blob", "fs")
    wanted = {storage.get("data", "postgres"), *([blobs] if isinstance(blobs, str) else blobs)}
    # An example of one table is completed with the stores that a whole file must have.
    text = example + "".join(STORES[name] for name in sorted(wanted - set(stores)) if name in STORES)
    assert validate(parse(text.encode(), REFERENCE, ENVIRON), {"": NodeSettings})[""]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 10
