"""What the language must know of node types, without knowing a node."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.core.errors import Problem


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node type as the catalogue shows it. Schemas are JSON Schema (2020-12)."""

    type: str
    title: str
    description: str
    config_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any]
    ports: tuple[str, ...]
    example: Mapping[str, Any]
    source: str
    is_loop: bool = False
    takes_secrets: bool = False
    """Whether `${{ secrets.… }}` may stand in its config."""


class NodeCatalogue(Protocol):
    """The node types that a definition may name."""

    def find(self, node_type: str) -> NodeInfo | None:
        """Return a node type, or None when there is none of that name."""
        ...

    def names(self) -> Sequence[str]:
        """Return the names of all node types."""
        ...

    def ports(self, node_type: str, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the ports of a step with this config."""
        ...

    def check_config(self, node_type: str, config: Mapping[str, Any]) -> Sequence[Problem]:
        """Return what is wrong with a config, with pointers into it; values with `${{ … }}` are left for the run."""
        ...
