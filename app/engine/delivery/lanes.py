"""Lanes: what keeps owners apart on the way to the workers. All runs of an owner travel in one lane, which some share."""

import zlib
from collections import deque
from collections.abc import Mapping, Sequence

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.logging import get_logger
from app.db.statement import Statement
from app.db.types import Id

Hint = Mapping[str, Sequence[str]]
"""Run ids by lane."""
LANES = tuple(f"runs:{number:02}" for number in range(64))
"""Each lane is the name of an RQ queue. All processes must agree on them: the number never changes while hints wait."""
MIXED = "runs"
"""The queue of hints that hold a few runs of many lanes."""
QUEUES = (MIXED, *LANES)
LOAD_OWNERS = Statement(
    "SELECT id, owner_id FROM runs WHERE id {among_ids}",
    rows={"id": "uuid"},
    returns={"id": Id(), "owner_id": Id()},
)
log = get_logger(__name__)


class Turns:
    """Whose turn it is: the mixed queue every second time, the lanes one after the other in between."""

    def __init__(self) -> None:
        self._lanes = deque(LANES)
        self._mixed_first = True

    def order(self) -> list[str]:
        """Return all queues, the one whose turn it is first."""
        return [MIXED, *self._lanes] if self._mixed_first else [*self._lanes, MIXED]

    def taken(self, queue: str) -> None:
        """Note that a queue has had its turn."""
        self._mixed_first = queue != MIXED
        if queue != MIXED:
            self._lanes.rotate(-1 - self._lanes.index(queue))


def lane_of(owner_id: str) -> str:
    """Return the lane of an owner, the same in every process; "" is whoever owns runs of which nobody knows it."""
    return LANES[zlib.crc32(owner_id.encode()) % len(LANES)]


def by_lane(run_ids: Sequence[str], owners: Mapping[str, str]) -> dict[str, list[str]]:
    """Return runs by the lanes of their owners."""
    lanes: dict[str, list[str]] = {}
    for run_id in run_ids:
        lanes.setdefault(lane_of(owners.get(run_id, "")), []).append(run_id)
    return lanes


def owners_of(engine: Engine, run_ids: Sequence[str]) -> dict[str, str]:
    """Return the owners of runs; of none while the database does not answer, for no run is held up by that."""
    try:
        with engine.connect() as connection:
            rows = LOAD_OWNERS.run(connection, [{"id": run_id} for run_id in run_ids])
    except (DBAPIError, PoolTimeout) as error:
        log.warning("owners_unknown", runs=len(run_ids), reason=" ".join(str(error).split()))
        return {}
    return {row.id: row.owner_id for row in rows}
