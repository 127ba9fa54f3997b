"""A node class whose limits do not hold is refused where it is defined."""

from types import new_class
from typing import Any

import pytest

from app.engine.sdk import Node, NodeConfig


def define(**attributes: Any) -> type:
    return new_class(
        "Example", (Node[NodeConfig, Any],), exec_body=lambda body: body.update(attributes)
    )


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"isolation": "container"}, "isolation must be 'none' or 'process'"),
        ({"memory_limit_mb": 0}, "memory_limit_mb must be a number of MiB"),
    ],
)
def test_a_limit_that_does_not_hold_is_named(attributes: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        define(**attributes)


def test_a_node_shares_the_worker_unless_it_says_otherwise() -> None:
    node: Any = define()

    assert node.isolation == "none"
    assert node.memory_limit_mb == 512
