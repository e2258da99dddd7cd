"""vdirsyncer: calendars and contacts to folders of files and back, with changes and removals in both directions."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.clients.program import output

from posthorn_testkit.cluster import ClusterUnderTest

pytestmark = [pytest.mark.cluster, pytest.mark.peers]
CONFIG = """
[general]
status_path = "{status}"

[pair {kind}]
a = "{kind}_here"
b = "{kind}_there"
collections = ["from a", "from b"]
conflict_resolution = "b wins"

[storage {kind}_here]
type = "filesystem"
path = "{folder}"
fileext = "{ending}"

[storage {kind}_there]
type = "{kind}"
url = "{url}/"
username = "{name}"
password = "{password}"
"""
EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Example//Client//EN
BEGIN:VEVENT
UID:{uid}
DTSTAMP:20261124T100000Z
DTSTART:20261201T090000Z
DTEND:20261201T100000Z
SUMMARY:{word}
END:VEVENT
END:VCALENDAR
"""
CARD = """BEGIN:VCARD
VERSION:3.0
UID:{uid}
FN:{word}
N:{word};;;;
EMAIL:{uid}@example.net
END:VCARD
"""


@dataclass(frozen=True, slots=True)
class Side:
    """One set of local files that is synchronised with the account, through one node."""

    home: Path
    template: str
    ending: str

    @property
    def folder(self) -> Path:
        return self.home / "items"

    def discover(self) -> None:
        output("vdirsyncer", "--config", str(self.home / "config"), "discover", home=self.home, text="y\n" * 20)

    def sync(self) -> None:
        output("vdirsyncer", "--config", str(self.home / "config"), "sync", home=self.home)

    def collection(self) -> Path:
        """The one folder of the account's default collection."""
        found = [path for path in self.folder.iterdir() if path.is_dir()]
        assert len(found) == 1, found
        return found[0]

    def write(self, uid: str, word: str) -> None:
        text = self.template.format(uid=uid, word=word).replace("\n", "\r\n")
        known = [path for path in self.collection().iterdir() if f"UID:{uid}\r" in path.read_bytes().decode()]
        place = known[0] if known else self.collection() / f"{uid}{self.ending}"
        place.write_bytes(text.encode())

    def remove(self, uid: str) -> None:
        for path in self.collection().iterdir():
            if f"UID:{uid}\r" in path.read_bytes().decode():
                path.unlink()

    def words(self) -> list[str]:
        """What the items are called."""
        texts = [path.read_text(encoding="utf-8") for path in self.collection().glob(f"*{self.ending}")]
        lines = [line for text in texts for line in text.splitlines() if line.startswith(("SUMMARY:", "FN:"))]
        return sorted(line.partition(":")[2] for line in lines)


@pytest.fixture
def new_side(cluster: ClusterUnderTest, account: tuple[str, str], tmp_path: Path) -> Callable[[str, int], Side]:
    """Make a side for "caldav" or "carddav" on a node."""

    def made(kind: str, node: int) -> Side:
        home = tmp_path / f"side{node}"
        template, ending = {"caldav": (EVENT, ".ics"), "carddav": (CARD, ".vcf")}[kind]
        side = Side(home, template, ending)
        side.folder.mkdir(parents=True)
        text = CONFIG.format(
            kind=kind,
            status=home / "status",
            folder=side.folder,
            ending=ending,
            url=cluster.url("dav", node),
            name=account[0],
            password=account[1],
        )
        (home / "config").write_text(text)
        return side

    return made


@pytest.mark.parametrize("kind", ["caldav", "carddav"])
def test_two_clients_on_two_nodes_see_each_others_changes(new_side: Callable[[str, int], Side], kind: str) -> None:
    one, two = new_side(kind, 1), new_side(kind, 2)
    for side in (one, two):
        side.discover()
        side.sync()
        assert side.words() == []

    one.write("a", "Anna")
    one.write("b", "Bertha Grün")
    one.sync()
    two.sync()
    assert two.words() == ["Anna", "Bertha Grün"]

    two.write("a", "Anna changed")
    two.write("c", "Carla")
    two.remove("b")
    two.sync()
    one.sync()
    assert one.words() == two.words() == ["Anna changed", "Carla"]

    one.sync()
    two.sync()
    assert one.words() == two.words() == ["Anna changed", "Carla"]
