"""docs/dependencies.md names every third-party package of the libraries and services, and who uses it."""

import re
import tomllib

from tests.docs.documents import ROOT, table_rows


def declared() -> set[tuple[str, str]]:
    """(package, user) of every dependency; an extra's user is written as ctl[embedded]."""
    found = set()
    for file in [*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        user = file.parent.name
        lists = {user: project.get("dependencies", [])}
        lists |= {f"{user}[{extra}]": names for extra, names in project.get("optional-dependencies", {}).items()}
        for who, names in lists.items():
            found |= {(re.split(r"[^\w.-]", name)[0], who) for name in names if not name.startswith("posthorn-")}
    return found


def documented() -> set[tuple[str, str]]:
    """The same, from the table: both columns may hold several."""
    found = set()
    for row in table_rows(ROOT / "docs" / "dependencies.md")[2:]:
        packages, users = [cell.strip().split(", ") for cell in row.strip("| ").split(" | ")[:2]]
        found |= {(package, user) for package in packages for user in users}
    return found


def test_every_dependency_has_its_reason_and_no_other() -> None:
    assert documented() == declared()
