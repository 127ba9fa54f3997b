"""Wire forms of the health checks."""

from typing import Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
    version: str = Field(examples=["0.1.0"])


class Readiness(BaseModel):
    """Whether requests can be served, and which server is missing if not."""

    status: Literal["ok", "degraded", "unavailable"] = Field(
        description="`degraded`: served, but runs start later, because Redis does not answer."
    )
    database: Literal["ok", "unreachable"]
    redis: Literal["ok", "unreachable"]
    schema_: Literal["ok", "outdated", "unknown"] = Field(
        alias="schema", description="`outdated`: run `python3 main.py migrate`."
    )
