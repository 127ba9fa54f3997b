"""The workflows that are measured: chains, and a fan."""

from typing import Any

Steps = tuple[dict[str, Any], ...]

ORDER = {"id": "order", "type": "transform", "config": {"value": {"id": "${{ input.id }}", "total": "${{ input.price * input.count }}"}}}  # fmt: skip
NOTE = {"type": "log", "config": {"message": "${{ steps.label.output }}"}}


def chain(size: int) -> Steps:
    """Return steps that run one after the other, each of which reads what an earlier one put out."""
    more = (_more(f"more_{number}") for number in range(size - 3))
    return (ORDER, *more, _label(), {"id": "note", **NOTE})


def fan(size: int) -> Steps:
    """Return a step, so many that follow it side by side, and one that joins them."""
    names = [f"part_{number}" for number in range(size)]
    parts = ({**_more(name), "depends_on": ["order"]} for name in names)
    return (ORDER, *parts, {"id": "join", "type": "merge", "depends_on": names})


def _more(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "type": "transform",
        "config": {"value": {"total": "${{ steps.order.output.total + 1 }}"}},
    }


def _label() -> dict[str, Any]:
    value = "Order ${{ steps.order.output.id }}: ${{ steps.order.output.total }}"
    return {"id": "label", "type": "transform", "config": {"value": value}}


SHAPES = {"chain3": chain(3), "chain10": chain(10), "fan10": fan(10)}
