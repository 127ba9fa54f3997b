"""Counts triggers that are refused, wherever on the way through the API that happens."""

from typing import Final

from starlette.types import Scope

from app.api.container import Container
from app.core.statuses import TriggerKind

_WEBHOOKS: Final = "/api/v1/webhooks/"
_WORKFLOWS: Final = "/api/v1/workflows/"
_RUNS: Final = "/runs"


def count_refusal(scope: Scope, reason: str) -> None:
    """Count the refusal of a request, by the `code` of its answer, if it was to start a run."""
    kind = _trigger_of(scope)
    container: Container | None = getattr(scope["app"].state, "container", None)
    if kind is not None and container is not None:
        container.metrics.meters.trigger_refused(kind, reason)


def _trigger_of(scope: Scope) -> TriggerKind | None:
    path: str = scope["path"]
    if scope["method"] != "POST":
        return None
    if path.startswith(_WEBHOOKS):
        return TriggerKind.WEBHOOK
    is_manual = path.startswith(_WORKFLOWS) and path.endswith(_RUNS)
    return TriggerKind.MANUAL if is_manual else None
