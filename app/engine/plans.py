"""Parsed definitions by version: versions never change, so a plan is parsed once per process."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection

from app.core.errors import InvalidDefinition
from app.core.logging import get_logger
from app.engine.language.catalogue import NodeCatalogue
from app.engine.language.definition import parse_definition
from app.engine.language.plan import Plan
from app.engine.store import LOAD_VERSIONS

MAX_DEFINITION_BYTES_KEPT = 4 * 1024 * 1024
"""Of definitions as JSON; a parsed plan takes up to some twenty times that."""
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version as a worker or the intake needs it. `plan` is the fault instead when it cannot run here."""

    workflow_name: str
    plan: Plan | InvalidDefinition
    definition_bytes: int


class PlanCache:
    """Keeps the plans that were used last. Used by one thread."""

    def __init__(self, catalogue: NodeCatalogue) -> None:
        self._catalogue = catalogue
        self._plans: OrderedDict[str, LoadedVersion] = OrderedDict()
        self._bytes = 0

    def load(self, connection: Connection, version_ids: Sequence[str]) -> dict[str, LoadedVersion]:
        """Return the versions by id, reading those that are not here yet."""
        wanted = set(version_ids)
        missing = [{"id": version_id} for version_id in wanted if version_id not in self._plans]
        for row in LOAD_VERSIONS.run(connection, missing) if missing else ():
            size = len(orjson.dumps(row.definition))
            self._plans[row.id] = LoadedVersion(row.name, self._parse(row.definition), size)
            self._bytes += size
        found = {
            version_id: self._plans[version_id]
            for version_id in wanted
            if version_id in self._plans
        }
        for version_id in found:
            self._plans.move_to_end(version_id)
        while self._bytes > MAX_DEFINITION_BYTES_KEPT and len(self._plans) > 1:
            _, oldest = self._plans.popitem(last=False)
            self._bytes -= oldest.definition_bytes
        return found

    def _parse(self, definition: object) -> Plan | InvalidDefinition:
        try:
            return parse_definition(definition, self._catalogue)
        except InvalidDefinition as fault:
            return fault
        except Exception as error:
            log.exception("definition_cannot_be_read")
            return InvalidDefinition(f"{type(error).__name__} while it was read")
