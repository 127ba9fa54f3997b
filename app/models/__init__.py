"""Tables, and nothing else."""

from sqlmodel import SQLModel

from app.models.account import (
    ApiKey,
    Invitation,
    RefreshToken,
    UserIdentity,
    UserSession,
)
from app.models.approval import Approval, ApprovalDecision, ApprovalLink, Approver
from app.models.audit import AuditEntry
from app.models.credential import Credential
from app.models.event import Event
from app.models.evidence import Evidence
from app.models.hook_call import HookCall
from app.models.kill_switch import KillSwitch
from app.models.policy import BudgetSpend, Policy, PolicyRevision
from app.models.run import Run, RunLog, StepAttempt
from app.models.schedule import Schedule
from app.models.team import Team, TeamMember, TeamName, WorkflowShare
from app.models.user import User
from app.models.wait import Wait
from app.models.webhook_delivery import WebhookDelivery
from app.models.worker import Worker
from app.models.workflow import Workflow, WorkflowVersion

__all__ = [
    "ApiKey",
    "Approval",
    "ApprovalDecision",
    "ApprovalLink",
    "Approver",
    "AuditEntry",
    "BudgetSpend",
    "Credential",
    "Event",
    "Evidence",
    "HookCall",
    "Invitation",
    "KillSwitch",
    "Policy",
    "PolicyRevision",
    "RefreshToken",
    "Run",
    "RunLog",
    "Schedule",
    "StepAttempt",
    "Team",
    "TeamMember",
    "TeamName",
    "User",
    "UserIdentity",
    "UserSession",
    "Wait",
    "WebhookDelivery",
    "Worker",
    "Workflow",
    "WorkflowShare",
    "WorkflowVersion",
    "metadata",
]

metadata = SQLModel.metadata
