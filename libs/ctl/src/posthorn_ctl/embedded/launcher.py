"""Becomes a server process that ends with its parent: run as a script, `launcher.py OPTIONS -- COMMAND...`.

It asks the kernel for a signal at the parent's death, gives root away when told so, and replaces itself by the
command. It imports nothing but the standard library, so that `python -I -S` starts it in milliseconds, and refuses to
go on when its parent has died already or a privilege cannot be dropped.
"""

import argparse
import ctypes
import os
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
NAMESPACE_UID = 65534
"""The uid that root has inside its user namespace: any number but 0 will do."""


def enter_namespace() -> None:
    """Enter a user namespace in which this uid has another number than 0; files keep their owners outside."""
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"user namespace refused: {os.strerror(number)}")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{NAMESPACE_UID} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{NAMESPACE_UID} {gid} 1", encoding="ascii")


def become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--signal", type=int, required=True)
    parser.add_argument("--user", default="")
    parser.add_argument("--namespace", action="store_true")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    try:
        if options.namespace:
            enter_namespace()
        elif options.user:
            uid, gid = options.user.split(":")
            become(int(uid), int(gid))
    except OSError as error:
        print(f"cannot give up root: {error}", file=sys.stderr)
        return 126
    # After the change of user, which clears it (prctl(2)).
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, options.signal, 0, 0, 0) != 0:
        print("cannot ask for a signal at the parent's death", file=sys.stderr)
        return 126
    if os.getppid() == options.parent:
        os.execv(options.command[0], options.command)  # noqa: S606 - no shell is the point
    return 0


if __name__ == "__main__":
    sys.exit(main())
