"""Become a command that dies with its parent: `python -I -S launch.py SPEC COMMAND ...`, standard library only.

The new process runs this before the command. SPEC is JSON: `parent` (its process id), `death_signal`, and optionally
`identity` (see `app.embedded.identity`). The order matters: a change of user clears the death signal.
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

CLONE_NEWUSER = 0x10000000  # linux/sched.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h
FAILED = 125


def main(spec: dict[str, Any], command: list[str]) -> None:
    """Change user, tie the own life to the parent's, and execute the command."""
    identity = spec.get("identity")
    if identity and identity["namespace"]:
        _enter_user_namespace(identity["uid"], identity["gid"])
    elif identity:
        os.setgroups([identity["gid"]])
        os.setgid(identity["gid"])
        os.setuid(identity["uid"])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, spec["death_signal"], 0, 0, 0)
    if os.getppid() != spec["parent"]:
        sys.exit(FAILED)  # the parent died before the signal was asked for
    os.execv(command[0], command)  # noqa: S606 - the caller names the program


def _enter_user_namespace(uid: int, gid: int) -> None:
    """Look like another user to the command, while the kernel still sees the same owner of its files."""
    own_uid, own_gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        sys.stderr.write(
            "FATAL:  PostgreSQL does not run as root, only root may enter the folder that it would run in, and this "
            f"system makes no user namespace ({os.strerror(ctypes.get_errno())})\n"
        )
        sys.exit(FAILED)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {own_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {own_gid} 1")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
