"""Wire forms of evidence."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from app.schemas.common import EXAMPLE_ID


class EvidenceArtifact(BaseModel):
    """Where a large content lies."""

    sha256: str
    bytes: int
    url: str = Field(description="GET it with your token.")


class EvidenceForm(BaseModel):
    """Something that a step has put on record."""

    id: str = Field(examples=[EXAMPLE_ID])
    step: str = Field(description="The step's path.", examples=["check"])
    attempt: int
    kind: str = Field(description="What it is, by the node's own word.", examples=["http_call"])
    title: str = Field(description="For people.")
    content: Any = Field(description="JSON; null when it is large: see `artifact`.")
    artifact: EvidenceArtifact | None = Field(
        description="Where a content of more than 256 KiB lies."
    )
    sha256: str = Field(description="SHA-256 of the content as canonical JSON.")
    at: datetime
