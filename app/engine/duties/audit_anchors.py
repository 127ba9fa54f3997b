"""Duty: note outside the database where the audit log ends, and put on record which plug-ins were loaded."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Engine

from app.core.logging import get_logger
from app.db.session import reading
from app.engine.audit import store
from app.engine.audit.anchors import AnchorFile
from app.engine.audit.appending import append, hold_chain
from app.engine.audit.chain import Anchor, Head
from app.engine.audit.entry import SYSTEM, Entry

FIRST_SECONDS: Final = 1.0
SECONDS: Final = 60.0
PLUGINS_LOADED: Final = "plugins.loaded"
log = get_logger(__name__)


class AuditAnchors:
    """Adds the head to a file and to the log, soon after the start and then once a minute, when there is something new.

    It also takes a look at the last anchor, so that a tail that was cut off is told without anybody's asking.
    """

    name = "audit_anchors"

    def __init__(self, engine: Engine, file: AnchorFile, plugins: Mapping[str, str]) -> None:
        self._engine = engine
        self._file = file
        self._plugins: Mapping[str, str] | None = plugins
        self.interval_seconds = FIRST_SECONDS

    def run_once(self) -> Mapping[str, int]:
        """Take a look; returns how many anchors were added."""
        self.interval_seconds = SECONDS
        if self._plugins is not None:
            record_plugins(self._engine, self._plugins)
            self._plugins = None
        last = self._file.last()
        with reading(self._engine) as connection:
            head = store.newest(connection)
            found = store.HASH_OF.run(connection, seq=last.seq) if last else ()
        if last is not None and [row.hash for row in found] != [last.hash]:
            log.error("audit_log_cut", head=head.seq, anchored=last.seq, advice="run: audit verify")
            return {}
        return {"anchors": int(self._anchor(head, last))}

    def _anchor(self, head: Head, last: Anchor | None) -> bool:
        if head.at is None or (last is not None and last.seq >= head.seq):
            return False
        # First the log, which is likelier to be out of reach for whoever wants to change the file as well.
        log.info("audit_anchor", seq=head.seq, hash=head.hash, at=head.at.isoformat())
        return self._file.add(Anchor(head.seq, head.hash, head.at))


def record_plugins(engine: Engine, plugins: Mapping[str, str]) -> None:
    """Put on record which plug-in files were loaded, with their SHA-256, when it is not what was loaded last."""
    with engine.begin() as connection:
        hold_chain(connection)
        last = store.LAST_OF.run(connection, action=PLUGINS_LOADED)
        # A list: a file's name must not be taken for that of a secret.
        files = [{"file": file, "sha256": plugins[file]} for file in sorted(plugins)]
        if files != (last[0].details.get("files") if last else []):
            details = {"files": files}
            append(connection, [Entry(SYSTEM, PLUGINS_LOADED, "plugins", "files", details=details)])
