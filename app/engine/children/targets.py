"""Find the workflow that a step, or a hook, names: by id or name, among those of the run's owner."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Boolean, Connection, Engine, Integer, Row, String
from sqlalchemy.exc import InterfaceError, OperationalError

from app.core.ids import parse_id
from app.db.statement import Statement
from app.db.types import Id, Json
from app.engine.attempt.context import Target
from app.engine.checkpoint import RunFacts
from app.engine.evidence.run_context import merged_context, missing_fields
from app.engine.guards.attempt import current_guard
from app.engine.language.input_schema import input_problems
from app.engine.sdk import Fail

MAX_DEPTH = 10
"""Of runs below the one that nobody's step has started."""
DATABASE_PAUSE_SECONDS = 0.5

# Find a workflow and one of its versions (the newest when none is asked for). An id goes before a name, and what is enabled
# before what is not (whoever gives somebody a workflow of the same name stops nothing); two of one name are one too many.
FIND_TARGETS = Statement(
    """
    SELECT w.id, w.enabled, w.context_required, w.version AS newest, versions.id AS version_id, versions.version, versions.definition
    FROM workflows w LEFT JOIN workflow_versions versions
         ON versions.workflow_id = w.id AND versions.version = COALESCE(:version, w.version)
    WHERE w.owner_id = :owner_id AND w.deleted_at IS NULL AND (w.id = :id OR w.name = :name)
    ORDER BY CASE WHEN w.id = :id THEN 0 WHEN w.enabled THEN 1 ELSE 2 END, w.id LIMIT 2
    """,
    takes={"owner_id": Id(), "id": Id(), "name": String(), "version": Integer()},
    returns={
        "id": Id(),
        "enabled": Boolean(),
        "context_required": Json,
        "newest": Integer(),
        "version_id": Id(),
        "version": Integer(),
        "definition": Json,
    },
)
LOAD_CONTEXT = Statement(
    "SELECT context FROM runs WHERE id = :id", takes={"id": Id()}, returns={"context": Json}
)


@dataclass(frozen=True, slots=True)
class Found:
    """A workflow that may be run, with the definition of the version, and what it requires to be told of its grounds."""

    target: Target
    definition: Mapping[str, Any]
    context_rules: Mapping[str, Any] | None


class Targets:
    """Finds workflows for attempts, off the event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def find(
        self, run_id: str, facts: RunFacts, workflow: str, version: int | None, value: Any
    ) -> Target:
        """Return the version of which a run may be started with this input, below a run with these facts.

        A database that is away is waited for: the step's time-out ends that.

        Raises:
            Fail: none may; the sentence says why.
        """
        require_depth(facts.depth + 1)
        while True:
            try:
                target = await asyncio.to_thread(
                    self._find, run_id, facts, workflow, version, value
                )
            except (OperationalError, InterfaceError):
                await asyncio.sleep(DATABASE_PAUSE_SECONDS)
                continue
            guard = current_guard()
            if guard is not None:
                guard.require_run(facts.owner_id, target.workflow_id)
            return target

    def _find(
        self, run_id: str, facts: RunFacts, workflow: str, version: int | None, value: Any
    ) -> Target:
        with self._engine.begin() as connection:
            found = find_target(connection, facts.owner_id, workflow, version)
            above = LOAD_CONTEXT.run(connection, id=run_id)
        context = context_below(workflow, found.context_rules, above[0].context if above else None)
        problems = input_problems(found.definition.get("inputs") or {}, value)
        if problems:
            faults = "; ".join(f"{p.pointer or '/'}: {p.detail}" for p in problems)
            raise Fail(
                f"The input does not fit the `inputs` schema of the workflow {workflow!r}: {faults}",
                code="invalid_input",
                data=[asdict(problem) for problem in problems],
            )
        return replace(found.target, context=context)


def find_target(
    connection: Connection, owner_id: str, workflow: str, version: int | None = None
) -> Found:
    """Return a workflow of this owner, by id or name, that may be run.

    Raises:
        Fail: there is none, or more than one; it is disabled; it has no such version.
    """
    row = find_workflow(connection, owner_id, workflow, version)
    if not row.enabled:
        raise Fail(
            f"The workflow {workflow!r} is disabled: enable it to run it.", code="workflow_disabled"
        )
    if row.version_id is None:
        raise Fail(
            f"The workflow {workflow!r} has no version {version}: it has 1 to {row.newest}.",
            code="unknown_version",
        )
    target = Target(row.id, row.version_id, row.version)
    return Found(target, row.definition, row.context_required)


def find_workflow(
    connection: Connection, owner_id: str, workflow: str, version: int | None = None
) -> Row[Any]:
    """Return the row of a workflow of this owner, by id or name, whether it may be run or not.

    Raises:
        Fail: there is none, or more than one.
    """
    workflow_id = parse_id(workflow)
    rows = FIND_TARGETS.run(
        connection, owner_id=owner_id, id=workflow_id, name=workflow, version=version
    )
    if not rows:
        raise Fail(
            f"There is no workflow {workflow!r}, or it is not yours: give its id or its exact name.",
            code="unknown_workflow",
        )
    if len(rows) > 1 and rows[0].id != workflow_id and rows[0].enabled == rows[1].enabled:
        raise Fail(
            f"More than one workflow is called {workflow!r}: give the id of one.",
            code="ambiguous_workflow",
        )
    return rows[0]


def context_below(
    workflow: str, rules: Mapping[str, Any] | None, above: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """Return the context of a run that another one starts: it works on the same grounds.

    Raises:
        Fail: they, and the workflow's defaults, are not all that the workflow requires.
    """
    context = merged_context(rules, above)
    missing = missing_fields(rules, context)
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise Fail(
            f"The workflow {workflow!r} requires {names}, which the run that starts it does not have: start that with a "
            "`context`, or set the workflow's `context.defaults`.",
            code="missing_context",
        )
    return context


def require_depth(depth: int) -> None:
    """Refuse a run that lies too deep.

    Raises:
        Fail: it does.
    """
    if depth > MAX_DEPTH:
        raise Fail(
            f"Runs may start each other {MAX_DEPTH} deep at most: does a workflow start itself without end?",
            code="too_deep",
        )
