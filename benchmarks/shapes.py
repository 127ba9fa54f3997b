"""The workflows that are measured: chains, a fan, and one that calls a sink; and the body of their triggers."""

import json
from typing import Any

Steps = tuple[dict[str, Any], ...]

BODY = json.dumps({"id": "A-1042", "price": 19.5, "count": 3})

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


def calling(url: str) -> Steps:
    """Return what, behind the webhook, transforms the order, looks at it and sends it to a sink."""
    call = {
        "method": "POST",
        "url": url,
        "json_body": {"order": "${{ steps.order.output }}"},
        "timeout_seconds": 300,
    }
    return (
        ORDER,
        {"id": "large", "type": "condition", "config": {"if": "steps.order.output.total > 50"}},
        {"id": "send", "type": "http_request_node", "depends_on": ["large.true"], "config": call},
    )


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
