"""Start runs for callers: who may, which version, with what input; many triggers in one commit.

The workflow is read right before the run is inserted, for each batch anew, so a disabled workflow or a rotated token counts
at once, in every API process, with no cache to go stale.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Connection, Engine, Integer, Row, String

from app.core.clock import SyncedClock
from app.core.config import KEY_TTL_SECONDS
from app.core.errors import AutomateError, InvalidInput
from app.core.permissions import TeamRole
from app.core.statuses import TriggerKind, WebhookAuth, WebhookScheme
from app.db.group_commit import GroupCommit
from app.db.round_trips import commit_each
from app.db.statement import Statement
from app.db.types import Id, Json, Status, UtcDateTime
from app.engine.deliveries import accept_once
from app.engine.delivery.dispatch import BackgroundDispatch
from app.engine.guards.store import read_switches
from app.engine.intake import Accepted, NewRun, Refused
from app.engine.language.input_schema import input_problems
from app.engine.language.plan import Plan
from app.engine.metrics.meters import ApiMeters
from app.engine.plans import PlanCache
from app.engine.registry import Catalogue
from app.services.admission import Target, TriggerAnswer, TriggerRequest, admit
from app.services.authentication import Callers, Proof
from app.services.callers import Caller
from app.services.database_time import DatabaseTime
from app.services.desk_roles import roles_of
from app.services.rate_limits import Counted, RateLimits
from app.services.stops import refusal
from app.services.webhook_auth import Gate, WebhookRules
from app.services.webhook_secrets import WebhookSecrets

__all__ = ["TriggerAnswer", "TriggerDesk", "TriggerRequest"]

MAX_VALIDATIONS_AT_ONCE = 2

# Read each workflow once per batch, with the version that is asked for (its newest when none is).
LOAD_TARGETS = Statement(
    """
    SELECT w.id, v.asked, w.owner_id, w.enabled, w.webhook_auth, w.webhook_serial, w.webhook_scheme,
           w.webhook_header, w.webhook_sources, w.webhook_secret, w.webhook_old_secret, w.webhook_old_until,
           w.dedupe_key, w.dedupe_by_input, w.dedupe_ttl_seconds, w.context_required, versions.id AS version_id,
           versions.version, EXISTS (SELECT 1 FROM kill_switches WHERE lifted_at IS NULL) AS switched
    FROM {rows} JOIN workflows w ON w.id = v.id AND w.id {among_ids} AND w.deleted_at IS NULL
    LEFT JOIN workflow_versions versions
           ON versions.workflow_id = w.id AND versions.version = COALESCE(v.asked, w.version)
    """,
    rows={"id": "uuid", "asked": "integer"},
    returns={
        "id": Id(),
        "asked": Integer(),
        "owner_id": Id(),
        "enabled": Boolean(),
        "webhook_auth": Status(WebhookAuth),
        "webhook_serial": Integer(),
        "webhook_scheme": Status(WebhookScheme),
        "webhook_header": String(),
        "webhook_sources": Json,
        "webhook_secret": String(),
        "webhook_old_secret": String(),
        "webhook_old_until": UtcDateTime(),
        "dedupe_key": String(),
        "context_required": Json,
        "dedupe_by_input": Boolean(),
        "dedupe_ttl_seconds": Integer(),
        "version_id": Id(),
        "version": Integer(),
        "switched": Boolean(),
    },
    hot=True,
)


@dataclass(frozen=True, slots=True)
class _NeedsValidation:
    """The version has an `inputs` schema: checking it can take long, so it is done outside the shared commit."""

    version_id: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _People:
    """Those who trigger: as whom those call whose proofs still hold, and roles by user and workflow."""

    callers: Mapping[Proof, Caller]
    roles: Mapping[tuple[str, str], TeamRole]


class TriggerDesk:
    """Takes triggers; answers each once its run is committed. Lives on the event loop."""

    def __init__(  # noqa: PLR0913 - it is put together in one place, from what is made there
        self,
        engine: Engine,
        catalogue: Catalogue,
        key: str,
        clock: SyncedClock,
        dispatch: BackgroundDispatch,
        meters: ApiMeters,
        key_ttl_seconds: int = KEY_TTL_SECONDS,
        *,
        secrets: WebhookSecrets,
        rates: RateLimits,
    ) -> None:
        self._engine = engine
        self._meters = meters
        self._key_ttl_seconds = key_ttl_seconds
        self._key = key
        self._secrets = secrets
        self._rates = rates
        self._time = DatabaseTime(clock)
        self._dispatch = dispatch
        self._callers = Callers(engine)
        self._plans = PlanCache(catalogue)
        self._commits: GroupCommit[TriggerRequest, Accepted | _NeedsValidation] = GroupCommit(
            self._flush, name="intake", observe=meters.batches_of("intake")
        )
        self._validating = asyncio.Semaphore(MAX_VALIDATIONS_AT_ONCE)

    async def submit(self, request: TriggerRequest) -> TriggerAnswer:
        """Return the run that this trigger started, or the one that an earlier trigger with its key had started.

        Raises:
            NotFound, NotAuthenticated, PermissionDenied, WorkflowDisabled, KillSwitched, InvalidInput,
                PolicyLimitReached: the trigger is refused, nothing is stored.
            Unavailable: the database does not answer; repeat with the same Idempotency-Key.
        """
        answer = await self._commits.submit(request)
        while isinstance(answer, _NeedsValidation):
            await self._validate(answer.schema, request.input)
            answer = await self._commits.submit(replace(request, validated_for=answer.version_id))
        return TriggerAnswer(answer.run_id, answer.status.value, answer.duplicate)

    async def close(self) -> None:
        """Commit what is pending and stop."""
        await self._commits.close()
        await asyncio.to_thread(self._callers.close)

    async def _validate(self, schema: Mapping[str, Any], value: Any) -> None:
        async with self._validating:
            problems = await asyncio.to_thread(input_problems, schema, value)
        if problems:
            raise InvalidInput("The input does not fit the workflow's `inputs` schema.", problems)

    def _flush(
        self, batch: Sequence[TriggerRequest]
    ) -> Sequence[Accepted | _NeedsValidation | Exception]:
        with self._engine.begin() as connection:
            alone = (
                len(batch) == 1
            )  # its run is one row: reading what it needs and writing it need no transaction
            commit_each(connection, alone)
            now = self._time.now(connection)
            gate = Gate(self._key, self._secrets, now, self._key_ttl_seconds)
            answers = self._admit(connection, batch, gate)
            runs = [answer for answer in answers if isinstance(answer, NewRun)]
            commit_each(connection, alone and not any(run.delivery for run in runs))
            accepted = iter(accept_once(connection, runs, now) if runs else ())
        found = [next(accepted) if isinstance(answer, NewRun) else answer for answer in answers]
        results = [one.error if isinstance(one, Refused) else one for one in found]
        put = self._dispatch.put_alone if len(results) == 1 else self._dispatch.put
        for result in results:
            if isinstance(result, Accepted) and not result.duplicate:
                put(result.run_id, result.owner_id)
        self._meters.triggers_accepted(
            (request.kind, result.duplicate)
            for request, result in zip(batch, results, strict=True)
            if isinstance(result, Accepted)
        )
        return results

    def _admit(
        self, connection: Connection, batch: Sequence[TriggerRequest], gate: Gate
    ) -> list[NewRun | _NeedsValidation | Exception]:
        asked = {(request.workflow_id, request.version) for request in batch}
        rows = LOAD_TARGETS.run(
            connection, [{"id": id_, "asked": version} for id_, version in asked]
        )
        targets = self._targets(connection, rows, gate.now)
        found = [targets.get((request.workflow_id, request.version)) for request in batch]
        callers = self._callers.load(connection, [request.caller for request in batch], gate.now)
        askers = {
            (callers[request.caller].id, target.workflow_id, target.owner_id)
            for request, target in zip(batch, found, strict=True)
            if request.caller in callers and target is not None
        }
        people = _People(callers, roles_of(connection, askers))
        return [
            self._admit_one(request, target, people, gate)
            for request, target in zip(batch, found, strict=True)
        ]

    def _targets(
        self, connection: Connection, rows: Sequence[Row[Any]], now: datetime
    ) -> dict[tuple[str, int | None], Target]:
        plans = self._plans.load(
            connection, [row.version_id for row in rows if row.version_id is not None]
        )
        switches = read_switches(connection) if any(row.switched for row in rows) else ()
        targets = {}
        for row in rows:
            loaded = plans.get(row.version_id)
            plan = loaded.plan if loaded and isinstance(loaded.plan, Plan) else None
            targets[row.id, row.asked] = Target(
                row.id,
                row.owner_id,
                row.version_id,
                row.version,
                row.enabled,
                _rules(row),
                row.dedupe_key,
                plan.inputs if plan else None,
                row.context_required,
                row.dedupe_by_input,
                row.dedupe_ttl_seconds or self._key_ttl_seconds,
                refusal(switches, row.owner_id, row.id, now),
            )
        return targets

    def _admit_one(
        self, request: TriggerRequest, target: Target | None, people: _People, gate: Gate
    ) -> NewRun | _NeedsValidation | Exception:
        caller = None if request.caller is None else people.callers.get(request.caller)
        role = None if caller is None else people.roles.get((caller.id, request.workflow_id))
        try:
            run = admit(request, target, caller, role, gate)
            if request.validated_for is None:
                self._count(request, caller)
        except AutomateError as refusal:
            return refusal
        if (
            target is not None
            and target.inputs is not None
            and request.validated_for != run.version_id
        ):
            return _NeedsValidation(run.version_id, target.inputs)
        return run

    def _count(self, request: TriggerRequest, caller: Caller | None) -> None:
        """Count a call that was let in, by what only this transaction knows: whoever may not call uses up nobody's calls."""
        if caller is not None and caller.api_key_id is not None:
            self._rates.require(Counted.USER, caller.id)
        if request.kind is TriggerKind.WEBHOOK:
            self._rates.require(Counted.WORKFLOW, request.workflow_id)


def _rules(row: Row[Any]) -> WebhookRules:
    return WebhookRules(
        row.id,
        row.webhook_auth,
        row.webhook_serial,
        row.webhook_scheme,
        row.webhook_header,
        None if row.webhook_sources is None else tuple(row.webhook_sources),
        row.webhook_secret,
        row.webhook_old_secret,
        row.webhook_old_until,
    )
