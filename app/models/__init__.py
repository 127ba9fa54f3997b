"""Tables, and nothing else."""

from sqlmodel import SQLModel

from app.models.run import Run, RunLog, StepAttempt
from app.models.user import User
from app.models.worker import Worker
from app.models.workflow import Workflow, WorkflowVersion

__all__ = [
    "Run",
    "RunLog",
    "StepAttempt",
    "User",
    "Worker",
    "Workflow",
    "WorkflowVersion",
    "metadata",
]

metadata = SQLModel.metadata
