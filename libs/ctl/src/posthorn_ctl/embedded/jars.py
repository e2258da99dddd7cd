"""The jars of Apache Kafka: fetched once by Maven coordinates, checked against `kafka.lock`, shared by all clusters.

The lock file names every jar itself, so nothing is resolved at run time, and a jar whose SHA-256 differs is never used.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from posthorn_ctl.embedded.errors import PartError

LOCK = Path(__file__).with_name("kafka.lock")
AT_ONCE = 6

Progress = Callable[[int, int], None]
"""Called with (bytes there, bytes in all) while jars are fetched."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock file."""

    group: str
    artifact: str
    version: str
    size: int
    sha256: str

    @property
    def coordinates(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def file_name(self) -> str:
        return f"{self.group}.{self.artifact}-{self.version}.jar"


def locked(path: Path = LOCK) -> list[Jar]:
    """The jars that a lock file names. Raises PartError for a line that cannot be read."""
    found = []
    for line in path.read_text(encoding="ascii").splitlines():
        if line and not line.startswith("#"):
            try:
                coordinates, size, digest = line.split()
                group, artifact, version = coordinates.split(":")
                found.append(Jar(group, artifact, version, int(size), digest))
            except ValueError:
                raise PartError(f"{path}: not a locked jar: {line}") from None
    return found


def classpath(cache: Path, *, progress: Progress | None = None, offline: bool = False) -> list[Path]:
    """The paths of all locked jars below `cache`, fetching those that are missing or damaged.

    Several processes may do this at once: each jar arrives under another name and is renamed when it is right.
    Raises PartError naming what could not be fetched.
    """
    return fetch(locked(), cache / "kafka", progress=progress, offline=offline)


def fetch(jars: Sequence[Jar], folder: Path, *, progress: Progress | None = None, offline: bool = False) -> list[Path]:
    """Bring `jars` into `folder` and return their paths in order. Raises PartError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PartError(
            f"the cache folder {folder} cannot be made ({error.strerror}): set POSTHORN_CACHE to another folder"
        ) from None
    missing = [jar for jar in jars if not _is_right(folder / jar.file_name, jar)]
    if missing and offline:
        raise PartError(_refusal(missing, "not fetched, as told"))
    total = sum(jar.size for jar in missing)
    there = 0
    failed: dict[Jar, str] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(_fetch, jar, folder): jar for jar in missing}
        for done in as_completed(running):
            jar = running[done]
            if done.cancelled():
                failed[jar] = "not tried any more"
                continue
            problem = done.exception()
            if problem is None:
                there += jar.size
                if progress is not None:
                    progress(there, total)
                continue
            failed[jar] = _reason(problem)
            for other in running:  # one refusal is enough: do not wait for the time limit of every other
                other.cancel()
    if failed:
        raise PartError(_refusal(list(failed), next(iter(failed.values()))))
    return [folder / jar.file_name for jar in jars]


def _refusal(jars: Sequence[Jar], reason: str) -> str:
    others = f" and {len(jars) - 1} more" if len(jars) > 1 else ""
    return (
        f"Apache Kafka cannot be fetched: {jars[0].coordinates}{others}: {reason}. "
        "Without a network, use --bus peer-to-peer"
    )


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 200 else text[:200] + "..."


def _is_right(path: Path, jar: Jar) -> bool:
    try:
        if path.stat().st_size != jar.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except OSError:
        return False


def _fetch(jar: Jar, folder: Path) -> None:
    """Fetch one jar through jgo into a folder of its own, check it, move it to its place."""
    from jgo.maven import MavenContext  # half a second to import, and needed on the first start only

    private = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder))
    try:
        context = MavenContext(repo_cache=private, local_repos=[])
        artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
        path = Path(artifact.resolve())
        if not _is_right(path, jar):
            raise PartError("what came has another SHA-256 than kafka.lock says")
        path.replace(folder / jar.file_name)
    finally:
        shutil.rmtree(private, ignore_errors=True)
