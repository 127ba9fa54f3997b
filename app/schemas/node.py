"""Wire forms of the node catalogue."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class NodeForm(BaseModel):
    """A node type: what a step can be."""

    model_config = ConfigDict(from_attributes=True)

    type: str = Field(description="The name to use as a step's `type`.", examples=["log"])
    title: str
    description: str
    config_schema: dict[str, Any] = Field(description="JSON Schema of the step's `config`.")
    output_schema: dict[str, Any] = Field(description="JSON Schema of the step's output.")
    ports: list[str] = Field(description="Where edges can leave.")
    takes_secrets: bool = Field(
        description="Whether `${{ secrets.name }}` may stand in the config. Fields of format `credential` name a credential, whatever this says."
    )
    example: dict[str, Any] = Field(description="A config that works.")
    source: str = Field(description="Where it was loaded from.")


class LoadFailureForm(BaseModel):
    """A node file that was left out."""

    model_config = ConfigDict(from_attributes=True)

    source: str
    error: str


class NodeList(BaseModel):
    """Every node type, and the files that did not load."""

    items: list[NodeForm]
    next_cursor: None = Field(default=None, description="Always null: the list is whole.")
    failures: list[LoadFailureForm]
