"""Wire forms of what streams tell."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from app.core.statuses import AttemptStatus
from app.schemas.run import OUTPUT


class StepChange(BaseModel):
    """An attempt at a step that began, or came to stand elsewhere."""

    path: str = Field(description="The step's path.", examples=["step_1"])
    type: str
    attempt: int
    status: AttemptStatus
    started_at: datetime | None
    finished_at: datetime | None
    retry_at: datetime | None
    output: Any = Field(description=OUTPUT)
    error: Any
