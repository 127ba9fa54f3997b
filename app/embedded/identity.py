"""As whom PostgreSQL runs: it refuses root, and no user may be added to the machine for it."""

import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from app.core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Identity:
    """A user to change to; in a `namespace` it only looks so, and files are still opened as ourselves."""

    uid: int
    gid: int
    namespace: bool

    def as_spec(self) -> dict[str, int | bool]:
        """Return what `app.embedded.launch` reads."""
        return asdict(self)

    @property
    def owner(self) -> tuple[int, int]:
        """Return the uid and gid that its files must have."""
        return (os.geteuid(), os.getegid()) if self.namespace else (self.uid, self.gid)


def identity_for(paths: Iterable[Path]) -> Identity | None:
    """Return the user for a server that needs these paths; None: as we are.

    Root becomes `nobody`, if everybody may pass through the folders above the paths. If only their owner may, it
    becomes that owner; and if that is root itself (a clone in /root), `nobody` in a user namespace.

    Raises:
        ConfigurationError: when there is no such user.
    """
    if os.geteuid() != 0:
        return None
    owners = {owner for path in paths for owner in _owners_of_closed_folders(path)}
    if len(owners) > 1:
        raise ConfigurationError(
            "PostgreSQL does not run as root, and no single other user can enter both DATA_DIR and the programs: "
            "start as another user, or set DATABASE_URL."
        )
    namespace = owners == {0}
    user = _nobody() if namespace or not owners else _user(owners.pop())
    return Identity(user.pw_uid, user.pw_gid, namespace)


def hand_over(folder: Path, identity: Identity | None) -> None:
    """Give a folder, with all in it, to the user that will work there."""
    if identity is None or folder.stat().st_uid == identity.owner[0]:
        return
    for parent, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            os.chown(Path(parent) / name, *identity.owner, follow_symlinks=False)


def _owners_of_closed_folders(path: Path) -> Iterable[int]:
    for folder in path.resolve().parents:
        status = folder.stat()
        if not status.st_mode & stat.S_IXOTH:
            yield status.st_uid


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise ConfigurationError(
            "PostgreSQL does not run as root, and this system has no user `nobody`: "
            "start as another user, or set DATABASE_URL."
        ) from None


def _user(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return _nobody()
