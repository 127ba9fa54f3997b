"""Check the whole log: in short reads, however long it is."""

from dataclasses import dataclass

from sqlalchemy import Engine

from app.db.session import reading
from app.engine.audit import store
from app.engine.audit.anchors import AnchorFile
from app.engine.audit.appending import key_of
from app.engine.audit.chain import ChainCheck, Fault

BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check has found: how many entries hold, up to the first one that does not."""

    entries: int
    fault: Fault | None
    anchored_seq: int | None


def verify(engine: Engine, anchors: AnchorFile) -> Verdict:
    """Check every entry against the one before it, and against the anchors.

    Raises:
        RuntimeError: the engine has no key.
    """
    check = ChainCheck(key_of(engine), anchors.read())
    fault = _walk(engine, check) or check.finish()
    return Verdict(check.head.seq, fault, check.anchored_seq)


def _walk(engine: Engine, check: ChainCheck) -> Fault | None:
    after = store.BEFORE_ALL
    while True:
        with reading(engine) as connection:
            rows = store.read_on(connection, after, BATCH)
        for row in rows:
            fault = check.take(row)
            if fault is not None:
                return fault
        if len(rows) < BATCH:
            return None
        after = rows[-1].seq
