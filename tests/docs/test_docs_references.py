"""What documents name exists: commands with their options, make targets, linked files and headings, files in tables."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
from tests.docs.documents import DOCUMENTS, ROOT, anchors, commands, links, named, spans, table_rows

from posthorn_model.cluster import SERVICES

PROTOCOLS = sorted((ROOT / "docs" / "protocols").glob("*.md"))
ALL_DOCUMENTS = pytest.mark.parametrize("path", DOCUMENTS, ids=named)
GROUPS = {
    *("account", "alias", "ban", "certificate", "dkim", "domain", "forward", "group", "index", "list", "node"),
    *("queue", "role", "shard", "suppression", "topology"),
}
SUBGROUPS = {"app-password"}
_FILE = re.compile(r"(services|libs|tests)/\S+|[a-z0-9_*][a-z0-9_*/-]*(\.py|/)")


def typed(program: str) -> list[tuple[str, list[str]]]:
    """(document, words after the program) of each command line that runs `program`, here or in a container."""
    found = []
    for path in DOCUMENTS:
        for line in commands(path):
            try:
                words = shlex.split(line)
            except ValueError:  # an apostrophe in a code span is no quote
                continue
            if words[:3] == ["docker", "compose", "exec"]:
                words = [word for word in words[3:] if word != "-T"][1:]
            if words and words[0].rpartition("/")[2] == program:
                end = next((n for n, each in enumerate(words) if each in ("|", "&&", ";", "<", ">")), len(words))
                found.append((named(path), words[1:end]))
    return found


@cache
def help_of(program: str, *words: str) -> str:
    """The help of a command. Fails when there is none."""
    wide = {**os.environ, "COLUMNS": "200", "TERM": "dumb"}
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *words, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=wide,
    )
    assert done.returncode == 0, f"{program} {' '.join(words)} --help: {done.stderr}"
    return done.stdout


def unknown_options(words: Sequence[str], text: str) -> list[str]:
    """Options among the words that a help text does not have."""
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    return [option for option in options if not re.search(rf"{re.escape(option)}\b(?!-)", text)]


def is_group(verbs: Sequence[str]) -> bool:
    """Whether these words of a command line name a group of commands."""
    return verbs[-1] in (GROUPS if len(verbs) == 1 else SUBGROUPS)


def verbs_of(words: list[str]) -> tuple[str, ...]:
    """The leading words of a posthorn command line that say which command it is."""
    depth = 1
    while len(words) > depth and is_group(words[:depth]) and not words[depth].startswith("-"):
        depth += 1
    return tuple(words[:depth])


@pytest.mark.parametrize("words", sorted({tuple(words) for _, words in typed("posthorn") if words}), ids=" ".join)
def test_a_command_that_is_named_exists_with_its_options(words: tuple[str, ...]) -> None:
    verbs = verbs_of(list(words))
    text = help_of("posthorn", *verbs)
    if not is_group(verbs):
        assert "Example: " in text
        assert "posthorn " + " ".join(verbs) in text.partition("Example: ")[2]
    assert not unknown_options(words[len(verbs) :], text)


def test_commands_are_found_in_the_documents() -> None:
    assert {verbs_of(words) for _, words in typed("posthorn")} >= {("up",), ("stop",), ("account", "add")}


@pytest.mark.parametrize("service", SERVICES)
def test_options_of_services_that_are_named_exist(service: str) -> None:
    text = help_of(f"posthorn-{service}")
    for document, words in typed(f"posthorn-{service}"):
        assert not unknown_options(words, text), document


@ALL_DOCUMENTS
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = {match[1] for line in commands(path) if (match := re.match(r"make ([a-z][a-z-]*)", line))}
    assert wanted <= targets


def test_the_readme_names_make_targets() -> None:
    assert {match[1] for line in commands(DOCUMENTS[0]) if (match := re.match(r"make (\S+)", line))} >= {"up", "test"}


@ALL_DOCUMENTS
def test_links_resolve(path: Path) -> None:
    broken = []
    for link in links(path):
        file, _, fragment = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (fragment and fragment not in anchors(target)):
            broken.append(link)
    assert not broken


@cache
def places() -> tuple[str, ...]:
    """All files and folders of the packages and of the tests; folders end with a slash."""
    found = []
    for top in ("services", "libs", "tests"):
        for each in (ROOT / top).rglob("*"):
            if "__pycache__" not in each.parts:
                found.append(each.relative_to(ROOT).as_posix() + ("/" if each.is_dir() else ""))
    return tuple(found)


@pytest.mark.parametrize("path", PROTOCOLS, ids=named)
def test_files_named_in_tables_exist(path: Path) -> None:
    """A page names files below the services it speaks of, or of a library; anywhere below is good enough."""
    services = {span.split("/")[1] for span in spans(path.read_text(encoding="utf-8")) if span.startswith("services/")}
    tops = (*(f"services/{name}/" for name in services), "libs/", "tests/")
    near = [place for place in places() if place.startswith(tops)]
    wanted = [span for row in table_rows(path) for span in spans(row) if _FILE.fullmatch(span)]
    assert wanted or path.name == "README.md"
    missing = [
        span
        for span in wanted
        if not any(fnmatch(place.rstrip("/"), pattern.rstrip("/")) for place in near for pattern in (span, f"*/{span}"))
    ]
    assert not missing


def test_metrics_that_are_named_exist() -> None:
    """Names as Prometheus shows them: counters end with _total."""
    shown = set()
    for source in [*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("libs/*/src/**/*.py")]:
        calls = re.findall(r'\.(counter|gauge|histogram)\(\s*f?"([a-z_{}]+)"', source.read_text(encoding="utf-8"))
        for kind, name in calls:
            shown.add("posthorn_" + name.removesuffix("_total") + ("_total" if kind == "counter" else ""))
    wanted = {span for path in DOCUMENTS for row in table_rows(path) for span in spans(row)}
    metrics = {span for span in wanted if re.fullmatch(r"posthorn_[a-z_]+", span)}
    assert len(metrics) > 20
    families = [re.escape(name).replace(r"\{name\}", "[a-z_]+") for name in shown]
    assert {each for each in metrics if not any(re.fullmatch(family, each) for family in families)} == set()
