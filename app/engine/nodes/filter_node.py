"""The `filter_node` node type."""

import asyncio
from time import perf_counter
from typing import Any

from app.engine.sdk import (
    Context,
    Done,
    Expr,
    Fail,
    Field,
    Node,
    NodeConfig,
    NodeOutput,
    expression_field,
)

TURN_SECONDS = 0.005
"""How long items are judged before the event loop serves other runs."""


class Config(NodeConfig):
    """What to filter, and what stays."""

    items: Expr | None = expression_field(
        default=None,
        description="The list to filter. Unset: the step is a gate, which passes or stops its branch.",
        examples=["steps.fetch.output.body.orders"],
    )
    condition: Expr = expression_field(
        local=("item", "index"),
        description="True for what stays. With `items` it sees each `item` and its `index`, counted from 0.",
        examples=["item.total > 100", "input.region == 'eu'"],
    )


class Filtered(NodeOutput):
    """What a filter with `items` returns."""

    items: list[Any] = Field(description="The items for which the condition is true, in order.")
    kept: int = Field(description="How many stayed.")
    dropped: int = Field(description="How many did not.")


class Gate(NodeOutput):
    """What a filter without `items` returns."""

    passed: bool = Field(description="Whether the branch goes on.")


class Filter(Node[Config, Filtered | Gate]):
    """Keep the items of a list that fulfil a condition, or stop a branch unless a condition holds.

    With `items`, the output is the shorter list. Without, the branch goes on when the condition is true; when it is
    false, the steps after it are skipped and the run still succeeds.
    """

    type = "filter_node"
    title = "Filter"
    example = {"items": "input.orders", "condition": "item.total > 100"}

    async def run(self, config: Config, context: Context) -> Filtered | Done:
        """Filter the list, or judge the gate."""
        del context
        if config.items is None:
            passed = _judge(config.condition)
            return Done(Gate(passed=passed)) if passed else Done(Gate(passed=passed), port=None)
        items = config.items.evaluate()
        if not isinstance(items, list):
            raise Fail(
                f"`items` must be a list, but it is {_kind(items)}.", code="items_not_a_list"
            )
        kept = await _keep(items, config.condition)
        return Filtered(items=kept, kept=len(kept), dropped=len(items) - len(kept))


async def _keep(items: list[Any], condition: Expr) -> list[Any]:
    kept, turn_ends = [], perf_counter() + TURN_SECONDS
    for index, item in enumerate(items):
        if _judge(condition, item=item, index=index):
            kept.append(item)
        if perf_counter() > turn_ends:
            await asyncio.sleep(0)
            turn_ends = perf_counter() + TURN_SECONDS
    return kept


def _judge(condition: Expr, **local: Any) -> bool:
    verdict = condition.evaluate(**local)
    if not isinstance(verdict, bool):
        where = f" for item {local['index']}" if local else ""
        raise Fail(
            f"`condition` must be true or false, but{where} it is {_kind(verdict)}: compare it with something.",
            code="condition_not_boolean",
        )
    return verdict


def _kind(value: Any) -> str:
    """Name the JSON kind of a value, for people."""
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)
