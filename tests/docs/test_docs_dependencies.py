"""docs/dependencies.md names every third-party package of libraries, services and the workspace, and who uses it."""

import re
import tomllib

from tests.docs.documents import ROOT, table_rows


def declared() -> set[tuple[str, str]]:
    """(package, user) of every dependency; that of an extra or a group is written as ctl[embedded]."""
    found = set()
    for file in [*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        user = file.parent.name
        lists = {user: project.get("dependencies", [])}
        lists |= {f"{user}[{extra}]": names for extra, names in project.get("optional-dependencies", {}).items()}
        for who, names in lists.items():
            found |= {(_package(name), who) for name in names if not name.startswith("posthorn-")}
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    for group, names in groups.items():
        found |= {(_package(name), "workspace" if group == "dev" else f"workspace[{group}]") for name in names}
    return found


def _package(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0]


def documented() -> set[tuple[str, str]]:
    """The same, from the table: both columns may hold several."""
    found = set()
    for row in table_rows(ROOT / "docs" / "dependencies.md")[2:]:
        packages, users = [cell.strip().split(", ") for cell in row.strip("| ").split(" | ")[:2]]
        found |= {(package, user) for package in packages for user in users}
    return found


def test_every_dependency_has_its_reason_and_no_other() -> None:
    assert documented() == declared()
