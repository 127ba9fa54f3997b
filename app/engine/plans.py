"""Parsed definitions by version: versions never change, so a plan is parsed once per process."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from app.core.errors import InvalidDefinition
from app.engine.language.catalogue import NodeCatalogue
from app.engine.language.definition import parse_definition
from app.engine.language.plan import Plan
from app.engine.store import LOAD_VERSIONS

MAX_PLANS = 2_000


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version as a worker or the intake needs it. `plan` is the fault instead when it cannot run here."""

    workflow_name: str
    plan: Plan | InvalidDefinition


class PlanCache:
    """Keeps the plans that were used last. Used by one thread."""

    def __init__(self, catalogue: NodeCatalogue) -> None:
        self._catalogue = catalogue
        self._plans: OrderedDict[str, LoadedVersion] = OrderedDict()

    def load(self, connection: Connection, version_ids: Sequence[str]) -> dict[str, LoadedVersion]:
        """Return the versions by id, reading those that are not here yet."""
        wanted = set(version_ids)
        missing = [{"id": version_id} for version_id in wanted if version_id not in self._plans]
        for row in LOAD_VERSIONS.run(connection, missing) if missing else ():
            self._plans[row.id] = LoadedVersion(row.name, self._parse(row.definition))
        found = {
            version_id: self._plans[version_id]
            for version_id in wanted
            if version_id in self._plans
        }
        for version_id in found:
            self._plans.move_to_end(version_id)
        while len(self._plans) > MAX_PLANS:
            self._plans.popitem(last=False)
        return found

    def _parse(self, definition: object) -> Plan | InvalidDefinition:
        try:
            return parse_definition(definition, self._catalogue)
        except InvalidDefinition as fault:
            return fault
