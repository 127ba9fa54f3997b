"""People, teams and what they own, written straight into the database, for tests of who may see what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, SQLModel, select

from app.core.clock import SystemClock
from app.core.ids import new_id
from app.core.permissions import TeamRole
from app.core.statuses import (
    ApprovalStatus,
    AttemptStatus,
    Misfire,
    RunStatus,
    TriggerKind,
    WebhookAuth,
)
from app.models import (
    Approval,
    Approver,
    Credential,
    Event,
    Run,
    Schedule,
    StepAttempt,
    Team,
    TeamMember,
    TeamName,
    User,
    Workflow,
    WorkflowShare,
    WorkflowVersion,
)
from tests.integration.api.conftest import DEFINITION

NOW = SystemClock().now()


@dataclass(frozen=True)
class Owned:
    """A workflow and one of each thing that belongs to one, by the names that routes give them."""

    workflow_id: str = field(default_factory=new_id)
    version_id: str = field(default_factory=new_id)
    run_id: str = field(default_factory=new_id)
    schedule_id: str = field(default_factory=new_id)
    approval_id: str = field(default_factory=new_id)
    event_id: str = field(default_factory=new_id)


def user_ids(engine: Engine) -> dict[str, str]:
    """Return the ids of all accounts by e-mail address."""
    with Session(engine) as session:
        return {user.email: user.id for user in session.exec(select(User))}


def make_team(engine: Engine, members: Mapping[str, TeamRole], name: str | None = None) -> str:
    """Return the id of a new team of these users."""
    team_id = new_id()
    _write(
        engine,
        Team(id=team_id, name=name or team_id, created_by=new_id(), created_at=NOW),
    )
    _write(
        engine,
        TeamName(name=name or team_id, team_id=team_id),
        *(TeamMember(team_id=team_id, user_id=id_, role=role) for id_, role in members.items()),
    )
    return team_id


def make_workflow(
    engine: Engine, owner_id: str, shared: Mapping[str, TeamRole], **fields: Any
) -> Owned:
    """Return a workflow with a failed run, a schedule, and an approval that was asked by it."""
    owned = Owned()
    _write(engine, _workflow(owned, owner_id, fields))
    _write(
        engine,
        WorkflowVersion(
            id=owned.version_id,
            workflow_id=owned.workflow_id,
            version=1,
            definition=DEFINITION,
            checksum="",
            created_by=_anybody(engine),
            created_at=NOW,
        ),
        *_run(owned, owner_id),
        *_approval(owned, owner_id),
        Schedule(
            id=owned.schedule_id,
            owner_id=owner_id,
            workflow_id=owned.workflow_id,
            cron="0 0 * * *",
            timezone="UTC",
            misfire=Misfire.SKIP,
            created_at=NOW,
            updated_at=NOW,
        ),
        Event(id=owned.event_id, owner_id=owner_id, type="paid", received_at=NOW),
        *(
            WorkflowShare(
                workflow_id=owned.workflow_id,
                grantee_id=grantee_id,
                role=role,
                created_by=owner_id,
                created_at=NOW,
            )
            for grantee_id, role in shared.items()
        ),
    )
    return owned


def make_credential(engine: Engine, owner_id: str) -> str:
    """Return the id of a new credential, which nobody can open."""
    credential_id = new_id()
    credential = Credential(
        id=credential_id,
        owner_id=owner_id,
        name=credential_id,
        kind="generic",
        ciphertext=b"",
        key_id="",
        allowed_hosts=[],
        created_by=owner_id,
        created_at=NOW,
        updated_at=NOW,
    )
    _write(engine, credential)
    return credential_id


def _workflow(owned: Owned, owner_id: str, fields: Mapping[str, Any]) -> Workflow:
    return Workflow(
        id=owned.workflow_id,
        owner_id=owner_id,
        name="Bridge",
        webhook_auth=WebhookAuth.TOKEN,
        created_at=NOW,
        updated_at=NOW,
        **fields,
    )


def _run(owned: Owned, owner_id: str) -> list[SQLModel]:
    run = Run(
        id=owned.run_id,
        owner_id=owner_id,
        workflow_id=owned.workflow_id,
        version_id=owned.version_id,
        version=1,
        trigger_kind=TriggerKind.MANUAL,
        status=RunStatus.FAILED,
        input={},
        created_at=NOW,
        finished_at=NOW,
    )
    step = StepAttempt(
        run_id=owned.run_id,
        path="step_1",
        attempt=1,
        seq=1,
        type="log",
        status=AttemptStatus.FAILED,
        changed=1,
        started_at=NOW,
    )
    return [run, step]


def _approval(owned: Owned, owner_id: str) -> list[SQLModel]:
    approval = Approval(
        id=owned.approval_id,
        owner_id=owner_id,
        workflow_id=owned.workflow_id,
        run_id=owned.run_id,
        path="step_1",
        attempt=1,
        status=ApprovalStatus.PENDING,
        prompt="Ship it?",
        approvers=["cfo@example.com"],
        shown_hash="",
        on_reject="fail",
        timeout_action="fail",
        created_at=NOW,
    )
    return [approval, Approver(approval_id=owned.approval_id, approver="cfo@example.com")]


def _anybody(engine: Engine) -> str:
    return next(iter(user_ids(engine).values()))


def _write(engine: Engine, *rows: SQLModel) -> None:
    with Session(engine) as session:
        session.add_all(rows)
        session.commit()
