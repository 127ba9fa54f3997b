"""Makes workflows, triggers them, and reads what became of their runs: the platform without HTTP."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, select

from app.core.clock import SyncedClock, SystemClock
from app.core.config import Settings
from app.core.ids import new_id
from app.core.security.encryption import KeyRing
from app.core.security.tokens import TokenClaims
from app.core.statuses import FINAL_RUN_STATUSES, RunStatus, TriggerKind, WebhookAuth
from app.engine.delivery.dispatch import BackgroundDispatch
from app.engine.metrics.meters import ApiMeters
from app.engine.registry import Catalogue
from app.models import Run, RunLog, StepAttempt, Workflow, WorkflowVersion
from app.services.rate_limits import RateLimits
from app.services.triggers import TriggerAnswer, TriggerDesk, TriggerRequest
from app.services.webhook_secrets import WebhookSecrets

PATIENCE_SECONDS = 20.0
KEY = "a-secret-key-of-at-least-32-bytes!"


def desk_of(engine: Engine, catalogue: Catalogue, dispatch: BackgroundDispatch) -> TriggerDesk:
    """Return a desk that takes triggers as that of the API does, with no limits."""
    clock = SyncedClock()
    return TriggerDesk(
        engine,
        catalogue,
        KEY,
        clock,
        dispatch,
        ApiMeters(),
        secrets=WebhookSecrets(KeyRing({"k1": bytes(32)})),
        rates=RateLimits({}, clock, None),
    )


@dataclass
class World:
    """Makes workflows, triggers them, and reads what became of their runs."""

    engine: Engine
    desk: TriggerDesk
    owner_id: str
    settings: Settings

    def workflow(self, *steps: Mapping[str, Any], **definition: Any) -> str:
        """Save a workflow of steps; returns its id."""
        return self.save({"steps": list(steps), **definition})

    def save(self, definition: Mapping[str, Any]) -> str:
        """Save a workflow; returns its id."""
        now, workflow_id = SystemClock().now(), new_id()
        with Session(self.engine) as session:
            workflow = Workflow(
                id=workflow_id,
                owner_id=self.owner_id,
                name="test",
                webhook_auth=WebhookAuth.OPEN,
                created_at=now,
                updated_at=now,
            )
            session.add(workflow)
            session.flush()
            session.add(
                WorkflowVersion(
                    id=new_id(),
                    workflow_id=workflow_id,
                    version=1,
                    definition=dict(definition),
                    checksum="",
                    created_by=self.owner_id,
                    created_at=now,
                )
            )
            session.commit()
        return workflow_id

    async def trigger(
        self, workflow_id: str, value: Any = None, key: str | None = None
    ) -> TriggerAnswer:
        """Trigger it as its webhook would."""
        return await self.desk.submit(
            TriggerRequest(workflow_id, TriggerKind.WEBHOOK, None, None, value, idempotency_key=key)
        )

    async def start(self, workflow_id: str, value: Any = None) -> Run:
        """Trigger it and wait for the end of its run."""
        answer = await self.trigger(workflow_id, value)
        return await self.ended(answer.run_id)

    def run(self, run_id: str) -> Run:
        """Read a run."""
        with Session(self.engine) as session:
            return session.exec(select(Run).where(Run.id == run_id)).one()

    def runs(self) -> Sequence[Run]:
        """Read all runs."""
        with Session(self.engine) as session:
            return session.exec(select(Run)).all()

    def attempts(self, run_id: str) -> Sequence[StepAttempt]:
        """Read the attempts of a run, in order of start."""
        with Session(self.engine) as session:
            query = select(StepAttempt).where(StepAttempt.run_id == run_id)
            return session.exec(query.order_by("seq", "attempt")).all()

    def logs(self, run_id: str) -> Sequence[RunLog]:
        """Read the log of a run."""
        with Session(self.engine) as session:
            return session.exec(select(RunLog).where(RunLog.run_id == run_id)).all()

    async def ended(self, run_id: str) -> Run:
        """Wait for the end of a run."""
        await self.until(lambda: self.run(run_id).status in FINAL_RUN_STATUSES)
        return self.run(run_id)

    async def until_status(self, run_id: str, status: RunStatus) -> None:
        """Wait until a run stands somewhere."""
        await self.until(lambda: self.run(run_id).status is status)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, with a deadline."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while not await asyncio.to_thread(condition):
            assert asyncio.get_running_loop().time() < deadline, (
                "the condition did not come true in time"
            )
            await asyncio.sleep(0.02)


def owner_claims(world: World) -> TokenClaims:
    """Return the claims of the owner's access token."""
    now = int(SystemClock().now().timestamp())
    return TokenClaims(world.owner_id, 0, now, now + 60)
