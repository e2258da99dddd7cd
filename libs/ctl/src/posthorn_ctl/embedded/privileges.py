"""How a server that refuses to run as root is run by root: as `nobody`, else in a user namespace.

An ordinary user's servers run as that user. No mode of a folder is ever changed for this.
"""

import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from posthorn_ctl.embedded.errors import PartError

LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a server runs as: `uid` and `gid` of its files, and the launcher's options that make it so."""

    uid: int
    gid: int
    options: tuple[str, ...] = ()


def launched(command: list[str], *, signal: int, identity: Identity | None = None) -> list[str]:
    """The argv that runs `command` (an absolute path first) as a child of this process that ends with it.

    `signal` is what the kernel sends when this process dies.
    """
    options = ["--parent", str(os.getpid()), "--signal", str(signal), *(identity.options if identity else ())]
    return [sys.executable, "-I", "-S", str(LAUNCHER), *options, "--", *command]


def identity_for(binary: Path, folder: Path) -> Identity:
    """Choose who runs `binary` with its files in `folder`.

    Raises PartError when this is root and neither `nobody` can reach both nor a user namespace is allowed.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        return Identity(uid, gid)
    nobody = pwd.getpwnam("nobody")
    closed = [path for path in (binary, folder) if not _reachable(path, nobody.pw_uid, nobody.pw_gid)]
    if not closed:
        return Identity(nobody.pw_uid, nobody.pw_gid, ("--user", f"{nobody.pw_uid}:{nobody.pw_gid}"))
    inside = Identity(uid, gid, ("--namespace",))
    if _runs([str(binary), "--version"], inside):
        return inside
    raise PartError(
        f"{binary.name} does not run as root; the user nobody cannot reach {closed[0]} (a folder above it is closed to "
        "others) and user namespaces are not allowed here: use a --data folder and a checkout outside closed folders, "
        "or run as an ordinary user"
    )


def _reachable(path: Path, uid: int, gid: int) -> bool:
    """Whether a user without privileges may pass every folder above `path`."""
    for parent in path.resolve().parents:
        if not parent.exists():
            continue
        state = parent.stat()
        bit = 0o100 if state.st_uid == uid else 0o010 if state.st_gid == gid else 0o001
        if not state.st_mode & bit:
            return False
    return True


def _runs(command: list[str], identity: Identity) -> bool:
    done = subprocess.run(launched(command, signal=9, identity=identity), capture_output=True, check=False)
    return done.returncode == 0
