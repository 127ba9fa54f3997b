"""Tables, and nothing else."""

from sqlmodel import SQLModel

from app.models.approval import Approval, ApprovalDecision, ApprovalLink, Approver
from app.models.audit import AuditEntry
from app.models.event import Event
from app.models.evidence import Evidence
from app.models.hook_call import HookCall
from app.models.run import Run, RunLog, StepAttempt
from app.models.schedule import Schedule
from app.models.user import User
from app.models.wait import Wait
from app.models.webhook_delivery import WebhookDelivery
from app.models.worker import Worker
from app.models.workflow import Workflow, WorkflowVersion

__all__ = [
    "Approval",
    "ApprovalDecision",
    "ApprovalLink",
    "Approver",
    "AuditEntry",
    "Event",
    "Evidence",
    "HookCall",
    "Run",
    "RunLog",
    "Schedule",
    "StepAttempt",
    "User",
    "Wait",
    "WebhookDelivery",
    "Worker",
    "Workflow",
    "WorkflowVersion",
    "metadata",
]

metadata = SQLModel.metadata
